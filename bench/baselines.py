"""Baselines that the optimizer is compared with: what an operator could do instead.

Each method is a function of the fleet's cost model that returns the plan of every SIM. `BASELINES` maps their names to
functions of an instance that bill the answer exactly and time it (without building the cost model and the bill):

    BASELINES["direct MILP (HiGHS)"](make_instance("default", 1000), time_limit=20)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import highspy
import numpy as np

from amop.solver import CostModel, Terms
from amop.solver.bill import overage_blocks
from amop.solver.highs import set_matrix, silent_solver
from amop.solver.model import MICRO, NONE, Integers
from bench.instances import PERIOD_DAYS, Instance

MAX_PLANS = 15
"""Plans per group that the replaced system puts into sequences: those that are cheapest for the whole group alone."""
INFINITE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Baseline:
    """The result of a baseline."""

    name: str
    assignment: Integers | None
    """Plan of each SIM, shape (N,), -1 without an eligible one; None if no answer was found in time."""
    bill: int | None
    """By `CostModel.bill`, 1e-6 currency."""
    seconds: float


def measure(name: str, instance: Instance, **options: Any) -> Baseline:
    """Return the result of the method of a name (`METHODS`); ``options`` are passed to it."""
    terms = Terms(PERIOD_DAYS, uses_proration=True)
    model = CostModel(instance.devices, instance.rate_plans, instance.eligibility, terms)
    begun = time.perf_counter()
    assignment = METHODS[name](model, **options)
    seconds = time.perf_counter() - begun
    return Baseline(name, assignment, None if assignment is None else model.bill(assignment), seconds)


def current_plans(model: CostModel) -> Integers:
    """Leave every SIM on its current plan, or on its base assignment where that is unknown."""
    return model.current_assignment()[0]


def base_assignment(model: CostModel) -> Integers:
    """Put each SIM on the plan whose included data is closest to its usage."""
    return model.base_assignment()


def cheapest_alone(model: CostModel) -> Integers:
    """Put each SIM on the plan that is cheapest for it as the only SIM of its pool."""
    least = np.full(len(model.devices), INFINITE)
    best = np.full(len(least), NONE, dtype=np.int64)
    for plan in model.plans_by_code():
        rows = np.flatnonzero(model.eligible[:, plan][model.group])
        cost = _cost_alone(model, plan, rows)
        cheaper = cost < least[rows]
        best[rows[cheaper]], least[rows[cheaper]] = plan, cost[cheaper]
    return best


def _cost_alone(model: CostModel, plan: int, rows: Integers) -> Integers:
    """Return the cost of SIMs on a plan, each as the only SIM of its pool, shape (m,), 1e-6 currency."""
    cost, plans = model.own_cost(plan, rows), model.rate_plans
    if plans.pool[plan] == NONE:
        return cost
    excess = model.devices.usage_micro_mb[rows] - model.included[model.billed_days[rows], plan]
    return np.asarray(cost + overage_blocks(excess, plans.block_micro_mb[plan]) * plans.overage_rate[plan])


def replaced_heuristic(model: CostModel) -> Integers:
    """Fill sequences of plans greedily, like the replaced system, and keep the best of each comm group.

    For each comm group separately: every sequence of its plans (at most 15 of them) x four orders of its SIMs: largest
    or smallest usage first, all SIMs together or one communication plan after the other, each with its own pools. A SIM
    gets the first plan of the sequence with room: a pooled plan has room while its SIMs' usage stays within their
    included data (not prorated), any other plan for a SIM whose usage stays within its own; the last plan of the
    sequence takes the SIMs that no plan has room for. The cheapest result is kept, and shared pools are billed as
    shared.

    For sorted SIMs this can be computed in seconds, with the same result:

    * largest first, a plan takes SIMs from where usage has fallen to its included data;
    * smallest first, a pool takes SIMs until the sum of usage would exceed that of included data, and none after that;
    * so a plan behind one with more included data gets no SIM, unless it is the last: every set of plans in the order
      of included data, with any one of the plans behind it, represents all sequences.

    The SIMs, sorted by usage, are cut into ranges, one for each plan, whose costs are differences of prefix sums.
    """
    assignment = np.full(len(model.devices), NONE, dtype=np.int64)
    for group in range(len(model.eligible)):
        members = np.flatnonzero(model.group == group)
        plans = _plans_of(model, group, members)
        if not len(members) or not len(plans):
            continue
        communication_plan = model.devices.communication_plan[members]
        apart = [members[communication_plan == number] for number in np.unique(communication_plan)]
        candidates = []
        for units in [[members]] if len(apart) == 1 else [[members], apart]:
            fills = [_Fill(model, unit, plans) for unit in units]
            candidates += [_cheapest_sequence(model, group, plans, fills, first) for first in ("smallest", "largest")]
        _, found = min(candidates, key=lambda candidate: candidate[0])
        for rows, chosen in found:
            assignment[rows] = chosen
    return assignment


def _plans_of(model: CostModel, group: int, members: Integers) -> Integers:
    """Return the plans of a group in the order of their included data."""
    plans = np.flatnonzero(model.eligible[group])
    if len(plans) > MAX_PLANS and len(members):
        alone = [int(_cost_alone(model, int(plan), members).sum()) for plan in plans]
        plans = plans[np.argsort(alone, kind="stable")[:MAX_PLANS]]
    return plans[np.argsort(model.rate_plans.plan_micro_mb[plans], kind="stable")]


class _Fill:
    """SIMs that are filled into plans together, sorted by usage, with prefix sums of their costs on each plan."""

    def __init__(self, model: CostModel, members: Integers, plans: Integers) -> None:
        usage = model.devices.usage_micro_mb[members]
        order = np.lexsort((model.devices.device_id[members], usage))
        self.rows, self.usage = members[order], usage[order]
        self.used = _prefix(self.usage)
        self.own = np.stack([_prefix(model.own_cost(int(plan), self.rows)) for plan in plans])
        days = model.billed_days[self.rows]
        self.excess = np.stack([_prefix(self.usage - model.included[days, int(plan)]) for plan in plans])
        self._included = model.rate_plans.plan_micro_mb[plans]
        self._pooled = model.rate_plans.pool[plans] != NONE

    def ends(self, begin: Integers, plan: int, first: str) -> Integers:
        """Return the end of the range that a plan takes from where it begins in each sequence."""
        included = int(self._included[plan])
        covered = np.maximum(begin, np.searchsorted(self.usage, included, side="right"))
        if first == "largest" or not self._pooled[plan]:
            return covered
        # A pool takes more: usage less included data falls up to `covered` and rises from there on.
        low, high = covered, np.full(len(begin), len(self.rows))
        start = self.used[begin] - begin * included
        while (low < high).any():
            middle = (low + high + 1) // 2
            fits = self.used[middle] - middle * included <= start
            low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
        return low


def _prefix(values: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(values)])


def _cheapest_sequence(
    model: CostModel, group: int, plans: Integers, fills: list[_Fill], first: str
) -> tuple[int, list[tuple[Integers, Integers]]]:
    """Return the cost of the best sequence, with pools within the group only, and the plans of the rows."""
    chain, last = np.divmod(np.arange(len(plans) * 2 ** len(plans)), len(plans))
    cost = np.zeros(len(chain), dtype=np.int64)
    excess = np.zeros((model.pool_count + 1, len(chain)), dtype=np.int64)  # the last row is of no pool
    pool = model.pool[group, plans]
    every = np.arange(len(chain))
    for fill in fills:
        for plan, begin, end in _ranges(fill, chain, last, first):
            cost += fill.own[plan, end] - fill.own[plan, begin]
            excess[pool[plan], every] += fill.excess[plan, end] - fill.excess[plan, begin]
    for number in np.unique(pool[pool != NONE]):
        cost += overage_blocks(excess[number], model.pool_block[number]) * model.pool_rate[number]
    best = [int(cost.argmin())]
    found = []
    for fill in fills:
        chosen = np.empty(len(fill.rows), dtype=np.int64)
        for plan, begin, end in _ranges(fill, chain[best], last[best], first):
            chosen[begin[0] : end[0]] = plans[plan[0]]
        found.append((fill.rows, chosen))
    return int(cost.min()), found


def _ranges(fill: _Fill, chain: Integers, last: Integers, first: str) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Yield, plan by plan and the last one of each sequence at the end, the range of the sorted SIMs that it gets.

    Args:
        fill: the sorted SIMs.
        chain: of each sequence, the set of plans before its last one, as bits in the order of included data.
        last: of each sequence, its last plan.
        first: ``smallest`` or ``largest``.
    """
    begin = np.zeros(len(chain), dtype=np.int64)
    for number in range(len(fill.own)):
        plan = np.full(len(chain), number)
        is_in = (chain >> number & 1 == 1) & (last != number)
        end = np.where(is_in, fill.ends(begin, number, first), begin)
        yield plan, begin, end
        begin = end
    yield last, begin, np.full(len(chain), len(fill.rows))


