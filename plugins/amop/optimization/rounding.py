"""From the mixture of assignments that solves the LP relaxation to one assignment of whole SIMs.

A SIM whose plan is the same in every assignment of the mixture keeps it. The others, often a fifth of a large fleet,
are indifferent at the prices: each takes its plan from one of the assignments, such that along the SIMs sorted by plans
and usage every assignment is taken as evenly as its weight says (a low-discrepancy sequence). The pools' excess then
misses that of the mixture by a few SIMs' data, not by the square root of their number.
"""

from __future__ import annotations

import numpy as np

from amop.optimization.classes import Doubles, Part
from amop.optimization.model import NONE, Integers
from amop.optimization.prices import Prices, assignments_at, prices_with_fixed

GOLDEN = 0.6180339887498949
LARGEST, OF_EACH_SIZE = 512, 64
"""SIMs that are rounded one by one: so many of the largest usage, and of every power of two below."""
MOST_SETTLED = 6
"""SIMs that are settled one by one because the mixture splits them and nothing small makes up for it."""


def round_mixture(part: Part, top: Prices) -> Integers:
    """Return the plan of each SIM of the part, shape (n,)."""
    return _round(part, top, *_options(part, top))


def settle(part: Part, top: Prices, most_slack: float) -> tuple[Integers, Doubles]:
    """Round a mixture that splits SIMs of hundreds of gigabytes, which nothing small makes up for.

    The SIM whose data is worth most is held on the one and on the other of its plans, and the prices are found anew for
    the others; the cheaper one stays, until no pool is far off.

    Args:
        part: the SIMs.
        top: their prices and mixture.
        most_slack: what the pools may cost above the price of their excess, 1e-6 currency.

    Returns:
        The plan of each SIM of the part, shape (n,), and the prices at which the others were rounded.
    """
    options, weights = _options(part, top)
    chosen = _round(part, top, options, weights)
    for _ in range(MOST_SETTLED):
        sim = _largest_split(part, top, options) if _slack(part, top.price, chosen) > most_slack else None
        if sim is None:
            break
        tries = [
            prices_with_fixed(part, top, sim, int(plan)) for plan in np.unique([option[sim] for option in options])
        ]
        top = min(tries, key=lambda prices: prices.bound)
        options, weights = _options(part, top)
        chosen = _round(part, top, options, weights)
    return chosen, top.price


def _options(part: Part, top: Prices) -> tuple[list[Integers], Doubles]:
    """Return the assignments of the mixture and their weights, the heaviest first."""
    weights = np.array([weight for weight, _ in top.mixture])
    order = np.argsort(-weights, kind="stable")
    return assignments_at(part, top, [top.mixture[number][1] for number in order]), weights[order]


def _round(part: Part, top: Prices, options: list[Integers], weights: Doubles) -> Integers:
    chosen = options[0].copy()
    differs = np.zeros(len(chosen), dtype=np.bool_)
    for option in options[1:]:
        differs |= option != chosen
    rows = np.flatnonzero(differs)
    if len(rows):
        choices = np.stack([option[rows] for option in options])
        sequence = np.argsort(_pattern(choices), kind="stable")
        share = np.empty(len(rows))
        share[sequence] = (0.5 + GOLDEN * np.arange(len(rows))) % 1.0
        take = np.searchsorted(np.cumsum(weights)[:-1], share, side="right")
        chosen[rows] = choices[take, np.arange(len(rows))]
        kept_back = _kept_back(part.usage[rows])
        chosen[rows[kept_back]] = _balanced(part, top.price, chosen, rows[kept_back], choices[:, kept_back], weights)
    return chosen


def _kept_back(usage: Doubles) -> Integers:
    """Return places of SIMs that are rounded one by one: all of the largest usage and some of every size below."""
    largest = np.argsort(-usage, kind="stable") if len(usage) <= LARGEST else np.argpartition(-usage, LARGEST)
    some = usage[: OF_EACH_SIZE * LARGEST]
    size = np.frexp(some)[1]
    by_size = np.argsort(size, kind="stable")
    starts = np.searchsorted(size[by_size], size[by_size])
    of_each = by_size[np.arange(len(some)) - starts < OF_EACH_SIZE]
    places = np.union1d(largest[:LARGEST], of_each)
    return places[np.argsort(-usage[places], kind="stable")]


