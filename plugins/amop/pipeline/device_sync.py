"""The sync half of a day: the carrier's device list and usage into staging, one transaction a page.

Every function may be killed at any instant and called again: what is staged is in the ledger, what is left is in
``amop.device_usage_to_process``, and nothing is kept in memory between pages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from amop.carriers.errors import CarrierRequestError
from amop.carriers.protocol import CarrierClient, DevicePage, UsagePage
from amop.domain.carrier_page import CarrierPage
from amop.domain.validation import (
    LONGEST_TEXT,
    Rejected,
    usable_iccid,
    validate_ctd_usage,
    validate_details,
    validate_listed_device,
    validate_usage,
)
from amop.pipeline.list_guards import (
    MAXIMUM_SCAN_PASSES,
    check_paging_of_list,
    check_paging_of_usage,
    check_repeated_pages,
    queue_unnamed_usage,
    reads_usage_again,
)
from amop.pipeline.sync_runs import held_run, is_complete, load_run, note_progress, reopen_run, running_run
from amop.warehouse import sql
from amop.warehouse.carrier_pages import keep_page
from amop.warehouse.connection import WarehouseConnection, connect, transaction
from amop.warehouse.quarantine import BadRecord, set_aside, storable_form
from amop.warehouse.sessions import advance_session
from amop.warehouse.staging import COPY_DEVICES, COPY_USAGE, copy_rows

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

BEGINNING_OF_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""``modifiedSince`` of a full list: before the first SIM of any account."""

LOG_EVERY_PAGES = 20


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


def queue_sync(conninfo: str, run_id: int, *, clock: Clock = utc_now, may_reopen: bool = True) -> None:
    """Write the first work row of the run and tell AMOP 20 %: from here on the clean-up has something to wait for.

    ``may_reopen`` lets a run that failed go on, here and in the other two steps; False for a task that comes back by
    itself, so that a run that was given up meanwhile stays so.

    Raises:
        SyncRunEndedError: the run was refused, or ended before it began.
    """
    if may_reopen:
        reopen_run(conninfo, run_id, now=clock())
    with transaction(conninfo, application_name="amop queue_sync") as connection:
        if is_complete(connection, run_id):
            return
        run = running_run(connection, run_id)
        connection.execute(sql.load("sync/queue_device_list"), {"run_id": run_id})
        if run["optimization_session_id"] is not None and not _session_has_ended(connection, run):
            advance_session(connection, run["optimization_session_id"], 20)


def _session_has_ended(connection: WarehouseConnection, run: dict[str, Any]) -> bool:
    session = connection.execute(
        sql.load("sync/session_status"), {"session_id": run["optimization_session_id"]}
    ).fetchone()
    return session is None or session["status"] != "running"


def fetch_devices(
    conninfo: str, run_id: int, client: CarrierClient, *, clock: Clock = utc_now, may_reopen: bool = True
) -> int:
    """Page the carrier's device list into staging until it is complete; return the number of SIMs listed.

    Goes on after the last page in the ledger. When a SIM stands twice in the list, others may have moved past the
    reader: the pages from the first such SIM on are read again until no new one appears, within a bound.

    Raises:
        CarrierError: the carrier refused or could not be reached within the retry budget.
        ListGuardError: the carrier pages without end.
        SyncBusyError: another process reads for this run, and goes on doing so.
        SyncRunEndedError: the run has ended meanwhile.
    """
    if may_reopen:
        reopen_run(conninfo, run_id, now=clock())
    with connect(conninfo, application_name="amop fetch_devices") as connection:
        run = held_run(connection, run_id)
        if run is None:
            return int(load_run(connection, run_id)["devices_seen"])
        modified_since = run["modified_since"] or BEGINNING_OF_TIME
        while True:
            position = connection.execute(sql.load("sync/scan_position"), {"run_id": run_id}).fetchone()
            connection.commit()
            if position is None or position["list_is_complete"]:
                break
            if position["pass_is_complete"]:
                _end_scan_pass(connection, run, position, clock())
                connection.commit()
                continue
            page_number = (position["last_staged_page"] or position["scan_first_page"] - 1) + 1
            page = client.list_devices_page(modified_since=modified_since, page_number=page_number)
            now = clock()
            stage_page(connection, run_id, position["scan_pass"], page_number, page, now)
            answer = CarrierPage("device_list", now, page.document, position["scan_pass"], page_number)
            keep_page(connection, run_id, answer)
            note_progress(connection, run_id, pages=1, now=now)
            if not page.is_last_page:
                check_paging_of_list(connection, run, position["scan_pass"], page_number)
            connection.commit()
            if page_number % LOG_EVERY_PAGES == 0 or page.is_last_page:
                log.info("%s: page %s of the device list staged", run["service_provider_name"], page_number)
        seen = load_run(connection, run_id)["devices_seen"]
        log.info("%s: the device list is complete, %s SIMs", run["service_provider_name"], seen)
        return int(seen)


