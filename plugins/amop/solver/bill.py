"""The carrier's bill of an assignment, exactly: each SIM's own cost, and the overage of each pool.

    own(i, p)  = rate(p, d_i) + base_rate_p + sms_i * sms_rate_p
                 + [p not pooled] overage_rate_p * ceil(max(0, usage_i - allowance(p, d_i)) / block_p)
    bill(x)    = sum_i own(i, x_i) + sum_k overage_rate_k * ceil(max(0, sum_{i in k} usage_i - allowance) / block_k)

A rate is prorated and rounded half up to 1e-6; an allowance, where it is prorated, is rounded down. A pool in credit is
no refund, and a pool's overage is rounded up once. All arithmetic is int64; input that could overflow is an error.
Where a change of plan counts from its day, a SIM has a row for each part of its period (`mid_cycle`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amop.solver.model import (
    CHUNK_ROWS,
    NONE,
    Devices,
    Eligibility,
    Flags,
    Integers,
    OptimizerInputError,
    RatePlans,
    check_devices,
    check_rate_plans,
    largest,
)

ALL_ROWS = slice(None)
INT64_LIMIT = float(2**62)
"""Limit of sums and products: half of int64's range. It is checked in doubles before they are computed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the provider bills."""

    period_days: int
    uses_proration: bool
    prorate_allowance: bool = False
    pool_scope: str = "service_provider"
    """``service_provider``: a pool spans the provider; ``comm_group``: each comm group has its own pools."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of `Devices` that are parts of a SIM's period; every array has length N. Made by `amop.solver.mid_cycle`."""

    days: Integers
    """Days of the part, by which charge and included data are prorated; 0 for a row that is a whole SIM."""
    days_before: Integers
    """Days on the current plan in the part before, where the SIM is billed for one part if it keeps that plan; else
    0."""
    usage_before: Integers
    """1e-6 MB in the part before."""
    has_left: Flags
    """True where the SIM came to its current plan within the period: kept, the plan is billed for ``days_before +
    days``, else for the billed days of the SIM."""

    def of_rows(self, rows: Integers) -> Parts:
        """Return the parts of some rows, in their order."""
        return Parts(self.days[rows], self.days_before[rows], self.usage_before[rows], self.has_left[rows])


