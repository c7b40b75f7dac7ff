"""A back-fill: the archived answers of a day, through the staging of a live sync, into history and nowhere else.

``amop.device`` keeps what it says (a SIM that it does not know gets a row that is not active), the carrier is not
called, and AMOP hears of it only if asked. A replay is a run of its own, ``device_sync_run.replayed_run_id`` says of
which one; it may run beside a live run and beside other replays: only the writing of history takes the provider's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from amop.carriers.control_center import MalformedPageError, read_device_page, read_usage_page
from amop.carriers.page_archive import ArchivedRun, ArchiveError, ArchivePath, complete_runs, open_run
from amop.domain.carrier_page import CarrierPage
from amop.pipeline.cleanup import prove_balance, refuse_unless_complete
from amop.pipeline.device_sync import (
    Clock,
    stage_device_usage,
    stage_page,
    stage_refusal,
    stage_usage_page,
    utc_now,
)
from amop.pipeline.errors import MergeRefusedError
from amop.pipeline.history import OBSERVED_BY_ARCHIVE, record_devices, record_usage, usage_date_of
from amop.pipeline.list_guards import MAXIMUM_SCAN_PASSES
from amop.pipeline.sync_runs import end_run, load_run, running_run
from amop.warehouse import sql
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.outbox import enqueue_daily_sync_notice

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One provider's part of a back-fill run: replay what its sync runs of one day had received."""

    integration: str
    dag_id: str
    dag_run_id: str
    service_provider_id: int
    time_zone: str
    started_from: datetime
    """First moment of the day: the logical date of the DAG run."""
    started_before: datetime
    """First moment of the next one."""
    notifies_amop: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay of one archived run did."""

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
    """Replay every archived run of a provider that started on one day, in their order; none = there is no archive.

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
                f"{request.service_provider_id} of {request.integration}: somebody moved it"
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
    """Open the replay's run and stage every archived answer, in one transaction; return run id and answers."""
    with transaction(conninfo, application_name="amop replay_archive") as connection:
        period = ensure_billing_period(connection, archived.service_provider_id, archived.cycle_start)
        opened = connection.execute(
            sql.load("replay/open_run"),
            {
                "service_provider_id": archived.service_provider_id,
                "dag_id": request.dag_id,
                # The DAG run may be the very one that was live on that day, and a day may have had several runs.
                "dag_run_id": f"{request.dag_run_id}#{archived.run_id}",
                "billing_period_id": period["id"],
                "replayed_run_id": archived.run_id,
                "now": now,
            },
        ).fetchone()
        if opened is None:  # INSERT … ON CONFLICT DO UPDATE … RETURNING always returns its row
            raise ArchiveError(f"no run could be opened to replay {path}")
        run_id = int(opened["id"])
        connection.execute(sql.load("replay/forget_staging"), {"run_id": run_id})
        count = 0
        reading: dict[tuple[Any, ...], int] = {}
        try:
            for page in pages:
                count += 1
                is_last_reading = reading.setdefault(page.question, page.scan_pass) == page.scan_pass
                if page.kind == "device_list" or is_last_reading:
                    STAGERS[page.kind](connection, run_id, page)
        except MalformedPageError as error:
            raise ArchiveError(f"{path}: answer {count} cannot be read: {error}") from None
        connection.execute(
            sql.load("sync/complete_list"),
            {"run_id": run_id, "list_is_exact": archived.list_is_exact, "now": archived.usage_as_of},
        )
    return run_id, count


def _stage_list(connection: WarehouseConnection, run_id: int, page: CarrierPage) -> None:
    devices = read_device_page(page.document, page_number=page.page_number)
    stage_page(connection, run_id, page.scan_pass, page.page_number, devices, page.received_at)


def _stage_plan_usage(connection: WarehouseConnection, run_id: int, page: CarrierPage) -> None:
    usage = read_usage_page(page.document, usage_type=page.usage_type, page_number=page.page_number)
    asked = {
        "usage_type": page.usage_type,
        "rate_plan_code": page.rate_plan_code,
        "rate_plan_version": page.rate_plan_version,
        "page_number": page.page_number,
    }
    stage_usage_page(connection, run_id, asked, usage, page.received_at)
    if usage.is_last_page and page.scan_pass >= MAXIMUM_SCAN_PASSES:
        # The live run gave up reading it again; see `reads_usage_again`.
        connection.execute(sql.load("sync/keep_later_usage"), asked | {"run_id": run_id})


def _stage_device_usage(connection: WarehouseConnection, run_id: int, page: CarrierPage) -> None:
    stage = stage_refusal if page.is_refusal else stage_device_usage
    stage(connection, run_id, page.iccid, page.document, page.received_at)


def _leave_out(connection: WarehouseConnection, run_id: int, page: CarrierPage) -> None:
    """Details (numbers, activation) are no part of history."""


STAGERS: dict[str, Callable[[WarehouseConnection, int, CarrierPage], None]] = {
    "device_list": _stage_list,
    "rate_plan_usage": _stage_plan_usage,
    "device_usage": _stage_device_usage,
    "device_details": _leave_out,
}
"""Kind of answer → what stages it: the functions of a live sync."""


def _write_history(
    conninfo: str, run_id: int, path: ArchivePath, count: int, request: ReplayRequest, now: datetime
) -> Replayed:
    with transaction(conninfo, application_name="amop replay_archive") as connection:
        run = running_run(connection, run_id)
        connection.execute(sql.load("merge/lock_provider"), {"service_provider_id": run["service_provider_id"]})
        refuse_unless_complete(connection, run)
        scope = {"run_id": run_id, "service_provider_id": run["service_provider_id"], "now": now}
        connection.execute(sql.load("replay/add_unknown_devices"), scope)
        connection.execute(sql.load("replay/keep_period"), {"billing_period_id": run["billing_period_id"]})
        connection.execute(sql.load("merge/quarantine_unusable_usage"), scope)
        replayed = Replayed(
            run_id=run_id,
            replayed_run_id=run["replayed_run_id"],
            billing_period_id=run["billing_period_id"],
            usage_date=usage_date_of(run).isoformat(),
            devices_seen=run["devices_seen"],
            history_rows=record_devices(connection, run),
            usage_rows=record_usage(connection, run, observed_by=OBSERVED_BY_ARCHIVE),
            archive=str(path),
        )
        prove_balance(connection, load_run(connection, run_id))
        if request.notifies_amop:
            enqueue_daily_sync_notice(connection, run_id=run_id, service_provider_id=run["service_provider_id"])
        connection.execute(
            sql.load("replay/complete_run"),
            {"run_id": run_id, "pages": count, "summary": Jsonb(asdict(replayed)), "now": now},
        )
    log.info("%s: %s replayed, %s", run["service_provider_name"], path, asdict(replayed))
    return replayed