def stage_page(
    connection: WarehouseConnection,
    run_id: int,
    scan_pass: int,
    page_number: int,
    page: DevicePage,
    now: datetime,
) -> None:
    """Stage one page, its rejected records and its ledger row, in the caller's transaction."""
    rows = []
    for row_number, raw in enumerate(page.devices):
        device = validate_listed_device(raw)
        if isinstance(device, Rejected):
            iccid = usable_iccid(raw.get("iccid")) if isinstance(raw, dict) else None
            bad = BadRecord(
                run_id, "device", "device_list", device.record_key, raw, device.reason, iccid,
                scan_pass=scan_pass, page_number=page_number, row_number=row_number,
            )  # fmt: skip
            set_aside(connection, bad, now)
            continue
        rows.append(
            (run_id, scan_pass, page_number, row_number, device.iccid, device.status, device.rate_plan,
             device.communication_plan)
        )  # fmt: skip
    copy_rows(connection, COPY_DEVICES, rows)
    connection.execute(
        sql.load("sync/add_page"),
        {
            "run_id": run_id,
            "scan_pass": scan_pass,
            "page_number": page_number,
            "device_count": len(page.devices),
            "is_last_page": page.is_last_page,
            "now": now,
        },
    )


def _end_scan_pass(
    connection: WarehouseConnection, run: dict[str, Any], position: dict[str, Any], now: datetime
) -> None:
    """Decide after the last page: read again because SIMs moved, or close the list and queue what follows."""
    found = connection.execute(
        sql.load("sync/scan_duplicates"), {"run_id": run["id"], "last_page": position["last_staged_page"]}
    ).fetchone()
    duplicates = found["duplicate_count"] if found else 0
    # The same SIMs at the same places in two passes: the carrier lists them twice, nothing has moved.
    is_permanent = duplicates > 0 and found is not None and found["signature"] == position["scan_duplicates"]
    if duplicates and found and not is_permanent and position["scan_pass"] < MAXIMUM_SCAN_PASSES:
        first_page = max(1, found["first_page"] - 1)
        log.info(
            "%s: %s SIMs moved while the list was read; reading again from page %s",
            run["service_provider_name"], duplicates, first_page,
        )  # fmt: skip
        connection.execute(
            sql.load("sync/begin_scan_pass"),
            {
                "run_id": run["id"],
                "scan_pass": position["scan_pass"] + 1,
                "scan_first_page": first_page,
                "scan_duplicates": found["signature"],
            },
        )
        return
    if is_permanent:
        check_repeated_pages(connection, run, position["last_staged_page"])
    _close_list(connection, run, is_exact=not duplicates or is_permanent, now=now)


