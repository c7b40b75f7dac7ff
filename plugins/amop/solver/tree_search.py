"""Prove a bound of a pool component by cases, and improve its assignment on the way: best-first branch and bound.

Where a few SIMs on a large plan supply the data of thousands, or an overage block costs as much as many SIMs, the
linear relaxation takes a part of the plan or of the block: its bound is far below every bill. The tree splits the
leaf of the least bound, by the number of blocks of a pool, the number of SIMs on a plan, or the plan of one SIM. The
leaves of the finished tree are the proof (`proof_tree`); the solutions of its nodes are rounded to better assignments.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace

import numpy as np

from amop.solver.components import Doubles, PoolComponent
from amop.solver.local_search import local_search
from amop.solver.model import MICRO, Integers
from amop.solver.rounding import round_vertices
from amop.solver.tree_fleet import TreeFleet
from amop.solver.tree_master import MasterSolution, TreeMaster
from amop.solver.tree_node import Node, least_cost_within, ranges_of_kinds

MAX_NODES_OF_NARROW = 150
"""Nodes after which a tree ends where the gap is no longer wide; for one pool, and fewer for more (`fewer`)."""
OPTIMAL = 0.4
"""Gap, 1e-6 currency, of a bill that is proved to be the least."""
MAX_IDLE_STEPS = 50
"""Steps of the search that add no node."""
STEP_SHARE = 0.5
"""Step from the best prices of a node towards those of the master problem."""
NODE_TOLERANCE, FINAL_TOLERANCE = 0.05, 1e-3
"""Share of the node's gap within which its prices are optimal enough to branch; the same of a root or a last node."""
MAX_NODE_STEPS, MAX_ROOT_STEPS = 60, 400
"""Price vectors that are tried per node."""
CANDIDATES, MAX_PROBES, PROBE_STEPS = 8, 3, 10
"""Variables of each sort that are compared for a split; kinds among them that are tried per node; prices per trial."""
FRACTION = 1e-6
"""A number is an integer if it is as close to one as this."""
MAX_EXPLICIT, EXPLICIT_AT_ONCE = 512, 8
"""Kinds that may be explicit, and those that become it at a time."""
DIVE_DEPTH, DIVE_FACTOR = 12, 1.3
"""Nodes of a dive, and growth of the tree from one dive to the next."""


@dataclass(frozen=True, slots=True)
class TreeResult:
    """The best assignment of a component, and the tree that bounds its bill."""

    chosen: Integers
    """The plan of each SIM of the component, shape (n,), int64."""
    bill: int
    """1e-6 currency."""
    bound: float
    """1e-6 currency, in double precision."""
    root: Node
    fleet: TreeFleet
    nodes: int

    @property
    def is_optimal(self) -> bool:
        """Return True if the tree proves that no assignment of the component costs less, to the last 1e-6."""
        return self.bill - self.bound <= OPTIMAL


@dataclass(frozen=True, slots=True)
class Goals:
    """When a tree is finished; gaps in 1e-6 currency."""

    gap: float
    """Gap at which it ends."""
    wide: float
    """Gap at which it ends after `MAX_NODES_OF_NARROW` nodes."""


def fewer(nodes: int, component: PoolComponent) -> int:
    """Return how many nodes of a component take about as long as some nodes of one pool."""
    return 6 * nodes // (len(component.pools) + 5)


def search_tree(component: PoolComponent, price: Doubles, chosen: Integers, goals: Goals, max_nodes: int) -> TreeResult:
    """Return the tree of a component, and an assignment that costs at most as much as a given one.

    Args:
        component: the pool component; it has pools.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the given plan of each SIM, shape (n,).
        goals: gaps at which the search ends.
        max_nodes: nodes at which it ends.
    """
    return _TreeSearch(component, chosen, goals).run(price, max_nodes)


