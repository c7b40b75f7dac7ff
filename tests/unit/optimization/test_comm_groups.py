"""Comm groups: the same set of rate plans is one group, and every check has its outcome."""

from __future__ import annotations

import itertools

import pytest

from amop.optimization.comm_groups import (
    INVALID_RATE_PLANS,
    NOTHING_TO_OPTIMIZE,
    CommGroup,
    CommunicationPlan,
    group_communication_plans,
    group_key,
    outcome_of,
)


def plan(name: str, *rate_plan_ids: int, sims: int = 1) -> CommunicationPlan:
    return CommunicationPlan(name, list(rate_plan_ids), sims)


def test_plans_with_the_same_set_of_rate_plans_form_one_group() -> None:
    groups = group_communication_plans([plan("Tracking", 3, 1, sims=5), plan("Mixed", 1, 3, sims=2), plan("Meter", 1)])
    by_plans = {group.communication_plans: group for group in groups}
    assert by_plans[("Mixed", "Tracking")] == CommGroup(group_key([1, 3]), (1, 3), ("Mixed", "Tracking"), 7)
    assert by_plans[("Meter",)].rate_plan_ids == (1,)
    assert len(groups) == 2


def test_a_subset_is_another_group() -> None:
    assert len(group_communication_plans([plan("A", 1, 2), plan("B", 1, 2, 3), plan("C", 2)])) == 3


def test_plans_without_rate_plans_form_one_group_of_their_own() -> None:
    groups = group_communication_plans([plan("A"), plan("", sims=3), plan("B", 1)])
    empty = next(group for group in groups if not group.rate_plan_ids)
    assert (empty.group_key, empty.communication_plans, empty.device_count) == ("no_plans", ("", "A"), 4)


def test_no_plans_at_all_are_no_groups() -> None:
    assert group_communication_plans([]) == []


def test_groups_do_not_depend_on_the_order_of_the_plans() -> None:
    plans = [plan("A", 1, 2), plan("B", 2, 1), plan("C", 3), plan("D")]
    results = {tuple(group_communication_plans(order)) for order in itertools.permutations(plans)}
    assert len(results) == 1


def test_the_key_depends_on_the_set_alone_and_stays_short() -> None:
    assert group_key([2, 1, 2]) == group_key([1, 2])
    assert group_key([1, 2]) != group_key([12])
    assert len(group_key(range(5000))) == 16


@pytest.mark.parametrize(
    ("rate_plan_ids", "device_count", "limit", "invalid", "expected"),
    [
        ((), 5, None, (), "no_plans"),
        ((), 0, None, (), "no_plans"),
        ((1, 2), 5, None, (2, 9), "invalid_plan"),
        ((1, 2), 0, None, (2,), "invalid_plan"),
        ((1, 2, 3), 5, 2, (), "limit_exceeded"),
        ((1, 2, 3), 5, 2, (3,), "invalid_plan"),
        ((1, 2), 5, 2, (), "optimized"),
        ((1, 2), 0, None, (), "no_devices"),
        ((1,), 5, None, (), "base_only"),
        ((1, 2), 1, None, (7,), "optimized"),
    ],
)
def test_every_check_has_its_outcome_and_the_first_that_applies_wins(
    rate_plan_ids: tuple[int, ...], device_count: int, limit: int | None, invalid: tuple[int, ...], expected: str
) -> None:
    outcome = outcome_of(rate_plan_ids, device_count=device_count, rate_plan_limit=limit, invalid_rate_plan_ids=invalid)
    assert outcome == expected


def test_messages_are_the_ones_that_amop_knows_word_for_word() -> None:
    assert INVALID_RATE_PLANS == "One or more Rate Plans have invalid Data per Overage Charge or Overage Rate"
    assert NOTHING_TO_OPTIMIZE == "No Comm Groups and/or Rate Plans for this Instance"
