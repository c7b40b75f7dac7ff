"""Staging of a sync run: pages and usage go in by COPY, each in one transaction with its ledger row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

COPY_DEVICES = (
    "COPY amop.device_staging "
    "(run_id, scan_pass, page_number, row_number, iccid, status, rate_plan, communication_plan) FROM STDIN"
)
COPY_USAGE = (
    "COPY amop.device_usage_staging (run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number, "
    "row_number, usage, received_at) FROM STDIN"
)


def copy_rows(connection: WarehouseConnection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Stream rows into a table by COPY, inside the caller's transaction."""
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def quarantine(
    connection: WarehouseConnection,
    run_id: int,
    kind: str,
    record_key: str,
    raw: object,
    reason: str,
    now: datetime,
) -> None:
    """Set a record aside with its raw form and the rule that it broke; once per run, kind and record."""
    connection.execute(
        sql.load("sync/quarantine"),
        {
            "run_id": run_id,
            "kind": kind,
            "record_key": record_key,
            "raw": Jsonb(_storable(raw)),
            "reason": reason,
            "now": now,
        },
    )


def _storable(value: object) -> object:
    """Return the value with NUL characters and halves of surrogate pairs spelt out: jsonb cannot hold them."""
    if isinstance(value, str):
        return value.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
