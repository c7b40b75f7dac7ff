"""Small pool components to proved optimality: complete enumeration, or branch and bound by HiGHS.

On a small fleet a single overage block, or one SIM that the LP relaxation splits, dominates the optimality gap. A cap
on the number of changes couples the components of a fleet, which are then solved together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.components import NOT_ELIGIBLE, Doubles, PoolComponent
from amop.solver.integer_program import Columns, IntegerProgram
from amop.solver.model import NONE, Integers

MAX_ASSIGNMENTS = 2**18
"""Components with at most this number of assignments are enumerated."""
MAX_ENUMERATED_SIMS = 64
"""Fleets with fewer SIMs than this are enumerated; NumPy has no more dimensions."""
MAX_SIMS = 3_000
"""Components with more SIMs are not searched, nor are fleets with more under a cap: their gap is small, and a proof
would take minutes."""


@dataclass(frozen=True, slots=True)
class ExactResult:
    """The result of an exact search of a pool component."""

    chosen: Integers
    """The plan of each SIM of the component, shape (n,), int64."""
    is_optimal: bool
    """True when no assignment of the component costs less, to the last 1e-6."""
    bound: float
    """Dual bound of the component's bill, 1e-6 currency."""


@dataclass(frozen=True, slots=True)
class CappedResult:
    """The result of an exact search of all components under one cap on changes."""

    chosen: list[Integers]
    """The plan of each SIM, by component."""
    is_optimal: bool
    """True when no assignments of the components within the cap cost less together, to the last 1e-6."""


@dataclass(frozen=True, slots=True)
class Incumbent:
    """A pool component, the dual prices of its pools and the best assignment known."""

    component: PoolComponent
    price: Doubles
    """Shape (K,), currency per MB."""
    chosen: Integers
    """The plan of each SIM, shape (n,), int64."""


def solve_exactly(component: PoolComponent, price: Doubles, chosen: Integers, seconds: float) -> ExactResult | None:
    """Return the best assignment found, at most as expensive as the incumbent; None for a component that is too large.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the incumbent, shape (n,), int64.
        seconds: time limit of branch and bound; 0 or less = only enumerate.
    """
    if not component.pools:
        return ExactResult(chosen, True, float(component.bill(chosen)))
    if _assignment_count(component) <= MAX_ASSIGNMENTS:
        every = _Assignments(component)
        best = every.chosen(int(every.cost.argmin()))
        return ExactResult(best, True, float(component.bill(best)))
    if len(chosen) > MAX_SIMS or seconds <= 0:
        return None
    program = IntegerProgram([Columns(component, price, chosen, by_current_plan=False)], None)
    found, is_optimal, bound = program.solve(seconds)
    return ExactResult(found[0], is_optimal, bound)


def solve_within_cap(fleet: list[Incumbent], max_changes: int, seconds: float) -> CappedResult | None:
    """Return the best assignments found within the cap; None for a fleet that is too large.

    Args:
        fleet: all components; the incumbents together are within the cap, and the result costs no more.
        max_changes: cap on the SIMs that leave a current plan which they could keep.
        seconds: time limit of branch and bound; 0 or less = only enumerate.
    """
    sims = sum(len(one.chosen) for one in fleet)
    if sims < MAX_ENUMERATED_SIMS and sum(_assignment_count(one.component) for one in fleet) <= MAX_ASSIGNMENTS:
        return CappedResult(_cheapest_within_cap([one.component for one in fleet], max_changes), is_optimal=True)
    if sims > MAX_SIMS or seconds <= 0:
        return None
    parts = [Columns(one.component, one.price, one.chosen, by_current_plan=True) for one in fleet]
    found, is_optimal, _ = IntegerProgram(parts, max_changes).solve(seconds)
    return CappedResult(found, is_optimal)


def _choices(component: PoolComponent) -> list[Integers]:
    """Return the eligible plans of each cost class, length C."""
    return [np.flatnonzero(row < NOT_ELIGIBLE / 2) for row in component.own]


def _assignment_count(component: PoolComponent) -> float:
    """Return the number of assignments of a component; infinity where it has too many SIMs to be enumerated."""
    if len(component.rows) >= MAX_ENUMERATED_SIMS:
        return np.inf
    choices = _choices(component)
    return float(np.prod([float(len(choices[number])) for number in component.class_of]))


class _Assignments:
    """Every assignment of a small component, in the order of the plan indices, the last SIM's changing fastest.

    Args:
        component: the pool component.
    """

    def __init__(self, component: PoolComponent) -> None:
        choices = _choices(component)
        self._of_sims = [choices[number] for number in component.class_of]
        cost, changes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        excess = np.zeros((len(component.pools), 1), dtype=np.int64)
        pool_of = component.pool_of_plans
        for position, plans in enumerate(self._of_sims):
            here = np.full(len(plans), position)
            added = np.zeros((len(component.pools), len(plans)), dtype=np.int64)
            pooled = np.flatnonzero(pool_of[plans] != NONE)
            added[pool_of[plans][pooled], pooled] = component.exact_excess(here, plans)[pooled]
            cost = (cost[:, None] + component.exact_costs(here, plans)).reshape(-1)
            excess = (excess[:, :, None] + added[:, None, :]).reshape(len(component.pools), len(cost))
            changes = (changes[:, None] + component.is_change(here, plans)).reshape(-1)
        for pool, row in zip(component.pools, excess, strict=True):
            cost += overage_blocks(row, component.model.pool_block[pool]) * component.model.pool_rate[pool]
        self.cost = cost
        """Bill plus the price per change of each assignment, int64, 1e-6 currency."""
        self.changes = changes
        """SIMs that leave a current plan which they could keep, in each assignment."""

    def chosen(self, number: int) -> Integers:
        """Return the plan of each SIM in one of the assignments, shape (n,), int64."""
        at = np.unravel_index(number, [len(plans) for plans in self._of_sims])
        return np.array([plans[place] for plans, place in zip(self._of_sims, at, strict=True)], dtype=np.int64)


def _cheapest_within_cap(components: list[PoolComponent], max_changes: int) -> list[Integers]:
    """Return the cheapest assignments within the cap, one for each component; ties: fewer changes in the last one."""
    best: dict[int, tuple[int, list[Integers]]] = {0: (0, [])}
    for component in components:
        every = _Assignments(component)
        of_component = []
        for changes in np.unique(every.changes[every.changes <= max_changes]).tolist():
            of_changes = np.flatnonzero(every.changes == changes)
            number = int(of_changes[every.cost[of_changes].argmin()])
            of_component.append((changes, int(every.cost[number]), every.chosen(number)))
        combined: dict[int, tuple[int, list[Integers]]] = {}
        for changes, cost, chosen in of_component:
            for before, (cost_before, chosen_before) in best.items():
                total, number = cost_before + cost, before + changes
                if number <= max_changes and (number not in combined or total < combined[number][0]):
                    combined[number] = (total, [*chosen_before, chosen])
        best = combined
    return min(best.values(), key=lambda one: one[0])[1]
