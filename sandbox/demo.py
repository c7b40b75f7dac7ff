"""A whole billing cycle on the sandbox world, step by step, each told as it happens and proved in the end."""

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
from sandbox.airflow_api import ENDED, AirflowApi
from sandbox.billing_periods import begin_the_next_period, leave_time_in_the_periods, use_until_the_period_ends
from sandbox.catalogue import PROVIDERS_THAT_APPLY, ServiceProvider
from sandbox.demo_changes import changes_table, give_approvals, show_status
from sandbox.demo_progress import PROGRESS, progress_display
from sandbox.demo_proof import DagRuns, prove, received_notifications
from sandbox.environment import World
from sandbox.plan_changes import changes_are_applied, latest_changes
from sandbox.supervision import WorldError

SECONDS_TO_RUN = 20 * 60
POLL_SECONDS = 1.0
CONFIRMED = tuple(provider for provider in PROVIDERS_THAT_APPLY if provider.write_is_enabled)
"""Providers whose plan changes a second sync confirms."""
CLOSED = tuple(provider for provider in CONFIRMED if provider.approval_above_changes is not None)
"""Those whose changes a person has approved: their billing periods end in the demo."""

States = dict[tuple[str, str], str]
"""State of each DAG run by DAG id and run id."""

MEASURED = "SELECT count(*) AS measured FROM amop.realised_saving WHERE instance_id = ANY(%(instance_ids)s)"


def run_demo(world: World, console: Console) -> bool:
    """Run the cycle; return True when every run succeeded and every figure is proved.

    Raises:
        WorldError: the runs did not end in time.
        AirflowApiError: no approval waited, or Airflow refused a request.
    """
    begun = time.monotonic()
    api = AirflowApi(world.ui_address)
    dags = {f(name) for name in INTEGRATIONS for f in (ids.device_sync_dag, ids.carrier_optimization_dag)}
    with console.status("Airflow parses the DAGs"):
        api.wait_for_dags(dags | {ids.AMOP_RELAY_DAG})
        api.wait_for_dags({ids.REALISED_SAVINGS_DAG}, unpause=False)
    _forget_earlier_figures(world)
    with (
        changes_are_applied(world),
        psycopg.connect(world.warehouse_dsn(), autocommit=True, row_factory=dict_row) as warehouse,
    ):
        leave_time_in_the_periods(warehouse, PROVIDERS_THAT_APPLY)
        demo = Demo(world, console, api, warehouse)
        is_proved = demo.run()
    ended = list(demo.states.values())
    counts = ", ".join(f"{ended.count(state)} {state}" for state in sorted(set(ended)))
    console.print(
        f"\n{len(ended)} runs in {time.monotonic() - begun:.0f} s: {counts}. Airflow UI was {world.ui_address}"
    )
    return is_proved and set(ended) == {"success"}


