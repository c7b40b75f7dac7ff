"""Plan changes checked by the list of modified SIMs: what it costs, what it finds, and when it is not used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import pytest

from amop.carriers.errors import CarrierUnavailableError
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.changes_world import NOW, ChangesWorld
from tests.worlds.interrupted_client import Dying, Interrupted, Killed
from tests.worlds.list_world import LISTED_BEFORE, AlteredList, ListWorld
from tests.worlds.moments import SimulatedDatetime, present
from tests.worlds.reliability import RecordFault

pytestmark = pytest.mark.parametrize("moment", [NOW], indirect=True)

LATER_PAGES, VERIFYING_PAGES = range(24, 31), range(4, 7)
"""Pages of the lists of 500 changes, after the first list: each of six has a page for each 20 changes, or one more. How
many SIMs the 30 seconds before them have depends on the machine."""


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> ListWorld:
    return ListWorld(warehouse_dsn, carrier, approval_above_changes=None)


def on_target(world: ChangesWorld, sims: list[dict[str, Any]]) -> list[bool]:
    plans = world.plans()
    return [plans[sim["iccid"]] == sim["target"] for sim in sims]


def unmodified(world: ListWorld, sims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the SIMs that the first list does not show."""
    modified = set(world.modified_since(present() - timedelta(days=2)))
    return [sim for sim in sims if sim["iccid"] not in modified]


# What it costs


def test_five_hundred_changes_cost_five_hundred_writes_and_few_reads(warehouse_dsn: str) -> None:
    with running_carrier(
        devices_per_account=1500, accounts=("jasper",), as_of=NOW, limits_are_enforced=False
    ) as carrier:
        world = ListWorld(warehouse_dsn, carrier, approval_above_changes=None)
        began = world.add_device_list()
        instance_id, sims = world.listed(500)
        modified = set(world.modified_since(began - timedelta(days=1)))
        read_first = sum(sim["iccid"] in modified for sim in sims[1:])
        assert world.send(instance_id) == {"applied": 500}
        # The first change is read and proves the first list; six more show up to 80 new changes and those of 30 s.
        first = ceil((len(modified) + 1) / 50)
        assert world.calls() == {"GET": 1 + read_first, "PUT": 500}
        assert (first, read_first) == (1, 13)
        later = world.pages() - first
        assert later in LATER_PAGES
        world.carrier.reset_stats()
        verified = sum(change["verified_at"] is not None for change in world.changes(instance_id).values())
        assert world.read_back(instance_id) == {"verified": 500 - verified, "different": 0}
        verifying = world.pages()
        assert world.calls() == {"GET": 0, "PUT": 0} and verifying in VERIFYING_PAGES
        assert world.row(instance_id)["changes_read_count"] == 1 + read_first + first + later + verifying
        assert all(
            change["verified_rate_plan"] == change["to_rate_plan"] for change in world.changes(instance_id).values()
        )
        assert all(on_target(world, sims))


