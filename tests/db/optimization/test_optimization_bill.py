"""The bill of an optimization item by item, worked out again by the formula on plain decimals, and why a SIM moves."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Any

import pytest

from tests.worlds.optimization_world import CYCLE_START, OptimizationWorld, money

AT_THE_END = {"last_usage_date": CYCLE_START - timedelta(days=1)}
PERIOD_DAYS = 31
AMOUNTS = ("charges", "overage_cost", "sms_cost", "total_cost")


def add_odd_fleet(world: OptimizationWorld, sims: int = 80) -> None:
    """Put SIMs of every kind on plans whose prices have all their decimals."""
    world.add_rate_plan("Small", "1.333333", "10", overage_rate="0.333333", data_per_overage_charge="0.1")
    world.add_rate_plan("Large", "5", "100", base_rate="0.25", sms_rate="0.017")
    shared = {"allows_sim_pooling": True, "pool": "Fleet", "overage_rate": "4", "data_per_overage_charge": "10"}
    world.add_rate_plan("Pooled 50", "3", "50", **shared)
    world.add_rate_plan("Pooled 5", "1", "5", sms_rate="0.01", **shared)
    world.add_rate_plan("Old", "2", "20", is_retired=True)
    world.add_communication_plan("Tracking", ["Small", "Large", "Pooled 50", "Pooled 5"])
    world.add_communication_plan("Mixed", ["Large", "Pooled 5"])
    draw = random.Random(3)
    for number in range(sims):
        world.add_sim(
            f"89011700000000{number:05d}",
            draw.choice(["Tracking", "Mixed"]),
            draw.choice(["Small", "Large", "Pooled 50", "Pooled 5", "Old", "Sold last year", None]),
            draw.choice([0, draw.uniform(0, 20), draw.uniform(20, 150)]),
            ctd_sms_usage=draw.randrange(3),
            date_activated=draw.choice([None, CYCLE_START + timedelta(days=draw.uniform(-9, 31))]),
        )


def worked_out(world: OptimizationWorld, plan_of: str, pool_scope: str) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Return plan items and pool items by the formula of the bill, SIM by SIM, from nothing but stored inputs."""
    sims = world.execute(
        f"SELECT sim.*, plan.*, comm_group.group_key FROM amop.optimization_device AS sim"
        f" JOIN amop.optimization_base_assignment AS base USING (instance_id, device_id)"
        f" JOIN amop.optimization_solved_assignment AS solved USING (instance_id, device_id)"
        f" JOIN amop.carrier_rate_plan AS plan ON plan.id = {plan_of}"
        f" JOIN amop.optimization_comm_group AS comm_group ON comm_group.id = sim.comm_group_id"
    )
    plans: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(Decimal))
    pools: dict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(Decimal))
    for sim in sims:
        days = sim["days_activated"] if sim["is_prorated"] else PERIOD_DAYS
        rate = (sim["rate_charge"] * days / PERIOD_DAYS).quantize(Decimal("1e-6"), ROUND_HALF_UP)
        over = max(Decimal(0), sim["projected_usage_mb"] - sim["plan_mb"])
        item = plans[sim["rate_plan_code"]]
        item["device_count"] += 1
        item["usage_mb"] += sim["projected_usage_mb"]
        item["included_mb"] += sim["plan_mb"]
        item["charges"] += rate + sim["base_rate"]
        item["sms_cost"] += sim["sms_usage"] * sim["sms_rate"]
        if sim["allows_sim_pooling"]:
            pool = pools[sim["pool"], sim["group_key"] if pool_scope == "comm_group" else None]
            pool["device_count"] += 1
            pool["usage_mb"] += sim["projected_usage_mb"]
            pool["included_mb"] += sim["plan_mb"]
            pool["block"], pool["rate"] = sim["data_per_overage_charge"], sim["overage_rate"]
        else:
            item["overage_mb"] += over
            item["overage_blocks"] += ceil(over / sim["data_per_overage_charge"])
            item["own_overage"] += ceil(over / sim["data_per_overage_charge"]) * sim["overage_rate"]
    for pool in pools.values():
        pool["overage_mb"] = max(Decimal(0), pool["usage_mb"] - pool["included_mb"])
        pool["overage_blocks"] = ceil(pool["overage_mb"] / pool["block"])
        pool["overage_cost"] = pool["overage_blocks"] * pool["rate"]
    return plans, pools


def same(row: Mapping[str, Any], expected: Mapping[str, Any], names: tuple[str, ...]) -> None:
    assert {name: row[name] for name in names} == {name: expected[name] for name in names}


