"""What an operator does to runs and sessions from the command line: list them, resume, end or cancel one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from amop import ids
from amop.database.connection import transaction
from amop.maintenance.store import status as store
from amop.maintenance.store.status import ListedRun, ListedSession
from amop.runs.first_step import new_sync
from amop.runs.sessions import cancel_session as cancel
from amop.runs.sync_runs import end_run as end

APPLICATION_NAME = "amop cli"

SYNC_TASKS = (
    "sync.queue_sync",
    "sync.fetch_devices",
    ids.FETCH_USAGE_TASK,
    "sync.publish_notification",
    "sync.archive_pages",
)
CLEANUP_TASKS = (
    ids.WAIT_FOR_STAGING_TASK,
    "cleanup.merge_devices",
    "cleanup.merge_usage",
    "cleanup.update_communication_plans",
    "cleanup.check_quality",
    "cleanup.publish_summary",
    "cleanup.notify_amop",
)
OPTIMIZATION_TASKS = ("cleanup.should_optimize", "cleanup.trigger_optimization")


class OperationError(RuntimeError):
    """The run or session does not exist, or is in a state that admits no such command; the message says what to do."""


class UnknownIdError(OperationError):
    """The warehouse has no row with an id that the command names."""


class DagRunDeletedError(OperationError):
    """Airflow no longer has the DAG run, so that nothing of it can be cleared."""

    def __init__(self, run: ListedRun) -> None:
        super().__init__(
            f"run {run.id} of {run.service_provider} ({run.service_provider_id}) cannot be resumed: run "
            f"{run.dag_run_id} of {run.dag_id} was deleted in Airflow. Trigger a new run: "
            f"{new_sync(run.dag_id, run.service_provider_id)}"
        )


@dataclass(frozen=True, slots=True)
class Resumption:
    """The tasks that resume a run, all of one provider's group in its DAG run."""

    run: ListedRun
    tasks: tuple[str, ...]
    """Empty where the run is complete."""


def list_runs(conninfo: str, *, service_provider_id: int | None, limit: int) -> list[ListedRun]:
    """Return device sync runs, newest first."""
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        return store.list_runs(connection, run_id=None, service_provider_id=service_provider_id, row_limit=limit)


def find_run(conninfo: str, run_id: int) -> ListedRun:
    """Return one device sync run.

    Raises:
        UnknownIdError: there is no such run.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        found = store.list_runs(connection, run_id=run_id, service_provider_id=None, row_limit=1)
    if not found:
        raise UnknownIdError(f"no such device sync run: {run_id}; see `bin/amop runs list`")
    return found[0]


def plan_resumption(run: ListedRun) -> Resumption:
    """Return the tasks from the first one whose work is missing in the run's ledger.

    Raises:
        OperationError: the run is running, or cannot be resumed.
    """
    label = f"run {run.id} of {run.service_provider} ({run.service_provider_id})"
    if run.status == "complete":
        return Resumption(run, ())
    if run.status == "running":
        raise OperationError(
            f"{label} is running, alive at {run.alive_at:%Y-%m-%d %H:%M:%S} UTC; nothing is to be resumed. If its "
            f"process is gone, `bin/amop runs end {run.id}` ends it first"
        )
    if run.is_deleted:
        raise DagRunDeletedError(run)
    if run.staging_removed_at is not None:
        raise OperationError(f"{label} cannot be resumed: its staging has expired. Trigger a new run")
    if run.newer_merged_run_id is not None:
        raise OperationError(
            f"{label} cannot be resumed: run {run.newer_merged_run_id} was opened later and has merged, and nothing "
            "older overwrites anything newer. Trigger a new run"
        )
    if run.dag_id == ids.DEVICE_NOTIFICATION_DAG:
        raise OperationError(
            f"{label} was staged by the existing system: correct its staging (`bin/amop messages check {run.id}`), "
            "then clear cleanup.wait_for_staging of its DAG run with downstream tasks"
        )
    if run.status == "refused" and run.pages == 0:
        raise OperationError(f"{label} was refused at its start: {run.error}. Trigger a new run")
    after = CLEANUP_TASKS + (OPTIMIZATION_TASKS if run.supports_optimization else ())
    if run.usage_merged_at is not None:
        return Resumption(run, after[after.index("cleanup.update_communication_plans") :])
    if run.devices_merged_at is not None:
        return Resumption(run, after[after.index("cleanup.merge_usage") :])
    if run.list_is_complete and run.work_rows_left == 0:
        return Resumption(run, after)
    first = ids.FETCH_USAGE_TASK if run.list_is_complete else "sync.fetch_devices" if run.pages else "sync.queue_sync"
    return Resumption(run, SYNC_TASKS[SYNC_TASKS.index(first) :] + after)


def end_run(conninfo: str, run_id: int, reason: str, *, now: datetime | None = None) -> ListedRun:
    """End a running run as failed, with its session and one ErrorMessage to AMOP; its provider is free.

    Raises:
        OperationError: there is no such run, or it has ended.
    """
    run = find_run(conninfo, run_id)
    if run.status != "running":
        raise OperationError(f"run {run_id} has ended already: it is {run.status}")
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        end(connection, run_id, "failed", reason, now=now)
    return find_run(conninfo, run_id)


def list_sessions(conninfo: str, *, service_provider_id: int | None, limit: int) -> list[ListedSession]:
    """Return optimization sessions, newest first."""
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        return store.list_sessions(
            connection, session_id=None, service_provider_id=service_provider_id, row_limit=limit
        )


def find_session(conninfo: str, session_id: int) -> ListedSession:
    """Return one optimization session.

    Raises:
        UnknownIdError: there is no such session.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        found = store.list_sessions(connection, session_id=session_id, service_provider_id=None, row_limit=1)
    if not found:
        raise UnknownIdError(f"no such optimization session: {session_id}; see `bin/amop sessions list`")
    return found[0]


def cancel_session(conninfo: str, session_id: int, reason: str) -> ListedSession:
    """Cancel a running session, with its instance and one ErrorMessage to AMOP.

    Raises:
        OperationError: there is no such session, or it has ended.
    """
    session = find_session(conninfo, session_id)
    if not cancel(conninfo, session_id, reason):
        raise OperationError(f"session {session_id} has ended already: it is {session.status}")
    return find_session(conninfo, session_id)
