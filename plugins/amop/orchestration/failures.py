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

from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierRequestError,
    CarrierWriteForbiddenError,
)
from amop.orchestration.connections import deliver_session_messages, warehouse_conninfo
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
    PipelineError,
    SessionAlreadyRunningError,
    SessionEndedError,
)
"""Errors that the next try would meet again: the task fails at once."""


@contextmanager
def recorded_failure(*, sync_run_id: int | None = None, session_id: int | None = None) -> Iterator[None]:
    """Run a task's work; on its final failure end the sync run and its session, with one ErrorMessage to AMOP.

    Raises:
        AirflowFailException: the error is of a kind that trying again does not cure.
    """
    try:
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
    """Return whether the running task has no retry left."""
    task_instance = get_current_context()["ti"]
    return bool(task_instance.try_number > task_instance.max_tries)