def _balanced(
    part: Part, price: Doubles, chosen: Integers, rows: Integers, choices: Integers, weights: Doubles
) -> Integers:
    """Return plans of some SIMs, shape (m,), each chosen such that the pools stay near to what the mixture gives them.

    What the larger SIMs leave, the smaller ones make up for: the error is carried on, down to the size of the smallest.

    Args:
        part: the SIMs.
        price: of each pool's data.
        chosen: the plan of every SIM of the part.
        rows: positions of those to choose for, the largest first.
        choices: the plan of each of them in each assignment of the mixture, shape (assignments, m).
        weights: of the assignments.
    """
    pools = len(part.pools)
    excess = np.stack([part.exact_excess(rows, plans) for plans in choices]).astype(np.float64)
    pool = part.pool_of_plans[choices]
    shares = np.zeros((len(rows), pools + 1))
    for option, weight in enumerate(weights):
        shares[np.arange(len(rows)), pool[option]] += weight * excess[option]
    shares = shares[:, :pools]
    present = np.bincount(
        part.pool_of_plans[chosen[rows]] + 1, part.exact_excess(rows, chosen[rows]), minlength=pools + 1
    )[1:]
    total = (part.pool_excess(chosen) - present + shares.sum(axis=0)).tolist()
    under, over = price.tolist(), (part.highest - price).tolist()
    taken = []
    for plans, at, data, share in zip(
        choices.T.tolist(), pool.T.tolist(), excess.T.tolist(), shares.tolist(), strict=True
    ):
        total = [a - b for a, b in zip(total, share, strict=True)]
        best, least = 0, float("inf")
        for option, k in enumerate(at):
            added = 0.0
            if k != NONE:
                after = total[k] + data[option]
                added = _waste(after, under[k], over[k]) - _waste(total[k], under[k], over[k])
            if added < least:
                best, least = option, added
        taken.append(plans[best])
        if at[best] != NONE:
            total[at[best]] += data[best]
    return np.array(taken, dtype=np.int64)


def _waste(excess: float, under: float, over: float) -> float:
    """Return the square of what a pool's excess costs above the price of it."""
    return float(max(-excess * under, excess * over) ** 2)


def _slack(part: Part, price: Doubles, chosen: Integers) -> float:
    """Return what the pools cost above the price of their excess, 1e-6 currency."""
    model = part.model
    return sum(
        model.overage_cost(number, int(excess)) - float(price[pool]) * float(excess)
        for pool, (number, excess) in enumerate(zip(part.pools, part.pool_excess(chosen), strict=True))
    )


def _largest_split(part: Part, top: Prices, options: list[Integers]) -> int | None:
    """Return the SIM of those that differ between the assignments whose data is worth most, None where none does."""
    differs = np.zeros(len(options[0]), dtype=np.bool_)
    for option in options[1:]:
        differs |= option != options[0]
    rows = np.flatnonzero(differs)
    if not len(rows):
        return None
    price = np.append(top.price, 0.0)
    worth = [price[part.pool_of_plans[option[rows]]] * part.exact_excess(rows, option[rows]) for option in options]
    return int(rows[int(np.ptp(np.stack(worth), axis=0).argmax())])


def _pattern(choices: Integers) -> Integers:
    """Return a number for each SIM that says which plans it has in the assignments, shape (rows,)."""
    pattern, count = choices[0], int(choices.max()) + 1
    for choice in choices[1:]:
        pattern = pattern * count + choice
        if pattern.max() >= 2**62 // count:  # few patterns are in use: number them
            _, pattern = np.unique(pattern, return_inverse=True)
    return np.asarray(pattern)
