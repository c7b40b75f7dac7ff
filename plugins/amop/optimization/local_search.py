"""Mend an assignment by exact moves: overage is billed in whole blocks, which prices alone cannot see.

At the prices of the bound, bill = bound + what every SIM pays above its cheapest plan (its regret) + what every pool
pays for the unused rest of its last block, and for its credit (its slack). Lowering that is a knapsack problem with one
dimension for each pool: find moves of little regret whose data fills the pools' blocks. A few hundred moves of all
sorts are drawn, and combined by a beam search over SIMs that keeps, of all combinations that leave the pools about
equally full, the one of least regret.
"""

from __future__ import annotations

import numpy as np

from amop.optimization.classes import NOT_ELIGIBLE, Doubles, Part
from amop.optimization.model import Integers

SAMPLE = 65_536
"""SIMs from which moves are drawn: a large fleet has more than enough of every sort among them."""
OPTIONS_OF_PAIR = 300
"""Moves looked at of every pair of plans: those with the least regret."""
OPTIONS = 200
"""Moves that are combined."""
ALIKE = 3
"""Moves that bring the same data to the same pools: so many are combined."""
BEAM = 2_048
"""Most combinations that are kept, a power of two."""
CELL = 0.1
"""Pools are about equally full within this share of the slack's cost."""
SLACK_WEIGHT = 0.3
"""How much of the slack counts, beside the regret, where two combinations fall together."""
ROUNDS = 2
ENOUGH = 5e-7
"""Share of the bill at which what is left is not worth another round."""


def improve(part: Part, price: Doubles, bound: float, chosen: Integers) -> tuple[Integers, int]:
    """Return plans of the part's SIMs, shape (n,), that are billed at most what the given ones are, and that bill.

    Args:
        part: the SIMs.
        price: of each pool's data.
        bound: no assignment is billed less, 1e-6 currency; 0 = not known.
        chosen: the given plans.
    """
    chosen, bill = chosen.copy(), part.bill(chosen)
    if not part.pools:
        return chosen, bill
    total = part.pool_excess(chosen)
    costs = np.stack([part.plan_costs(plan, price, slice(0, SAMPLE)) for plan in range(len(part.model.rate_plans))])
    for _ in range(ROUNDS):
        options = Options(part, price, chosen, total, *_draw(chosen, costs))
        moves = _best_combination(options)
        saving = options.saving(moves)
        if saving <= 0:
            break
        chosen[options.position[moves]] = options.plan[moves]
        total = total + options.excess[moves].sum(axis=0)
        bill -= saving
        if bill - bound <= ENOUGH * bound:
            break
    return chosen, bill


def _draw(chosen: Integers, costs: Doubles) -> tuple[Integers, Integers]:
    """Return positions of SIMs and plans they could move to: of every pair of plans the moves with the least regret.

    Args:
        chosen: the present plan of each SIM of the part.
        costs: cost at the prices of each plan for the first SIMs of the part, shape (P, at most `SAMPLE`).
    """
    present = chosen[: costs.shape[1]]
    least = costs[present, np.arange(len(present))]
    drawn: list[tuple[Integers, Integers]] = []
    for number in np.unique(present):
        mine = np.flatnonzero(present == number)
        for plan in range(len(costs)):
            if plan == number:
                continue
            regret = costs[plan][mine] - least[mine]
            best = np.arange(len(mine))
            if len(mine) > OPTIONS_OF_PAIR:
                best = np.argpartition(regret, OPTIONS_OF_PAIR)[:OPTIONS_OF_PAIR]
            best = best[regret[best] < NOT_ELIGIBLE / 2]
            drawn.append((mine[best], np.full(len(best), plan)))
    if not drawn:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate([position for position, _ in drawn]), np.concatenate([plans for _, plans in drawn])


