"""The LP relaxation of a pool component: the dual prices of pooled data, and the primal weights that attain the bound.

The bound L(price) is concave and piecewise linear; the pools' excess at a price is a supergradient of it, and gives a
cut. Kelley's cutting planes (J. Soc. Indust. Appl. Math. 8, 1960) maximize it: the master problem, an LP over the cuts,
proposes the next price, until its optimum is attained. The duals of its rows are the primal weights of the LP
relaxation: a convex combination of a few assignments, which differ for few SIMs only.

A large component is solved on a sample first. Then the search is confined to a box of prices in which the plan, or at
least the pool, of nearly every SIM is decided (`box_bound`), and then to a narrower one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np

from amop.solver.box_bound import NO_ROWS, BoxBound, cheapest_pool_options, pool_options
from amop.solver.components import Doubles, PoolComponent
from amop.solver.highs import silent_solver
from amop.solver.model import NONE, Integers

SAMPLE_SIZES = (8_192, 65_536)
"""SIMs per sample; a sample is taken of components at least four times as large."""
QUANTILE_ROWS = 131_072
"""SIMs from which the threshold of large usage is estimated: about a quarter of a sample is above it."""
WIDE_BOX, NARROW_BOX = 0.03, 0.003
"""Half width of the boxes relative to the price, plus a tenth of it relative to the highest price."""
EDGE = 0.05
"""A box is moved if the optimum is within this share of its half width from its edge."""
STEP_SHARE = 0.4
"""Step from the best prices towards the optimum of the master problem: short steps need fewer cuts (in-out separation,
Ben-Ameur and Neto, Networks 49, 2007)."""
MAX_CUTS = 400
"""Cuts per box."""
MAX_BOX_MOVES = 20
"""Times that a box is moved."""
TOLERANCE = 1e-9
"""Relative gap between the master problem and the best bound at which cutting planes end."""
LARGE_TOLERANCE = 1e-8
"""The same for components from which samples are taken."""
SMALLEST_DUAL = 1e-12
"""Smallest dual of a cut that is binding."""
FIXED_TOLERANCE = 1e-6
"""The same while diving, where prices are only used for rounding."""


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The solution of a component's LP relaxation. Prices have shape (K,), currency per MB."""

    price: Doubles
    """Dual price of each pool's data."""
    bound: float
    """Dual bound of the component's bill, 1e-6 currency."""
    primal_weights: list[tuple[float, Doubles]]
    """Weights that add up to 1, and the prices whose cheapest assignments they weight."""
    undecided: Integers
    """Positions of the SIMs whose pool may differ between those assignments."""
    box: BoxBound
    """The bound in a wider box around the optimum, for diving."""
    fixed: Integers
    """Positions of the SIMs that diving has fixed."""
    fixed_plan: Integers
    """The plans that they are fixed on."""


def solve_relaxation(component: PoolComponent) -> Relaxation:
    """Return the solution of a component's LP relaxation, to a relative gap of `TOLERANCE` or `LARGE_TOLERANCE`."""
    lowest, highest = np.zeros(len(component.pools)), component.highest
    if not component.pools:
        bound = float(component.unpooled_cost.sum())
        return Relaxation(lowest, bound, [(1.0, lowest)], NO_ROWS, BoxBound(component, NO_ROWS), NO_ROWS, NO_ROWS)
    samples = [_stratified_sample(component, size) for size in SAMPLE_SIZES if 4 * size <= len(component.rows)]
    whole = BoxBound(component, np.arange(len(component.rows)))
    if not samples:
        master, best, bound = _cutting_planes(whole, lowest, highest, highest / 2, TOLERANCE)
        return Relaxation(best, bound, master.primal_weights(best), whole.at, whole, NO_ROWS, NO_ROWS)
    price = _cutting_planes(samples[0], lowest, highest, highest / 2, 1e-4)[1]
    for sample in samples[1:]:
        price = _solve_in_boxes(sample, price, ((4 * WIDE_BOX, 1e-5),)).price
    return _solve_in_boxes(whole, price, ((WIDE_BOX, 1e-6), (NARROW_BOX, LARGE_TOLERANCE)))


