"""The costs of a SIM's plans are those that the solver explains, to the last decimal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from amop.database.connection import connect
from amop.optimization.arrays import read_inputs
from amop.optimization.instances import load_instance
from amop.optimization.solve import fleet_to_choose, terms_of
from amop.page.sim import read_sim
from amop.solver.explanation import FinalPrices, explain
from tests.worlds.optimization_world import NOW, OptimizationWorld

POOLED: dict[str, Any] = {"overage_rate": "0.75", "data_per_overage_charge": "2", "allows_sim_pooling": True}


def settings_of(case: str) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {
        "pools of the provider": {},
        "pools of comm groups": {"pool_scope": "comm_group"},
        "prorated allowances": {"prorates_allowance": True},
        "a minimum saving": {"minimum_saving_per_change": "0.75"},
        "at most 2 changes": {"maximum_changes": 2},
    }
    return settings[case]


@pytest.fixture(
    params=[
        "pools of the provider",
        "pools of comm groups",
        "prorated allowances",
        "a minimum saving",
        "at most 2 changes",
    ]
)
def world(request: pytest.FixtureRequest, warehouse_dsn: str) -> OptimizationWorld:
    world = OptimizationWorld(warehouse_dsn, **settings_of(request.param))
    world.add_rate_plan("Small", "0.90", "1.5", overage_rate="0.33", data_per_overage_charge="0.7", sms_rate="0.013")
    world.add_rate_plan("Medium", "2.95", "25", base_rate="0.1")
    world.add_rate_plan("Pooled 5", "1.70", "5", pool="Fleet", **POOLED)
    world.add_rate_plan("Pooled 50", "4.10", "50", pool="Fleet", **POOLED)
    world.add_rate_plan("Own pool", "3.30", "30", **POOLED)
    world.add_communication_plan("Meters", ["Small", "Medium", "Pooled 5", "Pooled 50"])
    world.add_communication_plan("Cameras", ["Pooled 5", "Pooled 50", "Own pool"])
    for number, mb in enumerate((0.3, 0.9, 2.2, 4, 4.5, 7, 12, 19, 33, 61)):
        plan = ("Medium", "Small", "Pooled 5")[number % 3] if number % 2 else "Pooled 50"
        activated = NOW - timedelta(days=3 if number % 3 == 0 else 300)
        world.add_sim(
            f"8901170000000001{number:04}",
            "Cameras" if number % 4 == 0 else "Meters",
            plan,
            mb,
            ctd_sms_usage=number * 3,
            date_activated=activated,
        )
    return world


def test_the_costs_are_those_of_the_solver(world: OptimizationWorld) -> None:
    instance_id = int(world.optimize()["id"])
    with connect(world.dsn) as connection:
        instance = load_instance(connection, instance_id)
        inputs = read_inputs(connection, instance)
        model = fleet_to_choose(instance, inputs).model(inputs.rate_plans, terms_of(instance))
        prices = FinalPrices.from_json(world.instance(instance_id)["certificate"])
        for row, device_id in enumerate(inputs.device_ids.tolist()):
            expected = explain(model, inputs.solved_assignment, prices, row)
            view = read_sim(connection, device_id, integrations=["jasper"], orders={})
            assert view is not None
            found = {option.rate_plan: option for option in view.options.rows}
            assert {plan.rate_plan for plan in expected.plans} == set(found), expected.device_id
            for plan in expected.plans:
                option = found[plan.rate_plan]
                assert option.own_cost == plan.own_cost
                assert option.allowance_mb == plan.allowance_mb
                assert option.data_cost == plan.data_cost
                assert option.change_cost == plan.change_cost
                assert option.total == plan.total
                assert (option.is_chosen, option.is_present) == (plan.is_chosen, plan.is_current)
                assert option.is_eligible == plan.is_eligible


@pytest.mark.parametrize("effect", ["from_change", "next_cycle"])
def test_costs_for_a_whole_cycle_are_not_shown_where_a_change_does_not_count_for_it(
    warehouse_dsn: str, effect: str
) -> None:
    world = OptimizationWorld(warehouse_dsn, upgrade_effect=effect, downgrade_effect=effect)
    world.add_rate_plan("Small", "0.90", "1.5")
    world.add_rate_plan("Medium", "2.95", "25")
    world.add_communication_plan("Meters", ["Small", "Medium"])
    world.add_sim("89011700000000010001", "Meters", "Medium", 0.3)
    world.optimize()
    with connect(world.dsn) as connection:
        device_id = connection.execute("SELECT id FROM amop.device").fetchone()["id"]  # type: ignore[index]
        view = read_sim(connection, device_id, integrations=["jasper"], orders={})
    assert view is not None
    assert list(view.options.rows) == []
    assert "counts from its day or from the next cycle" in view.sentences[-1]
    assert view.sentences[0].startswith("The optimization chose ")
