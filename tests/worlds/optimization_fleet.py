"""A fleet of every kind of SIM for tests of an optimization, and what an optimization of it has written."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from tests.worlds.optimization_world import CYCLE_START, OptimizationWorld

TABLES = ("instance", "comm_group", "device", "device_result", "session")


def add_ladder(world: OptimizationWorld) -> None:
    """Sell a small plan (10 MB for 1.00), a large one (100 MB for 5.00) and a pooled one (50 MB for 3.00)."""
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "5", "100")
    world.add_rate_plan("Pooled", "3", "50", allows_sim_pooling=True, data_per_overage_charge="10", overage_rate="4")
    world.add_communication_plan("Tracking", ["Small", "Large", "Pooled"])
    world.add_communication_plan("Mixed", ["Large", "Pooled", "Small"])


def add_fleet(world: OptimizationWorld, sims: int = 60) -> None:
    """Put SIMs of every kind on the ladder."""
    draw = random.Random(7)
    for number in range(sims):
        world.add_sim(
            f"89011700000000{number:05d}",
            draw.choice(["Tracking", "Mixed"]),
            draw.choice(["Small", "Large", "Pooled", "Pooled", "Sold last year", None]),
            draw.choice([0, draw.uniform(0, 20), draw.uniform(20, 150)]),
            ctd_sms_usage=draw.randrange(3),
            date_activated=draw.choice([None, CYCLE_START + timedelta(days=draw.uniform(-9, 31))]),
        )


def dump(world: OptimizationWorld) -> dict[str, list[dict[str, Any]]]:
    """Return everything that an optimization writes."""
    rows = {name: world.execute(f"SELECT * FROM amop.optimization_{name} ORDER BY 1, 2") for name in TABLES}
    rows["change"] = world.execute("SELECT * FROM amop.rate_plan_change ORDER BY id")
    rows["outbox"] = world.execute("SELECT id, dedupe_key, payload FROM amop.amop_outbox ORDER BY id")
    return rows


def result_of(world: OptimizationWorld) -> dict[str, Any]:
    """Return what does not depend on ids and clocks: the figures and every SIM's plan and costs."""
    figures = ("current_cost", "base_cost", "total_cost", "lower_bound", "savings", "gap", "certificate", "warning")
    instance = world.execute("SELECT * FROM amop.optimization_instance")[0]
    return {
        "instance": {name: instance[name] for name in figures},
        "results": world.results(),
        "changes": world.execute("SELECT device_id, from_rate_plan, to_rate_plan, state FROM amop.rate_plan_change"),
        "messages": world.messages(),
    }
