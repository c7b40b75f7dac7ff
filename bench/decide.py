"""Compare when to decide: all SIMs a week before the period's end, all on its last day, or doubtful SIMs later.

The knowledge of usage grows until the period ends, but so does the risk that the plan changes cannot be applied any
more: five calls a second, two calls a change. SIMs with a small value at stake (`amop.solver.stake`) lose nothing if
they are decided early. For each fleet of `bench.forecast_fleets` plans are chosen a week before the end; a share of the
SIMs, those with the least value at stake, keeps them; the others are decided again on the last day. The bill is that of
the real usage.

    python -m bench.decide --first 401 --seeds 10
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import typer

from amop.optimization.usage_scenarios import simulate_usage
from amop.solver import CostModel, Eligibility, RatePlans, Terms, optimize
from amop.solver.expected import ExpectedResult, optimize_expected
from amop.solver.model import Devices
from amop.solver.stake import value_at_stake
from bench.forecast import ForecastCase, devices_with, micro_mb
from bench.forecast_fleets import BEFORE, GENERATORS, PERIOD, PRICE_LISTS, ForecastFleet

EARLY, LATE = 7, 1
"""Days before the period's end."""
SHARES = (1.0, 0.9, 0.8, 0.5, 0.0)
"""Shares of the SIMs that are decided early: 1 = one decision a week before the end, 0 = one on the last day."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the plans of one case cost."""

    generator: str
    share: float
    """Of the SIMs, decided early."""
    loss: float
    """Real bill relative to the least bill in hindsight, less 1."""
    stake: float
    """Share of the value at stake that the early SIMs have."""


def decisions(generator: str, seed: int, *, count: int) -> list[Decision]:
    """Return what each share costs for one fleet and every price list."""
    fleet = GENERATORS[generator](seed, count)
    real = micro_mb(fleet.megabytes[:, BEFORE:].sum(axis=1))
    early, late = (_scenarios(fleet, cut, seed) for cut in (EARLY, LATE))
    found = []
    for plans in PRICE_LISTS.values():
        any_plan = Eligibility.of(np.ones((1, len(plans)), dtype=np.bool_))
        truth = CostModel(devices_with(real), plans, any_plan, Terms(PERIOD, uses_proration=False))
        best = optimize(
            devices_with(real), plans, any_plan, period_days=PERIOD, uses_proration=False, time_limit=0
        ).total_cost
        # Group 0 may have every plan, group 1 + p has kept plan p.
        kept = np.vstack([np.ones((1, len(plans)), dtype=np.bool_), np.eye(len(plans), dtype=np.bool_)])
        first = _choose(devices_with(early.mean(axis=1).astype(np.int64)), plans, any_plan, early)
        stake = value_at_stake(first.bills, first.certificate, first.assignment)
        order = np.argsort(stake, kind="stable")
        for share in SHARES:
            chosen = first.assignment
            decided = order[: round(share * count)]
            if len(decided) < count:
                group = np.zeros(count, dtype=np.int64)
                group[decided] = 1 + first.assignment[decided]
                fleet_now = replace(devices_with(late.mean(axis=1).astype(np.int64)), communication_plan=group)
                chosen = _choose(fleet_now, plans, Eligibility.of(kept), late).assignment
            at_stake = float(stake[decided].sum() / max(1, stake.sum()))
            found.append(Decision(generator, share, truth.bill(chosen) / best - 1, at_stake))
    return found


def _scenarios(fleet: ForecastFleet, cut: int, seed: int) -> npt.NDArray[np.int64]:
    case = ForecastCase.of(fleet, cut)
    return simulate_usage(case.history, case.used, case.remaining, seed=seed)


def _choose(
    devices: Devices, plans: RatePlans, eligibility: Eligibility, usage: npt.NDArray[np.int64]
) -> ExpectedResult:
    return optimize_expected(devices, plans, eligibility, usage, period_days=PERIOD, uses_proration=False, time_limit=0)


def table(found: Sequence[Decision]) -> list[str]:
    """Return decisions as lines of a markdown table."""
    groups: dict[float, list[Decision]] = defaultdict(list)
    for one in found:
        groups[one.share].append(one)
    names = [*GENERATORS, "all"]
    lines = [
        f"| decided {EARLY} days before the end | their part of the value at stake |"
        + "".join(f" {name}, loss % |" for name in names),
        "|---|---|" + "---|" * len(names),
    ]
    for share in SHARES:
        mine = groups[share]
        cells = []
        for name in names:
            percent = 100 * np.array([one.loss for one in mine if name in (one.generator, "all")])
            cells.append(f"{percent.mean():.2f} ± {percent.std() / len(percent) ** 0.5:.2f}")
        lines.append(f"| {share:.0%} | {np.mean([one.stake for one in mine]):.0%} | {' | '.join(cells)} |")
    return lines


def main(first: int = 1, seeds: int = 3, sims: int = 500) -> None:
    """Print the table of some seeds.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        sims: SIMs of a fleet.
    """
    found = [
        one
        for generator in GENERATORS
        for seed in range(first, first + seeds)
        for one in decisions(generator, seed, count=sims)
    ]
    typer.echo("\n".join(table(found)))


if __name__ == "__main__":
    typer.run(main)
