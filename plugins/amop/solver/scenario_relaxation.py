"""The relaxation of a pool component under scenarios, and its rounding.

The prices are those of `amop.solver.scenario_certificate`: one per pool and scenario. Which plan of a pool is cheapest
for a SIM depends on their mean only, so that the cost classes of `amop.solver.components` hold; what its usage costs is
a sum over the scenarios. The bound is maximized by cutting planes as in `amop.solver.prices`. A large component is
solved on a sample first, whose binding prices are the first cuts of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from amop.solver.box_bound import pool_options
from amop.solver.components import NOT_ELIGIBLE, Doubles, PoolComponent, pool_components
from amop.solver.model import NONE, Indices, Integers, index_type
from amop.solver.prices import MasterProblem
from amop.solver.rounding import GOLDEN, pattern_of
from amop.solver.scenarios import CHUNK_ROWS, ScenarioBills

SAMPLE_SIZE = 16_384
"""SIMs of the sample; it is taken of components at least four times as large."""
SAMPLE_CUTS, SEED_CUTS, LARGE_CUTS = 120, 24, 100
"""Cuts of a sample or small component; of a large component the prices of its sample, and further cuts."""
STEP_SHARES = (0.3, 1.0)
"""Steps from the best prices towards the optimum of the master problem, in turn."""
TOLERANCE, LARGE_TOLERANCE = 1e-7, 1e-5
"""Relative gap between the master problem and the best bound at which cutting planes end; of large components."""
MIN_WEIGHT = 1e-6
"""Smaller weights of the master problem are numerical noise."""


@dataclass(frozen=True, slots=True)
class ScenarioRelaxation:
    """The solution of a component's relaxation."""

    price: Doubles
    """Price of the data of each pool in each scenario, shape (K, S), currency per MB."""
    bound: float
    """Dual bound of the component's expected bill, 1e-6 currency."""
    vertices: list[Integers]
    """Assignments of the component, shape (n,) each, largest weight first."""
    weights: Doubles
    """Their weights, which add up to 1."""


class ScenarioComponent:
    """A pool component whose SIMs have their expected cost on unpooled plans.

    Args:
        bills: the fleet in canonical order.
        component: one of its pool components; its unpooled costs are replaced.
    """

    def __init__(self, bills: ScenarioBills, component: PoolComponent) -> None:
        self.bills, self.component = bills, component
        self.share = bills.weight / bills.whole
        """Weight of each scenario as a share of all, shape (S,)."""
        component.unpooled_cost[:], component.unpooled_plan[:] = NOT_ELIGIBLE, NONE
        plans = np.flatnonzero(bills.model.rate_plans.pool == NONE).tolist()
        for at in chunks(len(component.rows)):
            rows = component.rows[at]
            usage = bills.usage(rows)
            best = component.unpooled_cost[at]
            for plan in plans:
                cost = self.expected_own(plan, at, bills.own_totals(rows, plan, usage))
                component.unpooled_plan[at][cost < best] = plan
                np.minimum(best, cost, out=best)

    def expected_own(self, plan: int, at: slice | Integers, totals: Integers) -> Doubles:
        """Return the expected own cost of SIMs with the price per change, shape (m,), NOT_ELIGIBLE where it is not.

        Args:
            plan: index of the plan.
            at: positions of the SIMs.
            totals: the weighted sum of their own costs over the scenarios, shape (m,).
        """
        component, model = self.component, self.bills.model
        rows = component.rows[at]
        cost = totals / self.bills.whole
        if component.change_price:
            current = model.devices.current_rate_plan[rows]
            cost += np.where(model.can_keep_plan(rows) & (current != plan), component.change_price, 0)
        cost[~model.eligible[:, plan][model.group[rows]]] = NOT_ELIGIBLE
        return np.asarray(cost)

    def costs_at(self, price: Doubles, at: slice | Integers) -> Doubles:
        """Return the cost of every plan at the prices, shape (m, P), 1e-6 currency; about NOT_ELIGIBLE where it is not.

        Args:
            price: of each pool and scenario, shape (K, S), currency per MB.
            at: positions of the SIMs.
        """
        component, model = self.component, self.bills.model
        rows, share = component.rows[at], self.share
        mean = price @ share
        usage = self.bills.usage(rows)
        data = _data_costs(usage.astype(np.float64), price * share)
        costs = np.empty((len(rows), len(model.rate_plans)))
        for plan in range(len(model.rate_plans)):
            costs[:, plan] = self.expected_own(plan, at, self.bills.own_totals(rows, plan, usage))
            pool = int(component.pool_of_plans[plan])
            if pool != NONE:
                included = model.included[model.tariff[rows], plan]
                costs[:, plan] += data[pool] - mean[pool] * included
        return costs


