"""Well-formed answers that are wrong: refused before the merge, or merged with a warning, by figures on 300 SIMs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from amop.carriers.errors import CarrierFormatError
from amop.database.connection import connect
from amop.device_sync import fetch, merge
from amop.runs.errors import MergeRefusedError
from amop.runs.store.sync_runs import warnings_of_instance
from amop.runs.sync_runs import end_run
from tests.worlds.moments import ORDINARY_MOMENT
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.reliability import RecordFault
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld

SIMS = 300
PLAN, OTHER_PLAN = "ATT 25 MB", "ATT 1 MB"
FIRST_DAY = ORDINARY_MOMENT
"""Five and a half days after the billing period began."""
SECOND_DAY = FIRST_DAY + timedelta(days=1)
ALLOW = {"allow_implausible": True}


@pytest.fixture(scope="module")
def carrier() -> Iterator[RawCarrier]:
    with running_raw_carrier() as running:
        yield running


@pytest.fixture
def world(carrier: RawCarrier, warehouse_dsn: str) -> SyncWorld:
    """Return a provider whose 300 SIMs were synced a day ago; 240 of them have used 1,000,000 bytes each."""
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    carrier.single = {}
    carrier.pages = [[sim(number) for number in range(SIMS)]]
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 1_000_000))]]}
    day(made, "first", now=FIRST_DAY)
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 1_200_000))]]}
    return made


def iccid_of(number: int) -> str:
    return f"8901{number:015d}"


def sim(number: int, **values: Any) -> dict[str, Any]:
    return {
        "iccid": iccid_of(number), "status": "ACTIVATED", "ratePlan": PLAN, "communicationPlan": "Telemetry LTE-M",
    } | values  # fmt: skip


def zone(usage: dict[int, int]) -> dict[str, Any]:
    return {
        "zone": "Domestic",
        "devices": [
            {"deviceId": iccid_of(number), "usage": {"dataUsage": value}} for number, value in usage.items()
        ],
    }  # fmt: skip


def stage(world: SyncWorld, name: str, *, now: Any = SECOND_DAY, **request: Any) -> int:
    run_id = world.open(name, now=now, **request)
    fetch.queue_sync(world.dsn, run_id)
    with world.client(clock=SimulatedClock()) as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=lambda: now)
        fetch.fetch_usage(world.dsn, run_id, client, clock=lambda: now)
    return run_id


def day(world: SyncWorld, name: str, *, now: Any = SECOND_DAY, **request: Any) -> dict[str, Any]:
    run_id = stage(world, name, now=now, **request)
    world.merge(run_id, now=now)
    return world.run(run_id)


def refusal(world: SyncWorld, **request: Any) -> str:
    """Return the text with which the second day is refused; nothing of it is visible."""
    before = world.final_state()
    run_id = stage(world, "second", **request)
    with pytest.raises(MergeRefusedError) as refused:
        merge.merge_devices(world.dsn, run_id, now=SECOND_DAY)
    after = world.final_state()
    assert [after[table] for table in ("device", "device_usage", "notices")] == [
        before[table] for table in ("device", "device_usage", "notices")
    ]
    with connect(world.dsn) as connection:
        end_run(connection, run_id, "refused", str(refused.value), now=SECOND_DAY)
        connection.commit()
    return str(refused.value)


def warnings(run: dict[str, Any]) -> list[str]:
    assert run["status"] == "complete"
    found: list[str] = run["warnings"]
    assert (run["summary"] or {})["warnings"] == found
    return found


LISTS: dict[str, tuple[list[int], str]] = {
    "an empty list": ([], f"the device list is empty although the provider has {SIMS} active SIMs"),
    "half of the list": (
        list(range(150)),
        "150 of 300 active SIMs are missing from the full device list (such as 8901000000000000150,",
    ),
    "a list without 61 SIMs": (list(range(239)), "61 of 300 active SIMs are missing from the full device list"),
}
"""Wrong list → the SIMs in it, and what the refusal says."""


@pytest.mark.parametrize("name", LISTS)
def test_a_full_list_without_a_fifth_of_the_fleet_is_refused_until_an_operator_allows_it(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault, name: str
) -> None:
    numbers, text = LISTS[name]
    carrier.pages = [[sim(number) for number in numbers]]
    error = refusal(world, full_sync=True)
    assert text in error
    assert "trigger the sync with full_sync and allow_implausible, which lets that one run pass" in error
    assert world.count("device_missing") == 0

    allowed = day(world, "allowed", full_sync=True, **ALLOW)
    assert allowed["devices_missing"] == SIMS - len(numbers)
    assert [text.split(" (such")[0] in warning for warning in warnings(allowed)] == [True]
    assert warnings(allowed)[0].endswith("(above the limit, allowed by allow_implausible)")
    assert world.count("device", "is_active") == SIMS
    reliability(
        fault=f"full list of {SIMS} SIMs: {name}", injected=1, expected="refused, 0 SIMs missing; a warning if allowed",
        seen=f"refused, 0 SIMs missing; {len(allowed['warnings'])} warning when allowed",
    )  # fmt: skip


def test_a_first_list_without_sims_is_refused_until_an_operator_allows_it(
    carrier: RawCarrier, warehouse_dsn: str
) -> None:
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    carrier.pages, carrier.usage = [[]], {}
    assert "the device list is empty, and the provider has no SIM yet" in refusal(made)
    assert warnings(day(made, "allowed", **ALLOW))


def test_a_list_without_a_tenth_of_the_fleet_is_merged_with_a_warning(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[sim(number) for number in range(270)]]
    assert warnings(day(world, "second", full_sync=True)) == [
        "30 of 300 active SIMs are missing from the full device list (such as 8901000000000000270, "
        "8901000000000000271, 8901000000000000272, 8901000000000000273, 8901000000000000274), more than "
        "service_provider.warning_unlisted_share 0.05"
    ]


def test_an_incremental_list_may_be_empty(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[]]
    run = day(world, "second")
    assert (run["is_full"], warnings(run)) == (False, [])
    assert world.devices()[iccid_of(0)]["ctd_data_usage"] == 1_200_000


@pytest.mark.parametrize("key", ["status", "ratePlan", "communicationPlan"])
def test_a_page_whose_records_lack_a_required_key_is_retried_and_then_a_final_error(
    world: SyncWorld, carrier: RawCarrier, key: str
) -> None:
    carrier.pages = [[{name: value for name, value in sim(number).items() if name != key} for number in range(SIMS)]]
    before = world.final_state()["device"]
    calls = len(carrier.paths)
    with pytest.raises(CarrierFormatError, match=rf"300 of 300 records of the page have no {key}, in every try"):
        stage(world, "second", full_sync=True)
    assert len(carrier.paths) - calls == 8, "seven retries"
    assert world.final_state()["device"] == before


def test_single_records_without_a_required_key_are_quarantined(world: SyncWorld, carrier: RawCarrier) -> None:
    lacking = {name: value for name, value in sim(0).items() if name != "ratePlan"}
    carrier.pages = [[lacking, *(sim(number) for number in range(1, SIMS))]]
    run = day(world, "second", full_sync=True)
    rejected = world.rows("SELECT iccid, reason FROM amop.device_quarantine WHERE run_id = %s", run["id"])
    assert rejected == [{"iccid": iccid_of(0), "reason": "ratePlan absent; a SIM without one has null"}]
    assert world.devices()[iccid_of(0)]["rate_plan"] == PLAN, "an absent plan is not null"


LOST_VALUES: dict[str, dict[str, Any]] = {
    "null rate plans": {"ratePlan": None},
    "unknown rate plans": {"ratePlan": "A new name"},
    "null communication plans": {"communicationPlan": None},
    "unknown communication plans": {"communicationPlan": "A new name"},
    "null statuses": {"status": None},
    "unknown statuses": {"status": "AKTIV"},
}
"""Fault → the value that SIMs have."""


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "incremental"])
@pytest.mark.parametrize("name", LOST_VALUES)
def test_values_of_a_tenth_of_the_fleet_that_turn_null_or_unknown_are_refused(
    world: SyncWorld, carrier: RawCarrier, name: str, is_full: bool
) -> None:
    lost = [sim(number, **LOST_VALUES[name]) for number in range(31)]
    carrier.pages = [[*lost, *(sim(number) for number in range(31, SIMS) if is_full)]]
    (key,) = LOST_VALUES[name]
    label = {"ratePlan": "rate plan", "communicationPlan": "communication plan"}.get(key, key)
    assert f"the {label} of 31 of 300 SIMs turned null or unknown (such as 8901000000000000000," in refusal(
        world, full_sync=is_full
    )


def test_values_of_some_sims_that_turn_null_are_merged_with_a_warning_and_of_two_without(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    # The usage of a SIM without a plan is read singly.
    carrier.single = {iccid_of(number): {"iccid": iccid_of(number), "ctdDataUsage": 1_200_000} for number in range(12)}
    carrier.pages = [[sim(number, ratePlan=None if number < 2 else PLAN) for number in range(SIMS)]]
    assert warnings(day(world, "two", full_sync=True)) == []
    carrier.pages = [[sim(number, ratePlan=None if number < 12 else PLAN) for number in range(SIMS)]]
    (warning,) = warnings(day(world, "twelve", full_sync=True))
    assert warning.startswith("the rate plan of 10 of 300 SIMs turned null or unknown")
    assert world.count("device", "rate_plan IS NULL") == 12


def test_new_sims_without_a_known_plan_are_merged_with_a_warning(world: SyncWorld, carrier: RawCarrier) -> None:
    new = [sim(number, ratePlan="Not in the file") for number in range(SIMS, SIMS + 100)]
    carrier.pages = [[*(sim(number) for number in range(SIMS)), *new]]
    (warning,) = warnings(day(world, "second", full_sync=True))
    assert warning.startswith("100 new SIMs of 400 SIMs have no known rate plan (such as 8901000000000000300")


def test_a_first_list_on_plans_that_the_file_does_not_have_yet_is_merged_without_a_warning(
    carrier: RawCarrier, warehouse_dsn: str
) -> None:
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    carrier.pages = [[sim(number, ratePlan="Not in the file", communicationPlan=None) for number in range(SIMS)]]
    carrier.usage = {("Not in the file", "DATA"): [[zone({1: 1_000})]]}
    assert warnings(day(made, "first")) == []


def test_statuses_are_read_without_regard_to_case_and_unknown_ones_are_counted(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    spellings = ["Activated", "activated", "Deactivated", "Test Ready", " RETIRED ", "Frozen"]
    carrier.pages = [[sim(number, status=status) for number, status in enumerate(spellings)]]
    run = day(world, "second")
    devices = world.devices()
    assert [devices[iccid_of(number)]["status"] for number in range(len(spellings))] == [
        "ACTIVATED", "ACTIVATED", "DEACTIVATED", "TEST_READY", "RETIRED", "Frozen",
    ]  # fmt: skip
    assert run["summary"]["unknown_status_count"] == 1
    assert warnings(run) == []


USAGE: dict[str, tuple[dict[int, int], str]] = {
    "no zones at all": ({}, "240 of 240 SIMs with DATA usage in this billing period have none"),
    "half of the SIMs": (
        dict.fromkeys(range(120), 1_200_000),
        "120 of 240 SIMs with DATA usage in this billing period have none",
    ),
    "25 SIMs missing": (dict.fromkeys(range(25, 240), 1_200_000), "25 of 240 SIMs with DATA usage"),
    "zeros": (dict.fromkeys(range(240), 0), "240 of 240 SIMs with DATA usage in this billing period have none"),
    "usage x 1024": (
        dict.fromkeys(range(240), 1_200_000 * 1024),
        "the DATA usage of 240 SIMs is 292454400000 bytes in total, jumped from 238000000 at the previous reading, "
        "beyond service_provider.maximum_usage_factor 4",
    ),
    "usage / 1024": (
        dict.fromkeys(range(240), 1_172),
        "the DATA usage of 240 SIMs is 278936 bytes in total, fallen from 238000000 at the previous reading",
    ),
}
"""Wrong usage → the bytes of each SIM, and what the refusal says."""


@pytest.mark.parametrize("name", USAGE)
def test_usage_that_vanishes_or_jumps_is_refused_until_an_operator_allows_it(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault, name: str
) -> None:
    usage, text = USAGE[name]
    carrier.usage = {(PLAN, "DATA"): [[zone(usage)] if usage else []]}
    # The single reads that a fall makes necessary say the same: the carrier is wrong everywhere.
    carrier.single = {
        iccid_of(number): {"iccid": iccid_of(number), "ctdDataUsage": usage.get(number, 0)} for number in range(240)
    }
    error = refusal(world)
    assert text in error
    assert error.endswith("trigger the sync with allow_implausible, which lets that one run pass")
    kept = world.count("device", "ctd_data_usage = 1000000")
    assert kept == 240
    assert any(text in warning for warning in warnings(day(world, "allowed", **ALLOW)))
    reliability(
        fault=f"bulk usage answered with 200: {name}", injected=1, expected="refused; 240 SIMs keep their counters",
        seen=f"refused; {kept} SIMs keep their counters",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "text"),
    [
        (dict.fromkeys(range(10, 240), 1_200_000), "10 of 240 SIMs with DATA usage in this billing period have none"),
        (dict.fromkeys(range(240), 3_000_000), "jumped from 238000000 at the previous reading"),
    ],
    ids=["10 SIMs without usage", "usage x 2.5"],
)
def test_smaller_changes_of_usage_are_merged_with_a_warning(
    world: SyncWorld, carrier: RawCarrier, usage: dict[int, int], text: str
) -> None:
    carrier.usage = {(PLAN, "DATA"): [[zone(usage)]]}
    assert [text in warning for warning in warnings(day(world, "second"))] == [True]


def test_usage_as_usual_and_a_single_sim_that_jumps_have_no_warning_and_two_that_vanish_are_named(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    assert warnings(day(world, "second")) == []
    usage = dict.fromkeys(range(2, 240), 1_300_000) | {239: 10**12}
    carrier.usage = {(PLAN, "DATA"): [[zone(usage)]]}
    (warning,) = warnings(day(world, "third", now=SECOND_DAY + timedelta(days=1)))
    assert warning.startswith(
        f"the DATA counter of 2 SIMs fell within the billing period: {iccid_of(0)} from 1200000 to 0, {iccid_of(1)} "
        "from 1200000 to 0 bytes."
    )


def test_a_new_billing_period_begins_without_usage_and_ends_with_as_much_as_before(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    last = FIRST_DAY + timedelta(days=23)  # 17 December; the period ends on the 18th at 18:00 in New York
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 5_000_000))]]}
    assert warnings(day(world, "last", now=last)) == []
    carrier.usage = {}
    assert warnings(day(world, "first hours", now=last + timedelta(days=1, hours=15), full_sync=True)) == []
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 600_000))]]}
    assert warnings(day(world, "third day", now=last + timedelta(days=4))) == []


def test_bytes_that_become_kilobytes_at_the_change_of_the_period_are_refused(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 5_000_000))]]}
    day(world, "last", now=FIRST_DAY + timedelta(days=23))
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 600))]]}
    run_id = stage(world, "new", now=FIRST_DAY + timedelta(days=27))
    with pytest.raises(MergeRefusedError, match="142800 bytes in total 2.5 days .* less than 1/4 of the 105970803"):
        merge.merge_devices(world.dsn, run_id, now=FIRST_DAY + timedelta(days=27))


@pytest.mark.parametrize(("share", "warned"), [(0, 5), (0.01, 5), (0.1, 4), (0.5, 0), (30, 6)])
def test_a_billing_period_that_begins_wrong_is_warned_of_every_night_of_the_default_schedule(
    world: SyncWorld, carrier: RawCarrier, share: float, warned: int
) -> None:
    """The first of six syncs is five hours after the period's end: nothing is judged low so early."""
    end = min(row["cycle_end"] for row in world.rows(
        "SELECT cycle_end FROM amop.billing_period WHERE service_provider_id = 1 AND cycle_end > %s", FIRST_DAY
    ))  # fmt: skip
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 6_000_000))]]}
    assert warnings(day(world, "last of the period", now=end - timedelta(hours=19))) == []
    found = []
    for night in range(6):
        elapsed = timedelta(hours=5 + 24 * night)
        used = int(share * 6_000_000 * (elapsed / timedelta(days=30)))
        carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), used) if used else {})]]}
        found += warnings(day(world, f"night {night}", now=end + elapsed))
    assert len(found) == warned
    assert all("the previous billing period suggests" in warning for warning in found)
    assert world.count("fleet_usage", "usage_type = 'DATA'") == 7


