"""The view Today: is everything fine, and what needs a person first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.page.headline import headline
from amop.page.needs import ProviderToday, judge
from amop.page.store import today as store
from amop.page.store.today import HealthRow
from amop.page.table import Column, Order, Table, sort_rows


@dataclass(frozen=True, slots=True)
class Today:
    """The whole view."""

    now: datetime
    headline: str
    is_fine: bool
    """True if no provider needs anything."""
    needs_attention: bool
    """True if a person has to act before the next night."""
    table: Table[ProviderToday]
    health: HealthRow


def read_today(connection: WarehouseConnection, *, integrations: list[str], order: Order | None) -> Today:
    """Return the view.

    Args:
        connection: a reading transaction.
        integrations: names of the integrations that the user may see.
        order: None = what needs a person first, then the largest bill.
    """
    now = store.moment(connection)
    rows = [judge(row, now) for row in store.providers(connection, integrations=integrations, now=now)]
    rows.sort(key=lambda row: (row.need, -(row.stored.forecast_bill or Decimal(0)), row.stored.name))
    if order is not None:
        rows = sort_rows(COLUMNS, rows, order)
    return Today(
        now=now,
        headline=headline(rows),
        is_fine=all(row.needs_nothing for row in rows),
        needs_attention=any(row.needs_attention for row in rows),
        table=Table(
            "today",
            "Providers",
            COLUMNS,
            rows,
            order or Order(""),
            "No provider is active. Load a reference file: bin/amop load-reference FILE.",
            len(rows),
            currency=lambda row: row.stored.currency,
        ),
        health=store.health(connection),
    )


COLUMNS: tuple[Column[ProviderToday], ...] = (
    Column("provider", "Provider", lambda row: row.stored.name, note=lambda row: row.stored.tenant),
    Column("state", "State", lambda row: row.need.name.lower(), kind="state", note=lambda row: row.reason),
    Column("bill", "Forecast bill", lambda row: row.stored.forecast_bill, kind="money"),
    Column("saving", "Still to save", lambda row: row.possible_saving, kind="money", note=lambda row: row.cap_note),
    Column("synced_at", "Last sync", lambda row: row.stored.synced_at, kind="moment"),
    Column("sims", "SIMs", lambda row: row.stored.device_count, kind="count"),
    Column("quarantined", "Quarantined", lambda row: row.stored.quarantined, kind="count"),
    Column("usage", "Usage of the cycle", lambda row: row.stored.data_usage, kind="data"),
    Column("usual", "Of the usual", lambda row: row.usage_ratio, kind="share"),
    Column("days_left", "Days left", lambda row: row.days_left, kind="count"),
    Column("progress", "In progress", lambda row: row.progress_text),
    Column("messages", "Messages waiting", lambda row: row.stored.pending_messages, kind="count"),
    Column("reason", "What and why", lambda row: row.reason, is_sortable=False, is_shown=False),
    Column(
        "next",
        "Next",
        lambda row: row.next_step.text if row.next_step else None,
        is_sortable=False,
        is_shown=False,
    ),
)
