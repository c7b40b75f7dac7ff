"""Counters that no SIM can have, at the door of the optimizer: excluded with their reason, and no other bill moves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from amop.optimization.forecast import LARGEST_SMS_USAGE, LARGEST_USAGE_MB
from tests.worlds.optimization_world import CYCLE_START, MEGABYTE, OptimizationWorld
from tests.worlds.reliability import RecordFault

LARGEST = LARGEST_USAGE_MB * MEGABYTE
BROKEN: dict[str, dict[str, Any]] = {
    "largest bigint": {"ctd_data_usage": 2**63 - 1},
    "half of it": {"ctd_data_usage": 2**62},
    "a byte more than a SIM can use": {"ctd_data_usage": LARGEST + 1},
    "possible, but not its projection": {"ctd_data_usage": LARGEST - MEGABYTE},
    "messages of the largest bigint": {"ctd_sms_usage": 2**63 - 1},
    "a message more than a SIM can send": {"ctd_sms_usage": LARGEST_SMS_USAGE + 1},
    "both": {"ctd_data_usage": 2**63 - 1, "ctd_sms_usage": 2**63 - 1},
}
"""What is broken → counters of a SIM, in bytes and messages."""

POSSIBLE: dict[str, Any] = {
    "ctd_data_usage": LARGEST, "ctd_sms_usage": LARGEST_SMS_USAGE, "last_usage_date": CYCLE_START - timedelta(days=1),
}  # fmt: skip
"""The largest counters that are believed, of a SIM whose usage is final."""


def fleet(dsn: str, pooled: bool) -> OptimizationWorld:
    world = OptimizationWorld(dsn)
    for code, charge, included in (("Small", "1", "1"), ("Large", "5", "100")):
        world.add_rate_plan(code, charge, included, sms_rate="0.01", allows_sim_pooling=pooled)
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(30):
        world.add_sim(f"89010000000000000{number:02}", "Tracking", "Large", mb=number % 4)
    world.add_sim("8901000000000000090", "Tracking", "Large", **POSSIBLE)
    return world


def outcome(world: OptimizationWorld) -> dict[str, Any]:
    """Return plan and costs of every SIM."""
    return {iccid: (row["to_rate_plan"], row["from_cost"], row["to_cost"]) for iccid, row in world.results().items()}


@pytest.mark.parametrize("pooled", [False, True])
def test_a_sim_with_a_broken_counter_is_excluded_and_all_others_are_billed_as_without_it(
    warehouse_dsn: str, reliability: RecordFault, pooled: bool
) -> None:
    world = fleet(warehouse_dsn, pooled)
    alone = world.optimize(opened_by="dag/alone")
    expected = outcome(world)
    world.execute("DELETE FROM amop.optimization_device_result")
    for number, columns in enumerate(BROKEN.values()):
        world.add_sim(f"89010000000000010{number:02}", "Tracking", "Large", **columns)
    instance = world.optimize(opened_by="dag/broken")
    assert instance["run_status"] == "complete_with_success"
    excluded = world.execute("SELECT reason FROM amop.optimization_device_excluded")
    assert [row["reason"] for row in excluded] == ["usage_too_large"] * len(BROKEN)
    assert instance["warning"] == (
        f"Only 31 of {31 + len(BROKEN)} expected SIMs were placed: {len(BROKEN)} have used more than a SIM can (Ask "
        "the carrier; the next sync brings the right counter). They keep their present plans, and are billed on "
        "them if plan and usage are known"
    )
    different = sum(one != expected[iccid] for iccid, one in outcome(world).items())
    assert (different, len(world.results()), instance["total_cost"]) == (0, 31, alone["total_cost"])
    reliability(
        fault=f"counters near 2^63 and beyond reason in an optimization, {'pooled' if pooled else 'unpooled'} plans",
        injected=len(BROKEN), expected=f"{len(BROKEN)} SIMs excluded with the reason, 0 bills of others differ",
        seen=f"{len(excluded)} SIMs excluded with the reason, {different} of {len(expected)} bills differ",
    )  # fmt: skip


def test_a_projection_from_the_first_second_of_a_period_breaks_nothing(warehouse_dsn: str) -> None:
    """What the counter of the period before still held is multiplied by more than two million."""
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "1")
    world.add_communication_plan("Tracking", ["Small"])
    world.add_sim("8901000000000000001", "Tracking", "Small", mb=1, last_usage_date=CYCLE_START)
    world.add_sim("8901000000000000002", "Tracking", "Small", mb=LARGEST_USAGE_MB, last_usage_date=CYCLE_START)
    instance_id = world.open(now=CYCLE_START + timedelta(seconds=1))
    for step in world.steps(instance_id):
        step()
    assert world.instance(instance_id)["run_status"] == "complete_with_success"
    (excluded,) = world.execute("SELECT * FROM amop.optimization_device_excluded")
    assert excluded["reason"] == "usage_too_large"
