"""The first sheet of an optimization's workbook: what it costs, how that is proved, and what it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from amop.notify.workbook import Column, ReportWorkbook, cell_text
from amop.optimization import from_micro
from amop.pipeline.optimization_report import Facts, local_time

SHEET = "Summary"
COLUMNS = [Column("", width=44), Column("", width=24), Column("", width=24), Column("", width=90)]
LINE_HEIGHT = 15
"""Points of a line of text."""
PLANS_IN_A_CHART = 25
"""More bars than these are not read; the dearest plans come first."""

HOW_TO_VERIFY = (
    "For any price of a pool's data between 0 and its overage rate / block, charging every SIM that price for its "
    "usage above its allowance gives an amount below which no assignment goes (weak duality; whole blocks cost more).",
    "At the prices above: bound = sum over the SIMs of the least, over the rate plans that its communication plan "
    "allows, of charges + SMS + overage of a plan that is not pooled + price x (projected usage - included MB).",
    "Where the lower bound is higher than the bound of the prices, a search of the small fleet to its end proved more.",
    "Bill and bound were computed again from the inputs alone before they were stored; the prices are in "
    "amop.optimization_instance.certificate, the inputs in amop.optimization_device.",
)
ABOUT_NUMBERS = (
    "Money and megabytes have 6 decimals in the warehouse. Here they are numbers of 15 digits, exact up to "
    "999,999,999.999999; the format shows fewer decimals than the cell holds. ICCIDs are text.",
)


def add_summary(
    book: ReportWorkbook,
    facts: Facts,
    plans: Sequence[dict[str, Any]],
    pools: Sequence[dict[str, Any]],
    *,
    plans_sheet: str,
    cost_columns: tuple[int, int],
) -> None:
    """Write the sheet.

    Args:
        book: the workbook, without a sheet so far.
        facts: of `report_facts`.
        plans: rows of ``reports/optimization_rate_plans``.
        pools: rows of ``reports/optimization_pools``.
        plans_sheet: the sheet on which the rate plans stand from the second row on, in the order of ``plans``.
        cost_columns: the columns there of the cost today and optimized.
    """
    sheet = book.add_sheet(SHEET, COLUMNS, frozen_rows=0)
    sheet.hide_gridlines(2)
    whose = f"{facts['service_provider_name']} ({facts['service_provider_id']})"
    book.cell(sheet, 0, 0, f"Rate plan optimization: {whose}", style="title")
    period = f"{local_time(facts, facts['cycle_start'])} to {local_time(facts, facts['cycle_end'])}"
    book.cell(sheet, 1, 0, f"Billing period {period}")
    row = count(3)
    first_cost = _section(book, sheet, row, "Costs of the period", _costs(facts))
    _section(book, sheet, row, "Result", _result(facts))
    _prices(book, sheet, row, facts, pools)
    _notes(book, sheet, row, "How to verify the lower bound", HOW_TO_VERIFY)
    if facts["warning"]:
        _notes(book, sheet, row, "Warnings", facts["warning"].splitlines())
    _section(book, sheet, row, "SIMs", _sims(facts))
    _section(book, sheet, row, "Where it comes from", _origin(facts))
    _notes(book, sheet, row, "About the numbers", ABOUT_NUMBERS)
    _add_cost_chart(book, sheet, first_cost, facts)
    if plans:
        _add_plan_chart(book, sheet, plans, plans_sheet, cost_columns)


Line = tuple[str, Any, str]
"""A label, its value and the value's kind."""


def _costs(facts: Facts) -> list[Line]:
    return [
        ("Present rate plans", facts["current_cost"], "money"),
        ("Base assignment (included data closest to the usage)", facts["base_cost"], "money"),
        ("Optimized rate plans", facts["total_cost"], "money"),
        ("Lower bound: no assignment costs less", facts["lower_bound"], "money"),
    ]


def _result(facts: Facts) -> list[Line]:
    current = facts["current_cost"]
    return [
        ("Savings against the present rate plans", facts["savings"], "money"),
        ("Savings, share of the present cost", facts["savings"] / current if current else Decimal(0), "share"),
        ("Gap: most that a better assignment could still save", facts["total_cost"] - facts["lower_bound"], "money"),
        ("Gap, share of the optimized cost", facts["gap"], "share"),
        ("Plan changes proposed", facts["change_count"], "count"),
    ]


def _sims(facts: Facts) -> list[Line]:
    def listed(*, is_expected: bool) -> list[Line]:
        reasons = [reason for reason in facts["left_out"] if reason["is_expected"] is is_expected]
        return [(f"   {reason['words']}", reason["device_count"], "count") for reason in reasons]

    return [
        ("Expected: active, with usage, or activated in the period", facts["expected_device_count"], "count"),
        ("Placed: counted in every cost above", facts["device_count"], "count"),
        ("Expected and left out", facts["expected_device_count"] - facts["device_count"], "count"),
        *listed(is_expected=True),
        *listed(is_expected=False),
        ("Present plan unknown: costed on the base assignment", facts["unknown_plan_count"], "count"),
        ("Activation date unknown: billed for the whole period", facts["unknown_activation_count"], "count"),
    ]


