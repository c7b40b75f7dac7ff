"""SQL of what a sync reports: notification, summary, sync log and device history file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from psycopg import ClientCursor
from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.device_sync.rows import HistorianLine, NotificationFacts, SyncLogLine, SyncSummary

CopyBlock = bytes | bytearray | memoryview


@statement("device_sync/notification_facts")
def notification_facts(connection: WarehouseConnection, *, run_id: int) -> NotificationFacts | None:
    """Return what the queue message of a run carries, None if there is no such run."""


@statement("device_sync/staging_faults")
def staging_faults(connection: WarehouseConnection, *, run_id: int, dag_id: str, identifiers: Jsonb) -> list[str]:
    """Return what keeps the staging of a run of the existing system from being merged; empty if nothing does."""


@statement("device_sync/mark_notification_sent")
def mark_notification_sent(connection: WarehouseConnection, *, run_id: int, now: datetime) -> None:
    """Record that the queue message of a run was sent."""


@statement("device_sync/sync_summary")
def sync_summary(connection: WarehouseConnection, *, run_id: int, known_statuses: list[str]) -> SyncSummary:
    """Return the figures of a run's summary."""


@statement("device_sync/store_summary")
def store_summary(connection: WarehouseConnection, *, run_id: int, summary: Jsonb) -> None:
    """Store the summary of a run."""


@statement("device_sync/sync_log")
def sync_log(connection: WarehouseConnection, *, run_id: int) -> Iterator[SyncLogLine]:
    """Return the sync log, one line per SIM."""


@statement("device_sync/historian_lines")
def historian_lines(connection: WarehouseConnection, *, run_id: int) -> Iterator[HistorianLine]:
    """Return the device history file, one line per SIM."""


def copy_sync_log(connection: WarehouseConnection, run_id: int) -> Iterator[CopyBlock]:
    """Yield the sync log as CSV, block by block."""
    yield from _copy_csv(connection, sync_log.text, run_id, "HEADER true")


def copy_historian_lines(connection: WarehouseConnection, run_id: int) -> Iterator[CopyBlock]:
    """Yield the device history file as CSV with every value in quotation marks, block by block."""
    yield from _copy_csv(connection, historian_lines.text, run_id, "HEADER true, FORCE_QUOTE *")


def _copy_csv(connection: WarehouseConnection, query: str, run_id: int, options: str) -> Iterator[CopyBlock]:
    """Yield the rows of a query as CSV; COPY takes no parameters, so the client binds the run's id."""
    bound = ClientCursor(connection).mogrify(query, {"run_id": run_id})
    statement_text = f"COPY ({bound}) TO STDOUT (FORMAT csv, {options})"
    with connection.cursor() as cursor, cursor.copy(statement_text.encode()) as copy:
        yield from copy
