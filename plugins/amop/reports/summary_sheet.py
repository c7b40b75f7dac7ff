"""The first sheet of an optimization's workbook: costs, proof, SIM counts and the source of the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from amop.reports.report import Report
from amop.reports.store import PoolRow, RatePlanRow
from amop.reports.xlsx import Column, ReportWorkbook, cell_text
from amop.solver import from_micro

SHEET = "Summary"
COLUMNS = [Column("", width=44), Column("", width=24), Column("", width=24), Column("", width=90)]
LINE_HEIGHT = 15
"""Height of a line of text, in points."""
CHART_PLANS = 25
"""Rate plans in the chart, the most expensive first."""

HOW_TO_VERIFY = (
    "For any price of a pool's data between 0 and its overage rate / block, charging every SIM that price for its "
    "usage above its allowance gives a lower bound of every assignment (weak duality; whole blocks cost more).",
    "At the prices above: bound = sum over the SIMs of the minimum, over the rate plans that its communication plan "
    "allows, of charges + SMS + overage of a plan that is not pooled + price x (projected usage - included MB).",
    "If the lower bound is higher than the bound of the prices, an exhaustive search of the small fleet proved it.",
    "Bill and bound were computed again from the inputs alone before they were stored; the prices are in "
    "amop.optimization_instance.certificate, the inputs in amop.optimization_device.",
)
ABOUT_NUMBERS = (
    "Money and megabytes have 6 decimals in the warehouse. Here they are numbers of 15 digits, exact up to "
    "999,999,999.999999; cells hold more decimals than they show. ICCIDs are text.",
)


def add_summary(
    book: ReportWorkbook,
    report: Report,
    plans: Sequence[RatePlanRow],
    pools: Sequence[PoolRow],
    *,
    plans_sheet: str,
    cost_columns: tuple[int, int],
) -> None:
    """Write the sheet.

    Args:
        book: the workbook, without a sheet so far.
        report: the report.
        plans: the rate plans of both bills.
        pools: the pools of both bills.
        plans_sheet: the sheet that has the rate plans from its second row on, in the order of ``plans``.
        cost_columns: the columns of that sheet with the present and the optimized cost.
    """
    sheet = book.add_sheet(SHEET, COLUMNS, frozen_rows=0)
    sheet.hide_gridlines(2)
    stored = report.stored
    book.cell(sheet, 0, 0, f"Rate plan optimization: {report.provider}", style="title")
    period = f"{report.local_time(stored.cycle_start)} to {report.local_time(stored.cycle_end)}"
    book.cell(sheet, 1, 0, f"Billing period {period}")
    row = count(3)
    first_cost = _section(book, sheet, row, "Costs of the period", _costs(report))
    _section(book, sheet, row, "Result", _result(report))
    _prices(book, sheet, row, report, pools)
    _notes(book, sheet, row, "How to verify the lower bound", HOW_TO_VERIFY)
    if report.notes:
        _notes(book, sheet, row, "About the plan changes", report.notes)
    if report.warnings:
        _notes(book, sheet, row, "Warnings", report.warnings)
    _section(book, sheet, row, "SIMs", _sims(report))
    _section(book, sheet, row, "Source of the figures", _origin(report))
    _notes(book, sheet, row, "About the numbers", ABOUT_NUMBERS)
    _add_cost_chart(book, sheet, first_cost, report)
    if plans:
        _add_plan_chart(book, sheet, plans, plans_sheet, cost_columns)


Line = tuple[str, Decimal | int | str, str]
"""A label, its value and the value's kind."""


def _costs(report: Report) -> list[tuple[str, Decimal, str]]:
    return [
        ("Present rate plans", report.current_cost, "money"),
        ("Base assignment (included data closest to the usage)", report.base_cost, "money"),
        ("Optimized rate plans", report.total_cost, "money"),
        ("Lower bound: no assignment costs less", report.lower_bound, "money"),
    ]


def _result(report: Report) -> list[Line]:
    return [
        ("Savings against the present rate plans", report.savings, "money"),
        ("Savings, share of the present cost", report.savings_share, "share"),
        ("Gap: largest possible further saving", report.total_cost - report.lower_bound, "money"),
        ("Gap, share of the optimized cost", report.gap, "share"),
        ("Plan changes proposed", report.stored.change_count, "count"),
        ("   of them doubtful: they may wait for a later optimization", report.stored.doubtful_count, "count"),
    ]


