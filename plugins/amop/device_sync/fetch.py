"""Fetch the carrier's device list and usage into staging, one transaction a page or a batch of them.

Every function may be killed at any point and called again: the ledger says what is staged,
``amop.device_usage_to_process`` what is left, and nothing is kept in memory between pages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from amop.carriers.errors import CarrierRequestError, CarrierUnavailableError
from amop.carriers.protocol import CarrierClient
from amop.clock import Clock, utc_now
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection, connect
from amop.device_sync.doubtful_usage import queue_single_reads
from amop.device_sync.list_batches import CarrierSpeed
from amop.device_sync.list_guards import check_usage_paging, reread_moved_usage
from amop.device_sync.list_scan import end_scan_pass, read_list_page
from amop.device_sync.rows import Refusal, WorkRow
from amop.device_sync.staging import (
    answer_to,
    stage_device_details,
    stage_device_usage,
    stage_refusal,
    stage_refused_details,
    stage_usage_page,
    store_answer,
)
from amop.device_sync.store import reads
from amop.device_sync.validation import CTD_COUNTERS
from amop.log_lines import is_milestone
from amop.runs.sessions import advance_session, session_is_running
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import claim_run, load_run, record_progress, require_running, require_step
from amop.wording import several

log = logging.getLogger(__name__)

QUEUED_PROGRESS = 20
"""Percent that AMOP receives when the sync is queued."""

ATTEMPTS_OF_A_READ = 2
"""A read that failed this often is tried once more after the carrier has answered another call, and then abandoned."""

FORBIDDEN = 403

CONSECUTIVE_FAILURES = 3
"""Abort after this many failed reads in a row: the problem is then not specific to one of them."""


def queue_sync(conninfo: str, run_id: int) -> None:
    """Insert the first work row of the run, which the clean-up waits for, and send AMOP 20 %.

    Raises:
        SyncRunEndedError: the run has failed or was refused.
    """
    with connect(conninfo, application_name="amop queue_sync") as connection:
        run = load_run(connection, run_id)
        if run.is_complete:
            return
        require_running(run)
        reads.queue_device_list(connection, run_id=run_id)
        if run.optimization_session_id is not None and session_is_running(connection, run.optimization_session_id):
            advance_session(connection, run.optimization_session_id, QUEUED_PROGRESS)


def fetch_devices(conninfo: str, run_id: int, client: CarrierClient, *, clock: Clock = utc_now) -> int:
    """Page the carrier's device list into staging until it is complete; return the number of SIMs listed.

    Resumes after the last page in the ledger. If a SIM appears twice in the list, others may have moved past the
    reader: the pages from the first such SIM on are read again until no new one appears, at most
    `amop.device_sync.list_guards.MAXIMUM_SCAN_PASSES` times. SIMs that a full list does not contain are read
    individually (`amop.device_sync.unlisted`).

    Raises:
        CarrierError: the carrier refused or could not be reached within the retry budget.
        ListGuardError: the carrier never sends a last page.
        SyncBusyError: another process still reads for this run.
        SyncRunEndedError: the run has ended meanwhile.
    """
    with connect(conninfo, application_name="amop fetch_devices") as connection:
        run = claim_run(connection, load_run(connection, run_id))
        if run is None:
            return reads.scan_position(connection, run_id=run_id).devices_seen
        speed, is_resumed = CarrierSpeed(), True
        while True:
            position = reads.scan_position(connection, run_id=run_id)
            connection.commit()
            if position.list_is_complete:
                break
            if position.pass_is_complete and position.last_staged_page is not None:
                last_page = position.last_staged_page
                end_scan_pass(connection, run, position, last_page, client, clock, is_resumed=is_resumed)
            else:
                is_resumed = False
                read_list_page(connection, run, position, client, clock, speed)
            connection.commit()
        log.info("%s: the device list is complete, %s SIMs", run.service_provider_name, position.devices_seen)
        return position.devices_seen


def fetch_usage(conninfo: str, run_id: int, client: CarrierClient, *, clock: Clock = utc_now) -> int:
    """Complete the run's work rows: bulk usage per rate plan, single SIMs, details; return the number of reads made.

    A read that the carrier refuses, or for which alone it fails, does not end the run: a rate plan's SIMs are read one
    by one (`amop.device_sync.doubtful_usage`), a SIM is quarantined.

    Raises:
        CarrierError: the carrier refused its user or every read, or could not be reached within the retry budget.
        StepMissingError: the device list is not complete: an operator marked its task as success.
        SyncBusyError: another process still reads for this run.
        SyncRunEndedError: the run has ended meanwhile.
    """
    calls = failures = 0
    with connect(conninfo, application_name="amop fetch_usage") as connection:
        run = claim_run(connection, load_run(connection, run_id))
        if run is not None:
            require_step(run, "fetch_devices", is_done=run.list_is_complete)
        while run is not None:
            work = reads.next_work_row(connection, run_id=run_id)
            if work is None and queue_single_reads(connection, run, clock()):
                connection.commit()
                continue
            connection.commit()
            if work is None:
                log.info("%s: usage is staged, %s calls", run.service_provider_name, calls)
                break
            try:
                _complete_work_row(connection, run, work, client, clock)
                failures = 0
            except CarrierUnavailableError as error:
                failures += 1
                reads.defer_work_row(connection, work_row_id=work.id)
                connection.commit()
                if error.retry_at is not None or failures >= CONSECUTIVE_FAILURES:
                    raise
                log.warning("%s; the read moves to the end of the queue", error)
                continue
            if reads.next_work_row(connection, run_id=run_id) is None:
                # In the same transaction: the clean-up starts when no work row is left.
                queue_single_reads(connection, run, clock())
            connection.commit()
            calls += 1
            if is_milestone(calls):
                log.info("%s: %s usage calls made", run.service_provider_name, calls)
        return calls


def _complete_work_row(
    connection: WarehouseConnection, run: SyncRun, work: WorkRow, client: CarrierClient, clock: Clock
) -> None:
    """Complete one read; give it up if it has failed before, while the carrier answers another call."""
    if work.attempts < ATTEMPTS_OF_A_READ:
        READERS[work.kind](connection, run, work, client, clock)
        return
    # Raises if the carrier is away: then the read is not at fault.
    client.list_devices_page(modified_since=clock(), page_number=1)
    try:
        READERS[work.kind](connection, run, work, client, clock)
    except CarrierUnavailableError as error:
        reason = (
            f"{error.cause or error} in {several(work.attempts + 1, 'attempt')}, while the carrier answers other calls"
        )
        log.warning("%s: %s is abandoned: %s", run.service_provider_name, work.label, reason)
        if work.kind == "rate_plan_usage":
            _refuse_usage_read(connection, run, work, status=None, reason=reason, now=clock())
        else:
            _refuse_device_read(connection, run, work, Refusal(None, error.cause, reason), clock())
            _finish(connection, work, clock())
            record_progress(connection, run.id, pages=0, now=clock())


def _read_rate_plan_usage(
    connection: WarehouseConnection, run: SyncRun, work: WorkRow, client: CarrierClient, clock: Clock
) -> None:
    try:
        page = client.rate_plan_usage_page(
            rate_plan_code=work.rate_plan_code,
            rate_plan_version=work.rate_plan_version,
            usage_type=work.usage_type,
            cycle_start=_first_day(run),
            page_number=work.page_number,
        )
    except CarrierRequestError as error:
        if error.status == FORBIDDEN and not reads.has_usage_answer(connection, run_id=run.id):
            # Perhaps the API user may read no usage at all: the other reads show it, and then this one is final.
            if work.attempts:
                raise
            reads.defer_work_row(connection, work_row_id=work.id)
            return
        log.warning("%s: %s", run.service_provider_name, error)
        reason = f"{error.status}: {error.error_message}" if error.error_message else str(error.status)
        _refuse_usage_read(connection, run, work, status=error.status, reason=reason, now=clock())
        return
    now = clock()
    stage_usage_page(connection, run.id, work.usage_read, work.page_number, page, now, identifier=run.identifier)
    store_answer(connection, run.id, answer_to(work, page.document, now))
    if not page.is_last_page:
        check_usage_paging(connection, run, work)
        reads.advance_work_row(connection, work_row_id=work.id, page_number=work.page_number)
    elif not reread_moved_usage(connection, run, work):
        _finish(connection, work, now)
    record_progress(connection, run.id, pages=1, now=now)


def _finish(connection: WarehouseConnection, work: WorkRow, now: datetime) -> None:
    reads.finish_work_row(connection, work_row_id=work.id, refusal=None, refusal_status=None, now=now)


def _refuse_usage_read(
    connection: WarehouseConnection, run: SyncRun, work: WorkRow, *, status: int | None, reason: str, now: datetime
) -> None:
    """Finish a bulk usage read that the carrier refused for good, without what it has staged."""
    reads.delete_usage_read(
        connection,
        run_id=run.id,
        usage_type=work.usage_type,
        rate_plan_code=work.rate_plan_code,
        rate_plan_version=work.rate_plan_version,
    )
    store_answer(connection, run.id, answer_to(work, {"status": status, "reason": reason}, now, is_refusal=True))
    reads.finish_work_row(connection, work_row_id=work.id, refusal=reason, refusal_status=status, now=now)
    record_progress(connection, run.id, pages=0, now=now)


def _read_device_usage(
    connection: WarehouseConnection, run: SyncRun, work: WorkRow, client: CarrierClient, clock: Clock
) -> None:
    raw = _read_one_device(connection, run, work, partial(_usage_of_existing, connection, run, client), clock)
    now = clock()
    if raw is not None:
        stage_device_usage(connection, run.id, work.iccid, raw, now)
    _finish(connection, work, now)
    record_progress(connection, run.id, pages=0, now=now)


def _usage_of_existing(
    connection: WarehouseConnection, run: SyncRun, client: CarrierClient, iccid: str
) -> dict[str, Any]:
    """Return the usage of one SIM; of one without usage that is missing from the list, check that it exists.

    Teal has no usage of an eSIM that it does not know, and says no more. Without the check its counters would become 0.
    A carrier with a list of the modified SIMs alone refuses such a read, and SIMs missing from that list are many.

    Raises:
        CarrierNotFoundError: the carrier does not have the SIM.
    """
    document = client.device_ctd_usage(iccid, cycle_start=_first_day(run))
    lists_all = not KNOWN_INTEGRATIONS[run.integration].api.capabilities.modified_list
    if lists_all and document.get(CTD_COUNTERS["DATA"]) == 0:
        is_listed = reads.is_listed(connection, run_id=run.id, iccid=iccid)
        connection.commit()
        if not is_listed:
            client.device_details(iccid)
    return document


def _first_day(run: SyncRun) -> date:
    """Return the local date on which the run's billing period began."""
    return run.cycle_start.astimezone(ZoneInfo(run.time_zone)).date()


