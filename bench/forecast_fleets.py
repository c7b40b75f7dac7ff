"""Fleets and price lists for `bench.forecast`: three generators of daily usage whose futures can be drawn again.

A generator draws what lasts (kinds, levels, weekdays) from one stream of random numbers and the days from another. The
past of a fleet is drawn once; another draw of the days after the cut is another possible future of the same fleet: the
distribution that no forecast can know better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amop.solver import RatePlans, pools_of
from bench.projection import KINDS

BEFORE, PERIOD = 40, 30
"""Days of history before the period, and days of the period."""
DAYS = BEFORE + PERIOD
WEEKDAY = np.arange(DAYS) % 7
SATURDAY = 5

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForecastFleet:
    """Daily usage of N SIMs, and the same with other draws of the days from a cut on."""

    megabytes: Numbers
    """Shape (N, DAYS)."""
    seen: Numbers
    """What the syncs of the days read, shape (N, DAYS): the same, unless counters were late."""
    first_day: npt.NDArray[np.int64]
    """Day of activation, shape (N,)."""
    again: Callable[[int, int], Numbers]
    """``again(cut, number)``: megabytes of another future, shape (N, DAYS - cut)."""


class _Streams(np.random.Generator):
    """Random numbers whose integers, which say what lasts, come from a stream of their own."""

    def __init__(self, lasting: np.random.Generator, days: np.random.Generator) -> None:
        super().__init__(days.bit_generator)
        self._lasting = lasting

    def integers(self, *arguments: object, **options: object) -> npt.NDArray[np.int64]:  # type: ignore[override]
        return self._lasting.integers(*arguments, **options)  # type: ignore[call-overload, no-any-return]


def projection_fleet(seed: int, count: int) -> ForecastFleet:
    """Return a fleet of the ten kinds of `bench.projection`."""
    rng = np.random.default_rng([seed, count, 1])
    kind = np.sort(rng.choice(len(KINDS), count, p=[known.share for known in KINDS]))
    level = rng.normal(0, 0.9, count)
    activated = np.where([KINDS[k].name == "new" for k in kind], rng.integers(BEFORE + 1, DAYS - 1, count), 0)

    def draw(number: int, cut: int) -> Numbers:
        megabytes = np.empty((count, DAYS))
        for k, known in enumerate(KINDS):
            rows = np.flatnonzero(kind == k)
            base = known.median_mb * np.exp(level[rows, None])
            # The days on which a SIM stops or bursts are events: another future has others, but only after the cut.
            events = number if known.name in {"dying", "one burst"} else 0
            first = BEFORE + 1 if not number else cut
            lasting = np.random.default_rng([seed, k, events])
            days = np.random.default_rng([seed, k, number, 7])
            megabytes[rows] = known.shape(_Streams(lasting, days), base, WEEKDAY, first)
        megabytes[np.arange(DAYS) < activated[:, None]] = 0
        return megabytes

    past = draw(0, BEFORE)
    stopped = np.array([KINDS[k].name == "dying" for k in kind])
    burst = np.array([KINDS[k].name == "one burst" for k in kind])

    def again(cut: int, number: int) -> Numbers:
        other = draw(number + 1, cut)[:, cut:]
        other[stopped & (past[:, cut - 1] == 0)] = 0
        had = burst & (past[:, BEFORE:cut].max(axis=1, initial=0.0) > 8 * np.median(past[:, :cut], axis=1))
        level_now = np.median(past[:, :cut], axis=1)[:, None]
        other[had] = np.minimum(other, 3 * level_now)[had]
        return other

    return ForecastFleet(past, past, activated, again)


def studies_fleet(seed: int, count: int) -> ForecastFleet:
    """Return a fleet after public studies of machine-type traffic.

    Volumes of SIMs are heavy-tailed over several decades; most send little and regularly (meters, sensors, points of
    sale), few send most (video, routers). Days with and without usage come in runs, levels drift, business devices
    follow the working week, and updates of the firmware reach a part of the fleet in a few days.
    """
    rng = np.random.default_rng([seed, count, 2])
    level = np.exp(rng.normal(-0.5, 1.9, count))
    steady = rng.choice([0.15, 0.5, 1.1], count, p=[0.5, 0.3, 0.2])
    stay_on = rng.choice([0.995, 0.9, 0.6], count, p=[0.6, 0.25, 0.15])
    stay_off = rng.choice([0.1, 0.5, 0.95], count, p=[0.5, 0.3, 0.2])
    weekend = rng.choice([1.0, 0.3, 0.05], count, p=[0.5, 0.3, 0.2])
    walk = rng.choice([0.0, 0.02, 0.08], count, p=[0.5, 0.35, 0.15])
    update_size = np.where(rng.random(count) < 0.3, rng.choice([2.0, 8.0, 25.0], count), 0.0)
    activated = np.where(rng.random(count) < 0.08, rng.integers(5, DAYS - 2, count), 0)

    def draw(number: int, begin: int, state: Numbers, log_level: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        days = np.random.default_rng([seed, count, 2, number + 10])
        megabytes, states, levels = (np.zeros((count, DAYS - begin)) for _ in range(3))
        for day in range(begin, DAYS):
            state = np.where(days.random(count) < np.where(state > 0, stay_on, stay_off), state, 1 - state)
            log_level = log_level + walk * days.standard_normal(count)
            volume = level * np.exp(log_level + steady * days.standard_normal(count) - steady**2 / 2)
            factor = weekend if WEEKDAY[day] >= SATURDAY else 1.0
            rolls = days.random() < 0.03
            update = update_size * (days.random(count) < (0.4 if rolls else 0.002))
            at = day - begin
            megabytes[:, at] = (state * volume * factor + update) * (day >= activated)
            states[:, at], levels[:, at] = state, log_level
        return megabytes, states, levels

    start = (rng.random(count) < (1 - stay_off) / (2 - stay_on - stay_off + 1e-9)).astype(float)
    past, states, levels = draw(0, 0, start, np.zeros(count))

    def again(cut: int, number: int) -> Numbers:
        return draw(number + 1, cut, states[:, cut - 1], levels[:, cut - 1])[0]

    return ForecastFleet(past, past, activated, again)


def adversarial_fleet(seed: int, count: int) -> ForecastFleet:
    """Return a fleet with bursts of all SIMs, changes of behaviour, silence, and nights whose counters came late."""
    rng = np.random.default_rng([seed, count, 3])
    level = np.exp(rng.normal(0.3, 1.3, count))
    noise = rng.choice([0.1, 0.4, 0.9], count, p=[0.4, 0.4, 0.2])
    weekly = rng.random(count) < 0.2
    own_day = rng.integers(0, 7, count)
    sensitive = rng.random(count) < 0.7

    def draw(number: int, begin: int, factor: Numbers) -> tuple[Numbers, Numbers]:
        days = np.random.default_rng([seed, count, 3, number + 10])
        megabytes = np.zeros((count, DAYS - begin))
        factors = np.zeros((count, DAYS - begin))
        for day in range(begin, DAYS):
            changes = days.random(count) < 0.006
            factor = np.where(changes, np.exp(days.normal(0, 0.9, count)), factor)
            factor = np.where(days.random(count) < 0.003, 0.0, factor)
            factor = np.where((factor == 0) & (days.random(count) < 0.05), 1.0, factor)
            burst = np.where(sensitive & (days.random() < 0.07), days.lognormal(1.0, 0.4), 1.0)
            pattern = np.where(weekly, np.where(own_day == WEEKDAY[day], 5.0, 0.33), 1.0)
            volume = np.exp(noise * days.standard_normal(count) - noise**2 / 2)
            megabytes[:, day - begin] = level * factor * burst * pattern * volume
            factors[:, day - begin] = factor
        return megabytes, factors

    past, factors = draw(0, 0, np.ones(count))
    seen = past.copy()
    for day in range(1, DAYS):
        late = rng.random(count) < (0.3 if rng.random() < 0.1 else 0.0)
        seen[late, day] += seen[late, day - 1]
        seen[late, day - 1] = 0

    def again(cut: int, number: int) -> Numbers:
        return draw(number + 1, cut, factors[:, cut - 1])[0]

    return ForecastFleet(past, seen, np.zeros(count, dtype=np.int64), again)


GENERATORS: dict[str, Callable[[int, int], ForecastFleet]] = {
    "projection": projection_fleet,
    "studies": studies_fleet,
    "adversarial": adversarial_fleet,
}


def _plans(
    megabytes: list[int], charges: list[float], pools: list[str | None], block: float, per_mb: float
) -> RatePlans:
    codes = tuple(f"{mb} MB" for mb in megabytes)
    pool, pool_name = pools_of(codes, [name is not None for name in pools], pools)
    count = len(codes)

    def micro(values: list[float]) -> npt.NDArray[np.int64]:
        return np.rint(np.array(values) * 1e6).astype(np.int64)

    return RatePlans(
        code=codes,
        rate_charge=micro(charges),
        base_rate=micro([0.0] * count),
        plan_micro_mb=micro([float(mb) for mb in megabytes]),
        overage_rate=micro([round(per_mb * block, 6)] * count),
        block_micro_mb=micro([block] * count),
        sms_rate=micro([0.0] * count),
        pool=pool,
        pool_name=pool_name,
        is_retired=np.zeros(count, dtype=np.bool_),
    )


SIZES = [5, 10, 25, 50, 100, 250, 500, 1000]
CHARGES = [0.9, 1.2, 1.9, 2.8, 4.2, 8.0, 13.0, 21.0]
PRICE_LISTS = {
    "two pools, 1 MB": _plans(SIZES, CHARGES, [None, None, "a", None, None, "b", None, None], 1.0, 0.15),
    "no pools, 50 MB": _plans(SIZES, CHARGES, [None] * 8, 50.0, 0.06),
    "shared pools, 0.1 MB": _plans(SIZES, CHARGES, ["s", "s", "s", "s", "l", "l", "l", "l"], 0.1, 0.1),
}
"""The name says how plans are pooled, and the block."""
