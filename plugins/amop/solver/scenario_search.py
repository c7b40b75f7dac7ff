"""Search for the assignment of the least expected bill: relaxation, rounding, local search, enumeration if tiny.

The local search makes the single move that saves most, in exact integers over all scenarios, until none saves. A few
blocks more or less matter less than in one scenario: the expected overage of a pool is nearly smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.changes import count_changes
from amop.solver.components import NOT_ELIGIBLE, Doubles
from amop.solver.model import NONE, Integers, rank_in_run
from amop.solver.scenario_relaxation import (
    ScenarioComponent,
    chunks,
    round_scenarios,
    scenario_components,
    solve_scenario_relaxation,
)
from amop.solver.scenarios import ScenarioBills

MAX_CELLS = 2**22
"""Components are enumerated if assignments x scenarios x pools are at most this number."""
MAX_SIMS_OF_STARTS = 20_000
"""Components with more SIMs are only searched from the rounded relaxation, which is close to the optimum."""
SAMPLE_SIZE = 32_768
"""SIMs from which moves are drawn."""
MOVES_PER_PLAN_PAIR, MAX_MOVES = 150, 3_000
"""Candidate moves: those of least reduced cost."""
MAX_ROUNDS, MAX_STEPS = 3, 300
"""Times that candidates are drawn, and moves made of one draw."""


@dataclass(frozen=True, slots=True)
class ScenarioSearchResult:
    """What a search found."""

    assignment: Integers
    """Index of the rate plan of each SIM, shape (N,), int64; -1 for a SIM without an eligible plan."""
    price: Doubles
    """Dual price of the data of each pool in each scenario, shape (K, S), currency per MB."""
    is_optimal: bool
    """True if all assignments of every component with pools were enumerated."""


def search_scenarios(bills: ScenarioBills, min_saving: int, starts: Sequence[Integers]) -> ScenarioSearchResult:
    """Return the assignment of the least expected bill + minimum saving x changes that was found.

    Args:
        bills: the fleet in canonical order.
        min_saving: minimum saving per change, 1e-6 currency.
        starts: assignments to eligible plans that the result is never worse than, shape (N,) each.
    """
    assignment = np.full(len(bills.model.devices), NONE, dtype=np.int64)
    price = np.zeros((bills.model.pool_count, bills.count))
    is_optimal = True
    for component in scenario_components(bills, min_saving):
        rows, pools = component.component.rows, component.component.pools
        relaxation = solve_scenario_relaxation(component)
        price[pools] = relaxation.price
        if not pools:
            assignment[rows] = relaxation.vertices[0]
            continue
        exact = _cheapest_of_all(component)
        is_optimal &= exact is not None
        if exact is None:
            rounded = round_scenarios(component, relaxation)
            others = [start[rows] for start in starts] if len(rows) <= MAX_SIMS_OF_STARTS else []
            found = [improve(component, relaxation.price, chosen) for chosen in (rounded, *others)]
            exact = min(found, key=lambda pair: pair[1])[0]
        assignment[rows] = exact
    objective = [scenario_objective(bills, found, min_saving) for found in (assignment, *starts)]
    best = min(range(len(objective)), key=objective.__getitem__)
    return ScenarioSearchResult((assignment, *starts)[best], price, is_optimal)


def scenario_objective(bills: ScenarioBills, assignment: Integers, min_saving: int) -> int:
    """Return the weighted sum of the bills + sum of the weights x minimum saving x changes, 1e-6 currency."""
    return bills.total(assignment) + bills.whole * min_saving * count_changes(bills.model, assignment)


def improve(component: ScenarioComponent, price: Doubles, start: Integers) -> tuple[Integers, int]:
    """Return an assignment of a component that costs at most as much as a given one, and its total.

    Args:
        component: the pool component.
        price: dual price of the data of each pool in each scenario, shape (K, S), currency per MB.
        start: the given plan of each SIM, shape (n,), int64.

    Returns:
        Shape (n,); and the weighted sum of the bills with the price per change, 1e-6 currency.
    """
    chosen = start.copy()
    sums = _pool_sums(component, chosen)
    total = _total(component, chosen, sums)
    for _ in range(MAX_ROUNDS):
        moves = _Moves(component, chosen, *_candidates(component, price, chosen))
        saved = moves.descend(chosen, sums)
        total -= saved
        if not saved:
            break
    return chosen, total


def _pool_sums(component: ScenarioComponent, chosen: Integers) -> Integers:
    """Return usage less allowance of each pool in each scenario, shape (K, S), 1e-6 MB."""
    inner, bills = component.component, component.bills
    sums = np.zeros((len(inner.pools), bills.count), dtype=np.int64)
    pool = inner.pool_of_plans[chosen]
    for at in chunks(len(chosen)):
        usage = bills.usage(inner.rows[at])
        included = bills.model.included[bills.model.tariff[inner.rows[at]], chosen[at]]
        for number in range(len(sums)):
            inside = np.flatnonzero(pool[at] == number)
            sums[number] += usage[inside].sum(axis=0) - int(included[inside].sum())
    return sums


def _total(component: ScenarioComponent, chosen: Integers, sums: Integers) -> int:
    inner, model = component.component, component.bills.model
    own = sum(int(_own_totals(component, np.arange(at.start, at.stop), chosen[at]).sum()) for at in chunks(len(chosen)))
    return own + sum(
        component.bills.weighted_sum([model.overage_cost(pool, excess) for excess in row.tolist()])
        for pool, row in zip(inner.pools, sums, strict=True)
    )


def _own_totals(component: ScenarioComponent, position: Integers, plans: Integers) -> Integers:
    """Return the weighted sum of own costs, with the price per change, of SIMs on plans, shape (m,), int64."""
    inner, bills = component.component, component.bills
    totals = np.zeros(len(position), dtype=np.int64)
    for plan in np.unique(plans).tolist():
        mine = np.flatnonzero(plans == plan)
        rows = inner.rows[position[mine]]
        totals[mine] = bills.own_totals(rows, plan, bills.usage(rows))
    if inner.change_price:
        totals += bills.whole * inner.change_price * inner.is_change(position, plans)
    return totals


def _candidates(component: ScenarioComponent, price: Doubles, chosen: Integers) -> tuple[Integers, Integers]:
    """Return positions of SIMs and the plans to move to: per pair of plans the moves of least reduced cost."""
    found: list[tuple[Integers, Integers, Integers, Doubles]] = []
    for at in chunks(min(SAMPLE_SIZE, len(chosen))):
        costs = component.costs_at(price, at)
        here = np.arange(len(costs))
        reduced = costs - costs[here, chosen[at]][:, None]
        reduced[here, chosen[at]] = NOT_ELIGIBLE
        sim, plan = np.nonzero(reduced < NOT_ELIGIBLE / 2)
        found.append((at.start + sim, plan, chosen[at][sim], reduced[sim, plan]))
    position, plan, before, reduced_cost = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((reduced_cost, before * len(component.bills.model.rate_plans) + plan))
    pair = (before * len(component.bills.model.rate_plans) + plan)[order]
    order = order[rank_in_run(pair) < MOVES_PER_PLAN_PAIR]
    order = order[np.argsort(reduced_cost[order], kind="stable")[:MAX_MOVES]]
    return position[order], plan[order]


class _Moves:
    """Candidate moves of a component and their exact effects, summed over the scenarios.

    Args:
        component: the pool component.
        chosen: the plan of each SIM, shape (n,).
        position: the SIM of each move, shape (m,).
        plan: the plan that it would move to, shape (m,).
    """

    def __init__(self, component: ScenarioComponent, chosen: Integers, position: Integers, plan: Integers) -> None:
        inner, bills = component.component, component.bills
        self.position, self.plan = position, plan
        before = chosen[position]
        self._cost = _own_totals(component, position, plan) - _own_totals(component, position, before)
        rows = inner.rows[position]
        usage, tariff = bills.usage(rows), bills.model.tariff[rows]
        out, into = inner.pool_of_plans[before], inner.pool_of_plans[plan]
        included, new = bills.model.included[tariff, before], bills.model.included[tariff, plan]
        self._weight = bills.weight
        self._block, self._rate = bills.model.pool_block[inner.pools], bills.model.pool_rate[inner.pools]
        self._changes: list[tuple[Integers, Integers]] = []
        """For each pool the moves that change it, and by how much in each scenario."""
        for pool in range(len(inner.pools)):
            leaves, enters = (out == pool)[:, None], (into == pool)[:, None]
            change = np.where(enters, usage - new[:, None], 0) - np.where(leaves, usage - included[:, None], 0)
            moves = np.flatnonzero((out == pool) | (into == pool))
            self._changes.append((moves, change[moves]))

    def descend(self, chosen: Integers, sums: Integers) -> int:
        """Make the best move until none saves; change ``chosen`` and ``sums``; return what was saved, 1e-6 currency."""
        saved, usable = 0, np.ones(len(self.position), dtype=np.bool_)
        for _ in range(MAX_STEPS if len(usable) else 0):
            cost = self._cost.copy()
            for pool, (moves, change) in enumerate(self._changes):
                now = overage_blocks(sums[pool], self._block[pool]) @ self._weight
                after = overage_blocks(sums[pool] + change, self._block[pool]) @ self._weight
                cost[moves] += (after - now) * self._rate[pool]
            cost[~usable] = 0
            best = int(cost.argmin())
            if cost[best] >= 0:
                break
            saved -= int(cost[best])
            chosen[self.position[best]] = self.plan[best]
            for pool, (moves, change) in enumerate(self._changes):
                at = int(np.searchsorted(moves, best))
                if at < len(moves) and moves[at] == best:
                    sums[pool] += change[at]
            usable &= self.position != self.position[best]
        return saved


def _cheapest_of_all(component: ScenarioComponent) -> Integers | None:
    """Return the cheapest of all assignments of a component, shape (n,); None if there are too many."""
    inner, bills = component.component, component.bills
    choices = [np.flatnonzero(row < NOT_ELIGIBLE / 2) for row in inner.own]
    if len(inner.rows) >= 64:
        return None
    of_sims = [choices[number] for number in inner.class_of]
    if np.prod([float(len(plans)) for plans in of_sims]) * bills.count * len(inner.pools) > MAX_CELLS:
        return None
    cost = np.zeros(1, dtype=np.int64)
    excess = np.zeros((len(inner.pools), 1, bills.count), dtype=np.int64)
    for position, plans in enumerate(of_sims):
        here = np.full(len(plans), position)
        rows = inner.rows[here]
        data = bills.usage(rows) - bills.model.included[bills.model.tariff[rows], plans][:, None]
        added = np.stack([np.where((inner.pool_of_plans[plans] == k)[:, None], data, 0) for k in range(len(excess))])
        cost = (cost[:, None] + _own_totals(component, here, plans)).reshape(-1)
        excess = (excess[:, :, None, :] + added[:, None, :, :]).reshape(len(excess), len(cost), bills.count)
    for number, pool in enumerate(inner.pools):
        blocks = overage_blocks(excess[number], bills.model.pool_block[pool]) @ bills.weight
        cost = cost + blocks * bills.model.pool_rate[pool]
    best = np.unravel_index(int(cost.argmin()), [len(plans) for plans in of_sims])
    return np.array([plans[at] for plans, at in zip(of_sims, best, strict=True)], dtype=np.int64)
