"""The search's view of the fleet: connected components of pools, with the SIMs of each in cost classes.

Comm groups that can use the same pool belong to one pool component; components are solved independently. Within a
component, SIMs of one comm group with the same tariff (billed days) and SMS form a cost class. They cost the same on
every pooled plan at any price of data, usage aside: `own[class, plan] + price x (usage - included[class, plan])`. Which
plan of a pool is cheapest for a SIM therefore depends on its class only. Unpooled plans depend on usage but not on
prices: the cheapest one is computed once for each SIM.

Costs here are doubles, which are precise enough to search with; the answer is billed and bounded in integers (`bill`,
`certificate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amop.solver.bill import CostModel, exact_sum, sums_by
from amop.solver.model import CHUNK_ROWS, NONE, Flags, Integers, largest

Doubles = npt.NDArray[np.float64]

NOT_ELIGIBLE = 1e18
"""Cost of a plan that is not eligible: above every real cost, and finite, so that 0 x it is 0."""


@dataclass(slots=True)
class PoolComponent:
    """n SIMs in C cost classes, and the K pools that only they can use; money in 1e-6 currency, data in 1e-6 MB."""

    model: CostModel
    rows: Integers
    """The SIMs' rows in the model, shape (n,), ascending. Their index in this array is their position."""
    class_of: Integers
    """Cost class of each SIM, shape (n,)."""
    usage: Doubles
    """Usage of each SIM, shape (n,)."""
    own: Doubles
    """Own cost plus the price per change by class and plan, shape (C, P); NOT_ELIGIBLE where it is not eligible."""
    included: Doubles
    """Included data by class and plan, shape (C, P)."""
    pools: list[int]
    """The model's indices of the K pools."""
    plans_of_pool: list[Integers]
    """Indices of the eligible plans of each pool, length K."""
    unpooled_cost: Doubles
    """Cost of each SIM on its cheapest unpooled plan, shape (n,); NOT_ELIGIBLE if it has none."""
    unpooled_plan: Integers
    """That plan, shape (n,); -1 if it has none."""
    change_price: int
    """Price of leaving a current plan that the SIM can keep, 1e-6 currency."""

    @property
    def highest(self) -> Doubles:
        """Return the highest price of each pool's data, overage rate / block, shape (K,), currency per MB."""
        return np.asarray(self.model.pool_rate[self.pools] / self.model.pool_block[self.pools])

    def plan_costs(self, plan: int, price: Doubles, at: Integers | slice = slice(None)) -> Doubles:
        """Return the cost of one plan at the prices, shape (m,), 1e-6 currency; NOT_ELIGIBLE where it is not eligible.

        Args:
            plan: index of the plan.
            price: of each pool's data, shape (K,), currency per MB.
            at: positions of the SIMs; all if not given.
        """
        classes, usage = self.class_of[at], self.usage[at]
        cost = self.own[:, plan][classes]
        pool = self.pool_of_plans[plan]
        if pool != NONE:
            return np.asarray(cost + price[pool] * (usage - self.included[:, plan][classes]))
        return np.asarray(cost + self._overage(plan, classes, usage))

    @property
    def pool_of_plans(self) -> Integers:
        """Return which of the K pools each rate plan belongs to, shape (P,); -1 for none."""
        pool_of = np.full(len(self.model.rate_plans), NONE, dtype=np.int64)
        for number, plans in enumerate(self.plans_of_pool):
            pool_of[plans] = number
        return pool_of

    def exact_costs(self, position: Integers, plan: Integers) -> Integers:
        """Return own cost plus the price per change of SIMs on plans, shape (m,), int64, 1e-6 currency."""
        cost = self.model.own_costs(self.rows[position], plan)
        return cost + self.change_price * self.is_change(position, plan) if self.change_price else cost

    def pool_excess(self, chosen: Integers) -> Integers:
        """Return usage less allowance of each pool in an assignment of the component, shape (K,), int64, 1e-6 MB."""
        pool, excess = self.pool_of_plans[chosen], self.exact_excess(np.arange(len(chosen)), chosen)
        return np.array(sums_by(pool, excess, len(self.pools)), dtype=np.int64)

    def bill(self, chosen: Integers) -> int:
        """Return the bill plus the price per change of an assignment of the component, 1e-6 currency."""
        pairs = zip(self.pools, self.pool_excess(chosen), strict=True)
        overage = sum(self.model.overage_cost(pool, int(excess)) for pool, excess in pairs)
        return exact_sum(self.exact_costs(np.arange(len(chosen)), chosen)) + overage

    def exact_excess(self, position: Integers, plan: Integers) -> Integers:
        """Return usage less allowance of SIMs on plans, shape (m,), int64, 1e-6 MB."""
        return self.model.excess(self.rows[position], plan)

    def is_change(self, position: Integers, plan: Integers) -> Flags:
        """Return whether SIMs would leave a current plan that they could keep, shape (m,), bool."""
        rows = self.rows[position]
        return np.asarray(self.model.can_keep_plan(rows) & (self.model.devices.current_rate_plan[rows] != plan))

    def _overage(self, plan: int, classes: Integers, usage: Doubles) -> Doubles:
        """Return the overage of SIMs of some classes on an unpooled plan, shape (m,), 1e-6 currency."""
        plans = self.model.rate_plans
        over = np.maximum(0.0, usage - self.included[:, plan][classes])
        return np.asarray(np.ceil(over / plans.block_micro_mb[plan]) * plans.overage_rate[plan])

    def _find_unpooled(self) -> None:
        """Set the cheapest unpooled plan of each SIM and its cost."""
        for plan in np.flatnonzero(self.model.rate_plans.pool == NONE):
            if (self.own[:, plan] >= NOT_ELIGIBLE).all():
                continue
            for first in range(0, len(self.rows), CHUNK_ROWS):
                at = slice(first, first + CHUNK_ROWS)
                cost, best = self.plan_costs(int(plan), np.zeros(0), at), self.unpooled_cost[at]
                self.unpooled_plan[at][cost < best] = plan
                np.minimum(best, cost, out=best)


