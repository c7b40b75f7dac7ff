"""Cases for the optimizer's tests, an independent computation of the bill, and all bills of a tiny fleet."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from amop.solver import CostModel, Devices, Eligibility, OptimizationResult, RatePlans, Terms, optimize, pools_of

PERIOD_DAYS = 30
PLAN_ARRAYS = (
    "rate_charge",
    "base_rate",
    "plan_micro_mb",
    "overage_rate",
    "block_micro_mb",
    "sms_rate",
    "pool",
    "is_retired",
)


@dataclass(frozen=True)
class Case:
    """A fleet, its plans, and how the provider bills."""

    devices: Devices
    rate_plans: RatePlans
    eligibility: Eligibility
    terms: Terms

    @property
    def model(self) -> CostModel:
        return CostModel(self.devices, self.rate_plans, self.eligibility, self.terms)

    def optimize(self, **preferences: Any) -> OptimizationResult:
        terms = self.terms
        return optimize(
            self.devices,
            self.rate_plans,
            self.eligibility,
            period_days=terms.period_days,
            uses_proration=terms.uses_proration,
            prorate_allowance=terms.prorate_allowance,
            pool_scope=terms.pool_scope,
            **preferences,
        )

    def with_devices(self, **columns: Any) -> Case:
        return replace(self, devices=replace(self.devices, **columns))

    def with_plans(self, **columns: Any) -> Case:
        return replace(self, rate_plans=replace(self.rate_plans, **columns))

    def only(self, rows: Any) -> Case:
        """Return the case with the SIMs of these rows, in this order."""
        columns = {field.name: getattr(self.devices, field.name)[rows] for field in fields(self.devices)}
        return replace(self, devices=Devices(**columns))

    def with_plans_in_order(self, order: Any) -> Case:
        """Return the same case with its rate plans in another order."""
        order = np.asarray(order)
        place = np.append(np.argsort(order), -1)
        plans = {name: getattr(self.rate_plans, name)[order] for name in PLAN_ARRAYS}
        return Case(
            replace(self.devices, current_rate_plan=place[self.devices.current_rate_plan]),
            replace(self.rate_plans, code=tuple(self.rate_plans.code[plan] for plan in order), **plans),
            Eligibility.of(self.eligibility.allowed[:, order]),
            self.terms,
        )

    def with_communication_plans_in_order(self, order: Any) -> Case:
        """Return the same case with its communication plans in another order."""
        place = np.argsort(np.asarray(order))
        return replace(
            self.with_devices(communication_plan=place[self.devices.communication_plan]),
            eligibility=Eligibility.of(self.eligibility.allowed[np.asarray(order)]),
        )


def case(
    usage_mb: list[Any], plans: list[dict[str, Any]], *, allowed: Any = None, terms: Terms | None = None, **columns: Any
) -> Case:
    """Return a case from the columns that matter in it.

    Args:
        usage_mb: of each SIM.
        plans: per rate plan the columns of the CSV file that are not at their defaults.
        allowed: per communication plan the rate plans that it allows; default: one that allows all.
        terms: default: 30 days without proration.
        columns: columns of `Devices` that are not at their defaults.
    """
    count = len(usage_mb)
    codes = [plan.get("code", f"plan {number}") for number, plan in enumerate(plans)]
    pool, pool_name = pools_of(codes, ["pool" in plan for plan in plans], [plan.get("pool") for plan in plans])
    devices = Devices(
        device_id=np.array([f"89{number:018d}" for number in range(count)], dtype="U20"),
        communication_plan=np.zeros(count, dtype=np.int64),
        usage_micro_mb=micros(usage_mb),
        sms_usage=np.zeros(count, dtype=np.int64),
        days_active=np.full(count, (terms or Terms(PERIOD_DAYS, False)).period_days),
        is_prorated=np.zeros(count, dtype=bool),
        current_rate_plan=np.full(count, -1),
    )
    rate_plans = RatePlans(
        code=tuple(codes),
        rate_charge=micros([plan.get("rate_charge", 1) for plan in plans]),
        base_rate=micros([plan.get("base_rate", 0) for plan in plans]),
        plan_micro_mb=micros([plan.get("plan_mb", 0) for plan in plans]),
        overage_rate=micros([plan.get("overage_rate", 1) for plan in plans]),
        block_micro_mb=micros([plan.get("data_per_overage_charge", 1) for plan in plans]),
        sms_rate=micros([plan.get("sms_rate", 0) for plan in plans]),
        pool=pool,
        pool_name=pool_name,
        is_retired=np.array([plan.get("is_retired", False) for plan in plans], dtype=bool),
    )
    flags = np.ones((1, len(plans)), dtype=bool) if allowed is None else np.array(allowed, dtype=bool)
    made = Case(devices, rate_plans, Eligibility.of(flags), terms or Terms(PERIOD_DAYS, False))
    return made.with_devices(**{name: np.asarray(column) for name, column in columns.items()})


def micros(values: list[Any]) -> np.ndarray:
    """Return 1e-6 units of decimals that have at most six places."""
    units = [Decimal(str(value)) * 10**6 for value in values]
    assert all(unit == int(unit) for unit in units)
    return np.array([int(unit) for unit in units], dtype=np.int64)


def tiny_case(seed: int) -> Case:
    """Return a random fleet of at most 6 SIMs and 4 plans."""
    rng = np.random.default_rng(seed)
    return random_case(seed, int(rng.integers(1, 7)), int(rng.integers(1, 5)))


def with_kept_sims(of: Case, seed: int) -> Case:
    """Return a case in which some SIMs with a current plan keep it, retired or not, in their comm group's pools."""
    rng = np.random.default_rng([seed, 1])
    current, eligibility = of.devices.current_rate_plan, of.eligibility
    group = eligibility.comm_group[of.devices.communication_plan]
    kept = (current >= 0) & (rng.random(len(current)) < 0.5)
    groups = eligibility.by_group()
    choices, choice = np.unique(np.stack([group, np.where(kept, current, -1)]), axis=1, return_inverse=True)
    allowed = np.where(choices[1][:, None] < 0, groups[choices[0]], np.eye(groups.shape[1], dtype=bool)[choices[1]])
    rows = np.arange(len(allowed))
    return replace(
        of.with_devices(communication_plan=choice.reshape(-1)),
        eligibility=Eligibility(allowed, rows, pool_group=choices[0], keeps_plan=choices[1] >= 0),
    )


