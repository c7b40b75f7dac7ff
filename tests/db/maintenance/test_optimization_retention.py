"""The rows per SIM of an optimization are deleted long after its billing period; its figures and changes are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from amop.config import RETENTION
from amop.database.connection import transaction
from amop.maintenance import retention
from amop.reports.report import load_report
from amop.runs.errors import PipelineError
from amop.savings.realised import providers_to_measure
from tests.worlds.optimization_world import CYCLE_END, OptimizationWorld
from tests.worlds.reliability import RecordFault

DAYS = RETENTION["optimization_device_days"].days
LATER = CYCLE_END + timedelta(days=DAYS + 1)
TABLES = tuple(table.removeprefix("amop.") for table in retention.OPTIMIZATION_TABLES)
KEPT = ("optimization_rate_plan_result", "optimization_comm_group", "rate_plan_change", "optimization_instance")


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "1")
    world.add_rate_plan("Large", "5", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(20):
        world.add_sim(f"89010000000000000{number:02}", "Tracking", "Large", mb=number % 3)
    world.add_sim("8901000000000000099", None, "Large")  # excluded, and billed
    world.optimize()
    world.execute("UPDATE amop.optimization_instance SET ended_at = %s", CYCLE_END)
    return world


def count(world: OptimizationWorld, *tables: str) -> int:
    return sum(world.execute(f"SELECT count(*) AS n FROM amop.{table}")[0]["n"] for table in tables)


def delete(world: OptimizationWorld, now: datetime) -> int:
    return retention.delete_expired_optimization_devices(world.dsn, optimization_device_days=DAYS, now=now)


def settle(world: OptimizationWorld, state: str = "applied") -> None:
    world.execute("UPDATE amop.rate_plan_change SET state = %s", state)


def test_the_rows_per_sim_are_deleted_and_the_figures_are_kept(world: OptimizationWorld) -> None:
    settle(world)
    sims, kept = count(world, *TABLES), count(world, *KEPT)
    assert sims == 21 + 3 * 21 + 1
    assert delete(world, CYCLE_END + timedelta(days=DAYS)) == 0
    figures = world.execute("SELECT total_cost, current_cost, savings FROM amop.optimization_instance")
    assert delete(world, LATER) == sims
    assert (count(world, *TABLES), count(world, *KEPT)) == (0, kept)
    assert world.execute("SELECT total_cost, current_cost, savings FROM amop.optimization_instance") == figures
    assert delete(world, LATER) == 0


def test_no_report_and_no_measurement_uses_an_instance_without_its_sims(world: OptimizationWorld) -> None:
    settle(world)
    delete(world, LATER)
    instance_id = world.execute("SELECT id FROM amop.optimization_instance")[0]["id"]
    said = rf"AT&T \(1\): instance {instance_id}: its SIMs were removed by maintenance on {LATER:%Y-%m-%d}"
    with transaction(world.dsn) as connection, pytest.raises(PipelineError, match=said):
        load_report(connection, instance_id)
    later = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=12,
        cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + timedelta(days=30),
    )
    world.insert(
        "device_sync_run",
        service_provider_id=1,
        dag_id="d",
        dag_run_id="r",
        status="complete",
        is_full=True,
        billing_period_id=later,
        started_at=LATER,
    )
    due = "UPDATE amop.optimization_instance SET devices_removed_at = %s"
    for removed_at, expected in ((LATER, 0), (None, 1)):
        world.execute(due, removed_at)
        assert len(providers_to_measure(world.dsn, now=LATER)) == expected


NEEDED: dict[str, str] = {
    "running session": "UPDATE amop.optimization_session SET status = 'running'",
    "running instance": "UPDATE amop.optimization_instance SET run_status = 'running'",
    "proposed change": "UPDATE amop.rate_plan_change SET state = 'proposed' WHERE id ="
    " (SELECT min(id) FROM amop.rate_plan_change)",
    "approved change that was not sent": "UPDATE amop.rate_plan_change SET state = 'approved' WHERE id ="
    " (SELECT min(id) FROM amop.rate_plan_change)",
    "open billing period": f"UPDATE amop.billing_period SET cycle_end = '{LATER.isoformat()}'",
}
"""What still needs the SIMs of an instance → the statement that causes it."""


def test_the_rows_of_an_unfinished_optimization_are_kept_regardless_of_their_age(
    world: OptimizationWorld, reliability: RecordFault
) -> None:
    settle(world)
    sims = count(world, *TABLES)
    removed = 0
    undo: dict[str, Any] = {
        "optimization_session": "status = 'complete'",
        "optimization_instance": "run_status = 'complete_with_success'",
        "rate_plan_change": "state = 'applied'",
        "billing_period": f"cycle_end = '{CYCLE_END.isoformat()}'",
    }
    for statement in NEEDED.values():
        world.execute(statement)
        removed += delete(world, LATER)
        for table, values in undo.items():
            world.execute(f"UPDATE amop.{table} SET {values}")
    assert (removed, count(world, *TABLES)) == (0, sims)
    assert delete(world, LATER) == sims
    reliability(
        fault="maintenance meets an unfinished optimization: " + ", ".join(NEEDED),
        injected=len(NEEDED),
        expected="0 rows removed",
        seen=f"{removed} rows removed, {sims} once it was finished",
    )
