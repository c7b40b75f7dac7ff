"""The bound of a part at given prices, evaluated as fast as the prices are near to each other.

Within a box of prices most SIMs keep their plan, or at least their pool: those are summed up by class. SIMs that change
only from pool to pool are sorted by class and usage: an arm (the cheapest plan of a pool) costs a class `cost + price x
usage`, a line, so that each arm takes one stretch of the sorted usage, and a binary search takes the place of a pass.
Only SIMs for which a pool competes with an unpooled plan, whose cost is a staircase, are looked at one by one.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np

from amop.optimization.classes import BLOCK, Doubles, Part
from amop.optimization.model import NONE, Integers

NOBODY = np.zeros(0, dtype=np.int64)


def cheapest_arms(part: Part, at: Integers, price: Doubles) -> Integers:
    """Return the pool of the cheapest plan of SIMs at these positions, shape (m,); -1 for an unpooled plan."""
    cost = offers(part, price)[0]
    arms = np.empty(len(at), dtype=np.int64)
    for first in range(0, len(at), BLOCK):
        block = at[first : first + BLOCK]
        arms[first : first + BLOCK] = cheapest_arm(
            part.unpooled_cost[block], part.class_of[block], part.usage[block], price, cost
        )[1]
    return arms


def offers(part: Part, price: Doubles) -> tuple[Doubles, Integers, Doubles]:
    """Return for each class and pool: least cost of its plans at no usage, that plan, and its included data."""
    every = np.arange(len(part.own))
    shape = len(part.own), len(part.pools)
    cost, plan, included = np.empty(shape, order="F"), np.empty(shape, np.int64, "F"), np.empty(shape, order="F")
    for pool, plans in enumerate(part.plans_of_pool):
        costs = part.own[:, plans] - part.included[:, plans] * price[pool]
        plan[:, pool] = plans[costs.argmin(axis=1)]
        cost[:, pool] = costs.min(axis=1)
        included[:, pool] = part.included[every, plan[:, pool]]
    return cost, plan, included


def cheapest_arm(
    unpooled: Doubles, classes: Integers, usage: Doubles, price: Doubles, cost: Doubles
) -> tuple[Doubles, Integers]:
    """Return each SIM's least cost at these prices, and the pool that has it, -1 for an unpooled plan."""
    best, arm = unpooled.copy(), np.full(len(usage), NONE, dtype=np.int64)
    for pool in range(len(price)):
        costs = cost[:, pool][classes]
        costs += price[pool] * usage
        arm[costs < best] = pool
        np.minimum(best, costs, out=best)
    return best, arm


