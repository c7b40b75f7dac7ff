"""Guards: a short list deactivates no fleet, and older data never overwrites newer data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from amop.database.connection import transaction
from amop.device_sync import fetch, merge
from amop.runs.errors import MergeRefusedError, SyncRunEndedError
from amop.runs.reopening import resume_run
from amop.runs.sync_runs import end_run
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import present
from tests.worlds.reliability import RecordFault
from tests.worlds.sync_world import SyncWorld

SIMS = 120
LIST = "/rws/api/v1/devices"


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        made = SyncWorld(warehouse_dsn, carrier)
        made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
        yield made


def end(world: SyncWorld, run_id: int, status: str, error: str = "as a task that failed for good does") -> None:
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, status, error, now=present())


def active(world: SyncWorld) -> int:
    return world.count("device", "is_active")


def test_a_fifth_of_the_fleet_is_deactivated_only_when_an_operator_allows_it(
    world: SyncWorld, reliability: RecordFault
) -> None:
    world.sync("first")
    kept, *rest = sorted(world.truth())
    gone = rest[: SIMS // 5]
    world.carrier.remove_devices(gone)
    once = world.sync("missed once", full_sync=True)
    assert (once["devices_missing"], active(world)) == (len(gone), SIMS), "one list alone deactivates nothing"

    world.carrier.change_devices([kept], status="DEACTIVATED")
    refused = world.open("missed twice", full_sync=True)
    world.stage(refused)
    before = world.final_state()
    with pytest.raises(MergeRefusedError) as refusal:
        merge.merge_devices(world.dsn, refused, now=present())
    for part in (
        f"{len(gone)} of {SIMS} SIMs are missing from a full list for the second time and would be deactivated",
        "the allowed share 0.10", "trigger the sync with full_sync and allow_mass_deactivation",
    ):  # fmt: skip
        assert part in str(refusal.value)
    assert world.final_state() == before, "nothing of a refused run is merged"
    end(world, refused, "refused")

    allowed = world.sync("allowed", full_sync=True, allow_mass_deactivation=True)
    assert (allowed["allows_mass_deactivation"], allowed["devices_vanished"]) == (True, len(gone))
    assert active(world) == SIMS - len(gone)
    assert world.devices()[kept]["status"] == "DEACTIVATED"
    reliability(
        fault="full list that misses a fifth of the fleet, twice", injected=len(gone),
        expected="recorded, then refused with nothing merged, then deactivated when allowed",
        seen=f"{once['devices_missing']} recorded, 0 rows merged by the refused run, "
        f"{allowed['devices_vanished']} deactivated when allowed",
    )  # fmt: skip


def test_a_tenth_of_the_fleet_is_deactivated_without_permission(world: SyncWorld) -> None:
    world.sync("first")
    world.carrier.remove_devices(sorted(world.truth())[: SIMS // 10])
    world.sync("missed once", full_sync=True)
    assert world.sync("missed twice", full_sync=True)["devices_vanished"] == SIMS // 10


def test_a_sim_listed_between_two_full_lists_is_no_longer_missing(world: SyncWorld) -> None:
    world.sync("first")
    iccid = sorted(world.truth())[0]
    (sim,) = [world.truth()[iccid]]
    world.carrier.remove_devices([iccid])
    world.sync("missed", full_sync=True)
    assert world.count("device_missing") == 1
    with world.client() as client:
        run_id = world.open("back", modified_since=present() - timedelta(days=1))
        fetch.queue_sync(world.dsn, run_id)
        fetch.fetch_devices(world.dsn, run_id, client)
        world.rows(
            "INSERT INTO amop.device_staging (run_id, scan_pass, page_number, row_number, iccid, status, rate_plan)"
            " VALUES (%s, 1, 99, 1, %s, %s, %s) RETURNING iccid",
            run_id, iccid, sim["status"], sim["rate_plan"],
        )  # fmt: skip
        fetch.fetch_usage(world.dsn, run_id, client)
    world.rows("UPDATE amop.device_sync_run SET devices_seen = devices_seen + 1 WHERE id = %s RETURNING id", run_id)
    merge.merge_devices(world.dsn, run_id, now=present())
    assert world.count("device_missing") == 0
    end(world, run_id, "failed")
    run = world.sync("missed again", full_sync=True)
    assert (run["devices_vanished"], run["devices_missing"], active(world)) == (0, 1, SIMS)


def test_the_full_list_of_a_run_that_failed_does_not_count(world: SyncWorld) -> None:
    world.sync("first")
    world.carrier.remove_devices(sorted(world.truth())[:3])
    failed = world.open("merged and failed", full_sync=True)
    world.stage(failed)
    merge.merge_devices(world.dsn, failed, now=present())
    end(world, failed, "failed")
    once = world.sync("the first complete one", full_sync=True)
    assert (once["devices_vanished"], active(world)) == (0, SIMS)
    assert world.sync("the second complete one", full_sync=True)["devices_vanished"] == 3


def test_the_next_daily_list_is_full_while_a_sim_is_missing(world: SyncWorld) -> None:
    world.sync("first")
    world.carrier.remove_devices(sorted(world.truth())[:1])
    assert not world.sync("incremental")["is_full"]
    world.sync("missed", full_sync=True)
    assert world.sync("decides")["is_full"]
    assert not world.sync("as usual")["is_full"]
    assert active(world) == SIMS - 1


def test_a_list_that_moves_in_every_reading_marks_no_sim_as_missing(world: SyncWorld, reliability: RecordFault) -> None:
    world.sync("first")
    *stay, gone = sorted(world.truth())
    world.carrier.remove_devices([gone])
    for reading in range(7):  # other SIMs move to the end in every one
        world.carrier.add_fault(touch=stay[reading * 15 : reading * 15 + 15], path=LIST, page_number=2, times=1)
    run = world.sync("moving", full_sync=True)
    assert (run["is_full"], run["list_is_exact"]) == (True, False)
    assert (run["devices_missing"], world.count("device_missing"), active(world)) == (0, 0, SIMS)
    reliability(
        fault="full list that moves in every reading", injected=5, expected="no SIM is recorded as missing",
        seen=f"{run['devices_missing']} SIMs missing, {active(world)} of {SIMS} active",
    )  # fmt: skip


def test_a_sim_with_a_bad_record_is_not_missing(world: SyncWorld) -> None:
    world.sync("first")
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 1 RETURNING id")
    bad = sorted(world.truth())[:2]
    world.carrier.change_devices(bad, extra={"status": 17})
    for name in ("bad once", "bad twice"):
        run = world.sync(name, full_sync=True)
        assert (run["devices_missing"], run["devices_vanished"], active(world)) == (0, 0, SIMS)


def test_a_run_that_began_before_the_last_merged_one_cannot_merge(world: SyncWorld, reliability: RecordFault) -> None:
    world.sync("first")
    iccid = sorted(world.truth())[0]
    world.carrier.change_devices([iccid], status="DEACTIVATED")
    older = world.open("older", full_sync=True)
    world.stage(older)
    end(world, older, "failed")
    world.carrier.change_devices([iccid], status="RETIRED")
    newer = world.sync("newer", full_sync=True)["id"]
    calls = world.carrier.stats("api_jasper")["calls"]
    before = world.devices()[iccid]

    with pytest.raises(SyncRunEndedError, match=rf"run {newer} \(newer\) began at .* Nothing older overwrites"):
        world.clear(older)
    again = world.open("older", full_sync=True)  # … or the whole DAG run
    assert (again, world.run(older)["status"]) == (older, "refused")
    world.rows("UPDATE amop.device_sync_run SET status = 'running' WHERE id = %s RETURNING id", older)
    for step in (merge.merge_devices, merge.merge_usage):
        with pytest.raises(MergeRefusedError, match="Nothing older overwrites anything newer: trigger a new run"):
            step(world.dsn, older, now=present())
    assert world.devices()[iccid] == before
    assert world.carrier.stats("api_jasper")["calls"] == calls
    reliability(
        fault="older run that is cleared after a newer one has merged", injected=4,
        expected="refused at every step without a call; the newer values stay",
        seen=f"refused 4 times, {world.carrier.stats('api_jasper')['calls'] - calls} calls; status of the SIM "
        f"{world.devices()[iccid]['status']}",
    )  # fmt: skip


def test_a_delayed_usage_merge_does_not_overwrite_the_next_days_counters(world: SyncWorld) -> None:
    iccid = max(world.truth().values(), key=lambda sim: sim["data_usage"])["iccid"]
    older = world.open("older")
    world.stage(older)
    merge.merge_devices(world.dsn, older, now=present())
    end(world, older, "failed")
    world.carrier.change_devices([iccid], data_usage=10**9, roaming_data_usage=0)
    world.sync("newer", full_sync=True)
    world.rows("UPDATE amop.device_sync_run SET status = 'running' WHERE id = %s RETURNING id", older)
    with pytest.raises(MergeRefusedError, match="Nothing older overwrites"):
        merge.merge_usage(world.dsn, older, now=present())
    assert world.devices()[iccid]["ctd_data_usage"] == 10**9


def test_a_task_that_airflow_resumes_does_not_reopen_a_failed_run(world: SyncWorld) -> None:
    run_id = world.open("failed")
    fetch.queue_sync(world.dsn, run_id)
    end(world, run_id, "failed", "no progress for 30 minutes")
    for clear_number, may_reopen in ((0, True), (1, False)):
        with pytest.raises(SyncRunEndedError, match="no progress for 30 minutes"):
            resume_run(world.dsn, run_id, clear_number=clear_number, may_reopen=may_reopen, now=present())
    with world.client() as client:
        for step in (fetch.fetch_devices, fetch.fetch_usage):
            with pytest.raises(SyncRunEndedError, match="no progress for 30 minutes"):
                step(world.dsn, run_id, client)
        assert resume_run(world.dsn, run_id, clear_number=1, now=present()), "a task cleared by an operator resumes"
        assert fetch.fetch_devices(world.dsn, run_id, client) == SIMS
    assert world.run(run_id)["status"] == "running"
