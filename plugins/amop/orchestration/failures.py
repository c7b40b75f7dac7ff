"""What happens to a run and its session when a task fails for good: the truth goes into the tables, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from amop import time_limits
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from amop.carriers.page_archive import ArchiveError
from amop.orchestration.connections import deliver_session_messages, warehouse_conninfo
from amop.orchestration.heartbeat import heartbeat
from amop.pipeline.errors import MergeRefusedError, PipelineError
from amop.pipeline.sync_runs import end_run, load_run
from amop.warehouse.connection import transaction
from amop.warehouse.sessions import SessionAlreadyRunningError, SessionEndedError, fail_session

log = logging.getLogger(__name__)

FINAL_ERRORS = (
    AirflowFailException,
    AirflowNotFoundException,
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierRequestError,
    CarrierWriteForbiddenError,
    ArchiveError,
    PipelineError,
    SessionAlreadyRunningError,
    SessionEndedError,
)
"""Errors that the next try would meet again: the task fails at once."""


@contextmanager
def patience_with_carrier(sync_run_id: int) -> Iterator[None]:
    """Run a task's calls; while the carrier is away the task gives its slot back until the next call is due.

    Raises:
        AirflowRescheduleException: the carrier is away; the task runs again when its circuit lets a call through.
        AirflowFailException: it has been away for too long.
    """
    try:
        yield
    except CarrierUnavailableError as error:
        if error.retry_at is None:
            raise
        with transaction(warehouse_conninfo(), application_name="amop patience_with_carrier") as connection:
            moved_at = load_run(connection, sync_run_id)["progress_at"]
        if error.retry_at - moved_at > time_limits.CARRIER_OUTAGE:
            raise AirflowFailException(
                f"{error}. The run has not moved since {moved_at:%Y-%m-%d %H:%M:%S} UTC and is given up; clear this "
                "task when the carrier is back: it goes on where it stopped"
            ) from error
        log.warning("%s. The task goes on at %s", error, error.retry_at)
        raise AirflowRescheduleException(error.retry_at) from error


def may_reopen_run() -> bool:
    """Return True when an operator started or cleared this task, False when it comes back by itself.

    A run that was ended while its task waited for the carrier, or for its next try, stays ended.
    """
    context = get_current_context()
    task_instance = context["ti"]
    is_first_try = task_instance.max_tries - task_instance.try_number >= context["task"].retries - 1
    return is_first_try and not context.get("task_reschedule_count")


@contextmanager
def recorded_failure(*, sync_run_id: int | None = None, session_id: int | None = None) -> Iterator[None]:
    """Run a task's work, with a heartbeat; on its final failure end run and session, with one ErrorMessage to AMOP.

    Raises:
        AirflowFailException: the error is of a kind that trying again does not cure.
    """
    try:
        if sync_run_id is None and session_id is None:
            yield
        else:
            with heartbeat(warehouse_conninfo(), sync_run_id=sync_run_id, session_id=session_id):
                yield
    except (AirflowSkipException, AirflowRescheduleException):
        raise
    except (Exception, AirflowTaskTimeout) as error:
        is_final = isinstance(error, FINAL_ERRORS)
        if is_final or is_last_try():
            record_failure(error, sync_run_id=sync_run_id, session_id=session_id)
        if is_final and not isinstance(error, AirflowFailException):
            raise AirflowFailException(str(error)) from error
        raise


def record_failure(error: BaseException, *, sync_run_id: int | None = None, session_id: int | None = None) -> None:
    """Write a final failure into the tables and tell AMOP; repeated calls change nothing."""
    text = str(error) or type(error).__name__
    conninfo = warehouse_conninfo()
    try:
        with transaction(conninfo, application_name="amop record_failure") as connection:
            if sync_run_id is not None:
                status = "refused" if isinstance(error, MergeRefusedError) else "failed"
                session_id = load_run(connection, sync_run_id)["optimization_session_id"] or session_id
                end_run(connection, sync_run_id, status, text, now=datetime.now(UTC))
            elif session_id is not None:
                fail_session(connection, session_id, text)
    except Exception:  # the original error must reach the log and the UI whatever happens here
        log.exception("The failure could not be recorded in the warehouse")
        return
    deliver_session_messages(session_id)


def is_last_try() -> bool:
    """Return True if the present task is not tried again after this."""
    task_instance = get_current_context()["ti"]
    return bool(task_instance.try_number > task_instance.max_tries)
