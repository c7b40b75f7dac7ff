"""Small fleets to proved optimality: every assignment where they are few, else a mixed integer program.

On a small fleet a single overage block, or one SIM that the LP relaxation splits, dominates the gap of the prices. What
can be in a better assignment than the one at hand is little, though: a SIM on a plan whose regret at the prices is more
than the whole gap is not (reduced cost fixing). HiGHS searches what is left, with identical SIMs counted together.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from amop.optimization.classes import NOT_ELIGIBLE, Doubles, Part
from amop.optimization.highs import quiet_solver
from amop.optimization.model import MICRO, NONE, Integers

MOST_ASSIGNMENTS = 2**18
"""Fleets with at most so many assignments are solved by looking at each of them."""
MOST_SIMS = 3_000
"""Larger parts are left to the prices: their gap is small, and a proof would take minutes."""


@dataclass(frozen=True, slots=True)
class ExactResult:
    """What the search of a part found."""

    chosen: Integers
    """The plan of each SIM of the part, shape (n,)."""
    is_optimal: bool
    """True when no assignment of the part costs less, to the last 1e-6."""
    bound: float
    """No assignment of the part costs less than this, 1e-6 currency."""


def solve_exactly(
    part: Part, price: Doubles, chosen: Integers, seconds: float, most_changes: int | None = None
) -> ExactResult | None:
    """Return the best assignment found from a given one, or None for a part that is too large.

    Args:
        part: SIMs that share no pool with others.
        price: of each pool's data, such that the bound is high.
        chosen: the assignment at hand.
        seconds: the longest search; 0 = look at a few assignments only.
        most_changes: most SIMs of the part that may leave a present plan that they could keep; the assignment at hand
            keeps to it.
    """
    if not part.pools and most_changes is None:
        return ExactResult(chosen, True, float(part.bill(chosen)))
    choices = [np.flatnonzero(row < NOT_ELIGIBLE / 2) for row in part.own]
    count = np.prod([float(len(choices[number])) for number in part.class_of]) if len(chosen) < 64 else np.inf
    if count <= MOST_ASSIGNMENTS:
        best = _cheapest_of_all(part, choices, most_changes)
        return ExactResult(best, True, float(part.bill(best)))
    if len(chosen) > MOST_SIMS or seconds <= 0:
        return None
    return _Program(part, price, chosen, most_changes).solve(seconds)


def _cheapest_of_all(part: Part, choices: list[Integers], most_changes: int | None) -> Integers:
    """Return the cheapest of all assignments of a part; of several the one of the first plans."""
    cost, changes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    excess = np.zeros((len(part.pools), 1), dtype=np.int64)
    of_sims = [choices[number] for number in part.class_of]
    pool_of = part.pool_of_plans
    for position, plans in enumerate(of_sims):
        here = np.full(len(plans), position)
        added = np.zeros((len(part.pools), len(plans)), dtype=np.int64)
        pooled = np.flatnonzero(pool_of[plans] != NONE)
        added[pool_of[plans][pooled], pooled] = part.exact_excess(here, plans)[pooled]
        cost = (cost[:, None] + part.exact_costs(here, plans)).reshape(-1)
        excess = (excess[:, :, None] + added[:, None, :]).reshape(len(part.pools), len(cost))
        changes = (changes[:, None] + part.is_change(here, plans)).reshape(-1)
    for pool, row in zip(part.pools, excess, strict=True):
        block = int(part.model.pool_block[pool])
        cost += -(-np.maximum(row, 0) // block) * part.model.pool_rate[pool]
    if most_changes is not None:
        cost[changes > most_changes] = np.iinfo(np.int64).max
    number = np.unravel_index(int(cost.argmin()), [len(plans) for plans in of_sims])
    return np.array([plans[at] for plans, at in zip(of_sims, number, strict=True)], dtype=np.int64)


class _Program:
    """The mixed integer program of a part: how many SIMs of a kind are on a plan, how many blocks a pool pays.

    Args:
        part: the SIMs.
        price: of each pool's data.
        chosen: the assignment at hand.
        most_changes: see `solve_exactly`.
    """

    def __init__(self, part: Part, price: Doubles, chosen: Integers, most_changes: int | None) -> None:
        self._part, self._chosen, self._bill = part, chosen, part.bill(chosen)
        costs = np.stack([part.plan_costs(plan, price) for plan in range(len(part.model.rate_plans))], axis=1)
        regret = costs - costs.min(axis=1, keepdims=True)
        self.price_bound = float(costs.min(axis=1).sum())
        usable = (costs < NOT_ELIGIBLE / 2) & (regret <= self._bill - self.price_bound + 1.0)
        self._most_changes = most_changes
        self._kind_of, first, self._count = _kinds(part, most_changes is not None)
        kind, self._plan = np.nonzero(usable[first])
        self._kind, self._sim = kind, first[kind]

    def solve(self, seconds: float) -> ExactResult:
        """Return the best assignment found within the time."""
        part, pools = self._part, len(self._part.pools)
        columns, kinds = len(self._kind), len(self._count)
        cost = part.exact_costs(self._sim, self._plan).astype(np.float64) / MICRO
        block = part.model.pool_block[part.pools].astype(np.float64)
        excess = part.exact_excess(self._sim, self._plan)
        pool = part.pool_of_plans[self._plan]
        solver = quiet_solver()
        for name, value in (
            ("time_limit", float(seconds)), ("mip_rel_gap", 0.0), ("mip_abs_gap", 0.4 / MICRO),
            ("mip_feasibility_tolerance", 1e-9), ("primal_feasibility_tolerance", 1e-9),
        ):  # fmt: skip
            solver.setOptionValue(name, value)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = columns + pools, kinds + pools
        program.col_cost_ = np.concatenate([cost, part.model.pool_rate[part.pools] / MICRO])
        program.col_lower_ = np.zeros(columns + pools)
        program.col_upper_ = np.concatenate([self._count[self._kind].astype(np.float64), self._most_blocks()])
        program.row_lower_ = np.concatenate([self._count.astype(np.float64), np.full(pools, -highspy.kHighsInf)])
        program.row_upper_ = np.concatenate([self._count.astype(np.float64), np.zeros(pools)])
        rows = np.concatenate([self._kind, kinds + pool[pool != NONE], kinds + np.arange(pools)])
        at = np.concatenate([np.arange(columns), np.flatnonzero(pool != NONE), columns + np.arange(pools)])
        values = np.concatenate(
            [np.ones(columns), excess[pool != NONE] / block[pool[pool != NONE]], np.full(pools, -1.0)]
        )
        order = np.lexsort((rows, at))
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=columns + pools))])
        program.a_matrix_.index_, program.a_matrix_.value_ = rows[order], values[order]
        program.integrality_ = [highspy.HighsVarType.kInteger] * (columns + pools)
        solver.passModel(program)
        if self._most_changes is not None:
            changed = np.flatnonzero(part.is_change(self._sim, self._plan)).astype(np.int32)
            solver.addRow(-highspy.kHighsInf, float(self._most_changes), len(changed), changed, np.ones(len(changed)))
        self._start(solver)
        solver.run()
        return self._result(solver)

    def _most_blocks(self) -> Doubles:
        """Return how many blocks each pool can pay for without the bill passing the one at hand, shape (K,)."""
        part = self._part
        most = np.maximum(0.0, [float(e) for e in part.pool_excess(self._chosen)]) / part.model.pool_block[part.pools]
        return np.ceil(most) + np.ceil(self._bill / part.model.pool_rate[part.pools])

    def _start(self, solver: highspy.Highs) -> None:
        """Give the assignment at hand to the solver, as far as it is among the columns."""
        counts = np.zeros((len(self._count), len(self._part.model.rate_plans)), dtype=np.int64)
        np.add.at(counts, (self._kind_of, self._chosen), 1)
        blocks = [
            float(self._part.model.overage_blocks(pool, int(excess)))
            for pool, excess in zip(self._part.pools, self._part.pool_excess(self._chosen), strict=True)
        ]
        start = highspy.HighsSolution()
        start.col_value = [*counts[self._kind, self._plan].astype(float).tolist(), *blocks]
        start.value_valid = True
        solver.setSolution(start)

    def _result(self, solver: highspy.Highs) -> ExactResult:
        information, status = solver.getInfo(), solver.getModelStatus()
        best, bill = self._chosen, self._bill
        values = np.array(solver.getSolution().col_value)
        if len(values):
            found = self._assignment(np.rint(values[: len(self._kind)]).astype(np.int64))
            if found is not None and (found_bill := self._part.bill(found)) <= bill:
                best, bill = found, found_bill
        is_finished = status in {highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible}
        bound = information.mip_dual_bound * MICRO if status != highspy.HighsModelStatus.kInfeasible else float(bill)
        # HiGHS works in doubles: what it found is billed again, exactly, and must be what it says.
        is_optimal = is_finished and bill - bound <= 0.5 + 1e-9 * bill
        return ExactResult(best, is_optimal, float(bill) if is_optimal else min(bound, float(bill)))

    def _assignment(self, counts: Integers) -> Integers | None:
        """Return an assignment with so many SIMs of each kind on each plan, None where they do not add up."""
        if (counts < 0).any() or (np.bincount(self._kind, counts, minlength=len(self._count)) != self._count).any():
            return None
        chosen = np.empty(len(self._chosen), dtype=np.int64)
        by_kind = np.argsort(self._kind_of, kind="stable")
        chosen[by_kind] = np.repeat(self._plan, counts)
        return chosen


def _kinds(part: Part, by_present_plan: bool) -> tuple[Integers, Integers, Integers]:
    """Return the kind of each SIM (those of a kind cost the same everywhere), a SIM of each, and their numbers."""
    devices = part.model.devices
    present = devices.current_rate_plan[part.rows] if by_present_plan else np.zeros(len(part.rows), dtype=np.int64)
    keys = np.stack([part.class_of, devices.usage_micro_mb[part.rows], present], axis=1)
    _, first, kind, count = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return kind.reshape(-1), first, count
