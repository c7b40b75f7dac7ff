"""Guards over a carrier's paging: endless lists, repeated pages, SIMs that move between two pages during a read."""

from __future__ import annotations

import logging

from amop.database.connection import WarehouseConnection
from amop.device_sync.rows import RecordCount, WorkRow
from amop.device_sync.store import reads
from amop.runs.errors import ListGuardError
from amop.runs.store.sync_runs import SyncRun

log = logging.getLogger(__name__)

MAXIMUM_PAGES = 100_000
"""Refuse a list with this many pages (5 million SIMs): the carrier never sends a last page."""

MAXIMUM_SCAN_PASSES = 5
"""Read a list at most this many times because SIMs moved during the scan."""

SPARE_ROWS = 150
"""Records allowed beyond two per SIM: three pages of repeated SIMs."""

CHECKED_PAGES = frozenset(10 * 2**doubling for doubling in range(14))
"""Page numbers after which a list is checked for endless paging. Each is twice the one before: counting costs little,
and an endless list is detected at no more than twice the earliest possible length."""


def check_list_paging(connection: WarehouseConnection, run: SyncRun, scan_pass: int, page_number: int) -> None:
    """Check at growing intervals that the pages of a device list still contain new SIMs.

    Raises:
        ListGuardError: they do not, or there are too many of them.
    """
    if page_number in CHECKED_PAGES:
        count = reads.count_list_records(connection, run_id=run.id, scan_pass=scan_pass)
        _refuse_endless_list(run, "the device list", page_number, count)
    _refuse_too_many_pages(run, "the device list", page_number)


def check_usage_paging(connection: WarehouseConnection, run: SyncRun, work: WorkRow) -> None:
    """Check at growing intervals that the pages of a bulk usage read still contain new SIMs.

    Raises:
        ListGuardError: they do not, or there are too many of them.
    """
    if work.page_number in CHECKED_PAGES:
        count = reads.count_usage_records(
            connection,
            run_id=run.id,
            usage_type=work.usage_type,
            rate_plan_code=work.rate_plan_code,
            rate_plan_version=work.rate_plan_version,
        )
        _refuse_endless_list(run, work.usage_read.label, work.page_number, count)
    _refuse_too_many_pages(run, work.usage_read.label, work.page_number)


def check_repeated_pages(connection: WarehouseConnection, run: SyncRun, last_page: int) -> None:
    """Check that no page of a completed scan holds only SIMs of earlier pages.

    Raises:
        ListGuardError: one does; the SIMs that belong on it are not known.
    """
    repeated = reads.find_repeated_page(connection, run_id=run.id, last_page=last_page)
    if repeated is not None:
        raise ListGuardError(_repeated_page_text(run, repeated, "the device list"))


def reread_moved_usage(connection: WarehouseConnection, run: SyncRun, work: WorkRow) -> bool:
    """Start a bulk usage read again if SIMs moved while it was read; return True if so. Call after its last page.

    A SIM has one record in a zone. A SIM on two pages moved during the read, or a page was sent twice: its usage must
    not count twice, and another SIM may have been missed. After the last allowed pass the later record counts.

    Raises:
        ListGuardError: a whole page repeats another one in every pass.
    """
    found = reads.find_usage_duplicates(
        connection,
        run_id=run.id,
        usage_type=work.usage_type,
        rate_plan_code=work.rate_plan_code,
        rate_plan_version=work.rate_plan_version,
    )
    if not found.duplicate_count:
        return False
    if work.scan_pass < MAXIMUM_SCAN_PASSES:
        log.info(
            "%s: %s SIMs moved while %s was read; reading it again",
            run.service_provider_name,
            found.duplicate_count,
            work.usage_read.label,
        )
        reads.restart_usage_read(
            connection,
            work_row_id=work.id,
            run_id=run.id,
            usage_type=work.usage_type,
            rate_plan_code=work.rate_plan_code,
            rate_plan_version=work.rate_plan_version,
        )
        return True
    if found.repeated_page is not None:
        raise ListGuardError(_repeated_page_text(run, found.repeated_page, work.usage_read.label))
    reads.delete_earlier_usage(
        connection,
        run_id=run.id,
        usage_type=work.usage_type,
        rate_plan_code=work.rate_plan_code,
        rate_plan_version=work.rate_plan_version,
    )
    return False


def _refuse_endless_list(run: SyncRun, what: str, page_number: int, count: RecordCount) -> None:
    if count.records > 2 * count.sims + SPARE_ROWS:
        raise ListGuardError(
            f"{run.label}, run {run.id}: {page_number} pages of {what} hold {count.records} records of only "
            f"{count.sims} SIMs, and none is marked as the last page; contact the carrier. Nothing was merged"
        )


def _refuse_too_many_pages(run: SyncRun, what: str, page_number: int) -> None:
    if page_number >= MAXIMUM_PAGES:
        raise ListGuardError(
            f"{run.label}, run {run.id}: {what} has {MAXIMUM_PAGES} pages and no last one; contact the carrier. "
            "Nothing was merged"
        )


def _repeated_page_text(run: SyncRun, page_number: int, what: str) -> str:
    return (
        f"{run.label}, run {run.id}: page {page_number} of {what} holds only SIMs of earlier pages in every reading; "
        "contact the carrier. Nothing was merged"
    )