class Demo:
    """The steps of the cycle, with what each leaves for the proof."""

    def __init__(self, world: World, console: Console, api: AirflowApi, warehouse: psycopg.Connection[Any]) -> None:
        self.world, self.console, self.api, self.warehouse = world, console, api, warehouse
        self.states: States = {}
        self._begun = time.monotonic()

    def run(self) -> bool:
        """Take every step; return True when all that it left behind is proved. A failed run ends it early."""
        self._tell("1 of 5: every carrier is synced, and its rate plans are optimized")
        first = self._sync(PROVIDERS_THAT_APPLY, "always")
        if not self._all_succeeded():
            return False
        self._tell("2 of 5: above the providers' limits a person is asked; the changes are sent to the carriers")
        answers = give_approvals(self.world, self.console, self.api, self.warehouse)
        self._wait_for_optimizations(first)
        if not self._all_succeeded():
            return False
        self._tell("3 of 5: the billing periods draw to their end; the next syncs confirm the changes")
        for provider in CLOSED:
            use_until_the_period_ends(self.world, provider)
        second = self._sync(CONFIRMED, "never")
        confirmed = latest_changes(self.warehouse)
        self.console.print(changes_table(self.world, confirmed))
        self._tell("4 of 5: the billing periods have ended; the first syncs of the next ones")
        for provider in CLOSED:
            begin_the_next_period(self.world, self.warehouse, provider)
        self.api.pause(ids.REALISED_SAVINGS_DAG, is_paused=False)
        third = self._sync(CLOSED, "never")
        if not self._all_succeeded():
            return False
        self._tell("5 of 5: what was really saved, beside the forecast, as `bin/amop status` shows it")
        self._wait_for_savings([confirmed[provider.id]["instance_id"] for provider in CLOSED])
        show_status(self.world, self.console)
        return prove(
            self.world, self.console, self.warehouse,
            DagRuns(list(first.values()), [*second.values(), *third.values()]),
            answers=answers, confirmed=confirmed, closed={provider.id for provider in CLOSED},
        )  # fmt: skip

    def _tell(self, step: str) -> None:
        self.console.rule(f"[bold]{step}[/bold] ({time.monotonic() - self._begun:.0f} s)", align="left")

    def _sync(self, providers: tuple[ServiceProvider, ...], optimization: str) -> dict[str, str]:
        """Run the daily DAGs until they have ended and plan changes are decided on; return run ids by DAG id."""
        dag_ids = [ids.device_sync_dag(provider.integration) for provider in providers]
        runs = {dag_id: self.api.trigger(dag_id, {"optimization": optimization}) for dag_id in dag_ids}
        self.console.print(f"Triggered {', '.join(runs)}; watch them at {self.world.ui_address}")
        deadline = time.monotonic() + SECONDS_TO_RUN
        with progress_display(self.console) as show:
            while True:
                rows = self._progress(runs.values())
                self._look(runs.items())
                show(rows)
                if all(self.states[run] in ENDED for run in runs.items()):
                    started = [row for row in rows if self.states[row["dag_id"], runs[row["dag_id"]]] == "success"]
                    if all(map(self._is_decided, started)):
                        return runs
                self._check_time(deadline)

    def _is_decided(self, row: dict[str, Any]) -> bool:
        """Return whether an optimization has come as far as it comes without a person, or has ended."""
        if row["session_id"] is None or row["changes_status"] is not None:
            return True
        run = _optimization_run(row)
        self._look([run])
        return self.states[run] in ENDED

    def _wait_for_optimizations(self, syncs: dict[str, str]) -> None:
        runs = [_optimization_run(row) for row in self._progress(syncs.values())]
        deadline = time.monotonic() + SECONDS_TO_RUN
        with self.console.status("The rate plan changes are sent, and a sample of them is read back"):
            self._look(runs)
            while not all(self.states[run] in ENDED for run in runs):
                self._check_time(deadline)
                self._look(runs)

    def _wait_for_savings(self, instance_ids: list[int]) -> None:
        """Wait until ``realised_savings``, which the syncs have started, has measured these optimizations."""
        deadline = time.monotonic() + SECONDS_TO_RUN
        with self.console.status("The closed billing periods are billed with what was really used"):
            while True:
                row = self.warehouse.execute(MEASURED, {"instance_ids": instance_ids}).fetchone()
                if row is not None and row["measured"] == len(instance_ids):
                    return
                self._check_time(deadline)

    def _progress(self, run_ids: Iterable[str]) -> list[dict[str, Any]]:
        return self.warehouse.execute(PROGRESS, {"dag_run_ids": list(run_ids)}).fetchall()

    def _look(self, runs: Iterable[tuple[str, str]]) -> None:
        for run in runs:
            self.states[run] = self.api.run_state(*run) or "missing"

    def _check_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise WorldError(f"not ended after {SECONDS_TO_RUN} s: {self.states}")
        time.sleep(POLL_SECONDS)

    def _all_succeeded(self) -> bool:
        """Return whether no run has failed; say what failed, whose it is and where to read more."""
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


def _optimization_run(row: dict[str, Any]) -> tuple[str, str]:
    """Return DAG id and run id of the optimization that a sync has started."""
    return row["dag_id"].replace("device_sync", "carrier_optimization"), ids.optimization_run_id(row["session_id"])


def _forget_earlier_figures(world: World) -> None:
    """Make the carrier's counters and the queue start at zero, so that the figures are those of this cycle."""
    session = requests.Session()
    session.trust_env = False
    session.delete(f"{world.carrier_address}/sandbox/stats", timeout=30).raise_for_status()
    received_notifications(world)