def random_case(seed: int, count: int, plans: int) -> Case:
    """Return a random fleet of ``count`` SIMs and ``plans`` rate plans.

    Some plans are pooled or retired, up to three comm groups, proration in both forms, SMS, both scopes of pools,
    current plans that are known, unknown, retired or not allowed, and SIMs without an eligible plan.
    """
    rng = np.random.default_rng([seed, count, plans])
    groups = int(rng.integers(1, 4))
    codes = [f"plan {number}" for number in range(plans)]
    pooled = [bool(value) for value in rng.random(plans) < 0.5]
    pool, names = pools_of(codes, pooled, [str(rng.choice(["a", ""])) or None for _ in codes])
    rate_plans = RatePlans(
        code=tuple(codes),
        rate_charge=rng.integers(0, 9_000_000, plans),
        base_rate=rng.integers(0, 500_000, plans),
        plan_micro_mb=rng.choice([0, 1_000_000, 5_000_000, 20_000_000], plans),
        overage_rate=np.full(plans, int(rng.integers(1, 4_000_000))),
        block_micro_mb=np.full(plans, int(rng.choice([100_000, 1_000_000, 7_300_000]))),
        sms_rate=rng.integers(0, 20_000, plans),
        pool=pool,
        pool_name=names,
        is_retired=rng.random(plans) < 0.1,
    )
    allowed = rng.random((groups, plans)) < 0.7
    allowed[0, 0] = True
    devices = Devices(
        device_id=np.array([f"89{number:018d}" for number in rng.permutation(count)]),
        communication_plan=rng.integers(0, groups, count),
        usage_micro_mb=(rng.pareto(1.2, count) * 3_000_000).astype(np.int64),
        sms_usage=rng.integers(0, 50, count),
        days_active=rng.integers(1, PERIOD_DAYS + 1, count),
        is_prorated=rng.random(count) < 0.5,
        current_rate_plan=rng.integers(-1, plans, count),
    )
    scope = str(rng.choice(["service_provider", "comm_group"]))
    terms = Terms(PERIOD_DAYS, bool(rng.random() < 0.5), bool(rng.random() < 0.5), scope)
    return Case(devices, rate_plans, Eligibility.of(allowed), terms)


