"""The tasks of ``amop_relay``: what a crash or an outage of AMOP left behind."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from amop import ids, time_limits
from amop.orchestration.connections import amop_client, warehouse_conninfo

log = logging.getLogger(__name__)


@task(execution_timeout=time_limits.BRIEF_TASK)
def end_silent_sessions() -> int:
    """End the sync runs and sessions that died without saying so, each with one ErrorMessage; return how many."""
    from amop.pipeline.watchdog import end_the_silent

    told = end_the_silent(warehouse_conninfo(), now=datetime.now(UTC), is_queued=_optimization_is_queued)
    for text in told:
        log.error("%s", text)
    return len(told)


def _optimization_is_queued(integration: str, session_id: int) -> bool:
    queued = get_current_context()["ti"].get_dr_count(
        dag_id=ids.carrier_optimization_dag(integration),
        run_ids=[ids.optimization_run_id(session_id)],
        states=["queued"],
    )
    return bool(queued)


@task(execution_timeout=time_limits.BRIEF_TASK)
def deliver_messages() -> int:
    """Send the messages of the outbox whose time has come, in order within a session; return how many AMOP took."""
    from amop.pipeline.outbox_delivery import deliver_outbox

    client = amop_client()
    if client is None:
        return 0
    with client:
        report = deliver_outbox(warehouse_conninfo(), client, now=lambda: datetime.now(UTC))
    log.info("%s messages sent, %s given up, %s wait", report.sent, report.dead, report.pending)
    return report.sent


@task(execution_timeout=time_limits.BRIEF_TASK)
def report_refused_messages() -> None:
    """Fail, once, for messages that AMOP refused for good, whichever task met the refusal.

    Raises:
        AirflowFailException: there are such messages; their keys and what AMOP said are in its text.
    """
    from amop.warehouse.connection import transaction
    from amop.warehouse.outbox import report_refused

    run_id = get_current_context()["dag_run"].run_id
    with transaction(warehouse_conninfo(), application_name="amop report_refused_messages") as connection:
        refused = report_refused(connection, reported_in=run_id)
    if refused:
        listed = "; ".join(f"{message['dedupe_key']}: {message['last_error']}" for message in refused)
        raise AirflowFailException(
            f"AMOP refused {len(refused)} messages for good; they are set aside, see `bin/amop status`. {listed}"
        )
