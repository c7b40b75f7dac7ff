"""A cap on the number of plan changes, which couples comm groups that share no pool: the best changes of the fleet."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from amop.solver import Eligibility, RatePlans, Terms, exact, pools_of, verify
from sandbox.carrier.catalogue import provider_of
from sandbox.carrier.fleet import generate_fleet
from tests.worlds.optimizer_cases import PERIOD_DAYS, Case, case, changes_of, every_bill, micros, random_case

AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)


def fleet_of(integration: str, count: int, seed: int) -> Case:
    """Return the sandbox's fleet of an integration as a case; its SIMs are in up to three comm groups."""
    provider = provider_of(integration)
    fleet = generate_fleet(integration=integration, device_count=count, seed=seed, as_of=AS_OF)
    plans, sims = provider.rate_plans, [sim for sim in fleet.sims if sim.communication_plan is not None]
    code = [plan.rate_plan_code for plan in plans]
    pool, pool_name = pools_of(code, [plan.allows_sim_pooling for plan in plans], [plan.pool for plan in plans])
    names = [plan.name for plan in provider.communication_plans]
    made = case([0] * len(sims), [{}])
    return Case(
        made.with_devices(
            communication_plan=np.array([names.index(sim.communication_plan or "") for sim in sims]),
            usage_micro_mb=np.array([sim.data_usage * 10**6 // 2**20 for sim in sims]),
            sms_usage=np.array([sim.sms_usage for sim in sims]),
            current_rate_plan=np.array([-1 if sim.rate_plan is None else code.index(sim.rate_plan) for sim in sims]),
        ).devices,
        RatePlans(
            code=tuple(code),
            rate_charge=micros([plan.rate_charge for plan in plans]),
            base_rate=micros([plan.base_rate for plan in plans]),
            plan_micro_mb=micros([plan.plan_mb for plan in plans]),
            overage_rate=micros([plan.overage_rate for plan in plans]),
            block_micro_mb=micros([plan.data_per_overage_charge for plan in plans]),
            sms_rate=micros([plan.sms_rate for plan in plans]),
            pool=pool,
            pool_name=pool_name,
            is_retired=np.zeros(len(plans), dtype=bool),
        ),
        Eligibility.of(np.array([[one in plan.rate_plans for one in code] for plan in provider.communication_plans])),
        Terms(PERIOD_DAYS, False),
    )


@pytest.mark.parametrize("time_limit", [0, 5])
@pytest.mark.parametrize("integration", ["rogers", "jasper"])
def test_the_fleets_of_the_sandbox_get_the_best_changes_within_the_cap(integration: str, time_limit: int) -> None:
    compared = 0
    for seed in range(1, 25):
        fleet = fleet_of(integration, 8, seed)
        bill, changes = every_bill(fleet)
        for cap in (1, 2):
            result = fleet.optimize(max_changes=cap, time_limit=time_limit)
            least = int(bill[changes <= cap].min())
            assert result.total_cost == least, f"{integration}, seed {seed}, cap {cap}"
            assert changes_of(fleet, result.assignment) <= cap
            verify(result.certificate, result.model, result.assignment)
            compared += 1
    assert compared == 48


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_branch_and_bound_of_all_comm_groups_together_finds_the_best_changes(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(exact, "MAX_ASSIGNMENTS", 0)
    for seed in range(first, first + 25):
        fleet = random_case(seed, 6, 5)
        bill, changes = every_bill(fleet)
        for cap in (0, 1, 3):
            result = fleet.optimize(max_changes=cap)
            assert result.total_cost == int(bill[changes <= cap].min()), f"seed {seed}, cap {cap}"
            assert result.status == "optimal"


@pytest.mark.parametrize(("seed", "cap"), [(1, 19), (28, 15), (35, 19), (76, 12)])
def test_without_branch_and_bound_a_cap_costs_half_a_percent_at_most(seed: int, cap: int) -> None:
    fleet = random_case(seed, 80, 6)
    least, found = fleet.optimize(max_changes=cap), fleet.optimize(max_changes=cap, time_limit=0)
    assert least.status == "optimal"
    assert changes_of(fleet, found.assignment) <= cap
    assert least.total_cost <= found.total_cost <= 1.005 * least.total_cost


def test_the_second_change_uses_the_allowance_that_the_first_one_brings() -> None:
    plans = [
        {"code": "pooled S", "rate_charge": 2, "plan_mb": 1, "overage_rate": 3, "pool": "a"},
        {"code": "pooled L", "rate_charge": 6, "plan_mb": 20, "overage_rate": 3, "pool": "a"},
        {"code": "own M", "rate_charge": 9, "plan_mb": 10, "overage_rate": 3},
        {"code": "own S", "rate_charge": 8, "plan_mb": 10, "overage_rate": 3},
    ]
    fleet = case(
        [10, 10, 5],
        plans,
        allowed=[[1, 1, 1, 0], [0, 0, 1, 1]],
        communication_plan=[0, 0, 1],
        current_rate_plan=[2, 2, 2],
    )
    of_one, of_two = fleet.optimize(max_changes=1), fleet.optimize(max_changes=2)
    assert (sorted(of_one.assignment[:2].tolist()), of_one.savings) == ([1, 2], 3_000_000)
    assert (sorted(of_two.assignment[:2].tolist()), of_two.savings) == ([0, 1], 10_000_000)