def test_an_instance_has_the_warnings_of_the_runs_that_its_inputs_came_from(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 3_000_000))]]}
    jumped = day(world, "second")
    carrier.usage = {(PLAN, "DATA"): [[zone(dict.fromkeys(range(240), 3_300_000))]]}
    day(world, "third", now=SECOND_DAY + timedelta(days=1))
    read_at = SECOND_DAY + timedelta(days=1, hours=1)
    with psycopg.connect(world.dsn) as connection:
        session_id = connection.execute(
            "INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, opened_by)"
            " VALUES (1, %s, 'test') RETURNING id",
            (jumped["billing_period_id"],),
        ).fetchone()[0]  # type: ignore[index]
        instance_id = connection.execute(
            "INSERT INTO amop.optimization_instance (session_id, inputs_read_at) VALUES (%s, %s) RETURNING id",
            (session_id, read_at),
        ).fetchone()[0]  # type: ignore[index]
    with connect(world.dsn) as connection:
        found = warnings_of_instance(connection, instance_id=instance_id)
    assert [(row.run_id, row.warning) for row in found] == [(jumped["id"], jumped["warnings"][0])]

    day(world, "full again", now=read_at - timedelta(minutes=30), full_sync=True)
    with connect(world.dsn) as connection:
        assert warnings_of_instance(connection, instance_id=instance_id) == []
