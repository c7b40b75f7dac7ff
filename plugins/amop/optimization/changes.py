"""Plan changes: which SIMs leave their plan, what a change must save, and how many there may be.

A change counts where a SIM leaves a known present plan that it could keep; a SIM whose plan is retired, or not allowed
by its communication plan, must move. A minimum saving per change is a price that is added to the bill for each change.
A cap on their number is kept by raising that price until few enough are worth it: by weak duality, for every price at
or above the minimum saving,

    bill + saving x changes  >=  L(prices, price of a change) - (price of a change - saving) x cap
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amop.optimization.bill import CostModel
from amop.optimization.model import NONE, Flags, Integers
from amop.optimization.order import SEED, mixed, sorted_rows


@dataclass(frozen=True, slots=True)
class Preference:
    """What is asked of plan changes."""

    saving: int = 0
    """What each change must save at least, 1e-6 currency."""
    most: int | None = None
    """Most changes; None = any number."""

    @property
    def is_none(self) -> bool:
        """Return True where nothing is asked."""
        return not self.saving and self.most is None


def is_changed(model: CostModel, assignment: Integers) -> Flags:
    """Return which SIMs leave a known present plan that they could keep, shape (N,)."""
    return np.asarray(model.may_stay() & (assignment != model.devices.current_rate_plan))


def changes_of(model: CostModel, assignment: Integers) -> int:
    """Return how many SIMs leave a known present plan that they could keep."""
    return int(is_changed(model, assignment).sum())


def stay_assignment(model: CostModel, assignment: Integers) -> Integers:
    """Return the assignment in which every SIM that may keeps its present plan; the others are as given."""
    return np.where(model.may_stay(), model.devices.current_rate_plan, assignment)


def keep_present_plans(model: CostModel, assignment: Integers) -> Integers:
    """Undo changes for nothing: those that leave cost and pools as they are, and swaps between identical SIMs."""
    kept = assignment.copy()
    rows = np.flatnonzero(is_changed(model, assignment))
    if not len(rows):
        return kept
    new, present = assignment[rows], model.devices.current_rate_plan[rows]
    group, days = model.group[rows], model.billed_days[rows]
    pool = model.pool[group, new]
    undo = model.pool[group, present] == pool
    undo &= (pool == NONE) | (model.included[days, present] == model.included[days, new])
    maybe = np.flatnonzero(undo)
    undo[maybe] = _costs(model, rows[maybe], present[maybe]) == _costs(model, rows[maybe], new[maybe])
    kept[rows[undo]] = present[undo]
    _undo_swaps(model, rows[~undo], kept)
    return kept


def _costs(model: CostModel, rows: Integers, plans: Integers) -> Integers:
    costs = np.empty(len(rows), dtype=np.int64)
    for plan in np.unique(plans):
        mine = np.flatnonzero(plans == plan)
        costs[mine] = model.own_cost(int(plan), rows[mine])
    return costs


def _undo_swaps(model: CostModel, rows: Integers, assignment: Integers) -> None:
    """Let as many of identical changed SIMs keep their plan as the assignment has on it; the others share the rest."""
    devices = model.devices
    if not len(rows):
        return
    columns = (devices.usage_micro_mb[rows], model.group[rows], model.billed_days[rows], devices.sms_usage[rows])
    keys = np.zeros(len(rows), dtype=np.uint64)
    for number, column in enumerate(columns):
        keys += column.view(np.uint64) * np.uint64(pow(SEED, number + 1, 2**64))
    by_key, is_like_next = sorted_rows(mixed(keys))
    has_twin = np.append(is_like_next, False) | np.append(False, is_like_next)
    begins = np.append(True, ~is_like_next)[has_twin]
    rows, columns = rows[by_key[has_twin]], tuple(column[by_key[has_twin]] for column in columns)
    if not len(rows):
        return
    kind = np.cumsum(begins) - 1
    if any((column[1:] != column[:-1])[~begins[1:]].any() for column in columns):  # different SIMs of the same hash
        kind = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    plans = len(model.rate_plans)
    wanted = np.bincount(kind * plans + assignment[rows])
    present = kind * plans + devices.current_rate_plan[rows]
    by_present = np.argsort(present, kind="stable")
    starts = np.searchsorted(present[by_present], present[by_present])
    rank = np.arange(len(rows)) - starts
    limit = np.append(wanted, np.zeros(int(present.max()) + 1, dtype=wanted.dtype))[present[by_present]]
    stays = by_present[rank < limit]
    left = wanted - np.bincount(present[stays], minlength=len(wanted))[: len(wanted)]
    moves = np.setdiff1d(np.arange(len(rows)), stays, assume_unique=True)
    assignment[rows[stays]] = devices.current_rate_plan[rows[stays]]
    # The plans that are left, kind by kind, to the SIMs that are left, kind by kind.
    assignment[rows[moves[np.argsort(kind[moves], kind="stable")]]] = np.repeat(np.arange(len(left)) % plans, left)
