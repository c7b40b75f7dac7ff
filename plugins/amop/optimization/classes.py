"""The search's view of a part of the fleet: SIMs in classes that cost alike, in double precision.

SIMs of one comm group that are billed for the same days and SMS cost the same on every pooled plan and at any price of
data, usage aside: `own[class, plan] + price x (usage - included[class, plan])`. Which plan of a pool is cheapest for a
SIM therefore depends on its class only. Unpooled plans depend on usage but not on prices: the cheapest one is found
once for each SIM. Doubles are good enough to search; what is found is billed and bounded in integers (`bill`,
`certificate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amop.optimization.bill import CostModel, exact_sum, sums_by
from amop.optimization.model import NONE, Flags, Integers, largest

Doubles = npt.NDArray[np.float64]

BLOCK = 65_536
"""SIMs worked on at once, so that arrays in between stay in the processor's cache."""
NOT_ELIGIBLE = 1e18
"""Cost of a plan that a SIM may not have: above every cost, and 0 x it is 0."""


@dataclass(slots=True)
class Part:
    """n SIMs in C classes that share K pools with nobody else; money in 1e-6 currency, data in 1e-6 MB."""

    model: CostModel
    rows: Integers
    """Rows of the model, shape (n,)."""
    class_of: Integers
    """Shape (n,)."""
    usage: Doubles
    """Shape (n,)."""
    own: Doubles
    """Shape (C, P): cost on the plan without overage, with the price of a change; NOT_ELIGIBLE for a forbidden plan."""
    included: Doubles
    """Shape (C, P)."""
    pools: list[int]
    """The model's numbers of the K pools."""
    plans_of_pool: list[Integers]
    unpooled_cost: Doubles
    """Cost on the cheapest unpooled plan, shape (n,); NOT_ELIGIBLE = there is none."""
    unpooled_plan: Integers
    change_price: int
    """1e-6 currency for each SIM that leaves a present plan that it may keep."""

    @property
    def highest(self) -> Doubles:
        """Overage rate / block of each pool, shape (K,), 1e-6 currency for each 1e-6 MB."""
        return np.asarray(self.model.pool_rate[self.pools] / self.model.pool_block[self.pools])

    def plan_costs(self, plan: int, price: Doubles, at: Integers | slice = slice(None)) -> Doubles:
        """Return the cost of a plan at these prices for SIMs of the part; NOT_ELIGIBLE where it is forbidden."""
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
        """Return what SIMs of the part cost on plans by themselves, with the price of a change, shape (m,)."""
        cost = self.model.own_costs(self.rows[position], plan)
        return cost + self.change_price * self.is_change(position, plan) if self.change_price else cost

    def pool_excess(self, chosen: Integers) -> Integers:
        """Return usage less allowance of each of the K pools when the part's SIMs are on these plans, 1e-6 MB."""
        pool, excess = self.pool_of_plans[chosen], self.exact_excess(np.arange(len(chosen)), chosen)
        return np.array(sums_by(pool, excess, len(self.pools)), dtype=np.int64)

    def bill(self, chosen: Integers) -> int:
        """Return the bill of the part's SIMs on these plans, with the price of changes, 1e-6 currency."""
        pairs = zip(self.pools, self.pool_excess(chosen), strict=True)
        overage = sum(self.model.overage_cost(pool, int(excess)) for pool, excess in pairs)
        return exact_sum(self.exact_costs(np.arange(len(chosen)), chosen)) + overage

    def exact_excess(self, position: Integers, plan: Integers) -> Integers:
        """Return usage less allowance of SIMs of the part on plans, shape (m,), 1e-6 MB."""
        return self.model.excess(self.rows[position], plan)

    def is_change(self, position: Integers, plan: Integers) -> Flags:
        """Return whether SIMs would leave a present plan that they could keep for these plans, shape (m,)."""
        rows = self.rows[position]
        current = self.model.devices.current_rate_plan[rows]
        may_stay = (current != NONE) & self.model.eligible[self.model.group[rows], np.maximum(current, 0)]
        return np.asarray(may_stay & (current != plan))

    def _overage(self, plan: int, classes: Integers, usage: Doubles) -> Doubles:
        plans = self.model.rate_plans
        over = np.maximum(0.0, usage - self.included[:, plan][classes])
        return np.asarray(np.ceil(over / plans.block_micro_mb[plan]) * plans.overage_rate[plan])

    def _find_unpooled(self) -> None:
        for plan in np.flatnonzero(self.model.rate_plans.pool == NONE):
            if (self.own[:, plan] >= NOT_ELIGIBLE).all():
                continue
            for first in range(0, len(self.rows), BLOCK):
                at = slice(first, first + BLOCK)
                cost, best = self.plan_costs(int(plan), np.zeros(0), at), self.unpooled_cost[at]
                self.unpooled_plan[at][cost < best] = plan
                np.minimum(best, cost, out=best)