class CostModel:
    """The cost of every SIM on every plan, and the pool that it would be in.

    Args:
        devices: N SIMs.
        rate_plans: P plans.
        eligibility: which plans each SIM may have.
        terms: how the provider bills a period of D days.
        parts: which rows are parts of a SIM's period; None = none.

    Raises:
        OptimizerInputError: the input breaks a rule of the model; the message names the SIM or the plan.
    """

    group: Integers
    """Comm group of each SIM, shape (N,)."""
    billed_days: Integers
    """Days that each SIM is billed for, shape (N,): D where proration does not apply."""
    tariff: Integers
    """Row of ``charge`` and ``included`` of each SIM, shape (N,): its billed days, unless it is a part."""
    charge: Integers
    """Rate and base rate by tariff and plan, 1e-6 currency; rows 0 to D are those of billed days."""
    included: Integers
    """Included data by tariff and plan, 1e-6 MB; rows 0 to D are those of billed days."""
    eligible: Flags
    """Which plans are eligible for the SIMs of each comm group, shape (G, P)."""
    has_eligible: Flags
    """Which SIMs have an eligible plan, shape (N,)."""
    pool: Integers
    """Index of the pool by comm group and plan, shape (G, P); -1 for a plan that is not pooled."""

    def __init__(
        self,
        devices: Devices,
        rate_plans: RatePlans,
        eligibility: Eligibility,
        terms: Terms,
        parts: Parts | None = None,
    ) -> None:
        check_rate_plans(rate_plans)
        _check_terms(rate_plans, eligibility, terms)
        check_devices(devices, len(rate_plans), len(eligibility.allowed), terms.period_days)
        self.devices = devices
        self.rate_plans = rate_plans
        self.terms = terms
        self.parts = parts
        period, plan_mb = terms.period_days, rate_plans.plan_micro_mb
        check_overflow(rate_plans, devices, period)
        is_prorated = devices.is_prorated if terms.uses_proration else np.zeros(len(devices), dtype=np.bool_)
        self.billed_days = np.where(is_prorated, devices.days_active, period)
        days = np.arange(period + 1)[:, None]
        self.charge = (2 * rate_plans.rate_charge * days + period) // (2 * period) + rate_plans.base_rate
        self.included = plan_mb * days // period if terms.prorate_allowance else np.tile(plan_mb, (period + 1, 1))
        self.tariff = self.billed_days
        if parts is not None:
            self._add_tariffs(parts)
        self.group = eligibility.comm_group[devices.communication_plan]
        self._number_pools(eligibility)
        self.has_eligible = np.asarray(self.eligible.any(axis=1))[self.group]

    def own_cost(self, plan: int, rows: slice | Integers) -> Integers:
        """Return the own cost of SIMs on one plan, without the overage of its pool, shape (m,), 1e-6 currency.

        Args:
            plan: index of the plan.
            rows: the SIMs.
        """
        plans = self.rate_plans
        tariff = self.tariff[rows]
        cost: Integers = self.charge[:, plan][tariff]
        if plans.sms_rate[plan]:
            cost = cost + self.devices.sms_usage[rows] * plans.sms_rate[plan]
        if plans.pool[plan] == NONE:
            excess = self.devices.usage_micro_mb[rows] - self.included[:, plan][tariff]
            cost = cost + overage_blocks(excess, plans.block_micro_mb[plan]) * plans.overage_rate[plan]
        return cost

    def own_costs_of(self, assignment: Integers) -> Integers:
        """Return each SIM's own cost in an assignment, shape (N,), 1e-6 currency; 0 for a SIM without a plan (-1)."""
        costs = np.zeros(len(assignment), dtype=np.int64)
        if not len(self.rate_plans):
            return costs
        for first in range(0, len(assignment), CHUNK_ROWS):
            rows = slice(first, first + CHUNK_ROWS)
            costs[rows] = self.own_costs(rows, np.maximum(assignment[rows], 0))
        costs[assignment < 0] = 0
        return costs

    def own_costs(self, rows: slice | Integers, plan: Integers) -> Integers:
        """Return the own costs of SIMs, each on a plan of its own, shape (m,), 1e-6 currency.

        Args:
            rows: the SIMs.
            plan: the plan of each of them, shape (m,).
        """
        plans = self.rate_plans
        cost: Integers = self.charge.take(self.tariff[rows] * len(plans) + plan)
        if plans.sms_rate.any():
            cost += self.devices.sms_usage[rows] * plans.sms_rate[plan]
        unpooled = np.flatnonzero((plans.pool == NONE)[plan])
        excess = self.excess(rows, plan)[unpooled]
        unpooled, excess = unpooled[excess > 0], excess[excess > 0]
        blocks = overage_blocks(excess, plans.block_micro_mb[plan[unpooled]])
        cost[unpooled] += blocks * plans.overage_rate[plan[unpooled]]
        return cost

    def excess(self, rows: slice | Integers, plan: Integers) -> Integers:
        """Return usage less allowance of SIMs, shape (m,), 1e-6 MB.

        Args:
            rows: the SIMs.
            plan: the plan of each of them, shape (m,).
        """
        included = self.included.take(self.tariff[rows] * len(self.rate_plans) + plan)
        return np.asarray(self.devices.usage_micro_mb[rows] - included)

    def bill(self, assignment: Integers) -> int:
        """Return the bill of an assignment (plan of each SIM, shape (N,), -1 = not billed), 1e-6 currency."""
        return exact_sum(self.own_costs_of(assignment)) + sum(self.pool_overage(assignment))

    def is_allowed(self, assignment: Integers, rows: slice | Integers = ALL_ROWS) -> Flags:
        """Return which of some SIMs are on a plan that is eligible for them, shape (m,)."""
        return (assignment >= 0) & self.eligible[self.group[rows], np.maximum(assignment, 0)]

    def pools_of(self, assignment: Integers) -> Integers:
        """Return the pool that each SIM of an assignment is in, shape (N,); -1 for none."""
        if not len(self.rate_plans):
            return np.full(len(assignment), NONE, dtype=np.int64)
        return np.where(assignment >= 0, self.pool[self.group, np.maximum(assignment, 0)], NONE)

    def excess_of(self, assignment: Integers) -> Integers:
        """Return each SIM's usage less its allowance, shape (N,), 1e-6 MB; negative where it used less."""
        if not len(self.rate_plans):
            return self.devices.usage_micro_mb
        return self.excess(slice(None), np.maximum(assignment, 0))

    def pool_excess(self, assignment: Integers) -> list[int]:
        """Return usage less allowance of each pool, length K, 1e-6 MB."""
        return sums_by(self.pools_of(assignment), self.excess_of(assignment), self.pool_count)

    def pool_overage(self, assignment: Integers) -> list[int]:
        """Return the cost of each pool's overage, length K, 1e-6 currency."""
        return [self.overage_cost(number, excess) for number, excess in enumerate(self.pool_excess(assignment))]

    def overage_blocks(self, pool: int, excess: int) -> int:
        """Return the blocks of overage that are billed for a pool's usage less its allowance (1e-6 MB)."""
        return -(-max(0, excess) // int(self.pool_block[pool]))

    def overage_cost(self, pool: int, excess: int) -> int:
        """Return the cost of a pool's overage, 1e-6 currency, for its usage less its allowance (1e-6 MB)."""
        return self.overage_blocks(pool, excess) * int(self.pool_rate[pool])

    def split_costs(self, assignment: Integers) -> Integers:
        """Return the cost of each SIM with its share of its pool's overage, shape (N,); the sum is exactly `bill`.

        A pool's overage is divided among its SIMs in proportion to their usage above their own allowance, rounded down
        to 1e-6 currency. The remainder is added to the largest shares, 1e-6 each, ties by device id.
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
        """Return the eligible plan whose included data is closest to each SIM's usage, shape (N,); -1 where none is.

        Ties: the plan of the lower own cost, then of the first code.
        """
        best = np.full(len(self.devices), NONE, dtype=np.int64)
        for number, eligible in enumerate(self.eligible):
            plans = np.array([plan for plan in self.plans_by_code() if eligible[plan]], dtype=np.int64)
            rows = np.flatnonzero(self.group == number)
            if len(plans) and len(rows):
                best[rows] = self._closest(rows, plans)
        return best

    def _closest(self, rows: Integers, plans: Integers) -> Integers:
        """Return which of some plans, sorted by code, is closest to the usage of each SIM, shape (m,)."""
        sizes = np.unique(self.rate_plans.plan_micro_mb[plans])
        twice, edges = 2 * self.devices.usage_micro_mb[rows], sizes[:-1] + sizes[1:]
        if self.parts is not None:
            twice = twice + 2 * self.parts.usage_before[rows]
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
        """Return each SIM's current plan, and the number of SIMs whose current plan is unknown.

        Args:
            base: the base assignment, which stands in for an unknown current plan; computed if not given.

        Returns:
            The plan of each SIM, shape (N,): -1, not billed, for a SIM without an eligible plan; and the number.
        """
        current = self.devices.current_rate_plan
        unknown = (current == NONE) & self.has_eligible
        assignment = np.where(unknown, self.base_assignment() if base is None else base, current)
        return np.where(self.has_eligible, assignment, NONE), int(unknown.sum())

    def can_keep_plan(self, rows: slice | Integers = ALL_ROWS) -> Flags:
        """Return which of some SIMs have a known current plan that is eligible for them, shape (m,)."""
        return self.is_allowed(self.devices.current_rate_plan[rows], rows)

    def plans_by_code(self) -> list[int]:
        """Return the indices of the plans sorted by code, so that ties do not depend on the input's order."""
        return sorted(range(len(self.rate_plans)), key=lambda plan: self.rate_plans.code[plan])

    def _add_tariffs(self, parts: Parts) -> None:
        """Add a tariff for each number of days of a part, and one for SIMs with the same part before and plan."""
        plans, usage, current = self.rate_plans, self.devices.usage_micro_mb, self.devices.current_rate_plan
        period, by_part = self.terms.period_days, self.terms.period_days + 1
        days = np.arange(by_part)[:, None]
        self.charge = np.concatenate((self.charge, self.charge))
        self.included = np.concatenate((self.included, plans.plan_micro_mb * days // period))
        self.tariff = np.where(parts.days > 0, by_part + parts.days, self.billed_days)
        rows = np.flatnonzero(parts.days_before)
        if not len(rows):
            return
        plan, before = current[rows], by_part + parts.days_before[rows]
        kept = np.where(parts.has_left[rows], before + parts.days[rows], self.billed_days[rows])
        is_unpooled = plans.pool[plan] == NONE
        block, usage_before = plans.block_micro_mb[plan], parts.usage_before[rows]
        blocks = overage_blocks(usage_before + usage[rows] - self.included[kept, plan], block)
        blocks -= overage_blocks(usage_before - self.included[before, plan], block)
        blocks[~is_unpooled] = 0
        keys = np.stack((self.tariff[rows], before, kept, plan, blocks), axis=1)
        kinds, kind = np.unique(keys, axis=0, return_inverse=True)
        changed, before, kept, plan, blocks = kinds.T
        charge, included, number = self.charge[changed], self.included[changed], np.arange(len(kinds))
        charge[number, plan] = self.charge[kept, plan] - self.charge[before, plan] + blocks * plans.overage_rate[plan]
        included[number, plan] = np.where(
            plans.pool[plan] == NONE,
            largest(usage),  # the overage of the plan that is kept is in its charge
            self.included[kept, plan] - self.included[before, plan],
        )
        self.tariff[rows] = len(self.charge) + kind.reshape(-1)
        self.charge, self.included = np.concatenate((self.charge, charge)), np.concatenate((self.included, included))

    def _number_pools(self, eligibility: Eligibility) -> None:
        plans = self.rate_plans
        self.eligible = eligibility.eligible(plans.is_retired)
        groups = len(self.eligible)
        count = len(plans.pool_name)
        sharing = eligibility.pool_groups()
        by_group = sharing[:, None] * count if self.terms.pool_scope == "comm_group" else 0
        self.pool = np.where(plans.pool == NONE, NONE, np.broadcast_to(plans.pool, (groups, len(plans))) + by_group)
        self.pool_count = count * (largest(sharing + 1) if self.terms.pool_scope == "comm_group" else 1)
        first = [int(np.flatnonzero(plans.pool == number % count)[0]) for number in range(self.pool_count)]
        self.pool_rate = plans.overage_rate[first]
        self.pool_block = plans.block_micro_mb[first]
        self.pool_name = [plans.pool_name[number % count] for number in range(self.pool_count)]


def overage_blocks(excess: Integers, block: Integers | np.int64) -> Integers:
    """Return the blocks of overage that are billed for usage less allowance (1e-6 MB), shape as the arguments'."""
    return -(-np.maximum(excess, 0) // block)


def sums_by(key: Integers, values: Integers, count: int) -> list[int]:
    """Return the exact sums of the values of each key 0 to count - 1, length count; other keys are excluded."""
    return [exact_sum(values[key == number]) for number in range(count)]


def exact_sum(values: Integers) -> int:
    """Return the exact sum of int64 values of any size: the upper and lower 32 bits are summed separately."""
    if values.dtype == object:
        return int(values.sum())
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def check_overflow(plans: RatePlans, devices: Devices, period: int) -> None:
    """Check that no term of the bill can overflow int64, by upper bounds in doubles.

    Raises:
        OptimizerInputError: one could; the message names the plan or the SIM with the largest value.
    """
    for name, reach in (
        ("rate_charge", 2.0 * period * plans.rate_charge),
        ("included data", 1.0 * period * plans.plan_micro_mb),
        ("base_rate", 1.0 * plans.base_rate),
    ):
        if len(reach) and reach.max() >= INT64_LIMIT / 4:
            raise OptimizerInputError(
                f"rate plan {plans.code[int(reach.argmax())]!r}: {name} is too large to be billed"
            )
    if float(devices.usage_micro_mb.sum(dtype=np.float64)) >= INT64_LIMIT / 4:
        raise OptimizerInputError("the usage of all devices together is too large to be billed exactly")
    blocks = plans.overage_rate / plans.block_micro_mb
    for name, usage, price in (
        ("sms_usage x sms_rate", devices.sms_usage, float(largest(plans.sms_rate))),
        ("usage x overage_rate", devices.usage_micro_mb, max(1.0, float(blocks.max()) if len(blocks) else 0.0)),
    ):
        if float(largest(usage)) * price + float(largest(plans.overage_rate)) >= INT64_LIMIT / 4:
            device = str(devices.device_id[int(usage.argmax())])
            raise OptimizerInputError(f"device {device!r}: {name} is too large to be billed exactly")


def _check_terms(rate_plans: RatePlans, eligibility: Eligibility, terms: Terms) -> None:
    if eligibility.allowed.shape[1] != len(rate_plans):
        raise OptimizerInputError("eligibility must have one column for each rate plan")
    if terms.period_days < 1 or terms.pool_scope not in {"service_provider", "comm_group"}:
        raise OptimizerInputError("period_days must be at least 1, pool_scope service_provider or comm_group")
