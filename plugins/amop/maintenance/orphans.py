"""End runs and sessions whose DAG run has ended in Airflow: an operator marked or deleted it, or a task was lost.

The watchdog calls this every time; without it such a run would hold its provider until its heartbeat is stale. It also
records which DAG runs were deleted: nothing of them can be cleared, so that a new run is the only way on.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta

from amop import ids
from amop.database.connection import transaction
from amop.maintenance.store import watchdog as store
from amop.maintenance.store.watchdog import OpenSession, RunningRun, UnfinishedSession
from amop.runs.sessions import end_instance_of_failed_session, fail_session
from amop.runs.sync_runs import end_run, load_run
from amop.runs.take_over import IsActive

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop watchdog"

OUR_DAGS = (ids.device_sync_dag(""), ids.carrier_optimization_dag(""))
"""Only these DAGs open sessions; what else opened one is not known to Airflow."""

SUPERSEDED_LATELY = timedelta(days=7)
"""Airflow is asked for this long about the DAG runs of superseded sessions."""

LONGEST_WRITE = timedelta(minutes=10)
"""Any call of a carrier has ended by then."""

MOST_QUESTIONS = 100
"""Failed runs, and sessions, that Airflow is asked about in one check; the latest come first."""


def end_orphans(conninfo: str, *, now: datetime, is_active: IsActive) -> list[str]:
    """End the running runs and sessions whose DAG runs are not active, each with one ErrorMessage; return the errors.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: the moment of this check, aware.
        is_active: asked about DAG runs, without an open transaction.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        runs = store.running_runs(connection, existing_system_dag_id=ids.DEVICE_NOTIFICATION_DAG)
    errors = [_end_run(conninfo, run, now) for run in runs if not is_active(run.dag_id, run.dag_run_id)]
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        sessions = store.open_sessions(connection)
    errors += [_end_session(conninfo, session, now) for session in sessions if _is_orphan(session, is_active)]
    return [error for error in errors if error is not None]


def record_deleted_dag_runs(conninfo: str, *, now: datetime, exists: IsActive) -> int:
    """Record the failed runs and unfinished sessions whose DAG runs were deleted in Airflow; return their number.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: the moment of this check, aware.
        exists: asked about DAG runs, whatever their state, without an open transaction.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        runs = store.failed_runs(
            connection, existing_system_dag_id=ids.DEVICE_NOTIFICATION_DAG, row_limit=MOST_QUESTIONS
        )
        sessions = store.unfinished_sessions(
            connection, superseded_since=now - SUPERSEDED_LATELY, row_limit=MOST_QUESTIONS
        )
    deleted_runs = [run.id for run in runs if not exists(run.dag_id, run.dag_run_id)]
    deleted_sessions = [
        session.id
        for session in sessions
        if session.opened_by.startswith(OUR_DAGS)
        and not any(exists(*dag_run) for dag_run in _dag_runs_with_the_rest_of(session))
    ]
    if deleted_runs or deleted_sessions:
        with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
            for run_id in deleted_runs:
                store.mark_run_deleted(connection, run_id=run_id, now=now)
            for session_id in deleted_sessions:
                store.mark_session_deleted(connection, session_id=session_id, now=now)
    return len(deleted_runs) + len(deleted_sessions)


def record_lost_changes(conninfo: str, *, now: datetime, is_active: IsActive) -> int:
    """Record the plan changes whose DAG run has ended before they were answered or sent; return their number.

    A task that waits for an approval, or that applies the changes, can be marked in Airflow. Then its request cannot be
    answered, or nothing sends the rest, until the task is cleared; those that wait or are sent again count, too.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: the moment of this check, aware.
        is_active: asked about DAG runs, without an open transaction.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        waiting = store.waiting_approvals(connection)
        approved = store.sessions_to_apply(connection)
    found = [(each, store.set_approval_lost) for each in waiting] + [
        (each, store.set_applying_lost) for each in approved
    ]
    changed = 0
    for session, set_lost in found:
        dag_runs = _optimizations_of(session.id, session.integration, session.opened_by)
        is_lost = bool(dag_runs) and not any(is_active(*dag_run) for dag_run in dag_runs)
        if is_lost != session.is_lost:
            with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
                set_lost(connection, session_id=session.id, lost_at=now if is_lost else None)
            changed += 1
    return changed


def settle_superseded_changes(conninfo: str) -> int:
    """Settle the plan changes of superseded sessions that were sent and have no outcome; return their number.

    No task asks the carrier for them any more. The first list that was begun after the write has the SIM's plan.

    Args:
        conninfo: libpq connection string of the warehouse.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        return store.settle_superseded_changes(connection, longest_write=LONGEST_WRITE)


def _dag_runs_of(session_id: int, integration: str, opened_by: str) -> list[tuple[str, str]]:
    """Return the DAG run that opened a session and that of its optimization."""
    dag_id, _, run_id = opened_by.partition("/")
    optimization = ids.carrier_optimization_dag(integration), ids.optimization_run_id(session_id)
    return sorted({(dag_id, re.sub(r"#\d+$", "", run_id)), optimization})


def _optimizations_of(session_id: int, integration: str, opened_by: str) -> list[tuple[str, str]]:
    """Return the DAG runs that may optimize a session; none where another system opened it."""
    if not opened_by.startswith(OUR_DAGS):
        return []
    dag_id = ids.carrier_optimization_dag(integration)
    return [dag_run for dag_run in _dag_runs_of(session_id, integration, opened_by) if dag_run[0] == dag_id]


def _dag_runs_with_the_rest_of(session: UnfinishedSession) -> list[tuple[str, str]]:
    """Return the DAG runs whose tasks can finish a session: once its optimization has begun, only that one."""
    find = _optimizations_of if session.has_instance else _dag_runs_of
    return find(session.id, session.integration, session.opened_by)


def _end_run(conninfo: str, run: RunningRun, now: datetime) -> str | None:
    text = (
        f"Device sync run {run.id} of {run.service_provider_name} ({run.service_provider_id}) was not complete when "
        f"run {run.dag_run_id} of {run.dag_id} ended in Airflow: it was marked, deleted, or cleared in part. `bin/amop "
        f"runs resume {run.id}` resumes it where its ledger stands, while Airflow has that run; or trigger a new run"
    )
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        present = load_run(connection, run.id)
        if not present.is_running or (present.attempt, present.dag_run_id) != (run.attempt, run.dag_run_id):
            return None  # it was resumed or completed meanwhile
        end_run(connection, run.id, "failed", text, now=now)
    return text


def _is_orphan(session: OpenSession, is_active: IsActive) -> bool:
    """Return True if neither the DAG run that opened the session, nor that of its sync or optimization, is active."""
    if not session.opened_by.startswith(OUR_DAGS):
        return False
    dag_runs = set(_dag_runs_of(session.id, session.integration, session.opened_by))
    if session.sync_dag_id is not None and session.sync_dag_run_id is not None:
        dag_runs.add((session.sync_dag_id, session.sync_dag_run_id))
    return not any(is_active(*dag_run) for dag_run in sorted(dag_runs))


def _end_session(conninfo: str, session: OpenSession, now: datetime) -> str | None:
    text = (
        f"Optimization session {session.id} of {session.service_provider_name} ({session.service_provider_id}) was at "
        f"{session.progress} % when its DAG run ended in Airflow: it was marked or deleted, or did not start. It was "
        f"opened by {session.opened_by}; clear that run, or start the provider again"
    )
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        has_ended = fail_session(connection, session.id, text, now=now)
    end_instance_of_failed_session(conninfo, session.id, now=now)
    return text if has_ended else None
