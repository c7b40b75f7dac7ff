"""Compare forecasts by what their plans cost: loss against hindsight, and coverage of the 90 % interval of the bill.

For each generator, seed and price list a fleet is cut some days before the period's end. Plans are chosen by a method
from what was known then, and billed with the real usage. The loss is that bill relative to the best plans in hindsight,
less 1. Methods:

* ``point``: the forecast of `amop.optimization.usage_history` (the daily history + 1 %) and the bill's optimizer.
* ``bootstrap``: scenarios from the SIM's own days, each SIM with draws of its own.
* ``pooled``: the scenarios of `amop.optimization.usage_scenarios`.
* ``known``: futures drawn by the generator itself: the distribution is known, only the future is not.

    python -m bench.forecast --first 101 --seeds 10 --cuts 7
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import typer

from amop.optimization.usage_history import UsageDay, usage_history
from amop.optimization.usage_rates import DailyUsage, Remaining
from amop.optimization.usage_scenarios import interval_scenarios, simulate_usage
from amop.solver import CostModel, Devices, Eligibility, OptimizationResult, RatePlans, Terms, optimize
from amop.solver.expected import optimize_expected
from amop.solver.scenarios import RiskFigures, ScenarioBills
from bench.forecast_fleets import BEFORE, DAYS, GENERATORS, PERIOD, PRICE_LISTS, WEEKDAY, ForecastFleet

START = datetime(2026, 6, 1, tzinfo=UTC)
"""A Monday, the first day."""
LOOKBACK = 28
SCENARIOS, INTERVAL = 64, 99
METHODS = ("point", "bootstrap", "pooled", "known")

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the plans of one method cost in one case."""

    generator: str
    price_list: str
    cut: int
    method: str
    loss: float
    """Real bill relative to the least bill in hindsight, less 1."""
    is_covered: bool | None
    """Whether the real bill is within the interval of the bill; None without one."""
    expected: float
    """Mean of the interval's bills relative to the real one, less 1; 0 without an interval."""


def outcomes(
    generator: str,
    seed: int,
    cut: int,
    *,
    count: int,
    scenarios: int = SCENARIOS,
    methods: Collection[str] = METHODS,
) -> list[Outcome]:
    """Return the outcome of the methods and every price list for one fleet, cut days before the period's end."""
    fleet = GENERATORS[generator](seed, count)
    real = micro_mb(fleet.megabytes[:, BEFORE:].sum(axis=1))
    case = ForecastCase.of(fleet, cut)
    point, usages = forecasts(case, seed, scenarios)
    intervals = {
        "pooled": list(interval_scenarios(case.history, case.used, case.remaining, seed=seed)),
        "known": [case.futures(scenarios, INTERVAL)],
    }
    found = []
    for name, plans in PRICE_LISTS.items():
        eligibility = Eligibility.of(np.ones((1, len(plans)), dtype=np.bool_))
        truth = CostModel(devices_with(real), plans, eligibility, Terms(PERIOD, uses_proration=False))
        best, of_point = (_optimize(usage, plans, eligibility) for usage in (real, point))
        for method, usage in usages.items():
            if method not in methods:
                continue
            result = optimize_expected(
                devices_with(point), plans, eligibility, usage, period_days=PERIOD, uses_proration=False, point=of_point
            )
            bill, covered, bias = truth.bill(result.assignment), None, 0.0
            if method in intervals:
                parts = [
                    ScenarioBills(result.bills.model, usage).risk(result.assignment) for usage in intervals[method]
                ]
                risk = RiskFigures.merged(parts)
                covered, bias = risk.quantile(5) <= bill <= risk.quantile(95), risk.expected() / bill - 1
            found.append(Outcome(generator, name, cut, method, bill / best.total_cost - 1, covered, bias))
        if "point" in methods:
            bill = truth.bill(of_point.assignment)
            found.append(Outcome(generator, name, cut, "point", bill / best.total_cost - 1, None, 0.0))
    return found


