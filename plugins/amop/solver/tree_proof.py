"""Turn the nodes of a finished tree search into the tree of price vectors that proves its bound."""

from __future__ import annotations

from collections.abc import Iterator

from amop.solver.model import MICRO, NONE
from amop.solver.proof_tree import RealLeaf, RealTree, Split
from amop.solver.tree_node import Node, least_cost_within, ranges_of_kinds
from amop.solver.tree_search import TreeResult


def proof_of(result: TreeResult) -> RealTree:
    """Return the tree of a search, its plans, pools and SIMs by their indices in the component's model."""
    return _Proof(result).tree()


class _Proof:
    def __init__(self, result: TreeResult) -> None:
        self.result, self.fleet = result, result.fleet
        self.pools, self.plans = len(self.fleet.rate), len(self.fleet.plans)
        self.sets: dict[int, int] = {}
        """Position of the counted set of each variable that is restricted."""

    def tree(self) -> RealTree:
        """Return the tree."""
        nodes = tuple(self._nodes(self.result.root))
        component = self.fleet.component
        sets = []
        for variable in self.sets:
            kind, plan = divmod(variable - self.pools, self.plans)
            row = NONE if kind == 0 else int(component.rows[self.fleet.first[self.fleet.explicit[kind - 1]]])
            sets.append((int(self.fleet.plans[plan]), row))
        return RealTree(tuple(component.pools), tuple(sets), nodes)

    def _nodes(self, root: Node) -> Iterator[Split | RealLeaf]:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node.split is None or node.bound * MICRO >= self.result.bound:  # its own prices prove enough
                yield self._leaf(node)
                continue
            variable, most = node.split
            is_pool = variable < self.pools
            yield Split(is_pool, variable if is_pool else self._set_of(variable), most)
            waiting += node.children[::-1]

    def _set_of(self, variable: int) -> int:
        return self.sets.setdefault(variable, len(self.sets))

    def _leaf(self, node: Node) -> RealLeaf:
        fleet, charges = self.fleet, list[tuple[int, float]]()
        for variable in node.ranges:
            if self.pools <= variable < self.pools + self.plans:
                charges.append((self._set_of(variable), float(node.charge[variable - self.pools]) * MICRO))
        for kind, ranges in ranges_of_kinds(node, self.pools, self.plans).items():
            costs = fleet.costs_at(node.price, node.charge, fleet.explicit[kind : kind + 1])[:, 0]
            number = float(fleet.count[fleet.explicit[kind]])
            margin = least_cost_within(costs, number, ranges, self.result.bill / MICRO)[1]
            first = self.pools + self.plans * (kind + 1)
            # At these charges one more SIM costs the same on every restricted plan.
            charges += [(self._set_of(first + plan), float(margin - costs[plan]) * MICRO) for plan in ranges]
        return RealLeaf(tuple(node.price.tolist()), tuple((at, charge) for at, charge in charges if abs(charge) > 1e-3))
