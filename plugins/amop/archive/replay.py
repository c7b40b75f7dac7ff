"""Replay the archived answers of a past day for a back-fill: through the staging of a live sync into history only.

``amop.device`` keeps its values (an unknown SIM gets an inactive row), the carrier is not called, and AMOP is notified
only on request. A replay is a run of its own; ``device_sync_run.replayed_run_id`` names the replayed run. It may run
beside a live run and beside other replays: only writing history takes the provider's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from amop.archive import store
from amop.archive.page_archive import ArchivedRun, ArchiveError, ArchivePath, complete_runs, open_run
from amop.carriers.control_center_pages import read_device_page, read_usage_page
from amop.carriers.malformed import MalformedPageError
from amop.carriers.page import CarrierPage
from amop.clock import Clock, utc_now
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection, transaction
from amop.device_sync.history import record_archived_usage, record_device_history, usage_date_of
from amop.device_sync.list_guards import MAXIMUM_SCAN_PASSES
from amop.device_sync.merge import refuse_unless_complete
from amop.device_sync.quality import check_balance
from amop.device_sync.rows import UsageRead
from amop.device_sync.staging import (
    ListedPage,
    stage_device_usage,
    stage_list_page,
    stage_refusal,
    stage_usage_page,
)
from amop.device_sync.store import merges, reads, records
from amop.families import IdentifierRule
from amop.log_lines import figures
from amop.messages.outbox import enqueue_daily_sync_notice
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.errors import MergeRefusedError
from amop.runs.sync_runs import end_run, running_run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One provider's part of a back-fill run: replay the answers that its sync runs of one day received."""

    integration: str
    dag_id: str
    dag_run_id: str
    service_provider_id: int
    time_zone: str
    started_from: datetime
    """First moment of the day: the logical date of the DAG run."""
    started_before: datetime
    """First moment of the next day."""
    notifies_amop: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """Result of the replay of one archived run."""

    run_id: int
    replayed_run_id: int
    billing_period_id: int
    usage_date: str
    devices_seen: int
    history_rows: int
    """Rows of ``device_history`` that were written."""
    usage_rows: int
    """Rows of ``device_usage`` of that day that were written."""
    archive: str


def replay_day(conninfo: str, folder: ArchivePath, request: ReplayRequest, *, clock: Clock = utc_now) -> list[Replayed]:
    """Replay every archived run of a provider that started on one day, in order; an empty result means no archive.

    Repeating it changes nothing.

    Raises:
        ArchiveError: an object cannot be read.
        MergeRefusedError: a run has too many bad records; nothing of it is written.
    """
    paths = complete_runs(
        folder,
        integration=request.integration,
        service_provider_id=request.service_provider_id,
        time_zone=request.time_zone,
        started_from=request.started_from,
        started_before=request.started_before,
    )
    return [_replay_run(conninfo, path, request, clock) for path in paths]


def _replay_run(conninfo: str, path: ArchivePath, request: ReplayRequest, clock: Clock) -> Replayed:
    with open_run(path) as (archived, pages):
        if (archived.integration, archived.service_provider_id) != (request.integration, request.service_provider_id):
            raise ArchiveError(
                f"{path} is of provider {archived.service_provider_id} of {archived.integration}, not of "
                f"{request.service_provider_id} of {request.integration}: the object was moved"
            )
        run_id, count = _stage(conninfo, path, request, archived, pages, clock())
    try:
        return _write_history(conninfo, run_id, path, count, request, clock())
    except Exception as error:
        with transaction(conninfo, application_name="amop replay_archive") as connection:
            status = "refused" if isinstance(error, MergeRefusedError) else "failed"
            end_run(connection, run_id, status, str(error) or type(error).__name__, now=clock())
        raise


def _stage(
    conninfo: str,
    path: ArchivePath,
    request: ReplayRequest,
    archived: ArchivedRun,
    pages: Iterable[CarrierPage],
    now: datetime,
) -> tuple[int, int]:
    """Open the replay's run and stage every archived answer, in one transaction; return run id and answer count."""
    with transaction(conninfo, application_name="amop replay_archive") as connection:
        period = ensure_billing_period(connection, archived.service_provider_id, archived.cycle_start)
        run_id = store.open_replay(
            connection,
            service_provider_id=archived.service_provider_id,
            dag_id=request.dag_id,
            # The DAG run may be the one that was live on that day, and a day may have had several runs.
            dag_run_id=f"{request.dag_run_id}#{archived.run_id}",
            billing_period_id=period.id,
            replayed_run_id=archived.run_id,
            now=now,
        )
        store.delete_replay_staging(connection, run_id=run_id)
        count, identifier = 0, KNOWN_INTEGRATIONS[archived.integration].api.identifier
        last_passes: dict[tuple[str, str, int, str, str], int] = {}
        try:
            for page in pages:
                count += 1
                # The last reading of a plan's usage comes first, and only that one counts.
                is_last_pass = last_passes.setdefault(page.question, page.scan_pass) == page.scan_pass
                if page.kind == "device_list" or is_last_pass:
                    STAGERS[page.kind](connection, run_id, page, identifier)
        except MalformedPageError as error:
            raise ArchiveError(f"{path}: answer {count} cannot be read: {error}") from None
        reads.complete_list(connection, run_id=run_id, list_is_exact=archived.list_is_exact, now=archived.usage_as_of)
    return run_id, count


