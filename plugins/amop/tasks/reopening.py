"""Resume the sync run of a task that an operator cleared; Airflow's part of `amop.runs.reopening`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amop.runs.reopening import replace_session_of_complete_run, resume_run
from amop.tasks.connections import deliver_session_messages, warehouse_conninfo, warehouse_now


def is_left_to_do(run_id: int, context: Mapping[str, Any]) -> bool:
    """Resume a run for the task of this context; False if the run is complete: the task then has nothing to do.

    Raises:
        SyncRunEndedError: the run has ended, and no operator has cleared its DAG run since.
    """
    run = resume_run(
        warehouse_conninfo(),
        run_id,
        clear_number=context["dag_run"].clear_number or 0,
        may_reopen=may_reopen_run(context),
        now=warehouse_now(),
    )
    if run is not None and run.attempt > 1:
        deliver_session_messages(run.optimization_session_id)
    return run is not None


def replace_session_of_cleared_run(run_id: int, context: Mapping[str, Any]) -> None:
    """Open a new session for a complete run whose session has failed, if an operator cleared the task of this context.

    The watchdog ends the session of a DAG run that has ended before it started the optimization.
    """
    clear_number = context["dag_run"].clear_number or 0
    if clear_number and may_reopen_run(context):
        replace_session_of_complete_run(warehouse_conninfo(), run_id, clear_number=clear_number, now=warehouse_now())


def may_reopen_run(context: Mapping[str, Any]) -> bool:
    """Return True when an operator started or cleared this task, False when Airflow runs it again on its own.

    A run that was ended while its task waited for the carrier, or for its next try, stays ended.
    """
    task_instance = context["ti"]
    is_first_try = task_instance.max_tries - task_instance.try_number >= context["task"].retries - 1
    return is_first_try and not context.get("task_reschedule_count")
