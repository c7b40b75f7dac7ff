"""Run a whole billing cycle on the sandbox world in five steps, and check every figure at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import psycopg
import requests
from psycopg.rows import dict_row
from rich.console import Console

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.carrier.catalogue import PROVIDERS_APPLYING_CHANGES, SYNC_ONLY_PROVIDERS, ServiceProvider
from sandbox.demo.approvals import approve_pending_changes
from sandbox.demo.fleet_checks import equal_retired, moved_usage
from sandbox.demo.plan_changes import enabled_plan_changes, latest_changes
from sandbox.demo.progress import PROGRESS, progress_display
from sandbox.demo.proof import DagRuns, carrier_stats, prove, take_notifications, write_request_count
from sandbox.demo.tables import changes_table
from sandbox.world.airflow_api import ENDED, AirflowApi
from sandbox.world.billing_period_shift import extend_open_periods, start_next_period, use_until_period_end
from sandbox.world.lifecycle import amop_command
from sandbox.world.supervisor import WorldError
from sandbox.world.world import World

RUN_TIMEOUT_SECONDS = 20 * 60
POLL_SECONDS = 1.0
CONFIRMED = tuple(provider for provider in PROVIDERS_APPLYING_CHANGES if provider.write_is_enabled)
"""Providers whose plan changes the second sync confirms."""
CLOSED = tuple(provider for provider in CONFIRMED if provider.approval_above_changes is not None)
"""Providers whose changes an operator approved. Their billing periods end in the demo."""

STATUS_TABLES = ("Their plan changes", "Realised savings")
"""First words of the tables of ``bin/amop status`` that the demo prints."""

States = dict[tuple[str, str], str]
"""State of each DAG run by DAG id and run id."""

MEASURED = "SELECT count(*) AS measured FROM amop.realised_saving WHERE instance_id = ANY(%(instance_ids)s)"


def run_demo(world: World, console: Console) -> bool:
    """Run the cycle and return whether every DAG run succeeded and every check passed.

    Raises:
        WorldError: the runs did not finish in time.
        AirflowApiError: no approval was pending, or Airflow refused a request.
    """
    begun = time.monotonic()
    api = AirflowApi(world.ui_address)
    dags = daily_dags()
    with console.status("Waiting until Airflow has parsed the DAGs"):
        api.wait_for_dags(dags | {ids.AMOP_RELAY_DAG})
        api.wait_for_dags({ids.REALISED_SAVINGS_DAG}, unpause=False)
    _reset_counters(world)
    with (
        enabled_plan_changes(world),
        psycopg.connect(world.warehouse_dsn(), autocommit=True, row_factory=dict_row) as warehouse,
    ):
        extend_open_periods(warehouse, PROVIDERS_APPLYING_CHANGES)
        demo = Demo(world, console, api, warehouse)
        is_proved = demo.run()
    states = list(demo.states.values())
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    console.print(
        f"\n{len(states)} DAG runs in {time.monotonic() - begun:.0f} s: {counts}. Airflow UI: {world.ui_address}"
    )
    return is_proved and set(states) == {"success"}


class Demo:
    """Run the steps of the cycle and collect the data that the checks need."""

    def __init__(self, world: World, console: Console, api: AirflowApi, warehouse: psycopg.Connection[Any]) -> None:
        self.world, self.console, self.api, self.warehouse = world, console, api, warehouse
        self.states: States = {}
        self._begun = time.monotonic()

    def run(self) -> bool:
        """Run all steps and return whether every check passed. Stop early if a DAG run failed."""
        self._print_step("1 of 5: sync every carrier and optimize its rate plans")
        first = self._sync(PROVIDERS_APPLYING_CHANGES + SYNC_ONLY_PROVIDERS, "always")
        synced_only = [first.pop(ids.device_sync_dag(provider.integration)) for provider in SYNC_ONLY_PROVIDERS]
        if not self._all_succeeded():
            return False
        self._print_step("2 of 5: approve the changes above the providers' limits and send them to the carriers")
        approved = approve_pending_changes(self.world, self.console, self.api, self.warehouse)
        self._wait_for_optimizations(first)
        if not self._all_succeeded():
            return False
        self._print_step("3 of 5: move to the end of the billing periods; the next syncs confirm the changes")
        for provider in CLOSED:
            use_until_period_end(self.world, provider)
        second = self._sync(CONFIRMED, "never")
        confirmed = latest_changes(self.warehouse)
        moved = moved_usage(self.world, self.warehouse, CONFIRMED)
        retired_in_closed = equal_retired(self.world, self.warehouse, CLOSED)
        self._print_changes(confirmed)
        self._print_step("4 of 5: close the billing periods and run the first syncs of the next ones")
        for provider in CLOSED:
            start_next_period(self.world, self.warehouse, provider)
        self.api.pause(ids.REALISED_SAVINGS_DAG, is_paused=False)
        third = self._sync(CLOSED, "never")
        if not self._all_succeeded():
            return False
        self._print_step("5 of 5: compare realised with forecast savings, as `bin/amop status` shows them")
        self._wait_for_savings([confirmed[provider.id]["instance_id"] for provider in CLOSED])
        self._print_status()
        return prove(
            self.world,
            self.console,
            self.warehouse,
            DagRuns(optimized=list(first.values()), synced=[*synced_only, *second.values(), *third.values()]),
            approved=approved,
            confirmed=confirmed,
            closed={provider.id for provider in CLOSED},
            moved=moved,
            retired_in_closed=retired_in_closed,
        )

    def _print_step(self, step: str) -> None:
        self.console.rule(f"[bold]{step}[/bold] ({time.monotonic() - self._begun:.0f} s)", align="left")

    def _sync(self, providers: tuple[ServiceProvider, ...], optimization: str) -> dict[str, str]:
        """Trigger the daily DAGs and wait until they finish and their plan changes are decided on.

        Returns:
            The run ids by DAG id.
        """
        dag_ids = [ids.device_sync_dag(provider.integration) for provider in providers]
        runs = {dag_id: self.api.trigger(dag_id, {"optimization": optimization}) for dag_id in dag_ids}
        self.console.print(f"Triggered {', '.join(runs)}. Airflow UI: {self.world.ui_address}")
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        with progress_display(self.console) as show:
            while True:
                rows = self._progress(runs.values())
                self._update_states(runs.items())
                show(rows)
                if all(self.states[run] in ENDED for run in runs.items()):
                    succeeded = [row for row in rows if self.states[row["dag_id"], runs[row["dag_id"]]] == "success"]
                    if all(map(self._is_decided, succeeded)):
                        return runs
                self._check_time(deadline)

    def _is_decided(self, row: dict[str, Any]) -> bool:
        """Return whether an optimization has finished or reached the decision on its plan changes."""
        if row["session_id"] is None or row["changes_status"] is not None:
            return True
        run = _optimization_run(row)
        self._update_states([run])
        return self.states[run] in ENDED

    def _wait_for_optimizations(self, syncs: dict[str, str]) -> None:
        runs = [_optimization_run(row) for row in self._progress(syncs.values())]
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        with self.console.status("Sending the plan changes and reading them back"):
            self._update_states(runs)
            while not all(self.states[run] in ENDED for run in runs):
                self._check_time(deadline)
                self._update_states(runs)

    def _wait_for_savings(self, instance_ids: list[int]) -> None:
        """Wait until the DAG ``realised_savings``, which the syncs trigger, has measured these optimizations."""
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        with self.console.status("Billing the closed periods with their real usage"):
            while True:
                row = self.warehouse.execute(MEASURED, {"instance_ids": instance_ids}).fetchone()
                if row is not None and row["measured"] == len(instance_ids):
                    return
                self._check_time(deadline)

    def _print_changes(self, changes: dict[int, dict[str, Any]]) -> None:
        stats = carrier_stats(self.world)
        requests_sent = {provider.id: write_request_count(stats, provider) for provider in PROVIDERS_APPLYING_CHANGES}
        self.console.print(changes_table(changes, requests_sent))

    def _print_status(self) -> None:
        """Print the tables `STATUS_TABLES` of ``bin/amop status``.

        Raises:
            RuntimeError: the command failed or did not print one of the tables; the message says why.
        """
        done = amop_command(self.world, "status")
        if done.returncode:
            raise RuntimeError(f"bin/amop status failed: {done.stderr}")
        tables = [table.strip("\n") for table in done.stdout.split("\n\n")]
        for title in STATUS_TABLES:
            found = [table for table in tables if table.strip().startswith(title)]
            if not found:
                raise RuntimeError(f"bin/amop status printed no table {title!r}:\n{done.stdout}")
            self.console.print(f"{found[0]}\n", soft_wrap=True)

    def _progress(self, run_ids: Iterable[str]) -> list[dict[str, Any]]:
        return self.warehouse.execute(PROGRESS, {"dag_run_ids": list(run_ids)}).fetchall()

    def _update_states(self, runs: Iterable[tuple[str, str]]) -> None:
        for run in runs:
            self.states[run] = self.api.run_state(*run) or "missing"

    def _check_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise WorldError(f"the DAG runs did not finish within {RUN_TIMEOUT_SECONDS} s: {self.states}")
        time.sleep(POLL_SECONDS)

    def _all_succeeded(self) -> bool:
        """Return whether no DAG run failed; print the error and the failed tasks of each that did."""
        failed = {run: state for run, state in self.states.items() if state in ENDED - {"success"}}
        for row in self._progress(run_id for _, run_id in self.states if failed):
            for error in (row["error"], row["session_error"]):
                if error:
                    self.console.print(f"[red]{row['name']}[/red]: {error}", markup=True)
        for (dag_id, run_id), state in failed.items():
            tasks = [
                f"{task['task_id']}[{task['map_index']}]"
                for task in self.api.task_instances(dag_id, run_id)
                if task["state"] == "failed"
            ]
            self.console.print(f"[red]{dag_id}[/red] {run_id} is {state}; failed tasks: {', '.join(tasks) or 'none'}")
        return not failed


def daily_dags() -> set[str]:
    """Return the ids of the DAGs that the syncs of all integrations need."""
    optimized = [name for name, known in INTEGRATIONS.items() if known.supports_optimization]
    return {ids.device_sync_dag(name) for name in INTEGRATIONS} | set(map(ids.carrier_optimization_dag, optimized))


def _optimization_run(row: dict[str, Any]) -> tuple[str, str]:
    """Return DAG id and run id of the optimization that a sync started."""
    return row["dag_id"].replace("device_sync", "carrier_optimization"), ids.optimization_run_id(row["session_id"])


def _reset_counters(world: World) -> None:
    """Reset the carrier's call counters and empty the queue, so that the figures are those of this demo only."""
    session = requests.Session()
    session.trust_env = False
    session.delete(f"{world.carrier_address}/sandbox/stats", timeout=30).raise_for_status()
    take_notifications(world)
