"""The tasks of ``amop_relay``: what a crash or an outage of AMOP left behind."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from amop.orchestration.connections import amop_client, warehouse_conninfo

log = logging.getLogger(__name__)

SILENT_FOR = timedelta(hours=6)
"""A running session without any sign of life for so long has died."""


@task(execution_timeout=timedelta(minutes=2))
def end_silent_sessions() -> list[int]:
    """End the sessions that died without saying so, each with one ErrorMessage; return their ids."""
    from amop.pipeline.optimization_runs import end_instance_of_failed_session
    from amop.warehouse.connection import transaction
    from amop.warehouse.sessions import fail_silent_sessions

    conninfo, now = warehouse_conninfo(), datetime.now(UTC)
    with transaction(conninfo, application_name="amop end_silent_sessions") as connection:
        ended = fail_silent_sessions(connection, silent_for=SILENT_FOR, now=now)
    for session in ended:
        log.error("%s", session["error"])
        end_instance_of_failed_session(conninfo, session["session_id"], now=now)
    return [session["session_id"] for session in ended]


@task(execution_timeout=timedelta(minutes=4))
def deliver_messages() -> int:
    """Send every message of the outbox whose time has come, in order within a session; return how many AMOP took.

    Raises:
        AirflowFailException: AMOP refused messages for good; the log and the outbox say which and why.
    """
    from amop.pipeline.outbox_delivery import deliver_outbox

    client = amop_client()
    if client is None:
        return 0
    with client:
        report = deliver_outbox(warehouse_conninfo(), client, now=lambda: datetime.now(UTC))
    log.info("%s messages sent, %s given up, %s wait", report.sent, report.dead, report.pending)
    if report.dead:
        raise AirflowFailException(
            f"AMOP refused {report.dead} messages for good; see the log, and amop.amop_outbox where state = 'dead'"
        )
    return report.sent
