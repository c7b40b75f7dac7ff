"""Comm groups, the checks that end an optimization or leave SIMs out, and the changes that it proposes."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from amop.optimization.inputs import ValidationError
from amop.optimization.instances import InstanceEndedError
from tests.worlds.optimization_fleet import add_fleet, add_ladder
from tests.worlds.optimization_world import CYCLE_START, NOW, OptimizationWorld, money

ALL_STEPS = [0, 20, 30, 40, 50, 100]
INVALID = "One or more Rate Plans have invalid Data per Overage Charge or Overage Rate"
NOTHING = "No Comm Groups and/or Rate Plans for this Instance"
AT_THE_END = {"last_usage_date": CYCLE_START - timedelta(days=1)}
"""A SIM whose usage is not projected: the figures of a test can be read off its megabytes."""


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    return OptimizationWorld(warehouse_dsn)


# Comm groups and their checks


def test_sims_that_cannot_be_placed_keep_their_plan_and_are_told_in_a_warning_with_both_numbers(
    warehouse_dsn: str,
) -> None:
    world = OptimizationWorld(warehouse_dsn, rate_plan_limit=3)
    add_ladder(world)
    world.add_rate_plan("Fourth", "4", "70")
    world.add_communication_plan("Too many", ["Small", "Large", "Pooled", "Fourth"])
    world.add_communication_plan("Unmapped", [])
    world.add_communication_plan("Without SIMs", ["Large"])
    world.add_communication_plan("One plan", ["Small"])
    for number, plan in enumerate(
        ["Tracking", "Mixed", "Too many", "Unmapped", "Unmapped", None, "Never seen", "One plan"]
    ):
        world.add_sim(f"890117000000000000{number}", plan, "Large", 3, **AT_THE_END)
    instance = world.optimize()
    assert world.outcomes() == {
        ("Mixed", "Tracking"): "optimized",
        ("Too many",): "limit_exceeded",
        ("", "Never seen", "Unmapped"): "no_plans",
        ("Without SIMs",): "no_devices",
        ("One plan",): "base_only",
    }
    moved = [
        iccid[-1] for iccid, row in sorted(world.results().items()) if row["from_rate_plan"] != row["to_rate_plan"]
    ]
    assert moved == ["0", "1", "7"]
    assert (instance["device_count"], instance["expected_device_count"]) == (3, 8)
    assert instance["warning"] == (
        "Only 3 of 8 expected SIMs were placed: 4 are on communication plans without rate plans ((none), Never seen, "
        "Unmapped); 1 are in comm groups with more than 3 rate plans (Too many). They keep their present plans, and "
        "are billed on them if plan and usage are known"
    )
    assert instance["run_status"] == "complete_with_success"
    # Today 8 x 5; solved 3 x 1. What was not placed is billed as today.
    assert (instance["current_cost"], instance["total_cost"]) == (money("40"), money("28"))
    costs = {
        tuple(group["communication_plans"]): (group["device_count"], group["total_cost"])
        for group in world.execute("SELECT * FROM amop.optimization_comm_group")
    }
    assert costs[("Too many",)] == (1, money("5"))
    assert costs[("One plan",)] == (1, money("1"))
    assert world.messages() == ALL_STEPS


@pytest.mark.parametrize("column", ["overage_rate", "data_per_overage_charge"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_an_invalid_rate_plan_ends_the_instance_with_errors_and_one_exact_message(
    world: OptimizationWorld, column: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_ladder(world)
    world.add_rate_plan("Broken", "1", "1", **{column: value})
    world.add_rate_plan("Also broken", "1", "1", overage_rate="-0.5", data_per_overage_charge="0")
    world.add_communication_plan("Broken", ["Broken", "Small", "Also broken"])
    world.add_sim("8901170000000000001", "Broken", "Small")
    world.add_sim("8901170000000000002", "Tracking", "Small")
    instance_id = world.open()
    group, validate, project, *_ = world.steps(instance_id)
    group()
    prices = {"overage_rate": "1", "data_per_overage_charge": "1", column: value}
    named = (
        "Also broken (data per overage charge 0.000000, overage rate -0.500000), "
        f"Broken (data per overage charge {prices['data_per_overage_charge']}.000000, "
        f"overage rate {prices['overage_rate']}.000000)"
    )
    with pytest.raises(ValidationError, match=f"^{re.escape(f'{INVALID}: {named}')}$"):
        validate()
    assert named in caplog.text
    assert world.outcomes() == {("Broken",): "invalid_plan", ("Mixed", "Tracking"): "optimized"}
    instance = world.instance(instance_id)
    assert (instance["run_status"], instance["ended_at"]) == ("complete_with_errors", NOW)
    # AMOP gets the text only; the names of the plans are for the operator.
    assert world.messages() == [0, 20, INVALID]
    session = world.execute("SELECT status, error, progress FROM amop.optimization_session")[0]
    assert session == {"status": "failed", "error": f"{INVALID}: {named}", "progress": 20}
    assert instance["error"] == session["error"]
    for again in (validate, project):
        with pytest.raises(InstanceEndedError, match=INVALID):
            again()
    assert world.messages() == [0, 20, INVALID]


def test_an_invalid_plan_that_a_sim_is_on_cannot_be_costed_either(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_rate_plan("Old", "1", "1", is_retired=True, overage_rate="0")
    world.add_sim("8901170000000000001", "Tracking", "Old")
    instance_id = world.open()
    group, validate, *_ = world.steps(instance_id)
    group()
    with pytest.raises(ValidationError, match=INVALID):
        validate()


def test_an_invalid_plan_that_takes_no_part_does_no_harm(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_rate_plan("Elsewhere", "1", "1", overage_rate="0")
    world.add_rate_plan("Old", "1", "1", is_retired=True, overage_rate="0")
    world.add_sim("8901170000000000001", "Tracking", "Small")
    assert world.optimize()["run_status"] == "complete_with_success"


def test_plans_of_one_pool_with_different_terms_are_an_error_that_names_them(world: OptimizationWorld) -> None:
    pooled = {"allows_sim_pooling": True, "pool": "Fleet"}
    world.add_rate_plan("Pooled 50", "3", "50", **pooled)
    world.add_rate_plan("Pooled 100", "5", "100", **pooled, overage_rate="2")
    world.add_communication_plan("Tracking", ["Pooled 50", "Pooled 100"])
    world.add_sim("8901170000000000001", "Tracking", "Pooled 50")
    instance_id = world.open()
    group, validate, *_ = world.steps(instance_id)
    group()
    with pytest.raises(ValidationError, match="Pooled 100, Pooled 50.*must share one overage rate and block"):
        validate()
    assert world.messages()[:2] == [0, 20] and "AT&T (1)" in world.messages()[2]


@pytest.mark.parametrize("has_communication_plan", [True, False])
def test_nothing_to_optimize_ends_with_its_exact_message(
    world: OptimizationWorld, has_communication_plan: bool
) -> None:
    world.add_rate_plan("Small", "1", "10")
    if has_communication_plan:
        world.add_communication_plan("Unmapped", [])
        world.add_sim("8901170000000000001", "Unmapped", "Small")
    instance_id = world.open()
    group, validate, *_ = world.steps(instance_id)
    group()
    with pytest.raises(ValidationError, match=f"^{NOTHING}$"):
        validate()
    assert world.instance(instance_id)["run_status"] == "complete_with_errors"
    assert world.messages() == [0, 20, NOTHING]


def test_a_provider_without_sims_completes_with_zeros(world: OptimizationWorld) -> None:
    add_ladder(world)
    instance = world.optimize()
    assert world.outcomes() == {("Mixed", "Tracking"): "no_devices"}
    figures = ("current_cost", "base_cost", "total_cost", "lower_bound", "savings")
    assert [instance[name] for name in figures] == [Decimal(0)] * 5
    assert "No SIM of this provider" in instance["warning"]
    assert world.messages() == ALL_STEPS


# Proposed changes


def test_a_change_is_proposed_for_every_sim_that_moves_and_for_no_other(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    world.optimize()
    expected = {
        (row["device_id"], row["from_rate_plan"], row["to_rate_plan"], "proposed")
        for row in world.results().values()
        if row["from_rate_plan"] != row["to_rate_plan"]
    }
    changes = world.execute("SELECT device_id, from_rate_plan, to_rate_plan, state FROM amop.rate_plan_change")
    assert {tuple(change.values()) for change in changes} == expected
    assert 0 < len(changes) < 60


def test_what_the_operator_allowed_is_kept_with_the_instance(world: OptimizationWorld) -> None:
    add_ladder(world)
    assert world.optimize(apply_changes="never")["apply_changes"] == "never"
