"""Measure what a risk weight does to real bills: which default of ``risk_weight`` is best.

For fleets of `bench.forecast_fleets` and each price list, plans are chosen some days before the period's end with
several weights of the worst tenth of the bills (`amop.solver.risk`), and billed with the real usage. A weight costs a
little of the expected bill and is to help in bad periods, so that both the mean loss and that of the worst tenth of the
cases are compared with those of weight 0.

    python -m bench.risk_weight --first 501 --seeds 5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import typer

from amop.optimization.usage_scenarios import simulate_usage
from amop.solver import CostModel, Eligibility, Terms, optimize
from amop.solver.expected import optimize_expected
from bench.forecast import ForecastCase, devices_with, micro_mb
from bench.forecast_fleets import BEFORE, GENERATORS, PERIOD, PRICE_LISTS

WEIGHTS = ("0", "0.25", "0.5", "1", "2")
CUTS = (7, 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the plans of one weight cost in one case."""

    generator: str
    cut: int
    weight: str
    loss: float
    """Real bill relative to the least bill in hindsight, less 1."""


def outcomes(
    generator: str, seed: int, cut: int, *, count: int, weights: Sequence[str] = WEIGHTS, scenarios: int = 64
) -> list[Outcome]:
    """Return the outcome of every weight and price list for one fleet, cut days before the period's end."""
    fleet = GENERATORS[generator](seed, count)
    real = micro_mb(fleet.megabytes[:, BEFORE:].sum(axis=1))
    case = ForecastCase.of(fleet, cut)
    usage = simulate_usage(case.history, case.used, case.remaining, count=scenarios, seed=seed)
    found = []
    for plans in PRICE_LISTS.values():
        eligibility = Eligibility.of(np.ones((1, len(plans)), dtype=np.bool_))
        truth = CostModel(devices_with(real), plans, eligibility, Terms(PERIOD, uses_proration=False))
        terms = {"period_days": PERIOD, "uses_proration": False}
        devices = devices_with(usage.mean(axis=1).astype(np.int64))
        best, point = (
            optimize(known, plans, eligibility, time_limit=0, **terms)  # type: ignore[arg-type]
            for known in (devices_with(real), devices)
        )
        for weight in weights:
            chosen = optimize_expected(
                devices,
                plans,
                eligibility,
                usage,
                risk_weight=weight,
                point=point,
                **terms,  # type: ignore[arg-type]
            )
            found.append(Outcome(generator, cut, weight, truth.bill(chosen.assignment) / best.total_cost - 1))
    return found


def table(found: Sequence[Outcome]) -> list[str]:
    """Return outcomes as lines of a markdown table: mean losses in %, and the difference from weight 0."""
    names = [*GENERATORS, "all"]
    weights = list(dict.fromkeys(one.weight for one in found))
    lines = [
        f"| days left | risk_weight |{''.join(f' {name}, loss % |' for name in names)}"
        " all, less that of weight 0 | worst tenth of the cases, loss % |",
        "|---|---|" + "---|" * (len(names) + 2),
    ]
    for cut in dict.fromkeys(one.cut for one in found):
        plain = 100 * np.array([one.loss for one in found if (one.cut, one.weight) == (cut, weights[0])])
        for weight in weights:
            mine = [one for one in found if (one.cut, one.weight) == (cut, weight)]
            losses = 100 * np.array([one.loss for one in mine])
            cells = [
                f"{np.mean([100 * one.loss for one in mine if name in (one.generator, 'all')]):.2f}" for name in names
            ]
            difference = losses - plain
            cells.append(f"{difference.mean():+.2f} ± {difference.std() / len(difference) ** 0.5:.2f}")
            cells.append(f"{np.sort(losses)[-max(1, len(losses) // 10) :].mean():.2f}")
            lines.append(f"| {cut} | {weight} | {' | '.join(cells)} |")
    return lines


def section(*, first: int = 601, seeds: int = 10, cuts: Sequence[int] = CUTS, sims: int = 500) -> list[str]:
    """Measure and return the section of docs/benchmarks.md.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        cuts: days before the period's end.
        sims: SIMs of a fleet.
    """
    found = [
        one
        for cut in cuts
        for generator in GENERATORS
        for seed in range(first, first + seeds)
        for one in outcomes(generator, seed, cut, count=sims)
    ]
    return [
        "What the real bill is above the least one in hindsight, by the weight of the worst tenth of the bills with"
        f" which plans were chosen; {seeds} fleets of {sims:,} SIMs of each generator with three price lists.",
        "",
        *table(found),
        "",
    ]


def main(first: int = 501, seeds: int = 3, cuts: str = "7,3", sims: int = 500) -> None:
    """Print the table of some seeds.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        cuts: days before the period's end, separated by commas.
        sims: SIMs of a fleet.
    """
    typer.echo("\n".join(section(first=first, seeds=seeds, cuts=[int(cut) for cut in cuts.split(",")], sims=sims)))


if __name__ == "__main__":
    typer.run(main)
