"""Scan a carrier's device list: window by window, page by page, and again where SIMs moved during the scan.

Pages are numbered across the windows of a list. In a later pass a window may have fewer pages than before, since its
SIMs move to the last window when they are modified: the pages that it no longer has count as empty.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from amop.carriers.errors import CarrierEmptyPageError, CarrierRequestError
from amop.carriers.page import CarrierPage
from amop.carriers.protocol import CarrierClient, DevicePage
from amop.clock import Clock
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection
from amop.device_sync.list_batches import CarrierSpeed, request_page, stage_fast_pages
from amop.device_sync.list_guards import MAXIMUM_SCAN_PASSES, check_list_paging, check_repeated_pages
from amop.device_sync.list_windows import MARGIN, Span, first_spans, limited_spans, recent_span
from amop.device_sync.rows import ListWindow, ScanPosition
from amop.device_sync.staging import ListedPage, stage_list_page, store_answer
from amop.device_sync.store import reads
from amop.device_sync.unlisted import stage_unlisted
from amop.log_lines import is_milestone
from amop.runs.errors import ListGuardError
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import record_progress

log = logging.getLogger(__name__)


def read_list_page(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    client: CarrierClient,
    clock: Clock,
    speed: CarrierSpeed,
) -> None:
    """Stage the next page of the list; plan other windows if the carrier refuses or ends the present one.

    While the carrier is fast, several pages are staged together: `amop.device_sync.list_batches`.
    """
    since = run.modified_since or client.list_limits.earliest
    windows = reads.list_windows(connection, run_id=run.id)
    if not windows:
        windows = _plan(connection, run, first_spans(since, clock(), client.list_limits))
    page_number = position.next_page
    window = [window for window in windows if window.first_page is not None and window.first_page <= page_number][-1]
    number = page_number - (window.first_page or 1) + 1
    is_gap = False
    if speed.is_fast and window is windows[-1] and number > 1:
        stage_fast_pages(connection, run, position, window, client, clock, speed)
        return
    began = clock()
    try:
        page = request_page(client, window, number, position.next_after)
        speed.observe((clock() - began).total_seconds())
    except CarrierRequestError as error:
        if not position.list_is_whole or not _may_be_refused_date(window, number, client, error, clock()):
            raise
        _replan_refused(connection, run, windows, client, error, clock())
        return
    except CarrierEmptyPageError as error:
        if not request_page(client, window, number + 1).devices:
            raise
        log.warning(
            "%s: page %s of the device list stays empty although the next one has SIMs; this run marks no SIM as "
            "vanished",
            run.service_provider_name,
            page_number,
        )
        page, is_gap = DevicePage(number, [], False, error.document), True
    if position.list_is_whole and _is_ended_silently(windows, page, number, client, clock()):
        _replan_empty(connection, run, windows[0], page, client, clock())
        return
    _stage_page(connection, run, position, windows, window, page, clock(), is_gap=is_gap)


def _plan(connection: WarehouseConnection, run: SyncRun, spans: list[Span]) -> list[ListWindow]:
    """Replace the windows of a run; the first one begins at page 1."""
    reads.delete_list_windows(connection, run_id=run.id)
    windows = [
        ListWindow(number, span.since, span.till, 1 if number == 1 else None)
        for number, span in enumerate(spans, start=1)
    ]
    for window in windows:
        reads.insert_list_window(
            connection,
            run_id=run.id,
            window_number=window.window_number,
            modified_since=window.modified_since,
            modified_till=window.modified_till,
            first_page=window.first_page,
        )
    return windows


def _may_be_refused_date(
    window: ListWindow, number: int, client: CarrierClient, error: CarrierRequestError, now: datetime
) -> bool:
    """Return True if a carrier that limits the age or the span of a list may have refused this request for it."""
    is_old = now - window.modified_since > client.list_limits.longest - MARGIN
    return error.status == 400 and number == 1 and window.window_number == 1 and is_old


def _replan_refused(
    connection: WarehouseConnection,
    run: SyncRun,
    windows: list[ListWindow],
    client: CarrierClient,
    error: CarrierRequestError,
    now: datetime,
) -> None:
    """Plan windows of the longest span after the open one is refused, and the most recent one after these."""
    limits, since = client.list_limits, windows[0].modified_since
    refusal = {"status": error.status, "errorMessage": error.error_message, "reason": str(error)}
    if windows[0].modified_till is None:
        log.warning("%s: %s; reading the list in windows of %s", run.service_provider_name, error, limits.longest)
        _plan(connection, run, limited_spans(since, now, limits))
        attempt = -1
    else:
        recent = recent_span(now, limits)
        log.warning(
            "%s: %s; reading what was modified since %s. The list may not be whole: this run marks no SIM as vanished",
            run.service_provider_name,
            error,
            recent.since,
        )
        _plan(connection, run, [recent])
        reads.mark_list_partial(connection, run_id=run.id)
        attempt = -2
    store_answer(connection, run.id, CarrierPage("device_list", now, refusal, 1, attempt, is_refusal=True))
    record_progress(connection, run.id, pages=0, now=now)


def _is_ended_silently(
    windows: list[ListWindow], page: DevicePage, number: int, client: CarrierClient, now: datetime
) -> bool:
    """Return True for an empty list that was asked for in one open window longer than the limit."""
    is_long = now - windows[0].modified_since > client.list_limits.longest - MARGIN
    return len(windows) == 1 and is_long and number == 1 and page.is_last_page and not page.devices


def _replan_empty(
    connection: WarehouseConnection,
    run: SyncRun,
    window: ListWindow,
    page: DevicePage,
    client: CarrierClient,
    now: datetime,
) -> None:
    """Plan windows of the longest span: the carrier may have ended the list that long after its start."""
    log.info("%s: no SIM is listed since %s; reading windows", run.service_provider_name, window.modified_since)
    _plan(connection, run, limited_spans(window.modified_since, now, client.list_limits))
    store_answer(connection, run.id, CarrierPage("device_list", now, page.document, 1, -3))
    record_progress(connection, run.id, pages=0, now=now)


def _stage_page(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    windows: list[ListWindow],
    window: ListWindow,
    page: DevicePage,
    now: datetime,
    *,
    is_gap: bool,
) -> None:
    page_number, scan_pass = position.next_page, position.scan_pass
    following = windows[window.window_number] if window.window_number < len(windows) else None
    is_last = page.is_last_page and following is None
    listed = ListedPage(page_number, replace(page, is_last_page=is_last), now)
    stage_list_page(connection, run.id, scan_pass, listed, identifier=run.identifier, is_gap=is_gap)
    store_answer(connection, run.id, CarrierPage("device_list", now, page.document, scan_pass, page_number))
    record_progress(connection, run.id, pages=1, now=now)
    if following is not None:
        _begin_next_window(connection, run, position, following, page, now)
    if not is_last:
        check_list_paging(connection, run, scan_pass, page_number)
    if is_milestone(page_number) or is_last:
        log.info("%s: staging page %s of the device list", run.service_provider_name, page_number)


def _begin_next_window(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    following: ListWindow,
    page: DevicePage,
    now: datetime,
) -> None:
    """Begin the following window after the last page of the present one.

    Raises:
        ListGuardError: the present window has more pages than in an earlier pass.
    """
    page_number = position.next_page
    if not page.is_last_page:
        if following.first_page == page_number + 1:
            raise ListGuardError(
                f"{run.label}, run {run.id}: the SIMs modified before {following.modified_since} became more while the "
                "device list was read; trigger a new run. Nothing was merged"
            )
        return
    if following.first_page is None:
        reads.start_list_window(
            connection, run_id=run.id, window_number=following.window_number, first_page=page_number + 1
        )
        return
    for missing in range(page_number + 1, following.first_page):
        reads.insert_list_page(
            connection,
            run_id=run.id,
            scan_pass=position.scan_pass,
            page_number=missing,
            device_count=0,
            is_last_page=False,
            is_gap=False,
            next_after=None,
            now=now,
        )


def end_scan_pass(
    connection: WarehouseConnection,
    run: SyncRun,
    position: ScanPosition,
    last_page: int,
    client: CarrierClient,
    clock: Clock,
    *,
    is_resumed: bool,
) -> None:
    """Decide after the last page: read again because SIMs moved, or complete the list and queue the usage reads.

    The SIMs that an exact full list does not contain are read individually before it is complete. ``is_resumed``: this
    process has read no page of the list.
    """
    found = reads.find_list_duplicates(connection, run_id=run.id, last_page=last_page)
    # The same SIMs at the same places in two passes: the carrier lists them twice, nothing has moved.
    is_permanent = found.duplicate_count > 0 and found.signature == position.scan_duplicates
    if found.first_page is not None and not is_permanent and position.scan_pass < MAXIMUM_SCAN_PASSES:
        first_page = max(1, found.first_page - 1)
        log.info(
            "%s: %s SIMs moved while the list was read; reading again from page %s",
            run.service_provider_name,
            found.duplicate_count,
            first_page,
        )
        reads.start_scan_pass(
            connection,
            run_id=run.id,
            scan_pass=position.scan_pass + 1,
            scan_first_page=first_page,
            scan_duplicates=found.signature,
        )
        return
    if is_permanent:
        check_repeated_pages(connection, run, last_page)
    is_still = not found.duplicate_count or is_permanent
    if not is_still:
        log.warning(
            "%s: SIMs of the list still moved in pass %s; this run marks no SIM as vanished",
            run.service_provider_name,
            MAXIMUM_SCAN_PASSES,
        )
    is_exact = is_still and position.list_is_whole and not position.has_gap
    detail_calls = run.detail_calls_per_run
    if is_exact and run.is_full:
        detail_calls -= stage_unlisted(connection, run, position, last_page, client, clock, is_resumed=is_resumed)
    _complete_list(
        connection,
        run,
        is_exact=is_exact,
        is_whole=position.list_is_whole,
        detail_calls=detail_calls,
        now=clock(),
    )


def _complete_list(
    connection: WarehouseConnection,
    run: SyncRun,
    *,
    is_exact: bool,
    is_whole: bool,
    detail_calls: int,
    now: datetime,
) -> None:
    reads.collect_present_devices(connection, run_id=run.id)
    reads.queue_usage(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        is_full=run.is_full,
        has_bulk_usage=KNOWN_INTEGRATIONS[run.integration].api.capabilities.bulk_usage,
    )
    reads.queue_details(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        cycle_start_date=run.cycle_start.astimezone(ZoneInfo(run.time_zone)).date(),
        list_is_exact_full=run.is_full and is_exact,
        list_is_partial=run.is_full and not is_whole,
        list_is_full=run.is_full,
        detail_calls_per_run=detail_calls,
    )
    reads.delete_list_work_row(connection, run_id=run.id)
    reads.complete_list(connection, run_id=run.id, list_is_exact=is_exact, now=now)
