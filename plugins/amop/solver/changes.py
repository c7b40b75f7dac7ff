"""Plan changes: which SIMs leave their plan, the minimum saving per change, and the cap on the number of changes.

A change counts where a SIM leaves a known current plan that it could keep. A SIM whose plan is retired, or not allowed
by its communication plan, must move, which does not count. A minimum saving per change is a price that is added to the
bill for each change. A cap is relaxed into a higher price per change: by weak duality, for every price at or above the
minimum saving,

    bill + minimum saving x changes  >=  L(prices, price per change) - (price per change - minimum saving) x cap
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amop.solver.bill import CostModel
from amop.solver.hashing import SEED, Hashes, mix, sorted_rows
from amop.solver.model import NONE, Flags, Integers, index_type, rank_in_run


@dataclass(frozen=True, slots=True)
class ChangePreference:
    """Restrictions on plan changes."""

    min_saving: int = 0
    """Minimum saving per change, 1e-6 currency."""
    max_changes: int | None = None
    """Cap on the number of changes; None = no cap."""

    @property
    def is_empty(self) -> bool:
        """Return True if changes are not restricted."""
        return not self.min_saving and self.max_changes is None


def is_changed(model: CostModel, assignment: Integers) -> Flags:
    """Return which SIMs leave a known current plan that they could keep, shape (N,), bool."""
    return np.asarray(model.can_keep_plan() & (assignment != model.devices.current_rate_plan))


def count_changes(model: CostModel, assignment: Integers) -> int:
    """Return the number of SIMs that leave a known current plan that they could keep."""
    return int(is_changed(model, assignment).sum())


def assignment_without_changes(model: CostModel, assignment: Integers) -> Integers:
    """Return the assignment with every SIM that can keep its current plan on it, shape (N,)."""
    return np.where(model.can_keep_plan(), model.devices.current_rate_plan, assignment)


def keep_current_plans_on_ties(model: CostModel, assignment: Integers) -> Integers:
    """Return an assignment of the same bill that undoes changes without effect, shape (N,).

    Undone are changes that leave own cost and pool excess as they are, swaps among duplicate SIMs, and swaps within a
    pool.
    """
    kept = assignment.copy()
    rows = np.flatnonzero(is_changed(model, assignment))
    if not len(rows):
        return kept
    new, current = assignment[rows], model.devices.current_rate_plan[rows]
    group, tariff = model.group[rows], model.tariff[rows]
    pool = model.pool[group, new]
    undo = model.pool[group, current] == pool
    undo &= (pool == NONE) | (model.included[tariff, current] == model.included[tariff, new])
    maybe = np.flatnonzero(undo)
    undo[maybe] = model.own_costs(rows[maybe], current[maybe]) == model.own_costs(rows[maybe], new[maybe])
    kept[rows[undo]] = current[undo]
    rows = rows[~undo]
    undo_swaps(model, rows, kept, [model.devices.usage_micro_mb[rows], model.devices.sms_usage[rows]])
    undo_swaps_in_pools(model, kept)
    return kept


def undo_swaps_in_pools(model: CostModel, assignment: Integers) -> None:
    """Keep as many SIMs of each pool on their current plan as the assignment puts there, whatever data they use.

    SIMs of one tariff bring the same allowance and charge with a plan, and the pool only counts the sum of their usage.
    They differ by their SMS, where the plans of the pool have different rates for it, and by the plans that their comm
    group allows: between two of these, only SIMs that swap their plans with each other keep them.

    Args:
        model: the fleet.
        assignment: plan of each SIM of the fleet, shape (N,); it is modified.
    """
    current = model.devices.current_rate_plan
    rows = np.flatnonzero((assignment != current) & (assignment >= 0) & (current >= 0))
    pool = model.pool[model.group[rows], assignment[rows]]
    rows, pool = rows[pool != NONE], pool[pool != NONE]
    if not len(rows):
        return
    groups, plans = np.nonzero(model.pool != NONE)
    rate, member = model.rate_plans.sms_rate[plans], model.pool[groups, plans]
    highest, lowest = np.zeros(model.pool_count, dtype=np.int64), np.full(model.pool_count, rate.max())
    np.maximum.at(highest, member, rate)
    np.minimum.at(lowest, member, rate)
    sms = np.where((highest != lowest)[pool], model.devices.sms_usage[rows], 0)
    undo_swaps(model, rows, assignment, [pool, sms])
    changed = is_changed(model, assignment)[rows] & (model.pool[model.group[rows], current[rows]] == pool)
    rows, pool, sms = rows[changed], pool[changed], sms[changed]
    plan_pair = np.sort(np.stack((current[rows], assignment[rows])), axis=0)
    _, pair = np.unique(np.stack((pool, sms, model.tariff[rows], *plan_pair)), axis=1, return_inverse=True)
    place = 2 * pair.reshape(-1) + (current[rows] < assignment[rows])
    order = np.argsort(place, kind="stable")
    there_and_back = np.bincount(place, minlength=2 * (int(place.max(initial=0)) // 2 + 1)).reshape(-1, 2).min(axis=1)
    stays = rows[order][rank_in_run(place[order]) < there_and_back[place[order] // 2]]
    assignment[stays] = current[stays]


def undo_swaps(model: CostModel, rows: Integers, assignment: Integers, alike: Sequence[Integers]) -> None:
    """Keep as many SIMs that cost the same on every plan on their current plan as the assignment puts there.

    Args:
        model: the fleet.
        rows: the SIMs; their current plan is known.
        assignment: plan of each SIM of the fleet, shape (N,); it is modified.
        alike: columns that are equal, beside comm group and tariff, for SIMs whose plans may be swapped.
    """
    devices, plans = model.devices, len(model.rate_plans)
    columns = (*alike, model.group[rows], model.tariff[rows])
    order, kind = _duplicate_sims(columns)
    if not len(order):
        return
    rows = rows[order]
    wanted = np.bincount(kind * plans + assignment[rows], minlength=plans * (int(kind[-1]) + 1))
    current = devices.current_rate_plan[rows]
    by_plan = np.argsort(current.astype(index_type(plans)), kind="stable")  # rows of one plan stay sorted by kind
    place = (kind * plans + current)[by_plan]
    stays = by_plan[rank_in_run(place) < wanted[place]]
    remaining = wanted - np.bincount(kind[stays] * plans + current[stays], minlength=len(wanted))
    moves = np.ones(len(rows), dtype=np.bool_)
    moves[stays] = False
    assignment[rows[stays]] = current[stays]
    # Both sides are sorted by kind: the remaining places on plans, and the remaining SIMs.
    assignment[rows[moves]] = np.repeat(np.arange(len(remaining)) % plans, remaining)


def _duplicate_sims(columns: Sequence[Integers]) -> tuple[Integers, Integers]:
    """Return the rows that equal another row in all columns, and the number of their kind, ascending.

    Rows are compared by hash first; only those with equal hashes are compared by value.
    """
    keys = np.zeros(len(columns[0]), dtype=np.uint64)
    for number, column in enumerate(columns):
        keys += column.view(np.uint64) * np.uint64(pow(SEED, number + 1, 2**64))
    keys = mix(keys)
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
    is_duplicate = ~begins
    is_duplicate[:-1] |= ~begins[1:]
    return order[is_duplicate], np.cumsum(begins[is_duplicate]) - 1


def _differs(columns: Sequence[Integers], order: Integers) -> Flags:
    """Return which rows of an order differ from the row before, shape (n - 1,), bool."""
    differs = np.zeros(max(0, len(order) - 1), dtype=np.bool_)
    for column in columns:
        ordered = column[order]
        differs |= ordered[1:] != ordered[:-1]
    return differs


def _shares_bucket(keys: Hashes) -> Flags:
    """Return which keys share a hash bucket with another key, shape (n,): all others are unique."""
    bits = max(1, len(keys)).bit_length() + 2
    bucket = (keys & np.uint64(2**bits - 1)).astype(np.int64)
    rows = np.arange(len(keys), dtype=np.int32)
    last = np.zeros(2**bits, dtype=np.int32)
    last[bucket] = rows
    is_not_last = last[bucket] != rows
    is_shared = np.zeros(2**bits, dtype=np.bool_)
    is_shared[bucket[is_not_last]] = True
    return is_shared[bucket]
