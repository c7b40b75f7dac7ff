"""Scenarios of each SIM's usage at the end of the billing period, from its daily history, on arrays.

The mean is a rate per weekday over the last four weeks, shrunk towards the SIM's overall rate, as in
`amop.optimization.usage_history`, but all days count once. Around it the scenarios have four sources of uncertainty:

* **Days.** Each remaining day of a scenario takes one day of the last four weeks, *the same one for all SIMs*, and each
  SIM's usage on that day relative to its rate. A day on which the whole fleet used much stays such a day, and the
  variance of a pool's usage is that of its past days, whether its SIMs are independent or not.
* **Level.** Rates drift. Each SIM has a factor in each scenario whose spread is that of past forecasts of SIMs alike:
  those of the same regularity, forecast a week ago and compared with what came, less what single days explain.
* **Silence.** A SIM that used data on most days and has used none since may have stopped: the probability follows from
  its days without usage and the share of SIMs that stopped before. Active SIMs may stop in the rest of the period.
* **Fleet.** The error of the past forecasts of the fleet's total is common to all SIMs.

All of it is arithmetic on arrays, a chunk of SIMs at a time. The same input gives the same scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SCENARIOS = 64
"""Default number of scenarios."""
LOOKBACK_DAYS = 28.0
"""Usage days that ended before this are ignored."""
SHRINKAGE_DAYS = 2.0
"""A weekday's rate is mixed with this much time at the SIM's overall rate."""
RATIO_SHRINKAGE_DAYS = 0.2
"""The same for the rate that single days are compared with: a weekly SIM is irregular only beside its week."""
ORDERS = 1_024
"""Orders of the levels over the scenarios in a chunk: a SIM has one of them."""
CHUNK_ROWS = 4_096
WEEKDAYS = 7
CLASSES = 8
"""Classes of SIMs of similar regularity whose past forecasts are compared."""
MAX_DRIFT = 0.4
"""Largest standard deviation of the logarithm of a level."""
MIN_ACTIVE_SHARE = 0.5
"""A SIM that used data on fewer of its days cannot be seen to have stopped."""
HAZARD, MAX_HAZARD = 0.001, 0.02
"""Probability per day that an active SIM stops: before anything is known, and at most."""
PRIOR_DAYS = 2_000.0
"""SIM days that the first of them is worth."""
FLEET_ERROR, MAX_FLEET_ERROR = 0.02, 0.03
"""Relative standard deviation of the fleet's common factor: before anything is known, and at most."""
PRIOR_TESTS = 2
"""Past weeks that the first of them is worth."""
TEST_DAYS = 7
"""Length of the past forecasts."""
DAILY = 0.9
"""A SIM with usage on this share of its days uses data daily."""
MAX_TESTED = 65_536
"""SIMs whose past forecasts are compared."""
MIN_TESTED = 20
"""Fewer past forecasts say nothing about a class."""


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
class Spread:
    """How uncertain the forecasts of a fleet are, estimated from its own past."""

    class_edges: Doubles
    """Irregularity that separates the classes, ascending, shape (classes - 1,)."""
    drift: Doubles
    """Standard deviation of the logarithm of the level by class."""
    fleet: float
    """Relative standard deviation of the fleet's common factor."""
    hazard: float
    """Probability per day that an active SIM stops."""


def simulate_usage(
    history: DailyUsage, used: Integers, remaining: Remaining, *, count: int = SCENARIOS, seed: int = 1
) -> Integers:
    """Return the usage of each SIM at the end of the period in equally likely scenarios, shape (N, count), 1e-6 MB.

    Args:
        history: of the SIMs, in an order that does not depend on their usage.
        used: usage of the period so far, shape (N,), 1e-6 MB.
        remaining: the rest of the period.
        count: number of scenarios.
        seed: of the random numbers.
    """
    if not (len(used) and len(remaining.length) and len(history.length)):
        return np.repeat(used[:, None], count, axis=1)
    rng = np.random.default_rng([seed, len(remaining.length), len(history.length), count])
    spread = estimate_spread(history)
    days = _drawn_days(rng, history.length, len(remaining.length), count)
    fleet = np.exp(_evenly(rng, 1, count)[0] * spread.fleet - spread.fleet**2 / 2)
    result = np.empty((len(used), count), dtype=np.int64)
    for rows in _chunks(len(used)):
        part = replace(history, usage=history.usage[rows], first_day=history.first_day[rows])
        rest = _simulate(rng, part, remaining, spread, days) * fleet
        np.rint(rest, out=rest)
        result[rows] = used[rows, None] + rest.astype(np.int64)
    return result


