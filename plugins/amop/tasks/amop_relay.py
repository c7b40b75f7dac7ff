"""The tasks of ``amop_relay``: retry undelivered messages and reports, and end stale runs and sessions."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from amop import ids, time_limits
from amop.tasks.connections import amop_client, warehouse_conninfo, warehouse_now
from amop.tasks.failures import is_last_try

log = logging.getLogger(__name__)

RETRY_WHILE_AWAY = timedelta(minutes=1)


class AmopAwayError(AirflowException):
    """AMOP has accepted no message for a quarter of an hour; all messages are kept."""


@task(execution_timeout=time_limits.BRIEF_TASK)
def end_stale_work() -> int:
    """End the sync runs and sessions that stopped sending heartbeats, each with one ErrorMessage; return how many."""
    from amop.maintenance import watchdog

    errors = watchdog.end_stale_work(warehouse_conninfo(), now=warehouse_now(), is_queued=_optimization_is_queued)
    for text in errors:
        log.error("%s", text)
    return len(errors)


def _optimization_is_queued(integration: str, session_id: int) -> bool:
    queued = get_current_context()["ti"].get_dr_count(
        dag_id=ids.carrier_optimization_dag(integration),
        run_ids=[ids.optimization_run_id(session_id)],
        states=["queued"],
    )
    return bool(queued)


@task(execution_timeout=time_limits.BRIEF_TASK, retry_delay=RETRY_WHILE_AWAY, retry_exponential_backoff=False)
def deliver_messages() -> int:
    """Send the messages of the outbox that are due, in order within a session; return how many AMOP accepted.

    While AMOP is away the task is up for retry (yellow), and is skipped in the end: nothing is lost, and nothing fails.

    Raises:
        AmopAwayError: AMOP has accepted no message for 15 minutes; the next try follows in a minute.
        AirflowSkipException: the same, in the last try.
    """
    from amop.messages.delivery import deliver_outbox
    from amop.notifications.collect import amop_outage

    client = amop_client()
    if client is None:
        return 0
    with client:
        report = deliver_outbox(warehouse_conninfo(), client)
    log.info("%s messages sent, %s dead-lettered, %s pending", report.sent, report.dead, report.pending)
    outage = amop_outage(warehouse_conninfo(), now=warehouse_now())
    if outage is not None:
        raise AirflowSkipException(outage) if is_last_try() else AmopAwayError(outage)
    return report.sent


@task(execution_timeout=time_limits.TASK)
def deliver_reports() -> int:
    """Deliver the reports that their tasks could not (S3, SQS, mail, archive); return how many were delivered."""
    from amop.database.clock import warehouse_clock
    from amop.messages import undelivered_reports
    from amop.tasks.report_relay import DELIVERIES

    conninfo = warehouse_conninfo()
    result = undelivered_reports.deliver_reports(
        conninfo, DELIVERIES, now=warehouse_clock(conninfo), limit=time_limits.DELIVERY
    )
    if result.delivered or result.failed or result.given_up:
        log.info(
            "%s reports delivered, %s failed and are tried again, %s given up",
            result.delivered, result.failed, result.given_up,
        )  # fmt: skip
    return result.delivered


@task(execution_timeout=time_limits.BRIEF_TASK, trigger_rule="none_failed")
def report_refused_messages() -> None:
    """Fail once for the messages that AMOP refused, whichever task received the refusal.

    Raises:
        AirflowFailException: there are such messages; the text contains their keys and AMOP's errors.
    """
    from amop.database.connection import transaction
    from amop.messages import outbox

    run_id = get_current_context()["dag_run"].run_id
    with transaction(warehouse_conninfo(), application_name="amop report_refused_messages") as connection:
        refused = outbox.report_refused_messages(connection, reported_in=run_id)
    if refused:
        listed = "; ".join(f"{message.dedupe_key}: {message.last_error}" for message in refused)
        raise AirflowFailException(
            f"AMOP refused {len(refused)} messages; they are dead-lettered, see `bin/amop status`. {listed}"
        )
