"""The fast evaluation of the bound gives what a pass over every SIM gives."""

from __future__ import annotations

import numpy as np
import pytest

from amop.optimization import Terms
from amop.optimization.bound import SortedUsage, Undecided, cheapest_arms
from amop.optimization.canonical import CanonicalProblem
from amop.optimization.classes import Part, parts_of
from amop.optimization.prices import best_prices, prices_with_fixed
from amop.optimization.rounding import round_mixture
from bench.instances import PERIOD_DAYS, make_instance

POOLED = ("all_pooled", "many_pools", "single_plan")


def part_of(profile: str, count: int = 3000, seed: int = 1) -> Part:
    instance = make_instance(profile, count, seed=seed)
    terms = Terms(PERIOD_DAYS, uses_proration=True)
    problem = CanonicalProblem.of(instance.devices, instance.rate_plans, instance.eligibility, terms)
    return next(parts_of(problem.model))


def box_around(rng: np.random.Generator, part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    middle = rng.uniform(0.05, 0.95, len(part.pools)) * part.highest
    if rng.random() < 0.5 and len(part.pools) > 1:
        middle[:2] = middle[:2].min()  # data of two pools at one price: neither line is steeper
    half = 0.04 * part.highest
    return np.maximum(0.0, middle - half), middle, np.minimum(part.highest, middle + half)


@pytest.mark.parametrize("profile", ["default", "heavy_tail", "many_zeros", "identical", *POOLED])
def test_within_a_box_the_bound_is_that_of_a_pass_over_every_sim(profile: str) -> None:
    part = part_of(profile)
    whole = Undecided(part, np.arange(len(part.rows)))
    rng = np.random.default_rng(7)
    sorted_sims = 0
    for _ in range(20):
        low, middle, high = box_around(rng, part)
        inside = whole.within(low, middle, high)
        sorted_sims += 0 if inside._sorted is None else len(inside._sorted.at)
        for price in (low, middle, high, rng.uniform(low, high)):
            bound, excess = inside.bound_and_excess(price)
            expected, expected_excess = whole.bound_and_excess(price)
            assert bound == pytest.approx(expected, rel=1e-12)
            # At a price at which two arms cost a SIM the same, either excess is a slope of the bound.
            assert float(price @ (excess - expected_excess)) == pytest.approx(0.0, abs=1e-6 * abs(expected))
    if profile in {"many_pools", "all_pooled"}:
        assert sorted_sims > 1000


@pytest.mark.parametrize("profile", POOLED)
def test_sorted_usage_puts_every_sim_on_an_arm_that_costs_it_least(profile: str) -> None:
    part = part_of(profile)
    every = np.arange(len(part.rows))
    found = SortedUsage.of(part, every)
    assert found is not None
    rng = np.random.default_rng(3)
    for _ in range(10):
        price = rng.uniform(0.0, 1.0, len(part.pools)) * part.highest
        cost = np.array([[part.own[c, plans].min() for plans in part.plans_of_pool] for c in range(len(part.own))])
        counts, usages = found.divided(price, cost)
        assert counts.sum(axis=1).tolist() == np.bincount(part.class_of, minlength=len(part.own)).tolist()
        lines = cost[part.class_of] + np.outer(part.usage, price)
        assert (counts * cost).sum() + usages @ price == pytest.approx(lines.min(axis=1).sum(), rel=1e-12)


def test_usage_that_does_not_fit_beside_the_class_is_not_sorted() -> None:
    part = part_of("many_pools", 50)
    part.usage[0] = 2.0**61
    assert SortedUsage.of(part, np.arange(50)) is None


@pytest.mark.parametrize("profile", ["default", "heavy_tail", "all_pooled", "many_pools"])
def test_a_sim_held_on_its_cheapest_plan_leaves_the_bound_as_it_is(profile: str) -> None:
    part = part_of(profile, 40_000)  # large enough for samples and boxes
    top = best_prices(part)
    chosen = round_mixture(part, top)
    rng = np.random.default_rng(5)
    pooled = np.flatnonzero(cheapest_arms(part, np.arange(len(part.rows)), top.price) >= 0)
    for sim in [*rng.choice(pooled, 5), top.undecided[0], top.near.at[-1]]:
        costs = [float(part.plan_costs(plan, top.price, np.array([sim]))[0]) for plan in range(len(part.own[0]))]
        best = prices_with_fixed(part, top, int(sim), int(np.argmin(costs)))
        assert best.bound >= top.bound * (1 - 1e-9)
        assert best.bound <= part.bill(chosen)
