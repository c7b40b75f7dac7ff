"""The view Savings: did the savings that were forecast come true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from amop.database.connection import WarehouseConnection
from amop.page.pictures import LinePicture, line_picture
from amop.page.store import savings as store
from amop.page.store.savings import SavingRow
from amop.page.table import Column, Order, Table, whole_table
from amop.page.time_series import TimeSeries, savings_chart
from amop.wording import money

INTERVAL_WORDS = {True: "held", False: "missed", None: None}
COLUMNS: tuple[Column[SavingRow], ...] = (
    Column("period", "Period", lambda row: f"{row.bill_year}-{row.bill_month:02}"),
    Column("provider", "Provider", lambda row: row.provider),
    Column("session", "Session", lambda row: row.session_id, kind="id", link=lambda row: f"session/{row.session_id}"),
    Column("changes", "Changes applied", lambda row: row.applied_changes, kind="count"),
    Column("unsent", "Waited, not sent", lambda row: row.unsent_changes, kind="count"),
    Column("forecast", "Forecast saving", lambda row: row.forecast_saving, kind="money"),
    Column("realised", "Realised saving", lambda row: row.realised_saving, kind="money"),
    Column("came_true", "Of the forecast", lambda row: _share(row), kind="share"),
    Column("old_plans", "Bill of the old plans", lambda row: row.old_plans_cost, kind="money"),
    Column("applied_plans", "Bill as it was", lambda row: row.applied_plans_cost, kind="money"),
    Column("interval", "90 % interval of the bill", lambda row: INTERVAL_WORDS[row.is_within_interval]),
    Column("projection_error", "Projection error", lambda row: row.projection_error, kind="share"),
    Column("weighted_error", "Error by SIM", lambda row: row.weighted_error, kind="share"),
)


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The savings in one currency over all closed billing periods."""

    currency: str
    forecast: Decimal
    realised: Decimal
    picture: LinePicture | None
    """Realised savings, cumulative by billing period."""
    chart: TimeSeries | None
    """Forecast and realised savings, cumulative, for a script."""


@dataclass(frozen=True, slots=True)
class SavingsView:
    """The whole view."""

    totals: list[CurrencyTotal]
    table: Table[SavingRow]


def read_savings(connection: WarehouseConnection, *, integrations: list[str], order: Order | None) -> SavingsView:
    """Return the savings of all closed billing periods.

    Args:
        connection: a reading transaction.
        integrations: names of the integrations that the user may see.
        order: None = the newest period first.
    """
    rows = store.savings(connection, integrations=integrations)
    return SavingsView(
        totals=[_total(currency, rows) for currency in sorted({row.currency for row in rows})],
        table=whole_table(
            "savings",
            "Savings by billing period",
            COLUMNS,
            rows,
            order=order or Order("period", descending=True),
            empty="No saving is measured yet: that needs a closed billing period and a sync of the next one.",
            currency=lambda row: row.currency,
        ),
    )


def _total(currency: str, rows: list[SavingRow]) -> CurrencyTotal:
    of_currency = [row for row in rows if row.currency == currency]
    points: list[tuple[int, Decimal]] = []
    words: list[str] = []
    sums: dict[str, Decimal] = {}
    for row in of_currency:
        period = f"{row.bill_year}-{row.bill_month:02}"
        sums[period] = sums.get(period, Decimal(0)) + row.realised_saving
    so_far = Decimal(0)
    for number, (period, amount) in enumerate(sorted(sums.items()), start=1):
        so_far += amount
        points.append((number, so_far))
        words.append(f"until {period}: {money(so_far, currency)}")
    return CurrencyTotal(
        currency,
        sum((row.forecast_saving for row in of_currency), Decimal(0)),
        so_far,
        line_picture(points, words),
        savings_chart(currency, _by_month(of_currency, "forecast_saving"), _by_month(of_currency, "realised_saving")),
    )


def _by_month(rows: list[SavingRow], field: Literal["forecast_saving", "realised_saving"]) -> dict[date, Decimal]:
    amounts: dict[date, Decimal] = {}
    for row in rows:
        month = date(row.bill_year, row.bill_month, 1)
        amounts[month] = amounts.get(month, Decimal(0)) + getattr(row, field)
    return amounts


def _share(row: SavingRow) -> Decimal | None:
    return row.realised_saving / row.forecast_saving if row.forecast_saving else None
