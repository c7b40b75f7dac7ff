"""SQL of the archive: the answers of a run that are not archived yet, and the runs that replay archived ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from amop.archive.page_archive import ArchivedRun
from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class StoredPage:
    """An answer of the carrier in the warehouse: a `amop.carriers.page.CarrierPage` with a compressed document."""

    kind: str
    received_at: datetime
    document: bytes
    """JSON, gzip."""
    scan_pass: int
    page_number: int
    rate_plan_code: str
    rate_plan_version: int
    usage_type: str
    iccid: str
    is_refusal: bool


@statement("archive/lock_archive_of_run")
def lock_archive_of_run(connection: WarehouseConnection, *, run_id: int) -> None:
    """Take the lock of a run's archive until the transaction ends."""


@statement("archive/run_to_archive")
def run_to_archive(connection: WarehouseConnection, *, run_id: int) -> ArchivedRun | None:
    """Return what the archive stores about a run, None if there is no such run."""


@statement("archive/has_carrier_pages")
def has_carrier_pages(connection: WarehouseConnection, *, run_id: int) -> bool:
    """Return True if the warehouse holds answers of a run."""


@statement("archive/carrier_pages")
def carrier_pages(connection: WarehouseConnection, *, run_id: int) -> Iterator[StoredPage]:
    """Return the answers of a run, in the order of the archive."""


@statement("archive/delete_carrier_pages")
def delete_carrier_pages(connection: WarehouseConnection, *, run_id: int) -> RowCount:
    """Delete the answers of a run from the warehouse; return their number."""


@statement("archive/mark_archived")
def mark_archived(connection: WarehouseConnection, *, run_id: int, now: datetime) -> None:
    """Record that all answers of a run are archived."""


@statement("archive/open_replay")
def open_replay(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    dag_id: str,
    dag_run_id: str,
    billing_period_id: int,
    replayed_run_id: int,
    now: datetime,
) -> int:
    """Open the run that replays an archived run, or start it over; return its id."""


@statement("archive/delete_replay_staging")
def delete_replay_staging(connection: WarehouseConnection, *, run_id: int) -> None:
    """Delete what an earlier attempt of a replay has staged."""


@statement("archive/insert_unknown_devices")
def insert_unknown_devices(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime
) -> None:
    """Insert an inactive row for each listed SIM that the provider does not have."""


@statement("archive/mark_usage_restored")
def mark_usage_restored(connection: WarehouseConnection, *, billing_period_id: int) -> None:
    """Record that a billing period holds usage again, so that maintenance empties it again."""


@statement("archive/complete_replay")
def complete_replay(connection: WarehouseConnection, *, run_id: int, pages: int, summary: Jsonb, now: datetime) -> None:
    """End a replay as complete and store its summary."""
