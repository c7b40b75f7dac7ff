"""Laws of the expected bill: its bound, its proof, and that the order of SIMs and scenarios changes nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.solver import CertificateError, Terms, verify
from amop.solver.scenario_certificate import ScenarioCertificate, scenario_lower_bound, verify_scenarios
from bench.instances import PROFILES, make_instance
from tests.worlds.optimizer_cases import Case, random_case
from tests.worlds.scenario_cases import optimize_scenarios, plain_total, random_scenarios

quick = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
fleets = st.builds(random_case, seeds, st.integers(1, 80), st.integers(1, 6))


def bench_case(profile: str, count: int) -> Case:
    instance = make_instance(profile, count, seed=1)
    return Case(instance.devices, instance.rate_plans, instance.eligibility, Terms(30, True))


@quick
@given(fleets, seeds, st.integers(2, 9))
def test_the_expected_bill_is_between_its_bound_and_that_of_the_point_forecasts_plans(
    fleet: Case, seed: int, count: int
) -> None:
    usage = random_scenarios(fleet, seed, count)
    result = optimize_scenarios(fleet, usage, time_limit=0)
    claim = result.certificate
    assert claim.price_bound <= claim.lower_bound <= claim.total <= result.point_risk.total
    assert claim.total == plain_total(fleet, usage, result.assignment) == sum(result.risk.bills)
    assert claim.lower_bound <= plain_total(fleet, usage, result.point.base_assignment)
    verify_scenarios(claim, result.bills, result.assignment)
    verify(result.point.certificate, result.point.model, result.point.assignment)


@quick
@given(fleets, seeds, st.integers(2, 6), seeds)
def test_any_prices_within_their_range_prove_a_bound_of_any_assignment(
    fleet: Case, seed: int, count: int, other: int
) -> None:
    usage = random_scenarios(fleet, seed, count)
    result = optimize_scenarios(fleet, usage, time_limit=0)
    rng = np.random.default_rng(other)
    model = result.bills.model
    highest = [int(rate) * 1000 // int(block) for rate, block in zip(model.pool_rate, model.pool_block, strict=True)]
    prices = [[int(rng.integers(0, high + 1)) for _ in range(count)] for high in highest]
    bound = scenario_lower_bound(result.bills, prices, 1000)
    for assignment in (result.assignment, result.point.base_assignment):
        assert bound <= plain_total(fleet, usage, assignment)


@quick
@given(fleets, seeds, st.sampled_from([{}, {"min_saving_per_change": "0.5"}]))
def test_the_order_of_sims_rate_plans_and_scenarios_changes_nothing(
    fleet: Case, seed: int, preference: dict[str, Any]
) -> None:
    rng = np.random.default_rng(seed)
    usage = random_scenarios(fleet, seed, 5)
    rows, plans, columns = (rng.permutation(size) for size in (len(fleet.devices), len(fleet.rate_plans), 5))
    expected = optimize_scenarios(fleet, usage, time_limit=0, **preference)
    other = fleet.only(rows).with_plans_in_order(plans)
    shuffled = optimize_scenarios(other, usage[rows][:, columns], time_limit=0, **preference)
    assert np.append(plans, -1)[shuffled.assignment].tobytes() == expected.assignment[rows].tobytes()
    assert shuffled.certificate.total == expected.certificate.total
    assert shuffled.certificate.lower_bound == expected.certificate.lower_bound
    assert shuffled.risk.bills == tuple(np.array(expected.risk.bills)[columns].tolist())


@quick
@given(fleets, seeds, st.integers(1, 2_000_000))
def test_a_minimum_saving_never_costs_more_than_the_changes_that_it_prevents(
    fleet: Case, seed: int, saving: int
) -> None:
    usage = random_scenarios(fleet, seed, 4)
    result = optimize_scenarios(fleet, usage, time_limit=0, min_saving_per_change=Decimal(saving).scaleb(-6))
    claim = result.certificate
    assert claim.lower_bound <= claim.total
    assert claim.objective_bound <= claim.total + 4 * saving * claim.change_count
    verify_scenarios(claim, result.bills, result.assignment)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_gap_of_the_expected_bill_is_small_and_the_saving_real_in_every_profile(profile: str) -> None:
    fleet = bench_case(profile, 3000)
    usage = random_scenarios(fleet, 1, 24)
    result = optimize_scenarios(fleet, usage, time_limit=0)
    verify_scenarios(result.certificate, result.bills, result.assignment)
    assert result.gap < 0.003
    assert result.risk.total < result.point_risk.total or profile == "single_plan"  # which leaves no choice


def test_a_large_fleet_that_is_solved_on_a_sample_first_has_a_small_gap() -> None:
    fleet = bench_case("default", 66_000)
    result = optimize_scenarios(fleet, random_scenarios(fleet, 1, 6), time_limit=0)
    verify_scenarios(result.certificate, result.bills, result.assignment)
    assert result.gap < 1e-4


def tampered(claim: ScenarioCertificate) -> dict[str, ScenarioCertificate]:
    low, *others = claim.price
    fields: dict[str, dict[str, Any]] = {
        "a lower total": {"total": claim.total - 1},
        "a higher bound of the prices": {"price_bound": claim.price_bound + 1},
        "a bound above the total": {"lower_bound": claim.total + 1},
        "a bound below that of its prices": {"lower_bound": claim.price_bound - 1},
        "other prices": {"price": (tuple(value // 2 for value in low), *others)},
        "a negative price": {"price": ((-1, *low[1:]), *others)},
        "a price above overage rate / block": {"price": ((10**13, *low[1:]), *others)},
        "a scenario too few": {"scenario_count": claim.scenario_count - 1},
        "a price too few": {"price": (low[1:], *others)},
        "a pool too few": {"price": tuple(others)},
        "another unit": {"price_scale": claim.price_scale * 10},
        "no unit": {"price_scale": 0},
        "another pool": {"pool_name": (*claim.pool_name[:-1], "pool of others")},
        "a change less": {"change_count": claim.change_count - 1},
        "another minimum saving": {"min_saving": claim.min_saving + 100_000},
        "a negative minimum saving": {"min_saving": -1},
        "a higher bound of the objective": {"objective_bound": claim.objective_bound + 1},
    }
    return {name: replace(claim, **changed) for name, changed in fields.items()}


def test_the_check_rejects_every_tampered_proof_and_another_assignment() -> None:
    fleet = bench_case("default", 300)
    result = optimize_scenarios(fleet, random_scenarios(fleet, 1, 8), time_limit=0, min_saving_per_change="0.2")
    accepted = []
    for name, claim in tampered(result.certificate).items():
        try:
            verify_scenarios(claim, result.bills, result.assignment)
        except CertificateError:
            continue
        accepted.append(name)
    assert accepted == []
    other = result.assignment.copy()
    other[0] = -1
    with pytest.raises(CertificateError, match="not eligible"):
        verify_scenarios(result.certificate, result.bills, other)