def estimate_spread(history: DailyUsage) -> Spread:
    """Return how uncertain forecasts of the fleet are, from those that would have been made in its own past.

    Of a large fleet only the first `MAX_TESTED` SIMs are looked at.
    """
    tested = replace(history, usage=history.usage[:MAX_TESTED], first_day=history.first_day[:MAX_TESTED])
    past = [_past_forecasts(tested, day) for day in _test_days(history)]
    if not past or min(len(one.mean) for one in past) < 2 * CLASSES:
        return Spread(np.zeros(0), np.zeros(1), FLEET_ERROR, HAZARD)
    errors = [one.actual.sum() / one.mean.sum() - 1 for one in past]
    noise = [one.variance.sum() / one.mean.sum() ** 2 for one in past]
    fleet = sum(max(0.0, error**2 - of_days) for error, of_days in zip(errors, noise, strict=True))
    fleet = (fleet + PRIOR_TESTS * FLEET_ERROR**2) / (len(past) + PRIOR_TESTS)
    stopped, watched = sum(one.stopped for one in past), sum(one.watched_days for one in past)
    hazard = (stopped + HAZARD * PRIOR_DAYS) / (watched + PRIOR_DAYS)
    mean, variance, irregular, actual = (
        np.concatenate([getattr(one, name) for one in past]) for name in ("mean", "variance", "irregular", "actual")
    )
    edges = np.quantile(irregular, np.arange(1, CLASSES) / CLASSES)
    number = np.searchsorted(edges, irregular, side="right")
    drift = np.zeros(CLASSES)
    for one_class in range(CLASSES):
        mine = (number == one_class) & (actual > 0)
        if mine.sum() < MIN_TESTED:
            continue
        ratio = np.log(actual[mine] / mean[mine])
        of_days = np.log1p(variance[mine] / mean[mine] ** 2)
        middle = np.median(np.abs(ratio - np.median(ratio))) * 1.4826  # robust: bursts and stops are modelled apart
        drift[one_class] = np.sqrt(max(0.0, middle**2 - float(np.median(of_days))))
    return Spread(
        edges, np.minimum(drift, MAX_DRIFT), min(MAX_FLEET_ERROR, float(np.sqrt(fleet))), min(MAX_HAZARD, hazard)
    )


@dataclass(frozen=True, slots=True)
class _PastForecasts:
    """Forecasts of a week of the past, and what came; arrays have one element for each SIM with a forecast."""

    mean: Doubles
    variance: Doubles
    irregular: Doubles
    actual: Doubles
    stopped: int
    """SIMs that used data daily until the week, and none on its last three days."""
    watched_days: float
    """SIM days in which they could have stopped."""


def _test_days(history: DailyUsage) -> list[int]:
    """Return the numbers of the usage days at which weeks of the past begin that follow at least two others."""
    begins = np.cumsum(history.length) - history.length
    total = float(history.length.sum())
    found = [int(np.searchsorted(begins, total - TEST_DAYS * week - 1e-9)) for week in (1, 2)]
    return [day for day in found if day < len(begins) and begins[day] >= 2 * TEST_DAYS - 1e-9]


def _past_forecasts(history: DailyUsage, day: int) -> _PastForecasts:
    """Return the forecasts of the week that begins with a usage day."""
    past, begins = history.until(day), np.cumsum(history.length) - history.length
    end = int(np.searchsorted(begins, begins[day] + TEST_DAYS - 1e-9))
    week = Remaining(history.length[day:end], history.weekday[day:end])
    parts: list[tuple[Doubles, ...]] = []
    stopped, watched = 0, 0.0
    for rows in _chunks(len(history.usage)):
        rates = _Rates.of(replace(past, usage=past.usage[rows], first_day=past.first_day[rows]))
        mean, came = rates.mean(week), history.usage[rows, day:end].astype(np.float64)
        usable = (rates.history.first_day <= day - TEST_DAYS) & (mean > 0)
        parts.append(tuple(v[usable] for v in (mean, rates.variance(week), rates.irregularity(), came.sum(axis=1))))
        daily = usable & (rates.active_share >= DAILY) & (rates.idle_days == 0)
        stopped += int((daily & (came[:, -3:].sum(axis=1) == 0)).sum())
        watched += float(daily.sum()) * (float(week.length.sum()) - 2.0)
    mean, variance, irregular, actual = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _PastForecasts(mean, variance, irregular, actual, stopped, watched)


