"""The carrier's bill of an assignment, exactly: what each SIM costs by itself, and what each pool's overage costs.

    own(i, p)  = rate(p, d_i) + base_rate_p + sms_i * sms_rate_p
                 + [p not pooled] overage_rate_p * ceil(max(0, usage_i - allowance(p, d_i)) / block_p)
    bill(x)    = sum_i own(i, x_i) + sum_k overage_rate_k * ceil(max(0, sum_{i in k} usage_i - allowance) / block_k)

A rate is prorated half up to 1e-6, an allowance (where that setting is on) down. A pool in credit is no refund, and its
overage is rounded up once. Everything is int64; what could overflow is refused with the name of the SIM.
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

SAFE = float(2**62)
"""Sums and products stay below this, half of int64's range, checked in doubles before they are made."""


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
        terms: how the provider bills.

    Raises:
        OptimizerInputError: the input breaks a rule of the model; the message names SIM or plan.
    """

    own_cost: Integers
    """Shape (N, P), 1e-6 currency: everything but the overage of pools."""
    allowance: Integers
    """Shape (N, P), 1e-6 MB (a view of P numbers where it is not prorated)."""
    is_eligible: Flags
    """Shape (N, P)."""
    pool: Integers
    """Shape (G, P): index of the pool that a SIM of comm group g is in on plan p, -1 for none."""

    def __init__(self, devices: Devices, rate_plans: RatePlans, eligibility: Eligibility, terms: Terms) -> None:
        check_rate_plans(rate_plans)
        _check_devices(devices, rate_plans, eligibility, terms)
        self.devices = devices
        self.rate_plans = rate_plans
        self.terms = terms
        self.group = eligibility.comm_group[devices.communication_plan]
        self.is_eligible = eligibility.allowed[devices.communication_plan] & ~rate_plans.is_retired
        self.allowance = self._allowances()
        self.own_cost = self._own_costs()
        self._number_pools(eligibility)

    def bill(self, assignment: Integers) -> int:
        """Return the bill of an assignment (index of the plan of each SIM, -1 = not billed) in 1e-6 currency."""
        return exact_sum(self.own_costs_of(assignment)) + sum(self.pool_overage(assignment))

    def own_costs_of(self, assignment: Integers) -> Integers:
        """Return what each SIM costs by itself, shape (N,); 0 for a SIM without a plan."""
        rows = np.arange(len(assignment))
        return np.where(assignment >= 0, self.own_cost[rows, np.maximum(assignment, 0)], 0)

    def pools_of(self, assignment: Integers) -> Integers:
        """Return the pool that each SIM is in, shape (N,); -1 for none."""
        return np.where(assignment >= 0, self.pool[self.group, np.maximum(assignment, 0)], NONE)

    def excess_of(self, assignment: Integers) -> Integers:
        """Return each SIM's usage less its allowance, shape (N,), 1e-6 MB; negative where it used less."""
        rows = np.arange(len(assignment))
        return self.devices.usage_micro_mb - self.allowance[rows, np.maximum(assignment, 0)]

    def pool_excess(self, assignment: Integers) -> list[int]:
        """Return usage less allowance of each pool, 1e-6 MB."""
        pool, excess = self.pools_of(assignment), self.excess_of(assignment)
        return [exact_sum(excess[pool == number]) for number in range(self.pool_count)]

    def pool_overage(self, assignment: Integers) -> list[int]:
        """Return what the overage of each pool costs, 1e-6 currency."""
        return [self.overage_cost(number, excess) for number, excess in enumerate(self.pool_excess(assignment))]

    def overage_cost(self, pool: int, excess: int) -> int:
        """Return what a pool's usage above its allowance (1e-6 MB) costs, in whole blocks, 1e-6 currency."""
        return -(-max(0, excess) // int(self.pool_block[pool])) * int(self.pool_rate[pool])

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
        best_distance = np.zeros(len(best), dtype=np.int64)
        best_cost = np.zeros(len(best), dtype=np.int64)
        for plan in self.plans_by_code():
            distance = np.abs(self.rate_plans.plan_micro_mb[plan] - self.devices.usage_micro_mb)
            cost = self.own_cost[:, plan]
            is_better = (distance < best_distance) | ((distance == best_distance) & (cost < best_cost))
            take = self.is_eligible[:, plan] & ((best == NONE) | is_better)
            best[take], best_distance[take], best_cost[take] = plan, distance[take], cost[take]
        return best

    def current_assignment(self) -> tuple[Integers, int]:
        """Return each SIM's present plan, its base assignment where that is unknown, and how many are unknown.

        A SIM without an eligible plan is not billed (-1): it is outside of what is optimized.
        """
        current = self.devices.current_rate_plan
        has_eligible = self.is_eligible.any(axis=1)
        unknown = (current == NONE) & has_eligible
        assignment = np.where(unknown, self.base_assignment(), current)
        return np.where(has_eligible, assignment, NONE), int(unknown.sum())

    def plans_by_code(self) -> list[int]:
        """Return the plans' indices in the order of their codes, so that ties do not depend on the input's order."""
        return sorted(range(len(self.rate_plans)), key=lambda plan: self.rate_plans.code[plan])

    def _allowances(self) -> Integers:
        plan_mb = self.rate_plans.plan_micro_mb
        shape = (len(self.devices), len(plan_mb))
        prorated = self._prorated()
        if not self.terms.prorate_allowance or not prorated.any():
            return np.broadcast_to(plan_mb, shape)
        _refuse_overflow(float(largest(plan_mb)) * self.terms.period_days, "included data")
        days = np.where(prorated, self.devices.days_active, self.terms.period_days)
        return np.asarray(plan_mb[None, :] * days[:, None] // self.terms.period_days)

    def _own_costs(self) -> Integers:
        plans, devices, period = self.rate_plans, self.devices, self.terms.period_days
        _refuse_overflow(float(largest(plans.rate_charge)) * 2 * period, "rate_charge")
        _refuse_overflow(float(largest(plans.sms_rate)) * float(largest(devices.sms_usage)), "sms_usage x sms_rate")
        days = np.where(self._prorated(), devices.days_active, period)
        costs = np.empty((len(devices), len(plans)), dtype=np.int64)
        for plan in range(len(plans)):
            rate = (2 * plans.rate_charge[plan] * days + period) // (2 * period)
            cost = rate + plans.base_rate[plan] + devices.sms_usage * plans.sms_rate[plan]
            if plans.pool[plan] == NONE:
                over = np.maximum(0, devices.usage_micro_mb - self.allowance[:, plan])
                blocks = -(-over // plans.block_micro_mb[plan])
                _refuse_overflow(float(largest(blocks)) * float(plans.overage_rate[plan]), "usage x overage_rate")
                cost = cost + blocks * plans.overage_rate[plan]
            costs[:, plan] = cost
        return costs

    def _prorated(self) -> Flags:
        return self.devices.is_prorated & self.terms.uses_proration

    def _number_pools(self, eligibility: Eligibility) -> None:
        plans = self.rate_plans
        groups = largest(eligibility.comm_group) + 1
        count = len(plans.pool_name)
        by_group = np.arange(groups)[:, None] * count if self.terms.pool_scope == "comm_group" else 0
        self.pool = np.where(plans.pool == NONE, NONE, np.broadcast_to(plans.pool, (groups, len(plans))) + by_group)
        self.pool_count = count * (groups if self.terms.pool_scope == "comm_group" else 1)
        first = [int(np.flatnonzero(plans.pool == number % count)[0]) for number in range(self.pool_count)]
        self.pool_rate = plans.overage_rate[first]
        self.pool_block = plans.block_micro_mb[first]
        self.pool_name = [plans.pool_name[number % count] for number in range(self.pool_count)]


def exact_sum(values: Integers) -> int:
    """Return the exact sum of int64 values, however large."""
    if float(largest(np.abs(values))) * max(1, len(values)) < SAFE:
        return int(values.sum())
    return sum(int(value) for value in values)


def _refuse_overflow(reach: float, what: str) -> None:
    if reach >= SAFE:
        raise OptimizerInputError(f"{what} is too large to be billed exactly")


def _check_devices(devices: Devices, rate_plans: RatePlans, eligibility: Eligibility, terms: Terms) -> None:
    if eligibility.allowed.shape[1] != len(rate_plans):
        raise OptimizerInputError("eligibility must have one column for each rate plan")
    if terms.period_days < 1 or terms.pool_scope not in {"service_provider", "comm_group"}:
        raise OptimizerInputError("period_days must be at least 1, pool_scope service_provider or comm_group")
    if len(np.unique(devices.device_id)) != len(devices):
        values, counts = np.unique(devices.device_id, return_counts=True)
        raise OptimizerInputError(f"device {str(values[counts > 1][0])!r} is there more than once")
    for what, wrong in (
        ("usage_mb is negative", devices.usage_micro_mb < 0),
        ("sms_usage is negative", devices.sms_usage < 0),
        (
            f"days_active is not within 1 and {terms.period_days}",
            (devices.days_active < 1) | (devices.days_active > terms.period_days),
        ),
        (
            "the communication plan is unknown",
            (devices.communication_plan < 0) | (devices.communication_plan >= len(eligibility.allowed)),
        ),
        ("the current rate plan is unknown", devices.current_rate_plan >= len(rate_plans)),
    ):
        if wrong.any():
            raise OptimizerInputError(f"device {str(devices.device_id[int(np.argmax(wrong))])!r}: {what}")
