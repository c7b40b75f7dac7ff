"""Round the solution of the LP relaxation, a convex combination of assignments, to one assignment.

The assignments are vertices of the feasible set. A SIM whose plan is the same in every one of them keeps it. The
others, often a fifth of a large fleet, are indifferent at the dual prices: each takes its plan from one of the
vertices. Along the SIMs sorted by plans and usage the vertices are taken as evenly as their weights allow, by the
golden-ratio low-discrepancy sequence. The pools' excess then misses that of the relaxation by the data of a few SIMs,
not by the square root of their number.
"""

from __future__ import annotations

import numpy as np

from amop.solver.components import Doubles, PoolComponent
from amop.solver.model import NONE, Integers
from amop.solver.prices import Relaxation, cheapest_assignments, solve_relaxation_with_fixed

GOLDEN = 0.6180339887498949
"""Fractional part of the golden ratio: its multiples modulo 1 are a low-discrepancy sequence."""
LARGEST, PER_SIZE = 512, 64
"""SIMs rounded one by one: this number of the largest usage, and this number per power of two below."""
MAX_DIVES = 6
"""SIMs that one dive fixes."""


def round_relaxation(component: PoolComponent, relaxation: Relaxation) -> Integers:
    """Return the rounded assignment of a component, shape (n,), int64."""
    return round_vertices(component, relaxation.price, *_vertices(component, relaxation))


def dive(component: PoolComponent, relaxation: Relaxation, max_slack: float) -> tuple[Integers, Doubles]:
    """Round a relaxation that splits SIMs of hundreds of gigabytes, whose data no other SIMs can balance.

    The split SIM whose data costs most is fixed on each of its plans in turn, and the relaxation is solved again for
    the others; the plan of the lower bound is kept. This is repeated until the pools' slack is small.

    Args:
        component: the pool component.
        relaxation: its solution.
        max_slack: target for the cost of the pools above the price of their excess, 1e-6 currency.

    Returns:
        The assignment of the component, shape (n,), int64, and the prices that it was rounded at, shape (K,).
    """
    vertices, weights = _vertices(component, relaxation)
    chosen = round_vertices(component, relaxation.price, vertices, weights)
    for _ in range(MAX_DIVES):
        if _pool_slack(component, relaxation.price, chosen) <= max_slack:
            break
        sim = _largest_split_sim(component, relaxation, vertices)
        if sim is None:
            break
        children = [
            solve_relaxation_with_fixed(component, relaxation, sim, int(plan))
            for plan in np.unique([vertex[sim] for vertex in vertices])
        ]
        relaxation = min(children, key=lambda child: child.bound)
        vertices, weights = _vertices(component, relaxation)
        chosen = round_vertices(component, relaxation.price, vertices, weights)
    return chosen, relaxation.price


def _vertices(component: PoolComponent, relaxation: Relaxation) -> tuple[list[Integers], Doubles]:
    """Return the assignments of the primal weights, shape (n,) each, and their weights; largest weight first."""
    weights = np.array([weight for weight, _ in relaxation.primal_weights])
    order = np.argsort(-weights, kind="stable")
    prices = [relaxation.primal_weights[number][1] for number in order]
    return cheapest_assignments(component, relaxation, prices), weights[order]


def round_vertices(
    component: PoolComponent,
    price: Doubles,
    vertices: list[Integers],
    weights: Doubles,
    target: Doubles | float = 0.0,
) -> Integers:
    """Return an assignment close to a convex combination of assignments, shape (n,).

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        vertices: the assignments, shape (n,) each.
        weights: their weights, which add up to 1.
        target: excess of the pools that costs least, shape (K,), 1e-6 MB.
    """
    chosen = vertices[0].copy()
    rows = _split_sims(vertices)
    if len(rows):
        choices = np.stack([vertex[rows] for vertex in vertices])
        sequence = np.argsort(pattern_of(choices), kind="stable")
        share = np.empty(len(rows))
        share[sequence] = (0.5 + GOLDEN * np.arange(len(rows))) % 1.0
        take = np.searchsorted(np.cumsum(weights)[:-1], share, side="right")
        chosen[rows] = choices[take, np.arange(len(rows))]
        one_by_one = _rows_of_every_size(component.usage[rows])
        chosen[rows[one_by_one]] = _round_one_by_one(
            component, price, chosen, rows[one_by_one], choices[:, one_by_one], weights, target
        )
    return chosen


