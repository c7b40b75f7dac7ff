"""What `maintenance` does: everything goes when it is old enough and nothing needs it any more, in small transactions.

A statement deletes at most `BATCH_ROWS` rows and commits, so that no lock is held for long and a killed task has lost
nothing: the next one deletes what is left. How old is old enough is in `amop.config.RETENTION`; what must stay whatever
its age is in the statements of ``include/sql/maintenance``, each of which says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from amop.carriers.page_archive import ArchivePath, delete_days_before
from amop.pipeline.archive import archive_run
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, connect

log = logging.getLogger(__name__)

BATCH_ROWS = 10_000
BATCH_DEVICES = 2_000
SETTLED_AFTER = timedelta(hours=6)
"""A run that ended this long ago has no task that is still at work on it."""

STAGING_TABLES = ("device_staging", "device_usage_staging", "device_detail_staging")
OPTIMIZATION_TABLES = (
    "optimization_device",
    "optimization_base_assignment",
    "optimization_solved_assignment",
    "optimization_device_result",
    "optimization_device_left_out",
)
"""One row a SIM and instance each."""
LEDGER_TABLES = ("device_sync_page", "device_usage_processed", "device_usage_to_process")


def archive_leftovers(conninfo: str, folder: ArchivePath, *, staging_days: int, now: datetime) -> int:
    """Archive what the archive could not take when its run ended; return the number of answers.

    A run that can still go on keeps its answers until its staging goes; what has arrived of it is then archived as
    incomplete.
    """
    values = {"settled_before": now - SETTLED_AFTER, "staging_before": now - timedelta(days=staging_days)}
    with _session(conninfo) as connection:
        runs = connection.execute(sql.load("maintenance/runs_to_archive"), values).fetchall()
    return sum(archive_run(conninfo, run["id"], folder, now=now) for run in runs)


def remove_staging(conninfo: str, *, staging_days: int, now: datetime) -> int:
    """Delete the staging of runs that ended long ago; a failed one can no longer go on. Return the number of rows."""
    before = now - timedelta(days=staging_days)
    count = 0
    with _session(conninfo) as connection:
        for run in connection.execute(sql.load("maintenance/runs_with_staging"), {"before": before}).fetchall():
            values = {"run_id": run["id"], "before": before, "now": now}
            if not connection.execute(sql.load("maintenance/give_staging_up"), values).rowcount:
                continue  # somebody has let it go on meanwhile
            for table in STAGING_TABLES:
                count += _delete(connection, f"maintenance/delete_{table}", values, f"{table} of run {run['id']}")
    return count


def remove_ledger(conninfo: str, *, ledger_days: int, run_days: int, now: datetime) -> int:
    """Delete pages and work rows of runs that ended long ago, and, much later, the runs; return the number of rows."""
    before = {"before": now - timedelta(days=ledger_days)}
    with _session(conninfo) as connection:
        count = sum(_delete(connection, f"maintenance/delete_{table}", before, table) for table in LEDGER_TABLES)
        runs = {"before": now - timedelta(days=run_days)}
        return count + _delete(connection, "maintenance/delete_runs", runs, "device_sync_run")


def remove_messages(conninfo: str, *, sent_message_days: int, dead_message_days: int, now: datetime) -> int:
    """Delete messages that AMOP has, or refused for good, long since; return how many."""
    values = {
        "sent_before": now - timedelta(days=sent_message_days),
        "dead_before": now - timedelta(days=dead_message_days),
    }
    with _session(conninfo) as connection:
        return _delete(connection, "maintenance/delete_messages", values, "amop_outbox")


def remove_quarantine(conninfo: str, *, resolved_quarantine_days: int, open_quarantine_days: int, now: datetime) -> int:
    """Delete quarantined records: resolved ones, and those that nobody resolved for long; return how many."""
    values = {
        "resolved_before": now - timedelta(days=resolved_quarantine_days),
        "open_before": now - timedelta(days=open_quarantine_days),
    }
    with _session(conninfo) as connection:
        return _delete(connection, "maintenance/delete_quarantine", values, "device_quarantine")


def remove_archive(folder: ArchivePath, *, archive_days: int, now: datetime) -> int:
    """Delete the archive's days that are too old; return the number of objects."""
    first_kept_day = (now - timedelta(days=archive_days)).date()
    count = 0
    for day, objects in delete_days_before(folder, first_kept_day):
        count += objects
        log.info("archive: %s objects of %s deleted", objects, day)
    return count


def remove_history(conninfo: str, *, history_days: int, now: datetime) -> int:
    """Delete the daily usage of billing periods that closed long ago and what SIMs were before; return the rows."""
    before = now - timedelta(days=history_days)
    count = 0
    with _session(conninfo) as connection:
        for period in connection.execute(sql.load("maintenance/periods_to_empty"), {"before": before}).fetchall():
            month = f"{period['bill_year']}-{period['bill_month']:02}"
            name = f"device_usage of provider {period['service_provider_id']}, {month}"
            count += _delete_by_device(
                connection, "maintenance/delete_usage", {"billing_period_id": period["id"]}, name
            )
            connection.execute(
                sql.load("maintenance/mark_period_empty"), {"billing_period_id": period["id"], "now": now}
            )
        day: date = before.date()
        count += _delete_by_device(connection, "maintenance/delete_device_history", {"before": day}, "device_history")
    return count


def remove_optimization_devices(conninfo: str, *, optimization_device_days: int, now: datetime) -> int:
    """Delete what instances of long closed billing periods hold of single SIMs; return the number of rows.

    Costs, bills by rate plan and pool, plan changes and realised savings stay.
    """
    before = {"before": now - timedelta(days=optimization_device_days)}
    count = 0
    with _session(conninfo) as connection:
        found = connection.execute(sql.load("maintenance/instances_with_devices"), before).fetchall()
        for instance in found:
            values = {"instance_id": instance["id"], "now": now}
            connection.execute(sql.load("maintenance/mark_devices_removed"), values)
            for table in OPTIMIZATION_TABLES:
                count += _delete(connection, f"maintenance/delete_{table}", values, f"{table} of {instance['id']}")
    return count


def _session(conninfo: str) -> WarehouseConnection:
    """Open a session in which every statement is a transaction."""
    return connect(conninfo, application_name="amop maintenance", autocommit=True)


def _delete(connection: WarehouseConnection, statement: str, values: Mapping[str, Any], what: str) -> int:
    """Run a statement that deletes a batch until it finds nothing; return the number of rows."""

    def batches() -> Iterator[int]:
        while deleted := connection.execute(sql.load(statement), {**values, "batch": BATCH_ROWS}).rowcount:
            yield deleted

    return _add_up(batches, what)


def _delete_by_device(connection: WarehouseConnection, statement: str, values: Mapping[str, Any], what: str) -> int:
    """Run a statement that deletes the rows of a batch of SIMs, for all SIMs; return the number of rows."""

    def batches() -> Iterator[int]:
        after = 0
        while True:
            found = connection.execute(
                sql.load("maintenance/next_devices"), {"after": after, "batch": BATCH_DEVICES}
            ).fetchone()
            if found is None or found["upto"] is None:
                return
            yield connection.execute(sql.load(statement), {**values, "after": after, "upto": found["upto"]}).rowcount
            after = found["upto"]

    return _add_up(batches, what)


def _add_up(batches: Callable[[], Iterator[int]], what: str) -> int:
    count = 0
    for deleted in batches():
        count += deleted
        if deleted:
            log.info("%s: %s rows deleted", what, count)
    return count