def solve_relaxation_with_fixed(component: PoolComponent, relaxation: Relaxation, sim: int, plan: int) -> Relaxation:
    """Return the solution near an earlier one with one more SIM fixed on a plan.

    Args:
        component: the pool component.
        relaxation: the earlier solution.
        sim: position of the SIM.
        plan: index of the plan.
    """
    box = relaxation.box.without(sim)
    here, there = np.array([sim]), np.array([plan])
    box.fix(component.exact_costs(here, there), component.exact_excess(here, there), component.pool_of_plans[there])
    master, best, bound = _cutting_planes(box, box.low, box.high, relaxation.price, FIXED_TOLERANCE)
    fixed, fixed_plan = np.append(relaxation.fixed, sim), np.append(relaxation.fixed_plan, plan)
    return Relaxation(best, bound, master.primal_weights(best), box.at, box, fixed, fixed_plan)


def cheapest_assignments(component: PoolComponent, relaxation: Relaxation, prices: Sequence[Doubles]) -> list[Integers]:
    """Return an assignment of least cost at each of some prices, shape (n,) each.

    Between these prices only undecided SIMs change their pool. The others change their plan only where the cheapest
    plan of their pool option is another one.

    Args:
        component: the pool component.
        relaxation: its solution.
        prices: prices of the primal weights.
    """
    first_option = cheapest_pool_options(component, np.arange(len(component.rows)), prices[0])
    first_plan, assignments = _plans_of_options(component, prices[0]), list[Integers]()
    for price in prices:
        plan_of = _plans_of_options(component, price)
        if price is prices[0]:
            chosen = plan_of[component.class_of, first_option]
            unpooled = np.flatnonzero(chosen == NONE)
            chosen[unpooled] = component.unpooled_plan[unpooled]
        else:
            chosen = assignments[0].copy()
            others = np.flatnonzero((plan_of != first_plan)[component.class_of, first_option])
            chosen[others] = plan_of[component.class_of[others], first_option[others]]
            undecided = relaxation.undecided
            plans = plan_of[component.class_of[undecided], cheapest_pool_options(component, undecided, price)]
            chosen[undecided] = np.where(plans == NONE, component.unpooled_plan[undecided], plans)
        chosen[relaxation.fixed] = relaxation.fixed_plan
        assignments.append(chosen)
    return assignments


def _plans_of_options(component: PoolComponent, price: Doubles) -> Integers:
    """Return the plan of each class and pool option, shape (C, K + 1); the last column, index -1, is NONE."""
    return np.append(pool_options(component, price)[1], np.full((len(component.own), 1), NONE), axis=1)


