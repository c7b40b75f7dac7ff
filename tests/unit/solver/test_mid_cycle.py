"""Changes that count from their day: tiny fleets against all assignments, billed part by part in fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest

from amop.solver import CostModel, from_micro, optimize, verify
from amop.solver.mid_cycle import LeftPlans, MidCycle, PartedFleet, parts_as_chosen, parts_to_choose
from tests.worlds.optimizer_cases import PERIOD_DAYS, Case, case, may_have, micros, pool_of, tiny_case, with_kept_sims

CASES = 120
AT_ONCE = 60


@dataclass(frozen=True)
class Part:
    """Some days of a SIM on a plan; None = the SIM's own days and allowance."""

    plan: int
    days: int | None
    usage: int
    sms: int


def mid_cycle_of(of: Case, seed: int) -> MidCycle:
    """Return random days, usage and messages before the change, and plans that some SIMs have left."""
    rng, devices = np.random.default_rng([seed, 2]), of.devices
    count = len(devices)
    billed = np.array([days_of(of, row) for row in range(count)])
    left = (rng.random(count) < 0.3) & (billed > 1)
    sim = np.flatnonzero(left)
    left_days = rng.integers(1, np.maximum(billed, 2))[sim]
    left_usage = (devices.usage_micro_mb * rng.random(count) / 2).astype(np.int64)[sim]
    left_sms = devices.sms_usage[sim] // 3
    rest = billed.copy()
    rest[sim] -= left_days
    days_before = np.where(rng.random(count) < 0.2, 0, rng.integers(0, rest))
    usage_before = (devices.usage_micro_mb * rng.random(count) / 2).astype(np.int64)
    sms_before = devices.sms_usage // 2
    plans = rng.integers(0, len(of.rate_plans), len(sim))
    return MidCycle(days_before, usage_before, sms_before, LeftPlans(sim, plans, left_days, left_usage, left_sms))


def days_of(of: Case, row: int) -> int:
    prorated = of.terms.uses_proration and of.devices.is_prorated[row]
    return int(of.devices.days_active[row]) if prorated else of.terms.period_days


def parts_of(of: Case, before: MidCycle, row: int, plan: int) -> list[Part]:
    """Return what a SIM is billed for if it is on a plan at the end of the period."""
    devices, left = of.devices, before.left
    parts = [
        Part(int(left.rate_plan[at]), int(left.days[at]), int(left.usage_micro_mb[at]), int(left.sms_usage[at]))
        for at in np.flatnonzero(left.sim == row)
    ]
    days = days_of(of, row) - sum(part.days or 0 for part in parts)
    usage = int(devices.usage_micro_mb[row]) - sum(part.usage for part in parts)
    sms = int(devices.sms_usage[row]) - sum(part.sms for part in parts)
    current, on_it = int(devices.current_rate_plan[row]), int(before.days_before[row])
    if current in {-1, plan} or not on_it:
        return [*parts, Part(plan, days if parts else None, usage, sms)]
    used, sent = int(before.usage_before[row]), int(before.sms_before[row])
    return [*parts, Part(current, on_it, used, sent), Part(plan, days - on_it, usage - used, sms - sent)]


