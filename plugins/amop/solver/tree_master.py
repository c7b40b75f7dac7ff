"""The master problem of the tree search: the cheapest mix of columns within the ranges of a node.

    minimize    sum of weight x cost of the columns + cost of the explicit kinds + rate x blocks of each pool
    subject to  excess of each pool <= block x blocks,  SIMs on each plan = number,  weights of each block add up to 1

Every node of the tree is this linear program with other ranges of blocks, numbers and explicit kinds, so that all nodes
share the columns (Dantzig and Wolfe, Operations Research 8, 1960) and start from the basis of the node before. The
duals are the node's next prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from amop.solver.components import Doubles
from amop.solver.highs import set_matrix, silent_solver
from amop.solver.model import NONE, Integers
from amop.solver.tree_fleet import Column, TreeFleet

NOTHING = np.zeros(0)
SMALLEST_WEIGHT = 1e-6
"""Smallest weight of a column, and number of SIMs, that is not 0."""
PENALTY_FACTOR = 30.0
"""Price of a violated constraint relative to the highest price or charge."""


@dataclass(frozen=True, slots=True)
class MasterSolution:
    """A solution of the master problem."""

    value: float
    """Currency; never below the bound that any prices of the node prove."""
    price: Doubles
    """Of each pool's data, shape (K,), currency per MB."""
    charge: Doubles
    """For a SIM on each plan, shape (J,), currency."""
    variables: Doubles
    """Blocks of each pool, SIMs on each plan, and SIMs of each explicit kind on each plan; shape (K + J + X * J,)."""
    weights: Doubles
    """Weight of each column."""