def test_the_log_says_which_way_is_used_and_what_both_cost(world: ListWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.add_device_list()
    instance_id, _ = world.listed(20)
    world.send(instance_id)
    assert "20 changes are checked by lists of the modified SIMs: about 7 calls beside the writes instead of 40" in (
        caplog.text
    )
    few, _ = world.listed(2)
    world.carrier.reset_stats()
    assert world.send(few) == {"applied": 2}
    assert "each SIM is read before its change: about 4 calls to read 2 SIMs, and about" in caplog.text
    assert (world.calls(), world.pages()) == ({"GET": 2, "PUT": 2}, 0)


# What it finds


def test_a_sim_that_was_modified_since_the_device_list_is_read_before_its_change(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(20)
    calm = unmodified(world, sims[1:])
    moved, touched = calm[0], calm[1]
    third = world.other_plan(moved)
    world.carrier.change_devices([moved["iccid"]], rate_plan=third)
    world.carrier.change_devices([touched["iccid"]], customer="Another")
    assert world.send(instance_id) == {"applied": 19, "conflict": 1}
    assert world.calls() == {"GET": 1 + (19 - len(calm)) + 2, "PUT": 19}
    assert world.plans()[moved["iccid"]] == third
    change = world.changes(instance_id)[moved["iccid"]]
    assert change["state"] == "conflict" and f"shows rate plan {third!r}" in change["error"]
    assert world.changes(instance_id)[touched["iccid"]]["is_read_first"]


def test_a_sim_that_is_modified_while_changes_are_sent_is_read_from_the_next_list_on(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(120)
    moved = unmodified(world, sims[60:])[0]
    third = world.other_plan(moved)

    def around(client: Any) -> Any:
        return Interrupted(
            client,
            after=10,
            method="change_rate_plan",
            do=lambda: world.carrier.change_devices([moved["iccid"]], rate_plan=third),
        )

    assert world.send(instance_id, around) == {"applied": 119, "conflict": 1}
    assert world.plans()[moved["iccid"]] == third
    assert world.calls()["PUT"] == 119


@pytest.mark.parametrize("seconds", [12, 25])
def test_a_modification_that_the_list_shows_late_is_still_found_before_the_change(
    warehouse_dsn: str, seconds: int
) -> None:
    with running_carrier(
        devices_per_account=1500, accounts=("jasper",), as_of=NOW, limits_are_enforced=False
    ) as carrier:
        world = ListWorld(warehouse_dsn, carrier, approval_above_changes=None)
        world.add_device_list()
        instance_id, sims = world.listed(400)
        moved = unmodified(world, sims[380:])[0]
        third = world.other_plan(moved)
        altered: list[Any] = []

        def move() -> None:
            world.carrier.change_devices([moved["iccid"]], rate_plan=third)
            altered[0].late = {moved["iccid"]: present() + timedelta(seconds=seconds)}

        def around(client: Any) -> Any:
            altered.append(AlteredList(client))
            return Interrupted(altered[0], after=10, method="change_rate_plan", do=move)

        assert world.send(instance_id, around) == {"applied": 399, "conflict": 1}
        assert world.plans()[moved["iccid"]] == third


def test_a_sim_that_another_party_moves_after_its_change_is_recorded(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(120)
    early, late = sims[5], sims[110]
    plans = {sim["iccid"]: world.other_plan(sim) for sim in (early, late)}

    def around(client: Any) -> Any:
        return Interrupted(
            client,
            after=80,
            method="change_rate_plan",
            do=lambda: world.carrier.change_devices([early["iccid"]], rate_plan=plans[early["iccid"]]),
        )

    assert world.send(instance_id, around) == {"applied": 120}
    world.carrier.change_devices([late["iccid"]], rate_plan=plans[late["iccid"]])
    world.carrier.reset_stats()
    assert world.read_back(instance_id)["different"] == 2
    assert world.calls() == {"GET": 2, "PUT": 0}
    for sim in (early, late):
        change = world.changes(instance_id)[sim["iccid"]]
        assert (change["state"], change["verified_rate_plan"]) == ("conflict", plans[sim["iccid"]])
    assert world.plans()[early["iccid"]] == plans[early["iccid"]]


def test_a_change_that_the_list_does_not_show_afterwards_is_read_alone(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(60)
    lost = unmodified(world, sims[10:])[0]
    world.carrier.add_fault(forget_write=True, path=f"/rws/api/v1/devices/{lost['iccid']}", method="PUT")
    assert world.send(instance_id) == {"applied": 60}
    world.carrier.reset_stats()
    assert world.read_back(instance_id)["different"] == 1
    assert world.calls() == {"GET": 1, "PUT": 0}
    change = world.changes(instance_id)[lost["iccid"]]
    assert (change["state"], change["verified_rate_plan"]) == ("conflict", lost["rate_plan"])
    assert world.read_back(instance_id) == {"verified": 0, "different": 0}


def test_a_retired_sim_is_a_conflict(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(20)
    world.carrier.change_devices([sims[7]["iccid"]], status="RETIRED")
    world.carrier.remove_devices([sims[8]["iccid"]])
    assert world.send(instance_id) == {"applied": 18, "conflict": 2}
    changes = world.changes(instance_id)
    assert "is RETIRED at the carrier" in changes[sims[7]["iccid"]]["error"]
    assert "is no longer at the carrier" in changes[sims[8]["iccid"]]["error"]


def test_sims_whose_plan_the_device_list_does_not_say_for_certain_are_read_first(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(30)
    calm = unmodified(world, sims[1:])
    quarantined, applied, retired = calm[:3]
    world.execute(
        "INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason, iccid)"
        " SELECT id, 'device', 'key', '{}', 'status is no text', %s FROM amop.device_sync_run",
        quarantined["iccid"],
    )
    world.execute(
        "INSERT INTO amop.optimization_device (instance_id, device_id, comm_group_id, iccid, usage_mb,"
        " projected_usage_mb, sms_usage, days_activated, is_prorated, plan_is_applied)"
        " SELECT %s, id, 1, iccid, 1, 1, 0, 30, false, true FROM amop.device WHERE iccid = %s",
        instance_id,
        applied["iccid"],
    )
    world.execute("UPDATE amop.device SET status = 'Retired' WHERE iccid = %s", retired["iccid"])
    assert world.send(instance_id) == {"applied": 30}
    assert world.calls() == {"GET": 1 + (29 - len(calm)) + 3, "PUT": 30}


# Lists that prove nothing


def test_a_list_that_shows_changes_too_late_is_not_believed(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(40)
    stale = {sim["iccid"] for sim in sims}
    assert world.send(instance_id, lambda client: AlteredList(client, without=stale)) == {"applied": 40}
    assert world.calls() == {"GET": 40, "PUT": 40}
    assert world.row(instance_id)["changes_listed_at"] is None


def test_a_list_that_never_shows_changes_is_given_up_after_four_times(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(220)
    stale = {sim["iccid"] for sim in sims}
    assert world.send(instance_id, lambda client: AlteredList(client, without=stale)) == {"applied": 220}
    assert world.calls() == {"GET": 220, "PUT": 220}
    assert "does not show the changes made before it" in world.row(instance_id)["changes_list_refusal"]
    assert world.read_back(instance_id) == {"verified": 50, "different": 0}


@pytest.mark.parametrize("behind", [1, 20, 600])
def test_a_carrier_whose_clock_is_behind_hides_no_change_of_another_party(world: ListWorld, behind: int) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(120)
    moved = unmodified(world, sims[60:])[0]
    third = world.other_plan(moved)

    def around(client: Any) -> Any:
        late = AlteredList(client, behind=timedelta(seconds=behind))
        return Interrupted(
            late,  # type: ignore[arg-type]
            after=1,
            method="list_devices_page",
            do=lambda: world.carrier.change_devices([moved["iccid"]], rate_plan=third),
        )

    assert world.send(instance_id, around) == {"applied": 119, "conflict": 1}
    assert world.calls()["GET"] < 60
    assert world.plans()[moved["iccid"]] == third


def test_a_carrier_whose_clock_is_hours_behind_is_asked_for_each_sim(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, _ = world.listed(120)
    behind = timedelta(hours=3)
    assert world.send(instance_id, lambda client: AlteredList(client, behind=behind)) == {"applied": 120}
    assert "the carrier's clock may be more than 18 minutes behind" in world.row(instance_id)["changes_list_refusal"]


def test_a_sim_that_moves_while_the_list_is_read_has_it_read_again(world: ListWorld) -> None:
    began = world.add_device_list(seen=50)
    instance_id, sims = world.listed(150)
    modified = world.modified_since(began - timedelta(days=1))
    if len(modified) < 60:  # two pages at least
        calm = [sim["iccid"] for sim in unmodified(world, sims[1:])][: 60 - len(modified)]
        world.carrier.change_devices(calm, customer="Another")
    first = world.modified_since(began - timedelta(days=1))
    world.carrier.add_fault(touch=first[:1], page_number=1, path="/rws/api/v1/devices")
    pages = ceil((len(first) + 1) / 50)
    assert world.send(instance_id) == {"applied": 150}
    assert world.pages() >= 2 * pages + 2


class Meanwhile:
    """What happens at the carrier before and while the first list is read.

    After the first change 70 SIMs that do not change are modified, and one that does at a place of the list, counted
    from 0. It is one of the first changes: they are written before a later list could show it. After page 1 of the list
    ``do`` is called.
    """

    def __init__(self, world: ListWorld, sims: list[dict[str, Any]], *, place: int) -> None:
        self._world, self._place, self._others = world, place, [sim["iccid"] for sim in world.sims(70)]
        self.moved = unmodified(world, sims[10:40])[0]
        self.listed: list[str] = []

    def around(self, client: Any, do: Callable[[list[str]], None]) -> Any:
        """Return a client at whose calls this happens."""
        sent = Interrupted(client, after=1, method="change_rate_plan", do=self._modify)
        return Interrupted(sent, after=1, method="list_devices_page", do=lambda: do(self.listed))  # type: ignore[arg-type]

    def _modify(self) -> None:
        world, since = self._world, present() - LISTED_BEFORE - timedelta(days=1)
        left = self._place - len(world.modified_since(since))
        assert left > 10
        world.carrier.change_devices(self._others[:left], customer="Another")
        world.carrier.change_devices([self.moved["iccid"]], rate_plan=world.other_plan(self.moved))
        world.carrier.change_devices(self._others[left:], customer="Another")
        self.listed = world.modified_since(since)
        assert self.listed[self._place] == self.moved["iccid"] and 50 < len(self.listed) <= 98


def test_a_sim_that_a_removal_moves_to_a_page_already_read_is_not_overwritten(world: ListWorld) -> None:
    world.add_device_list(seen=50)
    instance_id, sims = world.listed(150)
    meanwhile = Meanwhile(world, sims, place=50)  # the first one of page 2

    def remove(listed: list[str]) -> None:
        world.carrier.remove_devices(listed[48:49])

    assert world.send(instance_id, lambda client: meanwhile.around(client, remove)) == {"applied": 149, "conflict": 1}
    assert world.plans()[meanwhile.moved["iccid"]] == world.other_plan(meanwhile.moved)


@pytest.mark.parametrize("modified", [[49], [48, 49]])
def test_the_last_sim_of_a_page_that_moves_to_the_end_hides_no_sim_before_it(
    world: ListWorld, modified: list[int]
) -> None:
    world.add_device_list(seen=50)
    instance_id, sims = world.listed(150)
    meanwhile = Meanwhile(world, sims, place=55)

    def modify(listed: list[str]) -> None:
        world.carrier.change_devices([listed[place] for place in modified], customer="A third one")

    assert world.send(instance_id, lambda client: meanwhile.around(client, modify)) == {"applied": 149, "conflict": 1}
    assert world.plans()[meanwhile.moved["iccid"]] == world.other_plan(meanwhile.moved)


# Refused, failing, or not to be used


def test_a_refused_list_is_replaced_by_reads(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(60)
    world.carrier.add_fault(status=400, page_number=1, error_message="no list today", times=None)
    assert world.send(instance_id) == {"applied": 60}
    assert (world.calls(), world.pages()) == ({"GET": 60, "PUT": 60}, 1)
    assert "no list today" in world.row(instance_id)["changes_list_refusal"]
    assert world.read_back(instance_id) == {"verified": 50, "different": 0}
    assert all(on_target(world, sims))


def test_a_failing_list_stops_no_change(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(60)
    world.carrier.add_fault(status=500, page_number=1, error_message="index is broken", times=None)
    with pytest.raises(CarrierUnavailableError) as away:  # the failing list has opened the circuit
        world.send(instance_id)
    assert away.value.retry_at is not None
    world.execute("DELETE FROM amop.carrier_api_user")  # that moment has come
    world.carrier.reset_stats()
    assert world.send(instance_id) == {"applied": 60}
    assert (world.calls(), world.pages()) == ({"GET": 59, "PUT": 59}, 0)
    assert all(on_target(world, sims))


def test_a_list_that_fails_later_leaves_the_rest_to_reads(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(150)
    read_first = 149 - len(unmodified(world, sims[1:]))
    world.carrier.add_fault(status=403, page_number=1, nth_call=2, error_message="no right", times=None)
    assert world.send(instance_id) == {"applied": 150}
    calls = world.calls()
    assert calls["PUT"] == 150 and 99 < calls["GET"] <= 99 + read_first + 1
    assert all(on_target(world, sims))


def test_an_unreadable_record_of_the_list_leaves_it_unused(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, _ = world.listed(20)
    other = world.sims(1)[0]
    world.carrier.change_devices([other["iccid"]], extra={"iccid": "8901-170"})
    assert world.send(instance_id) == {"applied": 20}
    assert world.calls() == {"GET": 20, "PUT": 20}
    assert "has an unreadable record" in world.row(instance_id)["changes_list_refusal"]


def test_a_list_much_longer_than_expected_is_not_read_to_its_end(world: ListWorld) -> None:
    world.add_device_list(seen=1)
    instance_id, _ = world.listed(60)
    world.carrier.add_fault(endless_pages=True, path="/rws/api/v1/devices", page_number=1, times=None)
    world.carrier.add_fault(endless_pages=True, path="/rws/api/v1/devices", page_number=2, times=None)
    assert world.send(instance_id) == {"applied": 60}
    assert world.calls()["PUT"] == 60


def spoilt(name: str) -> Callable[[ListWorld], Any]:
    def is_not_exact(world: ListWorld) -> None:
        world.add_device_list(is_exact=False)

    def has_a_gap(world: ListWorld) -> None:
        world.add_device_list(began=timedelta(hours=30))
        world.add_device_list(modified_since=present() - timedelta(hours=29))

    def is_old(world: ListWorld) -> None:
        world.add_device_list(began=timedelta(days=2, minutes=1))

    def lost_a_sim(world: ListWorld) -> None:
        world.add_device_list()
        world.execute(
            "INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason)"
            " SELECT id, 'device', 'key', '{}', 'iccid is null' FROM amop.device_sync_run"
        )

    ways: dict[str, Callable[[ListWorld], Any]] = {
        "no list": lambda world: None,
        "not exact": is_not_exact,
        "a gap between two lists": has_a_gap,
        "older than two days": is_old,
        "a record without an ICCID": lost_a_sim,
    }
    return ways[name]


@pytest.mark.parametrize(
    "name", ["no list", "not exact", "a gap between two lists", "older than two days", "a record without an ICCID"]
)
def test_without_a_certain_and_recent_device_list_each_sim_is_read(world: ListWorld, name: str) -> None:
    spoilt(name)(world)
    instance_id, _ = world.listed(20)
    assert world.send(instance_id) == {"applied": 20}
    assert (world.calls(), world.pages()) == ({"GET": 20, "PUT": 20}, 0)


def test_an_incremental_list_that_follows_a_full_one_is_certain(world: ListWorld) -> None:
    began = world.add_device_list(began=timedelta(days=1))
    world.add_device_list(modified_since=began - timedelta(days=1))
    instance_id, _ = world.listed(20)
    assert world.send(instance_id) == {"applied": 20}
    assert world.pages() > 0 and world.calls()["GET"] < 20


# Killed, stopped, superseded


def test_killed_at_any_call_every_change_is_sent_exactly_once(world: ListWorld, reliability: RecordFault) -> None:
    world.add_device_list()
    changes, kills, writes, moved = 6, 0, 0, 0
    for at in range(changes + 3):
        for before in (True, False):
            instance_id, sims = world.listed(changes)

            def dying(client: Any, at: int = at, before: bool = before) -> Any:
                return Dying(client, at=at, before=before)

            try:
                world.send(instance_id, dying)
            except Killed:
                kills += 1
            assert world.send(instance_id) == {"applied": changes}, (at, before)
            assert all(on_target(world, sims)), (at, before)
            assert world.calls()["PUT"] == changes, (at, before)
            writes += world.calls()["PUT"]
            moved += sum(on_target(world, sims))
    assert kills >= 2 * changes
    reliability(
        fault="worker killed before and after every call that applies plan changes by a list of modified SIMs",
        injected=kills,
        expected=f"{writes} SIMs on their target plan, each written once",
        seen=f"{moved} SIMs on their target plan, {writes} writes",
    )


def test_a_change_of_another_party_between_a_kill_and_the_next_process_is_found(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(60)
    moved = unmodified(world, sims[40:])[0]
    third = world.other_plan(moved)
    with pytest.raises(Killed):
        world.send(instance_id, lambda client: Dying(client, at=30, before=True))
    world.carrier.change_devices([moved["iccid"]], rate_plan=third)
    assert world.send(instance_id) == {"applied": 59, "conflict": 1}
    assert world.plans()[moved["iccid"]] == third


def test_a_pause_of_minutes_has_the_list_read_again(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(40)
    moved = unmodified(world, sims[30:])[0]
    third = world.other_plan(moved)

    def pause() -> None:
        SimulatedDatetime.offset += timedelta(minutes=3)
        world.carrier.change_devices([moved["iccid"]], rate_plan=third)

    def around(client: Any) -> Any:
        return Interrupted(client, after=10, method="change_rate_plan", do=pause)

    assert world.send(instance_id, around) == {"applied": 39, "conflict": 1}
    assert world.plans()[moved["iccid"]] == third


def test_a_change_whose_request_was_not_done_is_read_before_it_is_sent_again(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, sims = world.listed(20)
    calm = unmodified(world, sims[1:])
    world.carrier.add_fault(status=503, method="PUT", path=f"/rws/api/v1/devices/{calm[5]['iccid']}")
    assert world.send(instance_id) == {"applied": 20}
    # Once to settle the doubt, and once before the second request.
    assert world.calls() == {"GET": 1 + (19 - len(calm)) + 2, "PUT": 21}


def test_a_newer_instance_stops_the_others(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, _ = world.listed(60)

    def complete_a_newer_one() -> None:
        world.plan(world.instance(world.sims(1)))

    def around(client: Any) -> Any:
        return Interrupted(client, after=20, method="change_rate_plan", do=complete_a_newer_one)

    assert world.send(instance_id, around) == {"applied": 20, "rejected": 40}
    assert world.calls()["PUT"] == 20


def test_moments_are_those_of_the_simulated_clock(world: ListWorld) -> None:
    world.add_device_list()
    instance_id, _ = world.listed(10)
    world.send(instance_id)
    listed_at: datetime = world.row(instance_id)["changes_listed_at"]
    assert NOW <= listed_at <= present()
