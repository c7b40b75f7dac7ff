"""The daily usage of a fleet and the rates of its SIMs, on arrays: the basis of `amop.optimization.usage_scenarios`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LOOKBACK_DAYS = 28.0
"""Usage days that ended before this are ignored."""
SHRINKAGE_DAYS = 2.0
"""A weekday's rate is mixed with this much time at the SIM's overall rate."""
RATIO_SHRINKAGE_DAYS = 0.2
"""The same for the rate that single days are compared with: a weekly SIM is irregular only beside its week."""
CHUNK_ROWS = 4_096
WEEKDAYS = 7


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """Usage of N SIMs on D usage days, oldest first; a usage day is the time between two syncs."""

    usage: Integers
    """Shape (N, D), 1e-6 MB."""
    length: Doubles
    """Length of each usage day in days, shape (D,)."""
    weekday: Integers
    """Weekday of its middle, Monday = 0, shape (D,)."""
    first_day: Integers
    """Number of the first usage day of each SIM that began after its activation, shape (N,); D if there is none."""

    def until(self, day: int) -> DailyUsage:
        """Return the history before a usage day."""
        return replace(
            self,
            usage=self.usage[:, :day],
            length=self.length[:day],
            weekday=self.weekday[:day],
            first_day=np.minimum(self.first_day, day),
        )


@dataclass(frozen=True, slots=True)
class Remaining:
    """The rest of the period, in parts of at most a day."""

    length: Doubles
    """Length of each part in days, shape (R,)."""
    weekday: Integers
    """Weekday of each part, shape (R,)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of a chunk of SIMs: 1e-6 MB per day."""

    history: DailyUsage
    counts: Doubles
    """1 where a usage day counts for a SIM, else 0, shape (n, D)."""
    by_weekday: Doubles
    """Shape (n, 7)."""
    ratio: Doubles
    """Usage of each usage day relative to the rate of its weekday, shape (n, D); the weighted mean is 1."""
    active_share: Doubles
    """Share of the days before the last run of days without usage on which the SIM used data, shape (n,)."""
    idle_days: Doubles
    """Days without usage at the end of the history, shape (n,)."""

    @classmethod
    def of(cls, history: DailyUsage) -> Rates:
        """Return the rates of some SIMs."""
        age = np.cumsum(history.length[::-1])[::-1] - history.length
        worth = np.where(age < LOOKBACK_DAYS, 1.0, 0.0)
        number = np.arange(len(history.length))
        counts = np.where(number >= history.first_day[:, None], worth, 0.0)
        usage = history.usage.astype(np.float64)
        time, amount = (np.zeros((len(usage), WEEKDAYS)) for _ in range(2))
        for weekday in range(WEEKDAYS):
            days = np.flatnonzero(history.weekday == weekday)
            time[:, weekday] = (counts[:, days] * history.length[days]).sum(axis=1)
            amount[:, weekday] = (counts[:, days] * usage[:, days]).sum(axis=1)
        overall = amount.sum(axis=1) / np.maximum(time.sum(axis=1), 1e-9)
        by_weekday, close = (
            (amount + mixed * overall[:, None]) / (time + mixed) for mixed in (SHRINKAGE_DAYS, RATIO_SHRINKAGE_DAYS)
        )
        expected = close[:, history.weekday] * history.length
        ratio = np.divide(usage, expected, out=np.zeros_like(usage), where=expected > 0)
        centre = (ratio * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1e-9)
        ratio /= np.where(centre > 0, centre, 1.0)[:, None]
        used = (usage > 0) & (counts > 0)
        last = np.where(used.any(axis=1), len(number) - 1 - used[:, ::-1].argmax(axis=1), -1)
        before = (counts > 0) & (number <= last[:, None])
        active = used.sum(axis=1) / np.maximum(before.sum(axis=1), 1)
        idle = np.where((counts > 0) & (number > last[:, None]), history.length, 0.0).sum(axis=1)
        return cls(history, counts, by_weekday, ratio, active, idle)

    def mean(self, remaining: Remaining) -> Doubles:
        """Return the mean usage of the remaining parts, shape (n,), 1e-6 MB."""
        return np.asarray(self.by_weekday[:, remaining.weekday] @ remaining.length)

    def variance(self, remaining: Remaining) -> Doubles:
        """Return the variance of that usage by the spread of single days, shape (n,)."""
        weight = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1e-9)
        of_ratio = ((self.ratio - 1.0) ** 2 * weight).sum(axis=1)
        return np.asarray(((self.by_weekday[:, remaining.weekday] * remaining.length) ** 2).sum(axis=1) * of_ratio)

    def irregularity(self) -> Doubles:
        """Return the standard deviation of the days' ratios, shape (n,)."""
        weight = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1e-9)
        return np.asarray(np.sqrt(((self.ratio - 1.0) ** 2 * weight).sum(axis=1)))


def chunks_of(count: int) -> Iterator[slice]:
    """Yield ranges of `CHUNK_ROWS` numbers below ``count``."""
    for first in range(0, count, CHUNK_ROWS):
        yield slice(first, min(first + CHUNK_ROWS, count))
