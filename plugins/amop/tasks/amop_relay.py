"""The task of ``amop_relay``: every step of it in one process, because it runs all day long.

Each step is done whatever becomes of the others. The task then fails, is tried again or is skipped as the gravest of
their errors demands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from amop import ids, time_limits
from amop.tasks.connections import amop_client, warehouse_conninfo, warehouse_now
from amop.tasks.dag_runs import exists, is_active
from amop.tasks.failures import is_last_try
from amop.tasks.gauges import export_gauges
from amop.tasks.notifications import notify_operators
from amop.tasks.task_failed import REACHED_WAREHOUSE

log = logging.getLogger(__name__)

RETRY_DELAY = timedelta(seconds=15)
"""Short: while the task is up for retry, no other run of the relay starts."""


class AmopAwayError(AirflowException):
    """AMOP has accepted no message for a quarter of an hour; all messages are kept."""


@task(execution_timeout=time_limits.RELAY_TASK, retry_delay=RETRY_DELAY, retry_exponential_backoff=False)
def watch_and_deliver() -> dict[str, Any]:
    """End stale work, deliver messages and reports, export gauges, notify operators; return the result of each step.

    Raises:
        AirflowFailException: AMOP refused messages for good.
        AmopAwayError: AMOP has accepted no message for 15 minutes; the next try follows soon.
        AirflowSkipException: the same, in the last try.
    """
    steps: tuple[Callable[[], Any], ...] = (
        end_stale_work,
        export_gauges,
        deliver_messages,
        report_refused_messages,
        deliver_reports,
        notify_operators,  # the last: it passes over the time limit of the task too
    )
    results: dict[str, Any] = {}
    errors: list[Exception] = []
    for step in steps:
        try:
            results[step.__name__] = step()
        except Exception as error:
            log.warning("%s: %s: %s", step.__name__, type(error).__name__, error)
            errors.append(error)
    if not errors:
        return results
    gravest = min(errors, key=_gravity)
    if not any(isinstance(error, psycopg.OperationalError) for error in errors):
        get_current_context()["ti"].xcom_push(key=REACHED_WAREHOUSE, value=True)
    raise gravest


def _gravity(error: Exception) -> int:
    """Return the rank of an error, the gravest first: final, passing, AMOP is away."""
    if isinstance(error, AirflowFailException):
        return 0
    return 2 if isinstance(error, (AmopAwayError, AirflowSkipException)) else 1


def end_stale_work() -> int:
    """End sync runs and sessions whose DAG run has ended or whose heartbeats have stopped; return how many."""
    from amop.maintenance import orphans, watchdog
    from amop.plan_changes.closed_periods import end_waiting_changes

    conninfo, now = warehouse_conninfo(), warehouse_now()
    errors = orphans.end_orphans(conninfo, now=now, is_active=is_active)
    errors += watchdog.end_stale_work(conninfo, now=now, is_queued=_optimization_is_queued)
    for text in errors:
        log.error("%s", text)
    orphans.record_deleted_dag_runs(conninfo, now=now, exists=exists)
    orphans.record_lost_changes(conninfo, now=now, is_active=is_active)
    orphans.settle_superseded_changes(conninfo)
    end_waiting_changes(conninfo, now=now)
    return len(errors)


def _optimization_is_queued(integration: str, session_id: int) -> bool:
    queued = get_current_context()["ti"].get_dr_count(
        dag_id=ids.carrier_optimization_dag(integration),
        run_ids=[ids.optimization_run_id(session_id)],
        states=["queued"],
    )
    return bool(queued)


def deliver_messages() -> int:
    """Send the messages of the outbox that are due, in order within a session; return how many AMOP accepted.

    While AMOP is away the task is up for retry (yellow), and is skipped in the end: nothing is lost, and nothing fails.

    Raises:
        AmopAwayError: AMOP has accepted no message for 15 minutes; the next try follows soon.
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
            "%s reports delivered, %s failed and are retried, %s expired",
            result.delivered, result.failed, result.given_up,
        )  # fmt: skip
    return result.delivered


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
            f"messages that AMOP refused for good: {len(refused):,}; see `bin/amop status`; {listed}"
        )
