"""SQL of the merge: devices, usage, communication plans and history."""

from __future__ import annotations

from datetime import date, datetime

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement
from amop.device_sync.rows import RunBalance, SyncedDay


@statement("device_sync/lock_provider")
def lock_provider(connection: WarehouseConnection, *, service_provider_id: int) -> None:
    """Take the provider's lock until the transaction ends."""


@statement("device_sync/prepare_for_all_devices")
def prepare_for_all_devices(connection: WarehouseConnection) -> None:
    """Give the transaction the memory and the plans of joins over all SIMs."""


@statement("device_sync/count_active_devices")
def count_active_devices(connection: WarehouseConnection, *, service_provider_id: int) -> int:
    """Count the active SIMs of a provider."""


@statement("device_sync/find_repeated_device")
def find_repeated_device(connection: WarehouseConnection, *, run_id: int) -> bool:
    """Return True if a run has staged a SIM twice."""


@statement("device_sync/collect_list_changes")
def collect_list_changes(
    connection: WarehouseConnection,
    *,
    run_id: int,
    service_provider_id: int,
    is_full: bool,
    is_repeated: bool,
    iccids: list[str] | None,
) -> None:
    """Create ``list_change``: the SIMs in which a run's list, or these SIMs of it, and ``amop.device`` differ."""


@statement("device_sync/analyze_list_changes", needs=["device_sync/collect_list_changes"])
def analyze_list_changes(connection: WarehouseConnection) -> None:
    """Gather statistics of ``list_change`` for the planner."""


@statement("device_sync/count_new_devices", needs=["device_sync/collect_list_changes"])
def count_new_devices(connection: WarehouseConnection) -> int:
    """Count the SIMs of ``list_change`` that the provider does not have yet."""


@statement("device_sync/merge_devices", needs=["device_sync/collect_list_changes"])
def merge_devices(connection: WarehouseConnection, *, service_provider_id: int, now: datetime) -> RowCount:
    """Merge the listed SIMs of ``list_change`` into ``amop.device``; return how many changed."""


@statement("device_sync/record_imei_changes")
def record_imei_changes(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime
) -> None:
    """Record the SIMs that the staged details show in other equipment."""


@statement("device_sync/merge_details")
def merge_details(connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime) -> None:
    """Merge staged details into ``amop.device``."""


@statement("device_sync/fill_details")
def fill_details(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    iccid: str,
    imsi: str | None,
    msisdn: str | None,
    imei: str | None,
    date_activated: datetime | None,
    now: datetime,
) -> None:
    """Fill the unknown details of a SIM."""


@statement("device_sync/deactivate_vanished_devices")
def deactivate_vanished_devices(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime
) -> RowCount:
    """Deactivate the SIMs missing from two exact full lists in a row."""


@statement("device_sync/record_missing_devices", needs=["device_sync/collect_list_changes"])
def record_missing_devices(connection: WarehouseConnection, *, run_id: int, now: datetime) -> RowCount:
    """Record the active SIMs of ``list_change`` that are missing from an exact full list."""


@statement("device_sync/clear_missing_devices")
def clear_missing_devices(connection: WarehouseConnection, *, run_id: int, service_provider_id: int) -> None:
    """Remove listed and inactive SIMs from the missing ones."""


@statement("device_sync/record_device_merge")
def record_device_merge(
    connection: WarehouseConnection,
    *,
    run_id: int,
    devices_inserted: int,
    devices_updated: int,
    devices_vanished: int,
    devices_missing: int,
    now: datetime,
) -> None:
    """Record the counts of a device merge."""


@statement("device_sync/collect_usage", needs=["device_sync/compare_usage"])
def collect_usage(connection: WarehouseConnection, *, run_id: int, proof_reads: int, iccids: list[str] | None) -> None:
    """Create ``collected_usage``: the counters of the SIMs whose usage a run reads, all of them or only those given."""


@statement("device_sync/merge_usage", needs=["device_sync/collect_usage"])
def merge_usage(
    connection: WarehouseConnection, *, billing_period_id: int, usage_as_of: datetime | None, now: datetime
) -> RowCount:
    """Write ``collected_usage`` to ``amop.device`` where it differs; return how many SIMs changed."""