@pytest.mark.parametrize("pool_scope", ["service_provider", "comm_group"])
def test_the_bill_item_by_item_is_that_of_the_formula_and_adds_up_exactly(warehouse_dsn: str, pool_scope: str) -> None:
    world = OptimizationWorld(warehouse_dsn, pool_scope=pool_scope)
    add_odd_fleet(world)
    instance = world.optimize()
    for assignment, plan_of, total in (
        ("current", "coalesce(sim.current_rate_plan_id, base.rate_plan_id)", instance["current_cost"]),
        ("solved", "solved.rate_plan_id", instance["total_cost"]),
    ):
        rows = world.execute("SELECT * FROM amop.optimization_rate_plan_result WHERE assignment = %s", assignment)
        pool_rows = world.execute("SELECT * FROM amop.optimization_pool_result WHERE assignment = %s", assignment)
        plans, pools = worked_out(world, plan_of, pool_scope)
        assert {row["rate_plan_code"] for row in rows} == set(plans)
        assert {row["comm_group_key"] for row in pool_rows} == {key for _, key in pools}
        own_overage = Decimal(0)
        for row in rows:
            expected = plans[row["rate_plan_code"]]
            same(row, expected, ("device_count", "usage_mb", "included_mb", "charges", "sms_cost"))
            if row["pool_name"] is None:
                same(row, expected, ("overage_mb", "overage_blocks"))
                assert row["overage_cost"] == expected["own_overage"]
                own_overage += row["overage_cost"]
            else:
                assert (row["pool_name"], row["overage_mb"], row["overage_blocks"]) == ("pool Fleet", None, None)
        for row in pool_rows:
            names = ("device_count", "usage_mb", "included_mb", "overage_mb", "overage_blocks", "overage_cost")
            same(row, pools["Fleet", row["comm_group_key"]], names)
            assert instance["certificate"]["pools"][row["pool_number"]] == row["pool_name"]
        sums = {name: sum(row[name] for row in rows) for name in AMOUNTS}
        assert sums["total_cost"] == total == sums["charges"] + sums["overage_cost"] + sums["sms_cost"]
        assert sums["overage_cost"] == own_overage + sum(row["overage_cost"] for row in pool_rows)
        assert sum(row["overage_cost"] for row in pool_rows) > 0 or assignment == "solved"
    costs = world.execute(
        "SELECT to_rate_plan AS code, sum(to_cost) AS cost, count(*) AS n FROM amop.optimization_device_result"
        " GROUP BY to_rate_plan"
    )
    assert {(row["code"], row["cost"], row["n"]) for row in costs} == {
        (row["rate_plan_code"], row["total_cost"], row["device_count"])
        for row in world.execute("SELECT * FROM amop.optimization_rate_plan_result WHERE assignment = 'solved'")
    }


def test_a_provider_without_sims_has_no_items(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    add_odd_fleet(world, 0)
    world.optimize()
    assert world.execute("SELECT * FROM amop.optimization_rate_plan_result") == []
    assert world.execute("SELECT * FROM amop.optimization_pool_result") == []


def test_every_sim_says_why_it_keeps_its_plan_or_moves(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "5", "100")
    world.add_rate_plan("Old", "0.5", "100", is_retired=True)
    world.add_communication_plan("Tracking", ["Small", "Large"])
    world.add_communication_plan("One", ["Small"])
    for number, (plan, present, mb) in enumerate(
        [
            ("One", "Small", 2),
            ("Tracking", "Large", 90),
            ("Tracking", None, 2),
            ("Tracking", "Sold last year", 2),
            ("Tracking", "Old", 90),
            ("One", "Large", 2),
            ("Tracking", "Small", 95.5),
            ("Tracking", "Large", 2),
        ]
    ):
        world.add_sim(f"890117000000000000{number}", plan, present, mb, **AT_THE_END)
    world.optimize()
    reasons = {iccid[-1]: row["reason"] for iccid, row in world.results().items()}
    assert reasons == {
        "0": "kept: the only rate plan that its communication plan allows",
        "1": "kept: no change lowers the bill, within the provider's limits on changes",
        "2": "set: the carrier names no rate plan of this SIM",
        "3": "set: its present rate plan is not in the reference data",
        "4": "moved: its present rate plan is retired",
        "5": "moved: its communication plan does not allow its present rate plan",
        "6": "moved: saves USD 82.00",
        "7": "moved: saves USD 4.00",
    }


def test_a_sim_that_moves_for_the_others_says_so(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    pooled = {"allows_sim_pooling": True, "pool": "Fleet", "overage_rate": "10", "data_per_overage_charge": "10"}
    world.add_rate_plan("Pooled 10", "1", "10", **pooled)
    world.add_rate_plan("Pooled 100", "4", "100", **pooled)
    world.add_communication_plan("Light", ["Pooled 10", "Pooled 100"])
    world.add_communication_plan("Heavy", ["Pooled 10"])
    world.add_sim("8901170000000000001", "Light", "Pooled 10", 2, **AT_THE_END)
    world.add_sim("8901170000000000002", "Heavy", "Pooled 10", 90, **AT_THE_END)
    instance = world.optimize()
    # 92 MB used and 20 included cost 8 blocks of 10.00; with the large plan of the light SIM there is no overage.
    assert (instance["current_cost"], instance["total_cost"]) == (money("82"), money("5"))
    results = world.results()
    assert results["8901170000000000001"]["reason"] == "moved: its new pool needs the data that the rate plan includes"
    assert results["8901170000000000002"]["reason"] == "kept: the only rate plan that its communication plan allows"
