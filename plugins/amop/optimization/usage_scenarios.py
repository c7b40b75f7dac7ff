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

The interval of the bill is stated by other scenarios (`interval_scenarios`): the bills of the scenarios that chose the
plans are too low and vary too little, because the plans fit them. Their common factor is wider, has the heavy tails of
an error that is known from two past weeks only, and grows as fewer days remain.

All of it is arithmetic on arrays, a chunk of SIMs at a time. The same input gives the same scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from amop.optimization.usage_rates import (
    LOOKBACK_DAYS,
    DailyUsage,
    Doubles,
    Integers,
    Rates,
    Remaining,
    chunks_of,
)

SCENARIOS = 64
"""Default number of scenarios."""
INTERVAL_SETS, INTERVAL_SET = 3, 33
"""Sets of scenarios that state an interval of the bill, and scenarios of a set."""
ORDERS = 1_024
"""Orders of the levels over the scenarios in a chunk: a SIM has one of them."""
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
INTERVAL_ERROR, MAX_INTERVAL_ERROR = 0.04, 0.15
"""The same for the interval of the bill, for a week."""
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
class Spread:
    """How uncertain the forecasts of a fleet are, estimated from its own past."""

    class_edges: Doubles
    """Irregularity that separates the classes, ascending, shape (classes - 1,)."""
    drift: Doubles
    """Standard deviation of the logarithm of the level by class."""
    fleet: float
    """Relative standard deviation of the fleet's common factor."""
    fleet_of_interval: float
    """The same for the interval of the bill: the scale of a Student distribution."""
    hazard: float
    """Probability per day that an active SIM stops."""


def simulate_usage(
    history: DailyUsage,
    used: Integers,
    remaining: Remaining,
    *,
    count: int = SCENARIOS,
    seed: int = 1,
    for_interval: bool = False,
) -> Integers:
    """Return the usage of each SIM at the end of the period in equally likely scenarios, shape (N, count), 1e-6 MB.

    Args:
        history: of the SIMs, in an order that does not depend on their usage.
        used: usage of the period so far, shape (N,), 1e-6 MB.
        remaining: the rest of the period.
        count: number of scenarios.
        seed: of the random numbers.
        for_interval: whether the scenarios state an interval of the bill instead of choosing plans; they also vary by
            what the history cannot show.
    """
    if not (len(used) and len(remaining.length) and len(history.length)):
        return np.repeat(used[:, None], count, axis=1)
    rng = np.random.default_rng([seed, len(remaining.length), len(history.length), count])
    spread = estimate_spread(history)
    days = _drawn_days(rng, history.length, len(remaining.length), count)
    if for_interval:
        # Errors of single days are independent, so that fewer days have a larger relative error than the weeks tested.
        scale = spread.fleet_of_interval * np.sqrt(TEST_DAYS / remaining.length.sum())
        fleet = np.exp(rng.permuted(student_quantiles(count)) * scale)
    else:
        fleet = np.exp(_evenly(rng, 1, count)[0] * spread.fleet - spread.fleet**2 / 2)
    result = np.empty((len(used), count), dtype=np.int64)
    for rows in chunks_of(len(used)):
        part = replace(history, usage=history.usage[rows], first_day=history.first_day[rows])
        rest = _simulate(rng, part, remaining, spread, days) * fleet
        np.rint(rest, out=rest)
        result[rows] = used[rows, None] + rest.astype(np.int64)
    return result


def interval_scenarios(
    history: DailyUsage, used: Integers, remaining: Remaining, *, seed: int = 1
) -> Iterator[Integers]:
    """Yield scenarios that state an interval of the bill, in sets of shape (N, 33): 99 in all, 1e-6 MB.

    They are drawn independently of those that plans were chosen with, because plans fit the latter: their bills are too
    low on the mean and vary too little. Of 99, the 5th and the 95th bill enclose 90 % of all others.

    Args:
        history: of the SIMs, in an order that does not depend on their usage.
        used: usage of the period so far, shape (N,), 1e-6 MB.
        remaining: the rest of the period.
        seed: of the scenarios that plans were chosen with.
    """
    for number in range(INTERVAL_SETS):
        yield simulate_usage(
            history, used, remaining, count=INTERVAL_SET, seed=INTERVAL_SETS * seed + number + 1, for_interval=True
        )


def estimate_spread(history: DailyUsage) -> Spread:
    """Return how uncertain forecasts of the fleet are, from those that would have been made in its own past.

    Of a large fleet only the first `MAX_TESTED` SIMs are tested.
    """
    tested = replace(history, usage=history.usage[:MAX_TESTED], first_day=history.first_day[:MAX_TESTED])
    past = [_past_forecasts(tested, day) for day in _test_days(history)]
    if not past or min(len(one.mean) for one in past) < 2 * CLASSES:
        return Spread(np.zeros(0), np.zeros(1), FLEET_ERROR, INTERVAL_ERROR, HAZARD)
    errors = [one.actual.sum() / one.mean.sum() - 1 for one in past]
    noise = [one.variance.sum() / one.mean.sum() ** 2 for one in past]
    common = sum(max(0.0, error**2 - of_days) for error, of_days in zip(errors, noise, strict=True))
    fleet, of_interval = (
        float(np.sqrt((common + PRIOR_TESTS * prior**2) / (len(past) + PRIOR_TESTS)))
        for prior in (FLEET_ERROR, INTERVAL_ERROR)
    )
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
        class_edges=edges,
        drift=np.minimum(drift, MAX_DRIFT),
        fleet=min(MAX_FLEET_ERROR, fleet),
        fleet_of_interval=min(MAX_INTERVAL_ERROR, of_interval),
        hazard=min(MAX_HAZARD, hazard),
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
    for rows in chunks_of(len(history.usage)):
        rates = Rates.of(replace(past, usage=past.usage[rows], first_day=past.first_day[rows]))
        mean, came = rates.mean(week), history.usage[rows, day:end].astype(np.float64)
        usable = (rates.history.first_day <= day - TEST_DAYS) & (mean > 0)
        parts.append(tuple(v[usable] for v in (mean, rates.variance(week), rates.irregularity(), came.sum(axis=1))))
        daily = usable & (rates.active_share >= DAILY) & (rates.idle_days == 0)
        stopped += int((daily & (came[:, -3:].sum(axis=1) == 0)).sum())
        watched += float(daily.sum()) * (float(week.length.sum()) - 2.0)
    mean, variance, irregular, actual = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _PastForecasts(mean, variance, irregular, actual, stopped, watched)


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
    rates, count = Rates.of(history), days.shape[1]
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
    rng: np.random.Generator, rates: Rates, remaining: Remaining, spread: Spread, count: int
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


def student_quantiles(count: int) -> Doubles:
    """Return the quantiles of a Student distribution with 4 degrees of freedom at the middles of equal shares."""
    share = (np.arange(count) + 0.5) / count
    root = np.sqrt(4 * share * (1 - share))
    return np.asarray(np.sign(share - 0.5) * 2 * np.sqrt(np.maximum(np.cos(np.arccos(root) / 3) / root - 1, 0)))
