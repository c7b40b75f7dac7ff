"""Back-test both projection methods on seeded usage histories: by the elapsed time, and from the daily history.

For each seed a fleet of ten kinds of SIM is simulated for ten weeks, with a sync every night (3 % of the nights missed)
and a billing period in another month. The period is cut some days before its end, both methods project it from what was
known then, and the projections are compared with the real usage. Then plans are chosen by either projection and billed
with the real usage: that is the cost of an error. The same (seed, device_count) gives the same figures on every
machine.

    python -m bench.projection
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import typer

from amop.optimization.forecast import MEGABYTE, project_usage, usage_micro_mb
from amop.optimization.usage_history import FEWEST_DAYS, UsageDay, usage_history
from amop.reference.billing_period import BillingPeriod, billing_period_at
from amop.solver import CostModel, Devices, Eligibility, RatePlans, Terms, optimize, pools_of

TIME_ZONE = "America/New_York"
ZONE = ZoneInfo(TIME_ZONE)
DAYS_BEFORE = 40
"""Days of history before the billing period."""
SYNC_HOUR_UTC = 4
MISSED_NIGHTS = 0.03
CUTS = (7, 5, 3, 1)
"""Days before the period's end at which it is projected."""
SEEDS = (1, 2, 3, 4, 5, 6)
WHOLE_FLEET = "whole fleet"
METHODS = ("elapsed_time", "daily_history")
THIS, BEFORE = 2, 1
"""Ids of billing periods."""