class _TreeSearch:
    def __init__(self, component: PoolComponent, chosen: Integers, goals: Goals) -> None:
        self.component, self.goal, self.wide = component, goals.gap / MICRO, goals.wide / MICRO
        self.chosen, self.bill = chosen, component.bill(chosen) / MICRO
        self.fleet = TreeFleet(component, self.goal)
        self.pools, self.plans = len(self.fleet.rate), len(self.fleet.plans)
        self.nodes, self.next_dive = 0, 0.0
        self.pushes = itertools.count(1)
        self.gains: dict[int, Doubles] = {}

    def run(self, price: Doubles, max_nodes: int) -> TreeResult:
        fleet, no_charge = self.fleet, np.zeros(self.plans)
        value, columns = fleet.evaluate(price, no_charge)
        root = Node({}, -np.inf, price, no_charge)
        first = value + self._terms(root, price, no_charge)
        self.master = TreeMaster(fleet, max(self.bill - first, self.goal))
        self.master.add(columns)
        for other in (0.0 * price, self.component.highest):
            self.master.add(fleet.evaluate(other, no_charge)[1])
        self._solve(root, FINAL_TOLERANCE, MAX_ROOT_STEPS)
        self.leaves = [(root.bound, 0, root)]
        narrow_nodes = fewer(MAX_NODES_OF_NARROW, self.component)
        for _ in range(max_nodes + MAX_IDLE_STEPS):
            node = self._worst_leaf()
            gap = self.bill - node.bound
            if self.nodes >= max_nodes or self._is_closed(node.bound):
                break
            if gap <= self.wide and self.nodes >= narrow_nodes:
                break
            if self.nodes < self.next_dive:
                children = self._branch(node)
            else:
                children = self._dive(node, max_nodes)
                self.next_dive = max(self.nodes + DIVE_DEPTH, DIVE_FACTOR * self.nodes)
            if not children and not self._finish(node):
                break
        bound = min(self.bill, self._worst_leaf().bound)
        return TreeResult(self.chosen, self.component.bill(self.chosen), bound * MICRO, root, fleet, self.nodes)

    def _is_closed(self, bound: float) -> bool:
        """Return whether a bound is close enough to the bill, always by the same difference of doubles."""
        return self.bill - bound <= self.goal

    def _solve(self, node: Node, tolerance: float, max_steps: int) -> None:
        """Find the best prices of a node by cutting planes, starting from those that it has."""
        ranges = self._bounds(node)
        unlimited = np.isinf(ranges[1][: self.pools])
        highest = np.where(unlimited, self.component.highest, np.inf)
        price = np.minimum(node.price, highest)
        if node.value_version != len(self.fleet.explicit) or (price != node.price).any():
            node.value, columns = self.fleet.evaluate(price, node.charge)
            node.price, node.value_version = price, len(self.fleet.explicit)
            self.master.add(columns)
        node.bound = max(node.bound, node.value + self._terms(node, price, node.charge))
        for step in range(max_steps):
            gap = self.bill - node.bound
            if self._is_closed(node.bound):
                break
            solution = self.master.solve(*ranges)
            node.solution, node.version = solution, len(self.fleet.explicit)
            if solution.value - node.bound <= max(1e-11 * abs(self.bill), tolerance * gap):
                break
            peak = np.minimum(solution.price, highest)
            share = 1.0 if step % 4 == 3 else STEP_SHARE
            if self._try(
                node, node.price + share * (peak - node.price), node.charge + share * (solution.charge - node.charge)
            ):
                continue
            if share == 1.0 or not self._try(node, peak, solution.charge):
                break

    def _try(self, node: Node, price: Doubles, charge: Doubles) -> bool:
        """Evaluate prices; return False if they neither raise the bound nor give a new column."""
        value, columns = self.fleet.evaluate(price, charge)
        is_new, bound = self.master.add(columns) > 0, value + self._terms(node, price, charge)
        if bound <= node.bound:
            return is_new
        node.bound, node.price, node.charge, node.value = bound, price, charge, value
        return True

    def _terms(self, node: Node, price: Doubles, charge: Doubles) -> float:
        """Return what ranges and explicit kinds add to the least cost of the blocks."""
        return self._range_terms(node, price, charge) + self._explicit_terms(node, price, charge)

    def _bounds(self, node: Node) -> tuple[Doubles, Doubles]:
        """Return the ranges of a node's variables; the number of SIMs on a plan has none unless it is restricted."""
        high = self.master.upper_bounds()
        low = np.zeros(len(high))
        low[self.pools : self.pools + self.plans] = -np.inf
        high[self.pools : self.pools + self.plans] = np.inf
        for variable, (least, most) in node.ranges.items():
            low[variable], high[variable] = least, most
        return low, high

    def _range_terms(self, node: Node, price: Doubles, charge: Doubles) -> float:
        """Return what the ranges of blocks and of numbers of SIMs add to the bound."""
        total = 0.0
        for variable, (low, high) in node.ranges.items():
            if variable < self.pools:
                per_block = float(self.fleet.rate[variable] - price[variable] * self.fleet.block_mb[variable])
                total += per_block * (low if per_block >= 0 or np.isinf(high) else high)
            elif variable < self.pools + self.plans:
                unit = float(charge[variable - self.pools])
                total -= max(unit * low, unit * high)
        return total

    def _explicit_terms(self, node: Node, price: Doubles, charge: Doubles) -> float:
        """Return the least cost of the explicit kinds within their ranges."""
        fleet = self.fleet
        costs = fleet.costs_at(price, charge, fleet.explicit)
        total = float(costs.min(axis=0) @ fleet.count[fleet.explicit])
        for kind, ranges in ranges_of_kinds(node, self.pools, self.plans).items():
            number = float(fleet.count[fleet.explicit[kind]])
            total += least_cost_within(costs[:, kind], number, ranges)[0] - float(costs[:, kind].min()) * number
        return total

    def _branching_variable(self, node: Node) -> int | None:
        """Return the variable to split by, None if no fraction matters; kinds that matter more become explicit."""
        while True:
            if node.version != len(self.fleet.explicit):
                self._solve(node, NODE_TOLERANCE, MAX_NODE_STEPS)
            if self._is_closed(node.bound):
                return None
            score = self._scores(node, node.solution)
            variable = int(score.argmax())
            kinds, stakes = self._split_kinds(node, node.solution)
            if not len(kinds) or stakes[0] <= score[variable] or len(self.fleet.explicit) >= MAX_EXPLICIT:
                return self._best_candidate(node, score) if score[variable] > 0 else None
            self.master.make_explicit(kinds[stakes >= 0.1 * stakes[0]][:EXPLICIT_AT_ONCE])

    def _best_candidate(self, node: Node, score: Doubles) -> int:
        """Return the variable whose children are expected to raise the bound most (pseudo costs, strong branching).

        Benichou et al., Mathematical Programming 1, 1971: the product of both children's gains decides.
        """
        own = self.pools + self.plans
        of_all, of_kinds = np.argsort(-score[:own], kind="stable"), np.argsort(-score[own:], kind="stable")
        candidates = [*of_all[:CANDIDATES], *(own + of_kinds[:CANDIDATES])]
        best, most, probes, gap = int(score.argmax()), -1.0, 0, self.bill - node.bound
        for variable in (int(variable) for variable in candidates if score[variable] > 0):
            if variable not in self.gains:
                if variable >= own:
                    if probes == MAX_PROBES:
                        continue
                    probes += 1
                self._learn(node, variable, self._children(node, variable, PROBE_STEPS))
            share = node.solution.variables[variable] % 1.0
            gains = np.clip(self.gains[variable] * (share, 1.0 - share), 1e-6 * gap, gap)
            if (product := float(gains[0] * gains[1])) > most:
                best, most = variable, product
        return best

    def _learn(self, node: Node, variable: int, children: list[Node]) -> None:
        """Update what a variable's children gain per unit of its distance from an integer."""
        share = node.solution.variables[variable] % 1.0
        gains = np.array([min(child.bound, self.bill) - node.bound for child in children]) / (share, 1.0 - share)
        known = self.gains.get(variable, gains)
        self.gains[variable] = (known + gains) / 2

    def _scores(self, node: Node, solution: MasterSolution) -> Doubles:
        """Return the distance of each variable from an integer x what one more of it costs, currency."""
        fleet, values = self.fleet, solution.variables
        distance = np.abs(values - np.rint(values))
        distance[distance < FRACTION] = 0.0
        of_kinds = fleet.stakes(node.price, fleet.explicit).T.reshape(-1)
        return np.asarray(distance * np.concatenate((fleet.rate, np.abs(fleet.usual), of_kinds + 1e-9)))

    def _split_kinds(self, node: Node, solution: MasterSolution) -> tuple[Integers, Doubles]:
        """Return the kinds of the blocks that the solution splits, and what their data costs, largest first."""
        fleet = self.fleet
        stake = np.zeros(len(fleet.first))
        for block in range(fleet.blocks):
            active = [
                (weight, column.choice)
                for weight, column in zip(solution.weights, self.master.columns, strict=False)
                if column.block == block and weight > FRACTION
            ]
            if len(active) < 2:
                continue
            mine = np.flatnonzero(fleet.block_of == block)
            mine = np.setdiff1d(mine, fleet.explicit)
            choices = np.stack([choice[mine] for _, choice in active]).astype(np.int64)
            data = fleet.stakes(node.price, mine)[choices, np.arange(len(mine))]
            weight = np.array([weight for weight, _ in active])
            mean = weight @ data
            stake[mine] = np.abs(weight[:, None] * (data - mean)).max(axis=0) * (choices != choices[0]).any(axis=0)
        kinds = np.argsort(-stake, kind="stable")[:EXPLICIT_AT_ONCE]
        kinds = kinds[stake[kinds] > 1e-9]
        return kinds, stake[kinds]

    def _worst_leaf(self) -> Node:
        """Return the leaf of the least bound."""
        while self.leaves[0][2].split is not None:
            heapq.heappop(self.leaves)
        return self.leaves[0][2]

    def _dive(self, node: Node, max_nodes: int) -> list[Node]:
        """Branch on a node, and on its better child in turn; round the last one. Return the children of the first."""
        first = children = self._branch(node)
        depth = 1
        while children:
            child = min(children, key=lambda child: child.bound)
            if self._is_closed(child.bound):
                return first
            node = child
            if depth == DIVE_DEPTH or self.nodes >= max_nodes:
                break
            children, depth = self._branch(node), depth + 1
        self._round(node)
        return first

    def _branch(self, node: Node) -> list[Node]:
        """Return the children of a leaf, solved; none if its solution has no fraction that matters."""
        variable = self._branching_variable(node)
        if variable is None:
            return []
        children = self._children(node, variable, MAX_NODE_STEPS)
        self._learn(node, variable, children)
        node.split, node.children = (variable, int(np.floor(node.solution.variables[variable]))), children
        for child in children:
            self.nodes += 1
            heapq.heappush(self.leaves, (child.bound, self.nodes, child))
        return children

    def _finish(self, node: Node) -> bool:
        """Solve a leaf without fractions precisely and round it; return False if that changes nothing."""
        bill, bound = self.bill, node.bound
        if self._is_closed(bound):
            heapq.heapreplace(self.leaves, (bound, -next(self.pushes), node))
            return True
        self._solve(node, FINAL_TOLERANCE, MAX_ROOT_STEPS)
        if self._branching_variable(node) is not None:
            heapq.heapreplace(self.leaves, (node.bound, -next(self.pushes), node))
            return True
        self._round(node)
        heapq.heapreplace(self.leaves, (node.bound, -next(self.pushes), node))
        return self.bill < bill or node.bound > bound + FINAL_TOLERANCE * (bill - bound)

    def _children(self, node: Node, variable: int, max_steps: int) -> list[Node]:
        """Return both children of a node for a variable, solved in at most some steps."""
        most = float(np.floor(node.solution.variables[variable]))
        low, high = node.ranges.get(variable, (0.0, float(self.master.upper_bounds()[variable])))
        children = []
        for mine in ((low, min(high, most)), (max(low, most + 1.0), high)):
            child = replace(node, ranges={**node.ranges, variable: mine}, split=None, children=[])
            children.append(child)
            if mine[0] > mine[1]:
                child.bound = np.inf
            else:
                self._solve(child, NODE_TOLERANCE, max_steps)
        return children

    def _round(self, node: Node) -> None:
        """Round the solution of a node, and keep the assignment if it is the best."""
        if node.version != len(self.fleet.explicit):
            return  # it was solved before other kinds became explicit
        component, blocks = self.component, node.solution.variables[: self.pools]
        is_limited = np.array([np.isfinite(node.ranges.get(pool, (0.0, np.inf))[1]) for pool in range(self.pools)])
        target = np.where(is_limited, blocks * self.fleet.block_mb * MICRO, 0.0)
        price = np.where(is_limited, component.highest / 2, np.minimum(node.price, component.highest))
        vertices, weights = self.master.vertices(node.solution)
        if not vertices:
            return
        rounded = round_vertices(component, price, vertices, weights, target)
        found, bill = local_search(component, np.minimum(node.price, 2 * component.highest), 0.0, rounded)
        if bill / MICRO < self.bill:
            self.chosen, self.bill = found, bill / MICRO
