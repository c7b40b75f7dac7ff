"""Carriers that limit the dates of a device list, and pages that stay empty in the middle of it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from amop.carriers.errors import CarrierRequestError, CarrierUnavailableError
from amop.carriers.protocol import ListLimits
from amop.device_sync import fetch
from amop.device_sync.list_windows import MARGIN, first_spans, limited_spans
from sandbox.carrier.account import ListLimit
from sandbox.carrier.running import running_carrier
from tests.db.device_sync.test_fetch import Killed, KilledClient
from tests.worlds.moments import ORDINARY_MOMENT, present
from tests.worlds.reliability import RecordFault
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld

SIMS = 120
LIST = "/rws/api/v1/devices"
THREE_YEARS_AGO = ORDINARY_MOMENT - timedelta(days=1095)


def carrier_with(list_limit: ListLimit, **settings: Any) -> Any:
    return running_carrier(
        devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False, list_limit=list_limit, **settings
    )


def without_details(dsn: str, carrier: Any) -> SyncWorld:
    world = SyncWorld(dsn, carrier)
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")
    return world


def list_calls(world: SyncWorld) -> int:
    return int(world.carrier.stats("api_jasper")["calls_by_endpoint"]["GET /devices"])


@pytest.mark.parametrize(
    ("list_limit", "calls"),
    [(ListLimit.NONE, 3), (ListLimit.AGE, 2 + 3), (ListLimit.SPAN, 1 + 26 + 3), (ListLimit.END, 1 + 26 + 3)],
)
def test_the_first_list_names_the_whole_fleet_however_the_carrier_limits_its_dates(
    warehouse_dsn: str, reliability: RecordFault, list_limit: ListLimit, calls: int
) -> None:
    with carrier_with(list_limit) as carrier:
        world = without_details(warehouse_dsn, carrier)
        run = world.sync("first")
        assert set(world.devices()) == set(world.truth())
        assert list_calls(world) == calls
    is_whole = list_limit is not ListLimit.AGE
    assert (run["list_is_whole"], run["list_is_exact"]) == (is_whole, is_whole)
    assert world.count("carrier_page", "kind = 'device_list'") == calls, "every answer is archived"
    if list_limit is ListLimit.NONE:
        return
    reliability(
        fault=f"carrier that limits the dates of a list: {list_limit}", injected=calls - 3, expected="120 SIMs listed",
        seen=f"{run['devices_seen']} SIMs listed",
    )  # fmt: skip


@pytest.mark.parametrize("list_limit", [ListLimit.SPAN, ListLimit.END])
def test_sims_that_were_modified_years_ago_are_listed_and_vanished_ones_noticed(
    warehouse_dsn: str, list_limit: ListLimit
) -> None:
    with carrier_with(list_limit, as_of=THREE_YEARS_AGO) as carrier:
        world = without_details(warehouse_dsn, carrier)
        first, *others = sorted(world.truth())
        carrier.change_devices(others[:60], customer="modified now")
        assert world.sync("first")["devices_seen"] == SIMS
        carrier.remove_devices([first])
        assert world.sync("second", full_sync=True)["devices_missing"] == 1


def test_a_list_that_may_not_be_whole_marks_no_sim_as_missing_and_reads_those_outside_of_it_singly(
    warehouse_dsn: str,
) -> None:
    with carrier_with(ListLimit.AGE) as carrier:
        world = SyncWorld(warehouse_dsn, carrier)
        world.rows("UPDATE amop.service_provider SET detail_calls_per_run = %s RETURNING id", SIMS)
        world.sync("first")
        gone = sorted(world.truth())[:3]
        carrier.remove_devices(gone)
        for name in ("second", "third"):
            run = world.sync(name, full_sync=True)
            assert (run["list_is_whole"], run["devices_missing"], run["devices_vanished"]) == (False, 0, 0)
        assert world.count("device", "is_active") == SIMS
        refused = world.rows(
            "SELECT iccid FROM amop.device_quarantine WHERE run_id = %s AND kind = 'device' ORDER BY iccid", run["id"]
        )
        assert [row["iccid"] for row in refused] == gone, "the carrier does not know them any more"
        assert not world.sync("fourth")["is_full"], "such a list counts as a full one for the schedule"


def test_a_list_in_windows_resumes_where_it_stopped(warehouse_dsn: str) -> None:
    with carrier_with(ListLimit.END) as carrier:
        world = without_details(warehouse_dsn, carrier)
        run_id = world.open("killed")
        fetch.queue_sync(world.dsn, run_id)
        with world.client() as client:
            for _ in range(100):
                try:
                    assert fetch.fetch_devices(world.dsn, run_id, KilledClient(client, 1)) == SIMS  # type: ignore[arg-type]
                    break
                except Killed:
                    continue
        assert list_calls(world) == 1 + 26 + 3
        assert world.run(run_id)["list_is_exact"]


def test_sims_that_move_from_one_window_to_the_last_one_are_neither_lost_nor_listed_twice(warehouse_dsn: str) -> None:
    with carrier_with(ListLimit.END, as_of=THREE_YEARS_AGO) as carrier:
        world = without_details(warehouse_dsn, carrier)
        carrier.add_fault(touch=sorted(world.truth())[:70], path=LIST, nth_call=25, times=1)
        run = world.sync("first")
        assert (run["devices_seen"], run["list_is_exact"]) == (SIMS, True)


def test_a_list_that_is_refused_for_another_reason_fails_with_the_carriers_words(warehouse_dsn: str) -> None:
    with carrier_with(ListLimit.NONE) as carrier:
        world = without_details(warehouse_dsn, carrier)
        carrier.add_fault(status=400, error_message="Account suspended", path=LIST, times=None)
        with pytest.raises(CarrierRequestError, match="400: Account suspended"):
            world.stage(world.open("first"))
        assert list_calls(world) == 3, "everything, in windows, and the most recent one"


def test_the_windows_of_a_list_join_and_are_never_longer_than_a_year() -> None:
    now, limits = present(), ListLimits()
    (everything,) = first_spans(limits.earliest, now, limits)
    assert (everything.since, everything.till) == (limits.earliest, None)
    for since in (limits.earliest, now - timedelta(days=3650), now - timedelta(days=400)):
        spans = limited_spans(since, now, limits)
        assert (spans[0].since, spans[-1].till) == (since, None)
        assert all(span.till == following.since for span, following in pairwise(spans))
        assert all((span.till or now) - span.since <= limits.longest - MARGIN for span in spans)
    assert len(first_spans(now - timedelta(days=3650), now, limits)) > 1, "a list that ends silently would not be empty"
    assert len(first_spans(now - timedelta(days=2), now, limits)) == 1


def stage_slowly(world: SyncWorld, name: str, **request: Any) -> int:
    run_id = world.open(name, **request)
    world.stage(run_id, clock=SimulatedClock())
    return run_id


def test_a_page_that_stays_empty_while_the_next_one_has_sims_is_accepted_and_the_list_is_not_exact(
    warehouse_dsn: str, reliability: RecordFault
) -> None:
    with carrier_with(ListLimit.NONE) as carrier:
        world = without_details(warehouse_dsn, carrier)
        world.rows("UPDATE amop.service_provider SET maximum_unlisted_share = 1 RETURNING id")
        world.sync("first")
        carrier.add_fault(empty_page=True, path=LIST, page_number=2, times=None)
        run_id = stage_slowly(world, "second", full_sync=True)
        world.merge(run_id)
        run = world.run(run_id)
        assert (run["status"], run["devices_seen"], run["list_is_exact"]) == ("complete", SIMS - 50, False)
        assert (run["devices_missing"], world.count("device", "is_active")) == (0, SIMS)
        reliability(
            fault="page in the middle of the list that stays empty", injected=1,
            expected="the run continues; 0 SIMs missing",
            seen=f"{run['status']}; {run['devices_missing']} SIMs missing",
        )  # fmt: skip


def test_a_page_that_is_empty_for_a_while_leaves_an_exact_list(warehouse_dsn: str) -> None:
    with carrier_with(ListLimit.NONE) as carrier:
        world = without_details(warehouse_dsn, carrier)
        carrier.add_fault(empty_page=True, path=LIST, page_number=2, times=3)
        run = world.run(stage_slowly(world, "first"))
        assert (run["devices_seen"], run["list_is_exact"]) == (SIMS, True)


def test_an_empty_page_before_another_empty_page_still_fails(warehouse_dsn: str) -> None:
    with carrier_with(ListLimit.NONE) as carrier:
        world = without_details(warehouse_dsn, carrier)
        carrier.add_fault(empty_page=True, path=LIST, times=None)
        with pytest.raises(CarrierUnavailableError, match="the page is empty but not the last page"):
            stage_slowly(world, "first")
