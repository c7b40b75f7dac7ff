"""The way back from quarantine: records are judged by the present rules, and those that pass now are merged.

A record goes where it would have gone: into the staging of its own run, and from there by the statements of the merge
to the main tables. Nothing newer is overwritten: every later run that says something about the same SIM has resolved
the record as superseded, in the transaction of its merge. The raw record is kept, resolved or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from amop.carriers.control_center import usage_of
from amop.domain.validation import Rejected, validate_ctd_usage, validate_listed_device, validate_usage
from amop.pipeline.cleanup import merge_staged_usage
from amop.pipeline.history import record_devices
from amop.pipeline.sync_runs import load_run, newer_merged_run
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.quarantine import QuarantineFilter, find_records
from amop.warehouse.staging import COPY_DEVICES, COPY_USAGE, copy_rows

MERGED = "merged by retry"
"""``resolution`` of a record that came back; run_balance.sql knows it, too."""


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
    """Why it stays in quarantine; empty when it was merged."""


def list_records(conninfo: str, wanted: QuarantineFilter) -> list[dict[str, Any]]:
    """Return the records of a filter, oldest first."""
    with transaction(conninfo, application_name="amop quarantine list") as connection:
        return find_records(connection, wanted)


def retry_records(conninfo: str, wanted: QuarantineFilter, *, now: datetime) -> list[Outcome]:
    """Judge the unresolved records of a filter again and merge those that pass, SIMs first, then usage.

    One transaction for each kind and run, under the provider's lock. Repeating it changes nothing.
    """
    outcomes = []
    for kind, merge in (("device", _merge_devices), ("usage", _merge_usage)):
        if wanted.kind in (None, kind):
            records = list_records(conninfo, _unresolved(wanted, kind))
            for run_id, _ in groupby(sorted(record["run_id"] for record in records)):
                outcomes += _retry_run(conninfo, run_id, _unresolved(wanted, kind, run_id), merge, now)
    return outcomes


def _unresolved(wanted: QuarantineFilter, kind: str, run_id: int | None = None) -> QuarantineFilter:
    return QuarantineFilter(wanted.service_provider_id, run_id or wanted.run_id, kind, wanted.ids)


def _retry_run(conninfo: str, run_id: int, wanted: QuarantineFilter, merge: Any, now: datetime) -> list[Outcome]:
    with transaction(conninfo, application_name="amop quarantine retry") as connection:
        run = load_run(connection, run_id)
        connection.execute(sql.load("merge/lock_provider"), {"service_provider_id": run["service_provider_id"]})
        # Read under the lock: a merge that has just ended may have superseded some of them.
        records = find_records(connection, wanted)
        reasons: dict[int, str] = {}
        passing = []
        for record in records:
            reason = _why_not(run, record)
            if reason is None:
                passing.append(record)
            else:
                reasons[record["id"]] = reason
        reasons |= merge(connection, run, passing, now)
        merged = [record["id"] for record in passing if record["id"] not in reasons]
        connection.execute(sql.load("quarantine/resolve_records"), {"ids": merged, "resolution": MERGED, "now": now})
    return [
        Outcome(
            record["id"], record["service_provider"], run_id, record["kind"], record["iccid"] or record["record_key"],
            record["id"] not in reasons, reasons.get(record["id"], ""),
        )
        for record in records
    ]  # fmt: skip


def _why_not(run: dict[str, Any], record: dict[str, Any]) -> str | None:
    """Return why a record cannot be judged again at all, None if it can."""
    if record["source"] is None:
        return "it was set aside by an earlier version, which did not note where it was read"
    if record["source"] == "refusal":
        return "the carrier gave no record, only a refusal: the next sync asks again"
    if not record["is_exact"]:
        return "its raw form had to be altered to be stored"
    if not record["run_is_merged"]:
        return f"its run {run['id']} is {run['status']} and has merged nothing: " + (
            "wait for it" if run["status"] == "running" else "run the sync again"
        )
    return None


def _merge_devices(
    connection: WarehouseConnection, run: dict[str, Any], records: list[dict[str, Any]], now: datetime
) -> dict[int, str]:
    """Stage and merge the SIMs that pass now; return why the others do not, by id of the record."""
    reasons, rows = {}, []
    for record in records:
        device = validate_listed_device(record["raw"])
        if isinstance(device, Rejected):
            reasons[record["id"]] = device.reason
            continue
        rows.append(
            (run["id"], record["scan_pass"], record["page_number"], record["row_number"], device.iccid, device.status,
             device.rate_plan, device.communication_plan)
        )  # fmt: skip
    if rows:
        copy_rows(connection, COPY_DEVICES, rows)
        scope = {"run_id": run["id"], "service_provider_id": run["service_provider_id"], "now": now}
        iccids = [row[4] for row in rows]
        connection.execute(sql.load("merge/merge_devices"), scope | {"iccids": iccids})
        record_devices(connection, run)
        connection.execute(sql.load("merge/forget_missing_devices"), scope)
        connection.execute(sql.load("merge/add_communication_plans"), scope)
    return reasons


def _merge_usage(
    connection: WarehouseConnection, run: dict[str, Any], records: list[dict[str, Any]], now: datetime
) -> dict[int, str]:
    """Stage the usage records that pass now, then merge the SIMs that have no other record left in quarantine."""
    if not records:
        return {}
    newer = newer_merged_run(connection, run)
    if newer is not None:
        return dict.fromkeys((record["id"] for record in records), f"run {newer['id']} has merged newer usage")
    staged = connection.execute(sql.load("quarantine/has_usage_staging"), {"run_id": run["id"]}).fetchone()
    if not staged or not staged["records"]:
        reason = "the other usage of its run is no longer kept: the next sync reads it anew"
        return dict.fromkeys((record["id"] for record in records), reason)
    known = {
        row["iccid"]
        for row in connection.execute(
            sql.load("quarantine/known_devices"),
            {
                "service_provider_id": run["service_provider_id"],
                "iccids": [record["iccid"] for record in records if record["iccid"]],
            },
        )
    }
    reasons, rows = {}, []
    for record in records:
        usage = _usage_rows(run["id"], record, now) if record["iccid"] in known else "the device list does not name it"
        if isinstance(usage, str):
            reasons[record["id"]] = usage
        else:
            rows += usage
    copy_rows(connection, COPY_USAGE, rows)
    passed = [record for record in records if record["id"] not in reasons]
    # Resolved first: the merge leaves a SIM alone while one of its records is in quarantine.
    values = {"ids": [record["id"] for record in passed], "resolution": MERGED, "now": now}
    connection.execute(sql.load("quarantine/resolve_records"), values)
    merge_staged_usage(connection, run, now=now, iccids=sorted({record["iccid"] for record in passed}))
    return reasons


def _usage_rows(run_id: int, record: dict[str, Any], now: datetime) -> list[tuple[Any, ...]] | str:
    """Return the staging rows of a usage record at the place where it stood, or the reason why there are none."""
    iccid, raw = record["iccid"], record["raw"]
    if record["source"] == "device_usage":
        counters = validate_ctd_usage(raw)
        if isinstance(counters, str):
            return counters
        return [(run_id, iccid, kind, "", 0, 1, 0, value, now, "") for kind, value in counters.items()]
    usage = validate_usage(usage_of(raw, record["usage_type"]))
    if isinstance(usage, str):
        return usage
    return [
        (run_id, iccid, record["usage_type"], record["rate_plan_code"], record["rate_plan_version"],
         record["page_number"], record["row_number"], usage, now, "")
    ]  # fmt: skip
