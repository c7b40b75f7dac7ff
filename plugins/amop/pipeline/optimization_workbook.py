"""The workbook of an optimization: summary and proof, rate plans and pools, comm groups, every SIM, changes, left out.

It is read from the tables of results in one snapshot, SIM by SIM through a server-side cursor, so that a million SIMs
take no more memory than a thousand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import IsolationLevel
from psycopg.rows import tuple_row

from amop.domain.left_out import LEFT_OUT_REASONS
from amop.notify.workbook import ROWS_PER_SHEET, Column, ReportWorkbook
from amop.pipeline.optimization_report import report_facts, workbook_key
from amop.pipeline.optimization_summary import add_summary
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, connect

ROWS_AT_ONCE = 5_000
"""Rows that come from the server with one fetch."""

PLANS_SHEET = "Rate plans and pools"

RATE_PLAN = [
    Column("Rate plan", width=26),
    Column("Pool", width=22),
    Column("Charge a period", "money"),
    Column("Base rate", "money"),
    Column("Included MB", "megabytes"),
    Column("Overage rate a block", "price"),
    Column("MB of a block", "megabytes"),
    Column("SMS rate", "price"),
]
RATE_PLAN_BILL = [
    Column("SIMs {}", "count", 10),
    Column("Projected MB {}", "megabytes", 16),
    Column("Included MB {}", "megabytes", 16),
    Column("Overage MB {}", "megabytes", 16),
    Column("Overage blocks {}", "count"),
    Column("Charges {}", "money", 16),
    Column("Overage cost {}", "money", 16),
    Column("SMS cost {}", "money", 16),
    Column("Cost {}", "money", 16),
]
POOLED_OVERAGE = (
    "Overage cost of a pooled plan: what its SIMs bear of their pool's overage. MB and blocks are the pool's, below."
)
POOL = [
    Column("Pool", width=26),
    Column("Comm group", width=22),
    Column("Overage rate a block", "price"),
    Column("MB of a block", "megabytes"),
    Column("Price of a MB in the proof", "price"),
]
POOL_BILL = [*RATE_PLAN_BILL[:5], Column("Overage cost {}", "money", 16)]
COMM_GROUPS = [
    Column("Comm group", width=22),
    Column("Outcome", width=16),
    Column("SIMs", "count", 10),
    Column("Cost today", "money", 16),
    Column("Cost optimized", "money", 16),
    Column("Saving", "money", 16),
    Column("Rate plans", "count", 10),
    Column("Rate plans that it allows", width=50),
    Column("Communication plans", width=50),
]
DEVICES = [
    Column("ICCID", width=23),
    Column("Communication plan", width=24),
    Column("Comm group", width=18),
    Column("Rate plan today", width=22),
    Column("Rate plan optimized", width=22),
    Column("Cost today", "money"),
    Column("Cost optimized", "money"),
    Column("Saving", "money"),
    Column("Usage MB", "megabytes"),
    Column("Projected usage MB", "megabytes"),
    Column("SMS", "count", 8),
    Column("Days billed", "count", 8),
    Column("Reason", width=62),
]
CHANGES = [
    Column("ICCID", width=23),
    Column("From rate plan", width=22),
    Column("To rate plan", width=22),
    Column("Cost today", "money"),
    Column("Cost optimized", "money"),
    Column("Saving", "money"),
    Column("State", width=12),
    Column("Reason", width=62),
]
LEFT_OUT = [
    Column("ICCID", width=23),
    Column("Status", width=14),
    Column("Communication plan", width=24),
    Column("Rate plan", width=22),
    Column("Usage MB", "megabytes"),
    Column("Reason", width=62),
    Column("What to do", width=62),
]


@dataclass(frozen=True, slots=True)
class WrittenWorkbook:
    """A workbook on disk."""

    path: str
    key: str
    """Its object key, unique among providers, integrations and sessions."""


@contextmanager
def write_workbook(
    conninfo: str, instance_id: int, *, rows_per_sheet: int = ROWS_PER_SHEET
) -> Iterator[WrittenWorkbook]:
    """Write the workbook of an instance into a temporary folder; yield it and remove it afterwards.

    Raises:
        InstanceEndedError: the instance ended with errors.
        PipelineError: its results are not written.
    """
    with tempfile.TemporaryDirectory(prefix="amop_workbook_") as folder:
        path = Path(folder) / "optimization.xlsx"
        with (
            ReportWorkbook(path, rows_per_sheet=rows_per_sheet) as book,
            connect(conninfo, application_name="amop write_workbook") as connection,
        ):
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            key = workbook_key(_write_sheets(connection, instance_id, book))
        yield WrittenWorkbook(str(path), key)


def _write_sheets(connection: WarehouseConnection, instance_id: int, book: ReportWorkbook) -> dict[str, Any]:
    facts = report_facts(connection, instance_id)
    scope = {"instance_id": instance_id}
    plans = connection.execute(sql.load("reports/optimization_rate_plans"), scope).fetchall()
    pools = connection.execute(sql.load("reports/optimization_pools"), scope).fetchall()
    add_summary(book, facts, plans, pools, plans_sheet=PLANS_SHEET, cost_columns=(16, 25))
    _add_plans_and_pools(book, plans, pools)
    groups = connection.execute(sql.load("reports/optimization_comm_groups"), scope).fetchall()
    book.table("Comm groups", COMM_GROUPS, [list(group.values()) for group in groups])
    book.table("SIMs", DEVICES, _stream(connection, "reports/optimization_devices", scope))
    book.table("Proposed changes", CHANGES, _stream(connection, "reports/optimization_changes", scope))
    left_out = _stream(connection, "reports/optimization_left_out", scope | {"reasons": list(LEFT_OUT_REASONS)})
    book.table("SIMs left out", LEFT_OUT, map(_in_words, left_out))
    return facts


def _add_plans_and_pools(book: ReportWorkbook, plans: list[dict[str, Any]], pools: list[dict[str, Any]]) -> None:
    """Write both tables one below the other, each with its sums: those of the plans are the bills."""
    columns = [*RATE_PLAN, *_titled(RATE_PLAN_BILL), Column("Saving", "money", 16)]
    sheet = book.add_sheet(PLANS_SHEET, columns)
    book.header(sheet, 0, columns)
    rows = [[*plan.values(), (plan["from_total_cost"] or 0) - (plan["to_total_cost"] or 0)] for plan in plans]
    free = book.rows(sheet, 1, columns, rows)
    sheet.autofilter(0, 0, max(1, free - 1), len(columns) - 1)
    if rows:
        counted = {"device_count", "usage_mb", "charges", "overage_cost", "sms_cost", "total_cost"}
        book.totals(sheet, free, columns, 1, [*_sums(plans, counted), sum(row[-1] for row in rows)])
    book.cell(sheet, free + 1, 0, POOLED_OVERAGE)
    if not pools:
        return
    columns = [*POOL, *_titled(POOL_BILL)]
    top = free + 3
    book.header(sheet, top, columns)
    free = book.rows(sheet, top + 1, columns, [list(pool.values()) for pool in pools])
    sums = _sums(pools, {"device_count", "usage_mb", "included_mb", "overage_mb", "overage_blocks", "overage_cost"})
    book.totals(sheet, free, columns, top + 1, sums)


def _titled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns of a bill twice: for today and optimized."""
    return [
        Column(column.title.format(which), column.kind, column.width)
        for which in ("today", "optimized")
        for column in columns
    ]


def _sums(rows: list[dict[str, Any]], counted: set[str]) -> list[Any]:
    """Return the exact sums of the columns that are counted, for both bills; the first column says what they are."""
    names = list(rows[0])
    wanted = {f"{which}_{name}" for which in ("from", "to") for name in counted}
    sums: list[Any] = [sum(row[name] or 0 for row in rows) if name in wanted else None for name in names]
    return ["Total", *sums[1:]]


def _stream(connection: WarehouseConnection, statement: str, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement as they come from the server."""
    with connection.cursor(name="amop_report", row_factory=tuple_row) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(sql.load(statement), values)
        yield from cursor


def _in_words(row: tuple[Any, ...]) -> tuple[Any, ...]:
    reason = LEFT_OUT_REASONS[row[-1]]
    return (*row[:-1], reason.words, reason.remedy or None)
