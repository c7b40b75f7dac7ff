"""The order in which plan changes are sent, so that a run that stops early has not made the bill worse.

The bill is simulated change by change, with the overage of every pool in whole blocks. At each step the change that
lowers the bill most is taken. Where each candidate would raise it, a change that costs money and gives a pool allowance
is taken first, the one with the most allowance for the money (at the prices of the proof): the changes that need the
allowance then save. The ceiling is the bill before any change, or the bill after all changes where that is higher. A
change that leads above it is taken only where every remaining change would.

Changes between the same pools are a class. Its candidates are the first ones of a few fixed lists, so that a step costs
as much as the pools have classes, not changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np

from amop.solver.bill import CostModel
from amop.solver.change_effects import ChangeEffects
from amop.solver.components import Doubles
from amop.solver.model import NONE, Integers

MAX_COMPARED = 50_000_000
"""Limit on comparisons of all remaining changes, which are made where the candidates lead above the ceiling: the number
of changes compared in all of them. It takes about a second, and a fleet of 20,000 changes has not needed a tenth."""


@dataclass(frozen=True, slots=True)
class ChangeOrder:
    """An order of plan changes and the saving on the way."""

    order: Integers
    """Numbers of the changes in the order of sending, shape (n,)."""
    saving: Integers
    """Bill before any change less the bill after the first k changes, shape (n + 1,), 1e-6 currency."""


def order_changes(
    model: CostModel, effects: ChangeEffects, before: Integers, price: Sequence[float], most: int | None = None
) -> ChangeOrder:
    """Return the order of sending; ties: the first change of ``effects``.

    Args:
        model: the fleet.
        effects: the changes.
        before: plan of each SIM before any change, shape (N,); -1 for a SIM that is not billed.
        price: price of each pool's data in the proof, length K, currency per MB.
        most: number of changes to order; None = all.
    """
    bill = SimulatedBill(model, effects, model.pool_excess(before))
    remaining = _Remaining(bill, np.asarray(price, dtype=np.float64))
    floor = min(0, bill.saving_of_all())
    order, saving = [], [0]
    for _ in range(len(effects) if most is None else min(most, len(effects))):
        change = remaining.next(floor)
        bill.make(change)
        remaining.remove(change)
        order.append(change)
        saving.append(bill.saving)
    return ChangeOrder(np.array(order, dtype=np.int64), np.array(saving, dtype=np.int64))


class SimulatedBill:
    """The saving of the changes made so far, and that of any further one, 1e-6 currency.

    Args:
        model: prices of the pools.
        effects: the changes.
        excess: usage less allowance of each pool before any change, length K, 1e-6 MB.
    """

    def __init__(self, model: CostModel, effects: ChangeEffects, excess: list[int]) -> None:
        is_within = (effects.from_pool == effects.to_pool) & (effects.from_pool != NONE)
        self.own_saving = effects.own_saving
        self.pools = (effects.from_pool, np.where(is_within, NONE, effects.to_pool))
        """The pools that each change touches, -1 for none; a change within a pool touches it once."""
        self.added = (
            np.where(is_within, effects.to_excess, 0) - effects.from_excess,
            np.where(is_within, 0, effects.to_excess),
        )
        """What each change adds to the excess of these pools, 1e-6 MB."""
        self.block, self.rate = model.pool_block, model.pool_rate
        self.excess = excess
        self.saving = 0
        columns = (self.own_saving, self.pools[0], self.added[0], self.pools[1], self.added[1])
        self._changes: list[tuple[int, ...]] = list(zip(*(column.tolist() for column in columns), strict=True))
        self._terms: list[tuple[int, int]] = list(zip(self.block.tolist(), self.rate.tolist(), strict=True))
        self._overage = [self._overage_cost(pool, one) for pool, one in enumerate(excess)]

    def value(self, change: int) -> int:
        """Return what a change saves now; negative where it raises the bill."""
        saving, left, out, entered, into = self._changes[change]
        if left >= 0:
            saving += self._overage[left] - self._overage_cost(left, self.excess[left] + out)
        if entered >= 0:
            saving += self._overage[entered] - self._overage_cost(entered, self.excess[entered] + into)
        return saving

    def values(self, changes: Integers) -> Integers:
        """Return what each of some changes saves now, shape (m,)."""
        saving = self.own_saving[changes].copy()
        excess, overage = (np.array([*column, 0], dtype=np.int64) for column in (self.excess, self._overage))
        block, rate = np.append(self.block, 1), np.append(self.rate, 0)
        for pools, added in zip(self.pools, self.added, strict=True):
            pool = pools[changes]
            after = np.maximum(0, excess[pool] + added[changes])
            saving += overage[pool] + (-after // block[pool]) * rate[pool]
        return saving

    def make(self, change: int) -> None:
        """Make a change."""
        self.saving += self.value(change)
        _, left, out, entered, into = self._changes[change]
        for pool, added in ((left, out), (entered, into)):
            if pool >= 0:
                self.excess[pool] += added
                self._overage[pool] = self._overage_cost(pool, self.excess[pool])

    def saving_of_all(self) -> int:
        """Return the saving of all changes together; before any was made."""
        excess, saving = list(self.excess), 0
        for own, left, out, entered, into in self._changes:
            saving += own
            if left >= 0:
                excess[left] += out
            if entered >= 0:
                excess[entered] += into
        after = (self._overage_cost(pool, one) for pool, one in enumerate(excess))
        return saving + sum(self._overage) - sum(after)

    def _overage_cost(self, pool: int, excess: int) -> int:
        if excess <= 0:
            return 0
        block, rate = self._terms[pool]
        return -(-excess // block) * rate


class _Queue:
    """Changes in a fixed order, without those that were made."""

    __slots__ = ("_changes", "_is_left", "_place")

    def __init__(self, changes: Integers, is_left: bytearray) -> None:
        self._changes, self._is_left, self._place = changes.tolist(), is_left, 0

    def first(self) -> int | None:
        """Return the first change that is left, None if there is none."""
        changes, is_left, place = self._changes, self._is_left, self._place
        while place < len(changes) and not is_left[changes[place]]:
            place += 1
        self._place = place
        return changes[place] if place < len(changes) else None


class _Remaining:
    """The changes that are left, in classes of the same pools.

    Args:
        bill: the bill that they change.
        price: price of each pool's data in the proof, shape (K,), currency per MB.
    """

    def __init__(self, bill: SimulatedBill, price: Doubles) -> None:
        self._bill = bill
        self._is_left = bytearray(b"\x01" * len(bill.own_saving))
        self._comparisons_left = MAX_COMPARED
        first, second = _at_prices(bill, price)
        worth = -(first + second)  # of the allowance that a change gives; negative where it needs some
        self._is_fair = (bill.own_saving + worth >= 0).tolist()
        givers = np.flatnonzero((worth > 0) & (bill.own_saving < 0))
        by_money = np.argsort(-bill.own_saving[givers] / worth[givers], kind="stable")
        self._givers = _Queue(givers[by_money], self._is_left)
        self._compared_excess = list(bill.excess)
        self._make_classes()

    def next(self, floor: int) -> int:
        """Return the change to make next.

        Args:
            floor: the saving at the ceiling, 1e-6 currency.
        """
        cost, change = self._cheapest()
        if cost <= 0:
            return change
        giver = self._givers.first()
        if giver is not None and (not self._is_fair[change] or -self._bill.value(giver) <= cost):
            cost, change = -self._bill.value(giver), giver
        saving = self._bill.saving
        if saving - cost < floor and self._comparisons_left > 0:
            left = np.flatnonzero(np.frombuffer(self._is_left, dtype=np.uint8))
            self._comparisons_left -= len(left)
            values = self._bill.values(left)
            best = int(values.argmax())
            if saving + int(values[best]) >= floor:
                return int(left[best])
        return change

    def remove(self, change: int) -> None:
        """Remove a change that was made, and compare the candidates again whose value it has changed."""
        self._is_left[change] = 0
        touched = {self._class[change]}
        for pools in self._bill.pools:
            pool = int(pools[change])
            if pool >= 0 and self._has_turned(pool):
                self._compared_excess[pool] = self._bill.excess[pool]
                touched.update(self._classes_of_pool[pool])
        for number in touched:
            self._version[number] += 1
            entry = self._candidate_of(number)
            if entry is not None:
                heappush(self._heap, entry)

    def _has_turned(self, pool: int) -> bool:
        """Return True if a pool's excess has changed enough for its classes to be compared again.

        Until then a candidate is compared again when its turn comes.
        """
        compared, excess = self._compared_excess[pool], self._bill.excess[pool]
        return (compared > 0) != (excess > 0) or 4 * abs(excess - compared) > abs(compared)

    def _cheapest(self) -> tuple[int, int]:
        """Return the cost of the candidate that raises the bill least or lowers it most, and the candidate."""
        while True:
            cost, _, number, version = heappop(self._heap)
            entry = self._candidate_of(number) if version == self._version[number] else None
            if entry is None:
                continue
            heappush(self._heap, entry)
            if entry[0] <= cost or self._heap[0] is entry:
                return entry[0], entry[1]

    def _candidate_of(self, number: int) -> tuple[int, int, int, int] | None:
        """Return cost, change, number and version of a class, None if no change is left in it."""
        best, least = -1, 0
        for queue in self._queues[number]:
            change = queue.first()
            if change is None:
                return None
            cost = -self._bill.value(change)
            if best < 0 or cost < least or (cost == least and change < best):
                best, least = change, cost
        return least, best, number, self._version[number]

    def _make_classes(self) -> None:
        bill, pool_count = self._bill, len(self._bill.rate)
        keys = (bill.pools[0] + 1) * (pool_count + 1) + bill.pools[1] + 1
        numbers, place = np.unique(keys, return_inverse=True)
        place = place.reshape(-1)
        by_class = np.argsort(place, kind="stable")
        begin = np.searchsorted(place[by_class], np.arange(len(numbers) + 1))
        rankings = self._rankings()
        self._class: list[int] = place.tolist()
        self._classes_of_pool: dict[int, list[int]] = {}
        self._queues: list[list[_Queue]] = []
        for number in range(len(numbers)):
            rows = by_class[begin[number] : begin[number + 1]]
            pools = [int(pools[rows[0]]) for pools in bill.pools]
            needed = [ranking for ranking, of in rankings if all(pools[side] >= 0 for side in of)]
            self._queues.append([_Queue(rows[np.argsort(one[rows], kind="stable")], self._is_left) for one in needed])
            for pool in pools:
                self._classes_of_pool.setdefault(pool, []).append(number)
        self._version = [0] * len(numbers)
        candidates = (self._candidate_of(number) for number in range(len(numbers)))
        self._heap = [entry for entry in candidates if entry is not None]
        heapify(self._heap)

    def _rankings(self) -> list[tuple[Doubles, tuple[int, ...]]]:
        """Return values by which a class is sorted, each with the pools that a class must have for it to matter.

        The lowest cost comes first: while neither pool is over, while one or both of them are; and the least need.
        """
        bill = self._bill
        own = -bill.own_saving.astype(np.float64)
        first, second = _at_prices(bill, bill.rate / bill.block)
        need = (bill.added[0] + bill.added[1]).astype(np.float64)
        return [
            (own, ()),
            (own + first, (0,)),
            (own + second, (1,)),
            (own + first + second, (0, 1)),
            (need, (0,)),
            (need, (1,)),
        ]


def _at_prices(bill: SimulatedBill, price: Doubles) -> tuple[Doubles, Doubles]:
    """Return what each change adds to the excess of its pools, at prices of their data, two of shape (n,)."""
    by_pool = np.append(price, 0.0)
    first, second = (by_pool[pools] * added for pools, added in zip(bill.pools, bill.added, strict=True))
    return first, second


def curve_points(saving: Integers, intervals: int) -> Integers:
    """Return numbers of changes at which the saving is worth showing, ascending, the last one of all changes.

    The points are the ends of intervals of equal length and, where the saving lies below the straight line between
    them, the corners of its lower convex hull: no straight line between two points is above the saving.

    Args:
        saving: after the first k changes, shape (n + 1,), 1e-6 currency.
        intervals: number of intervals.
    """
    count = len(saving) - 1
    ends = sorted({count * number // intervals for number in range(intervals + 1)})
    points: list[int] = []
    for low, high in pairwise(ends):
        hull = [low]
        for place in range(low + 1, high + 1):
            while len(hull) > 1 and _is_above(saving, hull[-2], hull[-1], place):
                hull.pop()
            hull.append(place)
        points.extend(hull[1:])
    return np.array(points, dtype=np.int64)


def _is_above(saving: Integers, low: int, middle: int, high: int) -> bool:
    """Return True if the saving in the middle is on or above the straight line between two points."""
    before, after = int(saving[middle] - saving[low]), int(saving[high] - saving[middle])
    return before * (high - middle) >= after * (middle - low)
