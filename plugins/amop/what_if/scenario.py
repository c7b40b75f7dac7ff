"""Solve a provider's fleet with other rate plans, and with each choice of new ones.

Rate plans keep their places in the arrays, new ones follow them. A plan that the table does not list is retired: SIMs
on it must move, except those that may not change their plan. A plan that the provider has, but no SIM of the instance
may have, stays unavailable.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from amop.optimization.arrays import InstanceInputs
from amop.solver import OptimizationResult, RatePlans, Terms, micro, optimize, pools_of, verify
from amop.solver.model import Eligibility, Flags, Integers, from_micro
from amop.what_if.plan_rules import (
    OfferedPlan,
    check_choice,
    check_offers,
    check_pools,
    is_chosen_step_by_step,
    new_lines,
)
from amop.what_if.plan_table import PlanLine

PROOF_SECONDS = 5.0
"""Time limit of branch and bound, which small fleets are solved with."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """A choice of new plans with the bill of the fleet; money in 1e-6 currency."""

    rate_plans: tuple[str, ...]
    cost: int
    bound: int
    changes: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """The fleet of an instance with the rate plans of a table."""

    inputs: InstanceInputs
    rate_plans: RatePlans
    eligibility: Eligibility
    terms: Terms
    new_plans: tuple[int, ...]
    """Indexes of the plans that the provider does not have."""

    @classmethod
    def of(cls, inputs: InstanceInputs, terms: Terms, table: Sequence[PlanLine], known: frozenset[str]) -> Scenario:
        """Return the scenario of a table.

        Args:
            inputs: the billed SIMs.
            terms: how the provider bills.
            table: the rate plans.
            known: codes of all plans of the provider.

        Raises:
            PlanTableError: a new plan is offered like a plan that does not exist, or a pool has two overage rates.
        """
        present = {code: number for number, code in enumerate(inputs.rate_plans.code)}
        check_offers(table, known=known, offered=present)
        check_pools(table, known=known, offered=_offered_plans(inputs.rate_plans))
        by_code = {line.rate_plan_code: line for line in table}
        new = new_lines(table, known)
        columns = [_offered(inputs.eligibility, present, line) for line in new]
        allowed = np.column_stack([inputs.eligibility.allowed, *columns])
        count = len(present)
        return cls(
            inputs,
            _rate_plans(inputs.rate_plans, by_code, new),
            replace(inputs.eligibility, allowed=allowed),
            terms,
            tuple(range(count, count + len(new))),
        )

    def solve(self, new_plans: Sequence[int] | None = None, *, time_limit: float = PROOF_SECONDS) -> OptimizationResult:
        """Return the cheapest assignment with its proof, verified.

        Args:
            new_plans: the new plans that are offered; None = all.
            time_limit: seconds for branch and bound, 0 = none.

        Raises:
            OptimizerInputError: a plan cannot be billed.
            CertificateError: the proof does not verify.
        """
        plans = self.rate_plans
        if new_plans is not None:
            is_left_out = np.zeros(len(plans), dtype=np.bool_)
            is_left_out[[plan for plan in self.new_plans if plan not in set(new_plans)]] = True
            plans = replace(plans, is_retired=plans.is_retired | is_left_out)
        result = optimize(
            self.inputs.devices,
            plans,
            self.eligibility,
            period_days=self.terms.period_days,
            uses_proration=self.terms.uses_proration,
            prorate_allowance=self.terms.prorate_allowance,
            pool_scope=self.terms.pool_scope,
            time_limit=time_limit,
        )
        verify(result.certificate, result.model, result.assignment)
        return result

    def ladders(self, size: int) -> list[Ladder]:
        """Return choices of this many new plans, the cheapest first.

        Raises:
            PlanTableError: there are fewer new plans, or too many to choose from.
        """
        check_choice(len(self.new_plans), size)
        if is_chosen_step_by_step(len(self.new_plans), size):
            found = list(self._greedy(size))
        else:
            found = [self._ladder(chosen) for chosen in itertools.combinations(self.new_plans, size)]
        return sorted(found, key=lambda ladder: (ladder.cost, ladder.rate_plans))

    def _greedy(self, size: int) -> Iterator[Ladder]:
        """Yield the last step's choices, after each earlier step added the plan that saves most."""
        chosen: tuple[int, ...] = ()
        for step in range(size):
            left = [plan for plan in self.new_plans if plan not in chosen]
            found = {plan: self._ladder((*chosen, plan)) for plan in left}
            if step == size - 1:
                yield from found.values()
            chosen = (*chosen, min(left, key=lambda plan: found[plan].cost))

    def _ladder(self, chosen: tuple[int, ...]) -> Ladder:
        result = self.solve(chosen, time_limit=0)
        codes = tuple(self.rate_plans.code[plan] for plan in chosen)
        return Ladder(codes, result.total_cost, result.lower_bound, result.changes)


