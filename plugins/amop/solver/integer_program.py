"""The mixed integer program of small pool components, solved by HiGHS: the SIMs of each kind on each plan, and blocks.

Reduced cost fixing keeps it small: in any better assignment no SIM is on a plan whose reduced cost at the dual prices
exceeds the gap. Duplicate SIMs share one integer variable per plan. A cap on changes couples the components of a fleet.
"""

from __future__ import annotations

import highspy
import numpy as np

from amop.solver.components import NOT_ELIGIBLE, Doubles, PoolComponent
from amop.solver.highs import set_matrix, silent_solver
from amop.solver.model import MICRO, NONE, Integers


class Columns:
    """The columns of one component in a mixed integer program: SIMs of each kind on each usable plan.

    A kind is a set of duplicate SIMs.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the incumbent, shape (n,).
        by_current_plan: whether duplicates must have the same current plan, too.
    """

    def __init__(self, component: PoolComponent, price: Doubles, chosen: Integers, *, by_current_plan: bool) -> None:
        self.component, self.chosen, self.bill = component, chosen, component.bill(chosen)
        costs = np.stack([component.plan_costs(plan, price) for plan in range(len(component.model.rate_plans))], axis=1)
        self._reduced_cost = costs - costs.min(axis=1, keepdims=True)
        self._is_eligible = costs < NOT_ELIGIBLE / 2
        self.price_bound = float(costs.min(axis=1).sum())
        self._kind_of, self._first, self.count = _duplicate_sims(component, by_current_plan)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.kind)

    def keep_within(self, gap: float) -> None:
        """Keep the plans whose reduced cost is within the gap of the incumbent, 1e-6 currency; all others cost more."""
        usable = self._is_eligible & (self._reduced_cost <= gap + 1.0)
        self.kind, self.plan = np.nonzero(usable[self._first])
        self.sim = self._first[self.kind]

    def max_blocks(self, spare: float) -> Doubles:
        """Return an upper bound of each pool's blocks, shape (K,).

        Args:
            spare: the most that all blocks may cost more than the incumbent's, 1e-6 currency.
        """
        model, pools = self.component.model, self.component.pools
        blocks = np.maximum(0.0, self.component.pool_excess(self.chosen).astype(np.float64)) / model.pool_block[pools]
        return np.asarray(np.ceil(blocks) + np.ceil(spare / model.pool_rate[pools]))

    def least_own_cost(self) -> float:
        """Return the sum of the SIMs' negative own costs, 1e-6 currency: a part of a SIM's period can have one."""
        return float(np.minimum(self.component.own.min(axis=1), 0.0)[self.component.class_of].sum())

    def counts_of_incumbent(self) -> list[float]:
        """Return how many SIMs of each column's kind the incumbent has on its plan."""
        counts = np.zeros((len(self.count), len(self.component.model.rate_plans)), dtype=np.int64)
        np.add.at(counts, (self._kind_of, self.chosen), 1)
        return list(counts[self.kind, self.plan].astype(float).tolist())

    def assignment(self, counts: Integers) -> Integers | None:
        """Return an assignment with these counts by column, shape (n,); None if they do not add up."""
        if (counts < 0).any() or (np.bincount(self.kind, counts, minlength=len(self.count)) != self.count).any():
            return None
        chosen = np.empty(len(self.chosen), dtype=np.int64)
        by_kind = np.argsort(self._kind_of, kind="stable")
        chosen[by_kind] = np.repeat(self.plan, counts)
        return chosen


