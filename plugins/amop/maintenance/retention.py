"""Delete expired rows and archive objects, in small transactions.

A statement deletes at most `BATCH_ROWS` rows and commits. No lock is held for long, and a killed task loses nothing:
the next one deletes the remaining rows. The retention periods are in `amop.config.RETENTION`. The headers of
``include/sql/maintenance`` state what is kept regardless of its age.
"""

from __future__ import annotations

import logging
import typing
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from amop.archive.archive_run import archive_run
from amop.archive.page_archive import ArchivePath, delete_days_before
from amop.database.connection import WarehouseConnection, connect
from amop.maintenance.store import retention as store
from amop.maintenance.store.retention import InstanceTable, RunTable

log = logging.getLogger(__name__)

BATCH_ROWS = 10_000
BATCH_DEVICES = 2_000
SETTLED_AFTER = timedelta(hours=6)
"""No task is still working on a run that ended this long ago."""

STAGING_TABLES: tuple[RunTable, ...] = (
    "amop.device_staging",
    "amop.device_usage_staging",
    "amop.device_detail_staging",
)
LEDGER_TABLES: tuple[RunTable, ...] = (
    "amop.device_sync_page",
    "amop.device_usage_processed",
    "amop.device_usage_to_process",
)
OPTIMIZATION_TABLES: tuple[InstanceTable, ...] = typing.get_args(InstanceTable)


LONGEST_IN_QUEUE = timedelta(days=15)
"""SQS keeps a message for 14 days at most: a queue message that is older is never delivered again."""


def archive_pending_responses(conninfo: str, folder: ArchivePath, *, staging_days: int, now: datetime) -> int:
    """Archive the carrier's responses that could not be archived when their run ended; return their number.

    A run that can be reopened keeps its responses until its staging expires; they are then archived as incomplete.
    """
    with _session(conninfo) as connection:
        run_ids = store.runs_to_archive(
            connection, settled_before=now - SETTLED_AFTER, staging_before=now - timedelta(days=staging_days)
        )
    return sum(archive_run(conninfo, run_id, folder, now=now) for run_id in run_ids)


def delete_expired_staging(conninfo: str, *, staging_days: int, now: datetime) -> int:
    """Delete the expired staging of ended runs, which cannot be reopened afterwards; return the number of rows."""
    before = now - timedelta(days=staging_days)
    count = 0
    with _session(conninfo) as connection:
        for run_id in store.runs_with_expired_staging(connection, before=before):
            if not store.expire_staging(connection, run_id=run_id, before=before, now=now):
                continue  # an operator has reopened it meanwhile
            count += sum(_delete_rows_of_run(connection, table, run_id) for table in STAGING_TABLES)
    return count


def delete_expired_ledger(conninfo: str, *, ledger_days: int, run_days: int, now: datetime) -> int:
    """Delete expired pages and work rows of ended runs and, much later, the runs; return the number of rows."""
    with _session(conninfo) as connection:
        count = 0
        for run_id in store.runs_with_expired_ledger(connection, before=now - timedelta(days=ledger_days)):
            count += sum(_delete_rows_of_run(connection, table, run_id) for table in LEDGER_TABLES)
        delete_runs = partial(store.delete_runs, connection, before=now - timedelta(days=run_days))
        return count + _delete_in_batches(delete_runs, "device_sync_run")


def delete_expired_messages(conninfo: str, *, sent_message_days: int, dead_message_days: int, now: datetime) -> int:
    """Delete expired messages of AMOP's outbox and of the queue, and notifications; return the number of rows."""
    with _session(conninfo) as connection:
        delete_messages = partial(
            store.delete_messages,
            connection,
            sent_before=now - timedelta(days=sent_message_days),
            dead_before=now - timedelta(days=dead_message_days),
        )
        delete_notifications = partial(
            store.delete_notifications, connection, before=now - timedelta(days=dead_message_days)
        )
        delete_queue_messages = partial(
            store.delete_queue_messages,
            connection,
            received_before=now - max(timedelta(days=dead_message_days), LONGEST_IN_QUEUE),
        )
        return (
            _delete_in_batches(delete_messages, "amop_outbox")
            + _delete_in_batches(delete_notifications, "notification")
            + _delete_in_batches(delete_queue_messages, "queue_message")
        )


