"""Quarantine unusable records with their raw form, the rule that they broke and where they were read; list them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection, transaction
from amop.device_sync.rows import QuarantinedRecord
from amop.device_sync.store import records
from amop.foreign_text import DEEPEST as DEEPEST_RECORD
from amop.foreign_text import TOO_DEEP, clean_text


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record to quarantine."""

    run_id: int
    kind: str
    """``device`` or ``usage``."""
    source: str
    """``device_list``, ``device_details``, ``rate_plan_usage``, ``device_usage``, or ``refusal`` where the carrier gave
    no record."""
    record_key: str
    """Key of the record within its run and kind."""
    raw: object
    reason: str
    """The rule that it broke."""
    iccid: str | None
    """The SIM of the record, None without a valid ICCID."""
    usage_type: str | None = None
    rate_plan_code: str | None = None
    rate_plan_version: int | None = None
    scan_pass: int | None = None
    page_number: int | None = None
    row_number: int | None = None


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Filter of quarantined records; None and an empty sequence match all."""

    service_provider_id: int | None = None
    run_id: int | None = None
    kind: str | None = None
    ids: Sequence[int] = ()
    with_resolved: bool = False
    maximum: int | None = None


def quarantine_record(connection: WarehouseConnection, record: BadRecord, now: datetime) -> None:
    """Quarantine a record in the caller's transaction; once per run, kind and key."""
    storable, is_exact = storable_form(record.raw)
    records.quarantine_record(
        connection,
        run_id=record.run_id,
        kind=record.kind,
        source=record.source,
        record_key=record.record_key,
        raw=Jsonb(storable),
        is_exact=is_exact,
        reason=clean_text(record.reason),
        iccid=record.iccid,
        usage_type=record.usage_type,
        rate_plan_code=record.rate_plan_code,
        rate_plan_version=record.rate_plan_version,
        scan_pass=record.scan_pass,
        page_number=record.page_number,
        row_number=record.row_number,
        now=now,
    )


def list_records(conninfo: str, wanted: QuarantineFilter) -> list[QuarantinedRecord]:
    """Return the records that match a filter, oldest first."""
    with transaction(conninfo, application_name="amop quarantine list") as connection:
        return find_records(connection, wanted)


def find_records(connection: WarehouseConnection, wanted: QuarantineFilter) -> list[QuarantinedRecord]:
    """Return the records that match a filter, oldest first, in the caller's transaction."""
    return records.find_quarantined_records(
        connection,
        service_provider_id=wanted.service_provider_id,
        run_id=wanted.run_id,
        kind=wanted.kind,
        ids=list(wanted.ids),
        with_resolved=wanted.with_resolved,
        maximum=wanted.maximum,
    )


def storable_form(value: object) -> tuple[object, bool]:
    """Return the value in a form that jsonb can hold, and True if nothing had to be changed.

    jsonb holds neither NUL characters nor lone surrogates: they are escaped. Nesting beyond 100 levels is cut.
    """
    stored = _storable(value, DEEPEST_RECORD)
    return stored, stored == value


def _storable(value: object, levels_left: int) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict | list) and not levels_left:
        return TOO_DEEP
    if isinstance(value, dict):
        return {str(_storable(key, levels_left - 1)): _storable(item, levels_left - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, levels_left - 1) for item in value]
    return value
