"""Compare when to change rate plans: all a week before the period's end, all on its last day, or doubtful ones later.

Usage is known better every day, but the carrier may be out of reach on the last day, and then nothing is changed any
more. For each fleet of `bench.forecast_fleets` and each price list, all SIMs begin on the plans that were best for the
30 days before the period. A policy decides in sessions 7, 3 and 1 days before the end; the bill is that of the real
usage. The doubt of a change is its regret relative to its saving (`amop.solver.stake`); a policy with a limit
lets changes above it wait for the last session. Where a SIM may change once, later sessions cannot correct a change.

    python -m bench.decide --first 501 --seeds 5 --doubts 0.05,0.1,0.2,0.5
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

import numpy as np
import numpy.typing as npt
import typer

from amop.optimization.usage_scenarios import simulate_usage
from amop.solver import CostModel, Eligibility, RatePlans, Terms, optimize
from amop.solver.expected import optimize_expected
from amop.solver.stake import DOUBT_TO_WAIT, stakes_of
from bench.forecast import ForecastCase, devices_with, micro_mb
from bench.forecast_fleets import BEFORE, GENERATORS, PERIOD, PRICE_LISTS, ForecastFleet

SESSIONS = (7, 3, 1)
"""Days before the period's end on which a session decides."""
LOST = 0.02
"""Probability with which a last session is lost, in the column that weighs both outcomes: one period in four years."""

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Policy:
    """When changes are sent."""

    sessions: tuple[int, ...]
    is_once: bool
    """Whether a SIM's plan may change once only."""
    doubt: float = inf
    """Changes with a higher doubt wait for the last session; infinite = none does."""


