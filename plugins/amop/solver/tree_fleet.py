"""A pool component as the tree search sees it: kinds of duplicate SIMs, and their cheapest assignments at prices.

A kind is either explicit, with a variable for its number of SIMs on each plan, or part of a block of kinds. Blocks are
evaluated at prices as a whole: the cheapest assignment of a block is a column of the master problem (`tree_master`).
Money is in currency here and data in MB, so that the numbers of the linear programs are of ordinary size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amop.solver.components import NOT_ELIGIBLE, Doubles, PoolComponent
from amop.solver.model import MICRO, NONE, Flags, Indices, Integers, index_type

MAX_BLOCKS = 24
"""Blocks that the comm groups of a component are divided into; more blocks need fewer columns, and larger programs."""
FIRST_EXPLICIT = 64
"""Kinds of the largest usage that are explicit from the beginning."""


@dataclass(slots=True)
class Column:
    """The cheapest assignment of a block at some prices."""

    block: int
    choice: Indices
    """Index in `TreeFleet.plans` of the plan of every kind of the component, shape (n,); other blocks' included."""
    cost: float
    """Own cost of the block's SIMs, currency."""
    excess: Doubles
    """Their usage less allowance by pool, shape (K,), MB."""
    count: Doubles
    """Their number by plan, shape (J,)."""


