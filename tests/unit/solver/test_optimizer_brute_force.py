"""Tiny cases: the optimizer against all assignments, to the last 1e-6, billed by the independent formula."""

from __future__ import annotations

import numpy as np
import pytest

from amop.solver import from_micro, verify
from tests.worlds.optimizer_cases import changes_of, every_bill, plain_bill, tiny_case, with_kept_sims

CASES = 400
AT_ONCE = 50


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_the_bill_of_a_tiny_fleet_is_the_least_possible_one(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        case = tiny_case(seed)
        result = case.optimize()
        least = int(every_bill(case)[0].min())
        assert result.total_cost == least == result.lower_bound, f"seed {seed}"
        assert result.total_cost == plain_bill(case, result.assignment), f"seed {seed}"
        assert result.current_cost == plain_bill(case, result.current_assignment), f"seed {seed}"
        assert result.base_cost == plain_bill(case, result.base_assignment) >= least, f"seed {seed}"
        assert result.status == "optimal"
        assert int(result.model.split_costs(result.assignment).sum()) == result.total_cost
        verify(result.certificate, result.model, result.assignment)


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_sims_that_keep_their_plans_use_their_pools_in_the_least_bill(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        case = with_kept_sims(tiny_case(seed), seed)
        result = case.optimize()
        least = int(every_bill(case)[0].min())
        assert result.total_cost == least == result.lower_bound, f"seed {seed}"
        assert result.total_cost == plain_bill(case, result.assignment), f"seed {seed}"
        assert result.current_cost == plain_bill(case, result.current_assignment), f"seed {seed}"
        assert case.eligibility.keeps_plan is not None
        kept = case.eligibility.keeps_plan[case.devices.communication_plan]
        assert (result.assignment[kept] == case.devices.current_rate_plan[kept]).all(), f"seed {seed}"
        verify(result.certificate, result.model, result.assignment)


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_with_a_minimum_saving_and_a_cap_a_tiny_fleet_has_the_least_objective(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        case = tiny_case(seed)
        rng = np.random.default_rng(seed + 10_000)
        saving = int(rng.integers(0, 3_000_000))
        cap = None if rng.random() < 0.5 else int(rng.integers(0, 4))
        result = case.optimize(min_saving_per_change=from_micro(saving), max_changes=cap)
        bill, changes = every_bill(case)
        objective = (bill + saving * changes)[changes <= (len(case.devices) if cap is None else cap)]
        proof, count = result.certificate.changes, changes_of(case, result.assignment)
        assert proof is not None
        assert cap is None or count <= cap
        assert proof.change_count == count
        assert proof.objective == result.total_cost + saving * count
        assert proof.bound <= objective.min() <= proof.objective, f"seed {seed}"
        assert result.lower_bound <= bill.min(), f"seed {seed}"
        assert result.total_cost == plain_bill(case, result.assignment)
        verify(result.certificate, result.model, result.assignment)
        assert proof.objective == objective.min(), f"seed {seed}"