EARLY, LAST = Policy((7,), is_once=True), Policy((1,), is_once=True)
ONCE, EVERY = Policy(SESSIONS, is_once=True), Policy(SESSIONS, is_once=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy led to in one case."""

    generator: str
    policy: Policy
    loss: float
    """Real bill relative to the least bill in hindsight, less 1."""
    loss_without_last: float
    """The same where the session of the last day is lost."""
    changes: float
    """Plan changes for each SIM."""
    on_last_day: float
    """Share of them on the last day."""


def outcomes(generator: str, seed: int, policies: Sequence[Policy], *, count: int) -> list[Outcome]:
    """Return what each policy leads to for one fleet and every price list."""
    fleet = GENERATORS[generator](seed, count)
    usage = {cut: _scenarios(fleet, cut, seed) for cut in SESSIONS}
    before, real = (micro_mb(fleet.megabytes[:, days].sum(axis=1)) for days in _PERIODS)
    found = []
    for plans in PRICE_LISTS.values():
        case = _Case(plans, usage)
        start, least = case.best(before)[0], case.best(real)[1]
        truth = CostModel(devices_with(real), plans, case.any_plan, Terms(PERIOD, uses_proration=False))
        for policy in policies:
            path = case.follow(policy, start)
            sent = [int((one != other).sum()) for one, other in pairwise(path)]
            without_last = path[-2] if policy.sessions[-1] == SESSIONS[-1] else path[-1]
            found.append(
                Outcome(
                    generator,
                    policy,
                    truth.bill(path[-1]) / least - 1,
                    truth.bill(without_last) / least - 1,
                    sum(sent) / count,
                    sent[-1] / max(1, sum(sent)) if policy.sessions[-1] == SESSIONS[-1] else 0.0,
                )
            )
    return found


_PERIODS = (slice(BEFORE - PERIOD, BEFORE), slice(BEFORE, None))


class _Case:
    """A fleet with one price list.

    Args:
        plans: the price list.
        usage: scenarios of each session, shape (N, S), 1e-6 MB.
    """

    def __init__(self, plans: RatePlans, usage: Mapping[int, Integers]) -> None:
        self.plans, self.usage = plans, usage
        self.any_plan = Eligibility.of(np.ones((1, len(plans)), dtype=np.bool_))
        # Group 0 may have every plan, group 1 + p keeps plan p.
        self.kept = Eligibility.of(np.vstack([np.ones((1, len(plans)), dtype=np.bool_), np.eye(len(plans)) > 0]))
        self._known: dict[tuple[int, bytes, bytes], tuple[Integers, Numbers]] = {}

    def best(self, usage: Integers) -> tuple[Integers, int]:
        """Return the best plans of a usage that is known, and their bill."""
        devices = devices_with(usage)
        found = optimize(devices, self.plans, self.any_plan, period_days=PERIOD, uses_proration=False, time_limit=0)
        return found.assignment, found.total_cost

    def follow(self, policy: Policy, start: Integers) -> list[Integers]:
        """Return the plans of the SIMs at first and after each session, shape (N,) each."""
        path, may_change = [start], np.ones(len(start), dtype=np.bool_)
        for cut in policy.sessions:
            present = path[-1]
            chosen, doubt = self._choose(cut, present, may_change)
            sent = (chosen != present) & ((doubt <= policy.doubt) | (cut == policy.sessions[-1]))
            path.append(np.where(sent, chosen, present))
            if policy.is_once:
                may_change = may_change & ~sent
        return path

    def _choose(self, cut: int, present: Integers, may_change: npt.NDArray[np.bool_]) -> tuple[Integers, Numbers]:
        """Return the plan of each SIM that a session chooses, and the doubt of its change."""
        key = cut, present.tobytes(), may_change.tobytes()
        if key not in self._known:
            usage = self.usage[cut]
            devices = replace(
                devices_with(usage.mean(axis=1).astype(np.int64)),
                communication_plan=np.where(may_change, 0, 1 + present),
                current_rate_plan=present,
            )
            found = optimize_expected(
                devices, self.plans, self.kept, usage, period_days=PERIOD, uses_proration=False, time_limit=0
            )
            stakes = stakes_of(found.bills, found.certificate, found.assignment)
            doubt = stakes.regret / np.maximum(stakes.saving, 1e-9)
            self._known[key] = found.assignment, np.where(stakes.may_stay, doubt, 0.0)
        return self._known[key]


def _scenarios(fleet: ForecastFleet, cut: int, seed: int) -> Integers:
    case = ForecastCase.of(fleet, cut)
    return simulate_usage(case.history, case.used, case.remaining, seed=seed)


def policies_with(doubts: Sequence[float]) -> dict[str, Policy]:
    """Return the compared policies by their names in the table, with these limits of the doubt."""
    waiting = {
        f"{name}, doubt above {doubt:g} waits": replace(policy, doubt=doubt)
        for name, policy in (("once", ONCE), ("again", EVERY))
        for doubt in doubts
    }
    return {
        "one decision, 7 days before the end": EARLY,
        "one decision, on the last day": LAST,
        "once, none waits": ONCE,
        "again, none waits": EVERY,
        **waiting,
    }


def table(found: Sequence[Outcome], policies: Mapping[str, Policy]) -> list[str]:
    """Return outcomes as lines of a markdown table: losses in % with their standard errors, and changes."""
    groups: dict[Policy, list[Outcome]] = defaultdict(list)
    for one in found:
        groups[one.policy].append(one)
    names = [*GENERATORS, "all"]
    weighed = f"all, last day lost in {LOST:.0%} of the periods"
    lines = [
        f"| changes of a SIM |{''.join(f' {name} |' for name in names)} all, last day lost | {weighed}"
        " | changes for each SIM | of them on the last day |",
        "|---|" + "---|" * (len(names) + 4),
    ]
    for name, policy in policies.items():
        mine = groups[policy]
        cells = [_percent([one.loss for one in mine if of in (one.generator, "all")]) for of in names]
        lost = [one.loss_without_last for one in mine]
        cells.append(_percent(lost))
        both = [(1 - LOST) * one.loss + LOST * other for one, other in zip(mine, lost, strict=True)]
        cells.append(f"{100 * np.mean(both):.2f}")
        cells.append(f"{np.mean([one.changes for one in mine]):.2f}")
        cells.append(f"{np.mean([one.on_last_day for one in mine]):.0%}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _percent(losses: Sequence[float]) -> str:
    if not losses:
        return "—"
    percent = 100 * np.array(losses)
    return f"{percent.mean():.2f} ± {percent.std() / len(percent) ** 0.5:.2f}"


def measure(policies: Mapping[str, Policy], *, first: int, seeds: int, sims: int) -> list[Outcome]:
    """Return the outcomes of the policies for some seeds; each seed is a fleet of every generator."""
    return [
        one
        for generator in GENERATORS
        for seed in range(first, first + seeds)
        for one in outcomes(generator, seed, list(policies.values()), count=sims)
    ]


def section(*, first: int = 601, seeds: int = 10, sims: int = 300) -> list[str]:
    """Measure and return the section of docs/benchmarks.md.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        sims: SIMs of a fleet.
    """
    policies = policies_with([DOUBT_TO_WAIT])
    return [
        "What the bill is above the least one in hindsight, in %, mean and standard error, by when plans are changed;"
        f" {seeds} fleets of {sims:,} SIMs of each generator with three price lists. All SIMs begin on the plans that"
        ' were best for the month before. Sessions decide 7, 3 and 1 days before the end. "once": a SIM\'s plan may'
        ' change once in the period; "again": any later session may correct a change. The limit of the doubt was'
        " chosen with other seeds. `bench/decide.py` explains the method.",
        "",
        *table(measure(policies, first=first, seeds=seeds, sims=sims), policies),
        "",
    ]


def main(first: int = 501, seeds: int = 3, sims: int = 300, doubts: str = "0.03,0.1,0.3") -> None:
    """Print the table of some seeds.

    Args:
        first: the first seed.
        seeds: number of seeds; each is a fleet of every generator.
        sims: SIMs of a fleet.
        doubts: limits of the doubt, separated by commas.
    """
    policies = policies_with([float(doubt) for doubt in doubts.split(",")])
    typer.echo("\n".join(table(measure(policies, first=first, seeds=seeds, sims=sims), policies)))


if __name__ == "__main__":
    typer.run(main)
