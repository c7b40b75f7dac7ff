"""Plan changes: which SIMs leave their plan, what a change must save, and how many there may be.

A change counts where a SIM leaves a known present plan that it could keep; a SIM whose plan is retired, or not allowed
by its communication plan, must move. A minimum saving per change is a price that is added to the bill for each change.
A cap on their number is kept by raising that price until few enough are worth it: by weak duality, for every price at
or above the minimum saving,

    bill + saving x changes  >=  L(prices, price of a change) - (price of a change - saving) x cap
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amop.optimization.bill import CostModel
from amop.optimization.model import NONE, Flags, Integers
from amop.optimization.order import SEED, Hashes, mixed, sorted_rows


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
    undo[maybe] = model.own_costs(rows[maybe], present[maybe]) == model.own_costs(rows[maybe], new[maybe])
    kept[rows[undo]] = present[undo]
    _undo_swaps(model, rows[~undo], kept)
    return kept


def _undo_swaps(model: CostModel, rows: Integers, assignment: Integers) -> None:
    """Let as many of identical changed SIMs keep their plan as the assignment has on it; the others share the rest."""
    devices, plans = model.devices, len(model.rate_plans)
    columns = (devices.usage_micro_mb[rows], model.group[rows], model.billed_days[rows], devices.sms_usage[rows])
    order, kind = _twins(columns)
    if not len(order):
        return
    rows = rows[order]
    wanted = np.bincount(kind * plans + assignment[rows], minlength=plans * (int(kind[-1]) + 1))
    current = devices.current_rate_plan[rows]
    by_plan = np.argsort(current.astype(np.uint16), kind="stable")  # within a plan they are by kind, as they were
    present = (kind * plans + current)[by_plan]
    starts = np.append(True, present[1:] != present[:-1])
    number = np.arange(len(rows))
    rank = number - np.maximum.accumulate(np.where(starts, number, 0))
    stays = by_plan[rank < wanted[present]]
    left = wanted - np.bincount(kind[stays] * plans + current[stays], minlength=len(wanted))
    moves = np.ones(len(rows), dtype=np.bool_)
    moves[stays] = False
    assignment[rows[stays]] = current[stays]
    # The plans that are left, kind by kind, to the SIMs that are left, kind by kind.
    assignment[rows[moves]] = np.repeat(np.arange(len(left)) % plans, left)


def _twins(columns: Sequence[Integers]) -> tuple[Integers, Integers]:
    """Return the rows that are the same in all columns as another row, and the number of what they are, ascending."""
    keys = np.zeros(len(columns[0]), dtype=np.uint64)
    for number, column in enumerate(columns):
        keys += column.view(np.uint64) * np.uint64(pow(SEED, number + 1, 2**64))
    keys = mixed(keys)
    maybe = np.flatnonzero(_shares_bucket(keys))
    order, is_like_next = sorted_rows(keys[maybe])
    order = maybe[order]
    differs = _differs(columns, order)
    run = np.cumsum(np.append(0, ~is_like_next))
    if (is_like_next & differs).any():  # different SIMs of the same hash
        is_mixed = np.zeros(int(run[-1]) + 1, dtype=np.bool_)
        is_mixed[run[1:][is_like_next & differs]] = True
        places = np.flatnonzero(is_mixed[run])
        among = order[places]
        order[places] = among[np.lexsort((*(column[among] for column in columns), run[places]))]
        differs = _differs(columns, order)
    begins = np.append(True, differs) if len(order) else np.zeros(0, dtype=np.bool_)
    is_twin = ~begins
    is_twin[:-1] |= ~begins[1:]
    return order[is_twin], np.cumsum(begins[is_twin]) - 1


def _differs(columns: Sequence[Integers], order: Integers) -> Flags:
    """Return where a row differs from the one before it, shape (n - 1,)."""
    differs = np.zeros(max(0, len(order) - 1), dtype=np.bool_)
    for column in columns:
        ordered = column[order]
        differs |= ordered[1:] != ordered[:-1]
    return differs


def _shares_bucket(keys: Hashes) -> Flags:
    """Return which keys fall into a bucket with another one: those that do not are like no other."""
    bits = max(1, len(keys)).bit_length() + 2
    bucket = (keys & np.uint64(2**bits - 1)).astype(np.int64)
    rows = np.arange(len(keys), dtype=np.int32)
    last = np.zeros(2**bits, dtype=np.int32)
    last[bucket] = rows
    is_not_last = last[bucket] != rows
    is_shared = np.zeros(2**bits, dtype=np.bool_)
    is_shared[bucket[is_not_last]] = True
    return is_shared[bucket]
