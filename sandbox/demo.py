"""A whole day on the sandbox world: trigger every daily DAG, show progress, wait for the end, prove the result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import requests
from psycopg.rows import dict_row
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.airflow_api import ENDED, AirflowApi
from sandbox.demo_proof import prove, received_notifications
from sandbox.environment import World
from sandbox.supervision import WorldError

SECONDS_TO_RUN = 20 * 60
POLL_SECONDS = 1.0
SECONDS_BETWEEN_LINES = 10

PROGRESS = """
SELECT
    provider.name,
    run.id AS run_id,
    run.dag_id,
    run.status,
    run.error,
    run.pages,
    run.list_is_complete,
    (SELECT count(DISTINCT iccid) FROM amop.device_staging AS staged WHERE staged.run_id = run.id) AS staged,
    (SELECT count(*) FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id) AS work_rows_left,
    run.work_rows_queued,
    session.id AS session_id,
    session.progress,
    session.error AS session_error
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
LEFT JOIN amop.optimization_session AS session ON run.optimization_session_id = session.id
WHERE run.dag_run_id = ANY(%(dag_run_ids)s)
ORDER BY provider.id
"""


def run_demo(world: World, console: Console) -> bool:
    """Run the day; return True when every run succeeded and every figure is proved.

    Raises:
        WorldError: the runs did not end in time.
    """
    begun = time.monotonic()
    api = AirflowApi(world.ui_address)
    sync_dags = {name: ids.device_sync_dag(name) for name in INTEGRATIONS}
    optimization_dags = {ids.carrier_optimization_dag(name) for name in INTEGRATIONS}
    with console.status("Airflow parses the DAGs"):
        api.wait_for_dags(set(sync_dags.values()) | optimization_dags | {ids.AMOP_RELAY_DAG})
    _forget_earlier_figures(world)
    runs = {dag_id: api.trigger(dag_id, {"optimization": "always"}) for dag_id in sync_dags.values()}
    console.print(f"Triggered {', '.join(runs)}; watch them at {world.ui_address}")
    with psycopg.connect(world.warehouse_dsn(), autocommit=True, row_factory=dict_row) as warehouse:
        with _display(console) as show:
            states = _wait(api, warehouse, runs, show)
        seconds = time.monotonic() - begun
        _show_failures(console, api, warehouse, states, runs)
        is_proved = prove(world, console, warehouse, list(runs.values()))
    console.print(f"\n{len(states)} runs in {seconds:.0f} s: {_count(states)}. Airflow UI was {world.ui_address}")
    return is_proved and all(state == "success" for state in states.values())


def _wait(
    api: AirflowApi, warehouse: psycopg.Connection[Any], runs: dict[str, str], show: Any
) -> dict[tuple[str, str], str]:
    """Wait until the syncs and the optimizations they triggered have ended; return the state of each run."""
    deadline = time.monotonic() + SECONDS_TO_RUN
    while True:
        rows = warehouse.execute(PROGRESS, {"dag_run_ids": list(runs.values())}).fetchall()
        states = {(dag_id, run_id): api.run_state(dag_id, run_id) or "missing" for dag_id, run_id in runs.items()}
        for row in rows:
            if row["session_id"] is not None and states[row["dag_id"], runs[row["dag_id"]]] == "success":
                dag_id = row["dag_id"].replace("device_sync", "carrier_optimization")
                run_id = ids.optimization_run_id(row["session_id"])
                states[dag_id, run_id] = api.run_state(dag_id, run_id) or "missing"
        show(rows, states)
        if all(state in ENDED for state in states.values()):
            return states
        if time.monotonic() > deadline:
            raise WorldError(f"not ended after {SECONDS_TO_RUN} s: {states}")
        time.sleep(POLL_SECONDS)


@contextmanager
def _display(console: Console) -> Iterator[Any]:
    """Yield a function that shows the progress: bars on a terminal, a line now and then in a log."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda rows, _states: live.update(_progress_table(rows))
        return
    begun = last = time.monotonic() - SECONDS_BETWEEN_LINES
    before = ""

    def show_line(rows: list[dict[str, Any]], _states: dict[tuple[str, str], str]) -> None:
        nonlocal last, before
        line = "; ".join(
            f"{row['name']} {row['staged']} SIMs, {row['pages']} pages, {row['work_rows_left']} left, {_step(row)}"
            for row in rows
        )
        if line != before and time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            console.print(f"{time.monotonic() - begun:4.0f} s  {line}")
            last, before = time.monotonic(), line

    yield show_line


def _progress_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(show_edge=False)
    for column in ("service provider", "SIMs", "pages", "work rows left", "AMOP", "", "status"):
        table.add_column(column, justify="right" if column in {"SIMs", "pages", "work rows left", "AMOP"} else "left")
    for row in rows:
        percent = row["progress"] or 0
        table.add_row(
            row["name"], f"{row['staged']:,}", f"{row['pages']:,}", f"{row['work_rows_left']:,}", f"{percent} %",
            ProgressBar(total=100, completed=percent, width=20), _step(row),
        )  # fmt: skip
    return table


def _step(row: dict[str, Any]) -> str:
    if row["status"] == "failed":
        return "failed"
    if row["session_error"]:
        return "optimization failed"
    if row["status"] == "complete":
        return "optimized" if row["progress"] == 100 else f"optimizing, {row['progress']} %"
    return "usage" if row["list_is_complete"] else "device list"


def _show_failures(
    console: Console,
    api: AirflowApi,
    warehouse: psycopg.Connection[Any],
    states: dict[tuple[str, str], str],
    runs: dict[str, str],
) -> None:
    """Say what failed, whose it is and where to read more."""
    for row in warehouse.execute(PROGRESS, {"dag_run_ids": list(runs.values())}):
        for error in (row["error"], row["session_error"]):
            if error:
                console.print(f"[red]{row['name']}[/red]: {error}", markup=True)
    for (dag_id, run_id), state in states.items():
        if state == "success":
            continue
        failed = [
            f"{task['task_id']}[{task['map_index']}]"
            for task in api.task_instances(dag_id, run_id)
            if task["state"] == "failed"
        ]
        console.print(f"[red]{dag_id}[/red] {run_id} is {state}; failed tasks: {', '.join(failed) or 'none'}")


def _forget_earlier_figures(world: World) -> None:
    """Make the carrier's counters and the queue start at zero, so that the figures are those of this day."""
    session = requests.Session()
    session.trust_env = False
    session.delete(f"{world.carrier_address}/sandbox/stats", timeout=30).raise_for_status()
    received_notifications(world)


def _count(states: dict[tuple[str, str], str]) -> str:
    ended = list(states.values())
    return ", ".join(f"{ended.count(state)} {state}" for state in sorted(set(ended)))