def pool_components(model: CostModel, change_price: int = 0) -> Iterator[PoolComponent]:
    """Yield the pool components of the fleet; SIMs without an eligible plan belong to none.

    Args:
        model: the fleet, in canonical order.
        change_price: price of leaving a current plan that the SIM can keep, 1e-6 currency.
    """
    component_of_group = _component_of_groups(model)
    rows = np.flatnonzero(model.has_eligible)
    if not len(rows):
        return
    if largest(component_of_group) == 0:
        yield _component(model, rows, np.arange(len(component_of_group)), change_price)
        return
    component_of_row = component_of_group[model.group[rows]]
    rows = rows[np.argsort(component_of_row, kind="stable")]
    sizes = np.bincount(component_of_row, minlength=largest(component_of_group) + 1)
    for number, members in enumerate(np.split(rows, np.cumsum(sizes)[:-1])):
        if len(members):
            yield _component(model, members, np.flatnonzero(component_of_group == number), change_price)


def _component_of_groups(model: CostModel) -> Integers:
    """Return the component of each comm group, shape (G,); comm groups without pools are in component 0."""
    component = np.full(len(model.eligible), NONE, dtype=np.int64)
    uses = np.zeros((len(component), model.pool_count), dtype=np.bool_)
    for group in range(len(component)):
        pools = model.pool[group][model.eligible[group]]
        uses[group, pools[pools != NONE]] = True
    is_unpooled = ~uses.any(axis=1)
    component[is_unpooled] = 0
    count = int(is_unpooled.any())
    for group in range(len(component)):
        if component[group] != NONE:
            continue
        reached = uses[group].copy()
        while True:
            members = uses[:, reached].any(axis=1)
            wider = uses[members].any(axis=0)
            if (wider == reached).all():
                break
            reached = wider
        component[members], count = count, count + 1
    return component


def _component(model: CostModel, rows: Integers, groups: Integers, change_price: int) -> PoolComponent:
    eligible = model.eligible[groups].any(axis=0)
    pool_of = model.pool[groups[0]]
    pools = sorted({int(pool) for pool in pool_of[eligible] if pool != NONE})
    class_of, own, included = _class_tables(model, rows, change_price)
    component = PoolComponent(
        model=model,
        rows=rows,
        class_of=class_of,
        usage=model.devices.usage_micro_mb[rows].astype(np.float64),
        own=own,
        included=included,
        pools=pools,
        plans_of_pool=[np.flatnonzero(eligible & (pool_of == pool)) for pool in pools],
        unpooled_cost=np.full(len(rows), NOT_ELIGIBLE),
        unpooled_plan=np.full(len(rows), NONE, dtype=np.int64),
        change_price=change_price,
    )
    component._find_unpooled()
    return component


def _class_tables(model: CostModel, rows: Integers, change_price: int) -> tuple[Integers, Doubles, Doubles]:
    """Return the class of each SIM, shape (n,), and own cost and included data by class and plan, shape (C, P)."""
    plans = model.rate_plans
    sms = model.devices.sms_usage[rows]
    columns = [model.group[rows], model.tariff[rows], sms]
    if change_price:
        columns.append(np.where(model.can_keep_plan()[rows], model.devices.current_rate_plan[rows], NONE) + 1)
    class_of, (group, tariff, sms, *current) = _distinct(columns)
    own = model.charge[tariff] + sms[:, None] * plans.sms_rate.astype(np.float64)
    if current:
        stays = current[0][:, None] - 1
        own += np.where((stays != NONE) & (stays != np.arange(len(plans))), change_price, 0.0)
    return class_of, np.where(model.eligible[group], own, NOT_ELIGIBLE), model.included[tariff].astype(np.float64)


def _distinct(columns: list[Integers]) -> tuple[Integers, list[Integers]]:
    """Return the index of each row's combination of values, shape (n,), and the distinct combinations, shape (C,)."""
    sizes = [int(column.max()) + 1 for column in columns]
    if float(np.prod([float(size) for size in sizes])) < 2.0**62:
        key = columns[0]
        for column, size in zip(columns[1:], sizes[1:], strict=True):
            key = key * size + column
        if (span := int(np.prod([int(size) for size in sizes]))) <= 4 * len(key) + 100_000:
            occurs = np.zeros(span, dtype=np.int64)
            occurs[key] = 1
            keys, number = np.flatnonzero(occurs), np.cumsum(occurs) - 1
            class_of = number[key]
        else:
            keys, class_of = np.unique(key, return_inverse=True)
        found = []
        for size in reversed(sizes):
            found.append(keys % size)
            keys = keys // size
        return class_of, found[::-1]
    rows, class_of = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return class_of.reshape(-1), list(rows.T)