def bill_of_part(of: Case, row: int, part: Part) -> tuple[int, int]:
    """Return own cost (1e-6 currency) and usage less allowance (1e-6 MB) of a part."""
    plans, terms, plan = of.rate_plans, of.terms, part.plan
    days = days_of(of, row) if part.days is None else part.days
    included = int(plans.plan_micro_mb[plan])
    if terms.prorate_allowance or part.days is not None:
        included = floor(Fraction(included * days, terms.period_days))
    above = part.usage - included
    cost = floor(Fraction(int(plans.rate_charge[plan]) * days, terms.period_days) + Fraction(1, 2))
    cost += int(plans.base_rate[plan]) + part.sms * int(plans.sms_rate[plan])
    if plans.pool[plan] < 0:
        cost += -(-max(0, above) // int(plans.block_micro_mb[plan])) * int(plans.overage_rate[plan])
    return cost, above


def every_bill(of: Case, before: MidCycle) -> tuple[np.ndarray, np.ndarray]:
    """Return bill and number of changes of every assignment, in the order of the SIMs' eligible plans."""
    bill, changes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    above: dict[tuple[int, int], np.ndarray] = {}
    for row in range(len(of.devices)):
        plans = may_have(of, row)
        if not plans:
            continue
        costs, added = [0] * len(plans), [dict[tuple[int, int], int]() for _ in plans]
        for number, plan in enumerate(plans):
            for part in parts_of(of, before, row, plan):
                cost, excess = bill_of_part(of, row, part)
                costs[number] += cost
                if (pool := pool_of(of, row, part.plan)) is not None:
                    added[number][pool] = added[number].get(pool, 0) + excess
        for pool in set(above).union(*added):
            so_far = above.get(pool, np.zeros(len(bill), dtype=np.int64))
            above[pool] = np.add.outer(so_far, [each.get(pool, 0) for each in added]).reshape(-1)
        current = int(of.devices.current_rate_plan[row])
        bill = np.add.outer(bill, costs).reshape(-1)
        changes = np.add.outer(changes, [current in plans and plan != current for plan in plans]).reshape(-1)
    for (number, _), excess_of_all in above.items():
        plan = int(np.flatnonzero(of.rate_plans.pool == number)[0])
        blocks = -(-np.maximum(0, excess_of_all) // of.rate_plans.block_micro_mb[plan])
        bill = bill + blocks * of.rate_plans.overage_rate[plan]
    return bill, changes


def bill_of(of: Case, before: MidCycle, assignment: np.ndarray) -> int:
    """Return the bill of one assignment."""
    only = {row: [int(plan)] for row, plan in enumerate(assignment)}
    cost, above = 0, dict[tuple[int, int], int]()
    for row, (plan,) in only.items():
        for part in parts_of(of, before, row, plan) if plan >= 0 else []:
            own, excess = bill_of_part(of, row, part)
            cost += own
            if (pool := pool_of(of, row, part.plan)) is not None:
                above[pool] = above.get(pool, 0) + excess
    for (number, _), excess in above.items():
        plan = int(np.flatnonzero(of.rate_plans.pool == number)[0])
        blocks = -(-max(0, excess) // int(of.rate_plans.block_micro_mb[plan]))
        cost += blocks * int(of.rate_plans.overage_rate[plan])
    return cost


def solved(of: Case, before: MidCycle, **preferences: Any) -> tuple[PartedFleet, Any]:
    terms = of.terms
    fleet = parts_to_choose(of.devices, of.eligibility, terms, before)
    return fleet, optimize(
        fleet.devices,
        of.rate_plans,
        fleet.eligibility,
        period_days=terms.period_days,
        uses_proration=terms.uses_proration,
        prorate_allowance=terms.prorate_allowance,
        pool_scope=terms.pool_scope,
        parts=fleet.parts,
        **preferences,
    )


def known(of: Case) -> Case:
    """Return the case without SIMs that have no eligible plan: they are not billed, whatever they were on."""
    return of.only(np.array([row for row in range(len(of.devices)) if may_have(of, row)], dtype=np.int64))


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_the_bill_of_a_tiny_fleet_is_the_least_possible_one(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        of = known(tiny_case(seed))
        of = with_kept_sims(of, seed) if seed % 2 else of
        before = mid_cycle_of(of, seed)
        fleet, result = solved(of, before)
        least = int(every_bill(of, before)[0].min())
        assignment = fleet.of_sims(result.assignment)
        assert result.total_cost == least == result.lower_bound, f"seed {seed}"
        assert result.total_cost == bill_of(of, before, assignment), f"seed {seed}"
        assert result.base_cost == bill_of(of, before, fleet.of_sims(result.base_assignment)), f"seed {seed}"
        assert result.current_cost == bill_of(of, before, fleet.of_sims(result.current_assignment)), f"seed {seed}"
        verify(result.certificate, result.model, result.assignment)
        billed = parts_as_chosen(of.devices, of.eligibility, of.terms, before, assignment)
        model = CostModel(billed.devices, of.rate_plans, billed.eligibility, of.terms, billed.parts)
        assert model.bill(billed.of_rows(assignment)) == least, f"seed {seed}"
        costs = billed.costs_of_sims(model.split_costs(billed.of_rows(assignment)))
        assert int(costs.sum()) == least, f"seed {seed}"


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_with_a_minimum_saving_and_a_cap_a_tiny_fleet_has_the_least_objective(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        of = known(tiny_case(seed))
        before, rng = mid_cycle_of(of, seed), np.random.default_rng(seed + 20_000)
        saving = int(rng.integers(0, 2_000_000))
        cap = None if rng.random() < 0.5 else int(rng.integers(0, 4))
        _, result = solved(of, before, min_saving_per_change=from_micro(saving), max_changes=cap)
        bill, changes = every_bill(of, before)
        objective = (bill + saving * changes)[changes <= (len(of.devices) if cap is None else cap)]
        proof = result.certificate.changes
        assert proof is not None
        assert proof.bound <= objective.min() <= proof.objective, f"seed {seed}"
        assert result.lower_bound <= bill.min(), f"seed {seed}"
        verify(result.certificate, result.model, result.assignment)
        if of.terms.pool_scope == "service_provider" or cap is None:
            assert proof.objective == objective.min(), f"seed {seed}"


def nothing_left(days: list[int], usage_mb: list[Any]) -> MidCycle:
    return MidCycle(np.array(days), micros(usage_mb), np.zeros(len(days), dtype=np.int64), LeftPlans.none())


def test_without_a_change_the_bill_of_the_present_plans_is_that_of_the_whole_period() -> None:
    for seed in range(40):
        of = known(tiny_case(seed))
        before = mid_cycle_of(of, seed)
        before = MidCycle(before.days_before, before.usage_before, before.sms_before, LeftPlans.none())
        fleet, result = solved(of, before)
        current = fleet.of_sims(result.current_assignment)
        assert result.current_cost == of.model.bill(of.model.current_assignment(current)[0]), f"seed {seed}"


def test_both_plans_are_billed_for_their_days_with_the_usage_of_these_days() -> None:
    # 20 of 30 days on A: 2/3 of 30 = 20, and 25 MB of 2/3 of 30 MB: 5 blocks of 1. Then on B: 1/3 of 3 = 1, and 20 MB
    # of 1/3 of 60 MB. On A to the end: 30, and 45 MB of 30 MB: 15.
    plans: list[dict[str, Any]] = [{"rate_charge": 30, "plan_mb": 30}, {"rate_charge": 3, "plan_mb": 60}]
    of = case([45], plans, current_rate_plan=[0])
    _, result = solved(of, nothing_left([20], [25]))
    assert (result.current_cost, result.total_cost) == (45_000_000, 26_000_000)


def test_usage_before_the_change_stays_in_the_pool_that_the_sim_leaves() -> None:
    # The first SIM has used all of the pool's 20 MB. If it leaves for its last 10 days, the pool has 20 MB of usage for
    # 10 x 2/3 + 10 = 16.666666 MB, so that the other SIM pays 4 blocks; the last days cost 1/3 of 3.
    plans: list[dict[str, Any]] = [{"rate_charge": 3, "plan_mb": 10, "pool": "p"}, {"rate_charge": 3, "plan_mb": 90}]
    of = case([26, 0], plans, allowed=[[1, 1], [1, 0]], current_rate_plan=[0, 0], communication_plan=[0, 1])
    _, result = solved(of, nothing_left([20, 20], [20, 0]))
    assert (result.current_cost, result.total_cost) == (12_000_000, 2_000_000 + 4_000_000 + 3_000_000 + 1_000_000)


def test_a_base_rate_is_due_for_each_plan_and_can_make_a_change_too_dear() -> None:
    plans: list[dict[str, Any]] = [{"rate_charge": 30, "base_rate": 1}, {"rate_charge": 0, "base_rate": 5}]
    of = case([0], plans, current_rate_plan=[0])
    assert solved(of, nothing_left([20], [0]))[1].total_cost == 26_000_000
    assert solved(of, nothing_left([26], [0]))[1].changes == 0


def test_the_fleet_of_a_thousand_sims_is_solved_as_well_as_without_parts() -> None:
    rng = np.random.default_rng(7)
    plans: list[dict[str, Any]] = [
        {"rate_charge": 4, "plan_mb": 10, "pool": "p"},
        {"rate_charge": 9, "plan_mb": 40, "pool": "p"},
        {"rate_charge": 6, "plan_mb": 20},
        {"rate_charge": 2, "plan_mb": 1},
    ]
    usage = [int(value) for value in rng.pareto(1.1, 1000) * 8]
    of = case(usage, plans, current_rate_plan=rng.integers(0, 4, 1000))
    before = nothing_left(rng.integers(1, PERIOD_DAYS, 1000).tolist(), [value // 2 for value in usage])
    _, result = solved(of, before, time_limit=0)
    assert result.total_cost < result.current_cost
    assert result.total_cost - result.lower_bound <= 2e-3 * result.total_cost
    verify(result.certificate, result.model, result.assignment)
