"""SQL of the reads from the carrier: device list, work rows and staging."""

from __future__ import annotations

from datetime import date, datetime

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.copy import CopyInto
from amop.database.statements import statement
from amop.device_sync.rows import (
    ListDuplicates,
    ListWindow,
    QueuedReads,
    RecordCount,
    RefusedPlan,
    ScanPosition,
    StagedDevice,
    StagedUsage,
    StagingProgress,
    UsageDuplicates,
    WorkRow,
)

copy_devices = CopyInto(
    "amop.device_staging", StagedDevice, types=("int8", "int2", "int4", "int2", "text", "text", "text", "text")
)
copy_usage = CopyInto(
    "amop.device_usage_staging",
    StagedUsage,
    types=("int8", "text", "text", "text", "int4", "int4", "int4", "int8", "timestamptz", "text"),
)


@statement("device_sync/queue_device_list")
def queue_device_list(connection: WarehouseConnection, *, run_id: int) -> None:
    """Insert the first work row of a run, unless its list is complete."""


@statement("device_sync/scan_position")
def scan_position(connection: WarehouseConnection, *, run_id: int) -> ScanPosition:
    """Return how far the device list of a run has been read."""


@statement("device_sync/list_windows")
def list_windows(connection: WarehouseConnection, *, run_id: int) -> list[ListWindow]:
    """Return the windows in which a run reads its device list, oldest first."""


@statement("device_sync/insert_list_window")
def insert_list_window(
    connection: WarehouseConnection,
    *,
    run_id: int,
    window_number: int,
    modified_since: datetime,
    modified_till: datetime | None,
    first_page: int | None,
) -> None:
    """Insert a window of a run's device list."""


@statement("device_sync/delete_list_windows")
def delete_list_windows(connection: WarehouseConnection, *, run_id: int) -> None:
    """Delete the windows of a run's device list."""


@statement("device_sync/start_list_window")
def start_list_window(connection: WarehouseConnection, *, run_id: int, window_number: int, first_page: int) -> None:
    """Record at which page of the list a window begins."""


@statement("device_sync/mark_list_partial")
def mark_list_partial(connection: WarehouseConnection, *, run_id: int) -> None:
    """Record that the carrier does not list all SIMs."""


@statement("device_sync/unlisted_devices")
def unlisted_devices(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, maximum_reads: int
) -> list[str]:
    """Return the active SIMs that a run's full list does not contain and that it has not read individually.

    Those missing for the second time come first. ``maximum_reads`` is the limit of the whole run.
    """


@statement("device_sync/record_unlisted_reads")
def record_unlisted_reads(connection: WarehouseConnection, *, run_id: int, iccids: list[str], now: datetime) -> None:
    """Record SIMs missing from a full list as read individually."""


@statement("device_sync/count_unlisted_reads")
def count_unlisted_reads(connection: WarehouseConnection, *, run_id: int) -> int:
    """Count the SIMs missing from a full list that the run has read individually."""


@statement("device_sync/insert_list_page")
def insert_list_page(
    connection: WarehouseConnection,
    *,
    run_id: int,
    scan_pass: int,
    page_number: int,
    device_count: int,
    is_last_page: bool,
    is_gap: bool,
    next_after: str | None,
    now: datetime,
) -> None:
    """Insert the ledger row of a list page; a page that is in the ledger already raises a unique violation."""


@statement("device_sync/count_list_records")
def count_list_records(connection: WarehouseConnection, *, run_id: int, scan_pass: int) -> RecordCount:
    """Count the records and SIMs that a pass of the list scan has staged."""


@statement("device_sync/find_list_duplicates")
def find_list_duplicates(connection: WarehouseConnection, *, run_id: int, last_page: int) -> ListDuplicates:
    """Count the SIMs that appear more than once in the list as last read."""


@statement("device_sync/find_repeated_page")
def find_repeated_page(connection: WarehouseConnection, *, run_id: int, last_page: int) -> int | None:
    """Return the first page of the list with only SIMs of earlier pages, None if there is none."""


@statement("device_sync/start_scan_pass")
def start_scan_pass(
    connection: WarehouseConnection, *, run_id: int, scan_pass: int, scan_first_page: int, scan_duplicates: str
) -> None:
    """Read the device list again, from a given page."""


@statement("device_sync/complete_list")
def complete_list(connection: WarehouseConnection, *, run_id: int, list_is_exact: bool, now: datetime | None) -> None:
    """Mark the device list as complete and store the number of SIMs in it."""


@statement("device_sync/delete_list_work_row")
def delete_list_work_row(connection: WarehouseConnection, *, run_id: int) -> None:
    """Delete the work row of the device list."""


@statement("device_sync/collect_present_devices")
def collect_present_devices(connection: WarehouseConnection, *, run_id: int) -> None:
    """Create ``present_device``: the SIMs whose usage a run reads, with their rate plans within the period."""


@statement("device_sync/queue_usage", needs=["device_sync/collect_present_devices"])
def queue_usage(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, is_full: bool, has_bulk_usage: bool
) -> None:
    """Queue the usage reads of a run: one per rate plan, version and usage type, and one per SIM without bulk usage."""