@dataclass(frozen=True, slots=True)
class ForecastCase:
    """What is known of a fleet some days before the period's end."""

    fleet: ForecastFleet
    now: int
    """Number of the first day that is not known."""
    history: DailyUsage
    used: Integers
    """Usage of the period so far, shape (N,), 1e-6 MB."""
    remaining: Remaining

    @classmethod
    def of(cls, fleet: ForecastFleet, cut: int) -> ForecastCase:
        """Return the case of a fleet, cut days before the period's end."""
        now = DAYS - cut
        history = DailyUsage(
            usage=micro_mb(fleet.seen[:, now - LOOKBACK : now]),
            length=np.ones(LOOKBACK),
            weekday=WEEKDAY[now - LOOKBACK : now],
            first_day=np.clip(fleet.first_day - (now - LOOKBACK), 0, LOOKBACK),
        )
        used = micro_mb(fleet.seen[:, BEFORE:now].sum(axis=1))
        return cls(fleet, now, history, used, Remaining(np.ones(cut), WEEKDAY[now:]))

    def futures(self, first: int, count: int) -> Integers:
        """Return usage with futures that the generator draws, from a number on, shape (N, count), 1e-6 MB."""
        drawn = [self.fleet.again(self.now, number).sum(axis=1) for number in range(first, first + count)]
        return self.used[:, None] + micro_mb(np.stack(drawn, axis=1))


def forecasts(case: ForecastCase, seed: int, scenarios: int) -> tuple[Integers, dict[str, Integers]]:
    """Return the point forecast, shape (N,), and the scenarios of each method, shape (N, S); 1e-6 MB."""
    history, used, remaining = case.history, case.used, case.remaining
    return _point(history, used, case.now, case.fleet.first_day), {
        "bootstrap": bootstrap(history, used, remaining, scenarios, seed),
        "pooled": simulate_usage(history, used, remaining, count=scenarios, seed=seed),
        "known": case.futures(0, scenarios),
    }


def bootstrap(history: DailyUsage, used: Integers, remaining: Remaining, count: int, seed: int) -> Integers:
    """Return scenarios in which every remaining day is a day of the SIM's own history, half of them of its weekday."""
    rng = np.random.default_rng([seed, 5])
    rest = np.zeros((len(used), count))
    rows = np.arange(len(used))[:, None]
    for weekday in remaining.weekday:
        same = np.flatnonzero(history.weekday == weekday)
        any_day = rng.integers(0, len(history.length), rest.shape)
        own_day = same[rng.integers(0, len(same), rest.shape)]
        day = np.maximum(np.where(rng.random(rest.shape) < 0.5, own_day, any_day), history.first_day[:, None])
        rest += np.where(day < len(history.length), history.usage[rows, day.clip(max=len(history.length) - 1)], 0)
    return used[:, None] + np.rint(rest).astype(np.int64)


def _point(history: DailyUsage, used: Integers, now: int, activated: Integers) -> Integers:
    """Return the forecast of today's method, shape (N,), 1e-6 MB."""
    moments = [START + timedelta(days=day) for day in range(now - LOOKBACK, now + 1)]
    start = START + timedelta(days=BEFORE)
    days = [UsageDay(begin.date(), 1 if begin < start else 2, begin, end) for begin, end in pairwise(moments)]
    known = usage_history(
        days, billing_period_id=2, usage_as_of=moments[-1], cycle_end=START + timedelta(days=DAYS), time_zone="UTC"
    )
    if known is None:
        raise ValueError("the history is too short")
    weights = np.array([*known.weights, [0] * LOOKBACK]) / 1e6
    first = history.first_day
    rest = (weights[first] * history.usage).sum(axis=1)
    by_time = used * (PERIOD / (now - BEFORE)) - used
    enough = np.array(known.counts)[first] >= 3
    projected: Integers = np.rint((used + np.where(enough, rest, by_time)) * 1.01).astype(np.int64)
    return projected


