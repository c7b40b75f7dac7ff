"""Decisions on proposed plan changes: every decision and refusal, as stored in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from amop.plan_changes.decide import Answer, approval_request
from amop.runs.errors import PipelineError
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.changes_world import CYCLE_END, CYCLE_START, NOW, ChangesWorld

ANNA = Answer(is_approval=True, by="anna")
NO_ANSWER = Answer(is_approval=False, by=None)


@pytest.fixture(scope="module")
def carrier() -> Iterator[RunningCarrier]:
    """A carrier that receives no writes: it only lists the SIMs."""
    with running_carrier(devices_per_account=120, accounts=("jasper",), as_of=NOW) as running:
        yield running


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> Iterator[ChangesWorld]:
    yield ChangesWorld(warehouse_dsn, carrier)
    assert carrier.stats("api_jasper")["calls"] == 0


@pytest.mark.parametrize(
    ("settings", "apply_changes", "reason"),
    [
        ({"is_active": False}, "provider_setting", "is_active is off"),
        ({"write_is_enabled": False}, "provider_setting", "write_is_enabled is off"),
        ({"can_auto_update_rate_plans": False}, "provider_setting", "can_auto_update_rate_plans is off"),
        ({}, "never", "apply_changes = never"),
    ],
)
def test_what_settings_or_the_run_forbid_is_only_proposed(
    world: ChangesWorld, settings: dict[str, Any], apply_changes: str, reason: str
) -> None:
    if settings:
        world.set_provider(**settings)
    instance_id = world.instance(world.sims(3), apply_changes=apply_changes)
    assert world.plan(instance_id) == "proposed_only"
    row = world.row(instance_id)
    assert (row["changes_status"], row["changes_decided_by"]) == ("proposed_only", "amop")
    assert reason in row["changes_reason"]
    assert world.states(instance_id) == ["proposed"] * 3


def test_within_the_limits_no_approval_is_requested(world: ChangesWorld) -> None:
    world.set_provider(approval_above_changes=3, approval_above_amount=6)
    instance_id = world.instance(world.sims(3))  # they move 1 + 2 + 3
    assert world.plan(instance_id) == "approved"
    row = world.row(instance_id)
    # 3 changes take 9 calls, 2 s at 5 a second, and ten minutes are kept.
    assert row["changes_deadline"] == CYCLE_END - timedelta(seconds=602)
    assert row["changes_planned_by"] == "dag/run"
    for change in world.changes(instance_id).values():
        assert (change["state"], change["decided_by"], change["decided_at"]) == ("approved", "amop", NOW)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"approval_above_changes": 2}, "3 changes are more than approval_above_changes = 2"),
        ({"approval_above_amount": "5.99"}, "USD 6.00 moved is more than approval_above_amount = USD 5.99"),
    ],
)
def test_above_a_limit_the_changes_wait_for_approval(
    world: ChangesWorld, settings: dict[str, Any], reason: str
) -> None:
    world.set_provider(**settings)
    instance_id = world.instance(world.sims(3))
    assert world.plan(instance_id) == "waiting"
    assert world.row(instance_id)["changes_reason"] == reason
    assert world.states(instance_id) == ["proposed"] * 3
    request = approval_request(world.dsn, instance_id, call_rate=lambda *_: 5.0, now=NOW)
    assert request.subject == "AT&T Control Center: apply 3 rate plan changes that save USD 6.00?"
    assert reason in request.body and f"`instance_id` {instance_id}" in request.body


def test_changes_built_on_a_sync_with_warnings_wait_for_a_person_who_sees_them_in_the_question(
    world: ChangesWorld,
) -> None:
    instance_id = world.instance(world.sims(1))
    world.add_merged_run(["96 of 120 SIMs with DATA usage have none <b>now</b>"])
    assert world.plan(instance_id) == "waiting"
    assert world.row(instance_id)["changes_reason"] == (
        "the carrier's answers that the changes are built on were implausible: 1 warning of the device sync"
    )
    assert world.states(instance_id) == ["proposed"]
    body = approval_request(world.dsn, instance_id, call_rate=lambda *_: 5.0, now=NOW).body
    assert "* 96 of 120 SIMs with DATA usage have none \\<b\\>now\\</b\\> (device sync run " in body


def test_a_test_of_the_dag_does_not_wait_for_approval(world: ChangesWorld) -> None:
    world.set_provider(approval_above_changes=0)
    instance_id = world.instance(world.sims(1))
    assert world.plan(instance_id, can_wait=False) == "proposed_only"
    assert "cannot wait for approval" in world.row(instance_id)["changes_reason"]


def test_without_changes_there_is_nothing_to_decide(world: ChangesWorld) -> None:
    instance_id = world.instance([])
    assert world.plan(instance_id) == "nothing_to_change"
    assert world.row(instance_id)["changes_reason"] == "no plan changes that save enough were found"


def test_where_a_cap_leaves_no_changes_the_reason_says_what_it_costs(world: ChangesWorld) -> None:
    instance_id = world.instance([])
    world.execute(
        "UPDATE amop.optimization_instance"
        ' SET certificate = \'{"changes": {"most": 1, "count": 0}}\','
        " uncapped_change_count = 2, uncapped_cost = total_cost - 7"
        " WHERE id = %s",
        instance_id,
    )
    assert world.plan(instance_id) == "nothing_to_change"
    assert world.row(instance_id)["changes_reason"] == (
        "no plan changes that save enough were found; they are capped by maximum_changes = 1;"
        " without the cap 2 more changes would save USD 7.00"
    )


def test_too_little_time_for_all_changes_is_no_go_and_rejects_them_with_the_reason(world: ChangesWorld) -> None:
    instance_id = world.instance(world.sims(5))  # 15 calls, 3 s
    latest = CYCLE_END - timedelta(seconds=603)
    assert world.plan(instance_id, now=latest + timedelta(milliseconds=1)) == "no_go"
    row = world.row(instance_id)
    assert row["changes_reason"].startswith("no go: 5 changes take 3 s at 5 calls a second, plus 10 min")
    assert row["changes_deadline"] == latest
    assert {change["error"] for change in world.changes(instance_id).values()} == {row["changes_reason"]}
    assert world.states(instance_id) == ["rejected"] * 5
    assert world.plan(world.instance(world.sims(5)), now=latest) == "approved"


def test_a_closed_billing_period_is_no_go(world: ChangesWorld) -> None:
    past = world.add_billing_period(10, CYCLE_START - timedelta(days=31), CYCLE_START)
    assert world.plan(world.instance(world.sims(2), billing_period_id=past)) == "no_go"


def test_planning_again_changes_no_decision(world: ChangesWorld) -> None:
    world.set_provider(approval_above_changes=None)
    instance_id = world.instance(world.sims(2))
    world.plan(instance_id)
    before = world.changes(instance_id)
    world.set_provider(can_auto_update_rate_plans=False)
    assert world.plan(instance_id, now=NOW + timedelta(hours=1)) == "approved"
    assert world.changes(instance_id) == before


def test_what_was_only_proposed_may_be_planned_again_when_the_settings_allow_it(world: ChangesWorld) -> None:
    world.set_provider(write_is_enabled=False)
    instance_id = world.instance(world.sims(2))
    assert world.plan(instance_id) == "proposed_only"
    world.set_provider(write_is_enabled=True)
    assert world.plan(instance_id) == "approved"


def test_an_instance_that_is_not_complete_is_not_planned(world: ChangesWorld) -> None:
    instance_id = world.instance(world.sims(1), run_status="complete_with_errors")
    with pytest.raises(PipelineError, match="complete_with_errors: only a complete one is applied"):
        world.plan(instance_id)
    assert world.states(instance_id) == ["proposed"]


# The answer


@pytest.fixture
def waiting(world: ChangesWorld) -> int:
    world.set_provider(approval_above_changes=0)
    instance_id = world.instance(world.sims(4))
    assert world.plan(instance_id) == "waiting"
    return instance_id


def test_an_approval_is_recorded_with_who_and_when(world: ChangesWorld, waiting: int) -> None:
    later = NOW + timedelta(hours=3)
    answer = Answer(is_approval=True, by="anna", comment="looks right")
    assert world.answer(waiting, answer, now=later) == "approved"
    row = world.row(waiting)
    assert (row["changes_reason"], row["changes_decided_by"]) == ("approved by anna: looks right", "anna")
    for change in world.changes(waiting).values():
        assert (change["state"], change["decided_by"], change["decided_at"]) == ("approved", "anna", later)


def test_a_rejection_is_recorded_with_who_and_when(world: ChangesWorld, waiting: int) -> None:
    assert world.answer(waiting, Answer(is_approval=False, by="ben")) == "rejected"
    for change in world.changes(waiting).values():
        assert (change["state"], change["decided_by"], change["error"]) == ("rejected", "ben", "rejected by ben")


def test_the_first_answer_stays(world: ChangesWorld, waiting: int) -> None:
    world.answer(waiting, Answer(is_approval=False, by="ben"))
    assert world.answer(waiting, ANNA) == "rejected"
    assert world.states(waiting) == ["rejected"] * 4


def test_no_answer_in_time_is_no_go(world: ChangesWorld, waiting: int) -> None:
    late = world.row(waiting)["changes_deadline"] + timedelta(seconds=5)
    assert world.answer(waiting, NO_ANSWER, now=late) == "no_go"
    row = world.row(waiting)
    assert "no answer by" in row["changes_reason"] and row["changes_decided_by"] == "amop"
    assert world.states(waiting) == ["rejected"] * 4


def test_an_answer_that_comes_too_late_is_no_go_whatever_it_says(world: ChangesWorld, waiting: int) -> None:
    late = world.row(waiting)["changes_deadline"] + timedelta(seconds=1)
    assert world.answer(waiting, ANNA, now=late) == "no_go"
    assert world.row(waiting)["changes_reason"].startswith("approved by anna, but no go: 4 changes take")
    assert world.states(waiting) == ["rejected"] * 4


def test_an_approval_does_not_outweigh_writes_that_were_switched_off_meanwhile(
    world: ChangesWorld, waiting: int
) -> None:
    world.set_provider(write_is_enabled=False)
    assert world.answer(waiting, ANNA) == "proposed_only"
    assert "approved by anna, but only proposed" in world.row(waiting)["changes_reason"]
    assert world.states(waiting) == ["proposed"] * 4


# A newer instance


def test_a_newer_instance_rejects_the_open_changes_of_older_ones(world: ChangesWorld, waiting: int) -> None:
    world.set_provider(approval_above_changes=None)
    approved = world.instance(world.sims(2))
    newer = world.instance(world.sims(2))
    assert world.plan(newer) == "approved"
    for older, count in ((waiting, 4), (approved, 2)):
        row = world.row(older)
        assert row["changes_status"] == "superseded"
        assert row["changes_reason"] == f"superseded by instance {newer} of the same provider"
        assert world.states(older) == ["rejected"] * count
    assert world.states(newer) == ["approved"] * 2


def test_an_approval_of_stale_changes_is_not_taken_even_before_the_newer_instance_is_planned(
    world: ChangesWorld, waiting: int
) -> None:
    newer = world.instance(world.sims(1))
    assert world.answer(waiting, ANNA) == "superseded"
    assert f"superseded by instance {newer}" in world.row(waiting)["changes_reason"]
    assert world.states(waiting) == ["rejected"] * 4


def test_a_run_that_only_proposes_supersedes_only_what_was_only_proposed(world: ChangesWorld, waiting: int) -> None:
    proposed = world.instance(world.sims(1), apply_changes="never")
    assert world.plan(proposed) == "proposed_only"
    newer = world.instance(world.sims(1), apply_changes="never")
    assert world.plan(newer) == "proposed_only"
    assert [world.row(each)["changes_status"] for each in (waiting, proposed, newer)] == [
        "waiting",
        "superseded",
        "proposed_only",
    ]
    assert world.answer(waiting, ANNA) == "approved"
    assert world.states(waiting) == ["approved"] * 4


def test_a_run_that_may_apply_supersedes_proposals_and_an_approval(world: ChangesWorld, waiting: int) -> None:
    proposed = world.instance(world.sims(1), apply_changes="never")
    world.plan(proposed)
    assert world.plan(world.instance(world.sims(1))) == "waiting"
    assert {world.row(each)["changes_status"] for each in (waiting, proposed)} == {"superseded"}


@pytest.mark.parametrize("which", ["a failed one", "one for a closed period", "one of another provider"])
def test_some_newer_instances_make_nothing_stale(world: ChangesWorld, waiting: int, which: str) -> None:
    if which == "a failed one":
        world.instance(world.sims(1), run_status="complete_with_errors")
    elif which == "one for a closed period":
        past = world.add_billing_period(10, CYCLE_START - timedelta(days=31), CYCLE_START)
        world.plan(world.instance(world.sims(1), billing_period_id=past))
    else:
        newer = world.instance(world.sims(1))
        world.execute(
            "UPDATE amop.optimization_session SET service_provider_id = 4 WHERE id ="
            " (SELECT session_id FROM amop.optimization_instance WHERE id = %s)",
            newer,
        )
        world.plan(newer)
    assert world.row(waiting)["changes_status"] == "waiting"
    assert world.answer(waiting, ANNA) == "approved"