@statement("device_sync/queue_details")
def queue_details(
    connection: WarehouseConnection,
    *,
    run_id: int,
    service_provider_id: int,
    cycle_start_date: date,
    list_is_exact_full: bool,
    list_is_partial: bool,
    list_is_full: bool,
    detail_calls_per_run: int,
) -> None:
    """Queue the detail reads of a run, up to a limit: SIMs whose details were never read, or may have changed."""


@statement("device_sync/compare_usage", needs=["device_sync/collect_present_devices"])
def compare_usage(connection: WarehouseConnection, *, run_id: int) -> None:
    """Create ``compared_usage``: the counters that a run has read beside those of the warehouse."""


@statement("device_sync/queue_single_reads", needs=["device_sync/compare_usage"])
def queue_single_reads(
    connection: WarehouseConnection, *, run_id: int, maximum_reads: int, proof_reads: int
) -> QueuedReads:
    """Queue single reads of the SIMs whose bulk usage is in doubt, the most valuable first, up to a limit a run."""


@statement("device_sync/remember_refused_plans", needs=["device_sync/collect_present_devices"])
def remember_refused_plans(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, maximum_reads: int, now: datetime
) -> list[RefusedPlan]:
    """Remember the rate plans whose bulk usage the carrier refused, as shared; return the new ones."""


@statement("device_sync/next_work_row")
def next_work_row(connection: WarehouseConnection, *, run_id: int) -> WorkRow | None:
    """Return the next read of a run, None if all are complete."""


@statement("device_sync/advance_work_row")
def advance_work_row(connection: WarehouseConnection, *, work_row_id: int, page_number: int) -> None:
    """Move a bulk usage read to the page after the one just staged."""


@statement("device_sync/defer_work_row")
def defer_work_row(connection: WarehouseConnection, *, work_row_id: int) -> None:
    """Move a read that failed to the end of the queue."""


@statement("device_sync/finish_work_row")
def finish_work_row(
    connection: WarehouseConnection,
    *,
    work_row_id: int,
    refusal: str | None,
    refusal_status: int | None,
    now: datetime,
) -> None:
    """Move the work row of a completed or refused read to the list of what the run covered."""


@statement("device_sync/delete_usage_read")
def delete_usage_read(
    connection: WarehouseConnection, *, run_id: int, usage_type: str, rate_plan_code: str, rate_plan_version: int
) -> None:
    """Delete what a bulk usage read has staged and quarantined."""


@statement("device_sync/is_listed")
def is_listed(connection: WarehouseConnection, *, run_id: int, iccid: str) -> bool:
    """Return True if the device list of a run contains a SIM."""


@statement("device_sync/has_usage_answer")
def has_usage_answer(connection: WarehouseConnection, *, run_id: int) -> bool:
    """Return True if the carrier has answered any usage read of a run."""


@statement("device_sync/staging_progress")
def staging_progress(
    connection: WarehouseConnection, *, run_ids: list[int], count_rules: Jsonb
) -> list[StagingProgress]:
    """Return the progress of the staging of runs, in any order."""


@statement("device_sync/insert_carrier_page")
def insert_carrier_page(
    connection: WarehouseConnection,
    *,
    run_id: int,
    kind: str,
    scan_pass: int,
    rate_plan_code: str,
    rate_plan_version: int,
    usage_type: str,
    iccid: str,
    page_number: int,
    is_refusal: bool,
    received_at: datetime,
    document: bytes,
) -> None:
    """Store an answer of the carrier until it is archived."""


@statement("device_sync/stage_details")
def stage_details(
    connection: WarehouseConnection,
    *,
    run_id: int,
    iccid: str,
    imsi: str | None,
    msisdn: str | None,
    imei: str | None,
    date_activated: datetime | None,
    is_complete: bool,
    now: datetime,
) -> None:
    """Stage the details of one SIM."""


@statement("device_sync/count_usage_records")
def count_usage_records(
    connection: WarehouseConnection, *, run_id: int, usage_type: str, rate_plan_code: str, rate_plan_version: int
) -> RecordCount:
    """Count the records that a bulk usage read has staged, and the pairs of SIM and zone among them."""


@statement("device_sync/find_usage_duplicates")
def find_usage_duplicates(
    connection: WarehouseConnection, *, run_id: int, usage_type: str, rate_plan_code: str, rate_plan_version: int
) -> UsageDuplicates:
    """Count the SIMs that appear on two pages of a bulk usage read in the same zone."""


@statement("device_sync/restart_usage_read")
def restart_usage_read(
    connection: WarehouseConnection,
    *,
    work_row_id: int,
    run_id: int,
    usage_type: str,
    rate_plan_code: str,
    rate_plan_version: int,
) -> None:
    """Start a bulk usage read again from its first page, without what it has staged and quarantined."""


@statement("device_sync/delete_earlier_usage")
def delete_earlier_usage(
    connection: WarehouseConnection, *, run_id: int, usage_type: str, rate_plan_code: str, rate_plan_version: int
) -> None:
    """Delete the earlier rows of the SIMs that a bulk usage read returned on two pages in the same zone."""


@statement("device_sync/has_staged_usage")
def has_staged_usage(connection: WarehouseConnection, *, run_id: int) -> bool:
    """Return True if the usage that a run staged still exists."""