Numbers = npt.NDArray[np.float64]
Shape = Callable[[np.random.Generator, Numbers, npt.NDArray[np.int64], int], Numbers]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of SIM: share of the fleet, median MB per day, and usage pattern."""

    name: str
    what: str
    share: float
    median_mb: float
    shape: Shape


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Numbers:
    return rng.lognormal(-sigma * sigma / 2, sigma, shape)


def _linear(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    return base * _noise(rng, (len(base), len(weekday)), 0.1)


def _weekly(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    own_day = rng.integers(0, 7, (len(base), 1))
    return base * np.where(weekday == own_day, 5.2, 0.3) * _noise(rng, (len(base), len(weekday)), 0.25)


def _weekend_idle(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    return base * np.where(weekday >= 5, 0.0, 1.4) * _noise(rng, (len(base), len(weekday)), 0.25)


def _tracker(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    return base * np.where(weekday >= 5, 0.5, 1.2) * _noise(rng, (len(base), len(weekday)), 0.8)


def _camera(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    shape = (len(base), len(weekday))
    return base * (0.2 * _noise(rng, shape, 0.25) + (rng.random(shape) < 0.1) * 8 * _noise(rng, shape, 0.8))


def _rare(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    shape = (len(base), len(weekday))
    return base * 25 * (rng.random(shape) < 0.04) * _noise(rng, shape, 0.25)


def _growing(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    trend = np.linspace(0.5, 0.5 + 0.02 * (len(weekday) - 1), len(weekday))
    used: Numbers = base * trend * _noise(rng, (len(base), len(weekday)), 0.25)
    return used


def _dying(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    stops = rng.integers(first, len(weekday), (len(base), 1))
    return base * (np.arange(len(weekday)) < stops) * _noise(rng, (len(base), len(weekday)), 0.25)


def _one_burst(rng: np.random.Generator, base: Numbers, weekday: npt.NDArray[np.int64], first: int) -> Numbers:
    hit = rng.integers(first, len(weekday), (len(base), 1))
    burst = np.where(np.arange(len(weekday)) == hit, 20.0, 0.0)
    return base * (_noise(rng, (len(base), len(weekday)), 0.25) + burst)


KINDS = (
    Kind("linear", "the same every day", 0.24, 1.0, _linear),
    Kind("weekly meter", "reports on one weekday", 0.20, 0.5, _weekly),
    Kind("weekend idle", "nothing on Saturdays and Sundays", 0.12, 2.0, _weekend_idle),
    Kind("tracker", "irregular, half at weekends", 0.15, 1.5, _tracker),
    Kind("camera", "little, and a burst on one day in ten", 0.08, 8.0, _camera),
    Kind("rare", "one day in twenty-five", 0.05, 0.5, _rare),
    Kind("one burst", "steady, and one day of twenty in the period", 0.03, 2.0, _one_burst),
    Kind("new", "activated within the period", 0.06, 2.0, _linear),
    Kind("growing", "2 points more every day", 0.03, 2.0, _growing),
    Kind("dying", "stops within the period, before or after the cut", 0.04, 2.0, _dying),
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """SIMs with their usage per local day, and the billing period at the end of those days."""

    kind: npt.NDArray[np.int64]
    """Index into `KINDS`."""
    activated: list[datetime | None]
    megabytes: Numbers
    """Shape (SIMs, days)."""
    midnights: list[datetime]
    """Start of each day, and the end of the last one."""
    period: BillingPeriod

    def used_until(self, moment: datetime) -> npt.NDArray[np.int64]:
        """Return the bytes of each SIM from the first day to a moment."""
        second = timedelta(seconds=1)
        begins = np.array([(midnight - self.midnights[0]) / second for midnight in self.midnights])
        share = np.clip(((moment - self.midnights[0]) / second - begins[:-1]) / np.diff(begins), 0, 1)
        return np.floor(self.megabytes @ share * MEGABYTE).astype(np.int64)


def make_fleet(seed: int, device_count: int) -> Fleet:
    """Return a fleet of every kind by its share; its period ends in month ``seed`` (mod 12) of 2026."""
    rng = np.random.default_rng([seed, device_count])
    middle = datetime(2026, seed % 12 + 1, 10, tzinfo=UTC)
    period = billing_period_at(middle, end_day=18, end_hour=18, time_zone=TIME_ZONE)
    first = period.cycle_start.astimezone(ZONE).date() - timedelta(days=DAYS_BEFORE)
    days = (period.cycle_end.astimezone(ZONE).date() - first).days + 1
    midnights = [_midnight(first + timedelta(days=number)) for number in range(days + 1)]
    weekday = np.array([(first + timedelta(days=number)).weekday() for number in range(days)])
    kind = np.sort(rng.choice(len(KINDS), device_count, p=[known.share for known in KINDS]))
    megabytes = np.empty((device_count, days))
    activated: list[datetime | None] = [None] * device_count
    for number, known in enumerate(KINDS):
        rows = np.flatnonzero(kind == number)
        base = rng.lognormal(np.log(known.median_mb), 0.9, (len(rows), 1))
        megabytes[rows] = known.shape(rng, base, weekday, DAYS_BEFORE + 1)
        if known.name == "new":
            for row, day in zip(rows, rng.integers(DAYS_BEFORE + 1, days - 1, len(rows)), strict=True):
                activated[row] = midnights[day]
                megabytes[row, :day] = 0
    return Fleet(kind, activated, megabytes, midnights, period)


@dataclass(frozen=True, slots=True)
class Projected:
    """Both projections of a fleet and its real usage; 1e-6 MB, one number per SIM."""

    by_method: dict[str, npt.NDArray[np.int64]]
    real: npt.NDArray[np.int64]


def project(fleet: Fleet, cut_days: int, seed: int) -> Projected:
    """Project a fleet by both methods some days before the period's end, from what the syncs had read by then."""
    period = fleet.period
    reads = _reads(fleet, period.cycle_end - timedelta(days=cut_days), seed)
    as_of = reads[-1]
    days = _usage_days(reads, period)
    counters = {moment: fleet.used_until(moment) for moment in {*reads, period.cycle_start, period.cycle_end}}
    used = [counters[day.ends_at] - counters[day.begins_at] for day in days]
    so_far = counters[as_of] - counters[period.cycle_start]
    history = usage_history(
        days, billing_period_id=THIS, usage_as_of=as_of, cycle_end=period.cycle_end, time_zone=TIME_ZONE
    )
    if history is None:
        raise ValueError(f"no usage was read {cut_days} days before the end of the period")
    cycle = {"cycle_start": period.cycle_start, "cycle_end": period.cycle_end}
    formula, daily = [], []
    for number, activated in enumerate(fleet.activated):
        usage = usage_micro_mb(int(so_far[number]))
        formula.append(project_usage(usage, status="ACTIVATED", last_usage_date=None, usage_as_of=as_of, **cycle))
        first_day = history.first_day_of(activated)
        if history.counts[first_day] < FEWEST_DAYS:
            daily.append(formula[-1])
            continue
        rows = {(day.usage_date, day.billing_period_id): int(sim[number]) for day, sim in zip(days, used, strict=True)}
        daily.append(history.project(usage, first_day=first_day, bytes_by_day=rows))
    real = [usage_micro_mb(int(total)) for total in counters[period.cycle_end] - counters[period.cycle_start]]
    return Projected({"elapsed_time": np.array(formula), "daily_history": np.array(daily)}, np.array(real))


