"""Notify operators of a task that has failed for good: ``on_failure_callback`` of every DAG."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from amop import ids
from amop.foreign_text import storable_error
from amop.tasks.dag_runs import is_trial

if TYPE_CHECKING:
    from amop.notifications.rules import Notification

log = logging.getLogger(__name__)

RELAY_TASK = "watch_and_deliver"
"""The one task that sends a message without the warehouse, so that its outage is reported once."""

REACHED_WAREHOUSE = "reached_warehouse"
"""Key of its XCom value in a failed run that had reached the warehouse: the failure was not an outage of it."""


class ReportedFromTablesError(AirflowFailException):
    """A final failure whose events are in the warehouse, where `notify_operators` finds them: no message is written."""


class TaskFailed(BaseNotifier):
    """Notify operators of a task that has failed for good, once for each cause.

    The failure of a task of a sync or of an optimization is in its run or session, which `notify_operators` finds, and
    so are the rejected messages of the queue. All others are written here, and sent by the relay. If the relay itself
    cannot reach the warehouse, the message is sent at once, in the first of its failing runs.
    """

    def notify(self, context: Context) -> None:
        """Write the notification of the context's task. Never raises: the task has its own error."""
        if isinstance(context.get("exception"), ReportedFromTablesError) or is_trial(context["ti"]):
            return
        try:
            _notify(context)
        except (Exception, AirflowTaskTimeout):
            log.warning("The failure could not be written as a notification", exc_info=True)


def _notify(context: Context) -> None:
    import psycopg

    from amop.clock import utc_now
    from amop.notifications.rules import of_failed_task

    ti, error = context["ti"], context.get("exception")
    text = storable_error(error if isinstance(error, BaseException) else str(error or "its process was lost"))
    run = _argument(context["task"], "run")
    provider = str(run.get("service_provider_name", ""))
    notification = of_failed_task(ti.dag_id, ti.run_id, ti.task_id, provider, text, utc_now().date())
    try:
        _write(notification, context, text, run.get("run_id"))
    except psycopg.OperationalError:
        if (ti.dag_id, ti.task_id) != (ids.AMOP_RELAY_DAG, RELAY_TASK) or _failed_before(ti):
            raise
        _send_now(notification)


def _write(notification: Notification, context: Context, error: str, run_id: int | None) -> None:
    from amop.notifications.collect import add_failed_task
    from amop.tasks.connections import warehouse_conninfo, warehouse_now
    from amop.tasks.notifiers import kinds_off, sender

    ti = context["ti"]
    add_failed_task(
        warehouse_conninfo(),
        notification,
        error=error,
        run_id=run_id,
        session_id=_argument(context["task"], "instance").get("session_id"),
        dag_run=(ti.dag_id, ti.run_id),
        now=warehouse_now(),
        is_off=notification.kind in kinds_off() or sender() is None,
    )


def _failed_before(ti: Any) -> bool:
    """Return True if the previous run failed because it could not reach the warehouse: operators were notified then."""
    previous = ti.get_previous_ti()
    if previous is None or str(previous.state) != "failed":
        return False
    return not ti.xcom_pull(task_ids=ti.task_id, key=REACHED_WAREHOUSE, run_id=previous.run_id)


def _send_now(notification: Notification) -> None:
    """Send a message without the warehouse, which would remember that it was sent."""
    from amop.notifications.message import build_message
    from amop.notifications.store import PendingNotification
    from amop.tasks.dag_runs import airflow_address
    from amop.tasks.notifiers import kinds_off, sender

    send = sender()
    if send is None or notification.kind in kinds_off():
        return
    row = PendingNotification(
        0,
        notification.kind,
        notification.provider,
        notification.cause,
        notification.first_step,
        notification.address,
        0,
    )
    send(build_message([row], base_url=airflow_address()))


def _argument(task: Any, name: str) -> dict[str, Any]:
    """Return an argument of a task, by which it knows what it works on; empty if it has none."""
    found = getattr(task, "op_kwargs", {}).get(name) or getattr(task, name, None)
    return found if isinstance(found, dict) else {}