def _close_list(connection: WarehouseConnection, run: dict[str, Any], *, is_exact: bool, now: datetime) -> None:
    if not is_exact:
        log.warning(
            "%s: the list still moved after %s passes; no SIM will be marked as vanished by this run",
            run["service_provider_name"], MAXIMUM_SCAN_PASSES,
        )  # fmt: skip
    provider = {"run_id": run["id"], "service_provider_id": run["service_provider_id"]}
    connection.execute(sql.load("sync/queue_usage"), provider | {"list_is_exact_full": run["is_full"] and is_exact})
    connection.execute(sql.load("sync/queue_details"), provider | {"detail_calls_per_run": run["detail_calls_per_run"]})
    connection.execute(sql.load("sync/delete_device_list_row"), {"run_id": run["id"]})
    connection.execute(sql.load("sync/complete_list"), {"run_id": run["id"], "list_is_exact": is_exact, "now": now})


def fetch_usage(
    conninfo: str, run_id: int, client: CarrierClient, *, clock: Clock = utc_now, may_reopen: bool = True
) -> int:
    """Empty the run's work rows: bulk usage per rate plan, single SIMs, details; return the number of calls made.

    Raises:
        CarrierError: the carrier refused a bulk read or could not be reached within the retry budget.
        SyncBusyError: another process reads for this run, and goes on doing so.
        SyncRunEndedError: the run has ended meanwhile.
    """
    if may_reopen:
        reopen_run(conninfo, run_id, now=clock())
    calls = 0
    with connect(conninfo, application_name="amop fetch_usage") as connection:
        run = held_run(connection, run_id)
        while run is not None:
            work = connection.execute(sql.load("sync/next_work_row"), {"run_id": run_id}).fetchone()
            connection.commit()
            if work is None and queue_unnamed_usage(connection, run):
                continue
            if work is None:
                log.info("%s: usage is staged, %s calls", run["service_provider_name"], calls)
                break
            READERS[work["kind"]](connection, run, work, client, clock)
            connection.commit()
            calls += 1
            if calls % LOG_EVERY_PAGES == 0:
                log.info("%s: %s usage calls made", run["service_provider_name"], calls)
        return calls


def _read_rate_plan_usage(
    connection: WarehouseConnection,
    run: dict[str, Any],
    work: dict[str, Any],
    client: CarrierClient,
    clock: Clock,
) -> None:
    page = client.rate_plan_usage_page(
        rate_plan_code=work["rate_plan_code"],
        rate_plan_version=work["rate_plan_version"],
        usage_type=work["usage_type"],
        cycle_start=run["cycle_start"].astimezone(ZoneInfo(run["time_zone"])).date(),
        page_number=work["page_number"],
    )
    now = clock()
    stage_usage_page(connection, run["id"], work, page, now)
    keep_page(connection, run["id"], CarrierPage.answer_to(work, page.document, now))
    if not page.is_last_page:
        check_paging_of_usage(connection, run, work)
        connection.execute(
            sql.load("sync/advance_work_row"), {"work_row_id": work["id"], "page_number": work["page_number"]}
        )
    elif not reads_usage_again(connection, run, work):
        connection.execute(sql.load("sync/finish_work_row"), {"work_row_id": work["id"], "now": now})
    note_progress(connection, run["id"], pages=1, now=now)


def stage_usage_page(
    connection: WarehouseConnection, run_id: int, work: dict[str, Any], page: UsagePage, now: datetime
) -> None:
    """Stage one page of the usage of a rate plan, and its rejected records, in the caller's transaction."""
    read = (work["usage_type"], work["rate_plan_code"], work["rate_plan_version"])
    rows = []
    for row_number, record in enumerate(page.records):
        iccid = usable_iccid(record.iccid)
        usage = validate_usage(record.usage)
        if iccid is None or isinstance(usage, str):
            reason = usage if isinstance(usage, str) else "deviceId is not an ICCID of 18 to 22 digits"
            place = f"{work['page_number']}.{row_number}"
            bad = BadRecord(
                run_id, "usage", "rate_plan_usage", ":".join([iccid or "", *map(str, read), place]), record.raw, reason,
                iccid, *read, page_number=work["page_number"], row_number=row_number,
            )  # fmt: skip
            set_aside(connection, bad, now)
            continue
        rows.append((run_id, iccid, *read, work["page_number"], row_number, usage, now, _zone_name(record.zone)))
    copy_rows(connection, COPY_USAGE, rows)


