"""The carrier's bill of an assignment, exactly: what each SIM costs by itself, and what each pool's overage costs.

    own(i, p)  = rate(p, d_i) + base_rate_p + sms_i * sms_rate_p
                 + [p not pooled] overage_rate_p * ceil(max(0, usage_i - allowance(p, d_i)) / block_p)
    bill(x)    = sum_i own(i, x_i) + sum_k overage_rate_k * ceil(max(0, sum_{i in k} usage_i - allowance) / block_k)

A rate is prorated half up to 1e-6, an allowance (where that setting is on) down. A pool in credit is no refund, and its
overage is rounded up once. Everything is int64; what could overflow is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amop.optimization.model import (
    NONE,
    Devices,
    Eligibility,
    Flags,
    Integers,
    OptimizerInputError,
    RatePlans,
    check_rate_plans,
    largest,
)
from amop.optimization.order import check_devices

SAFE = float(2**62)
"""Sums and products stay below this, half of int64's range, checked in doubles before they are made."""
BLOCK = 65_536
"""SIMs worked on at once, so that arrays in between stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the provider bills."""

    period_days: int
    uses_proration: bool
    prorate_allowance: bool = False
    pool_scope: str = "service_provider"
    """``service_provider``: a pool spans the provider; ``comm_group``: each comm group has pools of its own."""