@dataclass(frozen=True, slots=True)
class MethodErrors:
    """The errors of one method against the real usage."""

    weighted_error: float
    """Sum of |projected - real| / sum of real usage."""
    bias: float
    """Sum of (projected - real) / sum of real usage."""
    median_mb: float
    """Median of |projected - real|, MB."""


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """The errors of both methods for one kind of SIM and one cut."""

    cut_days: int
    kind: str
    sims: int
    errors: dict[str, MethodErrors]
    """By method."""
    excess_cost: dict[str, float]
    """By method, for the whole fleet only: real cost of the plans chosen by the projection, relative to that of the
    plans chosen by the real usage, less 1."""


def measure(*, device_count: int = 1000, seeds: Sequence[int] = SEEDS, cuts: Sequence[int] = CUTS) -> list[ErrorRow]:
    """Return a row per cut and kind of SIM, the whole fleet last, with the errors of both methods."""
    rows = []
    for cut_days in cuts:
        fleets = [
            (fleet, project(fleet, cut_days, seed)) for seed in seeds for fleet in [make_fleet(seed, device_count)]
        ]
        for number, kind in enumerate(KINDS):
            rows.append(_row(cut_days, kind.name, [(done, fleet.kind == number) for fleet, done in fleets], {}))
        bills = [_bills(fleet, done) for fleet, done in fleets]
        best = sum(bill["real"] for bill in bills)
        excess_cost = {method: (sum(bill[method] for bill in bills) - best) / best for method in METHODS}
        everything = [(done, np.full(device_count, True)) for _, done in fleets]
        rows.append(_row(cut_days, WHOLE_FLEET, everything, excess_cost))
    return rows


