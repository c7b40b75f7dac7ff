"""``amop runs``: list device sync runs; resume one in Airflow, or end one whose process is gone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from amop.cli.airflow_client import AirflowClient, AirflowError
from amop.cli.known_ids import warehouse_with
from amop.cli.output import MOST_ROWS, AsJson, print_json, print_table, print_text
from amop.maintenance import operations
from amop.wording import several

app = typer.Typer(no_args_is_help=True, help="List device sync runs; resume or end one.")

RunId = Annotated[int, typer.Argument(min=1, help="Id of the run, as `runs list` shows it.")]
Provider = Annotated[int | None, typer.Option("--provider", min=1, help="Only runs of this service provider id.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MOST_ROWS, help="Maximum number of rows.")]
Reason = Annotated[str, typer.Option("--reason", help="Stored as the error, and sent to AMOP if a session runs.")]

NOT_MAPPED = -1
"""Map index of a task whose upstream tasks have not succeeded yet."""

COLUMNS = ("id", "service_provider", "status", "started_at", "ended_at", "devices_seen", "work_rows_left", "error")


@app.command("list")
def list_command(provider: Provider = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the latest device sync runs, newest first."""
    conninfo = warehouse_with(provider=provider)
    found = [asdict(run) for run in operations.list_runs(conninfo, service_provider_id=provider, limit=limit)]
    if as_json:
        print_json(found)
    else:
        print_table("Device sync runs", COLUMNS, [[run[name] for name in COLUMNS] for run in found])


@app.command("show")
def show_command(run_id: RunId, as_json: AsJson = False) -> None:
    """Show everything about a run, and the tasks that would resume it."""
    run = operations.find_run(warehouse_with(run=run_id), run_id)
    if as_json:
        print_json(asdict(run))
        return
    print_table(f"Device sync run {run_id}", ("", "value"), list(asdict(run).items()))
    try:
        tasks = operations.plan_resumption(run).tasks
        print_text(f"`amop runs resume {run_id}` would clear: {', '.join(tasks)}" if tasks else "nothing is left to do")
    except operations.OperationError as error:
        print_text(str(error))


@app.command("resume")
def resume_command(run_id: RunId) -> None:
    """Clear the tasks of a failed run in Airflow, from the first one whose work is missing; it reads nothing twice."""
    run = operations.find_run(warehouse_with(run=run_id), run_id)
    tasks = operations.plan_resumption(run).tasks
    if not tasks:
        print_text(f"run {run_id} of {run.service_provider} is already complete, nothing to do")
        return
    airflow = AirflowClient.from_environment()
    if not airflow.has_run(run.dag_id, run.dag_run_id):
        raise operations.DagRunDeletedError(run)
    map_index = _map_index(airflow.returned_value(run.dag_id, run.dag_run_id, "select_providers"), run_id)
    cleared = airflow.clear(run.dag_id, run.dag_run_id, [(task_id, map_index) for task_id in tasks])
    if not cleared:  # select_providers was cleared alone after it had failed: its tasks are not yet one per provider
        map_index = NOT_MAPPED
        cleared = airflow.clear(run.dag_id, run.dag_run_id, [(task_id, map_index) for task_id in tasks])
    names = ", ".join(task_id for task_id in tasks if (task_id, map_index) in cleared)
    left = f"{several(run.pages, 'page')}, with {several(run.work_rows_left, 'work row')} left"
    print_text(
        f"run {run_id} of {run.service_provider} ({run.service_provider_id}): cleared "
        f"{several(len(cleared), 'task instance')} of {run.dag_id}, run {run.dag_run_id}, map index {map_index}: "
        f"{names}. It resumes after {left}; see `amop runs show {run_id}`"
    )


def _map_index(selected: Any, run_id: int) -> int:
    """Return the index of a run in what ``select_providers`` returned: that of the mapped tasks.

    Raises:
        AirflowError: Airflow has another result.
    """
    for index, provider in enumerate(selected or []):
        if provider["run_id"] == run_id:
            return index
    raise AirflowError(f"select_providers of this DAG run in Airflow has no run {run_id}: trigger a new run")


@app.command("end")
def end_command(run_id: RunId, reason: Reason = "Ended by an operator (amop runs end)") -> None:
    """End a running run as failed, with its session: its provider is free, and the run can be resumed."""
    run = operations.end_run(warehouse_with(run=run_id), run_id, reason)
    print_text(
        f"run {run_id} of {run.service_provider} ({run.service_provider_id}) is {run.status}; `amop runs resume "
        f"{run_id}` continues it where its ledger stands"
    )