def _origin(facts: Facts) -> list[Line]:
    asked = facts["certificate"].get("changes") or {"saving": 0, "most": None}
    return [
        ("Tenant", facts["tenant_name"], "text"),
        ("Integration", facts["integration_display_name"], "text"),
        ("Session, its guid", f"{facts['session_id']}, {facts['session_guid']}", "text"),
        ("Started", local_time(facts, facts["started_at"]), "text"),
        ("Usage as of (projected from here to the period's end)", local_time(facts, facts["usage_as_of"]), "text"),
        ("Last complete device sync", local_time(facts, facts["synced_at"]), "text"),
        ("Least saving of a change", from_micro(asked["saving"]), "money"),
        ("Most changes", "any number" if asked["most"] is None else asked["most"], "text"),
        ("Apply changes", facts["apply_changes"], "text"),
    ]


def _section(book: ReportWorkbook, sheet: Any, row: Iterator[int], title: str, lines: Iterable[Line]) -> int:
    """Write a heading and its lines; return the row of the first line."""
    top = next(row)
    book.cell(sheet, top, 0, title, style="section")
    for label, value, kind in lines:
        number = next(row)
        book.cell(sheet, number, 0, label)
        book.cell(sheet, number, 1, value, kind)
    next(row)
    return top + 1


def _prices(
    book: ReportWorkbook, sheet: Any, row: Iterator[int], facts: Facts, pools: Sequence[dict[str, Any]]
) -> None:
    """Write the prices of the proof and the bound that they give."""
    number = next(row)
    book.cell(sheet, number, 0, "Proof: price of a pool's data", style="section")
    book.cell(sheet, number, 1, "Price of a MB", style="section")
    book.cell(sheet, number, 2, "Highest: rate / block", style="section")
    if not pools:
        book.cell(sheet, next(row), 0, "No pool: each SIM's cheapest plan is the optimum")
    for pool in pools:
        number = next(row)
        group = f", comm group {pool['comm_group_key']}" if pool["comm_group_key"] else ""
        book.cell(sheet, number, 0, pool["pool_name"] + group)
        book.cell(sheet, number, 1, pool["price_per_mb"], "price")
        book.cell(sheet, number, 2, pool["overage_rate"] / pool["data_per_overage_charge"], "price")
    if facts["certificate"]:
        number = next(row)
        book.cell(sheet, number, 0, "Bound that these prices give")
        book.cell(sheet, number, 1, from_micro(facts["certificate"]["price_bound_micro"]), "money")
    next(row)


def _notes(book: ReportWorkbook, sheet: Any, row: Iterator[int], title: str, lines: Iterable[str]) -> None:
    """Write a heading and texts over the first three columns, as high as each needs."""
    book.cell(sheet, next(row), 0, title, style="section")
    width = sum(column.width for column in COLUMNS[:3])
    for line in lines:
        number, text = next(row), cell_text(line)
        sheet.set_row(number, LINE_HEIGHT * -(-len(text) // int(width)))
        sheet.merge_range(number, 0, number, 2, "", book.format("text", "note"))
        book.cell(sheet, number, 0, text, style="note")
    next(row)


def _add_cost_chart(book: ReportWorkbook, sheet: Any, first_row: int, facts: Facts) -> None:
    lines = _costs(facts)
    last_row = first_row + len(lines) - 1
    chart = book.book.add_chart({"type": "bar"})
    chart.add_series(
        {
            "categories": [SHEET, first_row, 0, last_row, 0],
            "values": [SHEET, first_row, 1, last_row, 1],
            "categories_data": [label for label, _, _ in lines],
            "values_data": [float(value) for _, value, _ in lines],
            "data_labels": {"value": True, "num_format": "#,##0"},
            "fill": {"color": "#2F5597"},
        }
    )
    chart.set_title({"name": "Cost of the period"})
    chart.set_legend({"none": True})
    chart.set_y_axis({"reverse": True})
    chart.set_x_axis({"num_format": "#,##0", "min": 0})
    sheet.insert_chart(2, 3, chart, {"x_scale": 1.3, "y_scale": 0.9})


def _add_plan_chart(
    book: ReportWorkbook, sheet: Any, plans: Sequence[dict[str, Any]], plans_sheet: str, cost_columns: tuple[int, int]
) -> None:
    shown = plans[:PLANS_IN_A_CHART]
    chart = book.book.add_chart({"type": "column"})
    for name, column, field, color in (
        ("Today", cost_columns[0], "from_total_cost", "#A5A5A5"),
        ("Optimized", cost_columns[1], "to_total_cost", "#2F5597"),
    ):
        chart.add_series(
            {
                "name": name,
                "categories": [plans_sheet, 1, 0, len(shown), 0],
                "values": [plans_sheet, 1, column, len(shown), column],
                "categories_data": [plan["rate_plan_code"] for plan in shown],
                "values_data": [float(plan[field] or 0) for plan in shown],
                "fill": {"color": color},
            }
        )
    title = "Cost of each rate plan" + ("" if len(shown) == len(plans) else f", the {len(shown)} dearest")
    chart.set_title({"name": title})
    chart.set_legend({"position": "bottom"})
    chart.set_y_axis({"num_format": "#,##0", "min": 0})
    sheet.insert_chart(17, 3, chart, {"x_scale": 1.3, "y_scale": 1.2})
