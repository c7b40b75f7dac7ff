"""Retry quarantined records: validate them by the present rules and merge those that pass now.

A record goes into the staging of its own run, and from there by the statements of the merge into the main tables.
Nothing newer is overwritten: the merge of every later run that lists the same SIM resolves the record as superseded.
The raw record is kept, resolved or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from amop.carriers.control_center_pages import usage_of
from amop.database.connection import WarehouseConnection, transaction
from amop.device_sync.history import record_device_history
from amop.device_sync.merge import collect_list_changes, merge_staged_usage
from amop.device_sync.quarantine import QuarantineFilter, find_records, list_records
from amop.device_sync.rows import QuarantinedRecord, StagedDevice, StagedUsage
from amop.device_sync.staging import REFUSED_DETAILS, staged_counters, staged_device
from amop.device_sync.store import merges, reads, records
from amop.device_sync.validation import (
    Rejected,
    validate_ctd_usage,
    validate_details,
    validate_listed_device,
    validate_usage,
)
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import load_run, newer_merged_run

MERGED = "merged by retry"
"""``resolution`` of a record that was merged; run_balance.sql uses the same text."""

Merge = Callable[[WarehouseConnection, SyncRun, Sequence[QuarantinedRecord], datetime], dict[int, str]]
"""Merges the records that pass; returns why the others do not, by id of the record."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a retry did with a record."""

    id: int
    service_provider: str
    run_id: int
    kind: str
    record: str
    is_merged: bool
    reason: str
    """Why it stays in quarantine; empty if it was merged."""


def retry_records(conninfo: str, wanted: QuarantineFilter, *, now: datetime) -> list[Outcome]:
    """Validate the unresolved records of a filter again and merge those that pass, SIMs first, then usage.

    One transaction for each kind and run, under the provider's lock. Repeating it changes nothing.
    """
    outcomes = []
    kinds: tuple[tuple[str, Merge], ...] = (("device", _merge_devices), ("usage", _merge_usage))
    for kind, merge in kinds:
        if wanted.kind in (None, kind):
            found = list_records(conninfo, _unresolved(wanted, kind))
            for run_id in sorted({record.run_id for record in found}):
                outcomes += _retry_run(conninfo, run_id, _unresolved(wanted, kind, run_id), merge, now)
    return outcomes


def _unresolved(wanted: QuarantineFilter, kind: str, run_id: int | None = None) -> QuarantineFilter:
    return QuarantineFilter(wanted.service_provider_id, run_id or wanted.run_id, kind, wanted.ids)


def _retry_run(conninfo: str, run_id: int, wanted: QuarantineFilter, merge: Merge, now: datetime) -> list[Outcome]:
    with transaction(conninfo, application_name="amop quarantine retry") as connection:
        run = load_run(connection, run_id)
        merges.lock_provider(connection, service_provider_id=run.service_provider_id)
        # Read under the lock: a merge that has just ended may have superseded some of them.
        found = find_records(connection, wanted)
        reasons: dict[int, str] = {}
        passing = []
        for record in found:
            reason = _reason_against_retry(run, record)
            if reason is None:
                passing.append(record)
            else:
                reasons[record.id] = reason
        reasons |= merge(connection, run, passing, now)
        merged = [record.id for record in passing if record.id not in reasons]
        records.resolve_records(connection, ids=merged, resolution=MERGED, now=now)
    return [
        Outcome(
            id=record.id,
            service_provider=record.service_provider,
            run_id=run_id,
            kind=record.kind,
            record=record.iccid or record.record_key,
            is_merged=record.id not in reasons,
            reason=reasons.get(record.id, ""),
        )
        for record in found
    ]


def _reason_against_retry(run: SyncRun, record: QuarantinedRecord) -> str | None:
    """Return why a record cannot be validated again at all, None if it can."""
    if record.source is None:
        return "it was quarantined by an earlier version, which did not store where it was read"
    if record.source == "refusal" or record.record_key.endswith(f":{REFUSED_DETAILS}"):
        return "the carrier sent no record, only a refusal: the next sync reads the SIM again"
    if not record.is_exact:
        return "its raw form had to be altered to be stored"
    if not record.run_is_merged:
        return f"its run {run.id} is {run.status} and has merged nothing: " + (
            "wait for it" if run.is_running else "run the sync again"
        )
    return None


