"""Retries by kind of failure: an error that the next try would meet again fails the task at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from amop.archive.page_archive import ArchiveError
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierFormatError,
    CarrierRequestError,
    CarrierWriteForbiddenError,
)
from amop.runs.errors import PipelineError
from amop.runs.sessions import SessionAlreadyRunningError, SessionEndedError
from amop.tasks.task_failed import TaskFailed

FINAL_ERRORS = (
    AirflowFailException,
    AirflowNotFoundException,
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierFormatError,
    CarrierRequestError,
    CarrierWriteForbiddenError,
    ArchiveError,
    PipelineError,
    SessionAlreadyRunningError,
    SessionEndedError,
)
"""Errors that the next try would meet again."""

RETRIES: dict[str, Any] = {
    "on_failure_callback": [TaskFailed()],  # a list: Airflow does not make one of it for a mapped task that fails early
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=list(FINAL_ERRORS),
                action=RetryAction.FAIL,
                reason="The next try would meet the same error",
            )
        ]
    ),
}
"""``default_args`` of every DAG: three retries for passing faults, none for the errors above; then a notification."""