def _rows_of_every_size(usage: Doubles) -> Integers:
    """Return the indices of SIMs to round one by one, the largest first: all large ones, some of every size."""
    largest = np.argsort(-usage, kind="stable") if len(usage) <= LARGEST else np.argpartition(-usage, LARGEST)
    some = usage[: PER_SIZE * LARGEST]
    size = np.frexp(some)[1]
    by_size = np.argsort(size, kind="stable")
    starts = np.searchsorted(size[by_size], size[by_size])
    of_each = by_size[np.arange(len(some)) - starts < PER_SIZE]
    places = np.union1d(largest[:LARGEST], of_each)
    return places[np.argsort(-usage[places], kind="stable")]


def _round_one_by_one(
    component: PoolComponent,
    price: Doubles,
    chosen: Integers,
    rows: Integers,
    choices: Integers,
    weights: Doubles,
    target: Doubles | float,
) -> Integers:
    """Return plans of some SIMs, shape (m,), chosen one by one so that the pools stay close to the relaxation.

    The imbalance that a large SIM leaves is carried over to the smaller ones after it.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the plan of every SIM of the component, shape (n,).
        rows: positions of the SIMs to choose for, the largest first, shape (m,).
        choices: their plans in each vertex, shape (vertices, m).
        weights: weight of each vertex.
        target: excess of the pools that costs least, shape (K,), 1e-6 MB.
    """
    pools = len(component.pools)
    excess = np.stack([component.exact_excess(rows, plans) for plans in choices]).astype(np.float64)
    pool = component.pool_of_plans[choices]
    shares = np.zeros((len(rows), pools + 1))
    for vertex, weight in enumerate(weights):
        shares[np.arange(len(rows)), pool[vertex]] += weight * excess[vertex]
    shares = shares[:, :pools]
    before = np.bincount(
        component.pool_of_plans[chosen[rows]] + 1, component.exact_excess(rows, chosen[rows]), minlength=pools + 1
    )[1:]
    total = (component.pool_excess(chosen) - before + shares.sum(axis=0) - target).tolist()
    under, over = price.tolist(), (component.highest - price).tolist()
    taken = []
    for plans, at, data, share in zip(
        choices.T.tolist(), pool.T.tolist(), excess.T.tolist(), shares.tolist(), strict=True
    ):
        total = [a - b for a, b in zip(total, share, strict=True)]
        best, least = 0, float("inf")
        for vertex, k in enumerate(at):
            added = 0.0
            if k != NONE:
                after = total[k] + data[vertex]
                added = _imbalance(after, under[k], over[k]) - _imbalance(total[k], under[k], over[k])
            if added < least:
                best, least = vertex, added
        taken.append(plans[best])
        if at[best] != NONE:
            total[at[best]] += data[best]
    return np.array(taken, dtype=np.int64)


def _imbalance(excess: float, under: float, over: float) -> float:
    """Return the square of a pool's cost above the price of its excess."""
    return float(max(-excess * under, excess * over) ** 2)


def _pool_slack(component: PoolComponent, price: Doubles, chosen: Integers) -> float:
    """Return the cost of the pools above the price of their excess, 1e-6 currency."""
    model = component.model
    return sum(
        model.overage_cost(number, int(excess)) - float(price[pool]) * float(excess)
        for pool, (number, excess) in enumerate(zip(component.pools, component.pool_excess(chosen), strict=True))
    )


def _split_sims(vertices: list[Integers]) -> Integers:
    """Return the positions of the SIMs that the relaxation splits: their plans differ between the vertices."""
    differs = np.zeros(len(vertices[0]), dtype=np.bool_)
    for vertex in vertices[1:]:
        differs |= vertex != vertices[0]
    return np.flatnonzero(differs)


def _largest_split_sim(component: PoolComponent, relaxation: Relaxation, vertices: list[Integers]) -> int | None:
    """Return the position of the split SIM whose data costs most at the prices, None if the relaxation splits none."""
    rows = _split_sims(vertices)
    if not len(rows):
        return None
    price = np.append(relaxation.price, 0.0)
    data_cost = [
        price[component.pool_of_plans[vertex[rows]]] * component.exact_excess(rows, vertex[rows]) for vertex in vertices
    ]
    return int(rows[int(np.ptp(np.stack(data_cost), axis=0).argmax())])


def pattern_of(choices: Integers) -> Integers:
    """Return a number for each SIM's combination of plans in the vertices, shape (m,)."""
    pattern, count = choices[0], int(choices.max()) + 1
    for choice in choices[1:]:
        pattern = pattern * count + choice
        if pattern.max() >= 2**62 // count:  # few patterns are in use: number them
            _, pattern = np.unique(pattern, return_inverse=True)
    return np.asarray(pattern)
