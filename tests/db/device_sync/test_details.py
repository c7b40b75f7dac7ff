"""Details of SIMs: caught up run by run, most urgent first, each field by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from amop.device_sync import validation
from amop.device_sync.quarantine import QuarantineFilter
from amop.device_sync.quarantine_retry import retry_records
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import present
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.sync_world import SyncWorld

PLAN = "ATT 25 MB"
RIGHT_DATE = "2026-11-20 10:00:00.000+0000"


@pytest.fixture(scope="module")
def carrier() -> Iterator[RawCarrier]:
    with running_raw_carrier() as running:
        yield running


@pytest.fixture
def world(carrier: RawCarrier, warehouse_dsn: str) -> SyncWorld:
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 4 RETURNING id")
    carrier.usage, carrier.single, carrier.details = {}, {}, {}
    return made


def iccid_of(number: int) -> str:
    return f"8901{number:015d}"


def sim(number: int, **values: Any) -> dict[str, Any]:
    return {
        "iccid": iccid_of(number), "status": "ACTIVATED", "ratePlan": PLAN, "communicationPlan": "Telemetry LTE-M",
    } | values  # fmt: skip


def details_read(world: SyncWorld, run: dict[str, Any]) -> list[int]:
    """Return the numbers of the SIMs whose details a run asked for, in the order of the calls."""
    rows = world.rows(
        "SELECT iccid FROM amop.carrier_page WHERE run_id = %s AND kind = 'device_details' ORDER BY received_at",
        run["id"],
    )
    return [int(row["iccid"][4:]) for row in rows]


def test_every_run_reads_details_of_the_backlog_until_none_is_left_and_9_sims_that_are_listed_again(
    warehouse_dsn: str,
) -> None:
    with running_carrier(devices_per_account=120, accounts=("jasper",), limits_are_enforced=False) as sandbox:
        world = SyncWorld(warehouse_dsn, sandbox)
        backlog = [world.sync(f"day {day}")["summary"]["details_backlog_count"] for day in range(4)]
        calls = sandbox.stats("api_jasper")["calls_by_endpoint"]["GET /devices/{iccid}"]
        devices = world.devices()
        wrong = [
            iccid for iccid, sim in world.truth().items()
            if (devices[iccid]["imsi"], devices[iccid]["msisdn"], devices[iccid]["imei"])
            != (sim["imsi"], sim["msisdn"], sim["imei"])
            or devices[iccid]["date_activated"]
            != (datetime.fromisoformat(sim["date_activated"]) if sim["date_activated"] else None)
        ]  # fmt: skip
    assert (backlog, calls, wrong) == ([70, 23, 0, 0], 120 + 9, [])


def test_sims_that_may_have_been_activated_in_the_cycle_are_read_first_and_the_last_modified_first(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    never_activated = {2: "TEST_READY", 5: "INVENTORY", 9: "RETIRED"}
    carrier.pages = [[sim(number, status=never_activated.get(number, "ACTIVATED")) for number in range(10)]]
    first = world.sync("first", full_sync=True)
    assert details_read(world, first) == [8, 7, 6, 4]
    carrier.pages = [[]]
    assert details_read(world, world.sync("second")) == [3, 1, 0, 9], "SIMs outside of an incremental list too"
    assert details_read(world, world.sync("third")) == [5, 2]


def test_sims_that_were_active_before_the_cycle_are_read_after_the_others(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    carrier.pages = [[sim(number) for number in range(3)]]
    world.sync("first", full_sync=True)
    world.rows("UPDATE amop.device_history SET valid_from = '2026-11-01' RETURNING device_id")
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 4 RETURNING id")
    carrier.pages = [[sim(7)]]
    assert details_read(world, world.sync("second")) == [7, 2, 1, 0]


def test_a_sim_that_was_activated_since_its_details_were_read_is_read_again(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1, status="TEST_READY")]]
    world.sync("first")
    carrier.pages = [[sim(1)]]
    carrier.details = {iccid_of(1): {"iccid": iccid_of(1), "dateActivated": RIGHT_DATE}}
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    assert details_read(world, world.sync("without budget")) == []
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 4 RETURNING id")
    carrier.pages = [[]]
    assert details_read(world, world.sync("third, and not modified again")) == [1]
    assert world.devices()[iccid_of(1)]["date_activated"] == datetime(2026, 11, 20, 10, tzinfo=UTC)
    read_at = world.devices()[iccid_of(1)]["details_read_at"]
    assert details_read(world, world.sync("fourth")) == []
    assert world.devices()[iccid_of(1)]["details_read_at"] == read_at


def test_a_sim_that_is_listed_as_modified_though_nothing_in_the_list_has_changed_is_read_again(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1), sim(2)]]
    carrier.details = {iccid_of(1): {"iccid": iccid_of(1), "imei": "356938035643809"}}
    world.sync("first")
    carrier.details = {iccid_of(1): {"iccid": iccid_of(1), "imei": "490154203237518"}}
    carrier.pages = [[sim(1), sim(2, ratePlan="ATT 5 MB"), sim(3), sim(4)]]
    assert details_read(world, world.sync("second")) == [1, 4, 3], (
        "the plan of SIM 2 has changed: nothing else is sought"
    )
    changes = world.rows("SELECT from_imei, to_imei FROM amop.device_imei_change")
    assert [tuple(change.values()) for change in changes] == [("356938035643809", "490154203237518")]
    written = world.devices()[iccid_of(1)]["modified_at"]
    assert details_read(world, world.sync("third")) == [2, 1, 4, 3], "the longest ago first"
    assert world.devices()[iccid_of(1)]["modified_at"] == written, "what is the same is not written"


def test_a_full_list_reads_no_details_again(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[sim(1)]]
    assert details_read(world, world.sync("first")) == [1]
    assert details_read(world, world.sync("second", full_sync=True)) == []


BAD = {"iccid": iccid_of(1), "imsi": "310410000000001", "imei": ["35"], "dateActivated": "20-NOV-2026"}


def test_unreadable_details_are_quarantined_by_field_the_others_are_kept_and_later_runs_try_again(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1), sim(2)]]
    carrier.details = {iccid_of(1): BAD}
    run = world.sync("first", full_sync=True)
    device = world.devices()[iccid_of(1)]
    assert (device["imsi"], device["imei"], device["date_activated"]) == (BAD["imsi"], None, None)
    found = world.rows(
        "SELECT kind, source, iccid, raw, reason FROM amop.device_quarantine WHERE resolved_at IS NULL ORDER BY reason"
    )
    assert [row["reason"] for row in found] == [
        "dateActivated is '20-NOV-2026', not a date like 2026-10-20 14:03:11.000+0000", "imei is a list, not text",
    ]  # fmt: skip
    assert all((row["kind"], row["source"], row["raw"]) == ("device", "device_details", BAD) for row in found)
    assert run["summary"]["details_backlog_count"] == 1
    assert run["summary"]["unknown_activation_count"] == 2

    carrier.details = {iccid_of(1): BAD | {"imei": "35", "dateActivated": RIGHT_DATE}}
    again = world.sync("second")
    device = world.devices()[iccid_of(1)]
    assert (device["imei"], device["date_activated"]) == ("35", datetime(2026, 11, 20, 10, tzinfo=UTC))
    assert world.count("device_quarantine", "resolved_at IS NULL") == 0
    assert again["summary"]["details_backlog_count"] == 0


def test_sims_with_unreadable_details_do_not_keep_the_others_waiting(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[sim(number) for number in range(12)]]
    carrier.details = {iccid_of(n): {"iccid": iccid_of(n), "dateActivated": "soon"} for n in range(6, 12)}
    read = [details_read(world, world.sync(f"day {day}")) for day in range(4)]
    assert [len(numbers) for numbers in read] == [4, 4, 4, 4]
    assert set().union(*read) >= set(range(12)), "all twelve are read within four runs"
    assert all(len(set(numbers) & set(range(6, 12))) >= 1 for numbers in read), "and one of the six again in each"


def test_an_unlisted_sim_with_unreadable_details_neither_counts_as_listed_nor_breaks_the_balance(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    carrier.pages = [[sim(1), sim(2)]]
    world.sync("first", full_sync=True)
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 4 RETURNING id")
    carrier.pages, carrier.details = [[sim(2)]], {iccid_of(1): BAD}
    run = world.sync("second")
    assert (run["devices_seen"], run["status"]) == (1, "complete")
    assert world.devices()[iccid_of(1)]["imsi"] == BAD["imsi"]
    assert world.sync("third", full_sync=True)["devices_missing"] == 1


def test_a_quarantined_detail_that_is_readable_after_an_upgrade_fills_what_is_unknown(
    world: SyncWorld, carrier: RawCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier.pages = [[sim(1)]]
    carrier.details = {iccid_of(1): {"iccid": iccid_of(1), "dateActivated": "20-NOV-2026"}}
    world.sync("first", full_sync=True)
    assert [outcome.is_merged for outcome in retry_records(world.dsn, QuarantineFilter(), now=present())] == [False]
    monkeypatch.setattr(validation, "_moment", lambda value: datetime(2026, 11, 20, tzinfo=UTC))
    assert [outcome.is_merged for outcome in retry_records(world.dsn, QuarantineFilter(), now=present())] == [True]
    assert world.devices()[iccid_of(1)]["date_activated"] == datetime(2026, 11, 20, tzinfo=UTC)
