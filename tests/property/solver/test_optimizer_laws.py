"""Properties of the optimizer for any fleet: bounds, order of rows, independent halves, more plans, proofs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.optimization.csv_table import Problems, Table
from amop.solver import Certificate, CertificateError, CostModel, Eligibility, Terms, verify
from amop.solver.model import NONE
from bench.instances import PROFILES, make_instance
from tests.worlds.optimizer_cases import Case, case, changes_of, plain_bill, random_case

quick = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
fleets = st.builds(random_case, seeds, st.integers(1, 120), st.integers(1, 8))
tiny_fleets = st.builds(random_case, seeds, st.integers(1, 5), st.integers(1, 4))


def bench_case(profile: str, count: int, seed: int = 1) -> Case:
    instance = make_instance(profile, count, seed=seed)
    return Case(instance.devices, instance.rate_plans, instance.eligibility, Terms(30, True))


@quick
@given(fleets)
def test_the_bill_is_never_below_the_bound_nor_above_base_or_current_cost(fleet: Case) -> None:
    result = fleet.optimize(time_limit=0)
    assert result.lower_bound <= result.total_cost <= result.base_cost
    assert result.total_cost == plain_bill(fleet, result.assignment)
    current = fleet.devices.current_rate_plan
    if (result.model.can_keep_plan() | (current < 0) | ~result.model.has_eligible).all():
        assert result.total_cost <= result.current_cost
    verify(result.certificate, result.model, result.assignment)


@quick
@given(fleets, st.integers(1, 3_000_000), st.none() | st.integers(0, 60))
def test_with_restricted_changes_the_bound_holds_and_the_bill_is_never_above_the_current_one(
    fleet: Case, saving: int, cap: int | None
) -> None:
    result = fleet.optimize(time_limit=0, min_saving_per_change=Decimal(saving).scaleb(-6), max_changes=cap)
    proof = result.certificate.changes
    assert proof is not None
    assert proof.bound <= proof.objective == result.total_cost + saving * changes_of(fleet, result.assignment)
    assert cap is None or changes_of(fleet, result.assignment) <= cap
    assert result.lower_bound <= fleet.optimize(time_limit=0).total_cost
    current = fleet.devices.current_rate_plan
    if (result.model.can_keep_plan() | (current < 0) | ~result.model.has_eligible).all():
        assert result.total_cost <= result.current_cost
    verify(result.certificate, result.model, result.assignment)


@quick
@given(fleets, seeds, st.sampled_from([{}, {"max_changes": 3}, {"min_saving_per_change": "0.5"}]))
def test_the_order_of_sims_rate_plans_and_communication_plans_changes_nothing(
    fleet: Case, seed: int, preference: dict[str, Any]
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(fleet.devices))
    groups = rng.permutation(len(fleet.eligibility.allowed))
    plans = rng.permutation(len(fleet.rate_plans))
    expected = fleet.optimize(time_limit=0, **preference)
    other = fleet.only(rows).with_communication_plans_in_order(groups).with_plans_in_order(plans)
    shuffled = other.optimize(time_limit=0, **preference)
    assert np.append(plans, -1)[shuffled.assignment].tobytes() == expected.assignment[rows].tobytes()
    if fleet.terms.pool_scope == "service_provider":  # else pools are numbered by comm group
        assert shuffled.certificate == expected.certificate
    assert shuffled.lower_bound == expected.lower_bound


def side_by_side(left: Case, right: Case) -> Case:
    """Return both fleets as one fleet without common plans or communication plans."""
    groups, plans = left.eligibility.allowed.shape
    allowed = np.zeros((groups + len(right.eligibility.allowed), plans + len(right.rate_plans)), dtype=bool)
    allowed[:groups, :plans], allowed[groups:, plans:] = left.eligibility.allowed, right.eligibility.allowed
    pools = len(left.rate_plans.pool_name)

    def moved(values: np.ndarray, by: int) -> np.ndarray:
        return np.where(values < 0, values, values + by)

    columns = {
        "device_id": [np.char.add("left ", left.devices.device_id), np.char.add("right ", right.devices.device_id)],
        "communication_plan": [left.devices.communication_plan, right.devices.communication_plan + groups],
        "current_rate_plan": [left.devices.current_rate_plan, moved(right.devices.current_rate_plan, plans)],
    }
    for name in ("usage_micro_mb", "sms_usage", "days_active", "is_prorated"):
        columns[name] = [getattr(left.devices, name), getattr(right.devices, name)]
    plan_columns: dict[str, Any] = {
        name: np.concatenate([getattr(left.rate_plans, name), getattr(right.rate_plans, name)])
        for name in (
            "rate_charge",
            "base_rate",
            "plan_micro_mb",
            "overage_rate",
            "block_micro_mb",
            "sms_rate",
            "is_retired",
        )
    }
    plan_columns["pool"] = np.concatenate([left.rate_plans.pool, moved(right.rate_plans.pool, pools)])
    plan_columns["code"] = tuple(f"left {code}" for code in left.rate_plans.code) + tuple(
        f"right {code}" for code in right.rate_plans.code
    )
    plan_columns["pool_name"] = tuple(f"left {name}" for name in left.rate_plans.pool_name) + tuple(
        f"right {name}" for name in right.rate_plans.pool_name
    )
    devices = replace(left.devices, **{name: np.concatenate(parts) for name, parts in columns.items()})
    return Case(devices, replace(left.rate_plans, **plan_columns), Eligibility.of(allowed), left.terms)


@quick
@given(tiny_fleets, tiny_fleets)
def test_independent_halves_add_up_exactly_where_both_are_optimal(left: Case, right: Case) -> None:
    right = replace(right, terms=left.terms)
    alone = [half.optimize() for half in (left, right)]
    together = side_by_side(left, right).optimize()
    assert {result.status for result in [*alone, together]} == {"optimal"}
    assert together.total_cost == sum(result.total_cost for result in alone)


@quick
@given(fleets, fleets)
def test_independent_halves_add_up_within_the_bounds(left: Case, right: Case) -> None:
    right = replace(right, terms=left.terms)
    alone = [half.optimize(time_limit=0) for half in (left, right)]
    together = side_by_side(left, right).optimize(time_limit=0)
    assert together.lower_bound <= sum(result.total_cost for result in alone)
    assert sum(result.lower_bound for result in alone) <= together.total_cost


@quick
@given(tiny_fleets, seeds)
def test_more_eligible_plans_never_cost_more(fleet: Case, seed: int) -> None:
    served = fleet.only(np.flatnonzero(fleet.model.has_eligible))  # a SIM without an eligible plan is not billed
    allowed = served.eligibility.allowed
    more = allowed | (np.random.default_rng(seed).random(allowed.shape) < 0.5)
    before, after = served.optimize(), replace(served, eligibility=Eligibility.of(more)).optimize()
    if served.terms.pool_scope == "service_provider":  # else other comm groups are other pools
        assert (before.status, after.status) == ("optimal", "optimal")
        assert after.total_cost <= before.total_cost


@quick
@given(fleets)
def test_the_costs_of_the_sims_add_up_to_the_bill(fleet: Case) -> None:
    model = fleet.model
    for assignment in (fleet.optimize(time_limit=0).assignment, model.base_assignment()):
        assert int(model.split_costs(assignment).sum()) == model.bill(assignment) == plain_bill(fleet, assignment)


def tampered(certificate: Certificate) -> dict[str, Certificate]:
    proof = certificate.changes
    assert proof is not None
    half = (certificate.price[0] // 2, *certificate.price[1:])
    of_bill: dict[str, dict[str, Any]] = {
        "a lower bill": {"bill": certificate.bill - 1},
        "a higher bill": {"bill": certificate.bill + 1},
        "a higher bound of the prices": {"price_bound": certificate.price_bound + 1},
        "a lower bound of the prices": {"price_bound": certificate.price_bound - 1},
        "a bound above the bill": {"lower_bound": certificate.bill + 1},
        "a bound below that of its prices": {"lower_bound": certificate.price_bound - 1},
        "another price": {"price": half},
        "a negative price": {"price": (-1, *certificate.price[1:])},
        "a price above overage rate / block": {"price": (10**12, *certificate.price[1:])},
        "a price too few": {"price": certificate.price[1:]},
        "a price too many": {"price": (*certificate.price, 0)},
        "another unit": {"price_scale": certificate.price_scale * 10},
        "a unit out of any range": {"price_scale": 10**400},
        "no unit": {"price_scale": 0},
        "a negative unit": {"price_scale": -certificate.price_scale},
        "another pool": {"pool_name": (*certificate.pool_name[:-1], "pool of others")},
    }
    of_changes: dict[str, dict[str, Any]] = {
        "a lower objective": {"objective": proof.objective - 1},
        "a change less": {"change_count": proof.change_count - 1},
        "a cap below the changes": {"max_changes": proof.change_count - 1},
        "no cap": {"max_changes": None},
        "another cap": {"max_changes": (proof.max_changes or 0) + 1},
        "a higher bound of the objective's prices": {"price_bound": proof.price_bound + 1},
        "a bound above the objective": {"bound": proof.objective + 1},
        "a bound below that of the objective's prices": {"bound": proof.price_bound - 1},
        # Not by 1e-6: where the changes that pay are as many as the cap, a near price proves the same bound.
        "another price of a change": {"change_price": 2 * proof.change_price},
        "another saving": {"min_saving": proof.min_saving + 1},
        "a negative saving and price of a change": {"min_saving": -(2**40), "change_price": -(2**40)},
        "a price of a change out of any range": {"change_price": 10**400},
        "another price of the objective": {"price": (proof.price[0] // 2, *proof.price[1:])},
    }
    return {name: replace(certificate, **fields) for name, fields in of_bill.items()} | {
        name: replace(certificate, changes=replace(proof, **fields)) for name, fields in of_changes.items()
    }


def test_verify_rejects_every_tampered_certificate() -> None:
    fleet = bench_case("default", 300)
    result = fleet.optimize(time_limit=0, min_saving_per_change="0.2", max_changes=60)
    assert result.certificate.changes is not None
    assert result.certificate.changes.change_price > 200_000  # the cap is binding
    verify(result.certificate, result.model, result.assignment)
    accepted = []
    for name, certificate in tampered(result.certificate).items():
        try:
            verify(certificate, result.model, result.assignment)
        except CertificateError:
            continue
        accepted.append(name)
    assert accepted == []


WRONG_ASSIGNMENTS: dict[str, Callable[[np.ndarray, CostModel], Any]] = {
    "another eligible plan": lambda assignment, model: (0, np.flatnonzero(model.eligible[model.group[0]])[-1]),
    "no plan": lambda assignment, model: (0, -1),
    "a plan that is not eligible": lambda assignment, model: next(
        (row, int(np.flatnonzero(~model.eligible[group])[0]))
        for row, group in enumerate(model.group)
        if not model.eligible[group].all()
    ),
}


@pytest.mark.parametrize("what", WRONG_ASSIGNMENTS)
def test_verify_rejects_another_assignment(what: str) -> None:
    result = bench_case("default", 300).optimize(time_limit=0)
    row, plan = WRONG_ASSIGNMENTS[what](result.assignment, result.model)
    assignment = result.assignment.copy()
    assert assignment[row] != plan
    assignment[row] = plan
    with pytest.raises(CertificateError):
        verify(result.certificate, result.model, assignment)


@pytest.mark.parametrize(("count", "cap"), [(1000, 0), (1000, 1), (1000, 250), (3000, 100), (5000, 2000), (5000, 5000)])
def test_a_cap_on_changes_holds_with_a_valid_bound_in_larger_fleets(count: int, cap: int) -> None:
    fleet = bench_case("default", count)
    result = fleet.optimize(time_limit=0, max_changes=cap)
    proof = result.certificate.changes
    assert proof is not None
    assert changes_of(fleet, result.assignment) <= cap
    assert result.lower_bound <= proof.bound <= proof.objective == result.total_cost <= result.current_cost
    assert proof.objective - proof.bound <= 0.01 * proof.objective
    verify(result.certificate, result.model, result.assignment)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_gap_of_a_few_thousand_sims_is_small_in_every_profile(profile: str) -> None:
    fleet = bench_case(profile, 4000)
    result = fleet.optimize(time_limit=0)
    verify(result.certificate, result.model, result.assignment)
    assert result.gap < 0.001
    assert result.total_cost <= min(result.current_cost, result.base_cost)


numbers = st.one_of(
    st.decimals(0, 10**11, allow_nan=False, allow_infinity=False, places=9).map(lambda value: f"{value:f}"),
    st.integers(0, 10**8).map(lambda value: f"{value // 10**6}.{value % 10**6:06d}5"),
    st.from_regex(r"\A[0-9]{1,11}(\.[0-9]{0,12})?\Z"),
    st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,9})?e[-+]?[0-7]\Z"),
)


@quick
@given(st.lists(numbers, min_size=1, max_size=60))
def test_numbers_of_a_csv_file_are_exact_to_the_last_millionth(texts: list[str]) -> None:
    problems = Problems()
    table = Table("D.csv", pl.DataFrame({"usage_mb": texts}), None, [])
    expected = [int((Decimal(text) * 10**6).to_integral_value(ROUND_HALF_UP)) for text in texts]
    assert table.numbers("usage_mb", problems).tolist() == expected
    assert problems.count == 0


def test_the_gap_of_a_fleet_of_one_pool_is_zero_where_no_block_is_wasted() -> None:
    # At a price of 0.2 per MB all SIMs are indifferent.
    fleet = case([4] * 10, [{"plan_mb": 0, "pool": "one"}, {"rate_charge": 3, "plan_mb": 10, "pool": "one"}])
    result = fleet.optimize(time_limit=0)
    assert result.total_cost == 18_000_000  # 4 SIMs include the 40 MB that 10 SIMs use
    assert result.lower_bound == 18_000_000


@pytest.mark.parametrize("profile", PROFILES)
def test_no_two_sims_swap_plans_of_a_pool_for_nothing(profile: str) -> None:
    for seed in range(1, 9):
        fleet = bench_case(profile, 30, seed)
        model, current = fleet.model, fleet.model.devices.current_rate_plan
        result = fleet.optimize(time_limit=0)
        plan, rate = result.assignment, fleet.rate_plans.sms_rate
        assert model.bill(plan) == result.total_cost
        changed = np.flatnonzero(model.can_keep_plan() & (plan != current))
        for one, other in itertools.combinations(changed, 2):
            pool = model.pool[model.group[one], plan[one]]
            alike = model.tariff[one] == model.tariff[other] and rate[plan[one]] == rate[plan[other]]
            if pool != NONE and pool == model.pool[model.group[other], plan[other]] and alike:
                assert (plan[one], plan[other]) != (current[other], current[one]), (seed, one, other)
