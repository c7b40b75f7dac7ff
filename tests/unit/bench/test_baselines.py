"""The baselines are feasible and never below the bound; the replaced heuristic equals a plain version of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from amop.solver import CostModel, Terms, optimize
from bench.baselines import BASELINES, cheapest_alone, direct_milp, replaced_heuristic
from bench.instances import PERIOD_DAYS, PROFILES, make_instance
from tests.worlds.optimizer_cases import Case, case, every_bill, plain_bill, random_case


@pytest.mark.parametrize("profile", PROFILES)
def test_every_baseline_is_feasible_and_never_below_the_bound(profile: str) -> None:
    instance = make_instance(profile, 150, plan_count=6)
    ours = optimize(
        instance.devices,
        instance.rate_plans,
        instance.eligibility,
        period_days=PERIOD_DAYS,
        uses_proration=True,
        time_limit=0,
    )
    for name, baseline in BASELINES.items():
        found = baseline(instance, **({"time_limit": 3} if name == "direct MILP (HiGHS)" else {}))
        assert found.assignment is not None, name
        assert ours.model.is_allowed(found.assignment).all(), name
        assert found.bill == ours.model.bill(found.assignment) >= ours.lower_bound, name
        assert found.name == name
        assert found.seconds > 0


@pytest.mark.parametrize("seed", range(20))
def test_the_direct_program_finds_the_least_bill_of_tiny_fleets(seed: int) -> None:
    fleet = random_case(seed, 5, 4)
    assignment = direct_milp(fleet.model, time_limit=20)
    assert assignment is not None
    assert plain_bill(fleet, assignment) == every_bill(fleet)[0].min()


def test_the_cheapest_plan_alone_ignores_that_pools_share() -> None:
    plans = [{"rate_charge": 1, "plan_mb": 0, "pool": "p"}, {"rate_charge": 3, "plan_mb": 10, "pool": "p"}]
    fleet = case([4] * 10, plans)
    assert cheapest_alone(fleet.model).tolist() == [1] * 10
    assert fleet.optimize().assignment.sum() == 4


def fill_one_by_one(fleet: Case, first: str, apart: bool, sequence: tuple[int, ...], rows: list[int]) -> dict[int, int]:
    """Return the plan of each SIM after filling one sequence of plans, SIM by SIM."""
    devices, plans = fleet.devices, fleet.rate_plans
    units = [rows]
    if apart:
        communication_plan = devices.communication_plan
        units = [[row for row in rows if communication_plan[row] == plan] for plan in sorted(set(communication_plan))]
    chosen: dict[int, int] = {}
    for unit in units:
        used = dict.fromkeys(sequence, 0)
        order = sorted(unit, key=lambda row: (devices.usage_micro_mb[row], row), reverse=first == "largest")
        for row in order:
            above = {plan: int(devices.usage_micro_mb[row] - plans.plan_micro_mb[plan]) for plan in sequence}
            room = [plan for plan in sequence if (used[plan] if plans.pool[plan] >= 0 else 0) + above[plan] <= 0]
            chosen[row] = room[0] if room else sequence[-1]
            used[chosen[row]] += above[chosen[row]]
    return chosen


@pytest.mark.parametrize("seed", range(25))
def test_the_replaced_heuristic_costs_what_filling_every_sequence_sim_by_sim_costs(seed: int) -> None:
    fleet = random_case(seed, 9, 4)
    model = CostModel(fleet.devices, fleet.rate_plans, fleet.eligibility, Terms(PERIOD_DAYS, True, False, "comm_group"))
    fleet = Case(fleet.devices, fleet.rate_plans, fleet.eligibility, model.terms)
    found = replaced_heuristic(model)
    for group in set(model.group.tolist()):
        rows = np.flatnonzero(model.group == group).tolist()
        plans = np.flatnonzero(model.eligible[group]).tolist()
        if not plans:
            continue
        bills = []
        sequences = [s for size in range(1, len(plans) + 1) for s in itertools.permutations(plans, size)]
        for first, apart, sequence in itertools.product(("largest", "smallest"), (False, True), sequences):
            chosen = fill_one_by_one(fleet, first, apart, sequence, rows)
            bills.append(plain_bill(fleet.only(rows), np.array([chosen[row] for row in rows])))
        assert plain_bill(fleet.only(rows), found[rows]) == min(bills)
