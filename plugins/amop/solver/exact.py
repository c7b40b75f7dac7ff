"""Small pool components to proved optimality: complete enumeration, or branch and bound by HiGHS.

On a small fleet a single overage block, or one SIM that the LP relaxation splits, dominates the optimality gap. Reduced
cost fixing keeps the mixed integer program small: in any better assignment no SIM is on a plan whose reduced cost at
the dual prices exceeds the gap. Duplicate SIMs share one integer variable per plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.components import NOT_ELIGIBLE, Doubles, PoolComponent
from amop.solver.highs import set_matrix, silent_solver
from amop.solver.model import MICRO, NONE, Integers

MAX_ASSIGNMENTS = 2**18
"""Components with at most this number of assignments are enumerated."""
MAX_SIMS = 3_000
"""Components with more SIMs are not searched: their gap is small, and a proof would take minutes."""


@dataclass(frozen=True, slots=True)
class ExactResult:
    """The result of an exact search of a pool component."""

    chosen: Integers
    """The plan of each SIM of the component, shape (n,), int64."""
    is_optimal: bool
    """True when no assignment of the component costs less, to the last 1e-6."""
    bound: float
    """Dual bound of the component's bill, 1e-6 currency."""


def solve_exactly(
    component: PoolComponent, price: Doubles, chosen: Integers, seconds: float, max_changes: int | None = None
) -> ExactResult | None:
    """Return the best assignment found, at most as expensive as the incumbent; None for a component that is too large.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the incumbent, shape (n,), int64.
        seconds: time limit of branch and bound; 0 or less = only enumerate.
        max_changes: cap on the SIMs that leave a current plan which they could keep; the incumbent satisfies it.
    """
    if not component.pools and max_changes is None:
        return ExactResult(chosen, True, float(component.bill(chosen)))
    choices = [np.flatnonzero(row < NOT_ELIGIBLE / 2) for row in component.own]
    count = np.prod([float(len(choices[number])) for number in component.class_of]) if len(chosen) < 64 else np.inf
    if count <= MAX_ASSIGNMENTS:
        best = _cheapest_of_all(component, choices, max_changes)
        return ExactResult(best, True, float(component.bill(best)))
    if len(chosen) > MAX_SIMS or seconds <= 0:
        return None
    return _MixedIntegerProgram(component, price, chosen, max_changes).solve(seconds)


def _cheapest_of_all(component: PoolComponent, choices: list[Integers], max_changes: int | None) -> Integers:
    """Return the cheapest of all assignments of a component, shape (n,); ties: the one of the lowest plan indices."""
    cost, changes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    excess = np.zeros((len(component.pools), 1), dtype=np.int64)
    of_sims = [choices[number] for number in component.class_of]
    pool_of = component.pool_of_plans
    for position, plans in enumerate(of_sims):
        here = np.full(len(plans), position)
        added = np.zeros((len(component.pools), len(plans)), dtype=np.int64)
        pooled = np.flatnonzero(pool_of[plans] != NONE)
        added[pool_of[plans][pooled], pooled] = component.exact_excess(here, plans)[pooled]
        cost = (cost[:, None] + component.exact_costs(here, plans)).reshape(-1)
        excess = (excess[:, :, None] + added[:, None, :]).reshape(len(component.pools), len(cost))
        changes = (changes[:, None] + component.is_change(here, plans)).reshape(-1)
    for pool, row in zip(component.pools, excess, strict=True):
        cost += overage_blocks(row, component.model.pool_block[pool]) * component.model.pool_rate[pool]
    if max_changes is not None:
        cost[changes > max_changes] = np.iinfo(np.int64).max
    number = np.unravel_index(int(cost.argmin()), [len(plans) for plans in of_sims])
    return np.array([plans[at] for plans, at in zip(of_sims, number, strict=True)], dtype=np.int64)