def may_have(of: Case, row: int) -> list[int]:
    """Return the plans that are eligible for a SIM."""
    group = of.eligibility.comm_group[of.devices.communication_plan[row]]
    allowed = of.eligibility.allowed[of.devices.communication_plan[row]]
    if of.eligibility.keeps_plan is None or not of.eligibility.keeps_plan[group]:
        allowed = allowed & ~of.rate_plans.is_retired
    return [int(plan) for plan in np.flatnonzero(allowed)]


def own_cost(of: Case, row: int, plan: int) -> tuple[int, int]:
    """Return a SIM's own cost (1e-6 currency) and usage less allowance (1e-6 MB), computed in fractions."""
    devices, plans, terms = of.devices, of.rate_plans, of.terms
    days = terms.period_days
    if terms.uses_proration and devices.is_prorated[row]:
        days = int(devices.days_active[row])
    rate = floor(Fraction(int(plans.rate_charge[plan]) * days, terms.period_days) + Fraction(1, 2))
    included = int(plans.plan_micro_mb[plan])
    if terms.prorate_allowance:
        included = floor(Fraction(included * days, terms.period_days))
    above = int(devices.usage_micro_mb[row]) - included
    cost = rate + int(plans.base_rate[plan]) + int(devices.sms_usage[row]) * int(plans.sms_rate[plan])
    if plans.pool[plan] < 0:
        cost += -(-max(0, above) // int(plans.block_micro_mb[plan])) * int(plans.overage_rate[plan])
    return cost, above


def pool_of(of: Case, row: int, plan: int) -> tuple[int, int] | None:
    """Return which pool a SIM is in on a plan: the pool, and the comm group where each has pools of its own."""
    pool = int(of.rate_plans.pool[plan])
    group = int(of.eligibility.pool_groups()[of.eligibility.comm_group[of.devices.communication_plan[row]]])
    return None if pool < 0 else (pool, group if of.terms.pool_scope == "comm_group" else 0)


def plain_bill(of: Case, assignment: Any) -> int:
    """Return the bill of an assignment by the formula, one SIM after the other, 1e-6 currency."""
    total, above = 0, dict[tuple[int, int], int]()
    for row, plan in enumerate(np.asarray(assignment).tolist()):
        if plan < 0:
            continue
        cost, excess = own_cost(of, row, plan)
        total += cost
        pool = pool_of(of, row, plan)
        if pool is not None:
            above[pool] = above.get(pool, 0) + excess
    for (number, _), excess in above.items():
        plan = int(np.flatnonzero(of.rate_plans.pool == number)[0])
        blocks = -(-max(0, excess) // int(of.rate_plans.block_micro_mb[plan]))
        total += blocks * int(of.rate_plans.overage_rate[plan])
    return total


def changes_of(of: Case, assignment: Any) -> int:
    """Return the number of SIMs that leave a known current plan that they could keep."""
    current = of.devices.current_rate_plan
    return sum(
        int(current[row]) in may_have(of, row) and plan != current[row] for row, plan in enumerate(assignment.tolist())
    )


def every_bill(of: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return the bill and the number of changes of every possible assignment, both of one length."""
    bill, changes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    above: dict[tuple[int, int], np.ndarray] = {}
    for row in range(len(of.devices)):
        plans = may_have(of, row)
        if not plans:
            continue
        costs = [own_cost(of, row, plan) for plan in plans]
        pools = [pool_of(of, row, plan) for plan in plans]
        current = int(of.devices.current_rate_plan[row])
        left = [current in plans and plan != current for plan in plans]
        for pool in {pool for pool in pools if pool is not None} | set(above):
            added = [excess if own == pool else 0 for own, (_, excess) in zip(pools, costs, strict=True)]
            before = above.get(pool, np.zeros(len(bill), dtype=np.int64))
            above[pool] = np.add.outer(before, added).reshape(-1)
        bill = np.add.outer(bill, [cost for cost, _ in costs]).reshape(-1)
        changes = np.add.outer(changes, left).reshape(-1)
    for (number, _), total_above in above.items():
        plan = int(np.flatnonzero(of.rate_plans.pool == number)[0])
        blocks = -(-np.maximum(0, total_above) // of.rate_plans.block_micro_mb[plan])
        bill = bill + blocks * of.rate_plans.overage_rate[plan]
    return bill, changes
