"""Local search of a small fleet for the risk-adjusted bill itself: single moves, then moves of two SIMs at a time.

The search of `amop.solver.risk` makes a *weighted* bill least, at weights of the scenarios that it holds fixed. The
worst scenarios change with the plans, though, which matters where one SIM is a large part of the fleet. Here the effect
of a move on the worst tenth is computed anew. Moves are ranked in floating point; each one made is checked exactly.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.changes import is_changed
from amop.solver.components import Doubles
from amop.solver.model import NONE, Integers
from amop.solver.risk_candidates import Candidate, RiskCandidates
from amop.solver.scenarios import ScenarioBills

MOVES_OF_PAIRS = 120
"""Single moves that are combined to pairs: those after which the bill is least."""
CHUNK_MOVES = 256
"""Moves computed at a time."""
MAX_STEPS = 50
"""Moves made."""


class RiskExchange:
    """The moves of a small fleet and their effects in all scenarios.

    Args:
        bills: the fleet, with equally likely scenarios.
        min_saving: minimum saving per change, 1e-6 currency.
    """

    def __init__(self, bills: ScenarioBills, min_saving: int) -> None:
        model, plans = bills.model, bills.model.rate_plans
        self._bills, self._min_saving = bills, min_saving
        self._pool = model.pool[model.group]
        """Pool of each SIM on each plan, shape (N, P)."""
        self._eligible = model.eligible[model.group]
        usage, included = bills.usage(slice(None)), model.included[model.tariff]
        self._data = usage[:, None, :] - included[:, :, None]
        """Usage less allowance of each SIM on each plan in each scenario, shape (N, P, S), 1e-6 MB."""
        blocks = overage_blocks(self._data, plans.block_micro_mb[None, :, None])
        fixed = model.charge[model.tariff] + model.devices.sms_usage[:, None] * plans.sms_rate
        alone = (self._pool == NONE)[:, :, None]
        self._own = fixed[:, :, None] + np.where(alone, blocks * plans.overage_rate[None, :, None], 0).astype(
            np.float64
        )
        """Cost of each SIM on each plan without the overage of a pool, shape (N, P, S), 1e-6 currency."""
        here = [is_changed(model, np.full(len(model.devices), plan)) for plan in range(len(plans))]
        self._is_change = np.stack(here, axis=1) if here else np.zeros(self._pool.shape, dtype=np.bool_)
        count = bills.count
        tail = np.clip(count - 10 * np.arange(count), 0, 10) / count
        self._tail = tail[::-1]
        """Weight of each scenario in the mean of the worst tenth, by ascending bill, shape (S,)."""

    def improve(self, candidates: RiskCandidates, start: Candidate, risk_weight: int) -> None:
        """Add the assignments on the way from one of the candidates to a local optimum, if there are better ones."""
        best = start
        for _ in range(MAX_STEPS):
            found = self._best_move(best.assignment, risk_weight)
            if found is None:
                return
            assignment = best.assignment.copy()
            for sim, plan in found:
                assignment[sim] = plan
            better = candidates.evaluate(assignment)
            if candidates.objective(better, risk_weight) >= candidates.objective(best, risk_weight):
                return
            candidates.add(better)
            best = better

    def _best_move(self, assignment: Integers, risk_weight: int) -> list[tuple[int, int]] | None:
        """Return SIMs and their new plans: the best single move if it saves, else the best pair; None if none saves."""
        sim, plan = np.nonzero(self._eligible & (assignment != NONE)[:, None])
        keeps = assignment[sim] == plan
        sim, plan = sim[~keeps], plan[~keeps]
        none = np.zeros((1, 0), dtype=np.int64)
        now = float(self._objectives(assignment, none, none, risk_weight)[0])
        if not len(sim):
            return None
        after = self._objectives(assignment, sim[:, None], plan[:, None], risk_weight)
        best = int(after.argmin())
        if after[best] < now:
            return [(int(sim[best]), int(plan[best]))]
        ranked = np.argsort(after, kind="stable")[:MOVES_OF_PAIRS].tolist()
        pairs = np.array([pair for pair in combinations(ranked, 2) if sim[pair[0]] != sim[pair[1]]], dtype=np.int64)
        if not len(pairs):
            return None
        after = self._objectives(assignment, sim[pairs], plan[pairs], risk_weight)
        best = int(after.argmin())
        return (
            list(zip(sim[pairs[best]].tolist(), plan[pairs[best]].tolist(), strict=True)) if after[best] < now else None
        )

    def _objectives(self, assignment: Integers, sims: Integers, plans: Integers, risk_weight: int) -> Doubles:
        """Return the risk-adjusted bill + minimum saving x changes after each of m moves, shape (m,), 1e-6 currency.

        Args:
            assignment: plan of each SIM, shape (N,).
            sims: the SIMs that move, shape (m, 1 or 2); no column = nothing moves.
            plans: their new plans, the same shape.
            risk_weight: in thousandths.
        """
        model = self._bills.model
        rows = np.flatnonzero(assignment != NONE)
        chosen = assignment[rows]
        own = self._own[rows, chosen].sum(axis=0)
        changes = int(self._is_change[rows, chosen].sum())
        pool = np.full(len(assignment), NONE)
        pool[rows] = self._pool[rows, chosen]
        excess = [self._data[rows, chosen][pool[rows] == number].sum(axis=0) for number in range(model.pool_count)]
        found = np.empty(len(sims))
        for first in range(0, len(sims), CHUNK_MOVES):
            at = slice(first, first + CHUNK_MOVES)
            sim, plan = sims[at], plans[at]
            before = assignment[sim]
            bills = own + (self._own[sim, plan] - self._own[sim, before]).sum(axis=1)
            into, out = self._data[sim, plan], self._data[sim, before]
            for number, sums in enumerate(excess):
                enters, leaves = self._pool[sim, plan] == number, self._pool[sim, before] == number
                moved = (np.where(enters[..., None], into, 0) - np.where(leaves[..., None], out, 0)).sum(axis=1)
                bills = bills + overage_blocks(sums + moved, model.pool_block[number]) * model.pool_rate[number]
            tail = np.sort(bills, axis=1) @ self._tail
            adjusted = (1_000 * bills.mean(axis=1) + risk_weight * tail) / (1_000 + risk_weight)
            more = (self._is_change[sim, plan].astype(np.int64) - self._is_change[sim, before]).sum(axis=1)
            found[at] = adjusted + self._min_saving * (changes + more)
        return found
