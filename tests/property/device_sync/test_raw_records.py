"""For any records of a carrier: seen = merged + quarantined, no usage record is lost, a repetition changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from amop.device_sync.merge import merge_devices, merge_usage
from amop.device_sync.quality import check_quality
from amop.device_sync.quarantine import QuarantineFilter
from amop.device_sync.quarantine_retry import retry_records
from amop.device_sync.validation import Rejected, record_key, validate_listed_device
from tests.worlds.moments import present
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.reliability import RecordFault
from tests.worlds.sync_world import SyncWorld

PLAN = "ATT 25 MB"
NAMES = st.sampled_from([PLAN, "'; DROP TABLE amop.device; --", "%(run_id)s %s", "Données 数据", "x" * 300, "", "\x00"])
TEXT = st.none() | NAMES | st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ICCIDS = st.integers(min_value=0, max_value=40).map(lambda number: f"8901{number:015d}")
GOOD = st.fixed_dictionaries(
    {"iccid": ICCIDS, "status": st.sampled_from(["ACTIVATED", "DEACTIVATED", "RETIRED"]), "ratePlan": st.just(PLAN),
     "communicationPlan": st.just("Data LTE")}
)  # fmt: skip
ODD = st.fixed_dictionaries(
    {"iccid": ICCIDS | TEXT | JSON, "status": TEXT | JSON, "ratePlan": TEXT | JSON, "communicationPlan": TEXT},
    optional={"colour": JSON, "__proto__": JSON},
)
RECORDS = st.lists(GOOD | GOOD | ODD | JSON, min_size=1, max_size=12)
COUNTERS = (
    st.none() | st.integers(min_value=-1, max_value=2**63) | st.floats(allow_nan=False) | st.text(max_size=3) | JSON
)
USAGE = st.lists(st.tuples(ICCIDS | TEXT, COUNTERS), max_size=8)
FLEETS = st.lists(GOOD, min_size=2, max_size=15, unique_by=lambda raw: raw["iccid"])
SLOWLY = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # to shrink an example of a whole day would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def carrier() -> Iterator[RawCarrier]:
    with running_raw_carrier() as running:
        yield running


@pytest.fixture
def world(carrier: RawCarrier, warehouse_dsn: str) -> SyncWorld:
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows("UPDATE amop.service_provider SET maximum_bad_share = 1, detail_calls_per_run = 0 RETURNING id")
    return made


def paged(records: list[Any], size: int = 4) -> list[list[Any]]:
    return [records[begin : begin + size] for begin in range(0, len(records), size)]


def test_no_record_is_lost_and_a_repeated_merge_changes_nothing(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault
) -> None:
    figures = {"examples": 0, "records": 0, "usage": 0, "quarantined": 0}

    @SLOWLY
    @given(records=RECORDS, usage=USAGE)
    def check(records: list[Any], usage: list[tuple[Any, Any]]) -> None:
        world.delete_days()
        carrier.pages = paged(records)
        named = [{"deviceId": iccid, "usage": {"dataUsage": value}} for iccid, value in usage]
        carrier.usage = {(PLAN, "DATA"): [[{"zone": "Domestic", "devices": named}]]}
        run_id = world.open("any")
        world.stage(run_id)
        counts = merge_devices(world.dsn, run_id, now=present())
        updated = merge_usage(world.dsn, run_id, now=present())
        balance = check_quality(world.dsn, run_id)
        distinct = {record_key(raw) for raw in records}
        merged = {raw["iccid"] for raw in records if not isinstance(validate_listed_device(raw), Rejected)}
        assert balance.devices_seen == len(distinct)
        assert balance.devices_seen == balance.devices_merged + balance.devices_quarantined
        assert {row["iccid"] for row in world.rows("SELECT iccid FROM amop.device")} == merged
        bulk = 0 if not world.count("device_usage_processed", "kind = 'rate_plan_usage'") else read_bulk(world, usage)
        single = world.count("device_usage_staging", "rate_plan_code = ''")
        assert balance.usage_staged - single + balance.usage_quarantined == bulk
        before = world.final_state()
        assert merge_devices(world.dsn, run_id, now=present()) == counts
        assert merge_usage(world.dsn, run_id, now=present()) == updated
        assert not any(outcome.is_merged for outcome in retry_records(world.dsn, QuarantineFilter(), now=present()))
        assert world.final_state() == before
        figures["examples"] += 1
        figures["records"] += len(records)
        figures["usage"] += bulk
        figures["quarantined"] += balance.devices_quarantined + balance.usage_quarantined

    check()
    assert figures["quarantined"] > 0
    reliability(
        fault="random records in list and usage", injected=figures["records"] + figures["usage"],
        expected="seen = merged + quarantined, usage = staged + quarantined; a second merge and a retry change nothing",
        seen=f"{figures['quarantined']} quarantined, 0 lost, 0 changed by a repetition in {figures['examples']} fleets",
    )  # fmt: skip


def read_bulk(world: SyncWorld, usage: list[tuple[Any, Any]]) -> int:
    """Return the number of usage records that the run read: those of the plan, if a SIM of the list is on it."""
    plans = world.rows("SELECT DISTINCT rate_plan_code FROM amop.device_usage_processed WHERE usage_type = 'DATA'")
    return len(usage) if {"rate_plan_code": PLAN} in plans else 0


def test_pages_in_any_order_and_sims_listed_twice_end_in_the_same_fleet(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault
) -> None:
    figures = {"examples": 0, "duplicates": 0}

    @SLOWLY
    @given(
        fleet=st.lists(GOOD, min_size=2, max_size=15, unique_by=lambda raw: raw["iccid"]), seed=st.integers(0, 10**6)
    )
    def check(fleet: list[dict[str, Any]], seed: int) -> None:
        carrier.usage = {}
        dice = random.Random(seed)
        states = []
        for order in (fleet, dice.sample(fleet, len(fleet))):
            world.delete_days()
            twice = dice.sample(order, dice.randrange(len(order))) if order is not fleet else []
            listed = [*order, *twice]
            figures["duplicates"] += len(twice)
            # A page without a new SIM would count as repeated, so every duplicate is on a page with a new SIM.
            dice.shuffle(listed)
            carrier.pages = [listed] if twice else paged(listed)
            run = world.sync("any order")
            assert run["devices_seen"] == len(fleet)
            states.append(world.final_state())
        assert states[0] == states[1]
        figures["examples"] += 1

    check()
    reliability(
        fault="pages in random order, SIMs listed twice", injected=figures["duplicates"],
        expected="the same fleet, row by row", seen=f"0 rows differ in {figures['examples']} fleets",
    )  # fmt: skip
