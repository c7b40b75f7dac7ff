"""Stage the carrier's answers: valid records by COPY, invalid ones into quarantine, in the caller's transaction.

A live sync stages what it receives, a replay what the archive holds; both use these functions.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.carriers.page import CarrierPage, ReceivedDocument
from amop.carriers.protocol import DevicePage, UsagePage
from amop.database.connection import WarehouseConnection
from amop.device_sync.quarantine import BadRecord, quarantine_record, storable_form
from amop.device_sync.rows import StagedDevice, StagedUsage, UsageRead, WorkRow
from amop.device_sync.store import reads
from amop.device_sync.validation import (
    LONGEST_TEXT,
    ListedDevice,
    Rejected,
    usable_iccid,
    validate_ctd_usage,
    validate_details,
    validate_listed_device,
    validate_usage,
)
from amop.families import IdentifierRule

COMPRESSION_LEVEL = 6
REFUSED_DETAILS = "refusal"
"""Ends the record key of refused details; that of an unreadable detail ends with the name of its field."""


@dataclass(frozen=True, slots=True)
class ListedPage:
    """A page of the device list at its place."""

    page_number: int
    """Number in the list; in the page itself it is the number in its window."""
    page: DevicePage
    """The carrier's answer; its last page is that of the list."""
    received_at: datetime


def answer_to(work: WorkRow, document: object, now: datetime, *, is_refusal: bool = False) -> CarrierPage:
    """Return the carrier's answer to a work row, for `store_answer`."""
    return CarrierPage(
        kind=work.kind,
        received_at=now,
        document=document,
        scan_pass=work.scan_pass,
        page_number=work.page_number,
        rate_plan_code=work.rate_plan_code,
        rate_plan_version=work.rate_plan_version,
        usage_type=work.usage_type,
        iccid=work.iccid,
        is_refusal=is_refusal,
    )


def store_answer(connection: WarehouseConnection, run_id: int, answer: CarrierPage) -> None:
    """Store an answer as received until it is archived, in the transaction that stages it."""
    given = answer.document
    document = given.body if isinstance(given, ReceivedDocument) else _json(given).encode()
    reads.insert_carrier_page(
        connection,
        run_id=run_id,
        kind=answer.kind,
        scan_pass=answer.scan_pass,
        rate_plan_code=answer.rate_plan_code,
        rate_plan_version=answer.rate_plan_version,
        usage_type=answer.usage_type,
        iccid=answer.iccid,
        page_number=answer.page_number,
        is_refusal=answer.is_refusal,
        received_at=answer.received_at,
        document=gzip.compress(document, COMPRESSION_LEVEL, mtime=0),
    )


def _json(document: object) -> str:
    """Return a document as JSON; values that are nested too deeply become a text that says so."""
    try:
        return json.dumps(document, separators=(",", ":"))
    except RecursionError:
        return json.dumps(storable_form(document)[0], separators=(",", ":"))


def stage_list_page(
    connection: WarehouseConnection,
    run_id: int,
    scan_pass: int,
    listed: ListedPage,
    *,
    identifier: IdentifierRule,
    is_gap: bool = False,
) -> None:
    """Stage one page of the device list, its rejected records and its ledger row.

    Args:
        connection: the caller's transaction.
        run_id: the run.
        scan_pass: number of the pass over the list.
        listed: the page.
        identifier: what identifies a SIM at the carrier.
        is_gap: the page stays empty although later pages have SIMs.
    """
    reads.copy_devices.write(connection, _staged_devices(connection, run_id, scan_pass, listed, identifier))
    _insert_list_page(connection, run_id, scan_pass, listed, is_gap=is_gap)


def stage_list_pages(
    connection: WarehouseConnection,
    run_id: int,
    scan_pass: int,
    listed: Sequence[ListedPage],
    *,
    identifier: IdentifierRule,
) -> None:
    """Stage several pages of the device list and store them as received: one COPY, one round trip for the ledger."""
    rows = [row for each in listed for row in _staged_devices(connection, run_id, scan_pass, each, identifier)]
    reads.copy_devices.write(connection, rows)
    with connection.pipeline():
        for each in listed:
            _insert_list_page(connection, run_id, scan_pass, each, is_gap=False)
            answer = CarrierPage("device_list", each.received_at, each.page.document, scan_pass, each.page_number)
            store_answer(connection, run_id, answer)


def _staged_devices(
    connection: WarehouseConnection, run_id: int, scan_pass: int, listed: ListedPage, identifier: IdentifierRule
) -> list[StagedDevice]:
    """Return the rows of a page; quarantine its unusable records."""
    rows, page_number, page, now = [], listed.page_number, listed.page, listed.received_at
    for row_number, raw in enumerate(page.devices):
        device = validate_listed_device(raw, identifier)
        if isinstance(device, Rejected):
            iccid = usable_iccid(raw.get("iccid"), identifier) if isinstance(raw, Mapping) else None
            record = BadRecord(
                run_id=run_id,
                kind="device",
                source="device_list",
                record_key=device.record_key,
                raw=raw,
                reason=device.reason,
                iccid=iccid,
                scan_pass=scan_pass,
                page_number=page_number,
                row_number=row_number,
            )
            quarantine_record(connection, record, now)
        else:
            rows.append(staged_device(run_id, scan_pass, page_number, row_number, device))
    return rows


def _insert_list_page(
    connection: WarehouseConnection, run_id: int, scan_pass: int, listed: ListedPage, *, is_gap: bool
) -> None:
    reads.insert_list_page(
        connection,
        run_id=run_id,
        scan_pass=scan_pass,
        page_number=listed.page_number,
        device_count=len(listed.page.devices),
        is_last_page=listed.page.is_last_page,
        is_gap=is_gap,
        next_after=listed.page.next_after,
        now=listed.received_at,
    )


