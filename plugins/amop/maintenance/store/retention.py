"""SQL of retention: what has expired, and its deletion in batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement

RunTable = Literal[
    "amop.device_staging",
    "amop.device_usage_staging",
    "amop.device_detail_staging",
    "amop.device_sync_page",
    "amop.device_usage_processed",
    "amop.device_usage_to_process",
]
"""Tables whose rows belong to a sync run."""


InstanceTable = Literal[
    "amop.optimization_device",
    "amop.optimization_base_assignment",
    "amop.optimization_solved_assignment",
    "amop.optimization_device_forecast",
    "amop.optimization_device_result",
    "amop.optimization_device_excluded",
    "amop.optimization_left_plan",
]
"""Tables with a row per SIM of an optimization instance."""


@dataclass(frozen=True, slots=True)
class ExpiredUsagePeriod:
    """A billing period whose daily usage has expired."""

    id: int
    service_provider_id: int
    bill_year: int
    bill_month: int


@statement("maintenance/runs_to_archive")
def runs_to_archive(
    connection: WarehouseConnection, *, settled_before: datetime, staging_before: datetime
) -> list[int]:
    """Return the ids of the ended runs with responses that are not archived."""


@statement("maintenance/runs_with_expired_staging")
def runs_with_expired_staging(connection: WarehouseConnection, *, before: datetime) -> list[int]:
    """Return the ids of the runs whose staging has expired."""


@statement("maintenance/expire_staging")
def expire_staging(connection: WarehouseConnection, *, run_id: int, before: datetime, now: datetime) -> RowCount:
    """Make an ended run final, so that its staging may be deleted; no row if it was reopened meanwhile."""


@statement("maintenance/runs_with_expired_ledger")
def runs_with_expired_ledger(connection: WarehouseConnection, *, before: datetime) -> list[int]:
    """Return the ids of the runs whose pages and work rows have expired."""


@statement("maintenance/delete_rows_of_run")
def delete_rows_of_run(connection: WarehouseConnection, *, table: RunTable, run_id: int, batch: int) -> RowCount:
    """Delete a batch of the rows of an ended run from one table."""


@statement("maintenance/delete_runs")
def delete_runs(connection: WarehouseConnection, *, before: datetime, batch: int) -> RowCount:
    """Delete a batch of expired runs."""


@statement("maintenance/delete_messages")
def delete_messages(
    connection: WarehouseConnection, *, sent_before: datetime, dead_before: datetime, batch: int
) -> RowCount:
    """Delete a batch of expired messages."""


@statement("maintenance/delete_notifications")
def delete_notifications(connection: WarehouseConnection, *, before: datetime, batch: int) -> RowCount:
    """Delete a batch of expired notifications."""


@statement("maintenance/delete_queue_messages")
def delete_queue_messages(connection: WarehouseConnection, *, received_before: datetime, batch: int) -> RowCount:
    """Delete a batch of expired queue messages that started no clean-up."""


@statement("maintenance/delete_quarantine")
def delete_quarantine(
    connection: WarehouseConnection, *, resolved_before: datetime, open_before: datetime, batch: int
) -> RowCount:
    """Delete a batch of expired quarantined records."""


@statement("maintenance/next_devices")
def next_devices(connection: WarehouseConnection, *, after: int, batch: int) -> int | None:
    """Return the last id of the next batch of SIMs, None after the last SIM."""


@statement("maintenance/periods_with_expired_usage")
def periods_with_expired_usage(connection: WarehouseConnection, *, before: datetime) -> list[ExpiredUsagePeriod]:
    """Return the billing periods whose daily usage has expired."""


@statement("maintenance/delete_usage_of_period")
def delete_usage_of_period(
    connection: WarehouseConnection, *, billing_period_id: int, after: int, upto: int
) -> RowCount:
    """Delete the daily usage of a billing period for a batch of SIMs."""


@statement("maintenance/mark_usage_removed")
def mark_usage_removed(connection: WarehouseConnection, *, billing_period_id: int, now: datetime) -> None:
    """Mark a billing period whose daily usage was deleted."""


@statement("maintenance/delete_device_history")
def delete_device_history(connection: WarehouseConnection, *, before: date, after: int, upto: int) -> RowCount:
    """Delete the device history of a batch of SIMs before a day."""


@statement("maintenance/instances_with_expired_devices")
def instances_with_expired_devices(connection: WarehouseConnection, *, before: datetime) -> list[int]:
    """Return the ids of the instances whose rows per SIM have expired."""


@statement("maintenance/mark_devices_removed")
def mark_devices_removed(connection: WarehouseConnection, *, instance_id: int, now: datetime) -> None:
    """Mark an instance whose rows per SIM are being deleted."""


@statement("maintenance/delete_rows_of_instance")
def delete_rows_of_instance(
    connection: WarehouseConnection, *, table: InstanceTable, instance_id: int, batch: int
) -> RowCount:
    """Delete a batch of the rows of an instance from one table."""
