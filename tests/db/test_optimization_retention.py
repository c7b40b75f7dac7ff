"""What an optimization holds of single SIMs goes long after its billing period; its figures and changes stay."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from amop.config import RETENTION
from amop.pipeline import retention
from amop.pipeline.errors import PipelineError
from amop.pipeline.optimization_report import report_facts
from amop.pipeline.realised_savings import providers_to_measure
from amop.warehouse.connection import transaction
from tests.optimization_world import CYCLE_END, OptimizationWorld
from tests.reliability import RecordFault

DAYS = RETENTION["optimization_device_days"].days
LATER = CYCLE_END + timedelta(days=DAYS + 1)
KEPT = ("optimization_rate_plan_result", "optimization_comm_group", "rate_plan_change", "optimization_instance")


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "1")
    world.add_rate_plan("Large", "5", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(20):
        world.add_sim(f"89010000000000000{number:02}", "Tracking", "Large", mb=number % 3)
    world.add_sim("8901000000000000099", None, "Large")  # left out
    world.optimize()
    world.execute("UPDATE amop.optimization_instance SET ended_at = %s", CYCLE_END)
    return world


def count(world: OptimizationWorld, *tables: str) -> int:
    return sum(world.execute(f"SELECT count(*) AS n FROM amop.{table}")[0]["n"] for table in tables)


def remove(world: OptimizationWorld, now: datetime) -> int:
    return retention.remove_optimization_devices(world.dsn, optimization_device_days=DAYS, now=now)


def settle(world: OptimizationWorld, state: str = "applied") -> None:
    world.execute("UPDATE amop.rate_plan_change SET state = %s", state)


def test_the_sims_go_and_the_figures_stay(world: OptimizationWorld) -> None:
    settle(world)
    sims, kept = count(world, *retention.OPTIMIZATION_TABLES), count(world, *KEPT)
    assert sims == 21 + 3 * 20 + 1
    assert remove(world, CYCLE_END + timedelta(days=DAYS)) == 0
    figures = world.execute("SELECT total_cost, current_cost, savings FROM amop.optimization_instance")
    assert remove(world, LATER) == sims
    assert (count(world, *retention.OPTIMIZATION_TABLES), count(world, *KEPT)) == (0, kept)
    assert world.execute("SELECT total_cost, current_cost, savings FROM amop.optimization_instance") == figures
    assert remove(world, LATER) == 0


def test_no_report_and_no_measurement_is_made_of_sims_that_are_gone(world: OptimizationWorld) -> None:
    settle(world)
    remove(world, LATER)
    instance_id = world.execute("SELECT id FROM amop.optimization_instance")[0]["id"]
    said = rf"AT&T \(1\): instance {instance_id}: its SIMs were removed by maintenance on {LATER:%Y-%m-%d}"
    with transaction(world.dsn) as connection, pytest.raises(PipelineError, match=said):
        report_facts(connection, instance_id)
    later = world.insert(
        "billing_period", service_provider_id=1, bill_year=2026, bill_month=12, cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + timedelta(days=30),
    )  # fmt: skip
    world.insert(
        "device_sync_run", service_provider_id=1, dag_id="d", dag_run_id="r", status="complete", is_full=True,
        billing_period_id=later, started_at=LATER,
    )  # fmt: skip
    due = "UPDATE amop.optimization_instance SET devices_removed_at = %s"
    for removed_at, expected in ((LATER, 0), (None, 1)):
        world.execute(due, removed_at)
        assert len(providers_to_measure(world.dsn, now=LATER)) == expected


NEEDED: dict[str, str] = {
    "running session": "UPDATE amop.optimization_session SET status = 'running'",
    "running instance": "UPDATE amop.optimization_instance SET run_status = 'running'",
    "proposal that waits for a person": "UPDATE amop.rate_plan_change SET state = 'proposed' WHERE id ="
    " (SELECT min(id) FROM amop.rate_plan_change)",
    "approved change that is not sent": "UPDATE amop.rate_plan_change SET state = 'approved' WHERE id ="
    " (SELECT min(id) FROM amop.rate_plan_change)",
    "billing period that is open": f"UPDATE amop.billing_period SET cycle_end = '{LATER.isoformat()}'",
}
"""What still needs the SIMs of an instance → how it comes about."""


def test_what_an_unfinished_optimization_needs_stays_whatever_its_age(
    world: OptimizationWorld, reliability: RecordFault
) -> None:
    settle(world)
    sims = count(world, *retention.OPTIMIZATION_TABLES)
    removed = 0
    undo: dict[str, Any] = {
        "optimization_session": "status = 'complete'", "optimization_instance": "run_status = 'complete_with_success'",
        "rate_plan_change": "state = 'applied'", "billing_period": f"cycle_end = '{CYCLE_END.isoformat()}'",
    }  # fmt: skip
    for statement in NEEDED.values():
        world.execute(statement)
        removed += remove(world, LATER)
        for table, values in undo.items():
            world.execute(f"UPDATE amop.{table} SET {values}")
    assert (removed, count(world, *retention.OPTIMIZATION_TABLES)) == (0, sims)
    assert remove(world, LATER) == sims
    reliability(
        fault="maintenance meets an optimization that is not finished: " + ", ".join(NEEDED),
        injected=len(NEEDED), expected="0 rows removed", seen=f"{removed} rows removed, {sims} once it was finished",
    )  # fmt: skip