def scenario_components(bills: ScenarioBills, change_price: int) -> Iterator[ScenarioComponent]:
    """Yield the pool components of the fleet (in canonical order) at a price per change, 1e-6 currency."""
    for component in pool_components(bills.model, change_price):
        yield ScenarioComponent(bills, component)


def chunks(count: int) -> Iterator[slice]:
    """Yield ranges of `CHUNK_ROWS` numbers below ``count``."""
    for first in range(0, count, CHUNK_ROWS):
        yield slice(first, min(first + CHUNK_ROWS, count))


class ScenarioBound:
    """The dual bound of the first SIMs of a component, which represent all of it.

    Args:
        component: the pool component.
        size: number of SIMs; the canonical order makes them a fair sample.
    """

    def __init__(self, component: ScenarioComponent, size: int) -> None:
        self._component, self._size = component, size
        self._weight = len(component.component.rows) / size
        self._assignments: dict[bytes, Indices] = {}
        # A copy in the order of the search. Of a large fleet it is half as large as the input, and precise enough.
        kind = np.float64 if size < 4 * SAMPLE_SIZE else np.float32
        self._usage = np.empty((size, component.bills.count), dtype=kind)
        for at in chunks(size):
            self._usage[at] = component.bills.usage(component.component.rows[at])

    def bound_and_excess(self, price: Doubles) -> tuple[float, Doubles]:
        """Return the expected bound at the prices, 1e-6 currency, and a supergradient, shape (K, S)."""
        component, share = self._component.component, self._component.share
        cost, plan, included = pool_options(component, price @ share)
        bound, excess = 0.0, np.zeros(price.shape)
        chosen = np.empty(self._size, dtype=index_type(len(component.model.rate_plans)))
        for at in chunks(self._size):
            usage = self._usage[at].astype(np.float64)
            classes, best = component.class_of[at], component.unpooled_cost[at].copy()
            option = np.full(len(usage), NONE)
            for pool, data in enumerate(_data_costs(usage, price * share)):
                costs = cost[:, pool][classes] + data
                option[costs < best] = pool
                np.minimum(best, costs, out=best)
            bound += float(best.sum())
            chosen[at] = np.where(option == NONE, component.unpooled_plan[at], plan[classes, option])
            for pool in range(len(price)):
                inside = (option == pool).astype(np.float64)
                excess[pool] += np.einsum("n,ns->s", inside, usage) - inside @ included[:, pool][classes]
        self._assignments[price.tobytes()] = chosen
        return bound * self._weight, excess * (self._weight * share)

    def assignment(self, price: Doubles) -> Integers:
        """Return the assignment that attains the bound at prices that were evaluated, shape (size,)."""
        return self._assignments[price.tobytes()].astype(np.int64)