def direct_milp(model: CostModel, *, time_limit: float = 60.0) -> Integers | None:
    """Solve the whole problem with HiGHS: a binary variable per SIM and plan, an integer of blocks per pool.

    Args:
        model: the fleet.
        time_limit: seconds; None is returned if HiGHS has found no assignment by then.
    """
    placed = np.flatnonzero(model.has_eligible)
    sim, plan = np.nonzero(model.eligible[model.group[placed]])
    rows = placed[sim]
    own = np.empty(len(rows), dtype=np.int64)
    for number in np.unique(plan):
        mine = np.flatnonzero(plan == number)
        own[mine] = model.own_cost(int(number), rows[mine])
    pool = model.pool[model.group[rows], plan]
    excess = model.devices.usage_micro_mb[rows] - model.included[model.billed_days[rows], plan]
    columns, pools, sims = len(rows), model.pool_count, len(placed)
    pooled = np.flatnonzero(pool != NONE)
    row = np.concatenate([sim, sims + pool[pooled], sims + np.arange(pools)])
    column = np.concatenate([np.arange(columns), pooled, columns + np.arange(pools)])
    value = np.concatenate([np.ones(columns), excess[pooled] / model.pool_block[pool[pooled]], np.full(pools, -1.0)])
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = columns + pools, sims + pools
    program.col_cost_ = np.concatenate([own, model.pool_rate]) / MICRO
    program.col_lower_ = np.zeros(columns + pools)
    program.col_upper_ = np.concatenate([np.ones(columns), np.full(pools, highspy.kHighsInf)])
    program.row_lower_ = np.concatenate([np.ones(sims), np.full(pools, -highspy.kHighsInf)])
    program.row_upper_ = np.concatenate([np.ones(sims), np.zeros(pools)])
    set_matrix(program, row, column, value)
    program.integrality_ = [highspy.HighsVarType.kInteger] * (columns + pools)
    solver = silent_solver()
    solver.setOptionValue("time_limit", float(time_limit))
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.passModel(program)
    solver.run()
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    found = np.array(solver.getSolution().col_value[:columns]) > 0.5
    assignment = np.full(len(model.devices), NONE, dtype=np.int64)
    assignment[rows[found]] = plan[found]
    return assignment


METHODS: dict[str, Callable[..., Integers | None]] = {
    "current plans": current_plans,
    "base assignment": base_assignment,
    "cheapest plan per SIM": cheapest_alone,
    "replaced heuristic": replaced_heuristic,
    "direct MILP (HiGHS)": direct_milp,
}
BASELINES: dict[str, Callable[..., Baseline]] = {name: partial(measure, name) for name in METHODS}
