"""SIMs that are missing from a full list because others were removed at the carrier while it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from amop.carriers.errors import (
    CarrierError,
    CarrierFormatError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
)
from amop.device_sync import fetch
from sandbox.carrier.running import running_carrier
from tests.worlds.interrupted_client import Killed
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld

SIMS, PAGE = 120, 50
EVER = datetime(2000, 1, 1, tzinfo=UTC)
DETAILS = "GET /devices/{iccid}"


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        made = SyncWorld(warehouse_dsn, carrier)
        made.sync("first")
        made.rows("UPDATE amop.device SET details_read_at = now() RETURNING id")
        yield made


def in_order(world: SyncWorld) -> list[str]:
    """Return the ICCIDs in the order of the carrier's list."""
    with world.client() as client:
        pages = [client.list_devices_page(modified_since=EVER, page_number=number) for number in (1, 2, 3)]
    return [device["iccid"] for page in pages for device in page.devices]


class AfterPage:
    """The real client; something happens at the carrier after a page of the list was read."""

    def __init__(self, client: Any, events: Mapping[int, Callable[[], Any]]) -> None:
        self._client, self._events = client, dict(events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list_devices_page(self, *, page_number: int, **named: Any) -> Any:
        page = self._client.list_devices_page(page_number=page_number, **named)
        if event := self._events.pop(page_number, None):
            event()
        return page


def sync(world: SyncWorld, name: str, removed: dict[int, Sequence[str]] | None = None, around: Any = None) -> Any:
    """Read and merge a full list, after whose pages SIMs are removed; return its run."""
    run_id = world.open(name, full_sync=True)
    fetch.queue_sync(world.dsn, run_id)
    world.carrier.reset_stats()
    events = {page: partial(world.carrier.remove_devices, gone) for page, gone in (removed or {}).items()}
    with world.client() as client:
        used: Any = AfterPage(client, events)
        used = used if around is None else around(used)
        fetch.fetch_devices(world.dsn, run_id, used)
        calls = world.carrier.stats("api_jasper")["calls_by_endpoint"]
    world.carrier.clear_faults()
    fetch_and_merge(world, run_id)
    return world.run(run_id) | {"calls": calls}


def fetch_and_merge(world: SyncWorld, run_id: int) -> None:
    with world.client() as client:
        fetch.fetch_usage(world.dsn, run_id, client)
    world.merge(run_id)


def missing(world: SyncWorld) -> set[str]:
    rows = world.rows(
        "SELECT device.iccid FROM amop.device_missing JOIN amop.device AS device ON device.id = device_id"
    )
    return {row["iccid"] for row in rows}


def test_a_sim_that_a_removal_moved_to_a_page_already_read_is_found_by_one_read(world: SyncWorld) -> None:
    listed = in_order(world)
    gone, shifted = listed[10], listed[PAGE]
    run = sync(world, "removed after page 1", {1: [gone]})
    assert run["calls"] == {"GET /devices": 3, DETAILS: 1}
    # The removed SIM was on page 1; the next full list shows that it is gone.
    assert (run["devices_seen"], run["devices_missing"], missing(world)) == (SIMS, 0, set())
    assert world.devices()[shifted]["is_active"]
    assert sync(world, "the next one")["devices_missing"] == 1
    assert missing(world) == {gone}


def test_each_removal_costs_one_read(world: SyncWorld) -> None:
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 1 RETURNING id")
    listed = in_order(world)
    world.carrier.change_devices(listed, status="ACTIVATED")  # the order stays
    run = sync(world, "removed after both pages", {1: listed[10:12], 2: listed[20:23]})
    assert run["calls"] == {"GET /devices": 3, DETAILS: 5}
    assert (run["devices_seen"], run["devices_missing"]) == (SIMS, 0)


def test_a_sim_that_two_lists_in_a_row_miss_is_not_deactivated(world: SyncWorld) -> None:
    listed = in_order(world)
    shifted = listed[PAGE]
    world.rows(
        "INSERT INTO amop.device_missing (device_id, run_id, missing_since)"
        " SELECT device.id, run.id, now() FROM amop.device AS device, amop.device_sync_run AS run"
        " WHERE device.iccid = %s RETURNING run_id",
        shifted,
    )
    run = sync(world, "missed again", {1: [listed[10]]})
    assert (run["devices_vanished"], missing(world)) == (0, set())
    assert world.devices()[shifted]["is_active"]


def test_a_modification_of_such_a_sim_is_seen(world: SyncWorld) -> None:
    listed = in_order(world)
    truth = world.truth()
    other = next(sim["rate_plan"] for sim in truth.values() if sim["rate_plan"] != truth[listed[0]]["rate_plan"])
    world.carrier.change_devices(listed, rate_plan=other)  # the order stays
    run = sync(world, "changed", {1: [listed[10]]})
    assert run["list_is_exact"]
    assert world.devices()[listed[PAGE]]["rate_plan"] == other


def test_a_list_without_a_missing_sim_takes_no_read_more(world: SyncWorld) -> None:
    assert sync(world, "complete")["calls"] == {"GET /devices": 3}


def test_no_more_sims_are_read_than_details_are_allowed_and_those_missing_for_the_second_time_come_first(
    world: SyncWorld,
) -> None:
    listed = in_order(world)
    world.carrier.remove_devices(listed[:3])
    sync(world, "three are gone")
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 4 RETURNING id")
    world.carrier.remove_devices(listed[3:9])
    asked: list[str] = []

    def recording(client: Any) -> Any:
        class Recording(AfterPage):
            def device_details(self, iccid: str) -> Any:
                asked.append(iccid)
                return client.device_details(iccid)

        return Recording(client, {})

    run = sync(world, "nine are gone", around=recording)
    assert len(asked) == 4 and set(listed[:3]) < set(asked)
    assert (run["devices_vanished"], run["devices_missing"]) == (3, 6)


@pytest.mark.parametrize("status", ["RETIRED", "PURGED"])
def test_a_sim_that_the_carrier_shows_in_a_final_status_alone_is_missing_all_the_same(
    world: SyncWorld, status: str
) -> None:
    gone = in_order(world)[10]
    world.carrier.change_devices([gone], status=status)

    def hiding(client: Any) -> Any:
        class Hiding(AfterPage):
            def list_devices_page(self, **named: Any) -> Any:
                page = client.list_devices_page(**named)
                page.devices[:] = [device for device in page.devices if device["iccid"] != gone]
                return page

        return Hiding(client, {})

    assert sync(world, "hidden", around=hiding)["devices_missing"] == 1
    assert missing(world) == {gone}


def failing(asked: list[str], error: CarrierError) -> Callable[[Any], Any]:
    """Return a client whose reads of single SIMs all fail; it notes them."""

    def around(client: Any) -> Any:
        class Failing(AfterPage):
            def device_details(self, iccid: str) -> Any:
                asked.append(iccid)
                raise error

        return Failing(client, {})

    return around


@pytest.mark.parametrize(
    ("error", "reads"),
    [
        (CarrierUnavailableError("no answer", cause="no answer"), 3),
        (CarrierRequestError("403: not allowed", status=403, error_message="not allowed"), 3),
        (CarrierFormatError("another format"), 3),
        (CarrierUnavailableError("too many reads", retry_at=datetime(2030, 1, 1, tzinfo=UTC)), 1),
        (CarrierNotFoundError("404: unknown", status=404, error_message="unknown"), 6),
    ],
    ids=["no answer", "refused", "unreadable", "a pause is asked for", "unknown"],
)
def test_reads_that_fail_leave_the_sims_missing_and_stop_after_three_or_when_the_carrier_asks_for_a_pause(
    world: SyncWorld, error: CarrierError, reads: int
) -> None:
    listed = in_order(world)
    world.carrier.remove_devices(listed[:6])
    asked: list[str] = []
    run = sync(world, "failing", around=failing(asked, error))
    assert len(asked) == reads
    assert (run["devices_missing"], run["status"]) == (6, "complete")


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_sims_that_cannot_be_read_stop_no_list(world: SyncWorld, status: int, count: int) -> None:
    gone = in_order(world)[:count]
    world.carrier.remove_devices(gone)
    for iccid in gone:
        world.carrier.add_fault(method="GET", path=f"/rws/api/v1/devices/{iccid}", status=status, times=None)
    run = sync(world, "unreadable")
    # Three attempts of a read, and a page of the list after each read. A carrier that throttles them is asked no more.
    reads = 1 if status == 429 else min(count, 3)
    assert run["calls"] == {"GET /devices": 3 + reads, DETAILS: 3 * reads}
    assert (run["status"], run["devices_missing"], missing(world)) == ("complete", count, set(gone))


def test_a_sim_that_cannot_be_read_is_not_the_probe_of_an_open_circuit(world: SyncWorld) -> None:
    gone = in_order(world)[:2]
    world.carrier.remove_devices(gone)
    for iccid in gone:
        world.carrier.add_fault(method="GET", path=f"/rws/api/v1/devices/{iccid}", status=503, times=None)
    world.carrier.add_fault(method="GET", path="/rws/api/v1/devices", page_number=1, status=503, nth_call=2, times=8)
    clock = SimulatedClock()
    run_id = world.open("the carrier is away for a while", full_sync=True, now=clock.now())
    fetch.queue_sync(world.dsn, run_id)
    outages = 0
    with world.client(clock=clock) as client:
        while not world.run(run_id)["list_is_complete"] and outages < 9:
            try:
                fetch.fetch_devices(world.dsn, run_id, client, clock=clock.now)
            except CarrierUnavailableError as away:
                outages += 1
                clock.sleep((away.retry_at - clock.now()).total_seconds() if away.retry_at else 60)
    # The first read and the page after it open the circuit; the other seven pages are probes.
    assert outages == 8
    assert world.count("device_usage_processed", "kind = 'unlisted_device'") == 2


def test_a_killed_process_has_to_read_again_no_more_than_the_last_fifty_sims(world: SyncWorld) -> None:
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 500 RETURNING id")
    hidden = set(in_order(world)[:110])
    world.carrier.change_devices(sorted(hidden), status="ACTIVATED")
    asked: list[str] = []

    def reading(client: Any, kill_at: int | None = None) -> Any:
        class Reading(AfterPage):
            def list_devices_page(self, **named: Any) -> Any:
                page = client.list_devices_page(**named)
                page.devices[:] = [device for device in page.devices if device["iccid"] not in hidden]
                return page

            def device_details(self, iccid: str) -> Any:
                asked.append(iccid)
                if len(asked) == kill_at:
                    raise Killed
                return client.device_details(iccid)

        return Reading(client, {})

    run_id = world.open("killed", full_sync=True)
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        with pytest.raises(Killed):
            fetch.fetch_devices(world.dsn, run_id, reading(client, kill_at=70))
        assert fetch.fetch_devices(world.dsn, run_id, reading(client)) == SIMS
    assert (len(asked), set(asked)) == (70 + 60, hidden)
    assert asked[50:70] == asked[70:90]
    fetch_and_merge(world, run_id)
    assert world.run(run_id)["devices_missing"] == 0


def test_the_limit_of_the_reads_is_that_of_the_run_however_often_it_resumes(world: SyncWorld) -> None:
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 60 RETURNING id")
    gone = in_order(world)[:100]
    world.carrier.remove_devices(gone)
    asked: list[str] = []

    def counting(client: Any) -> Any:
        class Counting(AfterPage):
            def device_details(self, iccid: str) -> Any:
                asked.append(iccid)
                if len(asked) == 55:
                    raise Killed
                return client.device_details(iccid)

        return Counting(client, {})

    run_id = world.open("limited", full_sync=True)
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        with pytest.raises(Killed):
            fetch.fetch_devices(world.dsn, run_id, counting(client))
        fetch.fetch_devices(world.dsn, run_id, counting(client))
    assert len(asked) == 55 + 10
