"""Laws of the risk-adjusted bill: its bound holds for every assignment, and a higher weight buys a better bad end."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.solver import CertificateError
from amop.solver.expected import ExpectedResult
from amop.solver.risk import verify_risk
from amop.solver.risk_candidates import UNITS
from amop.solver.scenario_certificate import verify_scenarios
from bench.instances import PROFILES, make_instance
from tests.worlds.optimizer_cases import Case, random_case
from tests.worlds.scenario_cases import optimize_scenarios, plain_bills, random_scenarios

quick = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
fleets = st.builds(random_case, seeds, st.integers(1, 60), st.integers(1, 6))
weights = st.sampled_from(["0.05", "0.25", "0.5", "1", "3"])


def plain_worst_tenth(bills: list[int]) -> Fraction:
    """Return the mean of the worst tenth by its definition: the last scenario counts in part."""
    left, total = Fraction(len(bills), 10), Fraction(0)
    whole = left
    for bill in sorted(bills, reverse=True):
        part = min(left, Fraction(1))
        total, left = total + part * bill, left - part
    return total / whole


def adjusted(bills: list[int], weight: Decimal) -> Fraction:
    """Return the risk-adjusted bill by its definition."""
    mean = Fraction(sum(bills), len(bills))
    return (mean + Fraction(weight) * plain_worst_tenth(bills)) / (1 + Fraction(weight))


def solved(fleet: Case, seed: int, count: int, weight: str) -> tuple[np.ndarray, ExpectedResult]:
    usage = random_scenarios(fleet, seed, count)
    return usage, optimize_scenarios(fleet, usage, time_limit=0, risk_weight=weight)


@quick
@given(fleets, seeds, st.integers(2, 25), weights)
def test_the_bound_is_below_the_risk_adjusted_bill_of_every_assignment(
    fleet: Case, seed: int, count: int, weight: str
) -> None:
    usage, result = solved(fleet, seed, count, weight)
    proof = result.risk_proof
    assert proof is not None
    assert proof.adjusted == adjusted(plain_bills(fleet, usage, result.assignment), Decimal(weight))
    neutral = optimize_scenarios(fleet, usage, time_limit=0)
    for assignment in (result.assignment, neutral.assignment, result.point.base_assignment):
        assert proof.lower_bound <= adjusted(plain_bills(fleet, usage, assignment), Decimal(weight))
    verify_risk(proof, result.bills, result.assignment)
    verify_scenarios(result.certificate, result.bills, result.assignment)


@quick
@given(fleets, seeds, st.integers(2, 25), weights)
def test_the_plans_are_never_worse_than_the_risk_neutral_ones_for_the_risk_and_never_better_for_the_mean(
    fleet: Case, seed: int, count: int, weight: str
) -> None:
    usage, averse = solved(fleet, seed, count, weight)
    _, neutral = solved(fleet, seed, count, "0")
    bills = plain_bills(fleet, usage, neutral.assignment)
    assert averse.risk_proof is not None
    assert averse.risk_proof.adjusted <= adjusted(bills, Decimal(weight))
    assert averse.certificate.total >= neutral.certificate.price_bound


@quick
@given(fleets, seeds, st.integers(5, 25))
def test_a_higher_weight_never_raises_the_worst_tenth_beyond_the_gaps(fleet: Case, seed: int, count: int) -> None:
    found = []
    for weight in ("0.1", "0.5", "2"):
        usage, result = solved(fleet, seed, count, weight)
        proof = result.risk_proof
        assert proof is not None
        bills = plain_bills(fleet, usage, result.assignment)
        gap = (proof.adjusted - proof.lower_bound) * (1 + Fraction(Decimal(weight)))
        found.append((Fraction(Decimal(weight)), plain_worst_tenth(bills), gap))
    for (low, before, gap_before), (high, after, gap_after) in pairwise(found):
        assert (high - low) * (after - before) <= gap_before + gap_after


@quick
@given(fleets, seeds, st.integers(5, 25))
def test_the_bound_never_falls_with_the_weight(fleet: Case, seed: int, count: int) -> None:
    bounds = []
    for weight in ("0.5", "2", "10"):
        _, result = solved(fleet, seed, count, weight)
        assert result.risk_proof is not None
        verify_risk(result.risk_proof, result.bills, result.assignment)
        bounds.append(result.risk_proof.lower_bound)
    assert bounds == sorted(bounds)


@quick
@given(fleets, seeds, st.integers(2, 12))
def test_a_weight_of_zero_is_the_least_expected_bill(fleet: Case, seed: int, count: int) -> None:
    usage, result = solved(fleet, seed, count, "0")
    plain = optimize_scenarios(fleet, usage, time_limit=0)
    assert result.risk_proof is None
    assert (result.assignment == plain.assignment).all()
    assert result.certificate == plain.certificate


@pytest.mark.parametrize("profile", PROFILES)
def test_the_gap_of_the_risk_adjusted_bill_is_at_most_a_percent_in_every_profile(profile: str) -> None:
    instance = make_instance(profile, 1000, seed=1)
    fleet = Case(instance.devices, instance.rate_plans, instance.eligibility, random_case(1, 1, 1).terms)
    _, result = solved(fleet, 1, 20, "0.5")
    proof = result.risk_proof
    assert proof is not None
    verify_risk(proof, result.bills, result.assignment)
    assert (proof.adjusted - proof.lower_bound) / proof.adjusted < Fraction(1, 100)


def test_the_check_rejects_every_tampered_proof_of_the_risk() -> None:
    instance = make_instance("default", 200, seed=1)
    fleet = Case(instance.devices, instance.rate_plans, instance.eligibility, random_case(1, 1, 1).terms)
    _, result = solved(fleet, 1, 20, "0.5")
    proof = result.risk_proof
    assert proof is not None
    claim = proof.certificate
    uneven = (claim.weight[0] * 40, *claim.weight[1:])
    tampered = {
        "a lower total": replace(proof, total=proof.total - 1),
        "another risk weight": replace(proof, risk_weight=UNITS),
        "no risk weight": replace(proof, risk_weight=0),
        "a weight outside its range": replace(proof, certificate=replace(claim, weight=uneven)),
        "a weight too few": replace(proof, certificate=replace(claim, weight=claim.weight[1:])),
        "a higher bound": replace(proof, certificate=replace(claim, price_bound=claim.price_bound + 1)),
    }
    accepted = []
    for name, other in tampered.items():
        try:
            verify_risk(other, result.bills, result.assignment)
        except CertificateError:
            continue
        accepted.append(name)
    assert accepted == []


WEIGHTS = ("0", "0.5", "1", "2", "5")


@pytest.mark.parametrize(
    ("profile", "sims", "count", "seed"),
    [
        ("large_pool", 13, 10, 6),
        ("heavy_tail", 13, 10, 9),
        ("all_pooled", 25, 20, 10),
    ],
)
def test_no_weight_of_a_small_fleet_is_beaten_by_another_weight_and_the_worst_tenth_never_rises(
    profile: str, sims: int, count: int, seed: int
) -> None:
    instance = make_instance(profile, sims, seed=seed)
    fleet = Case(instance.devices, instance.rate_plans, instance.eligibility, random_case(1, 1, 1).terms)
    usage = random_scenarios(fleet, seed, count)
    found = [
        plain_bills(fleet, usage, optimize_scenarios(fleet, usage, time_limit=0, risk_weight=weight).assignment)
        for weight in WEIGHTS
    ]
    for weight, bills in zip(WEIGHTS, found, strict=True):
        own = adjusted(bills, Decimal(weight))
        assert own == min(adjusted(other, Decimal(weight)) for other in found), f"weight {weight} is beaten"
    worst = [plain_worst_tenth(bills) for bills in found]
    assert worst == sorted(worst, reverse=True)
