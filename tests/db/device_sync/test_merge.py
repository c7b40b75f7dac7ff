"""The clean-up: staging is merged into the main tables, completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from amop.database import sql
from amop.device_sync import fetch, merge
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run
from amop.device_sync.quality import check_quality
from amop.device_sync.store import merges, records
from amop.device_sync.summary import summarize
from amop.runs.errors import BalanceError, MergeRefusedError
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import ORDINARY_MOMENT
from tests.worlds.reliability import RecordFault
from tests.worlds.sync_world import SyncWorld

SIMS = 120
NOW = ORDINARY_MOMENT


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier)


def test_after_a_sync_the_device_table_equals_the_carriers_fleet(world: SyncWorld) -> None:
    run = world.sync("first")
    devices = world.devices()
    assert (run["devices_inserted"], run["devices_updated"], run["devices_vanished"]) == (SIMS, 0, 0)
    assert set(devices) == set(world.truth())
    for iccid, sim in world.truth().items():
        row = devices[iccid]
        assert (row["status"], row["rate_plan"], row["communication_plan"], row["ctd_data_usage"]) == (
            sim["status"], sim["rate_plan"], sim["communication_plan"], sim["data_usage"],
        )  # fmt: skip


def test_a_second_sync_of_the_same_fleet_writes_no_device_row(world: SyncWorld) -> None:
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = %s RETURNING id", SIMS)
    world.sync("first")
    versions = world.rows("SELECT id, xmin::text FROM amop.device ORDER BY id")
    run = world.sync("second", full_sync=True)
    assert (run["devices_inserted"], run["devices_updated"], run["usage_updated"]) == (0, 0, 0)
    assert world.rows("SELECT id, xmin::text FROM amop.device ORDER BY id") == versions


def test_a_repeated_merge_changes_nothing(world: SyncWorld) -> None:
    run_id = world.open("twice")
    world.stage(run_id)
    counts = merge.merge_devices(world.dsn, run_id, now=NOW)
    updated = merge.merge_usage(world.dsn, run_id, now=NOW)
    before = world.rows("SELECT * FROM amop.device ORDER BY id"), world.rows("SELECT * FROM amop.device_usage")
    assert merge.merge_devices(world.dsn, run_id, now=NOW + timedelta(hours=1)) == counts
    assert merge.merge_usage(world.dsn, run_id, now=NOW + timedelta(hours=1)) == updated
    assert (
        world.rows("SELECT * FROM amop.device ORDER BY id"),
        world.rows("SELECT * FROM amop.device_usage"),
    ) == before


STATEMENTS_OF_THE_MERGE = (
    "device_sync/merge_devices", "device_sync/deactivate_vanished_devices", "device_sync/record_missing_devices",
    "device_sync/clear_missing_devices", "device_sync/supersede_devices",
)  # fmt: skip


def test_merging_an_unchanged_fleet_writes_less_than_a_tenth_of_the_wal(world: SyncWorld) -> None:
    def wal_bytes(run_id: int) -> int:
        """Return the bytes that the statements of the merge write; the server's total would include other tests."""
        values = {"run_id": run_id, "service_provider_id": 1, "iccids": None, "is_exact_full": True, "now": NOW,
                  "is_full": True, "is_repeated": False}  # fmt: skip
        written = 0
        with psycopg.connect(world.dsn) as connection:
            connection.execute(sql.load("device_sync/collect_list_changes"), values)
            for name in STATEMENTS_OF_THE_MERGE:
                explain = f"EXPLAIN (ANALYZE, WAL, FORMAT JSON) {sql.load(name)}"
                plan = connection.execute(explain, values).fetchone()
                written += plan[0][0]["Plan"]["WAL Bytes"] if plan else 0
            connection.rollback()
        return written

    first_run = world.open("first")
    world.stage(first_run)
    first = wal_bytes(first_run)
    world.merge(first_run)
    second_run = world.open("second", full_sync=True)
    world.stage(second_run)
    assert first > SIMS * 100
    assert wal_bytes(second_run) < first / 10


