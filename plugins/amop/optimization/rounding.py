"""From the mixture of assignments that solves the LP relaxation to one assignment of whole SIMs.

A SIM whose plan is the same in every assignment of the mixture keeps it. The others, often a fifth of a large fleet,
are indifferent at the prices: each takes its plan from one of the assignments, such that along the SIMs sorted by plans
and usage every assignment is taken as evenly as its weight says (a low-discrepancy sequence). The pools' excess then
misses that of the mixture by a few SIMs' data, not by the square root of their number.
"""

from __future__ import annotations

import numpy as np

from amop.optimization.classes import Part
from amop.optimization.model import Integers
from amop.optimization.prices import Prices, assignments_at

GOLDEN = 0.6180339887498949


def round_mixture(part: Part, top: Prices) -> Integers:
    """Return the plan of each SIM of the part, shape (n,)."""
    weights = np.array([weight for weight, _ in top.mixture])
    order = np.argsort(-weights, kind="stable")
    options = assignments_at(part, top, [top.mixture[number][1] for number in order])
    chosen = options[0].copy()
    differs = np.zeros(len(chosen), dtype=np.bool_)
    for option in options[1:]:
        differs |= option != chosen
    rows = np.flatnonzero(differs)
    if len(rows):
        choices = np.stack([option[rows] for option in options])
        sequence = np.lexsort((part.usage[rows], _pattern(choices)))
        share = np.empty(len(rows))
        share[sequence] = (0.5 + GOLDEN * np.arange(len(rows))) % 1.0
        take = np.searchsorted(np.cumsum(weights[order])[:-1], share, side="right")
        chosen[rows] = choices[take, np.arange(len(rows))]
    return chosen


def _pattern(choices: Integers) -> Integers:
    """Return a number for each SIM that says which plans it has in the assignments, shape (rows,)."""
    pattern, count = choices[0], int(choices.max()) + 1
    for choice in choices[1:]:
        pattern = pattern * count + choice
        if pattern.max() >= 2**62 // count:  # few patterns are in use: number them
            _, pattern = np.unique(pattern, return_inverse=True)
    return np.asarray(pattern)
