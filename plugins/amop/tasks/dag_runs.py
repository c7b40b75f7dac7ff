"""Facts that tasks derive from their DAG run."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow.sdk import get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from amop import time_limits
from amop.runs.take_over import TRIAL_RUN_PREFIX

START_ONCE: dict[str, Any] = {
    "logical_date": None,
    "skip_when_already_exists": True,
    "fail_when_dag_is_paused": True,
    "wait_for_completion": False,
    "deferrable": False,
    "execution_timeout": time_limits.BRIEF_TASK,
}
"""Arguments with which a `TriggerDagRunOperator` with a fixed run id starts a run exactly once."""


def requested_at(dag_run: Any, now: datetime) -> datetime:
    """Return the moment at which a run was requested; the run belongs to the billing period that contains it.

    A run that an operator or another DAG requested at 17:59 belongs to the period that ends at 18:00, even if its first
    task begins later. Runs with a logical date (scheduled, back-filled, ``dags test``) carry a chosen date: for them
    the moment is now.
    """
    return min(dag_run.run_after, now) if dag_run.logical_date is None else now


def is_active(dag_id: str, dag_run_id: str) -> bool:
    """Return True while a DAG run is queued or running in Airflow; False for one that has ended or was deleted."""
    count = get_current_context()["ti"].get_dr_count(dag_id=dag_id, run_ids=[dag_run_id], states=["queued", "running"])
    return bool(count)


def exists(dag_id: str, dag_run_id: str) -> bool:
    """Return True while Airflow has a DAG run, whatever its state; False for one that was deleted."""
    return bool(get_current_context()["ti"].get_dr_count(dag_id=dag_id, run_ids=[dag_run_id]))


def is_trial(work: Any) -> bool:
    """Return True for ``airflow tasks test``: one task runs alone, so it opens no session and sends AMOP nothing.

    Args:
        work: a DAG run or a task instance.
    """
    return str(work.run_id).startswith(TRIAL_RUN_PREFIX)


def refuse_map_index(context: Any) -> None:
    """Refuse a map index for a task that is not mapped: ``airflow tasks test --map-index`` runs the task all the same.

    Raises:
        AirflowFailException: there is a map index.
    """
    ti = context["ti"]
    if ti.map_index >= 0:
        raise AirflowFailException(
            f"{ti.task_id} is not mapped, so it has no map index {ti.map_index}: repeat the command without --map-index"
        )


def run_address(dag_run: Any) -> str:
    """Return the address of a run in Airflow's UI."""
    return f"{airflow_address()}/dags/{dag_run.dag_id}/runs/{quote(dag_run.run_id)}"


def airflow_address() -> str:
    """Return the address of Airflow's UI, without a trailing slash."""
    return str(conf.get("api", "base_url", fallback="http://localhost:8080/")).rstrip("/")
