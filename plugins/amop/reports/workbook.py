"""Write the workbook of an optimization: summary, proof, rate plans, pools, comm groups, SIMs, changes, exclusions.

The tables of results are read in one snapshot. SIMs are streamed by a server-side cursor, so that memory does not grow
with their number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any

from psycopg import IsolationLevel

from amop.database.connection import WarehouseConnection, connect
from amop.optimization.exclusions import EXCLUSION_REASONS
from amop.reports import store
from amop.reports.report import Report, load_report
from amop.reports.store import ChangeRow, CommGroupRow, DeviceRow, ExcludedDevice, PoolRow, RatePlanRow
from amop.reports.summary_sheet import add_summary
from amop.reports.xlsx import ROWS_PER_SHEET, Column, ReportWorkbook

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
    "Overage cost of a pooled plan: its SIMs' shares of the overage of their pool. MB and blocks: see below."
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
    Column("SMS, if read", "count", 12),
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
    Column("Certainty", "share", 10),
    Column("Waits", width=62),
]
EXCLUDED = [
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
    """Object key, unique among providers, integrations and sessions."""


@contextmanager
def write_workbook(
    conninfo: str, instance_id: int, *, rows_per_sheet: int = ROWS_PER_SHEET
) -> Iterator[WrittenWorkbook]:
    """Write the workbook of an instance into a temporary folder; yield it and delete it afterwards.

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
            key = _write_sheets(connection, instance_id, book).workbook_key
        yield WrittenWorkbook(str(path), key)


def _write_sheets(connection: WarehouseConnection, instance_id: int, book: ReportWorkbook) -> Report:
    report = load_report(connection, instance_id)
    plans = store.rate_plans(connection, instance_id=instance_id)
    pools = store.pools(connection, instance_id=instance_id)
    add_summary(book, report, plans, pools, plans_sheet=PLANS_SHEET, cost_columns=(16, 25))
    _add_plans_and_pools(book, plans, pools)
    groups = store.comm_groups(connection, instance_id=instance_id)
    book.table("Comm groups", COMM_GROUPS, map(values_of(CommGroupRow), groups))
    book.table("SIMs", DEVICES, map(values_of(DeviceRow), store.devices(connection, instance_id=instance_id)))
    changes = store.changes(connection, instance_id=instance_id)
    book.table("Proposed changes", CHANGES, map(values_of(ChangeRow), changes))
    excluded = store.excluded_devices(connection, instance_id=instance_id, reasons=list(EXCLUSION_REASONS))
    book.table("Excluded SIMs", EXCLUDED, map(_excluded_values, excluded))
    return report


def _add_plans_and_pools(book: ReportWorkbook, plans: Sequence[RatePlanRow], pools: Sequence[PoolRow]) -> None:
    """Write both tables one below the other, each with its sums: those of the plans are the bills."""
    columns = [*RATE_PLAN, *_titled(RATE_PLAN_BILL), Column("Saving", "money", 16)]
    sheet = book.add_sheet(PLANS_SHEET, columns)
    book.header(sheet, 0, columns)
    values = values_of(RatePlanRow)
    savings = [(plan.from_total_cost or Decimal(0)) - (plan.to_total_cost or Decimal(0)) for plan in plans]
    rows = [(*values(plan), saving) for plan, saving in zip(plans, savings, strict=True)]
    free = book.rows(sheet, 1, columns, rows)
    sheet.autofilter(0, 0, max(1, free - 1), len(columns) - 1)
    if rows:
        summed = {"device_count", "usage_mb", "charges", "overage_cost", "sms_cost", "total_cost"}
        book.totals(sheet, free, columns, 1, [*_sums(plans, summed), sum(savings)])
    book.cell(sheet, free + 1, 0, POOLED_OVERAGE)
    if not pools:
        return
    columns = [*POOL, *_titled(POOL_BILL)]
    top = free + 3
    book.header(sheet, top, columns)
    free = book.rows(sheet, top + 1, columns, map(values_of(PoolRow), pools))
    summed = {"device_count", "usage_mb", "included_mb", "overage_mb", "overage_blocks", "overage_cost"}
    book.totals(sheet, free, columns, top + 1, _sums(pools, summed))


def _titled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns of a bill twice: for today and optimized."""
    return [
        Column(column.title.format(which), column.kind, column.width)
        for which in ("today", "optimized")
        for column in columns
    ]


def _sums(rows: Sequence[RatePlanRow] | Sequence[PoolRow], summed: set[str]) -> list[Any]:
    """Return the exact sums of some columns, for both bills; the first column is the label."""
    columns = {f"{which}_{name}" for which in ("from", "to") for name in summed}
    names = [field.name for field in fields(rows[0])]
    sums = [sum(getattr(row, name) or 0 for row in rows) if name in columns else None for name in names]
    return ["Total", *sums[1:]]


def values_of(row_type: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that returns the values of a row in the order of its fields."""
    return attrgetter(*(field.name for field in fields(row_type)))


def _excluded_values(device: ExcludedDevice) -> tuple[Any, ...]:
    reason = EXCLUSION_REASONS[device.reason]
    return (
        device.iccid,
        device.status,
        device.communication_plan,
        device.rate_plan,
        device.usage_mb,
        reason.words,
        reason.remedy or None,
    )