def table(rows: Sequence[ErrorRow]) -> list[str]:
    """Return the rows of `measure` as lines of a markdown table; each cell has elapsed time → daily history."""
    lines = [
        "| days to the end | SIMs | weighted error, % | bias, % | median error per SIM, MB | excess cost of plans, % |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        errors = [row.errors[method] for method in METHODS]
        cells = [
            " → ".join(f"{100 * error.weighted_error:.2f}" for error in errors),
            " → ".join(f"{100 * error.bias:.2f}" for error in errors),
            " → ".join(f"{error.median_mb:.3f}" for error in errors),
            " → ".join(f"{100 * row.excess_cost[method]:.3f}" for method in METHODS if row.excess_cost),
        ]
        lines.append(f"| {row.cut_days} | {row.kind} | {' | '.join(cells)} |")
    return lines


def _row(
    cut_days: int,
    kind: str,
    projected: Sequence[tuple[Projected, npt.NDArray[np.bool_]]],
    excess_cost: dict[str, float],
) -> ErrorRow:
    real = np.concatenate([done.real[chosen] for done, chosen in projected])
    errors = {}
    for method in METHODS:
        error = np.concatenate([done.by_method[method][chosen] for done, chosen in projected]) - real
        errors[method] = MethodErrors(
            weighted_error=float(np.abs(error).sum() / real.sum()),
            bias=float(error.sum() / real.sum()),
            median_mb=float(np.median(np.abs(error)) / 1e6),
        )
    return ErrorRow(cut_days, kind, len(real), errors, excess_cost)


def _bills(fleet: Fleet, done: Projected) -> dict[str, int]:
    """Return the real cost of the plans chosen by either projection and by the real usage, by name."""
    plans, eligibility = _rate_plans(), Eligibility.of(np.full((1, 8), True))
    real = CostModel(_devices(fleet, done.real), plans, eligibility, Terms(31, uses_proration=False))
    chosen = {
        name: optimize(
            _devices(fleet, usage), plans, eligibility, period_days=31, uses_proration=False, time_limit=0
        ).assignment
        for name, usage in (*done.by_method.items(), ("real", done.real))
    }
    return {name: real.bill(assignment) for name, assignment in chosen.items()}


def _devices(fleet: Fleet, usage: npt.NDArray[np.int64]) -> Devices:
    count = len(usage)
    return Devices(
        device_id=np.array([f"8901170{number:012d}" for number in range(count)]),
        communication_plan=np.zeros(count, dtype=np.int64),
        usage_micro_mb=usage,
        sms_usage=np.zeros(count, dtype=np.int64),
        days_active=np.full(count, 31),
        is_prorated=np.zeros(count, dtype=np.bool_),
        current_rate_plan=np.full(count, -1),
    )


def _rate_plans() -> RatePlans:
    """Return eight plans of 5 MB to 1 GB, two of them pooled."""
    megabytes = [5, 10, 25, 50, 100, 250, 500, 1000]
    charges = [0.9, 1.2, 1.9, 2.8, 4.2, 8.0, 13.0, 21.0]
    pooled = [mb in {25, 250} for mb in megabytes]
    codes = tuple(f"{mb} MB" for mb in megabytes)
    pool, pool_name = pools_of(codes, pooled, [None] * 8)

    def micro(values: Sequence[float]) -> npt.NDArray[np.int64]:
        return np.rint(np.array(values) * 1e6).astype(np.int64)

    return RatePlans(
        code=codes,
        rate_charge=micro(charges),
        base_rate=micro([0] * 8),
        plan_micro_mb=micro(megabytes),
        overage_rate=micro([0.15] * 8),
        block_micro_mb=micro([1] * 8),
        sms_rate=micro([0] * 8),
        pool=pool,
        pool_name=pool_name,
        is_retired=np.zeros(8, dtype=np.bool_),
    )


def _reads(fleet: Fleet, cut: datetime, seed: int) -> list[datetime]:
    """Return the times of the syncs: every night up to the one before the cut, except for missed ones."""
    rng = np.random.default_rng([seed, 77])
    first = fleet.midnights[1].replace(hour=SYNC_HOUR_UTC, minute=0)
    nights = [first + timedelta(days=number) for number in range((cut - first).days + 1)]
    return [night for night in nights if night == nights[-1] or rng.random() >= MISSED_NIGHTS]


def _usage_days(reads: Sequence[datetime], period: BillingPeriod) -> list[UsageDay]:
    """Return the usage days of the syncs like the warehouse does (``optimization/usage_days.sql``)."""
    days: dict[tuple[date, int], UsageDay] = {}
    before: datetime | None = None
    for moment in reads:
        key = (moment.astimezone(ZONE).date(), THIS if moment >= period.cycle_start else BEFORE)
        if key[1] == THIS and (before is None or before < period.cycle_start):
            before = period.cycle_start
        if before is not None and before < moment:
            begins_at = days[key].begins_at if key in days else before
            days[key] = UsageDay(*key, begins_at, moment)
        before = moment
    return list(days.values())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=ZONE).astimezone(UTC)


if __name__ == "__main__":
    typer.echo("\n".join(table(measure())))
