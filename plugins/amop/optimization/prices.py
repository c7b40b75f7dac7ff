"""The prices of pooled data that prove the highest bound.

The bound L(price) is concave and piecewise linear. With one pool its top is found by bisection. With several, by
Kelley's cutting planes: every evaluated price gives a plane above L (its slope is the pools' excess), an LP over the
planes gives the next price, until the LP's optimum, which no bound exceeds, is reached.
"""

from __future__ import annotations

import highspy
import numpy as np

from amop.optimization.bill import CostModel, exact_sum
from amop.optimization.certificate import PRICE_SCALE, largest_prices, least_reduced_costs, reduced_costs
from amop.optimization.model import Integers

MOST_PLANES = 80
"""Evaluations of the bound; each is one pass over SIMs and plans."""

CLOSE_ENOUGH = 1e-9
"""Share of the bound that a better price could still add when the search ends."""

SCALE = float(PRICE_SCALE) * 1e6
"""Units of a bound (1e-12 currency) in one currency unit."""


def best_prices(model: CostModel) -> Integers:
    """Return the prices with the highest bound found, shape (K,), 1e-6 currency a MB."""
    price = np.zeros(model.pool_count, dtype=np.int64)
    for pool, highest in enumerate(largest_prices(model)):
        price[pool] = _top_along(model, price, pool, int(highest))
    return price if model.pool_count <= 1 else _top_by_planes(model, price)


def bound_in_units(model: CostModel, price: Integers) -> int:
    """Return the bound of these prices in 1e-12 currency, exact."""
    return exact_sum(least_reduced_costs(model, reduced_costs(model, price)))


def _top_along(model: CostModel, price: Integers, pool: int, highest: int) -> int:
    """Return the price of one pool's data at which the bound is highest, the others held: a concave search."""
    low, high = 0, highest
    trial = price.copy()
    while high > low:
        middle = (low + high) // 2
        trial[pool] = middle
        here = bound_in_units(model, trial)
        trial[pool] = middle + 1
        if bound_in_units(model, trial) > here:
            low = middle + 1
        else:
            high = middle
    return low


def _top_by_planes(model: CostModel, price: Integers) -> Integers:
    planes = _Planes(largest_prices(model))
    best, best_bound = price, -1
    for _ in range(MOST_PLANES):
        bound, excess = _bound_and_excess(model, price)
        if bound > best_bound:
            best, best_bound = price, bound
        planes.add(price, bound, excess)
        price, ceiling = planes.top()
        if ceiling - best_bound / SCALE <= CLOSE_ENOUGH * max(1.0, best_bound / SCALE):
            break
    return best


def _bound_and_excess(model: CostModel, price: Integers) -> tuple[int, list[int]]:
    """Return the bound of these prices, 1e-12 currency, and the pools' excess of an assignment that attains it."""
    reduced = reduced_costs(model, price)
    least = least_reduced_costs(model, reduced)
    attains = model.is_eligible & (reduced == least[:, None])
    assignment = np.where(attains.any(axis=1), attains.argmax(axis=1), -1)
    return exact_sum(least), model.pool_excess(assignment)


class _Planes:
    """The LP over the planes: variables are the bound (currency) and the prices (currency a MB)."""

    def __init__(self, highest: Integers) -> None:
        self._highest = highest
        self._solver = highspy.Highs()
        self._solver.silent()
        self._solver.addVar(-highspy.kHighsInf, highspy.kHighsInf)
        for limit in highest:
            self._solver.addVar(0.0, float(limit) / PRICE_SCALE)
        self._solver.changeColCost(0, 1.0)
        self._solver.changeObjectiveSense(highspy.ObjSense.kMaximize)

    def add(self, price: Integers, bound: int, excess: list[int]) -> None:
        """Add: bound <= bound here + excess x (price - price here)."""
        slopes = np.array(excess, dtype=np.float64) / 1e6
        here = bound / SCALE - float(slopes @ (price / PRICE_SCALE))
        columns = np.arange(len(slopes) + 1, dtype=np.int32)
        values = np.concatenate(([1.0], -slopes))
        self._solver.addRow(-highspy.kHighsInf, here, len(columns), columns, values)

    def top(self) -> tuple[Integers, float]:
        """Return the prices at the top of the planes, and that top (currency)."""
        self._solver.run()
        values = np.array(self._solver.getSolution().col_value)
        price = np.clip(np.rint(values[1:] * PRICE_SCALE).astype(np.int64), 0, self._highest)
        return price, float(values[0])
