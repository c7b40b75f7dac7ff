"""SQL of quarantined records."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.device_sync.rows import BadRecordCount, QuarantinedRecord


@statement("device_sync/quarantine_record")
def quarantine_record(
    connection: WarehouseConnection,
    *,
    run_id: int,
    kind: str,
    source: str,
    record_key: str,
    raw: Jsonb,
    is_exact: bool,
    reason: str,
    iccid: str | None,
    usage_type: str | None,
    rate_plan_code: str | None,
    rate_plan_version: int | None,
    scan_pass: int | None,
    page_number: int | None,
    row_number: int | None,
    now: datetime,
) -> None:
    """Quarantine a record; once per run, kind and key."""


@statement("device_sync/quarantine_unusable_usage")
def quarantine_unusable_usage(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime
) -> None:
    """Move usage of unknown SIMs, and usage that adds up beyond bigint, from staging to quarantine."""


@statement("device_sync/find_quarantined_records")
def find_quarantined_records(
    connection: WarehouseConnection,
    *,
    service_provider_id: int | None,
    run_id: int | None,
    kind: str | None,
    ids: list[int],
    with_resolved: bool,
    maximum: int | None,
) -> list[QuarantinedRecord]:
    """Return quarantined records, oldest first; None and an empty list match all."""


@statement("device_sync/find_known_iccids")
def find_known_iccids(connection: WarehouseConnection, *, service_provider_id: int, iccids: list[str]) -> list[str]:
    """Return those of the given SIMs that the provider has."""


@statement("device_sync/find_open_record")
def find_open_record(connection: WarehouseConnection, *, record_id: int, integrations: list[str]) -> int | None:
    """Return the id of an unresolved record of one of the integrations, None where there is none."""


@statement("device_sync/resolve_records")
def resolve_records(connection: WarehouseConnection, *, ids: list[int], resolution: str, now: datetime) -> None:
    """Mark quarantined records as resolved."""


@statement("device_sync/supersede_devices")
def supersede_devices(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, is_exact_full: bool, now: datetime
) -> None:
    """Resolve the quarantined list records that a run's list supersedes."""


@statement("device_sync/supersede_details")
def supersede_details(connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime) -> None:
    """Resolve the quarantined details of earlier runs that a run has read again."""


@statement("device_sync/supersede_usage")
def supersede_usage(connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime) -> None:
    """Resolve the quarantined usage records of earlier runs."""


@statement("device_sync/count_bad_records")
def count_bad_records(
    connection: WarehouseConnection, *, run_id: int, devices_seen: int, maximum_bad_share: Decimal
) -> BadRecordCount:
    """Count the SIMs of a run with unusable records."""