def solve_scenario_relaxation(component: ScenarioComponent) -> ScenarioRelaxation:
    """Return the solution of a component's relaxation."""
    inner, scenarios = component.component, component.bills.count
    count, shape = len(inner.rows), (len(inner.pools), scenarios)
    if not inner.pools:
        return ScenarioRelaxation(
            np.zeros(shape), float(inner.unpooled_cost.sum()), [inner.unpooled_plan.copy()], np.ones(1)
        )
    start = np.repeat(inner.highest[:, None] / 2, scenarios, axis=1)
    size = SAMPLE_SIZE if count >= 4 * SAMPLE_SIZE else count
    small = ScenarioBound(component, size)
    best, bound, binding = _cutting_planes(small, inner.highest, [start], SAMPLE_CUTS, TOLERANCE)
    whole = small
    if size < count:
        whole = ScenarioBound(component, count)
        prices = [price for _, price in sorted(binding, key=lambda pair: -pair[0])[:SEED_CUTS]]
        best, bound, binding = _cutting_planes(whole, inner.highest, [best, *prices], LARGE_CUTS, LARGE_TOLERANCE)
    binding.sort(key=lambda pair: -pair[0])
    weights = np.array([weight for weight, _ in binding])
    return ScenarioRelaxation(best, bound, [whole.assignment(price) for _, price in binding], weights / weights.sum())


def _cutting_planes(
    box: ScenarioBound, highest: Doubles, prices: Sequence[Doubles], more: int, tolerance: float
) -> tuple[Doubles, float, list[tuple[float, Doubles]]]:
    """Return the best prices, their bound, and the binding prices with their weights in the master problem.

    Args:
        box: the bound to maximize.
        highest: highest price of each pool, shape (K,), currency per MB.
        prices: prices to begin with, the best first, shape (K, S) each.
        more: largest number of further cuts.
        tolerance: relative gap between the master problem and the best bound at which no further cut is made.
    """
    shape = prices[0].shape
    top = np.repeat(highest, shape[1])
    best, (best_bound, excess) = prices[0], box.bound_and_excess(prices[0])
    master = MasterProblem(np.zeros(len(top)), top, best.reshape(-1), best_bound, excess.reshape(-1))
    for number in range(len(prices) - 1 + more):
        if number < len(prices) - 1:
            price = prices[number + 1]
        else:
            peak, ceiling = master.solve()
            if ceiling - best_bound <= tolerance * abs(best_bound):
                break
            share = STEP_SHARES[number % len(STEP_SHARES)]
            price = best + share * (peak.reshape(shape) - best)
        bound, excess = box.bound_and_excess(price)
        if bound > best_bound:
            best, best_bound = price, bound
        master.add_cut(price.reshape(-1), bound, excess.reshape(-1))
    weights = master.primal_weights(best.reshape(-1))
    binding = [(weight, price.reshape(shape)) for weight, price in weights if weight > MIN_WEIGHT]
    return best, best_bound, binding or [(1.0, best)]


def round_scenarios(component: ScenarioComponent, relaxation: ScenarioRelaxation) -> Integers:
    """Return one assignment near the relaxation's combination of assignments, shape (n,).

    SIMs whose plan differs between the assignments are sorted by these plans and by usage, and divided among them by
    the golden-ratio low-discrepancy sequence.
    """
    chosen = relaxation.vertices[0].copy()
    differs = np.zeros(len(chosen), dtype=np.bool_)
    for vertex in relaxation.vertices[1:]:
        differs |= vertex != chosen
    rows = np.flatnonzero(differs)
    if len(rows):
        choices = np.stack([vertex[rows] for vertex in relaxation.vertices])
        sequence = np.lexsort((component.component.usage[rows], pattern_of(choices)))
        share = np.empty(len(rows))
        share[sequence] = (0.5 + GOLDEN * np.arange(len(rows))) % 1.0
        take = np.searchsorted(np.cumsum(relaxation.weights)[:-1], share, side="right")
        chosen[rows] = choices[take, np.arange(len(rows))]
    return chosen


def _data_costs(usage: Doubles, price: Doubles) -> Doubles:
    """Return the expected cost of each SIM's usage at the weighted prices of each pool, shape (K, m)."""
    # einsum sums in one order whatever the number of threads, which a BLAS does not promise.
    return np.asarray(np.einsum("ns,ks->kn", usage, price))
