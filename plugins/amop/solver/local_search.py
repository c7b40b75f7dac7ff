"""Local search: combine a few exact moves to reduce the waste that rounding overage up to whole blocks causes.

At the dual prices, bill = bound + reduced costs of the chosen plans + slack of the pools. A pool's slack is what it
pays for the unused rest of its last block, and for its credit. Reducing it is a knapsack problem with one dimension per
pool: find moves of little reduced cost whose data fills the pools' blocks. A few hundred candidate moves are combined
by a beam search over SIMs. Of all combinations that leave the pools about equally full it keeps the one of least
reduced cost.
"""

from __future__ import annotations

import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.components import NOT_ELIGIBLE, Doubles, PoolComponent
from amop.solver.model import Integers, rank_in_run

SAMPLE_SIZE = 65_536
"""SIMs from which moves are drawn: those of a large fleet have enough moves of every size."""
MOVES_PER_PLAN_PAIR = 300
"""Candidate moves per pair of plans: those of least reduced cost."""
MAX_MOVES = 200
"""Candidate moves that are combined."""
MAX_EQUAL_MOVES = 3
"""Candidate moves of the same effect on the pools that are combined."""
BEAM_WIDTH = 2_048
"""Combinations kept per step, a power of two."""
CELL_SHARE = 0.1
"""Pools are about equally full if they differ by less than this share of the slack's cost."""
SLACK_WEIGHT = 0.3
"""Weight of the slack relative to the reduced cost when combinations of the same cell are compared."""
MAX_ROUNDS = 2
GAP_TARGET = 5e-7
"""Relative gap below which no further round is made."""


def local_search(component: PoolComponent, price: Doubles, bound: float, chosen: Integers) -> tuple[Integers, int]:
    """Return an assignment that costs at most as much as a given one, shape (n,), and its bill in 1e-6 currency.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        bound: dual bound of the component's bill, 1e-6 currency; 0 = unknown.
        chosen: the given plan of each SIM, shape (n,), int64.
    """
    chosen, bill = chosen.copy(), component.bill(chosen)
    if not component.pools:
        return chosen, bill
    total = component.pool_excess(chosen)
    sample, plans = slice(0, SAMPLE_SIZE), range(len(component.model.rate_plans))
    costs = np.stack([component.plan_costs(plan, price, sample) for plan in plans])
    for _ in range(MAX_ROUNDS):
        moves = Moves(component, price, chosen, total, *_candidate_moves(chosen, costs))
        selected = _best_combination(moves)
        saving = moves.saving(selected)
        if saving <= 0:
            break
        chosen[moves.position[selected]] = moves.plan[selected]
        total = total + moves.excess[selected].sum(axis=0)
        bill -= saving
        if bill - bound <= GAP_TARGET * bound:
            break
    return chosen, bill


def _candidate_moves(chosen: Integers, costs: Doubles) -> tuple[Integers, Integers]:
    """Return positions of SIMs and the plans to move to: per pair of plans the moves of least reduced cost.

    Args:
        chosen: the plan of each SIM of the component, shape (n,).
        costs: cost at the prices by plan for the first SIMs of the component, shape (P, at most `SAMPLE_SIZE`).
    """
    current = chosen[: costs.shape[1]]
    least = costs[current, np.arange(len(current))]
    drawn: list[tuple[Integers, Integers]] = []
    for number in np.unique(current):
        mine = np.flatnonzero(current == number)
        for plan in range(len(costs)):
            if plan == number:
                continue
            reduced_cost = costs[plan][mine] - least[mine]
            best = np.arange(len(mine))
            if len(mine) > MOVES_PER_PLAN_PAIR:
                best = np.argpartition(reduced_cost, MOVES_PER_PLAN_PAIR)[:MOVES_PER_PLAN_PAIR]
            best = best[reduced_cost[best] < NOT_ELIGIBLE / 2]
            drawn.append((mine[best], np.full(len(best), plan)))
    if not drawn:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate([position for position, _ in drawn]), np.concatenate([plans for _, plans in drawn])


