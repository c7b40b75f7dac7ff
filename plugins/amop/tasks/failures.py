"""Record the final failure of a task in the run and the session, once, and report it to AMOP."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, AirflowTaskTimeout

from amop.database.connection import transaction
from amop.foreign_text import storable_error
from amop.runs.errors import MergeRefusedError
from amop.runs.first_step import first_step
from amop.runs.sessions import fail_session
from amop.runs.sync_runs import end_run, load_run
from amop.tasks.connections import deliver_session_messages, warehouse_conninfo
from amop.tasks.heartbeat import heartbeat
from amop.tasks.retries import FINAL_ERRORS

log = logging.getLogger(__name__)


@contextmanager
def recorded_failure(*, sync_run_id: int | None = None, session_id: int | None = None) -> Iterator[None]:
    """Run the body with a heartbeat; on its final failure end run and session, with one ErrorMessage to AMOP."""
    alive = sync_run_id is not None or session_id is not None
    try:
        with (
            heartbeat(warehouse_conninfo(), sync_run_id=sync_run_id, session_id=session_id) if alive else nullcontext()
        ):
            yield
    except (AirflowSkipException, AirflowRescheduleException):
        raise
    except (Exception, AirflowTaskTimeout) as error:
        if is_final(error):
            record_failure(error, sync_run_id=sync_run_id, session_id=session_id)
        raise


def record_failure(error: BaseException, *, sync_run_id: int | None = None, session_id: int | None = None) -> None:
    """Write a final failure into the tables and report it to AMOP; repeated calls change nothing. Never raises.

    If the error's own text cannot be recorded, a sentence with the type of the error takes its place.
    """
    cause = storable_error(error) or type(error).__name__
    log.error("Cause: %s", cause.replace("\n", " "))
    log.error("What to do first: %s", first_step(cause, of_session=session_id is not None))
    status = "refused" if isinstance(error, MergeRefusedError) else "failed"
    instead = f"{type(error).__name__}; its text could not be recorded, see the log of the task"
    for text in (cause, instead):
        try:
            session_id = _end(text, status, sync_run_id, session_id)
        except Exception:  # the original error must reach the log and the UI whatever happens here
            log.exception("The failure could not be recorded in the warehouse")
        else:
            deliver_session_messages(session_id)
            return


def _end(text: str, status: str, sync_run_id: int | None, session_id: int | None) -> int | None:
    """End the run, or else the session; return the id of the session that has a message for AMOP."""
    with transaction(warehouse_conninfo(), application_name="amop record_failure") as connection:
        if sync_run_id is not None:
            session_id = load_run(connection, sync_run_id).optimization_session_id or session_id
            end_run(connection, sync_run_id, status, text)
        elif session_id is not None:
            fail_session(connection, session_id, text)
    return session_id


def is_final(error: BaseException) -> bool:
    """Return True if the current task is not tried again after this error."""
    return isinstance(error, FINAL_ERRORS) or is_last_try()


def is_last_try() -> bool:
    """Return True if the current task is not tried again after this try."""
    task_instance = get_current_context()["ti"]
    return bool(task_instance.try_number > task_instance.max_tries)