def test_sims_missing_from_two_full_lists_keep_their_row_and_become_inactive(world: SyncWorld) -> None:
    world.sync("first")
    gone = sorted(world.truth())[:2]
    before = {iccid: world.devices()[iccid] for iccid in gone}
    world.carrier.remove_devices(gone)
    once = world.sync("second", full_sync=True)
    assert (once["devices_vanished"], once["devices_missing"]) == (0, len(gone))
    assert all(world.devices()[iccid] == before[iccid] for iccid in gone), "one list alone changes nothing"
    twice = world.sync("third", full_sync=True)
    after = world.devices()
    assert (twice["devices_vanished"], twice["devices_missing"]) == (len(gone), 0)
    for iccid in gone:
        assert not after[iccid]["is_active"]
        assert after[iccid]["ctd_data_usage"] == before[iccid]["ctd_data_usage"]
    assert sum(row["is_active"] for row in after.values()) == SIMS - len(gone)
    assert world.count("device_missing") == 0


@pytest.mark.parametrize("full_sync", [True, False])
def test_sims_whose_history_was_lost_begin_a_new_one_with_the_next_sync(world: SyncWorld, full_sync: bool) -> None:
    world.sync("first")
    statement = (
        "SELECT device.iccid, history.status, history.rate_plan, history.communication_plan"
        " FROM amop.device_history AS history JOIN amop.device AS device ON device.id = history.device_id ORDER BY 1"
    )
    before = world.rows(statement)
    assert len(before) == SIMS
    world.rows(
        "DELETE FROM amop.device_history USING amop.device AS device"
        " WHERE device.id = device_id AND device.iccid <> %s RETURNING device_id",
        before[0]["iccid"],
    )
    run = world.sync("second", now=NOW + timedelta(days=1), full_sync=full_sync)
    assert run["is_full"] == full_sync
    assert full_sync or run["devices_seen"] < SIMS, "SIMs outside of the list heal too"
    assert world.rows(statement) == before
    world.sync("third", now=NOW + timedelta(days=2), full_sync=True)
    assert world.rows(statement) == before, "nothing is written twice"


def test_an_incremental_list_marks_no_sim_as_vanished(world: SyncWorld) -> None:
    world.sync("first")
    world.carrier.remove_devices(sorted(world.truth())[:2])
    run = world.sync("second", now=NOW + timedelta(days=1))
    assert (run["is_full"], run["devices_vanished"], run["devices_missing"]) == (False, 0, 0)
    assert sum(row["is_active"] for row in world.devices().values()) == SIMS


def test_an_incomplete_sync_is_never_merged(world: SyncWorld, reliability: RecordFault) -> None:
    run_id = world.open("incomplete")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, run_id, client)
    with pytest.raises(MergeRefusedError, match="the sync is not complete"):
        merge.merge_devices(world.dsn, run_id, now=NOW)
    assert world.count("device") == 0
    reliability(
        fault="clean-up of a sync whose usage is not staged yet", injected=1,
        expected="refused, 0 SIMs merged or missing",
        seen=f"refused, {world.count('device') + world.count('device_missing')} SIMs merged or missing",
    )  # fmt: skip


def test_bad_records_are_quarantined_with_their_raw_form_and_listed_is_merged_plus_quarantined(
    world: SyncWorld,
) -> None:
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 1 RETURNING id")
    bad_iccid, bad_status = sorted(world.truth())[:2]
    world.carrier.change_devices([bad_iccid], extra={"iccid": "not-an-iccid"})
    world.carrier.change_devices([bad_status], extra={"status": 17})
    run = world.sync("bad")
    rejected = world.rows("SELECT raw, reason FROM amop.device_quarantine WHERE kind = 'device'")
    assert run["devices_seen"] == SIMS
    assert world.count("device") == SIMS - 2
    assert {str(row["raw"].get("iccid")) for row in rejected} == {"not-an-iccid", bad_status}
    assert all(row["reason"] for row in rejected)


def test_too_many_bad_records_refuse_the_merge(world: SyncWorld) -> None:
    world.carrier.change_devices(sorted(world.truth())[:2], extra={"status": 17})
    run_id = world.open("too-bad")
    world.stage(run_id)
    with pytest.raises(MergeRefusedError, match=rf"2 of {SIMS} SIMs have bad records"):
        merge.merge_devices(world.dsn, run_id, now=NOW)
    assert world.count("device") == 0


