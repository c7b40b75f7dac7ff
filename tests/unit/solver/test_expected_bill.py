"""The expected bill: tiny fleets against all assignments, billed by the independent formula, and figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from amop.solver import OptimizerInputError, from_micro
from amop.solver.scenario_certificate import verify_scenarios
from amop.solver.scenarios import MAX_SCENARIOS
from tests.worlds.optimizer_cases import case, changes_of, micros, tiny_case, with_kept_sims
from tests.worlds.scenario_cases import every_total, optimize_scenarios, plain_total, random_scenarios

CASES, AT_ONCE = 120, 30


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_the_expected_bill_of_a_tiny_fleet_is_the_least_of_all_assignments(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        fleet = tiny_case(seed) if seed % 2 else with_kept_sims(tiny_case(seed), seed)
        usage = random_scenarios(fleet, seed, 2 + seed % 7)
        result = optimize_scenarios(fleet, usage)
        claim, least = result.certificate, int(every_total(fleet, usage)[0].min())
        assert claim.total == least == claim.lower_bound, f"seed {seed}"
        assert claim.price_bound <= least, f"seed {seed}"
        assert claim.total == plain_total(fleet, usage, result.assignment) == result.risk.total, f"seed {seed}"
        assert result.point_risk.total == plain_total(fleet, usage, result.point.assignment), f"seed {seed}"
        assert result.current_risk.total == plain_total(fleet, usage, result.point.current_assignment), f"seed {seed}"
        verify_scenarios(claim, result.bills, result.assignment)


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_a_minimum_saving_gives_the_least_objective_of_all_assignments(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        fleet = tiny_case(seed)
        usage = random_scenarios(fleet, seed, 2 + seed % 5)
        saving = 1 + int(np.random.default_rng(seed).integers(0, 3_000_000))
        result = optimize_scenarios(fleet, usage, min_saving_per_change=from_micro(saving))
        total, changes = every_total(fleet, usage)
        count, claim = usage.shape[1], result.certificate
        assert claim.change_count == changes_of(fleet, result.assignment)
        assert claim.total + count * saving * claim.change_count == (total + count * saving * changes).min(), seed
        assert claim.objective_bound <= (total + count * saving * changes).min()
        assert claim.price_bound == claim.lower_bound <= total.min()
        verify_scenarios(claim, result.bills, result.assignment)


@pytest.mark.parametrize("seed", range(8))
def test_one_scenario_gives_the_answer_of_the_point_forecast(seed: int) -> None:
    fleet = tiny_case(seed)
    expected = fleet.optimize()
    result = optimize_scenarios(fleet, fleet.devices.usage_micro_mb[:, None])
    assert result.assignment.tolist() == expected.assignment.tolist()
    assert result.certificate.total == expected.total_cost
    assert result.certificate.lower_bound == expected.lower_bound
    assert result.risk.bills == (expected.total_cost,)


# 10 MB for 2.00 or 50 MB for 4.00, 1.00 per 10 MB above, one pool each.
METERS = [
    {"code": "meter 10", "rate_charge": 2, "plan_mb": 10, "data_per_overage_charge": 10},
    {"code": "meter 50", "rate_charge": 4, "plan_mb": 50, "data_per_overage_charge": 10},
]


def test_the_expected_bill_prefers_the_plan_that_the_mean_would_not() -> None:
    # The mean, 40 MB, costs 2 + 3 on the small plan and 4 on the large one.
    fleet = case([40], METERS)
    result = optimize_scenarios(fleet, micros([5, 5, 5, 145])[None, :])
    assert result.point.assignment.tolist() == [1]
    # Small: (2 + 2 + 2 + 16) / 4 = 5.50. Large: (4 + 4 + 4 + 14) / 4 = 6.50.
    assert result.assignment.tolist() == [0]
    assert (result.risk.expected(), result.point_risk.expected()) == (5_500_000, 6_500_000)
    assert result.risk.bills == (2_000_000, 2_000_000, 2_000_000, 16_000_000)
    assert result.gap == 0


def test_a_pool_is_not_filled_to_the_brim_of_the_mean() -> None:
    plans = [
        {"rate_charge": 1, "plan_mb": 10, "pool": "one"},
        {"rate_charge": 6, "plan_mb": 30, "pool": "one"},
    ]
    fleet = case([10, 10], plans)
    usage = micros([5, 10, 15])[None, :].repeat(2, axis=0)
    result = optimize_scenarios(fleet, usage)
    assert fleet.optimize().total_cost == 2_000_000
    # Both small: 2 + overage of 0, 0 and 10 MB at 1.00. One large: 7.
    assert (result.risk.total, result.risk.bills) == (16_000_000, (2_000_000, 2_000_000, 12_000_000))
    assert result.risk.overage_probability == (1 / 3,)
    assert (result.risk.overage_total, result.risk.expected_overage(0)) == ((10_000_000,), 3_333_333)
    wider = optimize_scenarios(fleet, micros([5, 10, 25])[None, :].repeat(2, axis=0))
    # Both small: 2 + 30 / 3 = 12. One large: 7 + 10 / 3 = 10.33. Both large: 12.
    assert wider.risk.total == 31_000_000
    assert sorted(wider.assignment.tolist()) == [0, 1]
    assert wider.point_risk.total == 36_000_000


def test_the_quantiles_are_bills_of_scenarios() -> None:
    fleet = case([1], [{"rate_charge": 0, "plan_mb": 0}])
    result = optimize_scenarios(fleet, micros([*range(1, 21)])[None, :])
    assert [result.risk.quantile(percent) for percent in (5, 50, 95, 100)] == micros([1, 10, 19, 20]).tolist()


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (np.zeros((2, 3), dtype=np.int64), "a row for each device"),
        (np.zeros((1, 0), dtype=np.int64), f"1 to {MAX_SCENARIOS} columns"),
        (np.zeros((1, MAX_SCENARIOS + 1), dtype=np.int64), f"1 to {MAX_SCENARIOS} columns"),
        (np.array([[1, -1]]), "'89000000000000000000': usage_mb is negative in a scenario"),
        (np.array([[1, 2**58]]), "'89000000000000000000': .* too large"),
    ],
)
def test_scenarios_that_cannot_be_billed_are_refused(usage: np.ndarray, message: str) -> None:
    with pytest.raises(OptimizerInputError, match=message):
        optimize_scenarios(case([1], METERS), usage)


def test_a_fleet_without_sims_and_sims_that_use_nothing_cost_what_their_plans_cost() -> None:
    empty = case([], METERS)
    assert optimize_scenarios(empty, np.zeros((0, 4), dtype=np.int64)).certificate.total == 0
    idle = optimize_scenarios(case([0, 0, 0], METERS), np.zeros((3, 4), dtype=np.int64))
    assert idle.risk.expected() == 6_000_000 == idle.expected_lower_bound