def _sims(report: Report) -> list[Line]:
    def listed(*, is_expected: bool) -> list[Line]:
        exclusions = [each for each in report.exclusions if each.reason.is_expected is is_expected]
        return [(f"   {each.reason.words}", each.device_count, "count") for each in exclusions]

    stored = report.stored
    return [
        ("Expected: active, with usage, or activated in the period", stored.expected_device_count, "count"),
        ("Placed: may change its rate plan", stored.device_count, "count"),
        ("Kept on its rate plan, and billed: in every cost above, too", stored.kept_device_count, "count"),
        ("Expected and excluded", stored.expected_device_count - stored.device_count, "count"),
        *listed(is_expected=True),
        *listed(is_expected=False),
        ("Present plan unknown: costed on the base assignment", stored.unknown_plan_count, "count"),
        ("Activation date unknown: billed for the whole period", stored.unknown_activation_count, "count"),
        ("   of the cost, not due if they were activated in it: up to", stored.unknown_activation_cost, "money"),
        ("Messages not read: no plan with a price for them offered", stored.sms_unread_count, "count"),
        ("On the plan that was applied since the last list of devices", stored.applied_plan_count, "count"),
        ("Kept on its plan for now: the outcome of a change of it is not known", stored.change_in_doubt_count, "count"),
    ]


def _origin(report: Report) -> list[Line]:
    stored = report.stored
    limits = report.certificate.get("changes") or {"saving": 0, "most": None}
    return [
        ("Tenant", stored.tenant_name, "text"),
        ("Integration", stored.integration_display_name, "text"),
        ("Session id and guid", f"{stored.session_id}, {stored.session_guid}", "text"),
        ("Started", report.local_time(stored.started_at), "text"),
        ("Usage as of (projected from here to the period's end)", report.local_time(stored.usage_as_of), "text"),
        ("Last complete device sync", report.local_time(stored.synced_at), "text"),
        ("Minimum saving of a change", from_micro(limits["saving"]), "money"),
        ("Maximum number of changes", "no limit" if limits["most"] is None else limits["most"], "text"),
        ("Apply changes", stored.apply_changes, "text"),
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


def _prices(book: ReportWorkbook, sheet: Any, row: Iterator[int], report: Report, pools: Sequence[PoolRow]) -> None:
    """Write the prices of the proof and the bound that follows from them."""
    number = next(row)
    book.cell(sheet, number, 0, "Proof: price of a pool's data", style="section")
    book.cell(sheet, number, 1, "Price of a MB", style="section")
    book.cell(sheet, number, 2, "Maximum: rate / block", style="section")
    if not pools:
        book.cell(sheet, next(row), 0, "No pool: each SIM's cheapest plan is the optimum")
    for pool in pools:
        number = next(row)
        group = f", comm group {pool.comm_group_key}" if pool.comm_group_key else ""
        book.cell(sheet, number, 0, pool.pool_name + group)
        book.cell(sheet, number, 1, pool.price_per_mb, "price")
        book.cell(sheet, number, 2, pool.overage_rate / pool.data_per_overage_charge, "price")
    if report.certificate:
        number = next(row)
        book.cell(sheet, number, 0, "Bound that these prices prove")
        book.cell(sheet, number, 1, from_micro(report.certificate["price_bound_micro"]), "money")
        if tree := report.certificate.get("tree"):
            number = next(row)
            book.cell(sheet, number, 0, "Bound that the proof by cases proves")
            book.cell(sheet, number, 1, from_micro(tree["bound_micro"]), "money")
    next(row)


def _notes(book: ReportWorkbook, sheet: Any, row: Iterator[int], title: str, lines: Iterable[str]) -> None:
    """Write a heading and texts across the first three columns, each in a row of sufficient height."""
    book.cell(sheet, next(row), 0, title, style="section")
    width = sum(column.width for column in COLUMNS[:3])
    for line in lines:
        number, text = next(row), cell_text(line)
        sheet.set_row(number, LINE_HEIGHT * -(-len(text) // int(width)))
        sheet.merge_range(number, 0, number, 2, "", book.format("text", "note"))
        book.cell(sheet, number, 0, text, style="note")
    next(row)


def _add_cost_chart(book: ReportWorkbook, sheet: Any, first_row: int, report: Report) -> None:
    lines = _costs(report)
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
    book: ReportWorkbook, sheet: Any, plans: Sequence[RatePlanRow], plans_sheet: str, cost_columns: tuple[int, int]
) -> None:
    shown = plans[:CHART_PLANS]
    chart = book.book.add_chart({"type": "column"})
    for name, column, costs, color in (
        ("Today", cost_columns[0], [plan.from_total_cost for plan in shown], "#A5A5A5"),
        ("Optimized", cost_columns[1], [plan.to_total_cost for plan in shown], "#2F5597"),
    ):
        chart.add_series(
            {
                "name": name,
                "categories": [plans_sheet, 1, 0, len(shown), 0],
                "values": [plans_sheet, 1, column, len(shown), column],
                "categories_data": [plan.rate_plan_code for plan in shown],
                "values_data": [float(cost or 0) for cost in costs],
                "fill": {"color": color},
            }
        )
    title = "Cost of each rate plan" + ("" if len(shown) == len(plans) else f", the {len(shown)} most expensive")
    chart.set_title({"name": title})
    chart.set_legend({"position": "bottom"})
    chart.set_y_axis({"num_format": "#,##0", "min": 0})
    sheet.insert_chart(17, 3, chart, {"x_scale": 1.3, "y_scale": 1.2})