class Undecided:
    """The bound of some SIMs within a box of prices.

    Args:
        part: where the SIMs are.
        at: their positions in the part.
        weight: how many SIMs each of them stands for; None = one.
    """

    at: Integers
    """Positions of the SIMs whose pool is not the same in all of the box."""
    low: Doubles
    """The box, shapes (K,)."""
    high: Doubles

    def __init__(self, part: Part, at: Integers, weight: Doubles | None = None) -> None:
        self.part, self.at = part, at
        self.low, self.high = np.zeros(len(part.pools)), part.highest
        self._single, self._weight = at, weight
        self._class_of, self._usage, self._unpooled = part.class_of[at], part.usage[at], part.unpooled_cost[at]
        self._sorted: SortedUsage | None = None
        self._decided_cost = 0.0
        self._decided_usage = np.zeros(len(part.pools))
        self._decided = np.zeros((len(part.own), len(part.pools)), order="F")

    @property
    def is_quick(self) -> bool:
        """Return True where a pass over SIMs takes no longer than what there is for each class and pool."""
        return len(self._single) <= len(self.part.own)

    def hold(self, cost: Integers, excess: Integers, pool: Integers) -> None:
        """Add SIMs that are held on plans: what they cost by themselves, their excess and their pool, shapes (m,)."""
        self._decided_cost += float(cost.sum())
        for number in range(len(self._decided_usage)):
            self._decided_usage[number] += float(excess[pool == number].sum())

    def bound_and_excess(self, price: Doubles) -> tuple[float, Doubles]:
        """Return the bound at these prices and the pools' excess of an assignment that attains it."""
        cost, _, included = offers(self.part, price)
        counts, usages = self._decided, self._decided_usage
        if self._sorted is not None:
            more, used = self._sorted.divided(price, cost)
            counts, usages = counts + more, usages + used
        best, arm = cheapest_arm(self._unpooled, self._class_of, self._usage, price, cost)
        bound = self._decided_cost + float(usages @ price) + float((counts * cost).sum()) + self._total(best)
        excess = usages - (counts * included).sum(axis=0)
        for pool in range(len(price)):
            inside = np.flatnonzero(arm == pool)
            excess[pool] += self._total(self._usage[inside] - included[:, pool][self._class_of[inside]], inside)
        return bound, excess

    def _total(self, values: Doubles, inside: Integers | slice = slice(None)) -> float:
        return float(values.sum() if self._weight is None else values @ self._weight[inside])

    def within(self, low: Doubles, middle: Doubles, high: Doubles) -> Undecided:
        """Return the same bound, valid within a box: SIMs whose cheapest arm at the middle stays so are summed up.

        An arm's cost is concave in its price: it is lowest at an end of the box, and never above the line of the plan
        that is cheapest at the middle.
        """
        at_middle, _, included = offers(self.part, middle)
        ends = (low, offers(self.part, low)[0]), (high, offers(self.part, high)[0])
        counts, usages, cost = np.zeros_like(self._decided), np.zeros_like(self._decided_usage), 0.0
        left, pooled = [NOBODY], [NOBODY]
        for first in range(0, len(self._single), BLOCK):
            block = slice(first, first + BLOCK)
            classes, usage, unpooled = self._class_of[block], self._usage[block], self._unpooled[block]
            best, arm = cheapest_arm(unpooled, classes, usage, middle, at_middle)
            most, other = best.copy(), np.where(arm == NONE, np.inf, unpooled)
            for pool in range(len(middle)):
                lowest = np.minimum(*(at_end[:, pool][classes] + price[pool] * usage for price, at_end in ends))
                mine = np.flatnonzero(arm == pool)
                slope = usage[mine] - included[:, pool][classes[mine]]
                most[mine] += np.maximum(slope * (low[pool] - middle[pool]), slope * (high[pool] - middle[pool]))
                lowest[mine] = np.inf
                np.minimum(other, lowest, out=other)
            is_decided = most < other
            weight = np.ones(len(usage)) if self._weight is None else self._weight[block]
            for pool in range(len(middle)):
                mine = np.flatnonzero(is_decided & (arm == pool))
                counts[:, pool] += np.bincount(classes[mine], weight[mine], minlength=len(counts))
                usages[pool] += usage[mine] @ weight[mine]
            mine = np.flatnonzero(is_decided & (arm == NONE))
            cost += float(unpooled[mine] @ weight[mine])
            is_pooled = ~is_decided & (arm != NONE) & (most < unpooled)
            pooled.append(first + np.flatnonzero(is_pooled))
            left.append(first + np.flatnonzero(~is_decided & ~is_pooled))
        inside = self._rest(np.concatenate(left), np.concatenate(pooled))
        inside.low, inside.high = low, high
        inside._decided_cost = self._decided_cost + cost
        inside._decided_usage, inside._decided = self._decided_usage + usages, self._decided + counts
        return inside

    def without(self, sim: int) -> Undecided:
        """Return the same bound without one of the SIMs, none that is decided to be unpooled."""
        rest = copy(self)
        rest._decided, rest._decided_usage = self._decided.copy(), self._decided_usage.copy()
        rest.at = self.at[self.at != sim]
        keep = self._single != sim
        if len(rest.at) == len(self.at):  # its pool is decided, its plan within the pool may not be
            pool = cheapest_arms(self.part, np.array([sim]), self.low)[0]
            rest._decided[self.part.class_of[sim], pool] -= 1
            rest._decided_usage[pool] -= self.part.usage[sim]
        elif keep.all() and self._sorted is not None:
            rest._sorted = self._sorted.without(self.part, sim)
        rest._single, rest._class_of, rest._usage, rest._unpooled = (
            values[keep] for values in (self._single, self._class_of, self._usage, self._unpooled)
        )
        return rest

    def _rest(self, left: Integers, pooled: Integers) -> Undecided:
        """Return what is not decided: SIMs to look at one by one, and others that only change from pool to pool."""
        part, found = self.part, None
        if self._weight is None and self._sorted is None and len(pooled) > len(part.own):
            found = SortedUsage.of(part, self._single[pooled])
        if found is None:
            left = np.sort(np.concatenate((left, pooled)))
        rest = Undecided(part, self._single[left], None if self._weight is None else self._weight[left])
        rest._sorted = self._sorted if found is None else found
        if rest._sorted is not None:
            rest.at = np.concatenate((rest._single, rest._sorted.at))
        return rest


