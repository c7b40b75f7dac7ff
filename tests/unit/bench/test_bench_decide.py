"""The comparison of when to change plans: its policies on one small fleet."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from bench.decide import EARLY, EVERY, LAST, ONCE, SESSIONS, Outcome, outcomes, policies_with, table


def test_a_policy_that_lets_nothing_wait_is_that_without_a_limit_and_each_has_a_line() -> None:
    policies = policies_with([0.1])
    found = outcomes("studies", 1, [*policies.values(), replace(ONCE, doubt=1e30)], count=201)
    by_policy: dict[object, list[Outcome]] = {}
    for one in found:
        by_policy.setdefault(one.policy, []).append(one)
    assert all(len(mine) == 3 and min(one.loss for one in mine) >= -1e-9 for mine in by_policy.values())
    figures = [
        [(one.loss, one.loss_without_last, one.changes) for one in by_policy[policy]]
        for policy in (ONCE, replace(ONCE, doubt=1e30))
    ]
    assert figures[0] == figures[1]
    early = by_policy[EARLY]
    assert all(one.loss == one.loss_without_last and not one.on_last_day for one in early)
    assert all(one.on_last_day == 1 for one in by_policy[LAST])
    assert sum(one.changes for one in by_policy[ONCE]) <= sum(one.changes for one in by_policy[EVERY])
    lines = table(found, policies)
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {name}" for name in policies]


def test_the_policies_decide_in_the_same_sessions() -> None:
    policies = policies_with([0.05, 0.5])
    assert [policy.sessions for policy in policies.values()] == [(7,), (1,), *[SESSIONS] * 6]
    assert [policy.doubt for policy in policies.values()] == [inf, inf, inf, inf, 0.05, 0.5, 0.05, 0.5]