class CostModel:
    """What every SIM costs on every plan, and which pool it would be in.

    Args:
        devices: N SIMs.
        rate_plans: P plans.
        eligibility: which of them each SIM may have.
        terms: how the provider bills, a period of D days.

    Raises:
        OptimizerInputError: the input breaks a rule of the model; the message names SIM or plan.
    """

    group: Integers
    """Comm group of each SIM, shape (N,)."""
    billed_days: Integers
    """Days that each SIM is billed for, shape (N,): D where proration does not apply."""
    charge: Integers
    """Shape (D + 1, P): rate and base rate of a plan for so many billed days, 1e-6 currency."""
    included: Integers
    """Shape (D + 1, P): included data of a plan for so many billed days, 1e-6 MB."""
    eligible: Flags
    """Shape (G, P): plans that a SIM of the comm group may have."""
    has_eligible: Flags
    """Shape (N,)."""
    pool: Integers
    """Shape (G, P): index of the pool that a SIM of the comm group is in on the plan, -1 for none."""

    def __init__(self, devices: Devices, rate_plans: RatePlans, eligibility: Eligibility, terms: Terms) -> None:
        check_rate_plans(rate_plans)
        _check_terms(rate_plans, eligibility, terms)
        check_devices(devices, len(rate_plans), len(eligibility.allowed), terms.period_days)
        self.devices = devices
        self.rate_plans = rate_plans
        self.terms = terms
        period, plan_mb = terms.period_days, rate_plans.plan_micro_mb
        _refuse_overflow(rate_plans, devices, period)
        is_prorated = devices.is_prorated if terms.uses_proration else np.zeros(len(devices), dtype=np.bool_)
        self.billed_days = np.where(is_prorated, devices.days_active, period)
        days = np.arange(period + 1)[:, None]
        self.charge = (2 * rate_plans.rate_charge * days + period) // (2 * period) + rate_plans.base_rate
        self.included = plan_mb * days // period if terms.prorate_allowance else np.tile(plan_mb, (period + 1, 1))
        self.group = eligibility.comm_group[devices.communication_plan]
        self._number_pools(eligibility)
        self.has_eligible = np.asarray(self.eligible.any(axis=1))[self.group]

    def own_cost(self, plan: int, rows: slice | Integers) -> Integers:
        """Return what the SIMs of these rows cost on a plan, pools' overage aside, 1e-6 currency."""
        plans = self.rate_plans
        days = self.billed_days[rows]
        cost: Integers = self.charge[:, plan][days]
        if plans.sms_rate[plan]:
            cost = cost + self.devices.sms_usage[rows] * plans.sms_rate[plan]
        if plans.pool[plan] == NONE:
            over = np.maximum(0, self.devices.usage_micro_mb[rows] - self.included[:, plan][days])
            cost = (
                cost
                + (over + (plans.block_micro_mb[plan] - 1)) // plans.block_micro_mb[plan] * plans.overage_rate[plan]
            )
        return cost

    def own_costs_of(self, assignment: Integers) -> Integers:
        """Return what each SIM costs by itself, shape (N,); 0 for a SIM without a plan (-1)."""
        costs = np.zeros(len(assignment), dtype=np.int64)
        if not len(self.rate_plans):
            return costs
        for first in range(0, len(assignment), BLOCK):
            rows = slice(first, first + BLOCK)
            costs[rows] = self.own_costs(rows, np.maximum(assignment[rows], 0))
        costs[assignment < 0] = 0
        return costs

    def own_costs(self, rows: slice | Integers, plan: Integers) -> Integers:
        """Return what SIMs of these rows cost by themselves on plans, shape (m,), 1e-6 currency."""
        plans = self.rate_plans
        cost: Integers = self.charge.take(self.billed_days[rows] * len(plans) + plan)
        if plans.sms_rate.any():
            cost += self.devices.sms_usage[rows] * plans.sms_rate[plan]
        over = np.flatnonzero((plans.pool == NONE)[plan])
        above = self.excess(rows, plan)[over]
        over, above = over[above > 0], above[above > 0]
        size, rate = plans.block_micro_mb[plan[over]], plans.overage_rate[plan[over]]
        cost[over] += (above + (size - 1)) // size * rate
        return cost

    def excess(self, rows: slice | Integers, plan: Integers) -> Integers:
        """Return usage less allowance of SIMs of these rows on plans, shape (m,), 1e-6 MB."""
        included = self.included.take(self.billed_days[rows] * len(self.rate_plans) + plan)
        return np.asarray(self.devices.usage_micro_mb[rows] - included)

    def bill(self, assignment: Integers) -> int:
        """Return the bill of an assignment (index of the plan of each SIM, -1 = not billed) in 1e-6 currency."""
        return exact_sum(self.own_costs_of(assignment)) + sum(self.pool_overage(assignment))

    def is_allowed(self, assignment: Integers) -> Flags:
        """Return which SIMs are on a plan that they may have, shape (N,)."""
        return (assignment >= 0) & self.eligible[self.group, np.maximum(assignment, 0)]

    def pools_of(self, assignment: Integers) -> Integers:
        """Return the pool that each SIM is in, shape (N,); -1 for none."""
        if not len(self.rate_plans):
            return np.full(len(assignment), NONE, dtype=np.int64)
        return np.where(assignment >= 0, self.pool[self.group, np.maximum(assignment, 0)], NONE)

    def excess_of(self, assignment: Integers) -> Integers:
        """Return each SIM's usage less its allowance, shape (N,), 1e-6 MB; negative where it used less."""
        if not len(self.rate_plans):
            return self.devices.usage_micro_mb
        return self.excess(slice(None), np.maximum(assignment, 0))

    def pool_excess(self, assignment: Integers) -> list[int]:
        """Return usage less allowance of each pool, 1e-6 MB."""
        return sums_by(self.pools_of(assignment), self.excess_of(assignment), self.pool_count)

    def pool_overage(self, assignment: Integers) -> list[int]:
        """Return what the overage of each pool costs, 1e-6 currency."""
        return [self.overage_cost(number, excess) for number, excess in enumerate(self.pool_excess(assignment))]

    def overage_blocks(self, pool: int, excess: int) -> int:
        """Return how many blocks of overage are billed for a pool's usage above its allowance, 1e-6 MB."""
        return -(-max(0, excess) // int(self.pool_block[pool]))

    def overage_cost(self, pool: int, excess: int) -> int:
        """Return what a pool's usage above its allowance (1e-6 MB) costs, in whole blocks, 1e-6 currency."""
        return self.overage_blocks(pool, excess) * int(self.pool_rate[pool])

    def split_costs(self, assignment: Integers) -> Integers:
        """Return what each SIM costs, shape (N,), adding up exactly to `bill`.

        A pool's overage is shared in proportion to the usage above the own allowance, rounded down to 1e-6; the
        remainder goes, 1e-6 each, to the largest shares first, ties by device id.
        """
        costs = self.own_costs_of(assignment)
        pool, excess = self.pools_of(assignment), self.excess_of(assignment)
        for number, overage in enumerate(self.pool_overage(assignment)):
            if not overage:
                continue
            members = np.flatnonzero((pool == number) & (excess > 0))
            members = members[np.lexsort((self.devices.device_id[members], -excess[members]))]
            weights = excess[members].astype(object)
            shares = overage * weights // int(weights.sum())
            left = overage - int(shares.sum())
            shares[:left] += 1
            costs[members] += shares.astype(np.int64)
        return costs

    def base_assignment(self) -> Integers:
        """Return the eligible plan whose included data is closest to each SIM's usage, -1 where none is eligible.

        Ties: the plan that costs the SIM less by itself, then the plan of the first code.
        """
        best = np.full(len(self.devices), NONE, dtype=np.int64)
        for number, eligible in enumerate(self.eligible):
            plans = np.array([plan for plan in self.plans_by_code() if eligible[plan]], dtype=np.int64)
            rows = np.flatnonzero(self.group == number)
            if len(plans) and len(rows):
                best[rows] = self._closest(rows, plans)
        return best

    def _closest(self, rows: Integers, plans: Integers) -> Integers:
        """Return which of some plans, in the order of their codes, is closest to the usage of each SIM, shape (m,)."""
        sizes = np.unique(self.rate_plans.plan_micro_mb[plans])
        twice, edges = 2 * self.devices.usage_micro_mb[rows], sizes[:-1] + sizes[1:]
        lower = np.searchsorted(edges, twice)
        upper = lower + (np.append(edges, -1)[lower] == twice)  # half-way between two sizes
        candidates = [plans[self.rate_plans.plan_micro_mb[plans] == size] for size in sizes]
        best = np.array([of_size[0] for of_size in candidates])[lower]
        is_shared = np.array([len(of_size) > 1 for of_size in candidates])
        tied = np.flatnonzero((lower != upper) | is_shared[lower])
        least = np.full(len(tied), np.iinfo(np.int64).max)
        for plan in plans:
            size = np.searchsorted(sizes, self.rate_plans.plan_micro_mb[plan])
            mine = np.flatnonzero((lower[tied] == size) | (upper[tied] == size))
            cost = self.own_cost(int(plan), rows[tied[mine]])
            mine, cost = mine[cost < least[mine]], cost[cost < least[mine]]
            best[tied[mine]], least[mine] = plan, cost
        return best

    def current_assignment(self, base: Integers | None = None) -> tuple[Integers, int]:
        """Return each SIM's present plan, its base assignment where that is unknown, and how many are unknown.

        A SIM without an eligible plan is not billed (-1): it is outside of what is optimized.
        """
        current = self.devices.current_rate_plan
        unknown = (current == NONE) & self.has_eligible
        assignment = np.where(unknown, self.base_assignment() if base is None else base, current)
        return np.where(self.has_eligible, assignment, NONE), int(unknown.sum())

    def may_stay(self) -> Flags:
        """Return which SIMs have a known present plan that they may keep, shape (N,)."""
        return self.is_allowed(self.devices.current_rate_plan)

    def plans_by_code(self) -> list[int]:
        """Return the plans' indices in the order of their codes, so that ties do not depend on the input's order."""
        return sorted(range(len(self.rate_plans)), key=lambda plan: self.rate_plans.code[plan])

    def _number_pools(self, eligibility: Eligibility) -> None:
        plans = self.rate_plans
        self.eligible = eligibility.by_group() & ~plans.is_retired
        groups = len(self.eligible)
        count = len(plans.pool_name)
        by_group = np.arange(groups)[:, None] * count if self.terms.pool_scope == "comm_group" else 0
        self.pool = np.where(plans.pool == NONE, NONE, np.broadcast_to(plans.pool, (groups, len(plans))) + by_group)
        self.pool_count = count * (groups if self.terms.pool_scope == "comm_group" else 1)
        first = [int(np.flatnonzero(plans.pool == number % count)[0]) for number in range(self.pool_count)]
        self.pool_rate = plans.overage_rate[first]
        self.pool_block = plans.block_micro_mb[first]
        self.pool_name = [plans.pool_name[number % count] for number in range(self.pool_count)]


def sums_by(key: Integers, values: Integers, count: int) -> list[int]:
    """Return the exact sums of the values of each key 0 … count - 1; other keys are left out."""
    return [exact_sum(values[key == number]) for number in range(count)]


def exact_sum(values: Integers) -> int:
    """Return the exact sum of int64 values, however large: high and low halves are summed apart."""
    if values.dtype == object:
        return int(values.sum())
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _refuse_overflow(plans: RatePlans, devices: Devices, period: int) -> None:
    """Refuse what could overflow int64, by double-precision bounds from above.

    Raises:
        OptimizerInputError: naming the plan or the SIM with the largest value.
    """
    for name, reach in (
        ("rate_charge", 2.0 * period * plans.rate_charge),
        ("included data", 1.0 * period * plans.plan_micro_mb),
        ("base_rate", 1.0 * plans.base_rate),
    ):
        if len(reach) and reach.max() >= SAFE / 4:
            raise OptimizerInputError(
                f"rate plan {plans.code[int(reach.argmax())]!r}: {name} is too large to be billed"
            )
    if float(devices.usage_micro_mb.sum(dtype=np.float64)) >= SAFE / 4:
        raise OptimizerInputError("the usage of all devices together is too large to be billed exactly")
    blocks = plans.overage_rate / plans.block_micro_mb
    for name, usage, price in (
        ("sms_usage x sms_rate", devices.sms_usage, float(largest(plans.sms_rate))),
        ("usage x overage_rate", devices.usage_micro_mb, max(1.0, float(blocks.max()) if len(blocks) else 0.0)),
    ):
        if float(largest(usage)) * price + float(largest(plans.overage_rate)) >= SAFE / 4:
            device = str(devices.device_id[int(usage.argmax())])
            raise OptimizerInputError(f"device {device!r}: {name} is too large to be billed exactly")


def _check_terms(rate_plans: RatePlans, eligibility: Eligibility, terms: Terms) -> None:
    if eligibility.allowed.shape[1] != len(rate_plans):
        raise OptimizerInputError("eligibility must have one column for each rate plan")
    if terms.period_days < 1 or terms.pool_scope not in {"service_provider", "comm_group"}:
        raise OptimizerInputError("period_days must be at least 1, pool_scope service_provider or comm_group")
