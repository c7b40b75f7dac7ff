"""The tasks of DAG ``device_notification``: take messages in, then the clean-up of the daily DAG."""

from __future__ import annotations

import logging

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from amop import ids, time_limits
from amop.messages.queue_message import QueueMessage
from amop.tasks.connections import deliver_session_messages, optional_variable, warehouse_conninfo, warehouse_now
from amop.tasks.device_sync import cleanup
from amop.tasks.frames import ProviderRun
from amop.tasks.notification_queue import NotificationQueue, messages_of_events
from amop.tasks.results import required
from amop.tasks.task_failed import ReportedFromTablesError
from amop.wording import several

log = logging.getLogger(__name__)


@task(execution_timeout=time_limits.BRIEF_TASK)
def receive_messages() -> list[ProviderRun]:
    """Take the messages in, each once; return the runs whose clean-up they start, with the tries of each message."""
    from amop.database.connection import transaction
    from amop.messages import store

    context = get_current_context()
    dag_run_id = context["dag_run"].run_id
    name = optional_variable(ids.NOTIFICATION_QUEUE_VARIABLE, "the start of the clean-up by queue messages")
    if name is None:
        raise AirflowSkipException("The queue's Variable is not set")
    queue = NotificationQueue.open(name)
    for message in messages_of_events(context) or queue.receive():
        _take(queue, message, dag_run_id)
    with transaction(warehouse_conninfo(), application_name="amop receive_messages") as connection:
        started = store.started_runs(connection, dag_run_id=dag_run_id)
    deliver_session_messages(*(run.optimization_session_id for run in started))
    return [
        ProviderRun(
            run_id=run.run_id,
            service_provider_id=run.service_provider_id,
            service_provider_name=run.service_provider_name,
            connection_id=run.connection_id,
            optimization_session_id=run.optimization_session_id,
            wait={"max_tries": run.max_tries, "delay": run.delay_seconds, "no_progress_limit": None},
        )
        for run in started
    ]


def _take(queue: NotificationQueue, message: QueueMessage, dag_run_id: str) -> None:
    """Record a message, and delete it from the queue after the commit; a rejected one is dead-lettered before."""
    from amop.runs.queue_start import Outcome, mark_removed, take_message

    taken = take_message(warehouse_conninfo(), message, dag_run_id=dag_run_id, now=warehouse_now())
    if taken.outcome == Outcome.REJECTED and not taken.is_settled:
        reason = taken.reason or ""
        if not queue.dead_letter(message, reason):
            log.error("%s has no dead-letter queue; message %s is in amop.queue_message", queue.url, message.message_id)
    queue.delete(message)
    mark_removed(warehouse_conninfo(), message.message_id, now=warehouse_now())


@task(execution_timeout=time_limits.BRIEF_TASK)
def report_rejected() -> None:
    """Fail if a message was rejected, and name each with its reason; the clean-ups of the others continue."""
    from amop.database.connection import transaction
    from amop.messages import store

    dag_run_id = get_current_context()["dag_run"].run_id
    with transaction(warehouse_conninfo(), application_name="amop report_rejected") as connection:
        rejected = store.received_messages(connection, dag_run_id=dag_run_id, outcome="rejected", most=1000)
    if rejected:
        texts = "; ".join(f"{message.message_id}: {message.reason}" for message in rejected)
        raise ReportedFromTablesError(
            f"{several(len(rejected), 'message was', 'messages were')} rejected ({texts}). Correct the causes "
            "and send them again; clearing this task repeats nothing. `bin/amop messages received` shows them; they "
            "are in the dead-letter queue, too, if the queue has one"
        )


def notification_steps() -> None:
    """Wire the DAG: messages, and for each run that they start the clean-up of the daily DAG."""
    runs = receive_messages()
    runs >> report_rejected()
    cleanup.partial(integration=None).expand(run=required(runs))
