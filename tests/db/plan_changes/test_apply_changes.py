"""Plan changes at a real carrier over HTTP: what is sent, counted there; what is not; and killed at any instant."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from amop.carriers.errors import CarrierAuthenticationError, CarrierWriteForbiddenError
from amop.config import INTEGRATIONS
from amop.database.connection import connect
from amop.plan_changes import apply as applying
from amop.plan_changes.apply import ChangesBusyError, ChangesStoppedError, stop_changes
from amop.plan_changes.decide import Answer
from amop.plan_changes.store.sending import lock_provider
from amop.plan_changes.verify import verify_changes
from sandbox.carrier.running import RunningCarrier
from tests.worlds.changes_world import CYCLE_END, NOW, ChangesWorld, approved, device_path
from tests.worlds.interrupted_client import Dying, Interrupted, Killed
from tests.worlds.reliability import RecordFault


@pytest.mark.parametrize(
    "carrier", [name for name, i in INTEGRATIONS.items() if i.supports_optimization], indirect=True
)
def test_every_integration_changes_its_sims_with_one_read_and_one_write_each(
    warehouse_dsn: str, carrier: RunningCarrier
) -> None:
    (account,) = carrier.accounts
    world = ChangesWorld(warehouse_dsn, carrier, account.removeprefix("api_"))
    others = world.plans()
    instance_id, sims = approved(world, 7)
    assert world.apply(instance_id) == {"applied": 7}
    assert world.calls() == {"GET": 7, "PUT": 7}
    assert world.plans() == others | {sim["iccid"]: sim["target"] for sim in sims}
    row = world.row(instance_id)
    assert (row["changes_status"], row["changes_reason"]) == ("applied", "7 applied")
    for change in world.changes(instance_id).values():
        assert (change["state"], change["applied_at"], change["sent_at"], change["error"]) == (
            "applied",
            NOW,
            NOW,
            None,
        )


def test_applying_again_sends_nothing(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 3)
    world.apply(instance_id)
    before = world.changes(instance_id)
    world.carrier.reset_stats()
    assert world.apply(instance_id) == {"applied": 3}
    assert world.calls() == {"GET": 0, "PUT": 0}
    assert world.changes(instance_id) == before


def test_the_largest_savings_are_sent_first(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 5)  # they save 1, 2, 3, 4 and 5
    world.carrier.add_fault(status=401, method="PUT", nth_call=3)
    with pytest.raises(CarrierAuthenticationError):
        world.apply(instance_id)
    plans = world.plans()
    assert [plans[sim["iccid"]] == sim["target"] for sim in sims] == [False, False, False, True, True]


# What is not sent


@pytest.mark.parametrize("status", ["proposed_only", "waiting", "rejected", "no_go", "superseded"])
def test_what_is_not_approved_is_never_sent(world: ChangesWorld, status: str) -> None:
    world.set_provider(approval_above_changes=0, can_auto_update_rate_plans=status != "proposed_only")
    instance_id = world.instance(world.sims(3))
    world.plan(instance_id, now=CYCLE_END if status == "no_go" else NOW)
    if status == "rejected":
        world.answer(instance_id, Answer(is_approval=False, by="ben"))
    if status == "superseded":
        world.plan(world.instance(world.sims(1)))
    assert world.row(instance_id)["changes_status"] == status
    world.set_provider(can_auto_update_rate_plans=True, approval_above_changes=None)
    world.carrier.reset_stats()
    counts = world.apply(instance_id)
    assert set(counts) <= {"proposed", "rejected"}
    assert world.calls() == {"GET": 0, "PUT": 0}


def test_without_write_is_enabled_no_write_reaches_the_carrier(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 3)
    before = world.plans()
    with world.client(may_write=False) as reader, pytest.raises(CarrierWriteForbiddenError, match="nothing was sent"):
        world.apply(instance_id, client=reader)
    assert world.calls() == {"GET": 1, "PUT": 0}
    world.set_provider(write_is_enabled=False)
    with pytest.raises(ChangesStoppedError, match=r"write_is_enabled is off.*3 approved changes were not sent"):
        world.apply(instance_id)
    assert world.calls()["PUT"] == 0
    assert world.plans() == before
    assert world.states(instance_id) == ["approved"] * 3


@pytest.mark.parametrize("setting", ["is_active", "write_is_enabled", "can_auto_update_rate_plans"])
def test_writes_switched_off_while_changes_are_applied_stop_it_at_the_next_sim(
    world: ChangesWorld, setting: str
) -> None:
    instance_id, _ = approved(world, 10)
    with world.client() as client:
        switching = Interrupted(
            client, after=4, method="change_rate_plan", do=lambda: world.set_provider(**{setting: False})
        )
        with pytest.raises(ChangesStoppedError, match=f"{setting} is off.*6 approved changes were not sent"):
            world.apply(instance_id, client=switching)
    assert world.calls()["PUT"] == 4
    world.set_provider(**{setting: True})
    assert world.apply(instance_id) == {"applied": 10}
    assert world.calls()["PUT"] == 10


def test_a_sim_whose_plan_was_changed_meanwhile_is_a_conflict_and_not_overwritten(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 3)
    taken = {sims[1]["rate_plan"], sims[1]["target"]}
    third = next(plan.rate_plan_code for plan in world.provider.rate_plans if plan.rate_plan_code not in taken)
    world.carrier.change_devices([sims[1]["iccid"]], rate_plan=third)
    assert world.apply(instance_id) == {"applied": 2, "conflict": 1}
    assert world.calls() == {"GET": 3, "PUT": 2}
    assert world.plans()[sims[1]["iccid"]] == third
    change = world.changes(instance_id)[sims[1]["iccid"]]
    assert change["state"] == "conflict" and f"shows rate plan {third!r}" in change["error"]
    assert change["applied_at"] is None


def test_sims_that_are_gone_or_retired_are_conflicts(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 3)
    world.carrier.remove_devices([sims[0]["iccid"]])
    world.carrier.change_devices([sims[1]["iccid"]], status="RETIRED")
    assert world.apply(instance_id) == {"applied": 1, "conflict": 2}
    assert world.calls() == {"GET": 3, "PUT": 1}
    changes = world.changes(instance_id)
    assert "is no longer at the carrier" in changes[sims[0]["iccid"]]["error"]
    assert "is RETIRED at the carrier" in changes[sims[1]["iccid"]]["error"]


def test_a_sim_that_is_on_the_target_plan_already_is_applied_without_a_write(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 2)
    world.carrier.change_devices([sims[0]["iccid"]], rate_plan=sims[0]["target"])
    assert world.apply(instance_id) == {"applied": 2}
    assert world.calls() == {"GET": 2, "PUT": 1}


# Refusals of the carrier


def test_a_change_that_an_older_session_applied_meanwhile_is_not_saved_again(world: ChangesWorld) -> None:
    first, sims = approved(world, 1)
    second = world.instance(sims)  # its inputs are read before the first one's change is applied
    world.execute("UPDATE amop.optimization_instance SET inputs_read_at = %s WHERE id = %s", NOW, second)
    world.execute("UPDATE amop.optimization_instance SET run_status = 'running' WHERE id = %s", second)
    assert world.apply(first, now=NOW + timedelta(minutes=1)) == {"applied": 1}
    world.execute("UPDATE amop.optimization_instance SET run_status = 'complete_with_success' WHERE id = %s", second)
    assert world.plan(second, now=NOW + timedelta(minutes=2)) == "approved"
    assert world.apply(second, now=NOW + timedelta(minutes=3)) == {"rejected": 1}
    (change,) = world.changes(second).values()
    session_id = world.row(first)["session_id"]
    assert change["error"] == f"session {session_id} applied the same change meanwhile; the saving is that session's"
    assert world.calls()["PUT"] == 1


def test_a_refused_change_fails_with_its_reason_and_the_others_go_on(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 4)
    world.carrier.add_fault(
        status=400, method="PUT", path=device_path(sims[2]), error_message="plan is sold out", times=None
    )
    assert world.apply(instance_id) == {"applied": 3, "failed": 1}
    change = world.changes(instance_id)[sims[2]["iccid"]]
    assert change["state"] == "failed" and "400: plan is sold out" in change["error"]
    assert world.row(instance_id)["changes_reason"] == "3 applied, 1 failed"
    assert world.calls() == {"GET": 4, "PUT": 4}


def test_too_many_refusals_in_a_row_stop_it_and_the_rest_stays_approved(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 25)
    world.carrier.add_fault(status=403, method="PUT", error_message="no right to edit", nth_call=3, times=None)
    with pytest.raises(ChangesStoppedError, match=r"10 consecutive changes were refused.*no right to edit"):
        world.apply(instance_id)
    states = world.states(instance_id)
    assert [states.count(state) for state in ("applied", "failed", "approved")] == [2, 10, 13]
    assert world.calls()["PUT"] == 12
    stop_changes(world.dsn, instance_id, "fixed", now=NOW)
    assert world.row(instance_id)["changes_status"] == "stopped"
    world.carrier.clear_faults()
    assert world.apply(instance_id) == {"applied": 15, "failed": 10}
    assert world.row(instance_id)["changes_status"] == "applied"


def test_refusals_between_successes_do_not_stop_it(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 24)
    for sim in sims[::2]:
        world.carrier.add_fault(status=400, method="PUT", path=device_path(sim), times=None)
    assert world.apply(instance_id) == {"applied": 12, "failed": 12}


def test_a_wrong_key_is_final_after_one_call_and_everything_stays_approved(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 3)
    world.carrier.reject_api_key()
    with pytest.raises(CarrierAuthenticationError):
        world.apply(instance_id)
    assert world.calls() == {"GET": 1, "PUT": 0}
    assert world.states(instance_id) == ["approved"] * 3


# Time


class RunningClock:
    """A clock that advances with every reading."""

    def __init__(self, start: datetime, step: timedelta) -> None:
        self.moment, self.step = start, step

    def __call__(self) -> datetime:
        self.moment += self.step
        return self.moment


def test_a_slow_carrier_stops_it_after_a_batch_when_the_rest_has_no_time_left(
    world: ChangesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 5)
    instance_id, _ = approved(world, 20)  # 60 calls, 12 s at 5 a second
    clock = RunningClock(CYCLE_END - timedelta(seconds=600 + 13.7), timedelta(seconds=0.7))
    counts = world.apply(instance_id, clock=clock)
    assert counts == {"applied": 5, "rejected": 15}
    assert world.calls()["PUT"] == 5
    row = world.row(instance_id)
    assert row["changes_status"] == "no_go"
    assert (
        row["changes_reason"].startswith("no go: 15 changes take 9 s")
        and "5 were applied before" in row["changes_reason"]
    )


def test_approved_changes_that_come_to_their_turn_too_late_are_not_sent(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 3)
    assert world.apply(instance_id, now=CYCLE_END - timedelta(minutes=10)) == {"rejected": 3}
    assert world.calls() == {"GET": 0, "PUT": 0}
    assert world.row(instance_id)["changes_status"] == "no_go"


# A newer instance while changes are applied


@pytest.mark.parametrize("is_decided", [True, False], ids=["decided on", "not decided on yet"])
def test_a_newer_instance_stops_what_an_older_one_has_not_sent_yet(world: ChangesWorld, *, is_decided: bool) -> None:
    instance_id, _ = approved(world, 6)

    def complete_a_newer_one() -> None:
        newer = world.instance(world.sims(1))
        if is_decided:
            world.plan(newer)

    with world.client() as client:
        interrupted = Interrupted(client, after=2, method="change_rate_plan", do=complete_a_newer_one)
        counts = world.apply(instance_id, client=interrupted)
    # The second change was being sent when the newer instance superseded the others: its real state is recorded.
    assert counts == {"applied": 2, "rejected": 4}
    assert world.calls()["PUT"] == 2
    assert world.row(instance_id)["changes_status"] == "superseded"


def test_two_tasks_do_not_apply_changes_of_one_provider_at_the_same_time(
    world: ChangesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id, _ = approved(world, 1)
    with connect(world.dsn, autocommit=True) as other:
        lock_provider(other, service_provider_id=world.provider.id)
        monkeypatch.setattr(world, "dsn", f"{world.dsn} options='-c lock_timeout=300ms'")
        with pytest.raises(ChangesBusyError, match="another task applies plan changes"):
            world.apply(instance_id)
    assert world.calls() == {"GET": 0, "PUT": 0}
    assert world.apply(instance_id) == {"applied": 1}


# Killed at any instant


def test_killed_at_any_call_and_run_again_every_change_is_sent_exactly_once(
    world: ChangesWorld, reliability: RecordFault
) -> None:
    changes, kills, writes, moved = 3, 0, 0, 0
    for at in range(2 * changes):
        for before in (True, False):
            instance_id, sims = approved(world, changes)
            with world.client() as client, pytest.raises(Killed):
                world.apply(instance_id, client=Dying(client, at=at, before=before))
            assert world.apply(instance_id) == {"applied": changes}, (at, before)
            plans = world.plans()
            assert all(plans[sim["iccid"]] == sim["target"] for sim in sims)
            # One write each, whenever it died. The SIM that it died on is read once more, and twice more where it was
            # about to be written: to settle the doubt, and before the write.
            is_write = at % 2 == 1
            more = (2 if before else 1) if is_write else (0 if before else 1)
            assert world.calls() == {"GET": changes + more, "PUT": changes}, (at, before)
            kills, writes = kills + 1, writes + world.calls()["PUT"]
            moved += sum(plans[sim["iccid"]] == sim["target"] for sim in sims)
    reliability(
        fault="worker killed before and after every call that applies plan changes", injected=kills,
        expected=f"{kills * changes} SIMs on their target plan, each written once",
        seen=f"{moved} SIMs on their target plan, {writes} writes",
    )  # fmt: skip


def test_a_task_that_dies_again_and_again_gets_there(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 6)
    for _ in range(100):
        try:
            with world.client() as client:
                world.apply(instance_id, client=Dying(client, at=2, before=False))
        except Killed:
            continue
        break
    assert world.states(instance_id) == ["applied"] * 6
    assert world.calls()["PUT"] == 6
    plans = world.plans()
    assert all(plans[sim["iccid"]] == sim["target"] for sim in sims)


# Afterwards


def test_a_sample_of_fifty_is_read_back_once(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 60)
    world.apply(instance_id)
    world.carrier.reset_stats()
    with world.client(may_write=False) as reader:
        assert verify_changes(world.dsn, instance_id, reader, clock=lambda: NOW) == {"verified": 50, "different": 0}
        assert world.calls() == {"GET": 50, "PUT": 0}
        assert verify_changes(world.dsn, instance_id, reader) == {"verified": 0, "different": 0}
    assert world.calls() == {"GET": 50, "PUT": 0}
    verified = [change for change in world.changes(instance_id).values() if change["verified_at"] is not None]
    assert len(verified) == 50
    assert all(change["verified_rate_plan"] == change["to_rate_plan"] for change in verified)


def test_a_change_that_the_carrier_did_not_keep_is_found_and_recorded(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 3)
    world.carrier.add_fault(forget_write=True, path=device_path(sims[1]), method="PUT")
    assert world.apply(instance_id) == {"applied": 3}
    with world.client(may_write=False) as reader:
        assert verify_changes(world.dsn, instance_id, reader) == {"verified": 3, "different": 1}
    change = world.changes(instance_id)[sims[1]["iccid"]]
    assert (change["state"], change["verified_rate_plan"]) == ("conflict", sims[1]["rate_plan"])
    assert change["error"] == f"was applied, but the carrier shows rate plan {sims[1]['rate_plan']!r} afterwards"
    assert change["applied_at"] == NOW


def test_a_sim_that_cannot_be_read_back_is_not_counted_as_verified(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 2)
    world.apply(instance_id)
    world.carrier.add_fault(status=403, path=device_path(sims[0]), method="GET")
    with world.client(may_write=False) as reader:
        assert verify_changes(world.dsn, instance_id, reader) == {"verified": 1, "different": 0}
        assert world.changes(instance_id)[sims[0]["iccid"]]["state"] == "applied"
        assert verify_changes(world.dsn, instance_id, reader) == {"verified": 1, "different": 0}


def test_the_device_keeps_its_plan_until_the_next_sync_confirms_it(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 2)
    world.apply(instance_id)
    kept = world.execute("SELECT iccid, rate_plan FROM amop.device ORDER BY iccid")
    assert {row["iccid"]: row["rate_plan"] for row in kept} == {sim["iccid"]: sim["rate_plan"] for sim in sims}
