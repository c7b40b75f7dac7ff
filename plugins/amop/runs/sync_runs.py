"""Load, claim and end device sync runs."""

from __future__ import annotations

import logging
from datetime import datetime

import psycopg

from amop.database.connection import WarehouseConnection
from amop.foreign_text import storable_error
from amop.runs import store
from amop.runs.errors import PipelineError, StepMissingError, SyncRunEndedError
from amop.runs.sessions import fail_session
from amop.runs.store.sync_runs import NewerRun, SyncRun

log = logging.getLogger(__name__)

NO_RUN = 0
"""Id in place of that of a run that could not even be refused; the provider's tasks fail."""


class SyncBusyError(RuntimeError):
    """Another process is reading the same run from the carrier; try again later."""


def newer_merged_run(connection: WarehouseConnection, run: SyncRun) -> NewerRun | None:
    """Return a run of the same provider that was opened later and has merged, None if there is none.

    The order is that of the ids, which no clock of a worker can change.
    """
    return store.sync_runs.newer_merged_run(connection, service_provider_id=run.service_provider_id, run_id=run.id)


def outdated_text(run: SyncRun, newer: NewerRun) -> str:
    """Return the sentence that explains why a run must not merge any more."""
    return (
        f"{run.label}, run {run.id} began at {run.started_at:%Y-%m-%d %H:%M:%S} UTC; run {newer.id} "
        f"({newer.dag_run_id}) began at {newer.started_at:%Y-%m-%d %H:%M:%S} UTC and has merged. Nothing older "
        "overwrites anything newer: trigger a new run instead"
    )


def load_run(connection: WarehouseConnection, run_id: int) -> SyncRun:
    """Return the run with its provider and billing period.

    Raises:
        PipelineError: there is no such run.
    """
    run = store.sync_runs.find_run(connection, run_id=run_id)
    if run_id == NO_RUN:
        raise PipelineError("no run could be opened for this provider; the log of select_providers says why")
    if run is None:
        raise PipelineError(f"device_sync_run {run_id} does not exist")
    return run


def require_running(run: SyncRun) -> SyncRun:
    """Return the run if it is running.

    Raises:
        SyncRunEndedError: it has ended; the message carries the error that ended it.
    """
    if not run.is_running:
        raise SyncRunEndedError(
            f"{run.label}: run {run.id} is {run.status}"
            + (f": {run.error}" if run.error else "")
            + ("; nothing is left to do, trigger a new run for newer data" if run.is_complete else "")
        )
    return run


def require_step(run: SyncRun, task_id: str, *, is_done: bool) -> None:
    """Check that an earlier step of the run has done its work.

    Raises:
        StepMissingError: it has not; its task was marked as success.
    """
    if not is_done:
        raise StepMissingError(
            f"{run.label}: {task_id} of run {run.id} has not done its work, although a later task has started (an "
            f"operator marked it as success). Clear {task_id} with downstream tasks: the run resumes there"
        )


def running_run(connection: WarehouseConnection, run_id: int) -> SyncRun:
    """Return the run, which must be running.

    Raises:
        SyncRunEndedError: it has ended; the message carries the error that ended it.
    """
    return require_running(load_run(connection, run_id))


def claim_run(connection: WarehouseConnection, run: SyncRun) -> SyncRun | None:
    """Return the running run, reserved for carrier reads by this database session until it ends.

    The process of an earlier try (its scheduler was killed, its machine was disconnected) may still be reading when the
    next try begins: the next try waits for it to end, and resumes where it stopped. None if the run is complete by
    then: the clean-up waits for the rows, not for the task, so nothing is left to do. Commits the transaction.

    Raises:
        SyncBusyError: the other process works for longer than `amop.time_limits.LOCK`.
        SyncRunEndedError: the run has failed or was refused.
    """
    if run.is_complete:
        log.info("Run %s is complete: another process has finished the work of this task", run.id)
        return None
    require_running(run)
    try:
        store.sync_runs.lock_run_reads(connection, run_id=run.id)
    except psycopg.errors.LockNotAvailable:
        raise SyncBusyError(
            f"{run.label}, run {run.id}: another process is still reading this run from the carrier (pg_stat_activity "
            "shows it as amop fetch_devices or amop fetch_usage); nothing is read twice, this task tries again and "
            "resumes where that one stops"
        ) from None
    connection.commit()
    # Loaded again: the other process may have changed the run while this one waited for the lock.
    run = load_run(connection, run.id)
    return None if run.is_complete else require_running(run)


def record_progress(connection: WarehouseConnection, run_id: int, *, pages: int, now: datetime) -> None:
    """Record that the run has made progress and count its pages, in the transaction that staged something.

    Raises:
        SyncRunEndedError: the run has ended meanwhile; the transaction must not commit.
    """
    if not store.sync_runs.set_progress_of_run(connection, run_id=run_id, pages=pages, now=now):
        running_run(connection, run_id)
        raise SyncRunEndedError(f"run {run_id} has ended meanwhile")


def end_run(
    connection: WarehouseConnection, run_id: int, status: str, error: str | None, *, now: datetime | None = None
) -> None:
    """End a running run; a failed or refused one ends its session too, with one ErrorMessage to AMOP.

    ``now`` None is the database's clock.
    """
    text = None if error is None else storable_error(error)
    ended = store.sync_runs.end_run(connection, run_id=run_id, status=status, error=text, now=now)
    if ended and status in {"failed", "refused"} and ended.optimization_session_id is not None:
        fail_session(connection, ended.optimization_session_id, text or f"device sync run {run_id} {status}", now=now)
