"""Mend an assignment by exact moves: overage is billed in whole blocks, which prices alone cannot see.

A move takes one SIM to another of its plans. Moves are tried in batches, for each pool and direction: sorted by what
they cost for each MB that they bring, their running sums give the exact bill of every prefix at once, and the best
prefix is taken.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from amop.optimization.bill import CostModel
from amop.optimization.certificate import reduced_costs
from amop.optimization.model import NONE, Integers

BATCHES = 60
"""Most batches that are taken; each one lowers the bill."""

MOVES = 20_000
"""Moves looked at in a batch: those that cost least at the prices."""

EXHAUSTIVE = 20_000
"""Fleets with at most so many possible assignments are solved by looking at all of them."""


def improve(model: CostModel, assignment: Integers, price: Integers) -> Integers:
    """Return an assignment whose bill is at most that of the given one; the input is not changed."""
    assignment = assignment.copy()
    if not model.pool_count:
        return assignment
    reduced = reduced_costs(model, price)
    for _ in range(BATCHES):
        batch = _best_batch(model, assignment, reduced)
        if batch is None:
            break
        rows, plans = batch
        assignment[rows] = plans
    return assignment


def cheapest_of_all(model: CostModel) -> Integers | None:
    """Return the cheapest of all assignments, None where there are too many to look at each."""
    choices = [np.flatnonzero(eligible).tolist() or [NONE] for eligible in model.is_eligible]
    if math.prod(len(plans) for plans in choices) > EXHAUSTIVE:
        return None
    return min((np.array(plans, dtype=np.int64) for plans in itertools.product(*choices)), key=model.bill)


def _best_batch(model: CostModel, assignment: Integers, reduced: Integers) -> tuple[Integers, Integers] | None:
    """Return the SIMs and their new plans of the batch that lowers the bill most, None when no batch lowers it."""
    excess = np.array(model.pool_excess(assignment), dtype=np.float64)
    best_saving, best = 0, None
    for rows, plans in _candidate_batches(model, assignment, reduced, excess):
        savings = _prefix_savings(model, assignment, rows, plans)
        length = int(np.argmax(savings))
        if savings[length] > best_saving:
            best_saving, best = int(savings[length]), (rows[: length + 1], plans[: length + 1])
    return best


def _candidate_batches(
    model: CostModel, assignment: Integers, reduced: Integers, excess: np.ndarray
) -> list[tuple[Integers, Integers]]:
    """Return sequences of moves, one move for each SIM: those that relieve a pool, those that fill it, and any."""
    rows, plans = np.nonzero(model.is_eligible & (assignment >= 0)[:, None])
    is_move = plans != assignment[rows]
    rows, plans = rows[is_move], plans[is_move]
    regret = (reduced[rows, plans] - reduced[rows, assignment[rows]]).astype(np.float64)
    if len(rows) > MOVES:
        nearest = np.argpartition(regret, MOVES)[:MOVES]
        rows, plans, regret = rows[nearest], plans[nearest], regret[nearest]
    change = _excess_changes(model, assignment, rows, plans)
    batches = []
    for pool in range(model.pool_count):
        brought = change[:, pool].astype(np.float64)
        for sign in (-1.0, 1.0):
            wanted = np.flatnonzero(brought * sign > 0)
            if not len(wanted):
                continue
            rate = regret[wanted] / np.abs(brought[wanted])
            order = wanted[np.lexsort((plans[wanted], model.devices.device_id[rows[wanted]], rate))]
            batches.append(_one_move_each(rows[order], plans[order]))
            # One SIM at a time, the largest step first: what a prefix of small steps cannot reach.
            saving = _single_savings(model, assignment, rows[wanted], plans[wanted])
            top = wanted[int(np.argmax(saving))]
            batches.append((rows[[top]], plans[[top]]))
    return batches


def _one_move_each(rows: Integers, plans: Integers) -> tuple[Integers, Integers]:
    _, first = np.unique(rows, return_index=True)
    first.sort()
    return rows[first], plans[first]


def _excess_changes(model: CostModel, assignment: Integers, rows: Integers, plans: Integers) -> Integers:
    """Return by how much each move changes each pool's excess, shape (moves, pools), 1e-6 MB."""
    change = np.zeros((len(rows), model.pool_count), dtype=np.int64)
    usage, group, number = model.devices.usage_micro_mb[rows], model.group[rows], np.arange(len(rows))
    for plan, sign in ((assignment[rows], -1), (plans, 1)):
        pool = model.pool[group, plan]
        inside = pool != NONE
        change[number[inside], pool[inside]] += sign * (usage - model.allowance[rows, plan])[inside]
    return change


def _prefix_savings(model: CostModel, assignment: Integers, rows: Integers, plans: Integers) -> Integers:
    """Return by how much the bill falls when the first 1, 2, … moves are made, shape (moves,)."""
    own = np.cumsum(model.own_cost[rows, plans] - model.own_cost[rows, assignment[rows]])
    return -own + _overage_savings(
        model, assignment, np.cumsum(_excess_changes(model, assignment, rows, plans), axis=0)
    )


def _single_savings(model: CostModel, assignment: Integers, rows: Integers, plans: Integers) -> Integers:
    own = model.own_cost[rows, plans] - model.own_cost[rows, assignment[rows]]
    return -own + _overage_savings(model, assignment, _excess_changes(model, assignment, rows, plans))


def _overage_savings(model: CostModel, assignment: Integers, change: Integers) -> Integers:
    """Return by how much the pools' overage falls with each row of changes, shape (rows,)."""
    saved = np.zeros(len(change), dtype=np.int64)
    for pool, excess in enumerate(model.pool_excess(assignment)):
        after = np.maximum(0, excess + change[:, pool])
        cost = -(-after // model.pool_block[pool]) * model.pool_rate[pool]
        saved += model.overage_cost(pool, excess) - cost
    return saved