class IntegerProgram:
    """The mixed integer program of components under one cap: columns of each, and overage blocks of each pool.

    Args:
        parts: the columns of each component.
        max_changes: cap on the SIMs that leave a current plan which they could keep; None = no cap. The incumbent is
            within it.
    """

    def __init__(self, parts: list[Columns], max_changes: int | None) -> None:
        self._parts, self._max_changes = parts, max_changes
        self._bill = sum(part.bill for part in parts)
        for part in parts:
            part.keep_within(self._bill - sum(one.price_bound for one in parts))
        self._first_column = np.cumsum([0, *(len(part) for part in parts)])
        self._first_kind = np.cumsum([0, *(len(part.count) for part in parts)])
        self._first_pool = np.cumsum([0, *(len(part.component.pools) for part in parts)])

    def solve(self, seconds: float) -> tuple[list[Integers], bool, float]:
        """Return HiGHS' best assignment of each component, whether it is proved optimal, and the dual bound.

        Args:
            seconds: time limit.
        """
        solver = silent_solver()
        for name, value in (
            ("time_limit", float(seconds)),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 0.4 / MICRO),
            ("mip_feasibility_tolerance", 1e-9),
            ("primal_feasibility_tolerance", 1e-9),
        ):
            solver.setOptionValue(name, value)
        solver.passModel(self._program())
        if self._max_changes is not None:
            is_change = [part.component.is_change(part.sim, part.plan) for part in self._parts]
            changed = np.flatnonzero(np.concatenate(is_change)).astype(np.int32)
            solver.addRow(-highspy.kHighsInf, float(self._max_changes), len(changed), changed, np.ones(len(changed)))
        self._start(solver)
        solver.run()
        return self._result(solver)

    def _program(self) -> highspy.HighsLp:
        """Return the program without the cap: all SIMs of a kind have a plan, and blocks cover each pool's excess."""
        columns, kinds, pools = self._first_column[-1], self._first_kind[-1], self._first_pool[-1]
        # Negative own costs leave more than the bill for blocks.
        spare = self._bill - sum(part.least_own_cost() for part in self._parts)
        cost, block_cost, upper, max_blocks, rows, at, values = ([] for _ in range(7))
        starts = zip(self._parts, self._first_column, self._first_kind, self._first_pool, strict=False)
        for part, first_column, first_kind, first_pool in starts:
            component, model = part.component, part.component.model
            cost.append(component.exact_costs(part.sim, part.plan) / MICRO)
            block_cost.append(model.pool_rate[component.pools] / MICRO)
            upper.append(part.count[part.kind].astype(np.float64))
            max_blocks.append(part.max_blocks(spare))
            pool = component.pool_of_plans[part.plan]
            pooled = np.flatnonzero(pool != NONE)
            block = model.pool_block[component.pools].astype(np.float64)[pool[pooled]]
            rows += [first_kind + part.kind, kinds + first_pool + pool[pooled]]
            at += [first_column + np.arange(len(part)), first_column + pooled]
            values += [np.ones(len(part)), component.exact_excess(part.sim, part.plan)[pooled] / block]
        count = np.concatenate([part.count for part in self._parts]).astype(np.float64)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = int(columns + pools), int(kinds + pools)
        program.col_cost_ = np.concatenate([*cost, *block_cost])
        program.col_lower_ = np.zeros(columns + pools)
        program.col_upper_ = np.concatenate([*upper, *max_blocks])
        program.row_lower_ = np.concatenate([count, np.full(pools, -highspy.kHighsInf)])
        program.row_upper_ = np.concatenate([count, np.zeros(pools)])
        rows, at = [*rows, kinds + np.arange(pools)], [*at, columns + np.arange(pools)]
        set_matrix(program, np.concatenate(rows), np.concatenate(at), np.concatenate([*values, np.full(pools, -1.0)]))
        program.integrality_ = [highspy.HighsVarType.kInteger] * int(columns + pools)
        return program

    def _start(self, solver: highspy.Highs) -> None:
        """Pass the incumbent to HiGHS as its starting solution."""
        blocks = [
            float(part.component.model.overage_blocks(pool, int(excess)))
            for part in self._parts
            for pool, excess in zip(part.component.pools, part.component.pool_excess(part.chosen), strict=True)
        ]
        start = highspy.HighsSolution()
        start.col_value = [*(count for part in self._parts for count in part.counts_of_incumbent()), *blocks]
        start.value_valid = True
        solver.setSolution(start)

    def _result(self, solver: highspy.Highs) -> tuple[list[Integers], bool, float]:
        """Return HiGHS' solution or the incumbent, whichever is billed less, with the dual bound."""
        information, status = solver.getInfo(), solver.getModelStatus()
        best, bill = [part.chosen for part in self._parts], self._bill
        values = np.array(solver.getSolution().col_value)
        if len(values):
            counts = np.split(np.rint(values[: self._first_column[-1]]).astype(np.int64), self._first_column[1:-1])
            found = [
                one for part, own in zip(self._parts, counts, strict=True) if (one := part.assignment(own)) is not None
            ]
            if len(found) == len(best):
                found_bill = sum(part.component.bill(one) for part, one in zip(self._parts, found, strict=True))
                if found_bill <= bill:
                    best, bill = found, found_bill
        is_finished = status in {highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible}
        bound = information.mip_dual_bound * MICRO if status != highspy.HighsModelStatus.kInfeasible else float(bill)
        # HiGHS computes in doubles, so its solution is billed exactly and compared with its dual bound.
        is_optimal = is_finished and bill - bound <= 0.5 + 1e-9 * bill
        return best, is_optimal, float(bill) if is_optimal else min(bound, float(bill))


def _duplicate_sims(component: PoolComponent, by_current_plan: bool) -> tuple[Integers, Integers, Integers]:
    """Return the kind of each SIM, shape (n,), the position of one SIM of each kind, and the size of each kind."""
    devices, rows = component.model.devices, component.rows
    current = devices.current_rate_plan[rows] if by_current_plan else np.zeros(len(rows), dtype=np.int64)
    keys = np.stack([component.class_of, devices.usage_micro_mb[rows], current], axis=1)
    _, first, kind, count = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return kind.reshape(-1), first, count
