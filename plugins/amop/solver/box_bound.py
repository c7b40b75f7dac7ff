"""The dual bound at given prices, evaluated fast for prices within a box.

A pool option of a SIM is the cheapest plan of one pool at the prices. Within a small box of prices most SIMs keep their
pool option, or their unpooled plan: they are decided, and summed up by cost class. SIMs that only change between pool
options are sorted by class and usage. There each option costs `cost + price x usage`, a line in the usage, so that the
options of a class split its sorted SIMs into ranges, which binary search finds (the lower envelope of the lines). Only
SIMs for which a pool option competes with an unpooled plan, whose cost is a step function, are scanned one by one.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np

from amop.solver.components import Doubles, PoolComponent
from amop.solver.model import CHUNK_ROWS, NONE, Integers

NO_ROWS = np.zeros(0, dtype=np.int64)
"""The empty set of SIMs."""


def cheapest_pool_options(component: PoolComponent, at: Integers, price: Doubles) -> Integers:
    """Return the pool of the cheapest plan of SIMs at some positions, shape (m,), int64; -1 for an unpooled plan."""
    cost = pool_options(component, price)[0]
    options = np.empty(len(at), dtype=np.int64)
    for first in range(0, len(at), CHUNK_ROWS):
        block = at[first : first + CHUNK_ROWS]
        options[first : first + CHUNK_ROWS] = cheapest_pool_option(
            component.unpooled_cost[block], component.class_of[block], component.usage[block], price, cost
        )[1]
    return options


def pool_options(component: PoolComponent, price: Doubles) -> tuple[Doubles, Integers, Doubles]:
    """Return the pool options of each cost class at the prices.

    Args:
        component: the pool component.
        price: of each pool's data, shape (K,), currency per MB.

    Returns:
        Cost at no usage (1e-6 currency), index of the plan, and its included data (1e-6 MB), each of shape (C, K).
    """
    every = np.arange(len(component.own))
    shape = len(component.own), len(component.pools)
    cost, plan, included = np.empty(shape, order="F"), np.empty(shape, np.int64, "F"), np.empty(shape, order="F")
    for pool, plans in enumerate(component.plans_of_pool):
        costs = component.own[:, plans] - component.included[:, plans] * price[pool]
        plan[:, pool] = plans[costs.argmin(axis=1)]
        cost[:, pool] = costs.min(axis=1)
        included[:, pool] = component.included[every, plan[:, pool]]
    return cost, plan, included


def cheapest_pool_option(
    unpooled: Doubles, classes: Integers, usage: Doubles, price: Doubles, cost: Doubles
) -> tuple[Doubles, Integers]:
    """Return each SIM's least cost at the prices, shape (m,), and its pool, shape (m,), -1 for an unpooled plan.

    Args:
        unpooled: cost on the cheapest unpooled plan, shape (m,), 1e-6 currency.
        classes: cost class, shape (m,).
        usage: shape (m,), 1e-6 MB.
        price: of each pool's data, shape (K,), currency per MB.
        cost: of the pool options at no usage, shape (C, K), 1e-6 currency.
    """
    best, option = unpooled.copy(), np.full(len(usage), NONE, dtype=np.int64)
    for pool in range(len(price)):
        costs = cost[:, pool][classes]
        costs += price[pool] * usage
        option[costs < best] = pool
        np.minimum(best, costs, out=best)
    return best, option


class BoxBound:
    """The dual bound of a set of SIMs, valid for all prices within a box.

    Args:
        component: the pool component.
        at: positions of the SIMs in the component, shape (m,).
        weight: number of SIMs that each of them represents, shape (m,); None = 1.
    """

    at: Integers
    """Positions of the SIMs whose pool option is not the same everywhere in the box."""
    low: Doubles
    """Lowest price of each pool in the box, shape (K,), currency per MB."""
    high: Doubles
    """Highest price of each pool in the box, shape (K,), currency per MB."""

    def __init__(self, component: PoolComponent, at: Integers, weight: Doubles | None = None) -> None:
        self.component, self.at = component, at
        self.low, self.high = np.zeros(len(component.pools)), component.highest
        self._scanned, self._weight = at, weight
        self._class_of, self._usage = component.class_of[at], component.usage[at]
        self._unpooled = component.unpooled_cost[at]
        self._sorted: SortedUsage | None = None
        self._decided_cost = 0.0
        self._decided_usage = np.zeros(len(component.pools))
        self._decided = np.zeros((len(component.own), len(component.pools)), order="F")

    @property
    def is_small(self) -> bool:
        """Return True if scanning the SIMs takes no longer than the work per class and pool."""
        return len(self._scanned) <= len(self.component.own)

    def fix(self, cost: Integers, excess: Integers, pool: Integers) -> None:
        """Add SIMs that are fixed on plans.

        Args:
            cost: their own costs, shape (m,), 1e-6 currency.
            excess: their usage less allowance, shape (m,), 1e-6 MB.
            pool: their pools, shape (m,), -1 for none.
        """
        self._decided_cost += float(cost.sum())
        for number in range(len(self._decided_usage)):
            self._decided_usage[number] += float(excess[pool == number].sum())

    def bound_and_excess(self, price: Doubles) -> tuple[float, Doubles]:
        """Return the bound at the prices, and a supergradient of it.

        Args:
            price: of each pool's data, shape (K,), currency per MB; within the box.

        Returns:
            The bound, 1e-6 currency, and the pools' usage less allowance in an assignment that attains it, shape (K,).
        """
        cost, _, included = pool_options(self.component, price)
        counts, usages = self._decided, self._decided_usage
        if self._sorted is not None:
            more, used = self._sorted.assign(price, cost)
            counts, usages = counts + more, usages + used
        best, option = cheapest_pool_option(self._unpooled, self._class_of, self._usage, price, cost)
        bound = self._decided_cost + float(usages @ price) + float((counts * cost).sum()) + self._total(best)
        excess = usages - (counts * included).sum(axis=0)
        for pool in range(len(price)):
            inside = np.flatnonzero(option == pool)
            excess[pool] += self._total(self._usage[inside] - included[:, pool][self._class_of[inside]], inside)
        return bound, excess

    def _total(self, values: Doubles, inside: Integers | slice = slice(None)) -> float:
        """Return the weighted sum over some of the scanned SIMs."""
        return float(values.sum() if self._weight is None else values @ self._weight[inside])

    def within(self, low: Doubles, middle: Doubles, high: Doubles) -> BoxBound:
        """Return the same bound for a smaller box: SIMs whose cheapest option is the same in all of it are decided.

        The cost of a pool option is concave in the price: in the box it is lowest at an end, and never above the
        tangent at the middle.
        """
        at_middle, _, included = pool_options(self.component, middle)
        ends = (low, pool_options(self.component, low)[0]), (high, pool_options(self.component, high)[0])
        counts, usages, cost = np.zeros_like(self._decided), np.zeros_like(self._decided_usage), 0.0
        scanned, pooled = [NO_ROWS], [NO_ROWS]
        for first in range(0, len(self._scanned), CHUNK_ROWS):
            block = slice(first, first + CHUNK_ROWS)
            classes, usage, unpooled = self._class_of[block], self._usage[block], self._unpooled[block]
            best, option = cheapest_pool_option(unpooled, classes, usage, middle, at_middle)
            most, other = best.copy(), np.where(option == NONE, np.inf, unpooled)
            for pool in range(len(middle)):
                lowest = np.minimum(*(at_end[:, pool][classes] + price[pool] * usage for price, at_end in ends))
                mine = np.flatnonzero(option == pool)
                slope = usage[mine] - included[:, pool][classes[mine]]
                most[mine] += np.maximum(slope * (low[pool] - middle[pool]), slope * (high[pool] - middle[pool]))
                lowest[mine] = np.inf
                np.minimum(other, lowest, out=other)
            is_decided = most < other
            weight = np.ones(len(usage)) if self._weight is None else self._weight[block]
            for pool in range(len(middle)):
                mine = np.flatnonzero(is_decided & (option == pool))
                counts[:, pool] += np.bincount(classes[mine], weight[mine], minlength=len(counts))
                usages[pool] += usage[mine] @ weight[mine]
            mine = np.flatnonzero(is_decided & (option == NONE))
            cost += float(unpooled[mine] @ weight[mine])
            is_pooled = ~is_decided & (option != NONE) & (most < unpooled)
            pooled.append(first + np.flatnonzero(is_pooled))
            scanned.append(first + np.flatnonzero(~is_decided & ~is_pooled))
        inside = self._remaining(np.concatenate(scanned), np.concatenate(pooled))
        inside.low, inside.high = low, high
        inside._decided_cost = self._decided_cost + cost
        inside._decided_usage, inside._decided = self._decided_usage + usages, self._decided + counts
        return inside

    def without(self, sim: int) -> BoxBound:
        """Return the same bound without one of the SIMs (its position); it must not be decided to be unpooled."""
        rest = copy(self)
        rest._decided, rest._decided_usage = self._decided.copy(), self._decided_usage.copy()
        rest.at = self.at[self.at != sim]
        keep = self._scanned != sim
        if len(rest.at) == len(self.at):  # its pool option is decided, its plan within the pool may not be
            pool = cheapest_pool_options(self.component, np.array([sim]), self.low)[0]
            rest._decided[self.component.class_of[sim], pool] -= 1
            rest._decided_usage[pool] -= self.component.usage[sim]
        elif keep.all() and self._sorted is not None:
            rest._sorted = self._sorted.without(self.component, sim)
        rest._scanned, rest._class_of, rest._usage, rest._unpooled = (
            values[keep] for values in (self._scanned, self._class_of, self._usage, self._unpooled)
        )
        return rest

    def _remaining(self, scanned: Integers, pooled: Integers) -> BoxBound:
        """Return the bound of the undecided SIMs: those to scan, and those that only change between pool options."""
        component, found = self.component, None
        if self._weight is None and self._sorted is None and len(pooled) > len(component.own):
            found = SortedUsage.of(component, self._scanned[pooled])
        if found is None:
            scanned = np.sort(np.concatenate((scanned, pooled)))
        rest = BoxBound(component, self._scanned[scanned], None if self._weight is None else self._weight[scanned])
        rest._sorted = self._sorted if found is None else found
        if rest._sorted is not None:
            rest.at = np.concatenate((rest._scanned, rest._sorted.at))
        return rest


@dataclass(frozen=True, slots=True)
class SortedUsage:
    """SIMs that are on a pooled plan at all prices of a box, sorted by class and usage."""

    at: Integers
    """Their positions in the component, unsorted, shape (m,)."""
    span: int
    """A number above every usage, 1e-6 MB."""
    key: Integers
    """Class x span + usage, sorted, shape (m,)."""
    total: Integers
    """Total usage of the first 0 to m SIMs, shape (m + 1,), 1e-6 MB."""
    start: Integers
    """Index of the first SIM of each class, shape (C + 1,)."""

    @classmethod
    def of(cls, component: PoolComponent, at: Integers) -> SortedUsage | None:
        """Return the SIMs at some positions of a component, sorted; None if class and usage do not fit into 62 bits."""
        classes, usage = component.class_of[at], component.usage[at].astype(np.int64)
        span, count = int(usage.max()) + 1, len(component.own)
        if count * span >= 2**62:
            return None
        key = classes * span + usage
        key.sort()
        return cls._of_keys(at, span, key, count)

    @classmethod
    def _of_keys(cls, at: Integers, span: int, key: Integers, count: int) -> SortedUsage:
        start = np.searchsorted(key, span * np.arange(count + 1))
        total = np.concatenate(([0], np.cumsum(key - np.repeat(span * np.arange(count), np.diff(start)))))
        return cls(at, span, key, total, start)

    def without(self, component: PoolComponent, sim: int) -> SortedUsage:
        """Return the set without one SIM, given its position."""
        key = int(component.class_of[sim]) * self.span + int(component.usage[sim])
        others = np.delete(self.key, np.searchsorted(self.key, key))
        return self._of_keys(self.at[self.at != sim], self.span, others, len(component.own))

    def assign(self, price: Doubles, cost: Doubles) -> tuple[Doubles, Doubles]:
        """Assign each SIM to its cheapest pool option.

        Args:
            price: of each pool's data, shape (K,), currency per MB.
            cost: of the pool options at no usage, shape (C, K), 1e-6 currency.

        Returns:
            Number of SIMs by class and option, shape (C, K); total usage of each option, shape (K,), 1e-6 MB.
        """
        options = np.argsort(-price, kind="stable")  # lines of falling slope: the envelope goes through them in order
        edges = np.empty((len(options) + 1, len(cost)), dtype=np.int64)
        edges[0], edges[-1] = self.start[:-1], self.start[1:]
        below = self.span * np.arange(len(cost))
        crossing = [[_crossing(price, cost, i, j) for j in options[n + 1 :]] for n, i in enumerate(options)]
        for split in range(1, len(options)):
            # Up to this usage the cheapest of the first options costs no more than the cheapest of the others.
            nearest = [np.minimum.reduce(crossing[n][split - 1 - n :]) for n in range(split)]
            usage = np.clip(np.maximum.reduce(nearest), -1.0, self.span - 1.0)
            edges[split] = np.searchsorted(self.key, below + np.floor(usage).astype(np.int64), side="right")
        np.maximum.accumulate(edges, axis=0, out=edges)
        counts, usages = np.zeros(cost.shape, order="F"), np.zeros(len(price))
        for number, option in enumerate(options):
            counts[:, option] = edges[number + 1] - edges[number]
            usages[option] = float((self.total[edges[number + 1]] - self.total[edges[number]]).sum())
        return counts, usages


def _crossing(price: Doubles, cost: Doubles, steep: int, flat: int) -> Doubles:
    """Return the usage of each class above which the option of cheaper data costs less, shape (C,), 1e-6 MB."""
    difference = cost[:, flat] - cost[:, steep]
    if price[steep] > price[flat]:
        return np.asarray(difference / (price[steep] - price[flat]))
    return np.where(difference < 0, -np.inf, np.inf)