class TreeMaster:
    """The linear program, kept in HiGHS between nodes.

    Args:
        fleet: the component.
        gap: bill less bound, currency; penalties are above it.
    """

    columns: list[Column]

    def __init__(self, fleet: TreeFleet, gap: float) -> None:
        self.fleet, self.columns = fleet, []
        self._known: set[tuple[int, bytes, bytes]] = set()
        eligible = fleet.cost < fleet.infinite
        charge = np.where(eligible, np.abs(fleet.cost), 0.0).max(axis=1)
        self._charge_penalty = PENALTY_FACTOR * (np.minimum(charge, gap + np.median(charge)) + gap)
        self._block_penalty = PENALTY_FACTOR * fleet.rate + 10.0 * gap
        self._build()

    @property
    def integers(self) -> int:
        """Return the number of variables that are integers in an assignment."""
        fleet = self.fleet
        return len(fleet.rate) + len(fleet.plans) * (1 + len(fleet.explicit))

    def upper_bounds(self) -> Doubles:
        """Return the upper bound of each integer variable without restrictions."""
        fleet = self.fleet
        eligible = fleet.is_eligible(fleet.explicit).T
        return np.concatenate(
            (
                np.full(len(fleet.rate), np.inf),
                np.full(len(fleet.plans), fleet.count.sum()),
                np.where(eligible, fleet.count[fleet.explicit][:, None], 0.0).reshape(-1),
            )
        )

    def add(self, columns: list[Column]) -> int:
        """Add the columns that are not known yet, and return their number."""
        added = 0
        for column in columns:
            key = column.block, column.count.tobytes(), np.round(column.excess, 7).tobytes()
            if key in self._known:
                continue
            self._known.add(key)
            self.columns.append(column)
            rows, values = self._entries(column)
            self._solver.addCol(column.cost, 0.0, highspy.kHighsInf, len(rows), rows.astype(np.int32), values)
            added += 1
        return added

    def make_explicit(self, kinds: Integers) -> None:
        """Take kinds out of their blocks and of all columns, and build the program again."""
        fleet = self.fleet
        fleet.make_explicit(kinds)
        columns = [fleet.without_kinds(column, kinds) for column in self.columns]
        self.columns, self._known = [], set()
        self._build()
        self.add(columns)

    def solve(self, low: Doubles, high: Doubles) -> MasterSolution:
        """Return the solution within ranges of the integer variables, shape (K + J + X * J,) each.

        Where HiGHS finds none, at extreme prices, it has a value of -infinity and no weights.
        """
        pools, count, fleet = len(self.fleet.rate), self.integers, self.fleet
        self._solver.changeColsBounds(count, np.arange(count, dtype=np.int32), low, high)
        self._solver.run()
        solution = self._solver.getSolution()
        dual, values = np.array(solution.row_dual), np.array(solution.col_value)
        if not (len(dual) and len(values) and np.isfinite(dual).all() and np.isfinite(values).all()):
            return MasterSolution(-np.inf, np.zeros(pools), np.zeros(len(fleet.plans)), np.zeros(count), NOTHING)
        price = np.maximum(0.0, -dual[:pools]) / fleet.block_mb
        charge = -dual[pools : pools + len(fleet.plans)]
        value = float(self._solver.getInfo().objective_function_value)
        return MasterSolution(value, price, charge, values[:count], values[self._first_column :])

    def vertices(self, solution: MasterSolution) -> tuple[list[Integers], Doubles]:
        """Return assignments of the component whose convex combination is the solution, and their weights.

        There are none where the master problem was not solved to the end.
        """
        fleet, plans_of = self.fleet, len(self.fleet.plans)
        parts: list[tuple[Integers, Doubles, Integers]] = []  # kinds, cumulated weights, plans by entry and kind
        explicit = solution.variables[len(fleet.rate) + plans_of :].reshape(-1, plans_of)
        for kind, number in zip(fleet.explicit, explicit, strict=True):
            plans = np.flatnonzero(number > SMALLEST_WEIGHT)
            if not len(plans):
                return [], NOTHING
            parts.append((np.array([kind]), np.cumsum(number[plans]) / number[plans].sum(), plans[:, None]))
        for block in range(fleet.blocks):
            mine = np.setdiff1d(np.flatnonzero(fleet.block_of == block), fleet.explicit)
            active = [
                (float(weight), column.choice[mine].astype(np.int64))
                for weight, column in zip(solution.weights, self.columns, strict=False)
                if column.block == block and weight > SMALLEST_WEIGHT
            ]
            if not active:
                return [], NOTHING
            active.sort(key=lambda pair: -pair[0])
            weights = np.cumsum([weight for weight, _ in active])
            parts.append((mine, weights / weights[-1], np.stack([choice for _, choice in active])))
        edges = np.unique(np.round(np.concatenate([[0.0, 1.0], *(weights for _, weights, _ in parts)]), 7))
        vertices = []
        for middle in (edges[1:] + edges[:-1]) / 2:
            of_kind = np.zeros(len(fleet.first), dtype=np.int64)
            for kinds, weights, choices in parts:
                of_kind[kinds] = choices[min(int(np.searchsorted(weights, middle)), len(weights) - 1)]
            vertices.append(fleet.plans[of_kind[fleet.kind_of]])
        return vertices, np.diff(edges)

    def _entries(self, column: Column) -> tuple[Integers, Doubles]:
        pools, plans = len(self.fleet.rate), len(self.fleet.plans)
        values = np.zeros(pools + plans + self.fleet.blocks)
        values[:pools] = column.excess / self.fleet.block_mb
        values[pools : pools + plans] = column.count
        values[pools + plans + column.block] = 1.0
        rows = np.flatnonzero(values)
        return rows, values[rows]

    def _build(self) -> None:
        """Build the program without columns: integer variables first, then violations at a penalty."""
        fleet = self.fleet
        pools, plans, blocks, kinds = len(fleet.rate), len(fleet.plans), fleet.blocks, fleet.explicit
        wide = pools + plans
        row_of_kind = wide + blocks + np.arange(len(kinds))
        program = highspy.HighsLp()
        at, plan = (index.reshape(-1) for index in np.indices((len(kinds), plans)))
        pool = fleet.pool[plan]
        of_kind = fleet.cost[plan, kinds[at]]
        cost = [fleet.rate, np.zeros(plans), np.where(of_kind < fleet.infinite, of_kind, 0.0)]
        cost += [self._block_penalty, self._charge_penalty, self._charge_penalty]
        columns = wide + np.arange(len(at))
        first_violation = wide + len(at)
        pooled = np.flatnonzero(pool != NONE)
        data = fleet.excess[plan, kinds[at]][pooled] / fleet.block_mb[pool[pooled]]
        both = np.arange(wide)
        triplets = [
            (both, both, np.full(wide, -1.0)),
            (pool[pooled], columns[pooled], data),
            (pools + plan, columns, np.ones(len(at))),
            (row_of_kind[at], columns, np.ones(len(at))),
            (both, first_violation + both, np.full(wide, -1.0)),
            (pools + np.arange(plans), first_violation + wide + np.arange(plans), np.ones(plans)),
        ]
        program.col_cost_ = np.concatenate(cost)
        program.num_col_, program.num_row_ = len(program.col_cost_), wide + blocks + len(kinds)
        self._first_column = program.num_col_
        program.col_lower_ = np.zeros(program.num_col_)
        program.col_upper_ = np.concatenate((self.upper_bounds(), np.full(wide + plans, np.inf)))
        fixed = np.concatenate((np.zeros(plans), np.ones(blocks), fleet.count[kinds]))
        program.row_lower_ = np.concatenate((np.full(pools, -highspy.kHighsInf), fixed))
        program.row_upper_ = np.concatenate((np.zeros(pools), fixed))
        set_matrix(program, *(np.concatenate(part) for part in zip(*triplets, strict=True)))
        self._solver = silent_solver()
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            self._solver.setOptionValue(name, 1e-9)
        self._solver.setOptionValue("presolve", "off")
        self._solver.passModel(program)