class Moves:
    """Candidate moves and their exact effects. Money in 1e-6 currency, data in 1e-6 MB.

    Args:
        component: the pool component.
        price: dual price of each pool's data, shape (K,), currency per MB.
        chosen: the plan of each SIM of the component, shape (n,).
        total: usage less allowance of each pool in that assignment, shape (K,).
        position: the SIM of each move, shape (m,).
        plan: the plan that it would move to, shape (m,).
    """

    cost: Integers
    """Change of the SIM's own cost, shape (m,)."""
    excess: Integers
    """Change of the pools' usage less allowance, shape (m, K)."""
    reduced_cost: Doubles
    """Change of the cost at the prices, shape (m,)."""

    def __init__(
        self,
        component: PoolComponent,
        price: Doubles,
        chosen: Integers,
        total: Integers,
        position: Integers,
        plan: Integers,
    ) -> None:
        self.position, self.plan, self.price, self.total = position, plan, price, total
        self._exact_block = component.model.pool_block[component.pools]
        self._exact_rate = component.model.pool_rate[component.pools]
        self.block, self.rate = self._exact_block.astype(np.float64), self._exact_rate.astype(np.float64)
        current = chosen[position]
        self.pool, self.current_pool = component.pool_of_plans[plan], component.pool_of_plans[current]
        self.cost = component.exact_costs(position, plan) - component.exact_costs(position, current)
        self.excess = np.zeros((len(plan), len(component.pools) + 1), dtype=np.int64)
        every = np.arange(len(plan))
        self.excess[every, self.pool] += component.exact_excess(position, plan)
        self.excess[every, self.current_pool] -= component.exact_excess(position, current)
        self.excess = self.excess[:, :-1]
        self.reduced_cost = self.cost + self.excess @ price

    def slack_costs(self, excess: Doubles) -> Doubles:
        """Return the pools' slack, shape (states,), 1e-6 currency, for excess of shape (K, states)."""
        cost = np.zeros(excess.shape[1])
        for pool, row in enumerate(excess):
            blocks = np.maximum(row, 0.0)
            blocks /= self.block[pool]
            np.ceil(blocks, out=blocks)
            blocks *= self.rate[pool]
            cost += blocks
            cost -= self.price[pool] * row
        return cost

    def saving(self, selected: Integers) -> int:
        """Return the exact saving of moves of different SIMs, 1e-6 currency."""
        after = self.total + self.excess[selected].sum(axis=0)
        fewer_blocks = overage_blocks(self.total, self._exact_block) - overage_blocks(after, self._exact_block)
        return int((fewer_blocks * self._exact_rate).sum() - self.cost[selected].sum())

    def beam_steps(self, slack: float) -> list[Integers]:
        """Return the moves to combine, those of one SIM per step; moves of much data come first.

        An equal number is taken between every pair of pools: the moves of least reduced cost.

        Args:
            slack: the pools' slack, 1e-6 currency; a move of a higher reduced cost cannot save.
        """
        usable = np.flatnonzero((self.excess != 0).any(axis=1) & (self.reduced_cost < slack))
        effect = self.excess[usable] @ _hash_factors(self.excess.shape[1])
        order = np.lexsort((self.reduced_cost[usable], effect))
        usable = usable[order[rank_in_run(effect[order]) < MAX_EQUAL_MOVES]]
        between = self.current_pool[usable] * (self.excess.shape[1] + 1) + self.pool[usable]
        order = np.lexsort((self.reduced_cost[usable], between))
        rank = rank_in_run(between[order])
        usable = usable[order[np.lexsort((self.reduced_cost[usable[order]], rank))[:MAX_MOVES]]]
        usable = usable[np.argsort(-(np.abs(self.excess[usable]) @ self.price), kind="stable")]
        _, first, sim = np.unique(self.position[usable], return_index=True, return_inverse=True)
        return [usable[sim == number] for number in np.argsort(first)]


def _best_combination(moves: Moves) -> Integers:
    """Return the moves, of different SIMs, that together save the most; empty if none saves."""
    excess = moves.total[:, None].astype(np.float64)
    change = moves.excess.astype(np.float64)
    reduced_cost, slack = np.zeros(1), moves.slack_costs(excess)
    best, best_step, best_state = float(slack[0]) - 0.5, -1, 0
    cell = np.maximum(CELL_SHARE * slack[0] / np.maximum(moves.price, 1e-9) / len(excess), 1.0)
    steps = moves.beam_steps(float(slack[0]))
    parents: list[Integers] = []
    for step, selected in enumerate(steps):
        states = len(reduced_cost)
        moved = [excess + change[move][:, None] for move in selected]
        excess = np.concatenate([excess, *moved], axis=1)
        added = (reduced_cost[:states] + moves.reduced_cost[move] for move in selected)
        reduced_cost = np.concatenate([reduced_cost, *added])
        slack = np.concatenate([slack, moves.slack_costs(excess[:, states:])])
        if (least := float((reduced_cost + slack)[states:].min())) < best:
            best, best_step = least, step
            best_state = states + int((reduced_cost + slack)[states:].argmin())
        kept = _least_of_each_cell(excess, cell, reduced_cost + SLACK_WEIGHT * slack)
        parents.append(kept := kept[reduced_cost[kept] < best])
        if not len(kept):
            break  # no remaining combination can be better than the best one
        excess, reduced_cost, slack = excess[:, kept], reduced_cost[kept], slack[kept]
    return _backtrack(steps, parents, best_step, best_state)


def _backtrack(steps: list[Integers], parents: list[Integers], step: int, state: int) -> Integers:
    """Return the moves that lead to a state of a step."""
    selected: list[int] = []
    while step >= 0:
        states = len(parents[step - 1]) if step else 1
        move, state = divmod(state, states)
        if move:
            selected.append(int(steps[step][move - 1]))
        step -= 1
        if step >= 0:
            state = int(parents[step][state])
    return np.array(selected, dtype=np.int64)


def _least_of_each_cell(excess: Doubles, cell: Doubles, value: Doubles) -> Integers:
    """Return the state of least value per hashed cell of pool excess, at most `BEAM_WIDTH` states."""
    hashes = np.zeros(len(value), dtype=np.int64)
    for row, size, factor in zip(excess, cell, _hash_factors(len(excess)), strict=True):
        hashes += np.floor(row / size).astype(np.int64) * factor
    hashes ^= hashes >> 29
    hashes *= 0x1E3779B97F4A7C15
    hashes = (hashes >> 40) & (BEAM_WIDTH - 1)
    least = np.full(BEAM_WIDTH, np.inf)
    np.minimum.at(least, hashes, value)
    kept = np.flatnonzero(value == least[hashes])
    table = np.full(BEAM_WIDTH, -1, dtype=np.int64)
    table[hashes[kept]] = kept  # keeps one of several equal states
    return table[table >= 0]


def _hash_factors(count: int) -> Integers:
    """Return odd factors for a linear hash of ``count`` numbers, shape (count,)."""
    return np.array([pow(0x9E3779B1, number + 1, 2**61) | 1 for number in range(count)], dtype=np.int64)
