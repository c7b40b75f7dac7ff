"""Tiny cases: the optimizer against every possible assignment, to the last 1e-6."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from amop.optimization import (
    CostModel,
    Devices,
    Eligibility,
    RatePlans,
    Terms,
    from_micro,
    optimize,
    pools_of,
    verify,
)

PERIOD_DAYS = 30
CASES = 300


def tiny_case(seed: int) -> tuple[Devices, RatePlans, Eligibility, Terms]:
    """Return a random fleet of at most 6 SIMs and 4 plans, with pools, proration, SMS and pool scopes."""
    rng = np.random.default_rng(seed)
    plans, count, groups = int(rng.integers(1, 5)), int(rng.integers(1, 7)), int(rng.integers(1, 3))
    pooled = [bool(value) for value in rng.random(plans) < 0.5]
    block, rate = int(rng.choice([100_000, 1_000_000, 7_300_000])), int(rng.integers(1, 4_000_000))
    codes = [f"plan {number}" for number in range(plans)]
    pool, names = pools_of(codes, pooled, [str(rng.choice(["a", ""])) or None for _ in codes])
    rate_plans = RatePlans(
        code=tuple(codes),
        rate_charge=rng.integers(0, 9_000_000, plans),
        base_rate=rng.integers(0, 500_000, plans),
        plan_micro_mb=rng.choice([0, 1_000_000, 5_000_000, 20_000_000], plans),
        overage_rate=np.full(plans, rate),
        block_micro_mb=np.full(plans, block),
        sms_rate=rng.integers(0, 20_000, plans),
        pool=pool,
        pool_name=names,
        is_retired=np.zeros(plans, dtype=bool),
    )
    allowed = rng.random((groups, plans)) < 0.8
    allowed[:, 0] = True
    devices = Devices(
        device_id=np.array([f"89{number:018d}" for number in range(count)]),
        communication_plan=rng.integers(0, groups, count),
        usage_micro_mb=(rng.pareto(1.2, count) * 3_000_000).astype(np.int64),
        sms_usage=rng.integers(0, 50, count),
        days_active=rng.integers(1, PERIOD_DAYS + 1, count),
        is_prorated=rng.random(count) < 0.5,
        current_rate_plan=np.zeros(count, dtype=np.int64),
    )
    scope = str(rng.choice(["service_provider", "comm_group"]))
    terms = Terms(PERIOD_DAYS, bool(rng.random() < 0.5), bool(rng.random() < 0.5), scope)
    return devices, rate_plans, Eligibility.of(allowed), terms


def assignments(model: CostModel) -> list[np.ndarray]:
    choices = [np.flatnonzero(model.eligible[group]).tolist() for group in model.group]
    return [np.array(assignment) for assignment in itertools.product(*choices)]


def changes(model: CostModel, assignment: np.ndarray) -> int:
    may_stay = [bool(plan >= 0 and model.eligible[group, plan]) for group, plan in zip(
        model.group, model.devices.current_rate_plan, strict=True)]  # fmt: skip
    return int((np.array(may_stay) & (assignment != model.devices.current_rate_plan)).sum())


@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_the_bill_of_a_tiny_fleet_is_the_least_possible_one(first: int) -> None:
    for seed in range(first, first + 50):
        devices, rate_plans, eligibility, terms = tiny_case(seed)
        result = optimize(
            devices, rate_plans, eligibility, period_days=terms.period_days, uses_proration=terms.uses_proration,
            prorate_allowance=terms.prorate_allowance, pool_scope=terms.pool_scope,
        )  # fmt: skip
        least = min(result.model.bill(assignment) for assignment in assignments(result.model))
        assert result.total_cost == least == result.lower_bound, f"seed {seed}"
        assert result.status == "optimal"
        assert least <= min(result.current_cost, result.base_cost)
        assert int(result.model.split_costs(result.assignment).sum()) == result.total_cost
        verify(result.certificate, result.model, result.assignment)


@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_with_a_price_and_a_cap_of_changes_a_tiny_fleet_has_the_least_objective(first: int) -> None:
    for seed in range(first, first + 50):
        devices, rate_plans, eligibility, terms = tiny_case(seed)
        rng = np.random.default_rng(seed + 10_000)
        saving = int(rng.integers(0, 3_000_000))
        cap = None if rng.random() < 0.5 else int(rng.integers(0, 4))
        result = optimize(
            devices, rate_plans, eligibility, period_days=terms.period_days, uses_proration=terms.uses_proration,
            prorate_allowance=terms.prorate_allowance, pool_scope=terms.pool_scope,
            min_saving_per_change=from_micro(saving), max_changes=cap,
        )  # fmt: skip
        model, least = result.model, None
        for assignment in assignments(model):
            count = changes(model, assignment)
            if cap is None or count <= cap:
                objective = model.bill(assignment) + saving * count
                least = objective if least is None else min(least, objective)
        proof = result.certificate.changes
        assert proof is not None and least is not None
        assert proof.bound <= least, f"seed {seed}"
        count = changes(model, result.assignment)
        assert cap is None or count <= cap
        assert proof.objective == result.total_cost + saving * count
        assert result.lower_bound <= min(model.bill(assignment) for assignment in assignments(model))
        verify(result.certificate, model, result.assignment)
        if terms.pool_scope == "service_provider" or cap is None:
            assert proof.objective == least, f"seed {seed}"
