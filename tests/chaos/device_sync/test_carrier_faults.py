"""Faults of the carrier, over real HTTP: the day ends with the rows of an undisturbed one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amop.carriers import http_client
from amop.carriers.errors import CarrierAuthenticationError, CarrierUnavailableError
from amop.runs.errors import ListGuardError
from sandbox.carrier.running import RunningCarrier, running_carrier
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.reliability import RecordFault
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld

pytestmark = pytest.mark.xdist_group("carrier_faults")

SIMS = 120
ON_ONE_PLAN = "ATT 25 MB"
"""Most SIMs are put on it, so that its usage has more than one page."""
LIST = "/rws/api/v1/devices"
USAGE = "/rws/api/v1/usages"
SAME_ROWS = "0 rows differ"


@dataclass(frozen=True)
class Undisturbed:
    """What a day without faults leaves and costs."""

    state: dict[str, list[tuple[Any, ...]]]
    calls: int


@pytest.fixture(scope="module")
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as running:
        iccids = [sim["iccid"] for sim in running.truth()["devices"] if sim["data_usage"] > 0][:80]
        running.change_devices(iccids, rate_plan=ON_ONE_PLAN, rate_plan_version=1)
        yield running


@pytest.fixture(scope="module")
def undisturbed(
    carrier: RunningCarrier, postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undisturbed]:
    name = f"undisturbed_{random.SystemRandom().randrange(10**9)}"
    postgres_server.create_database(name, template="amop_template")
    world = world_with_all_details(postgres_server.conninfo(name), carrier, tmp_path_factory.mktemp("undisturbed"))
    carrier.reset_stats()
    world.sync("day")
    yield Undisturbed(world.final_state(), carrier.stats("api_jasper")["calls"])
    postgres_server.drop_database(name)


@pytest.fixture
def world(carrier: RunningCarrier, undisturbed: Undisturbed, warehouse_dsn: str, tmp_path: Path) -> Iterator[SyncWorld]:
    carrier.clear_faults()
    carrier.reset_stats()
    yield world_with_all_details(warehouse_dsn, carrier, tmp_path)
    carrier.clear_faults()


def world_with_all_details(dsn: str, carrier: RunningCarrier, folder: Path) -> SyncWorld:
    """Return a world that reads the details of every SIM: else those of the latest in the list, which faults move."""
    made = SyncWorld(dsn, carrier)
    made.rows("UPDATE amop.service_provider SET detail_calls_per_run = %s RETURNING id", SIMS)
    return made


def different_rows(world: SyncWorld, undisturbed: Undisturbed) -> int:
    """Return how many rows one of the two days has and the other has not."""
    state = world.final_state()
    return sum(len(set(rows) ^ set(state[table])) for table, rows in undisturbed.state.items()) + sum(
        abs(len(rows) - len(state[table])) for table, rows in undisturbed.state.items()
    )


def injected(carrier: RunningCarrier) -> int:
    return sum(fault["applied"] for fault in carrier.faults())


TRANSIENT: dict[str, list[dict[str, Any]]] = {
    "500, three in a row": [{"status": 500, "times": 3, "page_number": 2}],
    "502, three in a row": [{"status": 502, "times": 3, "path": USAGE}],
    "503, three in a row": [{"status": 503, "times": 3, "path": LIST, "nth_call": 2}],
    "503 with Retry-After in seconds": [{"status": 503, "retry_after_seconds": 60}],
    "503 with Retry-After as a date": [{"status": 503, "retry_after_seconds": 60, "retry_after_form": "http_date"}],
    "429 with Retry-After in seconds": [{"status": 429, "retry_after_seconds": 1, "page_number": 2}],
    "429 with Retry-After as a date": [{"status": 429, "retry_after_seconds": 1, "retry_after_form": "http_date"}],
    "connection reset": [{"reset": True, "times": 3, "page_number": 3}, {"reset": True, "path": USAGE, "nth_call": 5}],
    "truncated JSON": [{"truncate": True, "times": 3, "page_number": 2}, {"truncate": True, "path": USAGE}],
    "hang": [{"hang_seconds": 5, "times": 2, "page_number": 2}, {"hang_seconds": 5, "path": USAGE, "nth_call": 3}],
    "slow drip": [{"drip_seconds": 0.1, "times": 2, "page_number": 2}, {"drip_seconds": 0.4, "path": USAGE}],
    "empty page that is not the last": [
        {"empty_page": True, "times": 2, "path": LIST, "page_number": 2}, {"empty_page": True, "path": USAGE},
    ],
}  # fmt: skip
"""Fault → how it is scripted. Each costs one extra call."""


@pytest.mark.parametrize("name", TRANSIENT)
def test_each_transient_fault_costs_one_call_and_changes_no_row(
    world: SyncWorld,
    undisturbed: Undisturbed,
    reliability: RecordFault,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(http_client, "READ_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(http_client, "CALL_DEADLINE_SECONDS", 1)
    for fault in TRANSIENT[name]:
        world.carrier.add_fault(**fault)
    planned = sum(fault.get("times", 1) for fault in TRANSIENT[name])
    run_id = world.open("day")
    world.stage(run_id, clock=SimulatedClock())
    world.merge(run_id)
    calls = world.carrier.stats("api_jasper")["calls"]
    rows = different_rows(world, undisturbed)
    assert injected(world.carrier) == planned
    assert (rows, calls - undisturbed.calls) == (0, planned)
    reliability(
        fault=name, injected=planned, expected=f"{SAME_ROWS}, {planned} extra calls",
        seen=f"{rows} rows differ, {calls - undisturbed.calls} extra calls",
    )  # fmt: skip


RELISTED: dict[str, tuple[dict[str, Any], int]] = {
    "page of the device list that repeats the one before": ({"repeat_page": True, "path": LIST, "page_number": 2}, 3),
    "page of a plan's usage that repeats the one before": ({"repeat_page": True, "path": USAGE, "page_number": 2}, 2),
    "last page of the device list that repeats the one before": (
        {"repeat_page": True, "path": LIST, "page_number": 3},
        3,
    ),
}
"""Fault → how it is scripted, and how many pages are read again for it."""


@pytest.mark.parametrize("name", RELISTED)
def test_a_repeated_page_is_read_again_and_nothing_counts_twice(
    world: SyncWorld, undisturbed: Undisturbed, reliability: RecordFault, name: str
) -> None:
    fault, pages_again = RELISTED[name]
    world.carrier.add_fault(**fault)
    world.sync("day")
    calls = world.carrier.stats("api_jasper")["calls"]
    rows = different_rows(world, undisturbed)
    assert injected(world.carrier) == 1
    assert (rows, calls - undisturbed.calls) == (0, pages_again)
    reliability(
        fault=name, injected=1, expected=f"{SAME_ROWS}, {pages_again} pages read again",
        seen=f"{rows} rows differ, {calls - undisturbed.calls} pages read again",
    )  # fmt: skip


def test_sims_that_move_between_pages_during_the_scan_are_neither_lost_nor_duplicated(
    world: SyncWorld, undisturbed: Undisturbed, reliability: RecordFault
) -> None:
    order = [row[1] for row in undisturbed.state["device"]]
    moved = random.Random(5).sample(order, 30)
    for page, iccids in enumerate((moved[:10], moved[10:20], moved[20:]), start=1):
        world.carrier.add_fault(touch=iccids, path=LIST, page_number=page, times=1)
    run = world.sync("day")
    rows = different_rows(world, undisturbed)
    again = world.carrier.stats("api_jasper")["calls_by_endpoint"]["GET /devices"] - 3
    assert injected(world.carrier) == 3
    assert run["list_is_exact"]
    assert rows == 0
    assert 1 <= again <= 12
    reliability(
        fault="SIMs that move between pages while the list is read", injected=len(moved), expected=SAME_ROWS,
        seen=f"{rows} rows differ, {again} pages read again",
    )  # fmt: skip


def test_a_401_during_the_scan_ends_the_task_at_once_and_a_cleared_task_resumes_at_the_same_page(
    world: SyncWorld, undisturbed: Undisturbed, reliability: RecordFault
) -> None:
    world.carrier.add_fault(status=401, path=LIST, page_number=2, times=1)
    run_id = world.open("day")
    with pytest.raises(CarrierAuthenticationError, match="the carrier refused the login of connection carrier_jasper"):
        world.stage(run_id)
    after_the_401 = world.carrier.stats("api_jasper")["calls"]
    assert after_the_401 == 2
    assert world.count("device") == 0
    world.stage(run_id)
    world.merge(run_id)
    rows = different_rows(world, undisturbed)
    calls = world.carrier.stats("api_jasper")["calls"]
    assert (rows, calls) == (0, undisturbed.calls + 1)
    reliability(
        fault="401 in mid-scan", injected=injected(world.carrier),
        expected=f"no further call until the task is cleared, then {SAME_ROWS}",
        seen=f"{after_the_401 - 2} further calls, then {rows} rows differ and no page was read twice",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "what", "most_calls"),
    [(LIST, "device list", 20), (USAGE, "usage of a rate plan", 90)],
)
def test_endless_paging_is_detected_early_merges_nothing_and_a_cleared_task_succeeds(
    world: SyncWorld, undisturbed: Undisturbed, reliability: RecordFault, path: str, what: str, most_calls: int
) -> None:
    world.carrier.add_fault(endless_pages=True, path=path, times=None)
    run_id = world.open("day")
    with pytest.raises(
        ListGuardError, match="none is marked as the last page; contact the carrier. Nothing was merged"
    ):
        world.stage(run_id)
    endless = injected(world.carrier)
    assert endless <= most_calls
    assert world.count("device") == 0
    world.carrier.clear_faults()
    world.stage(run_id)
    world.merge(run_id)
    rows = different_rows(world, undisturbed)
    assert rows == 0
    reliability(
        fault=f"{what} that pages without end", injected=endless,
        expected=f"aborted within {most_calls} calls, nothing merged; {SAME_ROWS} after the carrier recovers",
        seen=f"aborted after {endless} calls, 0 rows merged; {rows} rows differ",
    )  # fmt: skip


def test_a_page_that_always_repeats_the_one_before_is_refused_and_marks_no_sim_as_missing(
    world: SyncWorld, reliability: RecordFault
) -> None:
    world.sync("yesterday")
    world.carrier.add_fault(repeat_page=True, path=LIST, page_number=2, times=None)
    run_id = world.open("today", full_sync=True)
    with pytest.raises(ListGuardError, match="page 2 of the device list holds only SIMs of earlier pages"):
        world.stage(run_id)
    active = world.count("device", "is_active")
    assert (active, world.count("device_missing")) == (SIMS, 0)
    reliability(
        fault="page that always repeats the one before", injected=injected(world.carrier),
        expected="the run fails and names the page; no SIM is recorded as missing",
        seen=f"the run failed; {active} of {SIMS} SIMs active, 0 missing",
    )  # fmt: skip


def test_a_sim_missing_from_the_bulk_usage_keeps_its_counter(
    world: SyncWorld, undisturbed: Undisturbed, reliability: RecordFault
) -> None:
    world.sync("first")
    (missed,) = [row for row in undisturbed.state["device"] if row[6] == ON_ONE_PLAN and row[8] > 0][:1]
    iccid, used = missed[1], missed[8]
    world.carrier.change_devices([iccid], extra={"ratePlan": ON_ONE_PLAN}, rate_plan="ATT 1 MB")
    try:
        world.sync("second")
    finally:
        world.carrier.change_devices([iccid], extra={}, rate_plan=ON_ONE_PLAN)
    after = world.devices()[iccid]["ctd_data_usage"]
    assert after == used
    reliability(
        fault="SIM missing from the bulk usage of its plan", injected=1,
        expected="its counter unchanged, 0 bytes differ",
        seen=f"{after - used} bytes differ",
    )  # fmt: skip


def test_a_storm_of_mixed_faults_changes_no_row(
    world: SyncWorld, undisturbed: Undisturbed, reliability: RecordFault
) -> None:
    dice = random.Random(11)
    kinds: list[dict[str, Any]] = [
        {"status": 500}, {"status": 502}, {"status": 503}, {"reset": True}, {"truncate": True}, {"empty_page": True},
    ]  # fmt: skip
    for nth_call in range(1, 60, 2):
        kind = dice.choice(kinds)
        path = USAGE if "empty_page" in kind else dice.choice([LIST, USAGE])
        world.carrier.add_fault(**kind, nth_call=nth_call, path=path)
    run_id = world.open("day")
    clock = SimulatedClock()
    tries = 0
    while True:
        tries += 1
        try:
            world.stage(run_id, clock=clock)
            break
        except CarrierUnavailableError as error:
            clock.sleep_until(error.retry_at or clock.now())
    world.merge(run_id)
    rows = different_rows(world, undisturbed)
    storm = injected(world.carrier)
    assert storm >= 20
    assert rows == 0
    assert world.carrier.stats("api_jasper")["calls"] == undisturbed.calls + storm
    reliability(
        fault="storm of mixed faults", injected=storm, expected=f"{SAME_ROWS}, {storm} extra calls",
        seen=f"{rows} rows differ after {tries} tries, "
        f"{world.carrier.stats('api_jasper')['calls'] - undisturbed.calls} extra calls",
    )  # fmt: skip