def _read_device_details(
    connection: WarehouseConnection, run: SyncRun, work: WorkRow, client: CarrierClient, clock: Clock
) -> None:
    raw = _read_one_device(connection, run, work, client.device_details, clock)
    now = clock()
    if raw is not None:
        stage_device_details(connection, run.id, work.iccid, raw, now)
    _finish(connection, work, now)
    record_progress(connection, run.id, pages=0, now=now)


def _read_one_device(
    connection: WarehouseConnection,
    run: SyncRun,
    work: WorkRow,
    read: Callable[[str], dict[str, Any]],
    clock: Clock,
) -> dict[str, Any] | None:
    """Read one SIM; None if the carrier refused it for good. The run continues; the refusal is quarantined."""
    try:
        document = read(work.iccid)
    except CarrierRequestError as error:
        log.warning("%s: %s", run.service_provider_name, error)
        _refuse_device_read(connection, run, work, Refusal(error.status, error.error_message, str(error)), clock())
        return None
    store_answer(connection, run.id, answer_to(work, document, clock()))
    return document


def _refuse_device_read(
    connection: WarehouseConnection, run: SyncRun, work: WorkRow, refused: Refusal, now: datetime
) -> None:
    """Store and quarantine a refusal of one SIM."""
    document = {"status": refused.status, "errorMessage": refused.error_message, "reason": refused.reason}
    store_answer(connection, run.id, answer_to(work, document, now, is_refusal=True))
    stage = stage_refusal if work.kind == "device_usage" else stage_refused_details
    stage(connection, run.id, work.iccid, document, now)


READERS: dict[str, Callable[[WarehouseConnection, SyncRun, WorkRow, CarrierClient, Clock], None]] = {
    "rate_plan_usage": _read_rate_plan_usage,
    "device_usage": _read_device_usage,
    "device_details": _read_device_details,
}
"""Kind of work row → the function that completes it."""
