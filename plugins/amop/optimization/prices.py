"""The prices of pooled data that prove the highest bound, and the assignments whose mixture attains it.

The bound L(price) is concave and piecewise linear: every price gives a plane above it, whose slope is the pools'
excess. Kelley's cutting planes (J. Soc. Indust. Appl. Math. 8, 1960) find its top: an LP over the planes gives the next
price, until its optimum, which no bound exceeds, is reached. The weights of the planes at the top are the LP
relaxation's solution: a mixture of a few assignments that differ for few SIMs only.

On a large fleet the search runs on a sample first. Then it is confined to a box of prices in which the plan, or at
least the pool, of nearly every SIM is decided; those SIMs are summed up by class, and the box is narrowed once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np

from amop.optimization.bound import NOBODY, Undecided, cheapest_arms, offers
from amop.optimization.classes import Doubles, Part
from amop.optimization.highs import quiet_solver
from amop.optimization.model import NONE, Integers

SAMPLES = (8_192, 65_536)
"""SIMs in the samples; a sample is taken of fleets at least four times as large."""
LOOKED_AT = 131_072
"""SIMs that say what large usage is: about a quarter of a sample is above it."""
WIDE, NARROW = 0.03, 0.003
"""Half width of a box as a share of the price (and a tenth of it of the highest price)."""
RIM = 0.05
"""So near to its rim, as a share of its half width, a box follows the top."""
STEP = 0.4
"""How far to go from the best prices to the top of the planes: short steps need fewer planes (in-out separation,
Ben-Ameur and Neto, Networks 49, 2007)."""
MOST_PLANES = 400
"""Evaluations of the bound in one box."""
MOST_MOVES = 20
"""So often a box follows a top near its rim."""
TOLERANCE = 1e-9
"""Share of the bound that a better price in the box could still add."""
LARGE_TOLERANCE = 1e-8
"""The same for fleets from which samples are taken."""
HELD_TOLERANCE = 1e-6
"""The same where SIMs are held on a plan: those prices are to round with, and prove nothing."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The top of the bound of a part, shape (K,) each price, 1e-6 currency for each 1e-6 MB."""

    price: Doubles
    bound: float
    mixture: list[tuple[float, Doubles]]
    """Weights that add up to 1, and the prices whose cheapest assignments are mixed."""
    undecided: Integers
    """Positions in the part of the SIMs whose pool may differ between the prices of the mixture."""
    near: Undecided
    """The bound in a wider box around the top."""
    fixed: Integers
    """Positions of the SIMs that have been settled before, and their plans."""
    fixed_plan: Integers


def best_prices(part: Part) -> Prices:
    """Return the prices with the highest bound, to nine digits of it."""
    lowest, highest = np.zeros(len(part.pools)), part.highest
    if not part.pools:
        nothing = Undecided(part, NOBODY)
        return Prices(lowest, float(part.unpooled_cost.sum()), [(1.0, lowest)], NOBODY, nothing, NOBODY, NOBODY)
    samples = [_sample(part, size) for size in SAMPLES if 4 * size <= len(part.rows)]
    whole = Undecided(part, np.arange(len(part.rows)))
    if not samples:
        planes, best, bound = _climb(whole, lowest, highest, highest / 2, TOLERANCE)
        return Prices(best, bound, planes.mixture(), whole.at, whole, NOBODY, NOBODY)
    price = _climb(samples[0], lowest, highest, highest / 2, 1e-4)[1]
    for sample in samples[1:]:
        price = _top_near(sample, price, ((4 * WIDE, 1e-5),)).price
    return _top_near(whole, price, ((WIDE, 1e-6), (NARROW, LARGE_TOLERANCE)))


def prices_with_fixed(part: Part, top: Prices, sim: int, plan: int) -> Prices:
    """Return the prices of the highest bound near an earlier top when one more SIM of the part is held on a plan."""
    near = top.near.without(sim)
    here, there = np.array([sim]), np.array([plan])
    near.hold(part.exact_costs(here, there), part.exact_excess(here, there), part.pool_of_plans[there])
    planes, best, bound = _climb(near, near.low, near.high, top.price, HELD_TOLERANCE)
    fixed, fixed_plan = np.append(top.fixed, sim), np.append(top.fixed_plan, plan)
    return Prices(best, bound, planes.mixture(), near.at, near, fixed, fixed_plan)


def assignments_at(part: Part, top: Prices, prices: Sequence[Doubles]) -> list[Integers]:
    """Return the plan of least cost of each SIM of the part, shape (n,), at each of some prices of the mixture.

    Only SIMs that are undecided near the top can change their pool from one of the prices to another, and only arms
    whose cheapest plan is another one there change the plans of the others.
    """
    first_arm = cheapest_arms(part, np.arange(len(part.rows)), prices[0])
    first_plan, assignments = _plans_of_arms(part, prices[0]), list[Integers]()
    for price in prices:
        plan_of = _plans_of_arms(part, price)
        if price is prices[0]:
            chosen = plan_of[part.class_of, first_arm]
            unpooled = np.flatnonzero(chosen == NONE)
            chosen[unpooled] = part.unpooled_plan[unpooled]
        else:
            chosen = assignments[0].copy()
            others = np.flatnonzero((plan_of != first_plan)[part.class_of, first_arm])
            chosen[others] = plan_of[part.class_of[others], first_arm[others]]
            plans = plan_of[part.class_of[top.undecided], cheapest_arms(part, top.undecided, price)]
            chosen[top.undecided] = np.where(plans == NONE, part.unpooled_plan[top.undecided], plans)
        chosen[top.fixed] = top.fixed_plan
        assignments.append(chosen)
    return assignments


