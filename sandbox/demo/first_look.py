"""Bring a started world to life: plan changes that await approval, and data in every view of the operators' page.

One provider is synced and optimized until its plan changes await approval. Another one lives through a billing period:
its changes are applied, the period ends, and its savings are realised; then another party changes SIMs at its carrier,
which the next sync finds. Steps that this world has completed are not repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from amop import ids
from amop.what_if.plan_table import PlanLine, write_plan_table
from sandbox.carrier.catalogue import PROVIDERS_APPLYING_CHANGES, RatePlan, ServiceProvider
from sandbox.demo.approvals import wait_for_approval
from sandbox.demo.billing_cycle import daily_dags
from sandbox.demo.page_views import rows_of_views
from sandbox.demo.plan_changes import enable_plan_changes
from sandbox.demo.progress import PROGRESS, progress_display
from sandbox.demo.third_party import change_sims_at_the_carrier
from sandbox.world.airflow_api import ENDED, AirflowApi
from sandbox.world.billing_period_shift import extend_open_periods, start_next_period, use_until_period_end
from sandbox.world.supervisor import WorldError
from sandbox.world.world import World

BY_INTEGRATION = {provider.integration: provider for provider in PROVIDERS_APPLYING_CHANGES}
APPROVED = BY_INTEGRATION["jasper"]
"""Provider whose plan changes await approval."""
CLOSED = BY_INTEGRATION["tmobile_jasper"]
"""Provider whose plan changes need no approval and whose billing period ends."""
DISCOUNT = Decimal("0.80")
"""Part of the prices of the pooled plans that the what-if keeps."""

TIMEOUT_SECONDS = 10 * 60
POLL_SECONDS = 1.0

LATEST_SESSION = """
SELECT max(id) AS id FROM amop.optimization_session WHERE service_provider_id = %(service_provider_id)s
"""
OPTIMIZED = """
SELECT 1 AS found
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
WHERE session.service_provider_id = %(service_provider_id)s
LIMIT 1
"""
MEASURED = """
SELECT 1 AS found
FROM amop.realised_saving AS saving
INNER JOIN amop.optimization_instance AS instance ON saving.instance_id = instance.id
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
WHERE session.service_provider_id = %(service_provider_id)s
LIMIT 1
"""
ASKED = """
SELECT 1 AS found FROM amop.what_if WHERE service_provider_id = %(service_provider_id)s AND status = 'complete' LIMIT 1
"""
CHECKED = """
SELECT 1 AS found
FROM amop.finding_check AS checked
WHERE
    checked.service_provider_id = %(service_provider_id)s
    AND checked.run_id = (
        SELECT max(run.id) FROM amop.device_sync_run AS run
        WHERE run.service_provider_id = %(service_provider_id)s AND run.status = 'complete'
    )