@dataclass(frozen=True, slots=True)
class SortedUsage:
    """SIMs that are on a pooled plan whatever the prices are, sorted by class and usage."""

    at: Integers
    """Their positions in the part, in no order."""
    span: int
    """Above every usage."""
    key: Integers
    """Class x span + usage, sorted, shape (m,)."""
    total: Integers
    """Usage of the first 0 ... m SIMs, 1e-6 MB, shape (m + 1,)."""
    start: Integers
    """Where each class begins, shape (C + 1,)."""

    @classmethod
    def of(cls, part: Part, at: Integers) -> SortedUsage | None:
        """Return the SIMs at some positions of a part sorted, None where class and usage do not fit into 64 bits."""
        classes, usage = part.class_of[at], part.usage[at].astype(np.int64)
        span, count = int(usage.max()) + 1, len(part.own)
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

    def without(self, part: Part, sim: int) -> SortedUsage:
        """Return the others than one of the SIMs."""
        key = int(part.class_of[sim]) * self.span + int(part.usage[sim])
        others = np.delete(self.key, np.searchsorted(self.key, key))
        return self._of_keys(self.at[self.at != sim], self.span, others, len(part.own))

    def divided(self, price: Doubles, cost: Doubles) -> tuple[Doubles, Doubles]:
        """Return how many SIMs of each class each arm is cheapest for, shape (C, K), and the usage on each, shape (K,).

        Args:
            price: of the data of each pool, shape (K,).
            cost: of the arms at no usage, shape (C, K).
        """
        arms = np.argsort(-price, kind="stable")  # the dearer the data, the less of it an arm is cheapest for
        edges = np.empty((len(arms) + 1, len(cost)), dtype=np.int64)
        edges[0], edges[-1] = self.start[:-1], self.start[1:]
        below = self.span * np.arange(len(cost))
        crossing = [[_crossing(price, cost, i, j) for j in arms[n + 1 :]] for n, i in enumerate(arms)]
        for split in range(1, len(arms)):
            # Up to this usage the best of the first arms is not dearer than the best of the others.
            nearest = [np.minimum.reduce(crossing[n][split - 1 - n :]) for n in range(split)]
            usage = np.clip(np.maximum.reduce(nearest), -1.0, self.span - 1.0)
            edges[split] = np.searchsorted(self.key, below + np.floor(usage).astype(np.int64), side="right")
        np.maximum.accumulate(edges, axis=0, out=edges)
        counts, usages = np.zeros(cost.shape, order="F"), np.zeros(len(price))
        for number, arm in enumerate(arms):
            counts[:, arm] = edges[number + 1] - edges[number]
            usages[arm] = float((self.total[edges[number + 1]] - self.total[edges[number]]).sum())
        return counts, usages


def _crossing(price: Doubles, cost: Doubles, dear: int, cheap: int) -> Doubles:
    """Return the usage, for each class, above which the arm of cheaper data costs less; shape (C,)."""
    difference = cost[:, cheap] - cost[:, dear]
    if price[dear] > price[cheap]:
        return np.asarray(difference / (price[dear] - price[cheap]))
    return np.where(difference < 0, -np.inf, np.inf)