@statement("device_sync/mark_unconfirmed_usage", needs=["device_sync/collect_usage"])
def mark_unconfirmed_usage(connection: WarehouseConnection) -> int:
    """Mark the SIMs of ``collected_usage`` that are unconfirmed, unmark the others; return how many are."""


@statement("device_sync/record_usage_merge")
def record_usage_merge(
    connection: WarehouseConnection, *, run_id: int, usage_updated: int, usage_unconfirmed: int, now: datetime
) -> None:
    """Record the counts of a usage merge."""


@statement("device_sync/insert_communication_plans")
def insert_communication_plans(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, now: datetime
) -> list[str]:
    """Insert the communication plans that a run's list uses for the first time; return their names."""


@statement("device_sync/run_balance")
def run_balance(connection: WarehouseConnection, *, run_id: int, service_provider_id: int) -> RunBalance:
    """Return the figures of a run that must add up."""


@statement("device_sync/find_next_synced_day")
def find_next_synced_day(
    connection: WarehouseConnection, *, service_provider_id: int, time_zone: str, usage_date: date
) -> SyncedDay | None:
    """Return the next local day on which a sync read the provider's SIMs, None if there is none."""


@statement("device_sync/observe_listed_devices")
def observe_listed_devices(connection: WarehouseConnection, *, run_id: int, service_provider_id: int) -> None:
    """Create ``observed_device``: all SIMs of a run's list as it has them."""


@statement("device_sync/observe_changed_devices", needs=["device_sync/collect_list_changes"])
def observe_changed_devices(connection: WarehouseConnection, *, run_id: int, service_provider_id: int) -> None:
    """Create ``observed_device`` from ``list_change``: the SIMs that history may not have yet."""


@statement("device_sync/record_device_history", needs=["device_sync/observe_listed_devices"])
def record_device_history(
    connection: WarehouseConnection,
    *,
    usage_date: date,
    as_of: datetime,
    next_date: date | None,
    next_as_of: datetime | None,
) -> RowCount:
    """Write ``observed_device`` to history where it differs; return the number of rows written."""


@statement("device_sync/observe_synced_usage", needs=["device_sync/collect_usage"])
def observe_synced_usage(connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int) -> None:
    """Create ``observed_usage`` from ``collected_usage``: the counters that history may not have yet."""


@statement("device_sync/observe_archived_usage")
def observe_archived_usage(
    connection: WarehouseConnection,
    *,
    run_id: int,
    service_provider_id: int,
    billing_period_id: int,
    usage_date: date,
    as_of: datetime,
) -> None:
    """Create ``observed_usage`` from the staging of a replay."""


@statement("device_sync/collect_adjacent_usage", needs=["device_sync/observe_archived_usage"])
def collect_adjacent_usage(
    connection: WarehouseConnection, *, usage_date: date, billing_period_id: int, as_of: datetime
) -> None:
    """Create ``adjacent_usage``: ``observed_usage`` with the counters of the days before and after."""


@statement("device_sync/collect_daily_usage", needs=["device_sync/collect_adjacent_usage"])
def collect_daily_usage(
    connection: WarehouseConnection, *, usage_date: date, billing_period_id: int, as_of: datetime
) -> None:
    """Create ``target_usage`` from ``adjacent_usage``: the daily rows that follow from the observed counters."""


@statement("device_sync/write_daily_usage", needs=["device_sync/collect_daily_usage"])
def write_daily_usage(connection: WarehouseConnection, *, usage_date: date, billing_period_id: int) -> RowCount:
    """Write the usage of a day from ``target_usage``; return the number of rows written."""


@statement("device_sync/correct_other_usage", needs=["device_sync/collect_daily_usage"])
def correct_other_usage(connection: WarehouseConnection, *, usage_date: date, billing_period_id: int) -> None:
    """Correct the usage of the other days of the cycle from ``target_usage``."""


@statement("device_sync/delete_unneeded_usage", needs=["device_sync/collect_daily_usage"])
def delete_unneeded_usage(connection: WarehouseConnection, *, billing_period_id: int) -> None:
    """Delete the rows of ``target_usage`` that hold no usage and no new counter."""