def _optimize(usage: Integers, plans: RatePlans, eligibility: Eligibility) -> OptimizationResult:
    return optimize(devices_with(usage), plans, eligibility, period_days=PERIOD, uses_proration=False, time_limit=0)


def devices_with(usage: Integers) -> Devices:
    """Return SIMs with a usage, shape (N,), 1e-6 MB, that may have every plan and have none yet."""
    count = len(usage)
    return Devices(
        device_id=np.array([f"8901170{number:012d}" for number in range(count)]),
        communication_plan=np.zeros(count, dtype=np.int64),
        usage_micro_mb=usage,
        sms_usage=np.zeros(count, dtype=np.int64),
        days_active=np.full(count, PERIOD),
        is_prorated=np.zeros(count, dtype=np.bool_),
        current_rate_plan=np.full(count, -1),
    )


def micro_mb(megabytes: npt.NDArray[np.float64]) -> Integers:
    """Return megabytes in 1e-6 MB."""
    return np.rint(megabytes * 1e6).astype(np.int64)


def table(found: Sequence[Outcome]) -> list[str]:
    """Return outcomes as lines of a markdown table: mean loss with its standard error, and coverage."""
    losses = " | ".join(f"{method}, loss %" for method in METHODS)
    lines = [
        f"| days left | generator | price list | {losses} | 90 % interval holds: pooled, known | expected / real, % |",
        "|---|---|---|" + "---|" * (len(METHODS) + 2),
    ]
    groups: dict[tuple[int, str, str], list[Outcome]] = defaultdict(list)
    for one in found:
        groups[one.cut, one.generator, one.price_list].append(one)
        groups[one.cut, one.generator, "all"].append(one)
        groups[one.cut, "all", "all"].append(one)
    for (cut, generator, price_list), mine in sorted(groups.items(), key=lambda pair: (-pair[0][0], *pair[0][1:])):
        cells = []
        for method in METHODS:
            percent = np.array([one.loss for one in mine if one.method == method]) * 100
            cells.append(f"{percent.mean():.2f} ± {percent.std() / len(percent) ** 0.5:.2f}")
        held = [100 * np.mean([one.is_covered for one in mine if one.method == m]) for m in ("pooled", "known")]
        bias = 100 * np.mean([one.expected for one in mine if one.method == "pooled"])
        cells.append(f"{held[0]:.0f}, {held[1]:.0f} | {bias:+.2f}")
        lines.append(f"| {cut} | {generator} | {price_list} | {' | '.join(cells)} |")
    return lines


def section(*, first: int = 201, seeds: int = 10, cuts: Sequence[int] = (7, 3), sims: int = 500) -> list[str]:
    """Measure and return the section of docs/benchmarks.md.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        cuts: days before the period's end.
        sims: SIMs of a fleet.
    """
    found: list[Outcome] = []
    for cut in cuts:
        for generator in GENERATORS:
            for seed in range(first, first + seeds):
                found += outcomes(generator, seed, cut, count=sims)
    return [
        "What the plans that a forecast chooses cost more than the best plans in hindsight, mean and standard error;"
        f" {seeds} fleets of {sims:,} SIMs of each generator. `bench/forecast.py` explains the methods; no setting was"
        " chosen with these seeds.",
        "",
        *table(found),
        "",
    ]


def main(first: int = 1, seeds: int = 3, cuts: str = "7,3", sims: int = 500) -> None:
    """Print the table of some seeds.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        cuts: days before the period's end, separated by commas.
        sims: SIMs of a fleet.
    """
    begun = time.perf_counter()
    typer.echo("\n".join(section(first=first, seeds=seeds, cuts=[int(cut) for cut in cuts.split(",")], sims=sims)))
    typer.echo(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    typer.run(main)
