"""Write what operators are to be notified of, once for each event, from the tables that record it.

No task has to report anything: what a killed process, the watchdog or an operator ended is found here as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime

from amop.database.connection import WarehouseConnection, transaction
from amop.foreign_text import storable_error
from amop.notifications import rules, store
from amop.notifications.rules import OUTAGE, RECENT, Notification

log = logging.getLogger(__name__)

LONGEST_CAUSE = 4000
"""Characters of a cause; the run or session has the rest."""


def collect(conninfo: str, *, now: datetime, off: frozenset[str], due_hour: int, can_send: bool = True) -> int:
    """Write the notifications of the events of the last day that have none; return how many were written.

    Args:
        conninfo: the warehouse.
        now: the present time.
        off: kinds that are switched off; their rows are written as ``off`` and never sent.
        due_hour: local hour at which a provider's daily sync must be complete.
        can_send: False where nothing is set up to send them; all rows are then ``off``.
    """
    with transaction(conninfo, application_name="amop notify_operators") as connection:
        found = list(_events(connection, now, due_hour))
        written = [
            notification
            for notification in found
            if add(connection, notification, now=now, is_off=not can_send or notification.kind in off)
        ]
    for notification in written:
        log.info("%s: %s", notification.kind, notification.provider or notification.cause)
    return len(written)


def add(connection: WarehouseConnection, notification: Notification, *, now: datetime, is_off: bool) -> bool:
    """Write a notification; return False if its event has one."""
    cleaned = asdict(notification) | {
        "cause": storable_error(notification.cause)[:LONGEST_CAUSE],
        "provider": storable_error(notification.provider),
    }
    return bool(
        store.add_notification(
            connection, **cleaned, cause_key=notification.cause_key, state="off" if is_off else "pending", now=now
        )
    )


def add_failed_task(
    conninfo: str,
    notification: Notification,
    *,
    error: str,
    run_id: int | None,
    session_id: int | None,
    dag_run: tuple[str, str],
    now: datetime,
    is_off: bool,
) -> bool:
    """Write the notification of a failed task, unless its run or session records the failure; return True if written.

    Args:
        conninfo: the warehouse.
        notification: as `rules.of_failed_task` returns it.
        error: the text of the task's error, as runs and sessions store it.
        run_id: the sync run that the task works on.
        session_id: the session that it works on.
        dag_run: ids of DAG and DAG run.
        now: the present time.
        is_off: True where it must not be sent.
    """
    with transaction(conninfo, application_name="amop task failure") as connection:
        if store.is_recorded_failure(
            connection,
            run_id=run_id,
            session_id=session_id,
            dag_id=dag_run[0],
            dag_run_id=dag_run[1],
            error=error,
            since=now - RECENT,
        ):
            return False
        if not notification.provider:
            name = store.provider_of_work(connection, run_id=run_id, session_id=session_id)
            notification = replace(notification, provider=name or "")
        return add(connection, notification, now=now, is_off=is_off)


def amop_outage(conninfo: str, *, now: datetime) -> str | None:
    """Return a sentence about an AMOP that has accepted no message for `OUTAGE`, None if there is no such outage."""
    with transaction(conninfo, application_name="amop relay") as connection:
        outage = store.amop_outage(connection, before=now - OUTAGE)
    return None if outage is None else rules.of_amop_outage(outage).cause


def _events(connection: WarehouseConnection, now: datetime, due_hour: int) -> Iterator[Notification]:
    since = now - RECENT
    yield from map(rules.of_failed_run, store.failed_runs(connection, since=since))
    yield from map(rules.of_failed_session, store.failed_sessions(connection, since=since))
    yield from map(rules.of_carrier_outage, store.carrier_outages(connection, before=now - OUTAGE))
    outage = store.amop_outage(connection, before=now - OUTAGE)
    if outage is not None:
        yield rules.of_amop_outage(outage)
    yield from rules.of_rejected_messages(store.rejected_messages(connection, since=since))
    yield from rules.late_syncs(store.last_syncs(connection), now, due_hour)
    for gap in store.optimization_gaps(connection, since=since):
        yield from rules.of_optimization_gap(gap)
    yield from map(rules.of_conflicts, store.plan_change_conflicts(connection, since=since))
    yield from map(rules.of_new_plans, store.new_communication_plans(connection, since=since))
    yield from map(rules.of_completed_run, store.completed_runs(connection, since=since))
