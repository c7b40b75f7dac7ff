"""Staging of a sync run: pages and usage go in by COPY, each in one transaction with its ledger row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amop.warehouse.connection import WarehouseConnection

COPY_DEVICES = (
    "COPY amop.device_staging "
    "(run_id, scan_pass, page_number, row_number, iccid, status, rate_plan, communication_plan) FROM STDIN"
)
COPY_USAGE = (
    "COPY amop.device_usage_staging (run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number, "
    "row_number, usage, received_at, zone) FROM STDIN"
)


def copy_rows(connection: WarehouseConnection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Stream rows into a table by COPY, inside the caller's transaction."""
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