def delete_expired_quarantine(
    conninfo: str, *, resolved_quarantine_days: int, open_quarantine_days: int, now: datetime
) -> int:
    """Delete expired quarantined records, resolved and unresolved; return the number of rows."""
    with _session(conninfo) as connection:
        delete_quarantine = partial(
            store.delete_quarantine,
            connection,
            resolved_before=now - timedelta(days=resolved_quarantine_days),
            open_before=now - timedelta(days=open_quarantine_days),
        )
        return _delete_in_batches(delete_quarantine, "device_quarantine")


def delete_expired_archive(folder: ArchivePath, *, archive_days: int, now: datetime) -> int:
    """Delete the expired days of the archive; return the number of objects."""
    first_kept_day = (now - timedelta(days=archive_days)).date()
    count = 0
    for day, objects in delete_days_before(folder, first_kept_day):
        count += objects
        log.info("archive: %s objects of %s deleted", objects, day)
    return count


def delete_expired_history(conninfo: str, *, history_days: int, now: datetime) -> int:
    """Delete the daily usage of expired billing periods and expired device history; return the number of rows."""
    before = now - timedelta(days=history_days)
    count = 0
    with _session(conninfo) as connection:
        for period in store.periods_with_expired_usage(connection, before=before):
            month = f"{period.bill_year}-{period.bill_month:02}"
            delete_usage = partial(store.delete_usage_of_period, connection, billing_period_id=period.id)
            name = f"device_usage of provider {period.service_provider_id}, {month}"
            count += _delete_by_device(connection, delete_usage, name)
            store.mark_usage_removed(connection, billing_period_id=period.id, now=now)
        delete_history = partial(store.delete_device_history, connection, before=before.date())
        return count + _delete_by_device(connection, delete_history, "device_history")


def delete_expired_optimization_devices(conninfo: str, *, optimization_device_days: int, now: datetime) -> int:
    """Delete the rows per SIM of instances of expired billing periods; return the number of rows.

    Costs, bills by rate plan and pool, plan changes and realised savings are kept.
    """
    count = 0
    with _session(conninfo) as connection:
        before = now - timedelta(days=optimization_device_days)
        for instance_id in store.instances_with_expired_devices(connection, before=before):
            store.mark_devices_removed(connection, instance_id=instance_id, now=now)
            count += sum(_delete_rows_of_instance(connection, table, instance_id) for table in OPTIMIZATION_TABLES)
    return count


def _session(conninfo: str) -> WarehouseConnection:
    """Open a session in which every statement is a transaction."""
    return connect(conninfo, application_name="amop maintenance", autocommit=True)


def _delete_rows_of_run(connection: WarehouseConnection, table: RunTable, run_id: int) -> int:
    delete = partial(store.delete_rows_of_run, connection, table=table, run_id=run_id)
    return _delete_in_batches(delete, f"{table} of run {run_id}")


def _delete_rows_of_instance(connection: WarehouseConnection, table: InstanceTable, instance_id: int) -> int:
    delete = partial(store.delete_rows_of_instance, connection, table=table, instance_id=instance_id)
    return _delete_in_batches(delete, f"{table} of instance {instance_id}")


def _delete_in_batches(delete: Callable[..., int], name: str) -> int:
    """Run a statement with ``batch`` until it deletes nothing; return the number of rows."""

    def batches() -> Iterator[int]:
        while deleted := delete(batch=BATCH_ROWS):
            yield deleted

    return _sum_and_log(batches(), name)


def _delete_by_device(connection: WarehouseConnection, delete: Callable[..., int], name: str) -> int:
    """Run a statement with ``after`` and ``upto`` for all batches of SIMs; return the number of rows."""

    def batches() -> Iterator[int]:
        after = 0
        while (upto := store.next_devices(connection, after=after, batch=BATCH_DEVICES)) is not None:
            yield delete(after=after, upto=upto)
            after = upto

    return _sum_and_log(batches(), name)


def _sum_and_log(batches: Iterator[int], name: str) -> int:
    count = 0
    for deleted in batches:
        count += deleted
        if deleted:
            log.info("%s: %s rows deleted", name, count)
    return count