class TreeFleet:
    """The n kinds of a component, its J eligible plans and K pools.

    Args:
        component: the pool component.
        min_stake: kinds whose data cannot cost as much as this, in currency, are not explicit from the beginning.
    """

    plans: Integers
    """Index of each plan in the model, shape (J,)."""
    pool: Integers
    """Index of each plan's pool in the component, shape (J,); -1 for none."""
    kind_of: Integers
    """Kind of each SIM of the component."""
    first: Integers
    """Position of one SIM of each kind, shape (n,)."""
    count: Doubles
    """SIMs of each kind, shape (n,)."""
    cost: Doubles
    """Own cost by plan and kind, shape (J, n), currency; above `TreeFleet.infinite` where it is not eligible."""
    excess: Doubles
    """Usage less allowance by plan and kind, shape (J, n), MB; 0 on plans that are not pooled."""
    block_of: Integers
    """Block of each kind, shape (n,)."""
    explicit: Integers
    """The explicit kinds, in the order in which they became explicit."""
    infinite = NOT_ELIGIBLE / MICRO / 2

    def __init__(self, component: PoolComponent, min_stake: float) -> None:
        self.component = component
        model, rows = component.model, component.rows
        keys = np.stack([component.class_of, model.devices.usage_micro_mb[rows]], axis=1)
        _, first, kind, count = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
        self.first, self.kind_of, self.count = first, kind.reshape(-1), count.astype(np.float64)
        self.plans = np.flatnonzero((component.own < NOT_ELIGIBLE / 2).any(axis=0))
        self.pool = component.pool_of_plans[self.plans]
        self.rate, self.block_mb = model.pool_rate[component.pools] / MICRO, model.pool_block[component.pools] / MICRO
        shape, no_price = (len(self.plans), len(first)), np.zeros(len(component.pools))
        self.cost, self.excess = np.empty(shape), np.zeros(shape)
        for row, plan in enumerate(self.plans):
            self.cost[row] = component.plan_costs(int(plan), no_price, first) / MICRO
            if self.pool[row] != NONE:
                self.excess[row] = component.usage[first] - component.included[:, plan][component.class_of[first]]
        self.excess /= MICRO
        self.usage = component.usage[first] / MICRO
        self.usual = np.nanmedian(np.where(self.cost < self.infinite, self.cost, np.nan), axis=1)
        _, group = np.unique(model.group[rows][first], return_inverse=True)
        self.block_of = group.reshape(-1) % MAX_BLOCKS
        self.blocks = int(self.block_of.max()) + 1
        self._is_explicit = np.zeros(len(first), dtype=np.bool_)
        self.explicit = np.zeros(0, dtype=np.int64)
        largest = np.argsort(-component.usage[first], kind="stable")[:FIRST_EXPLICIT]
        highest = np.append(component.highest, 0.0)[self.pool]
        data_cost = (np.abs(self.excess[:, largest]) * highest[:, None] * self.is_eligible(largest)).max(axis=0)
        self.make_explicit(largest[data_cost > min_stake])

    def is_eligible(self, kinds: Integers) -> Flags:
        """Return which plans some kinds may have, shape (J, m)."""
        return self.cost[:, kinds] < self.infinite

    def costs_at(self, price: Doubles, charge: Doubles, kinds: Integers) -> Doubles:
        """Return the cost of some kinds at prices, shape (J, m), currency.

        Args:
            price: of each pool's data, shape (K,), currency per MB.
            charge: for a SIM on each plan, shape (J,), currency.
            kinds: the kinds.
        """
        unit = np.append(price, 0.0)[self.pool]
        return np.asarray(self.cost[:, kinds] + charge[:, None] + unit[:, None] * self.excess[:, kinds])

    def stakes(self, price: Doubles, kinds: Integers) -> Doubles:
        """Return the part of each cost at prices that depends on the SIM, not on the plan, shape (J, m), currency."""
        unit = np.append(price, 0.0)[self.pool]
        cost = np.where(self.is_eligible(kinds), np.abs(self.cost[:, kinds] - self.usual[:, None]), 0.0)
        return np.asarray(cost + unit[:, None] * self.usage[kinds])

    def make_explicit(self, kinds: Integers) -> None:
        """Take kinds out of their blocks; columns that were made before still include them."""
        self.explicit = np.concatenate((self.explicit, kinds))
        self._is_explicit[kinds] = True
        implicit = np.flatnonzero(~self._is_explicit)
        self._implicit, self._implicit_block = implicit, self.block_of[implicit]
        self._cost, self._excess = self.cost[:, implicit], self.excess[:, implicit]
        self._count = self.count[implicit]

    def evaluate(self, price: Doubles, charge: Doubles) -> tuple[float, list[Column]]:
        """Return the least cost of all blocks at prices, currency, and a column for each block."""
        unit = np.append(price, 0.0)[self.pool]
        costs = self._cost + charge[:, None]
        for row in np.flatnonzero(unit):
            costs[row] += unit[row] * self._excess[row]
        chosen = costs.argmin(axis=0)
        at = np.arange(len(chosen))
        value = float(costs[chosen, at] @ self._count)
        plans = len(self.plans)
        key, size = self._implicit_block * plans + chosen, self.blocks * plans
        cost = np.bincount(key, self._count * self._cost[chosen, at], minlength=size).reshape(-1, plans)
        data = np.bincount(key, self._count * self._excess[chosen, at], minlength=size).reshape(-1, plans)
        count = np.bincount(key, self._count, minlength=size).reshape(-1, plans)
        excess = np.zeros((self.blocks, len(price)))
        for row in np.flatnonzero(self.pool != NONE):
            excess[:, self.pool[row]] += data[:, row]
        choice = np.zeros(len(self.first), dtype=index_type(plans))
        choice[self._implicit] = chosen
        columns = [
            Column(block, choice, float(cost[block].sum()), excess[block], count[block]) for block in range(self.blocks)
        ]
        return value, columns

    def without_kinds(self, column: Column, kinds: Integers) -> Column:
        """Return a column without some kinds of its block, which have become explicit."""
        kinds = kinds[self.block_of[kinds] == column.block]
        if not len(kinds):
            return column
        chosen = column.choice[kinds]
        excess, count = column.excess.copy(), column.count.copy()
        weight = self.count[kinds]
        np.subtract.at(count, chosen, weight)
        pooled = self.pool[chosen] != NONE
        data = (weight * self.excess[chosen, kinds])[pooled]
        np.subtract.at(excess, self.pool[chosen][pooled], data)
        cost = column.cost - float(weight @ self.cost[chosen, kinds])
        return Column(column.block, column.choice, cost, excess, count)