class _MixedIntegerProgram:
    """The mixed integer program of a component: SIMs of each kind on each plan, and overage blocks of each pool.

    A kind is a set of duplicate SIMs.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the incumbent, shape (n,).
        max_changes: see `solve_exactly`.
    """

    def __init__(self, component: PoolComponent, price: Doubles, chosen: Integers, max_changes: int | None) -> None:
        self._component, self._chosen, self._bill = component, chosen, component.bill(chosen)
        costs = np.stack([component.plan_costs(plan, price) for plan in range(len(component.model.rate_plans))], axis=1)
        reduced_cost = costs - costs.min(axis=1, keepdims=True)
        self.price_bound = float(costs.min(axis=1).sum())
        usable = (costs < NOT_ELIGIBLE / 2) & (reduced_cost <= self._bill - self.price_bound + 1.0)
        self._max_changes = max_changes
        self._kind_of, first, self._count = _duplicate_sims(component, max_changes is not None)
        kind, self._plan = np.nonzero(usable[first])
        self._kind, self._sim = kind, first[kind]

    def solve(self, seconds: float) -> ExactResult:
        """Return the best assignment that HiGHS finds within the time limit (seconds)."""
        component, pools = self._component, len(self._component.pools)
        columns, kinds = len(self._kind), len(self._count)
        cost = component.exact_costs(self._sim, self._plan).astype(np.float64) / MICRO
        block = component.model.pool_block[component.pools].astype(np.float64)
        excess = component.exact_excess(self._sim, self._plan)
        pool = component.pool_of_plans[self._plan]
        solver = silent_solver()
        for name, value in (
            ("time_limit", float(seconds)),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 0.4 / MICRO),
            ("mip_feasibility_tolerance", 1e-9),
            ("primal_feasibility_tolerance", 1e-9),
        ):
            solver.setOptionValue(name, value)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = columns + pools, kinds + pools
        program.col_cost_ = np.concatenate([cost, component.model.pool_rate[component.pools] / MICRO])
        program.col_lower_ = np.zeros(columns + pools)
        program.col_upper_ = np.concatenate([self._count[self._kind].astype(np.float64), self._max_blocks()])
        program.row_lower_ = np.concatenate([self._count.astype(np.float64), np.full(pools, -highspy.kHighsInf)])
        program.row_upper_ = np.concatenate([self._count.astype(np.float64), np.zeros(pools)])
        rows = np.concatenate([self._kind, kinds + pool[pool != NONE], kinds + np.arange(pools)])
        at = np.concatenate([np.arange(columns), np.flatnonzero(pool != NONE), columns + np.arange(pools)])
        values = np.concatenate(
            [np.ones(columns), excess[pool != NONE] / block[pool[pool != NONE]], np.full(pools, -1.0)]
        )
        set_matrix(program, rows, at, values)
        program.integrality_ = [highspy.HighsVarType.kInteger] * (columns + pools)
        solver.passModel(program)
        if self._max_changes is not None:
            changed = np.flatnonzero(component.is_change(self._sim, self._plan)).astype(np.int32)
            solver.addRow(-highspy.kHighsInf, float(self._max_changes), len(changed), changed, np.ones(len(changed)))
        self._start(solver)
        solver.run()
        return self._result(solver)

    def _max_blocks(self) -> Doubles:
        """Return an upper bound of each pool's blocks in a better assignment, shape (K,)."""
        component = self._component
        model, pools = component.model, component.pools
        # A part of a SIM's period can have a negative cost: what is left for blocks is then more than the bill.
        spare = self._bill - float(np.minimum(component.own.min(axis=1), 0.0)[component.class_of].sum())
        blocks = np.maximum(0.0, component.pool_excess(self._chosen).astype(np.float64)) / model.pool_block[pools]
        return np.asarray(np.ceil(blocks) + np.ceil(spare / model.pool_rate[pools]))

    def _start(self, solver: highspy.Highs) -> None:
        """Pass the incumbent to HiGHS as its starting solution."""
        counts = np.zeros((len(self._count), len(self._component.model.rate_plans)), dtype=np.int64)
        np.add.at(counts, (self._kind_of, self._chosen), 1)
        blocks = [
            float(self._component.model.overage_blocks(pool, int(excess)))
            for pool, excess in zip(self._component.pools, self._component.pool_excess(self._chosen), strict=True)
        ]
        start = highspy.HighsSolution()
        start.col_value = [*counts[self._kind, self._plan].astype(float).tolist(), *blocks]
        start.value_valid = True
        solver.setSolution(start)

    def _result(self, solver: highspy.Highs) -> ExactResult:
        """Return HiGHS' solution or the incumbent, whichever is billed less, with the dual bound."""
        information, status = solver.getInfo(), solver.getModelStatus()
        best, bill = self._chosen, self._bill
        values = np.array(solver.getSolution().col_value)
        if len(values):
            found = self._assignment(np.rint(values[: len(self._kind)]).astype(np.int64))
            if found is not None and (found_bill := self._component.bill(found)) <= bill:
                best, bill = found, found_bill
        is_finished = status in {highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible}
        bound = information.mip_dual_bound * MICRO if status != highspy.HighsModelStatus.kInfeasible else float(bill)
        # HiGHS computes in doubles, so its solution is billed exactly and compared with its dual bound.
        is_optimal = is_finished and bill - bound <= 0.5 + 1e-9 * bill
        return ExactResult(best, is_optimal, float(bill) if is_optimal else min(bound, float(bill)))

    def _assignment(self, counts: Integers) -> Integers | None:
        """Return an assignment with these counts by kind and plan, shape (n,); None if they do not add up."""
        if (counts < 0).any() or (np.bincount(self._kind, counts, minlength=len(self._count)) != self._count).any():
            return None
        chosen = np.empty(len(self._chosen), dtype=np.int64)
        by_kind = np.argsort(self._kind_of, kind="stable")
        chosen[by_kind] = np.repeat(self._plan, counts)
        return chosen


def _duplicate_sims(component: PoolComponent, by_current_plan: bool) -> tuple[Integers, Integers, Integers]:
    """Return the kind of each SIM, shape (n,), the position of one SIM of each kind, and the size of each kind."""
    devices, rows = component.model.devices, component.rows
    current = devices.current_rate_plan[rows] if by_current_plan else np.zeros(len(rows), dtype=np.int64)
    keys = np.stack([component.class_of, devices.usage_micro_mb[rows], current], axis=1)
    _, first, kind, count = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return kind.reshape(-1), first, count