def moves(result: OptimizationResult, rate_plans: RatePlans) -> list[tuple[str, str, int]]:
    """Return the present plan, the plan of the result and the number of SIMs of each pair, the most SIMs first."""
    current, assigned = result.model.devices.current_rate_plan, result.assignment
    width = len(rate_plans) + 1
    pairs, sims = np.unique((current + 1) * width + assigned + 1, return_counts=True)
    names = ("unknown", *rate_plans.code)
    found = [
        (names[pair // width], names[pair % width] if pair % width else names[pair // width], count)
        for pair, count in zip(pairs.tolist(), sims.tolist(), strict=True)
    ]
    totals: dict[tuple[str, str], int] = {}
    for from_plan, to_plan, count in found:
        totals[from_plan, to_plan] = totals.get((from_plan, to_plan), 0) + count
    return sorted(((*pair, count) for pair, count in totals.items()), key=lambda move: (-move[2], move))


def _offered(eligibility: Eligibility, present: Mapping[str, int], line: PlanLine) -> Flags:
    """Return for each communication plan whether a new plan is offered."""
    if line.offered_like is None:
        if eligibility.keeps_plan is None:
            return np.ones(len(eligibility.allowed), dtype=np.bool_)
        kept: Flags = eligibility.keeps_plan[eligibility.comm_group]
        return ~kept
    like: Flags = eligibility.allowed[:, present[line.offered_like]]
    if eligibility.keeps_plan is not None:
        like = like & ~eligibility.keeps_plan[eligibility.comm_group]
    return like


def _pool(plans: RatePlans, number: int) -> tuple[bool, str | None]:
    """Return whether a plan is pooled, and the pool that it names, None for a pool of its own."""
    name = plans.pool_name[plans.pool[number]] if plans.pool[number] >= 0 else ""
    return bool(name), name.removeprefix("pool ") if name.startswith("pool ") else None


def _offered_plans(plans: RatePlans) -> list[OfferedPlan]:
    return [
        OfferedPlan(
            code,
            *_pool(plans, number),
            from_micro(int(plans.overage_rate[number])),
            from_micro(int(plans.block_micro_mb[number])),
        )
        for number, code in enumerate(plans.code)
    ]


def _rate_plans(plans: RatePlans, by_code: Mapping[str, PlanLine], new: Sequence[PlanLine]) -> RatePlans:
    """Return the plans at the prices of the table, followed by the new ones."""
    codes = (*plans.code, *(line.rate_plan_code for line in new))

    def column(name: str, before: Integers) -> Integers:
        return np.array(
            [
                micro(getattr(by_code[code], name)) if code in by_code else int(before[number])
                for number, code in enumerate(codes)
            ],
            dtype=np.int64,
        )

    pooled, pools = [], []
    for number, code in enumerate(codes):
        line = by_code.get(code)
        if line is not None:
            pooled.append(line.allows_sim_pooling)
            pools.append(line.pool)
        else:
            is_pooled, pool = _pool(plans, number)
            pooled.append(is_pooled)
            pools.append(pool)
    pool_index, pool_name = pools_of(codes, pooled, pools)
    is_retired = [
        bool(number < len(plans) and plans.is_retired[number]) or code not in by_code
        for number, code in enumerate(codes)
    ]
    return RatePlans(
        code=codes,
        rate_charge=column("rate_charge", plans.rate_charge),
        base_rate=column("base_rate", plans.base_rate),
        plan_micro_mb=column("plan_mb", plans.plan_micro_mb),
        overage_rate=column("overage_rate", plans.overage_rate),
        block_micro_mb=column("data_per_overage_charge", plans.block_micro_mb),
        sms_rate=column("sms_rate", plans.sms_rate),
        pool=pool_index,
        pool_name=pool_name,
        is_retired=np.array(is_retired, dtype=np.bool_),
    )