LIMIT 1
"""

Warehouse = psycopg.Connection[dict[str, Any]]


def run_first_look(world: World, console: Console) -> None:
    """Bring a started world to life, and print what the operators' page shows of it.

    Plan changes are enabled, and those of `APPROVED` need approval.

    Raises:
        WorldError: a DAG run failed or did not end in time, or a view of the page is empty.
        AirflowApiError: Airflow cannot load the DAGs, or no approval was requested in time.
    """
    api = AirflowApi(world.ui_address)
    with console.status("Waiting until Airflow has parsed the DAGs"):
        api.wait_for_dags(
            {*daily_dags(), ids.AMOP_RELAY_DAG, ids.REALISED_SAVINGS_DAG, ids.FINDINGS_DAG, ids.MAINTENANCE_DAG}
        )
    enable_plan_changes(world)
    with psycopg.connect(world.warehouse_dsn(), autocommit=True, row_factory=dict_row) as warehouse:
        extend_open_periods(warehouse, PROVIDERS_APPLYING_CHANGES)
        look = FirstLook(world, console, api, warehouse)
        look.request_an_approval()
        console.print(f"The operators' page is ready: {world.ui_address}/plugin/amop. Filling its other views")
        look.live_through_a_period()
        look.ask_a_what_if()
    rows = rows_of_views(api)
    console.print("Rows of the operators' page: " + ", ".join(f"{view} {count}" for view, count in rows.items()))
    empty = [view for view, count in rows.items() if not count]
    if empty:
        raise WorldError(f"these views of the operators' page are empty: {', '.join(empty)}")


def cheaper_pooled_plans(plans: tuple[RatePlan, ...]) -> str:
    """Return the table of a what-if: the present plans, the pooled ones at a discount."""
    lines = [
        PlanLine(
            rate_plan_code=plan.rate_plan_code,
            rate_charge=plan.rate_charge,
            base_rate=plan.base_rate,
            plan_mb=plan.plan_mb,
            overage_rate=plan.overage_rate,
            data_per_overage_charge=plan.data_per_overage_charge,
            sms_rate=plan.sms_rate,
            allows_sim_pooling=plan.allows_sim_pooling,
            pool=plan.pool,
        )
        for plan in plans
    ]
    return write_plan_table(
        [replace(line, rate_charge=line.rate_charge * DISCOUNT) if line.allows_sim_pooling else line for line in lines]
    )


class FirstLook:
    """A started world that is brought to life."""

    def __init__(self, world: World, console: Console, api: AirflowApi, warehouse: Warehouse) -> None:
        self.world, self.console, self.api, self.warehouse = world, console, api, warehouse

    def request_an_approval(self) -> None:
        """Sync both providers and optimize them; the changes of one then await approval."""
        if self._has(OPTIMIZED, APPROVED):
            return
        self.sync(APPROVED, CLOSED, optimization="always")
        with self.console.status("Optimizing"):
            approval = wait_for_approval(self.api, ids.carrier_optimization_dag(APPROVED.integration))
        self.console.print(f"Waiting for approval: {approval['subject']}")

    def live_through_a_period(self) -> None:
        """Let the other provider's period end with its changes applied, and another party change SIMs."""
        if self._has(MEASURED, CLOSED):
            return
        if not self._has(OPTIMIZED, CLOSED):
            self.sync(CLOSED, optimization="always")
        with self.console.status(f"Sending the plan changes of {CLOSED.name}"):
            self._wait(self._is_optimized, f"the optimization of {CLOSED.name}")
        use_until_period_end(self.world, CLOSED)
        # A month's usage within minutes is implausible in a young period: an operator would let this run pass, too.
        self.sync(CLOSED, optimization="never", allow_implausible=True)
        start_next_period(self.world, self.warehouse, CLOSED)
        change_sims_at_the_carrier(self.world, self.warehouse, CLOSED)
        self.sync(CLOSED, optimization="never")
        with self.console.status("Billing the closed period with its real usage, looking for what is unusual"):
            self._wait(lambda: self._has(MEASURED, CLOSED), f"the realised saving of {CLOSED.name}")
            self._wait(lambda: self._has(CHECKED, CLOSED), f"the findings of {CLOSED.name}")

    def ask_a_what_if(self) -> None:
        """Ask for the bill with cheaper pooled plans."""
        if self._has(ASKED, APPROVED):
            return
        dag_id = ids.what_if_dag(APPROVED.integration)
        self.api.wait_for_dags({dag_id})
        conf = {"service_provider_id": APPROVED.id, "rate_plans": cheaper_pooled_plans(APPROVED.rate_plans)}
        run_id = self.api.trigger(dag_id, conf)
        with self.console.status("Computing the bill with cheaper pooled plans"):
            self._wait(lambda: self.api.run_state(dag_id, run_id) in ENDED, f"{dag_id}, run {run_id},")
        if not self._has(ASKED, APPROVED):
            raise WorldError(f"{dag_id}, run {run_id}, failed; see its task in the Airflow UI")

    def sync(self, *providers: ServiceProvider, optimization: str, allow_implausible: bool = False) -> None:
        """Run the daily DAGs of some providers at once, and show their progress.

        Args:
            providers: whose daily DAGs run.
            optimization: ``always`` or ``never``, as in the form of the DAG.
            allow_implausible: whether a jump of the usage passes.

        Raises:
            WorldError: a sync failed or did not end in time.
        """
        dag_ids = [ids.device_sync_dag(provider.integration) for provider in providers]
        conf = {"optimization": optimization, "allow_implausible": allow_implausible}
        runs = {dag_id: self.api.trigger(dag_id, conf) for dag_id in dag_ids}
        self.console.print(f"Triggered {', '.join(dag_ids)}")
        states: dict[str, str | None] = {}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with progress_display(self.console) as show:
            while not states or not set(states.values()) <= ENDED:
                if time.monotonic() > deadline:
                    raise WorldError(
                        f"{states} did not end within {TIMEOUT_SECONDS} s; see the tasks in the Airflow UI"
                    )
                time.sleep(POLL_SECONDS)
                show(self.warehouse.execute(PROGRESS, {"dag_run_ids": list(runs.values())}).fetchall())
                states = {dag_id: self.api.run_state(dag_id, run_id) for dag_id, run_id in runs.items()}
        for dag_id, state in states.items():
            if state != "success":
                raise WorldError(f"{dag_id}, run {runs[dag_id]}, is {state}; see its tasks in the Airflow UI")

    def _is_optimized(self) -> bool:
        """Return whether the latest optimization of the provider `CLOSED` has ended, its plan changes included."""
        row = self.warehouse.execute(LATEST_SESSION, {"service_provider_id": CLOSED.id}).fetchone() or {"id": 0}
        run_id = ids.optimization_run_id(row["id"])
        return self.api.run_state(ids.carrier_optimization_dag(CLOSED.integration), run_id) in ENDED

    def _has(self, query: str, provider: ServiceProvider) -> bool:
        return self.warehouse.execute(query, {"service_provider_id": provider.id}).fetchone() is not None

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not is_done():
            if time.monotonic() > deadline:
                raise WorldError(f"{what} did not end within {TIMEOUT_SECONDS} s; see its tasks in the Airflow UI")
            time.sleep(POLL_SECONDS)