def _stratified_sample(component: PoolComponent, size: int) -> BoxBound:
    """Return the bound of a sample: all SIMs of large usage, and the first of the others with a weight.

    A few SIMs with hundreds of gigabytes decide the price of a pool's data; a plain sample would miss them.
    """
    count, seen = len(component.rows), component.usage[:QUANTILE_ROWS]
    threshold = np.quantile(seen, 1.0 - size / 4 / count)
    large = np.flatnonzero(component.usage > threshold)
    others = np.flatnonzero(component.usage[: 2 * size] <= threshold)[: max(size - len(large), size // 2)]
    weight = np.ones(len(large) + len(others))
    weight[len(large) :] = (count - len(large)) / len(others)
    return BoxBound(component, np.concatenate((large, others)), weight)


def _solve_in_boxes(whole: BoxBound, start: Doubles, boxes: Sequence[tuple[float, float]]) -> Relaxation:
    """Return the solution, searched in ever narrower boxes, each given by its half width and tolerance.

    A box with the optimum near its edge is moved and enlarged. The bound is concave: an optimum inside a box is global.
    """
    best, bound, outer, first = start, -np.inf, whole, None
    low, high = whole.low, whole.high
    for width, tolerance in boxes:
        for _ in range(MAX_BOX_MOVES):
            half = width * (best + 0.1 * whole.component.highest)
            inner_low, inner_high = np.maximum(low, best - half), np.minimum(high, best + half)
            inside = outer.within(inner_low, best, inner_high)
            if inside.is_small:
                tolerance = boxes[-1][1]
            master, best, higher = _cutting_planes(inside, inner_low, inner_high, best, tolerance)
            is_near_edge = ((best < inner_low + EDGE * half) & (inner_low > low)) | (
                (best > inner_high - EDGE * half) & (inner_high < high)
            )
            gained, bound = higher - bound, higher
            if not is_near_edge.any() or gained <= tolerance * abs(bound):
                break
            width *= 2.0
        outer, low, high = inside, inner_low, inner_high
        first = first or inside
        if inside.is_small:
            break
    return Relaxation(best, bound, master.primal_weights(best), outer.at, first or whole, NO_ROWS, NO_ROWS)


def _cutting_planes(
    box: BoxBound, low: Doubles, high: Doubles, start: Doubles, tolerance: float
) -> tuple[MasterProblem, Doubles, float]:
    """Return the master problem, the best prices within a box, and their bound (1e-6 currency)."""
    bound, excess = box.bound_and_excess(start)
    master = MasterProblem(low, high, start, bound, excess)
    best, best_bound = start, bound
    while len(master.prices) < MAX_CUTS:
        peak, ceiling = master.solve()
        if ceiling - best_bound <= tolerance * abs(best_bound):
            break
        price = best + STEP_SHARE * (peak - best)
        bound, excess = box.bound_and_excess(price)
        if bound > best_bound:
            best, best_bound = price, bound
        master.add_cut(price, bound, excess)
    return master, best, best_bound


class MasterProblem:
    """The LP over the cuts: maximize the bound.

    Its variables are the bound relative to the first cut's, and the prices as shares of the box.
    """

    def __init__(self, low: Doubles, high: Doubles, price: Doubles, bound: float, excess: Doubles) -> None:
        self._low, self._width, self._first = low, np.maximum(high - low, 1e-300), bound
        self._unit = max(1.0, 1e-3 * abs(bound))
        self.prices: list[Doubles] = []
        self._solver = solver = silent_solver()
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            solver.setOptionValue(name, 1e-10)
        solver.addVar(-highspy.kHighsInf, highspy.kHighsInf)
        for lowest, highest in zip(low, high, strict=True):
            solver.addVar(0.0, float(highest > lowest))
        solver.changeColCost(0, 1.0)
        solver.changeObjectiveSense(highspy.ObjSense.kMaximize)
        self.add_cut(price, bound, excess)

    def add_cut(self, price: Doubles, bound: float, excess: Doubles) -> None:
        """Add the cut: bound <= bound at the price + excess x (prices - price)."""
        slopes = excess * self._width / self._unit
        here = (bound - self._first) / self._unit - float(slopes @ ((price - self._low) / self._width))
        columns = np.arange(len(slopes) + 1, dtype=np.int32)
        self._solver.addRow(-highspy.kHighsInf, here, len(columns), columns, np.concatenate(([1.0], -slopes)))
        self.prices.append(price)

    def solve(self) -> tuple[Doubles, float]:
        """Return the optimal prices, shape (K,), and the optimum, 1e-6 currency; -infinity where HiGHS finds none."""
        self._solver.run()
        values = np.array(self._solver.getSolution().col_value)
        if not len(values):
            return self._low, -np.inf
        price = self._low + np.clip(values[1:], 0.0, 1.0) * self._width
        return price, float(values[0]) * self._unit + self._first

    def primal_weights(self, best: Doubles) -> list[tuple[float, Doubles]]:
        """Return the duals of the binding cuts as weights, and the prices of those cuts.

        Args:
            best: the prices of the best bound; they alone where HiGHS, at extreme prices, gives no duals.
        """
        self._solver.run()
        weights = np.nan_to_num(np.abs(np.array(self._solver.getSolution().row_dual)))
        binding = np.flatnonzero(weights > SMALLEST_DUAL)
        if not len(binding):
            return [(1.0, best)]
        return [(float(weights[row] / weights.sum()), self.prices[row]) for row in binding]