def _stage_list(connection: WarehouseConnection, run_id: int, page: CarrierPage, identifier: IdentifierRule) -> None:
    if page.page_number < 1:
        return  # an answer that is no page of the list: the carrier refused the dates, or ended the list before them
    # Pages are archived with their number in the whole list, and were checked when they were received.
    devices = read_device_page(page.document, page_number=None, may_be_empty=True)
    listed = ListedPage(page.page_number, devices, page.received_at)
    stage_list_page(connection, run_id, page.scan_pass, listed, identifier=identifier)


def _stage_plan_usage(
    connection: WarehouseConnection, run_id: int, page: CarrierPage, identifier: IdentifierRule
) -> None:
    if page.is_refusal:
        reads.delete_usage_read(
            connection,
            run_id=run_id,
            usage_type=page.usage_type,
            rate_plan_code=page.rate_plan_code,
            rate_plan_version=page.rate_plan_version,
        )
        return
    usage = read_usage_page(page.document, usage_type=page.usage_type, page_number=page.page_number)
    read = UsageRead(page.usage_type, page.rate_plan_code, page.rate_plan_version)
    stage_usage_page(connection, run_id, read, page.page_number, usage, page.received_at, identifier=identifier)
    if usage.is_last_page and page.scan_pass >= MAXIMUM_SCAN_PASSES:
        # The live run did not read it again after this pass; see `reread_moved_usage`.
        reads.delete_earlier_usage(
            connection,
            run_id=run_id,
            usage_type=page.usage_type,
            rate_plan_code=page.rate_plan_code,
            rate_plan_version=page.rate_plan_version,
        )


def _stage_device_usage(
    connection: WarehouseConnection, run_id: int, page: CarrierPage, identifier: IdentifierRule
) -> None:
    stage = stage_refusal if page.is_refusal else stage_device_usage
    stage(connection, run_id, page.iccid, page.document, page.received_at)


def _skip_details(connection: WarehouseConnection, run_id: int, page: CarrierPage, identifier: IdentifierRule) -> None:
    """Stage nothing: details (numbers, activation) are not part of history."""


STAGERS: dict[str, Callable[[WarehouseConnection, int, CarrierPage, IdentifierRule], None]] = {
    "device_list": _stage_list,
    "rate_plan_usage": _stage_plan_usage,
    "device_usage": _stage_device_usage,
    "device_details": _skip_details,
}
"""Kind of answer → the function that stages it, by the functions of a live sync."""


def _write_history(
    conninfo: str, run_id: int, path: ArchivePath, count: int, request: ReplayRequest, now: datetime
) -> Replayed:
    with transaction(conninfo, application_name="amop replay_archive") as connection:
        run = running_run(connection, run_id)
        provider_id = run.service_provider_id
        merges.lock_provider(connection, service_provider_id=provider_id)
        refuse_unless_complete(connection, run)
        store.insert_unknown_devices(connection, run_id=run_id, service_provider_id=provider_id, now=now)
        store.mark_usage_restored(connection, billing_period_id=run.billing_period_id)
        records.quarantine_unusable_usage(connection, run_id=run_id, service_provider_id=provider_id, now=now)
        replayed = Replayed(
            run_id=run_id,
            replayed_run_id=run.replayed_run_id or run_id,
            billing_period_id=run.billing_period_id,
            usage_date=usage_date_of(run).isoformat(),
            devices_seen=run.devices_seen,
            history_rows=record_device_history(connection, run),
            usage_rows=record_archived_usage(connection, run),
            archive=str(path),
        )
        check_balance(connection, run)
        if request.notifies_amop:
            enqueue_daily_sync_notice(connection, run_id=run_id, service_provider_id=provider_id)
        summary = Jsonb(asdict(replayed))
        store.complete_replay(connection, run_id=run_id, pages=count, summary=summary, now=now)
    log.info("%s: %s replayed, %s", run.service_provider_name, path, figures(replayed))
    return replayed