@dataclass(frozen=True, slots=True)
class _Rates:
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
    def of(cls, history: DailyUsage) -> _Rates:
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


def _simulate(
    rng: np.random.Generator, history: DailyUsage, remaining: Remaining, spread: Spread, days: Integers
) -> Doubles:
    """Return the usage of the rest of the period of a chunk of SIMs, shape (n, count), 1e-6 MB.

    Args:
        rng: the random numbers.
        history: of the SIMs.
        remaining: the rest of the period.
        spread: of past forecasts.
        days: the usage day that each remaining part takes in each scenario, shape (R, count).
    """
    rates, count = _Rates.of(history), days.shape[1]
    known = np.where(rates.counts > 0, rates.ratio, 1.0)  # a day before the activation counts as a day like its mean
    rest = np.zeros((len(history.usage), count))
    parts = list(zip(days, remaining.weekday.tolist(), remaining.length.tolist(), strict=True))
    for day, weekday, length in parts:
        used = known.take(day, axis=1)
        used *= (rates.by_weekday[:, weekday] * length)[:, None]
        rest += used
    sims, scenarios, when = _stops(rng, rates, remaining, spread, count)
    elapsed, stopped = 0.0, np.zeros(len(sims))
    for day, weekday, length in parts:
        used = known[sims, day[scenarios]] * rates.by_weekday[sims, weekday] * length
        stopped += np.where(when > elapsed + length / 2, used, 0.0)
        elapsed += length
    rest[sims, scenarios] = stopped
    drift = spread.drift[np.searchsorted(spread.class_edges, rates.irregularity(), side="right")]
    level = _evenly(rng, len(rest), count)
    level *= drift[:, None]
    level -= (drift**2 / 2)[:, None]
    rest *= np.exp(level, out=level)
    return rest


def _stops(
    rng: np.random.Generator, rates: _Rates, remaining: Remaining, spread: Spread, count: int
) -> tuple[Integers, Integers, Doubles]:
    """Return the SIMs and scenarios in which a SIM stops, and after how many days (0 if it has), shape (m,) each."""
    active, idle, hazard = rates.active_share, rates.idle_days, spread.hazard
    alive = (1.0 - np.minimum(active, 0.98)) ** idle
    gone = hazard * idle / (hazard * idle + alive)
    later = gone + (1.0 - gone) * (1.0 - np.exp(-hazard * remaining.length.sum()))
    gone, later = (np.where(active >= MIN_ACTIVE_SHARE, chance, 0.0) for chance in (gone, later))
    draw = rng.random((len(active), count), dtype=np.float32)
    sims, scenarios = np.nonzero(draw < later[:, None])
    drawn, begins = draw[sims, scenarios], gone[sims]
    share = (drawn - begins) / np.maximum(later[sims] - begins, 1e-12)
    return sims, scenarios, np.maximum(share, 0.0) * float(remaining.length.sum())


def _drawn_days(rng: np.random.Generator, length: Doubles, parts: int, count: int) -> Integers:
    """Return a usage day for each remaining part and scenario, shape (parts, count).

    Over the scenarios every part takes each usage day as evenly as its weight allows.
    """
    age = np.cumsum(length[::-1])[::-1] - length
    worth = np.where(age < LOOKBACK_DAYS, 1.0, 0.0) * length
    edges = np.cumsum(worth) / worth.sum()
    share = (np.arange(count) + rng.random((parts, count))) / count
    return np.searchsorted(edges, rng.permuted(share, axis=1), side="right").clip(max=len(length) - 1)


def _evenly(rng: np.random.Generator, rows: int, count: int) -> Doubles:
    """Return standard normal numbers, shape (rows, count), in each row at the middles of equally likely intervals."""
    # Quantiles of the normal distribution by the logistic approximation with a matched variance.
    share = (np.arange(count) + 0.5) / count
    value = np.log(share / (1 - share))
    value /= max(float(value.std()), 1e-9)
    orders = rng.permuted(np.broadcast_to(value, (ORDERS, count)), axis=1)
    return orders[rng.integers(0, ORDERS, rows)]


def _chunks(count: int) -> Iterator[slice]:
    for first in range(0, count, CHUNK_ROWS):
        yield slice(first, min(first + CHUNK_ROWS, count))