class Options:
    """Moves, and what they do to the bill, exactly. Money in 1e-6 currency, data in 1e-6 MB.

    Args:
        part: where the SIMs are.
        price: of each pool's data.
        chosen: the present plan of each SIM of the part.
        total: the pools' excess as it is, shape (K,).
        position: the SIM of each move.
        plan: the plan that it would move to.
    """

    cost: Integers
    """By how much the move changes what the SIM costs by itself, shape (m,)."""
    excess: Integers
    """By how much it changes the pools' excess, shape (m, K)."""
    regret: Doubles
    """What it costs at the prices, shape (m,)."""

    def __init__(
        self, part: Part, price: Doubles, chosen: Integers, total: Integers, position: Integers, plan: Integers
    ) -> None:
        self.position, self.plan, self.price, self.total = position, plan, price, total
        self.part = part
        self.block = part.model.pool_block[part.pools].astype(np.float64)
        self.rate = part.model.pool_rate[part.pools].astype(np.float64)
        present = chosen[position]
        self.pool, self.present_pool = part.pool_of_plans[plan], part.pool_of_plans[present]
        self.cost = part.exact_costs(position, plan) - part.exact_costs(position, present)
        self.excess = np.zeros((len(plan), len(part.pools) + 1), dtype=np.int64)
        every = np.arange(len(plan))
        self.excess[every, self.pool] += part.exact_excess(position, plan)
        self.excess[every, self.present_pool] -= part.exact_excess(position, present)
        self.excess = self.excess[:, :-1]
        self.regret = self.cost + self.excess @ price

    def slack_costs(self, excess: Doubles) -> Doubles:
        """Return what pools with this excess, shape (K, states), cost above the price of it, shape (states,)."""
        cost = np.zeros(excess.shape[1])
        for pool, row in enumerate(excess):
            blocks = np.maximum(row, 0.0)
            blocks /= self.block[pool]
            np.ceil(blocks, out=blocks)
            blocks *= self.rate[pool]
            cost += blocks
            cost -= self.price[pool] * row
        return cost

    def saving(self, moves: Integers) -> int:
        """Return by how much these moves, of different SIMs, lower the bill: exactly, 1e-6 currency."""
        after = self.total + self.excess[moves].sum(axis=0)
        before, now = (
            -(-np.maximum(excess, 0) // self.part.model.pool_block[self.part.pools]) for excess in (self.total, after)
        )
        return int(((before - now) * self.part.model.pool_rate[self.part.pools]).sum() - self.cost[moves].sum())

    def to_combine(self, slack: float) -> list[Integers]:
        """Return the moves to be combined, those of one SIM together; what brings much data to pools comes first.

        From every pool to every other the same number is taken, those of least regret.
        """
        usable = np.flatnonzero((self.excess != 0).any(axis=1) & (self.regret < slack))
        alike = self.excess[usable] @ _factors(self.excess.shape[1])
        order = np.lexsort((self.regret[usable], alike))
        usable = usable[order[_rank_within(alike[order]) < ALIKE]]
        between = self.present_pool[usable] * (self.excess.shape[1] + 1) + self.pool[usable]
        order = np.lexsort((self.regret[usable], between))
        rank = _rank_within(between[order])
        usable = usable[order[np.lexsort((self.regret[usable[order]], rank))[:OPTIONS]]]
        usable = usable[np.argsort(-(np.abs(self.excess[usable]) @ self.price), kind="stable")]
        _, first, sim = np.unique(self.position[usable], return_index=True, return_inverse=True)
        return [usable[sim == number] for number in np.argsort(first)]


def _best_combination(options: Options) -> Integers:
    """Return the moves, of different SIMs, that together lower the bill most of all looked at; none if none does."""
    excess = options.total[:, None].astype(np.float64)
    change = options.excess.astype(np.float64)
    regret, slack = np.zeros(1), options.slack_costs(excess)
    best, best_step, best_state = float(slack[0]) - 0.5, -1, 0
    cell = np.maximum(CELL * slack[0] / np.maximum(options.price, 1e-9) / len(excess), 1.0)
    steps = options.to_combine(float(slack[0]))
    parents: list[Integers] = []
    for step, moves in enumerate(steps):
        states = len(regret)
        moved = [excess + change[move][:, None] for move in moves]
        excess = np.concatenate([excess, *moved], axis=1)
        regret = np.concatenate([regret, *(regret[:states] + options.regret[move] for move in moves)])
        slack = np.concatenate([slack, options.slack_costs(excess[:, states:])])
        if (least := float((regret + slack)[states:].min())) < best:
            best, best_step = least, step
            best_state = states + int((regret + slack)[states:].argmin())
        kept = _least_of_each_cell(excess, cell, regret + SLACK_WEIGHT * slack)
        parents.append(kept := kept[regret[kept] < best])
        if not len(kept):
            break  # nothing can be better than what was found
        excess, regret, slack = excess[:, kept], regret[kept], slack[kept]
    return _moves_to(steps, parents, best_step, best_state)


def _moves_to(steps: list[Integers], parents: list[Integers], step: int, state: int) -> Integers:
    """Return the moves that lead to a state of a step."""
    moves: list[int] = []
    while step >= 0:
        states = len(parents[step - 1]) if step else 1
        option, state = divmod(state, states)
        if option:
            moves.append(int(steps[step][option - 1]))
        step -= 1
        if step >= 0:
            state = int(parents[step][state])
    return np.array(moves, dtype=np.int64)


def _least_of_each_cell(excess: Doubles, cell: Doubles, value: Doubles) -> Integers:
    """Return states that differ: the one of least value for each hash of the cell that the excess lies in."""
    hashes = np.zeros(len(value), dtype=np.int64)
    for row, size, factor in zip(excess, cell, _factors(len(excess)), strict=True):
        hashes += np.floor(row / size).astype(np.int64) * factor
    hashes ^= hashes >> 29
    hashes *= 0x1E3779B97F4A7C15
    hashes = (hashes >> 40) & (BEAM - 1)
    least = np.full(BEAM, np.inf)
    np.minimum.at(least, hashes, value)
    kept = np.flatnonzero(value == least[hashes])
    table = np.full(BEAM, -1, dtype=np.int64)
    table[hashes[kept]] = kept  # one of those that tie
    return table[table >= 0]


def _factors(count: int) -> Integers:
    """Return odd factors that make a hash of so many numbers."""
    return np.array([pow(0x9E3779B1, number + 1, 2**61) | 1 for number in range(count)], dtype=np.int64)


def _rank_within(key: Integers) -> Integers:
    """Return the place of each element among the equal ones of a sorted array."""
    starts = np.ones(len(key), dtype=np.bool_)
    starts[1:] = key[1:] != key[:-1]
    number = np.arange(len(key))
    return number - np.maximum.accumulate(np.where(starts, number, 0))
