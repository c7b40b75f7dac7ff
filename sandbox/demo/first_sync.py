"""Bring a started world to life: unpause the DAGs, sync one carrier, and wait until its plan changes await approval."""

from __future__ import annotations

import time

import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from amop import ids
from sandbox.carrier.catalogue import PROVIDERS_APPLYING_CHANGES
from sandbox.demo.approvals import wait_for_approval
from sandbox.demo.billing_cycle import daily_dags
from sandbox.demo.plan_changes import enable_plan_changes
from sandbox.demo.progress import PROGRESS, progress_display
from sandbox.world.airflow_api import ENDED, AirflowApi
from sandbox.world.billing_period_shift import extend_open_periods
from sandbox.world.supervisor import WorldError
from sandbox.world.world import World

INTEGRATION = "jasper"
TIMEOUT_SECONDS = 10 * 60
POLL_SECONDS = 1.0
OPTIMIZED = "SELECT count(*) AS instances FROM amop.optimization_instance"


def run_first_sync(world: World, console: Console) -> None:
    """Sync one provider and optimize it, unless this world has an optimization already; print the progress.

    Plan changes are enabled, and those of this provider need approval.

    Raises:
        WorldError: the sync failed or did not end in time.
        AirflowApiError: Airflow cannot load the DAGs, or no approval was requested in time.
    """
    api = AirflowApi(world.ui_address)
    dags = daily_dags()
    with console.status("Waiting until Airflow has parsed the DAGs"):
        api.wait_for_dags(dags | {ids.AMOP_RELAY_DAG, ids.REALISED_SAVINGS_DAG, ids.FINDINGS_DAG, ids.MAINTENANCE_DAG})
    enable_plan_changes(world)
    with psycopg.connect(world.warehouse_dsn(), autocommit=True, row_factory=dict_row) as warehouse:
        counted = warehouse.execute(OPTIMIZED).fetchone()
        if counted and counted["instances"]:
            return
        extend_open_periods(warehouse, PROVIDERS_APPLYING_CHANGES)
        dag_id = ids.device_sync_dag(INTEGRATION)
        run_id = api.trigger(dag_id, {"optimization": "always"})
        console.print(f"Triggered {dag_id}: the first sync of AT&T Control Center")
        _wait_for(api, warehouse, console, dag_id, run_id)
    with console.status("Optimizing"):
        approval = wait_for_approval(api, ids.carrier_optimization_dag(INTEGRATION))
    console.print(f"Waiting for approval: {approval['subject']}")


def _wait_for(
    api: AirflowApi, warehouse: psycopg.Connection[dict[str, object]], console: Console, dag_id: str, run_id: str
) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with progress_display(console) as show:
        while (state := api.run_state(dag_id, run_id)) not in ENDED:
            show(warehouse.execute(PROGRESS, {"dag_run_ids": [run_id]}).fetchall())
            if time.monotonic() > deadline:
                raise WorldError(f"{dag_id} did not end within {TIMEOUT_SECONDS} s; see its tasks in the Airflow UI")
            time.sleep(POLL_SECONDS)
    if state != "success":
        raise WorldError(f"{dag_id}, run {run_id}, is {state}; see its tasks in the Airflow UI")
