"""A node of the tree search: its ranges, prices and bound, and the least cost of duplicate SIMs within its ranges."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amop.solver.components import Doubles
from amop.solver.tree_master import NOTHING, MasterSolution

NO_SOLUTION = MasterSolution(np.inf, NOTHING, NOTHING, NOTHING, NOTHING)
"""The solution of a node that has not been solved."""


@dataclass(slots=True, eq=False)
class Node:
    """A node of the tree; ranges by variable of the master problem."""

    ranges: dict[int, tuple[float, float]]
    bound: float
    """Currency."""
    price: Doubles
    charge: Doubles
    solution: MasterSolution = NO_SOLUTION
    version: int = -1
    """Number of explicit kinds when the solution was found."""
    value: float = 0.0
    """Least cost of the blocks at the prices, currency."""
    value_version: int = -1
    """Number of explicit kinds when the value was computed."""
    split: tuple[int, int] | None = None
    """Variable and largest number of the first child."""
    children: list[Node] = field(default_factory=list)


def ranges_of_kinds(node: Node, pools: int, plans: int) -> dict[int, dict[int, tuple[float, float]]]:
    """Return the ranges of the explicit kinds that a node restricts, by position of the kind and of the plan."""
    found: dict[int, dict[int, tuple[float, float]]] = {}
    for variable, limits in node.ranges.items():
        if variable >= pools + plans:
            kind, plan = divmod(variable - pools - plans, plans)
            found.setdefault(kind, {})[plan] = limits
    return found


def least_cost_within(
    costs: Doubles, number: float, ranges: dict[int, tuple[float, float]], penalty: float = np.inf
) -> tuple[float, float]:
    """Return the least cost of some duplicate SIMs within ranges, infinite if impossible, and the marginal cost.

    Args:
        costs: of a SIM on each plan, shape (J,).
        number: of the SIMs.
        ranges: least and greatest number of SIMs on some plans.
        penalty: marginal cost where the ranges do not add up to the number: more is needed, or its negative.
    """
    low = np.array([ranges.get(plan, (0.0, number))[0] for plan in range(len(costs))])
    high = np.array([ranges.get(plan, (0.0, number))[1] for plan in range(len(costs))])
    left, total = number - low.sum(), float(low @ costs)
    if left < 0:
        return np.inf, -penalty
    if left == 0:
        return total, float(costs.min())
    for plan in np.argsort(costs, kind="stable"):
        taken = min(left, high[plan] - low[plan])
        total, left = total + taken * costs[plan], left - taken
        if left <= 0:
            return total, float(costs[plan])
    return np.inf, penalty
