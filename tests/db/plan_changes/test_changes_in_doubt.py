"""A write without a clear answer is settled by a read, and never sent twice on a guess."""

from __future__ import annotations

from typing import Any

import pytest

from amop.carriers import circuit_breaker
from amop.carriers.errors import CarrierUnavailableError
from amop.plan_changes import apply as applying
from tests.worlds.changes_world import ChangesWorld, approved, device_path
from tests.worlds.interrupted_client import CallOnAppend, Dying, Killed


@pytest.mark.parametrize(
    ("fault", "is_done"),
    [
        ({"status": 503}, False),
        ({"status": 429, "retry_after_seconds": 1}, False),
        ({"reset": True}, False),
        ({"truncate": True}, True),
    ],
)
def test_a_write_without_a_clear_answer_is_sent_again_only_after_a_read_shows_that_it_was_not_done(
    world: ChangesWorld, fault: dict[str, Any], is_done: bool
) -> None:
    instance_id, sims = approved(world, 3)
    world.carrier.add_fault(method="PUT", nth_call=2, **fault)
    with world.client() as client:
        client._gate.block = lambda seconds: None  # type: ignore[method-assign]
        assert world.apply(instance_id, client=client) == {"applied": 3}
    assert world.calls() == ({"GET": 4, "PUT": 3} if is_done else {"GET": 5, "PUT": 4})
    assert world.waits == [90.0]  # the longest call: a deadline of 60 s and one read of 30 s
    plans = world.plans()
    assert all(plans[sim["iccid"]] == sim["target"] for sim in sims)
    assert [change["doubt_count"] for change in world.changes(instance_id).values()].count(1) == 1


def test_a_plan_that_another_party_sets_during_the_doubt_is_not_overwritten(world: ChangesWorld) -> None:
    instance_id, (sim,) = approved(world, 1)
    taken = {sim["rate_plan"], sim["target"]}
    third = next(plan.rate_plan_code for plan in world.provider.rate_plans if plan.rate_plan_code not in taken)
    world.carrier.add_fault(method="PUT", status=500, times=None)
    world.waits = CallOnAppend(lambda: world.carrier.change_devices([sim["iccid"]], rate_plan=third))
    assert world.apply(instance_id) == {"conflict": 1}
    assert world.calls()["PUT"] == 1
    assert world.plans()[sim["iccid"]] == third
    assert f"shows rate plan {third!r}" in world.changes(instance_id)[sim["iccid"]]["error"]


def test_a_write_that_is_never_answered_clearly_is_sent_three_times_and_has_failed(world: ChangesWorld) -> None:
    instance_id, sims = approved(world, 3)
    world.carrier.add_fault(status=500, method="PUT", path=device_path(sims[1]), error_message="broken SIM", times=None)
    assert world.apply(instance_id) == {"applied": 2, "failed": 1}
    assert world.calls()["PUT"] == 5
    assert world.waits == [90.0] * 3
    change = world.changes(instance_id)[sims[1]["iccid"]]
    assert "after 3 write requests" in change["error"] and "500: broken SIM" in change["error"]
    assert world.plans()[sims[1]["iccid"]] == sims[1]["rate_plan"]


def test_a_success_status_with_an_error_body_is_a_refusal_once_a_read_shows_that_nothing_changed(
    world: ChangesWorld,
) -> None:
    instance_id, sims = approved(world, 2)
    world.carrier.add_fault(
        status=200, method="PUT", path=device_path(sims[0]), error_message="Invalid plan", times=None
    )
    assert world.apply(instance_id) == {"applied": 1, "failed": 1}
    assert world.calls() == {"GET": 3, "PUT": 2}
    assert "200: Invalid plan" in world.changes(instance_id)[sims[0]["iccid"]]["error"]


def test_a_carrier_without_clear_answers_is_asked_after_ten_changes(
    world: ChangesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FAILURES_TO_OPEN", 1000)
    instance_id, _ = approved(world, 25)
    world.carrier.add_fault(method="PUT", truncate=True, times=None)  # it does every change and breaks the answer
    assert world.apply(instance_id) == {"applied": 25}
    assert world.calls() == {"GET": 50, "PUT": 25}
    assert len(world.waits) == 25


def test_a_change_in_doubt_is_not_in_a_later_batch(world: ChangesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 3)
    instance_id, _ = approved(world, 6)
    world.carrier.add_fault(method="PUT", truncate=True)  # it does the first change and breaks the answer
    assert world.apply(instance_id) == {"applied": 6}
    assert world.calls() == {"GET": 7, "PUT": 6}
    assert len(world.waits) == 1


def test_a_carrier_that_stays_away_leaves_the_change_in_doubt_until_it_can_be_read(world: ChangesWorld) -> None:
    instance_id, _ = approved(world, 3)
    world.carrier.add_fault(method="PUT", truncate=True)
    world.carrier.add_fault(method="GET", reset=True, nth_call=2, times=None)
    with pytest.raises(CarrierUnavailableError) as away:
        world.apply(instance_id)
    assert away.value.retry_at is not None  # the task resumes then, and no try is spent
    in_doubt = [change["doubt_since"] is not None for change in world.changes(instance_id).values()]
    assert sorted(in_doubt) == [False, False, True]
    assert world.states(instance_id) == ["approved"] * 3
    world.carrier.clear_faults()
    world.carrier.reset_stats()
    world.execute("DELETE FROM amop.carrier_api_user")  # the circuit is closed again
    assert world.apply(instance_id) == {"applied": 3}
    assert world.calls() == {"GET": 3, "PUT": 2}


def test_a_change_in_doubt_of_an_instance_that_was_superseded_is_cleared_up_and_nothing_more_is_sent(
    world: ChangesWorld,
) -> None:
    instance_id, sims = approved(world, 3)
    with world.client() as client, pytest.raises(Killed):
        world.apply(instance_id, client=Dying(client, at=1, before=False))  # the first write is done, not noted
    world.plan(world.instance(world.sims(1)))
    assert sorted(world.states(instance_id)) == ["approved", "rejected", "rejected"]
    world.carrier.reset_stats()
    assert world.apply(instance_id) == {"applied": 1, "rejected": 2}
    assert world.calls() == {"GET": 1, "PUT": 0}
    with world.client() as client, pytest.raises(Killed):
        second, _ = approved(world, 2)
        world.apply(second, client=Dying(client, at=1, before=True))  # the first write never left
    world.plan(world.instance(world.sims(1)))
    assert world.apply(second) == {"rejected": 2}
    assert sims[0]["iccid"] in world.changes(instance_id)