def test_daily_usage_is_the_delta_and_adds_up_to_the_cycle_to_date(world: SyncWorld) -> None:
    world.sync("first")
    iccid = next(iccid for iccid, sim in sorted(world.truth().items()) if sim["data_usage"] > 0)
    usage = world.truth()[iccid]["data_usage"]
    world.carrier.change_devices([iccid], data_usage=usage + 5_000)
    run = world.sync("second")
    assert run["usage_updated"] == 1
    assert world.devices()[iccid]["ctd_data_usage"] == usage + 5_000
    sums = world.rows(
        "SELECT sum(daily.data_usage) AS total, device.ctd_data_usage AS ctd FROM amop.device_usage AS daily"
        " JOIN amop.device AS device ON device.id = daily.device_id GROUP BY device.id"
    )
    assert all(row["total"] == row["ctd"] for row in sums)


def test_a_counter_that_went_down_restarts_and_no_delta_is_negative(world: SyncWorld) -> None:
    world.sync("first")
    iccid = max(world.truth().values(), key=lambda sim: sim["data_usage"])["iccid"]
    world.carrier.change_devices([iccid], data_usage=7, roaming_data_usage=0)
    world.sync("second")
    assert world.devices()[iccid]["ctd_data_usage"] == 7
    assert world.count("device_usage", "data_usage < 0") == 0


def test_a_new_communication_plan_is_added_and_reported(world: SyncWorld) -> None:
    world.carrier.change_devices(sorted(world.truth())[:1], communication_plan="Brand New CP")
    run_id = world.open("new-plan")
    world.stage(run_id)
    merge.merge_devices(world.dsn, run_id, now=NOW)
    assert update_communication_plans(world.dsn, run_id, now=NOW) == ["Brand New CP"]
    assert update_communication_plans(world.dsn, run_id, now=NOW) == []
    assert "Brand New CP" in summarize(world.dsn, run_id).unassociated_communication_plans


def test_a_run_that_does_not_add_up_is_not_completed(world: SyncWorld) -> None:
    run_id = world.open("lost")
    world.stage(run_id)
    merge.merge_devices(world.dsn, run_id, now=NOW)
    world.rows("UPDATE amop.device_sync_run SET devices_seen = devices_seen + 1 RETURNING id")
    with pytest.raises(BalanceError, match=f"{SIMS + 1} SIMs were listed, but {SIMS} merged and 0 quarantined"):
        check_quality(world.dsn, run_id)


def test_the_daily_notice_is_written_once_with_the_end_of_the_run(world: SyncWorld) -> None:
    run = world.sync("first")
    complete_run(world.dsn, run["id"], now=NOW)
    messages = world.rows("SELECT dedupe_key, payload FROM amop.amop_outbox WHERE kind = 'daily_sync'")
    assert [row["dedupe_key"] for row in messages] == [f"daily_sync:{run['id']}:{run['service_provider_id']}"]
    assert messages[0]["payload"]["data"]["key_name"] == "jasper_devices"


def test_statements_over_all_staged_rows_join_by_hash_and_those_over_the_history_as_the_planner_likes(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the statistics do not know the run yet, nested loops took two minutes for 2,000 SIMs."""
    settings: dict[str, str] = {}

    def spy(module: Any, name: str) -> None:
        function = getattr(module, name)

        def spied(connection: Any, *arguments: Any, **named: Any) -> Any:
            (settings[name],) = connection.execute("SELECT current_setting('enable_nestloop')").fetchone().values()
            return function(connection, *arguments, **named)

        monkeypatch.setattr(module, name, spied)

    for module, name in (
        (merge, "refuse_implausible"),
        (merges, "merge_devices"),
        (records, "quarantine_unusable_usage"),
        (merge, "record_synced_usage"),
    ):
        spy(module, name)
    world.sync("first")
    assert settings == {
        "refuse_implausible": "off",
        "merge_devices": "on",
        "quarantine_unusable_usage": "off",
        "record_synced_usage": "on",
    }