def staged_device(run_id: int, scan_pass: int, page_number: int, row_number: int, device: ListedDevice) -> StagedDevice:
    """Return the staging row of a SIM at its place in the list."""
    return StagedDevice(run_id, scan_pass, page_number, row_number, *device)


def stage_usage_page(
    connection: WarehouseConnection,
    run_id: int,
    read: UsageRead,
    page_number: int,
    page: UsagePage,
    now: datetime,
    *,
    identifier: IdentifierRule,
) -> None:
    """Stage one page of a bulk usage read and its rejected records."""
    rows = []
    for row_number, record in enumerate(page.records):
        iccid = usable_iccid(record.iccid, identifier)
        usage = validate_usage(record.usage)
        nameless = f"deviceId is not an {identifier.name} of {identifier.form}"
        if iccid is None or isinstance(usage, str):
            parts = (iccid or "", read.usage_type, read.rate_plan_code, str(read.rate_plan_version))
            bad = BadRecord(
                run_id=run_id,
                kind="usage",
                source="rate_plan_usage",
                record_key=":".join((*parts, f"{page_number}.{row_number}")),
                raw=record.raw,
                reason=usage if isinstance(usage, str) else nameless,
                iccid=iccid,
                usage_type=read.usage_type,
                rate_plan_code=read.rate_plan_code,
                rate_plan_version=read.rate_plan_version,
                page_number=page_number,
                row_number=row_number,
            )
            quarantine_record(connection, bad, now)
        else:
            rows.append(
                StagedUsage(
                    run_id=run_id,
                    iccid=iccid,
                    usage_type=read.usage_type,
                    rate_plan_code=read.rate_plan_code,
                    rate_plan_version=read.rate_plan_version,
                    page_number=page_number,
                    row_number=row_number,
                    usage=usage,
                    received_at=now,
                    zone=_zone_name(record.zone),
                )
            )
    reads.copy_usage.write(connection, rows)


def _zone_name(zone: object) -> str:
    return str(storable_form(zone[:LONGEST_TEXT])[0]) if isinstance(zone, str) else ""


def stage_device_usage(
    connection: WarehouseConnection, run_id: int, iccid: str, raw: Mapping[str, object], now: datetime
) -> None:
    """Stage the counters of one SIM, or quarantine the record."""
    counters = validate_ctd_usage(raw)
    if isinstance(counters, str):
        record = BadRecord(
            run_id=run_id, kind="usage", source="device_usage", record_key=iccid, raw=raw, reason=counters, iccid=iccid
        )
        quarantine_record(connection, record, now)
    else:
        reads.copy_usage.write(connection, staged_counters(run_id, iccid, counters, now))


def staged_counters(run_id: int, iccid: str, counters: Mapping[str, int], now: datetime) -> list[StagedUsage]:
    """Return the staging rows of a single read; ``counters`` is by usage type."""
    return [
        StagedUsage(
            run_id=run_id,
            iccid=iccid,
            usage_type=usage_type,
            rate_plan_code="",
            rate_plan_version=0,
            page_number=1,
            row_number=0,
            usage=usage,
            received_at=now,
            zone="",
        )
        for usage_type, usage in counters.items()
    ]


def stage_device_details(
    connection: WarehouseConnection, run_id: int, iccid: str, raw: Mapping[str, Any], now: datetime
) -> None:
    """Stage the readable details of one SIM, and quarantine each unreadable field with the whole record."""
    details = validate_details(raw)
    for fault in details.faults:
        record = BadRecord(
            run_id=run_id,
            kind="device",
            source="device_details",
            record_key=f"{iccid}:{fault.field}",
            raw=raw,
            reason=f"{fault.field} {fault.reason}",
            iccid=iccid,
        )
        quarantine_record(connection, record, now)
    reads.stage_details(
        connection,
        run_id=run_id,
        iccid=iccid,
        imsi=details.imsi,
        msisdn=details.msisdn,
        imei=details.imei,
        date_activated=details.date_activated,
        is_complete=not details.faults,
        now=now,
    )


def stage_refused_details(
    connection: WarehouseConnection, run_id: int, iccid: str, refusal: Mapping[str, Any], now: datetime
) -> None:
    """Quarantine the carrier's final refusal to return the details of one SIM; a later run tries again."""
    record = BadRecord(
        run_id=run_id,
        kind="device",
        source="device_details",
        record_key=f"{iccid}:{REFUSED_DETAILS}",
        raw={"iccid": iccid, "status": refusal["status"], "errorMessage": refusal["errorMessage"]},
        reason=refusal["reason"],
        iccid=iccid,
    )
    quarantine_record(connection, record, now)
    reads.stage_details(
        connection,
        run_id=run_id,
        iccid=iccid,
        imsi=None,
        msisdn=None,
        imei=None,
        date_activated=None,
        is_complete=False,
        now=now,
    )


def stage_refusal(
    connection: WarehouseConnection, run_id: int, iccid: str, refusal: Mapping[str, Any], now: datetime
) -> None:
    """Quarantine the carrier's final refusal to return the usage of one SIM; that SIM is left unchanged."""
    record = BadRecord(
        run_id=run_id,
        kind="usage",
        source="refusal",
        record_key=iccid,
        raw={"iccid": iccid, "status": refusal["status"], "errorMessage": refusal["errorMessage"]},
        reason=refusal["reason"],
        iccid=iccid,
    )
    quarantine_record(connection, record, now)
