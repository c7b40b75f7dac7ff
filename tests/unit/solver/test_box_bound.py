"""The fast evaluation of the dual bound equals a pass over every SIM."""

from __future__ import annotations

import numpy as np
import pytest

from amop.solver import CostModel, Terms
from amop.solver.box_bound import BoxBound, SortedUsage, cheapest_pool_options
from amop.solver.canonical import CanonicalProblem
from amop.solver.components import PoolComponent, pool_components
from amop.solver.prices import solve_relaxation, solve_relaxation_with_fixed
from amop.solver.rounding import round_relaxation
from bench.instances import PERIOD_DAYS, make_instance

POOLED = ("all_pooled", "many_pools", "single_plan")


def component_of(profile: str, count: int = 3000, seed: int = 1) -> PoolComponent:
    instance = make_instance(profile, count, seed=seed)
    terms = Terms(PERIOD_DAYS, uses_proration=True)
    model = CostModel(instance.devices, instance.rate_plans, instance.eligibility, terms)
    problem = CanonicalProblem.of(model, instance.eligibility)
    return next(pool_components(problem.model))


def box_around(rng: np.random.Generator, component: PoolComponent) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    middle = rng.uniform(0.05, 0.95, len(component.pools)) * component.highest
    if rng.random() < 0.5 and len(component.pools) > 1:
        middle[:2] = middle[:2].min()  # equal prices of two pools: neither line is steeper
    half = 0.04 * component.highest
    return np.maximum(0.0, middle - half), middle, np.minimum(component.highest, middle + half)


@pytest.mark.parametrize("profile", ["default", "heavy_tail", "many_zeros", "identical", *POOLED])
def test_within_a_box_the_bound_equals_a_pass_over_every_sim(profile: str) -> None:
    component = component_of(profile)
    whole = BoxBound(component, np.arange(len(component.rows)))
    rng = np.random.default_rng(7)
    sorted_sims = 0
    for _ in range(20):
        low, middle, high = box_around(rng, component)
        inside = whole.within(low, middle, high)
        sorted_sims += 0 if inside._sorted is None else len(inside._sorted.at)
        for price in (low, middle, high, rng.uniform(low, high)):
            bound, excess = inside.bound_and_excess(price)
            expected, expected_excess = whole.bound_and_excess(price)
            assert bound == pytest.approx(expected, rel=1e-12)
            # Where two pool options cost a SIM the same, either excess is a supergradient.
            assert float(price @ (excess - expected_excess)) == pytest.approx(0.0, abs=1e-6 * abs(expected))
    if profile in {"many_pools", "all_pooled"}:
        assert sorted_sims > 1000


@pytest.mark.parametrize("profile", POOLED)
def test_sorted_usage_assigns_every_sim_to_its_cheapest_pool_option(profile: str) -> None:
    component = component_of(profile)
    every = np.arange(len(component.rows))
    found = SortedUsage.of(component, every)
    assert found is not None
    rng = np.random.default_rng(3)
    for _ in range(10):
        price = rng.uniform(0.0, 1.0, len(component.pools)) * component.highest
        cost = np.array(
            [[component.own[c, plans].min() for plans in component.plans_of_pool] for c in range(len(component.own))]
        )
        counts, usages = found.assign(price, cost)
        assert counts.sum(axis=1).tolist() == np.bincount(component.class_of, minlength=len(component.own)).tolist()
        lines = cost[component.class_of] + np.outer(component.usage, price)
        assert (counts * cost).sum() + usages @ price == pytest.approx(lines.min(axis=1).sum(), rel=1e-12)


def test_usage_that_does_not_fit_into_the_sort_key_is_not_sorted() -> None:
    component = component_of("many_pools", 50)
    component.usage[0] = 2.0**61
    assert SortedUsage.of(component, np.arange(50)) is None


@pytest.mark.parametrize("profile", ["default", "heavy_tail", "all_pooled", "many_pools"])
def test_fixing_a_sim_on_its_cheapest_plan_keeps_the_bound(profile: str) -> None:
    component = component_of(profile, 40_000)  # large enough for samples and boxes
    relaxation = solve_relaxation(component)
    chosen = round_relaxation(component, relaxation)
    rng = np.random.default_rng(5)
    pooled = np.flatnonzero(cheapest_pool_options(component, np.arange(len(component.rows)), relaxation.price) >= 0)
    for sim in [*rng.choice(pooled, 5), relaxation.undecided[0], relaxation.box.at[-1]]:
        costs = [
            float(component.plan_costs(plan, relaxation.price, np.array([sim]))[0])
            for plan in range(len(component.own[0]))
        ]
        best = solve_relaxation_with_fixed(component, relaxation, int(sim), int(np.argmin(costs)))
        assert best.bound >= relaxation.bound * (1 - 1e-9)
        assert best.bound <= component.bill(chosen)