def _merge_devices(
    connection: WarehouseConnection, run: SyncRun, found: Sequence[QuarantinedRecord], now: datetime
) -> dict[int, str]:
    """Stage and merge the SIMs that pass now; return why the others do not, by id of the record."""
    reasons: dict[int, str] = {}
    rows: list[StagedDevice] = []
    for record in found:
        if record.source == "device_details":
            reason = _fill_details(connection, run, record, now)
            if reason is not None:
                reasons[record.id] = reason
            continue
        device = validate_listed_device(record.raw, run.identifier)
        if isinstance(device, Rejected):
            reasons[record.id] = device.reason
        else:
            place = (record.scan_pass or 0, record.page_number or 0, record.row_number or 0)
            rows.append(staged_device(run.id, *place, device))
    if rows:
        provider_id = run.service_provider_id
        reads.copy_devices.write(connection, rows)
        collect_list_changes(connection, run, iccids=[row.iccid for row in rows])
        merges.merge_devices(connection, service_provider_id=provider_id, now=now)
        record_device_history(connection, run)
        merges.clear_missing_devices(connection, run_id=run.id, service_provider_id=provider_id)
        merges.insert_communication_plans(connection, run_id=run.id, service_provider_id=provider_id, now=now)
    return reasons


def _fill_details(
    connection: WarehouseConnection, run: SyncRun, record: QuarantinedRecord, now: datetime
) -> str | None:
    """Fill the unknown details of a SIM if the field of the record is readable now; else return the reason."""
    field = record.record_key.rpartition(":")[2]
    details = validate_details(record.raw)
    for fault in details.faults:
        if fault.field in (field, "iccid"):
            return f"{fault.field} {fault.reason}"
    merges.fill_details(
        connection,
        service_provider_id=run.service_provider_id,
        iccid=record.iccid or "",
        imsi=details.imsi,
        msisdn=details.msisdn,
        imei=details.imei,
        date_activated=details.date_activated,
        now=now,
    )
    return None


def _merge_usage(
    connection: WarehouseConnection, run: SyncRun, found: Sequence[QuarantinedRecord], now: datetime
) -> dict[int, str]:
    """Stage the usage records that pass now, then merge the SIMs that have no other record left in quarantine."""
    if not found:
        return {}
    newer = newer_merged_run(connection, run)
    if newer is not None:
        return dict.fromkeys((record.id for record in found), f"run {newer.id} has merged newer usage")
    if not reads.has_staged_usage(connection, run_id=run.id):
        reason = "the other usage of its run is no longer stored: the next sync reads it again"
        return dict.fromkeys((record.id for record in found), reason)
    known = set(
        records.find_known_iccids(
            connection,
            service_provider_id=run.service_provider_id,
            iccids=[record.iccid for record in found if record.iccid],
        )
    )
    reasons: dict[int, str] = {}
    rows: list[StagedUsage] = []
    passed: list[int] = []
    iccids: set[str] = set()
    for record in found:
        usage = _staged_usage(run.id, record, known, now)
        if isinstance(usage, str):
            reasons[record.id] = usage
            continue
        rows += usage
        passed.append(record.id)
        iccids.update(row.iccid for row in usage)
    reads.copy_usage.write(connection, rows)
    # Resolved first: the merge leaves a SIM alone while one of its records is in quarantine.
    records.resolve_records(connection, ids=passed, resolution=MERGED, now=now)
    merge_staged_usage(connection, run, now=now, iccids=sorted(iccids))
    merges.mark_unconfirmed_usage(connection)
    return reasons


def _staged_usage(run_id: int, record: QuarantinedRecord, known: set[str], now: datetime) -> list[StagedUsage] | str:
    """Return the staging rows of a usage record at its original place, or the reason why it has none."""
    if record.iccid is None or record.iccid not in known:
        return "the device list does not contain its SIM"
    if record.source == "device_usage":
        counters = validate_ctd_usage(record.raw)
        return counters if isinstance(counters, str) else staged_counters(run_id, record.iccid, counters, now)
    usage_type = record.usage_type or ""
    usage = validate_usage(usage_of(record.raw, usage_type))
    if isinstance(usage, str):
        return usage
    row = StagedUsage(
        run_id=run_id,
        iccid=record.iccid,
        usage_type=usage_type,
        rate_plan_code=record.rate_plan_code or "",
        rate_plan_version=record.rate_plan_version or 0,
        page_number=record.page_number or 0,
        row_number=record.row_number or 0,
        usage=usage,
        received_at=now,
        zone="",
    )
    return [row]