def _zone_name(zone: object) -> str:
    return str(storable_form(zone[:LONGEST_TEXT])[0]) if isinstance(zone, str) else ""


def _read_device_usage(
    connection: WarehouseConnection,
    run: dict[str, Any],
    work: dict[str, Any],
    client: CarrierClient,
    clock: Clock,
) -> None:
    raw = _read_one_device(connection, run, work, client.device_ctd_usage, "usage", clock)
    now = clock()
    if raw is not None:
        stage_device_usage(connection, run["id"], work["iccid"], raw, now)
    connection.execute(sql.load("sync/finish_work_row"), {"work_row_id": work["id"], "now": now})
    note_progress(connection, run["id"], pages=0, now=now)


def stage_device_usage(
    connection: WarehouseConnection, run_id: int, iccid: str, raw: dict[str, Any], now: datetime
) -> None:
    """Stage the counters of one SIM, or set the record aside, in the caller's transaction."""
    counters = validate_ctd_usage(raw)
    if isinstance(counters, str):
        set_aside(connection, BadRecord(run_id, "usage", "device_usage", iccid, raw, counters, iccid), now)
    else:
        rows = [(run_id, iccid, kind, "", 0, 1, 0, value, now, "") for kind, value in counters.items()]
        copy_rows(connection, COPY_USAGE, rows)


def _read_device_details(
    connection: WarehouseConnection,
    run: dict[str, Any],
    work: dict[str, Any],
    client: CarrierClient,
    clock: Clock,
) -> None:
    raw = _read_one_device(connection, run, work, client.device_details, "device_details", clock)
    now = clock()
    if raw is not None:
        details = validate_details(raw)
        if isinstance(details, Rejected):
            log.warning(
                "%s: details of %s are unusable: %s",
                run["service_provider_name"],
                work["iccid"],
                details.reason,
            )
        else:
            connection.execute(
                sql.load("sync/add_detail"),
                {
                    "run_id": run["id"],
                    "iccid": work["iccid"],
                    "imsi": details.imsi,
                    "msisdn": details.msisdn,
                    "imei": details.imei,
                    "date_activated": details.date_activated,
                    "now": now,
                },
            )
    connection.execute(sql.load("sync/finish_work_row"), {"work_row_id": work["id"], "now": now})
    note_progress(connection, run["id"], pages=0, now=now)


def _read_one_device(
    connection: WarehouseConnection,
    run: dict[str, Any],
    work: dict[str, Any],
    read: Callable[[str], dict[str, Any]],
    kind: str,
    clock: Clock,
) -> dict[str, Any] | None:
    """Read one SIM; a final refusal of that SIM is set aside and None is returned, so that the run goes on."""
    try:
        document = read(work["iccid"])
    except CarrierRequestError as error:
        log.warning("%s: %s", run["service_provider_name"], error)
        refusal = {"status": error.status, "errorMessage": error.error_message, "reason": str(error)}
        keep_page(connection, run["id"], CarrierPage.answer_to(work, refusal, clock(), is_refusal=True))
        if kind == "usage":
            stage_refusal(connection, run["id"], work["iccid"], refusal, clock())
        return None
    keep_page(connection, run["id"], CarrierPage.answer_to(work, document, clock()))
    return document


def stage_refusal(
    connection: WarehouseConnection, run_id: int, iccid: str, refusal: dict[str, Any], now: datetime
) -> None:
    """Set aside that the carrier refused the usage of one SIM for good: that SIM stays as it was."""
    raw = {"iccid": iccid, "status": refusal["status"], "errorMessage": refusal["errorMessage"]}
    set_aside(connection, BadRecord(run_id, "usage", "refusal", iccid, raw, refusal["reason"], iccid), now)


READERS: dict[str, Callable[[WarehouseConnection, dict[str, Any], dict[str, Any], CarrierClient, Clock], None]] = {
    "rate_plan_usage": _read_rate_plan_usage,
    "device_usage": _read_device_usage,
    "device_details": _read_device_details,
}
"""Kind of work row → the function that empties it."""