def _plans_of_arms(part: Part, price: Doubles) -> Integers:
    """Return the cheapest plan of each class and arm, shape (C, K + 1); the last one, which is also -1, is unpooled."""
    return np.append(offers(part, price)[1], np.full((len(part.own), 1), NONE), axis=1)


def _sample(part: Part, size: int) -> Undecided:
    """Return a sample in two strata: every SIM of the largest usage, and of the others the first ones, for them all.

    A few SIMs with hundreds of gigabytes decide what a pool's data is worth; a plain sample would miss them.
    """
    count, seen = len(part.rows), part.usage[:LOOKED_AT]
    threshold = np.quantile(seen, 1.0 - size / 4 / count)
    large = np.flatnonzero(part.usage > threshold)
    others = np.flatnonzero(part.usage[: 2 * size] <= threshold)[: max(size - len(large), size // 2)]
    weight = np.ones(len(large) + len(others))
    weight[len(large) :] = (count - len(large)) / len(others)
    return Undecided(part, np.concatenate((large, others)), weight)


def _top_near(whole: Undecided, start: Doubles, boxes: Sequence[tuple[float, float]]) -> Prices:
    """Return the top, looked for in ever narrower boxes of prices, each of a width and with a tolerance.

    A box follows a top near its rim, and grows. The bound is concave: a top inside a box is the top of all.
    """
    best, bound, undecided, near = start, -np.inf, whole, None
    low, high = whole.low, whole.high
    for width, tolerance in boxes:
        for _ in range(MOST_MOVES):
            half = width * (best + 0.1 * whole.part.highest)
            inner_low, inner_high = np.maximum(low, best - half), np.minimum(high, best + half)
            inside = undecided.within(inner_low, best, inner_high)
            if inside.is_quick:
                tolerance = boxes[-1][1]
            planes, best, higher = _climb(inside, inner_low, inner_high, best, tolerance)
            is_near_rim = ((best < inner_low + RIM * half) & (inner_low > low)) | (
                (best > inner_high - RIM * half) & (inner_high < high)
            )
            gained, bound = higher - bound, higher
            if not is_near_rim.any() or gained <= tolerance * abs(bound):
                break
            width *= 2.0
        undecided, low, high = inside, inner_low, inner_high
        near = near or inside
        if inside.is_quick:
            break
    return Prices(best, bound, planes.mixture(), undecided.at, near or whole, NOBODY, NOBODY)


def _climb(
    undecided: Undecided, low: Doubles, high: Doubles, start: Doubles, tolerance: float
) -> tuple[_Planes, Doubles, float]:
    """Return planes, the prices with the highest bound within a box, and that bound."""
    bound, excess = undecided.bound_and_excess(start)
    planes = _Planes(low, high, start, bound, excess)
    best, best_bound = start, bound
    while len(planes.prices) < MOST_PLANES:
        peak, ceiling = planes.top()
        if ceiling - best_bound <= tolerance * abs(best_bound):
            break
        price = best + STEP * (peak - best)
        bound, excess = undecided.bound_and_excess(price)
        if bound > best_bound:
            best, best_bound = price, bound
        planes.add(price, bound, excess)
    return planes, best, best_bound


class _Planes:
    """The LP over the planes: variables are the bound above the first one, and the prices as shares of the box."""

    def __init__(self, low: Doubles, high: Doubles, price: Doubles, bound: float, excess: Doubles) -> None:
        self._low, self._width, self._first = low, np.maximum(high - low, 1e-300), bound
        self._unit = max(1.0, 1e-3 * abs(bound))
        self.prices: list[Doubles] = []
        self._solver = solver = quiet_solver()
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            solver.setOptionValue(name, 1e-10)
        solver.addVar(-highspy.kHighsInf, highspy.kHighsInf)
        for lowest, highest in zip(low, high, strict=True):
            solver.addVar(0.0, float(highest > lowest))
        solver.changeColCost(0, 1.0)
        solver.changeObjectiveSense(highspy.ObjSense.kMaximize)
        self.add(price, bound, excess)

    def add(self, price: Doubles, bound: float, excess: Doubles) -> None:
        """Add: bound <= bound here + excess x (price - price here)."""
        slopes = excess * self._width / self._unit
        here = (bound - self._first) / self._unit - float(slopes @ ((price - self._low) / self._width))
        columns = np.arange(len(slopes) + 1, dtype=np.int32)
        self._solver.addRow(-highspy.kHighsInf, here, len(columns), columns, np.concatenate(([1.0], -slopes)))
        self.prices.append(price)

    def top(self) -> tuple[Doubles, float]:
        """Return the prices at the top of the planes, and that top, 1e-6 currency."""
        self._solver.run()
        values = np.array(self._solver.getSolution().col_value)
        price = self._low + np.clip(values[1:], 0.0, 1.0) * self._width
        return price, float(values[0]) * self._unit + self._first

    def mixture(self) -> list[tuple[float, Doubles]]:
        """Return the weights of the planes that meet at the top, and their prices."""
        self._solver.run()
        weights = np.abs(np.array(self._solver.getSolution().row_dual))
        return [(float(weights[row] / weights.sum()), self.prices[row]) for row in np.flatnonzero(weights > 1e-12)]
