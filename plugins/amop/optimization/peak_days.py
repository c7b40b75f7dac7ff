"""The highest day of each SIM, pooled among SIMs alike.

Four weeks show how a SIM uses data on most days, but its highest day is one draw of a tail. A SIM that once used twenty
times its daily usage would do so again in every fourth week of its scenarios, and a SIM that never did could not. The
days of a SIM are exchangeable: given the others, its highest day is the second highest x a growth whose distribution
SIMs alike share. So a scenario that draws a SIM's highest day takes its second highest one, times the growth of a SIM
drawn from those whose other days are as irregular. The sum over SIMs alike stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from amop.optimization.usage_rates import DailyUsage, Doubles, Integers, Rates

FEWEST_DAYS = 8
"""The highest of fewer days says nothing about a tail."""
CLASSES = 8
"""Classes of SIMs of similar irregularity."""


@dataclass(frozen=True, slots=True)
class PeakDays:
    """The highest day of each SIM of a chunk."""

    day: Integers
    """Its number, shape (n,); -1 where the growth is unknown: few days, or usage on one of them only."""
    second: Doubles
    """Usage on the second highest day relative to the rate of its weekday, shape (n,)."""
    growth: Doubles
    """The highest of them relative to it, shape (n,)."""
    others: Rates
    """The rates without the highest day."""

    @classmethod
    def of(cls, rates: Rates) -> PeakDays:
        """Return the highest days of SIMs with these rates."""
        history, row = rates.history, np.arange(len(rates.ratio))
        counted = rates.counts > 0
        day = np.where(counted, rates.ratio, -1.0).argmax(axis=1)
        used = ((history.usage > 0) & counted).sum(axis=1)
        usable = (counted.sum(axis=1) >= FEWEST_DAYS) & (used >= 2)
        others = Rates.of(history, np.where(usable, day, -1))
        expected = others.by_weekday[:, history.weekday] * history.length
        ratio = np.divide(history.usage, expected, out=np.zeros(expected.shape), where=expected > 0)
        second = np.where(others.counts > 0, ratio, 0.0).max(axis=1)
        usable &= second > 0
        growth = np.divide(ratio[row, day], second, out=np.ones(len(row)), where=usable)
        return cls(np.where(usable, day, -1), second, growth, others)


@dataclass(frozen=True, slots=True)
class Peaks:
    """How far above the others the highest days of a fleet's SIMs are."""

    class_edges: Doubles
    """Irregularity that separates the classes, ascending, shape (classes - 1,)."""
    growth: Doubles
    """Growths of all classes, one class after another."""
    first: Integers
    """Position of the first growth of each class, and the number of growths, shape (classes + 1,)."""

    @classmethod
    def of(cls, chunks: Iterable[DailyUsage]) -> Peaks:
        """Return the peaks of a fleet whose SIMs are given in chunks."""
        irregular, growth = [np.zeros(0)], [np.zeros(0)]
        for history in chunks:
            found = PeakDays.of(Rates.of(history))
            usable = found.day >= 0
            irregular.append(found.others.irregularity()[usable])
            growth.append(found.growth[usable])
        all_irregular, all_growth = np.concatenate(irregular), np.concatenate(growth)
        edges = np.quantile(all_irregular, np.arange(1, CLASSES) / CLASSES) if len(all_growth) else np.zeros(0)
        number = np.searchsorted(edges, all_irregular, side="right")
        order = np.argsort(number, kind="stable")
        first = np.searchsorted(number[order], np.arange(len(edges) + 2))
        return cls(edges, all_growth[order], first)

    def draw(self, rng: np.random.Generator, irregular: Doubles) -> Doubles:
        """Return a growth for each irregularity, shape (m,): that of a SIM of its class; 1 in an empty class."""
        number = np.searchsorted(self.class_edges, irregular, side="right")
        first, size = self.first[number], self.first[number + 1] - self.first[number]
        at = first + np.floor(rng.random(len(irregular)) * size).astype(np.int64)
        padded = np.append(self.growth, 1.0)
        return np.where(size > 0, padded[np.minimum(at, len(self.growth))], 1.0)