def parts_of(model: CostModel, change_price: int = 0) -> Iterator[Part]:
    """Yield the parts of the fleet that share no pool with each other; SIMs without an eligible plan are in none.

    Args:
        model: the whole fleet, in canonical order.
        change_price: added for each SIM that leaves a present plan that it may keep, 1e-6 currency.
    """
    part_of_group = _parts_of_groups(model)
    rows = np.flatnonzero(model.has_eligible)
    if not len(rows):
        return
    if largest(part_of_group) == 0:
        yield _part(model, rows, np.arange(len(part_of_group)), change_price)
        return
    part_of_row = part_of_group[model.group[rows]]
    rows = rows[np.argsort(part_of_row, kind="stable")]
    sizes = np.bincount(part_of_row, minlength=largest(part_of_group) + 1)
    for number, members in enumerate(np.split(rows, np.cumsum(sizes)[:-1])):
        if len(members):
            yield _part(model, members, np.flatnonzero(part_of_group == number), change_price)


def _parts_of_groups(model: CostModel) -> Integers:
    """Return the part of each comm group: those that can meet in a pool are in one; those without pools in part 0."""
    part = np.full(len(model.eligible), NONE, dtype=np.int64)
    uses = np.zeros((len(part), model.pool_count), dtype=np.bool_)
    for group in range(len(part)):
        pools = model.pool[group][model.eligible[group]]
        uses[group, pools[pools != NONE]] = True
    alone = ~uses.any(axis=1)
    part[alone] = 0
    count = int(alone.any())
    for group in range(len(part)):
        if part[group] != NONE:
            continue
        reached = uses[group].copy()
        while True:
            members = uses[:, reached].any(axis=1)
            wider = uses[members].any(axis=0)
            if (wider == reached).all():
                break
            reached = wider
        part[members], count = count, count + 1
    return part


def _part(model: CostModel, rows: Integers, groups: Integers, change_price: int) -> Part:
    eligible = np.zeros(len(model.rate_plans), dtype=np.bool_)
    for group in groups:
        eligible |= model.eligible[group]
    pool_of = model.pool[groups[0]]
    pools = sorted({int(pool) for pool in pool_of[eligible] if pool != NONE})
    class_of, own, included = _class_tables(model, rows, change_price)
    part = Part(
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
    part._find_unpooled()
    return part


def _class_tables(model: CostModel, rows: Integers, change_price: int) -> tuple[Integers, Doubles, Doubles]:
    """Return the class of each SIM, and own cost and included data of each class and plan."""
    plans = model.rate_plans
    sms = model.devices.sms_usage[rows]
    columns = [model.group[rows], model.billed_days[rows], sms]
    if change_price:
        columns.append(np.where(model.may_stay()[rows], model.devices.current_rate_plan[rows], NONE) + 1)
    class_of, (group, days, sms, *current) = _distinct(columns)
    own = model.charge[days] + sms[:, None] * plans.sms_rate.astype(np.float64)
    if current:
        stays = current[0][:, None] - 1
        own += np.where((stays != NONE) & (stays != np.arange(len(plans))), change_price, 0.0)
    return class_of, np.where(model.eligible[group], own, NOT_ELIGIBLE), model.included[days].astype(np.float64)


def _distinct(columns: list[Integers]) -> tuple[Integers, list[Integers]]:
    """Return for each row the number of its combination of values, and the combinations, each shape (C,)."""
    sizes = [int(column.max()) + 1 for column in columns]
    if float(np.prod([float(size) for size in sizes])) < 2.0**62:
        key = columns[0]
        for column, size in zip(columns[1:], sizes[1:], strict=True):
            key = key * size + column
        if (span := int(np.prod([int(size) for size in sizes]))) <= 4 * len(key) + 100_000:
            present = np.zeros(span, dtype=np.int64)
            present[key] = 1
            keys, number = np.flatnonzero(present), np.cumsum(present) - 1
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
