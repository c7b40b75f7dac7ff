"""Plans of the least expected bill on a real warehouse: ``projection_method = scenarios``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from amop.optimization.solve import WITHOUT_SCENARIOS
from tests.worlds.history_world import AS_OF, ONE_DAY, History, daily
from tests.worlds.optimization_world import CYCLE_START, MEGABYTE

FIGURES = (
    "expected_cost",
    "expected_lower_bound",
    "expected_current_cost",
    "cost_5_percent",
    "cost_50_percent",
    "cost_95_percent",
    "worst_tenth_cost",
)


def filled(dsn: str, **settings: Any) -> History:
    """Return a provider with 12 SIMs in one pool: 9 steady ones and 3 with a burst of 30 MB on every tenth day."""
    world = History(dsn, **settings)
    for code, charge, plan_mb in (("Pooled 10", "1", "10"), ("Pooled 50", "6", "50")):
        world.add_rate_plan(code, charge, plan_mb, allows_sim_pooling=True, pool="all")
    world.add_communication_plan("Pooled", ["Pooled 10", "Pooled 50"])
    nights = daily(AS_OF - 27 * ONE_DAY, AS_OF)
    world.sync(*nights)
    for number in range(12):
        used = {
            night: round(MEGABYTE * (30 if number >= 9 and day % 10 == number - 8 else 0.3 + 0.01 * (day % 3)))
            for day, night in enumerate(nights)
        }
        world.use(f"89011700000000000{number:02d}", used, communication_plan="Pooled", rate_plan="Pooled 10")
    return world


def optimized(world: History, opened_by: str = "test") -> dict[str, Any]:
    instance_id = world.open(now=AS_OF, opened_by=opened_by)
    for step in world.steps(instance_id):
        step()
    return world.instance(instance_id)


def test_the_expected_bill_and_its_risk_are_stored_with_their_proof(warehouse_dsn: str) -> None:
    instance = optimized(filled(warehouse_dsn, projection_method="scenarios"))
    cost = {name: instance[name] for name in FIGURES}
    assert cost["expected_lower_bound"] <= cost["expected_cost"] <= cost["expected_current_cost"]
    assert cost["cost_5_percent"] <= cost["cost_50_percent"] <= cost["cost_95_percent"]
    assert cost["cost_50_percent"] <= cost["worst_tenth_cost"]
    assert cost["cost_5_percent"] < cost["cost_95_percent"]  # a burst may come, or not
    document = instance["expected_bill"]
    assert {name: Decimal(document[name]) for name in FIGURES} == cost
    assert cost["expected_cost"] <= Decimal(document["expected_cost_of_point_forecast"])
    (pool,) = document["pools"]
    assert (pool["pool"], document["scenarios"]) == ("pool all", 64)
    assert 0 <= pool["overage_probability"] < 1
    assert len(document["certificate"]["prices"][0]) == 64
    assert document["certificate"]["price_bound_micro"] <= document["certificate"]["total_micro"]
    assert instance["warning"] is None or "scenarios" not in instance["warning"]


def test_the_point_bill_and_its_proof_are_those_of_the_chosen_plans(warehouse_dsn: str) -> None:
    instance = optimized(filled(warehouse_dsn, projection_method="scenarios"))
    assert instance["projection"]["method"] == "daily_history"
    assert instance["lower_bound"] <= instance["total_cost"]
    assert instance["certificate"]["bill_micro"] == instance["total_cost"] * 10**6
    assert instance["savings"] == instance["current_cost"] - instance["total_cost"]


def test_the_same_usage_gives_the_same_expected_bill_again(warehouse_dsn: str) -> None:
    world = filled(warehouse_dsn, projection_method="scenarios")
    first = optimized(world)
    again = optimized(world, opened_by="again")
    assert [again[name] for name in FIGURES] == [first[name] for name in FIGURES]


def test_other_projections_store_no_expected_bill(warehouse_dsn: str) -> None:
    instance = optimized(filled(warehouse_dsn))
    assert [instance[name] for name in (*FIGURES, "expected_bill")] == [None] * (len(FIGURES) + 1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"maximum_changes": 3}, "the number of plan changes is limited (maximum_changes)"),
        (
            {"upgrade_effect": "from_change", "downgrade_effect": "from_change"},
            "a plan change counts from its day (upgrade_effect, downgrade_effect)",
        ),
    ],
)
def test_where_scenarios_cannot_be_used_the_point_forecast_is_and_a_warning_says_why(
    warehouse_dsn: str, settings: dict[str, Any], reason: str
) -> None:
    instance = optimized(filled(warehouse_dsn, projection_method="scenarios", **settings))
    assert instance["run_status"] == "complete_with_success"
    assert instance["expected_cost"] is None
    assert f"{WITHOUT_SCENARIOS}: {reason}" in instance["warning"]


def test_without_enough_syncs_the_point_forecast_is_used(warehouse_dsn: str) -> None:
    world = filled(warehouse_dsn, projection_method="scenarios")
    world.execute("DELETE FROM amop.device_sync_run WHERE usage_as_of < %s", AS_OF - ONE_DAY)
    instance = optimized(world)
    assert instance["expected_cost"] is None
    assert "not by scenarios: too few syncs have read usage" in instance["warning"]


def test_a_deactivated_sim_has_its_usage_in_every_scenario(warehouse_dsn: str) -> None:
    world = filled(warehouse_dsn, projection_method="scenarios")
    world.execute("UPDATE amop.device SET status = 'DEACTIVATED'")
    instance = optimized(world)
    assert instance["cost_5_percent"] == instance["cost_95_percent"] == instance["expected_cost"]
    assert instance["expected_cost"] == instance["total_cost"] == instance["expected_lower_bound"]


def test_a_minimum_saving_per_change_holds_for_the_expected_bill(warehouse_dsn: str) -> None:
    instance = optimized(filled(warehouse_dsn, projection_method="scenarios", minimum_saving_per_change=Decimal(1000)))
    assert instance["expected_cost"] == instance["expected_current_cost"]
    assert instance["expected_bill"]["certificate"]["changes"] == 0


def test_a_risk_weight_is_stored_with_its_proof_and_never_raises_the_risk_adjusted_bill(warehouse_dsn: str) -> None:
    world = filled(warehouse_dsn, projection_method="scenarios", risk_weight=Decimal(2))
    averse = optimized(world)
    world.execute("UPDATE amop.service_provider SET risk_weight = 0")
    neutral = optimized(world, opened_by="neutral")
    proof = averse["expected_bill"]["risk"]
    assert (proof["risk_weight"], len(proof["certificate"]["weights"])) == ("2.000", 64)
    assert "risk" not in neutral["expected_bill"]
    assert neutral["expected_cost"] <= averse["expected_cost"]
    weight = sum(proof["certificate"]["weights"])
    assert proof["certificate"]["lower_bound_micro"] * 3000 * 64 <= proof["total_micro"] * weight


def test_a_sim_that_was_activated_late_is_simulated_from_its_own_days(warehouse_dsn: str) -> None:
    world = filled(warehouse_dsn, projection_method="scenarios")
    nights = daily(AS_OF - 5 * ONE_DAY, AS_OF)
    activated = nights[0] - ONE_DAY
    assert activated > CYCLE_START
    used = dict.fromkeys(nights, 40 * MEGABYTE)
    world.use("8901170000000000099", used, communication_plan="Pooled", rate_plan="Pooled 10", date_activated=activated)
    with_new = optimized(world)
    # It uses about 40 MB on each of the 6 days that are left, 240 MB beside the 240 MB so far.
    assert with_new["cost_5_percent"] > 0
    assert with_new["expected_bill"]["pools"][0]["overage_probability"] > 0.9
