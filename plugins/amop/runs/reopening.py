"""Reopen an ended sync run whose task an operator cleared: it resumes where its ledger stands.

Airflow counts the clears of a DAG run. A run remembers the count that its tasks last saw; a higher one means that an
operator has cleared a task since. A task that Airflow repeats on its own never reopens a run that ended meanwhile.
"""

from __future__ import annotations

import logging
from datetime import datetime

import psycopg

from amop import ids
from amop.database.connection import WarehouseConnection, transaction
from amop.messages.undelivered_reports import record_missed_notification
from amop.runs import store
from amop.runs.errors import SyncRunEndedError
from amop.runs.opening import held_text, session_opener
from amop.runs.sessions import SessionAlreadyRunningError, advance_session, open_session
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import load_run, newer_merged_run, outdated_text, require_running

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop resume_run"

QUEUED_PROGRESS = 20
"""Percent of a session whose sync is queued."""


def resume_run(
    conninfo: str, run_id: int, *, clear_number: int, may_reopen: bool = True, now: datetime
) -> SyncRun | None:
    """Return the run for a task that works on it; None if it is complete: nothing is left to do.

    A failed run is reopened if its DAG run was cleared since, and so is one that a guard refused before the merge: the
    guard judges again. It keeps its staging and its work rows. If its session has failed, it gets a new one (AMOP 0 and
    20 %): after an ErrorMessage nothing more may follow.

    Args:
        conninfo: libpq connection string of the warehouse.
        run_id: the run.
        clear_number: number of times that the DAG run was cleared, from Airflow.
        may_reopen: False for a task that Airflow repeats on its own.
        now: the moment, aware.

    Raises:
        SyncRunEndedError: the run has ended and may not be reopened; the message says why and what to do.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        # First, because it waits for another task of the run that reopens it at this moment.
        is_cleared = (
            may_reopen and store.sync_runs.note_clear_number(connection, run_id=run_id, clear_number=clear_number) == 1
        )
        run = load_run(connection, run_id)
        if run.is_complete:
            log.info("%s: run %s is already complete, nothing to do", run.label, run_id)
            return None
        if run.is_running or not is_cleared:
            return require_running(run)
        return _reopen(connection, run, now)


def replace_session_of_complete_run(conninfo: str, run_id: int, *, clear_number: int, now: datetime) -> None:
    """Open a new session for a complete run whose session has failed, because an operator cleared its optimization.

    Nothing changes if the provider has a later session or newer data: that one is then to be optimized.

    Args:
        conninfo: libpq connection string of the warehouse.
        run_id: the run.
        clear_number: number of times that the DAG run was cleared, from Airflow.
        now: the moment, aware.
    """
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        run = load_run(connection, run_id)
        if not run.is_complete or run.optimization_session_id is None:
            return
        failed = store.sessions.failed_session(connection, session_id=run.optimization_session_id)
        if failed is None or not failed.is_latest or newer_merged_run(connection, run) is not None:
            return
        # No attempt of the run had this number: a complete run is not reopened.
        _replace_failed_session(connection, run, run.attempt + clear_number, now)


def _reopen(connection: WarehouseConnection, run: SyncRun, now: datetime) -> SyncRun:
    refusal = _reason_not_to_reopen(connection, run)
    if refusal is not None:
        raise SyncRunEndedError(refusal)
    try:
        with connection.transaction():
            store.sync_runs.set_run_reopened(connection, run_id=run.id, now=now)
    except psycopg.errors.UniqueViolation:
        holder = store.sync_runs.run_holding_provider(connection, service_provider_id=run.service_provider_id)
        raise SyncRunEndedError(held_text(run.service_provider_id, run.service_provider_name, holder)) from None
    reopened = require_running(load_run(connection, run.id))
    if run.dag_id != ids.DEVICE_NOTIFICATION_DAG:  # the existing system has sent that message itself
        record_missed_notification(connection, run.id, now=now)
    _replace_failed_session(connection, reopened, reopened.attempt, now)
    log.info("%s: run %s is resumed where its ledger stands, attempt %s", run.label, run.id, reopened.attempt)
    return load_run(connection, run.id)


def _reason_not_to_reopen(connection: WarehouseConnection, run: SyncRun) -> str | None:
    """Return why an ended run must not be reopened, with what to do instead; None if it may."""
    newer = newer_merged_run(connection, run)
    if newer is not None:
        return outdated_text(run, newer)
    ended = f"{run.label}: run {run.id} is {run.status}: {run.error}"
    if run.staging_removed_at is not None:
        return ended
    if run.status == "refused" and run.pages == 0:
        return f"{ended}; it has read nothing, so clear select_providers with downstream tasks, or trigger a new run"
    return None


def _replace_failed_session(connection: WarehouseConnection, run: SyncRun, number: int, now: datetime) -> None:
    """Open the session of this number for a run whose session has failed, at 20 %."""
    session_id = run.optimization_session_id
    if session_id is None or store.sessions.session_status(connection, session_id=session_id) != "failed":
        return
    try:
        with connection.transaction():
            session = open_session(
                connection,
                service_provider_id=run.service_provider_id,
                billing_period_id=run.billing_period_id,
                opened_by=session_opener(run.dag_id, run.dag_run_id, number),
                now=now,
            )
    except SessionAlreadyRunningError as error:
        # The sync itself is useful; only a second optimization beside the first is not.
        log.warning("The resumed run will not optimize: %s", error)
        return
    store.sync_runs.attach_session(connection, run_id=run.id, optimization_session_id=session.id)
    if session.is_running:
        advance_session(connection, session.id, QUEUED_PROGRESS, now=now)
