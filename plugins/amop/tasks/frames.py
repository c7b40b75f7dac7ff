"""The frames of the tasks: what a task of a sync run, or of a session, has besides its one line of work.

A frame turns a function of a `SyncWork` or a `SessionWork` into a TaskFlow task. It resolves the warehouse, sends
heartbeats, records a final failure in run and session, delivers the session's messages, names the mapped instance
after its provider and sets the time limit. Retries by kind of failure come from the DAG's ``default_args``
(`amop.tasks.retries.RETRIES`)::

    @sync_task(limit=time_limits.TASK)
    def check_quality(work: SyncWork) -> dict[str, int]:
        \"\"\"Prove that SIMs listed = SIMs merged + SIMs quarantined.\"\"\"
        return quality.check_quality(work.conninfo, work.run_id)

    check_quality(run=run)
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NotRequired, TypedDict

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowTaskTimeout

from amop.runs.sessions import session_is_complete
from amop.tasks.connections import deliver_session_messages, warehouse_conninfo, warehouse_now
from amop.tasks.failures import recorded_failure
from amop.tasks.reopening import is_left_to_do

log = logging.getLogger(__name__)

PROVIDER_LABEL = "{{ task.op_kwargs['run']['service_provider_name'] }}"
"""Label of a mapped task in the grid: its provider's name."""


class ProviderRun(TypedDict):
    """One provider's part of a DAG run, as ``select_providers`` hands it to the mapped tasks through XCom."""

    run_id: int
    service_provider_id: int
    service_provider_name: str
    connection_id: str
    optimization_session_id: int | None
    wait: NotRequired[dict[str, int | None]]
    """Limits of the wait that a queue message asks for, by the names of the DAG's params."""


class InstanceOfSession(TypedDict):
    """An optimization instance and its session, as ``open_instance`` hands them on through XCom."""

    instance_id: int
    session_id: int


class TriggeredRun(TypedDict):
    """Run id and conf of a DAG run to trigger."""

    trigger_run_id: str
    trigger_dag_id: str
    conf: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SyncWork:
    """What a task of a sync run works on."""

    conninfo: str
    """libpq connection string of the warehouse."""
    run: ProviderRun
    now: datetime
    """When the task began, by the warehouse's clock."""

    @property
    def run_id(self) -> int:
        """Id of the sync run."""
        return self.run["run_id"]


@dataclass(frozen=True, slots=True)
class SessionWork:
    """What a task of an optimization session works on."""

    conninfo: str
    """libpq connection string of the warehouse."""
    instance_id: int
    session_id: int
    now: datetime
    """When the task began, by the warehouse's clock."""


def sync_task(
    *, limit: timedelta, resumes: bool = True, completes: bool = False, **arguments: Any
) -> Callable[[Callable[..., Any]], Any]:
    """Turn a function of a `SyncWork` into a task of a `ProviderRun`, its parameter ``run``.

    A final failure ends the sync run and its session, with one ErrorMessage to AMOP. A task that an operator cleared
    resumes its ended run; where the run is complete, it succeeds without calling the function.

    Args:
        limit: longest time of one try.
        resumes: False for a task that works on complete runs.
        completes: True for the task that completes the run: it is also called for a complete run, because it may have
            been killed between the completion and the rest of its work.
        **arguments: more arguments of the task.
    """

    def frame(function: Callable[..., Any]) -> Any:
        def in_frame(run: ProviderRun, **more: Any) -> Any:
            with recorded_failure(sync_run_id=run["run_id"]):
                if resumes and not is_left_to_do(run["run_id"], get_current_context()) and not completes:
                    return None
                return function(SyncWork(warehouse_conninfo(), run, warehouse_now()), **more)

        return task(map_index_template=PROVIDER_LABEL, execution_timeout=limit, **arguments)(
            _named_after(function, in_frame, "run")
        )

    return frame


def session_task(*, limit: timedelta, resumes: bool = True, **arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Turn a function of a `SessionWork` into a task of an `InstanceOfSession`, its parameter ``instance``.

    A final failure ends session and instance with errors, with one ErrorMessage to AMOP. The session's messages are
    delivered when the function returns. Where the instance is complete, the task succeeds without calling the function.

    Args:
        limit: longest time of one try.
        resumes: False for a task that works on complete instances.
        **arguments: more arguments of the task.
    """

    def frame(function: Callable[..., Any]) -> Any:
        def in_frame(instance: InstanceOfSession, **more: Any) -> Any:
            session_id = instance["session_id"]
            try:
                with recorded_failure(session_id=session_id):
                    if resumes and session_is_complete(warehouse_conninfo(), session_id):
                        return None
                    work = SessionWork(warehouse_conninfo(), instance["instance_id"], session_id, warehouse_now())
                    result = function(work, **more)
            except (Exception, AirflowTaskTimeout):
                _end_instance(session_id)
                raise
            deliver_session_messages(session_id)
            return result

        return task(execution_timeout=limit, **arguments)(_named_after(function, in_frame, "instance"))

    return frame


def _end_instance(session_id: int) -> None:
    """End the instance if its session has failed; the original error stays the one that is reported."""
    from amop.runs.sessions import end_instance_of_failed_session

    try:
        end_instance_of_failed_session(warehouse_conninfo(), session_id)
    except Exception:
        log.exception("The instance of failed session %s could not be ended", session_id)


def _named_after(function: Callable[..., Any], in_frame: Callable[..., Any], first: str) -> Callable[..., Any]:
    """Give the framed function the name, docstring and parameters of the inner one, with ``first`` as the first."""
    in_frame.__name__, in_frame.__qualname__ = function.__name__, function.__qualname__
    in_frame.__module__, in_frame.__doc__ = function.__module__, function.__doc__
    _, *others = inspect.signature(function).parameters.values()
    parameters = [inspect.Parameter(first, inspect.Parameter.POSITIONAL_OR_KEYWORD), *others]
    in_frame.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return in_frame
