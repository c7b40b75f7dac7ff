"""Decide which components of a fleet get a proof by cases (`tree_search`), and share the work among them.

The work is counted in nodes, not in seconds, so that the answer does not depend on the speed of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amop.solver.components import PoolComponent
from amop.solver.exact import MAX_SIMS
from amop.solver.model import Integers
from amop.solver.prices import Relaxation
from amop.solver.tree_search import OPTIMAL, Goals, TreeResult, fewer, search_tree

WIDE_GAP, WIDE_GAP_OF_LARGE, GAP_GOAL = 1e-4, 3e-5, 5e-6
"""Relative gap above which a tree is built, also that of a large fleet, and the gap at which it is finished."""
LARGE_FLEET = 32_000
"""SIMs of a large fleet."""
MAX_NODES, MIN_NODES = 600, 20
"""Nodes of a tree, for one pool and fewer for more (`fewer`), and those that are worth beginning it."""
MAX_FLEET_NODES, LEAST_SHARE = 1_200, 4
"""Nodes of all trees of a fleet together, for one pool each, and the least nodes of a tree that has a part of them."""
MAX_EXACT_NODES = 100
"""Nodes of a tree that is to prove an optimum."""
MAX_WORK, MAX_WORK_OF_LARGE = 90_000_000, 40_000_000
"""Nodes x SIMs x rate plans, also of a large fleet."""


def close_gaps(parts: Sequence[tuple[PoolComponent, Relaxation, Integers]]) -> list[TreeResult | None]:
    """Return a tree for each component whose gap is wide; None where it is not, or where the tree would take too long.

    The trees of a fleet share `MAX_FLEET_NODES`: the widest gaps come first, each with its part of the remaining nodes.

    Args:
        parts: each component of a fleet, its relaxation, and its best assignment so far, shape (n,).
    """
    trees: list[TreeResult | None] = [None] * len(parts)
    plans = [(at, plan) for at, part in enumerate(parts) if (plan := _plan(*part)) is not None]
    plans.sort(key=lambda pair: (-pair[1].gap, pair[0]))
    left, wanted, gap = float(MAX_FLEET_NODES), sum(plan.work for _, plan in plans), sum(plan.gap for _, plan in plans)
    for at, plan in plans:
        share = 1.0 if wanted <= left else min(1.0, left * plan.gap / (max(gap, plan.gap) * plan.work))
        wanted, gap = wanted - plan.work, gap - plan.gap
        if (nodes := int(share * plan.nodes)) >= LEAST_SHARE:
            component, relaxation, chosen = parts[at]
            trees[at] = tree = search_tree(component, relaxation.price, chosen, plan.goals, nodes)
            left -= plan.work * tree.nodes / plan.nodes
    return trees


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a tree would be searched."""

    gap: float
    """Gap before it, 1e-6 currency."""
    goals: Goals
    nodes: int
    work: float
    """The same in nodes of one pool."""


def _plan(component: PoolComponent, relaxation: Relaxation, chosen: Integers) -> _Plan | None:
    """Return how a component's tree is searched, None without one."""
    size, nodes = len(chosen) * len(component.model.rate_plans), fewer(MAX_NODES, component)
    if len(chosen) <= MAX_SIMS:
        gap, wide, nodes = 0.0, 0.0, fewer(MAX_EXACT_NODES, component)
    elif len(chosen) <= LARGE_FLEET:
        gap, wide, nodes = GAP_GOAL, WIDE_GAP, min(nodes, MAX_WORK // size)
    else:
        gap, wide, nodes = GAP_GOAL, WIDE_GAP_OF_LARGE, min(nodes, MAX_WORK_OF_LARGE // size)
    if not component.pools or nodes < MIN_NODES:
        return None
    bill = component.bill(chosen)
    goals, found = Goals(max(OPTIMAL, gap * bill), max(OPTIMAL, wide * bill)), bill - relaxation.bound
    return _Plan(found, goals, nodes, nodes * (len(component.pools) + 5) / 6) if found > goals.wide else None
