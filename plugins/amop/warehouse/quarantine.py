"""Records that cannot be used: set aside with their raw form, the rule that they broke, and where they were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

DEEPEST_RECORD = 100
"""Levels of nesting of a raw record that are kept; no carrier's record has more than ten."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record to set aside."""

    run_id: int
    kind: str
    """``device`` or ``usage``."""
    source: str
    """``device_list``, ``rate_plan_usage``, ``device_usage``, or ``refusal`` where the carrier gave no record."""
    record_key: str
    """What identifies it within run and kind."""
    raw: object
    reason: str
    """The rule that it broke."""
    iccid: str | None
    """The SIM that it is about, where its ICCID is a valid one."""
    usage_type: str | None = None
    rate_plan_code: str | None = None
    rate_plan_version: int | None = None
    scan_pass: int | None = None
    page_number: int | None = None
    row_number: int | None = None


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which records an operator means; None and empty do not narrow."""

    service_provider_id: int | None = None
    run_id: int | None = None
    kind: str | None = None
    ids: Sequence[int] = ()
    with_resolved: bool = False
    maximum: int | None = None


def set_aside(connection: WarehouseConnection, record: BadRecord, now: datetime) -> None:
    """Put a record into quarantine, in the caller's transaction; once per run, kind and key."""
    storable, is_exact = storable_form(record.raw)
    values = asdict(record) | {"raw": Jsonb(storable), "is_exact": is_exact, "now": now}
    connection.execute(sql.load("quarantine/add_record"), values)


def find_records(connection: WarehouseConnection, wanted: QuarantineFilter) -> list[dict[str, Any]]:
    """Return the records of a filter with their provider and what became of their run, oldest first."""
    values = asdict(wanted) | {"ids": list(wanted.ids)}
    return connection.execute(sql.load("quarantine/find_records"), values).fetchall()


def storable_form(value: object) -> tuple[object, bool]:
    """Return the value as jsonb can hold it, and whether that is the value itself.

    jsonb knows no NUL character and no half of a surrogate pair: they are spelt out. Nesting beyond 100 levels is cut.
    """
    stored = _storable(value, DEEPEST_RECORD)
    return stored, stored == value


def _storable(value: object, levels_left: int) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict | list) and not levels_left:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {str(_storable(key, levels_left - 1)): _storable(item, levels_left - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, levels_left - 1) for item in value]
    return value
