"""Faults and kills of the syncs of other carrier APIs: the day ends with the rows of an undisturbed one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from amop.carriers import http_client
from amop.carriers.errors import CarrierAuthenticationError
from amop.carriers.protocol import CarrierClient
from amop.device_sync import fetch
from sandbox.carrier.running import FAMILY_SERVERS, RunningCarrier
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.family_world import FamilyWorld
from tests.worlds.reliability import RecordFault
from tests.worlds.simulated_clock import SimulatedClock

pytestmark = pytest.mark.xdist_group("family_faults")

SIMS = 120
SAME_ROWS = "0 rows differ"


@dataclass(frozen=True)
class Api:
    """A family with the paths of its calls and the endpoints that sign in."""

    integration: str
    list_path: str
    usage_path: str
    sign_in: tuple[str, ...] = ()
    page_path: str | None = None
    """Path of the answers with a page of the list; None = that of the list."""
    repeated_page_calls: int = 1
    """Extra calls where the page before comes instead of a page."""
    empty_page_calls: int = 1
    """Extra calls where a page comes without a SIM."""
    refusals: int = 1
    """Calls that are refused until the client gives up."""
    most_calls_in_a_second: int = 5
    """The pace of `test_the_limits_of_the_carrier_are_kept`."""


APIS = {
    api.integration: api
    for api in (
        Api(
            "thingspace",
            "/api/m2m/v1/devices/actions",
            "/api/m2m/v1/devices/usage",
            ("POST /oauth2/token", "POST /session/login"),
            refusals=2,  # the access token is renewed once
        ),
        # A page is an operation of three calls. After one that is short the client asks whether it is the last.
        Api(
            "teal",
            "/api/v1/esims",
            "/api/v1/data-consumption",
            page_path="/api/v1/operation-result",
            repeated_page_calls=3,
            empty_page_calls=6,
            most_calls_in_a_second=16,
        ),
    )
}


@dataclass(frozen=True)
class Undisturbed:
    """What a day without faults leaves and costs."""

    state: dict[str, list[tuple[Any, ...]]]
    calls: int


@pytest.fixture(scope="module", params=APIS)
def api(request: pytest.FixtureRequest) -> Api:
    return APIS[request.param]


@pytest.fixture(scope="module")
def carrier(api: Api) -> Iterator[RunningCarrier]:
    with FAMILY_SERVERS[api.integration](devices_per_account=SIMS, limits_are_enforced=False) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(api: Api, carrier: RunningCarrier, postgres_server: EmbeddedPostgres) -> Iterator[Undisturbed]:
    name = f"undisturbed_{random.SystemRandom().randrange(10**9)}"
    postgres_server.create_database(name, template="amop_template")
    world = with_all_details(FamilyWorld(postgres_server.conninfo(name), carrier, api.integration))
    carrier.reset_stats()
    world.sync("day")
    yield Undisturbed(world.final_state(), carrier.stats()["calls"])
    postgres_server.drop_database(name)


@pytest.fixture
def world(api: Api, carrier: RunningCarrier, undisturbed: Undisturbed, warehouse_dsn: str) -> Iterator[FamilyWorld]:
    carrier.clear_faults()
    carrier.reset_stats()
    yield with_all_details(FamilyWorld(warehouse_dsn, carrier, api.integration))
    carrier.clear_faults()


def with_all_details(world: FamilyWorld) -> FamilyWorld:
    """Return the world with the details of every SIM read."""
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = %s RETURNING id", SIMS)
    return world


def different_rows(world: FamilyWorld, undisturbed: Undisturbed) -> int:
    """Return how many rows one of the two days has and the other has not."""
    state = world.final_state()
    return sum(
        sum(((Counter(rows) - Counter(state[table])) + (Counter(state[table]) - Counter(rows))).values())
        for table, rows in undisturbed.state.items()
    )


def extra_calls(world: FamilyWorld, undisturbed: Undisturbed) -> int:
    return int(world.carrier.stats()["calls"]) - undisturbed.calls


def applied(carrier: RunningCarrier) -> int:
    return sum(fault["applied"] for fault in carrier.faults())


def test_a_day_leaves_the_sims_and_the_usage_of_the_carrier(world: FamilyWorld, undisturbed: Undisturbed) -> None:
    run = world.sync("day")
    truth, devices = world.truth(), world.devices()
    assert (run["status"], run["devices_seen"], world.count("device_quarantine")) == ("complete", SIMS, 0)
    assert devices.keys() == truth.keys()
    for iccid, sim in truth.items():
        row = devices[iccid]
        assert (row["status"], row["rate_plan"]) == (sim["status"], sim["rate_plan"])
        assert (row["ctd_data_usage"], row["imsi"]) == (sim["data_usage"], sim["imsi"])
        activated = sim["date_activated"]
        assert row["date_activated"] == (datetime.fromisoformat(activated) if activated else None)
    assert different_rows(world, undisturbed) == 0


def faults_of(api: Api) -> dict[str, list[dict[str, Any]]]:
    """Return how each transient fault is scripted. Each costs one extra call, but for those of a page."""
    on_list, on_usage = {"path": api.list_path}, {"path": api.usage_path}
    on_page = {"path": api.page_path or api.list_path, "page_number": 2}
    return {
        "503, three in a row": [{"status": 503, "times": 3, "nth_call": 2} | on_list],
        "500 in the usage": [{"status": 500, "times": 2, "nth_call": 5} | on_usage],
        "429 with Retry-After": [{"status": 429, "retry_after_seconds": 1} | on_list],
        "connection reset": [{"reset": True, "times": 2, "nth_call": 2} | on_list, {"reset": True} | on_usage],
        "truncated JSON": [{"truncate": True, "times": 2} | on_list, {"truncate": True, "nth_call": 9} | on_usage],
        "hang": [{"hang_seconds": 5} | on_list, {"hang_seconds": 5, "nth_call": 3} | on_usage],
        "page that repeats the one before": [{"repeat_page": True} | on_page],
        "empty page that is not the last": [{"empty_page": True, "times": 2} | on_page],
    }


def calls_of(api: Api, fault: dict[str, Any]) -> int:
    """Return the extra calls that a fault costs."""
    each = api.repeated_page_calls if "repeat_page" in fault else api.empty_page_calls if "empty_page" in fault else 1
    return each * int(fault.get("times", 1))


@pytest.mark.parametrize("name", faults_of(APIS["thingspace"]))
def test_each_transient_fault_costs_its_calls_and_changes_no_row(
    api: Api,
    world: FamilyWorld,
    undisturbed: Undisturbed,
    reliability: RecordFault,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(http_client, "READ_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(http_client, "CALL_DEADLINE_SECONDS", 1)
    for fault in faults_of(api)[name]:
        world.carrier.add_fault(**fault)
    planned = sum(fault.get("times", 1) for fault in faults_of(api)[name])
    expected = sum(calls_of(api, fault) for fault in faults_of(api)[name])
    run_id = world.open("day")
    world.stage(run_id, clock=SimulatedClock())
    world.merge(run_id)
    rows, calls = different_rows(world, undisturbed), extra_calls(world, undisturbed)
    assert (applied(world.carrier), rows, calls) == (planned, 0, expected)
    reliability(
        fault=f"{api.integration}: {name}", injected=planned, expected=f"{SAME_ROWS}, {expected} extra calls",
        seen=f"{rows} rows differ, {calls} extra calls",
    )  # fmt: skip


class Dying:
    """A client whose process dies at every few calls, before or after the call is made."""

    def __init__(self, client: CarrierClient, dies_after: int) -> None:
        self._client, self._calls, self._dies_after = client, 0, dies_after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls += 1
            if self._calls > self._dies_after:
                raise ProcessDied
            return found(*arguments, **named)

        return call


class ProcessDied(BaseException):
    """No ``except`` of the package catches it."""


@pytest.mark.parametrize("dies_after", [1, 2, 7])
def test_a_sync_whose_process_dies_again_and_again_resumes_after_the_last_stored_answer(
    api: Api, world: FamilyWorld, undisturbed: Undisturbed, reliability: RecordFault, dies_after: int
) -> None:
    run_id = world.open("day")
    fetch.queue_sync(world.dsn, run_id)
    deaths = 0
    while True:
        try:
            with world.client() as client:
                dying: Any = Dying(client, dies_after)
                fetch.fetch_devices(world.dsn, run_id, dying)
                fetch.fetch_usage(world.dsn, run_id, dying)
            break
        except ProcessDied:
            deaths += 1
    world.merge(run_id)
    signed_in = sum(world.carrier.stats()["accounts"][f"api_{api.integration}"]["calls_by_endpoint"].get(name, 0)
                    for name in api.sign_in)  # fmt: skip
    rows, again = different_rows(world, undisturbed), extra_calls(world, undisturbed) - signed_in + len(api.sign_in)
    assert deaths >= SIMS // dies_after
    assert (rows, again) == (0, 0)
    reliability(
        fault=f"{api.integration}: process of the sync dies after every {dies_after} answers", injected=deaths,
        expected=f"{SAME_ROWS}, no answer asked for twice", seen=f"{rows} rows differ, {again} answers asked for twice",
    )  # fmt: skip


def test_a_refused_key_ends_the_task_at_once_and_a_cleared_task_resumes_at_the_same_page(
    api: Api, world: FamilyWorld, undisturbed: Undisturbed, reliability: RecordFault
) -> None:
    with world.client() as client:
        run_id = world.open("day")
        fetch.queue_sync(world.dsn, run_id)
        world.carrier.add_fault(status=401, path=api.list_path, nth_call=2, times=api.refusals)
        with pytest.raises(CarrierAuthenticationError, match=f"connection carrier_{api.integration}"):
            fetch.fetch_devices(world.dsn, run_id, client)
    at_the_end = world.carrier.stats()["calls"]
    staged = world.count("device_sync_page")
    world.stage(run_id)
    world.merge(run_id)
    rows = different_rows(world, undisturbed)
    assert (rows, staged) == (0, 1)
    reliability(
        fault=f"{api.integration}: key refused in mid-scan", injected=applied(world.carrier),
        expected=f"no further call until the task is cleared, then {SAME_ROWS}",
        seen=f"{staged} page staged after {at_the_end} calls, then {rows} rows differ",
    )  # fmt: skip


def test_the_limits_of_the_carrier_are_kept(api: Api, warehouse_dsn: str, reliability: RecordFault) -> None:
    with FAMILY_SERVERS[api.integration](devices_per_account=8) as limited:
        pace = api.most_calls_in_a_second
        world = with_all_details(FamilyWorld(warehouse_dsn, limited, api.integration, calls_per_second=pace))
        world.sync("day")
        stats = limited.stats()
    account = stats["accounts"][f"api_{api.integration}"]
    assert (stats["violations"], account["max_concurrent"]) == (0, 1)
    assert account["max_calls_in_any_second"] <= pace
    reliability(
        fault=f"{api.integration}: limits of the account enforced", injected=stats["calls"], expected="0 violations",
        seen=f"{stats['violations']} violations, at most {account['max_calls_in_any_second']} calls in any second",
    )  # fmt: skip
