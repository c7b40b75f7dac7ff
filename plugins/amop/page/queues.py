"""The views Outbox and Quarantine."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, get_args

from amop.database.connection import WarehouseConnection
from amop.page.store import queues as store
from amop.page.store.queues import MessageRow, MessageSort, QuarantineRow, QuarantineSort
from amop.page.table import LARGEST_EXPORT, ROWS_OF_A_PAGE, Action, Column, Order, Table

MESSAGE_STATES = ("pending", "sent", "dead")

MESSAGE_COLUMNS: tuple[Column[MessageRow], ...] = (
    Column("id", "Message", lambda row: row.id, kind="id"),
    Column("provider", "Provider", lambda row: row.provider),
    Column(
        "session",
        "Session",
        lambda row: row.session_id,
        kind="id",
        link=lambda row: f"session/{row.session_id}" if row.session_id else None,
        is_sortable=False,
    ),
    Column("kind", "Kind", lambda row: row.kind, kind="state"),
    Column("progress", "Progress %", lambda row: row.progress, kind="count"),
    Column("state", "State", lambda row: row.state, kind="state"),
    Column("attempts", "Attempts", lambda row: row.attempts, kind="count"),
    Column("created_at", "Written", lambda row: row.created_at, kind="moment"),
    Column("sent_at", "Delivered", lambda row: row.sent_at, kind="moment"),
    Column("next_attempt_at", "Next attempt", lambda row: row.next_attempt_at, kind="moment"),
    Column("last_error", "Last error", lambda row: row.last_error, is_sortable=False),
)

QUARANTINE_COLUMNS: tuple[Column[QuarantineRow], ...] = (
    Column("id", "Record", lambda row: row.id, kind="id"),
    Column("provider", "Provider", lambda row: row.provider),
    Column("run", "Sync run", lambda row: row.run_id, kind="id", is_sortable=False),
    Column("kind", "Kind", lambda row: row.kind),
    Column(
        "iccid",
        "ICCID or EID",
        lambda row: row.iccid,
        link=lambda row: f"sim/{row.device_id}" if row.device_id else None,
    ),
    Column("source", "Read from", lambda row: row.source, kind="state"),
    Column("reason", "Reason", lambda row: row.reason, note=lambda row: row.raw),
    Column("quarantined_at", "Since", lambda row: row.quarantined_at, kind="moment"),
    Column("resolution", "Resolution", lambda row: row.resolution),
)


def read_messages(
    connection: WarehouseConnection,
    *,
    integrations: list[str],
    state: str | None,
    search: str | None,
    order: Order | None,
    page: int | None,
) -> Table[MessageRow]:
    """Return a page of the messages to AMOP.

    Args:
        connection: a reading transaction.
        integrations: names of the integrations that the user may see.
        state: only messages in this state; None = all.
        search: part of the provider's name; None = all.
        order: None = the newest first.
        page: number of the page from 1, None for all that an export holds.
    """
    order = order if order is not None and order.sort in get_args(MessageSort) else Order("id", descending=True)
    maximum = LARGEST_EXPORT if page is None else ROWS_OF_A_PAGE
    rows = store.messages(
        connection,
        integrations=integrations,
        state=state,
        search=search,
        sort=cast("MessageSort", order.sort),
        descending=order.descending,
        maximum=maximum,
        skipped=((page or 1) - 1) * maximum,
    )
    matches = rows[0].matches if rows else 0
    empty = "No message matches." if state or search else "No message to AMOP was written yet."
    return Table("outbox", "Messages to AMOP", MESSAGE_COLUMNS, rows, order, empty, matches, page or 1)


def read_quarantine(
    connection: WarehouseConnection,
    *,
    integrations: list[str],
    changeable: list[str] | None = None,
    with_resolved: bool,
    search: str | None,
    order: Order | None,
    page: int | None,
    said: str = "",
) -> Table[QuarantineRow]:
    """Return a page of the quarantined records.

    Args:
        connection: a reading transaction.
        integrations: names of the integrations that the user may see.
        changeable: names of those whose records the user may retry and accept; None = of none.
        with_resolved: True = records that were merged or superseded since as well.
        search: start of an ICCID or EID, or part of the provider's name or the reason; None = all.
        order: None = the newest first.
        page: number of the page from 1, None for all that an export holds.
        said: what a button of the table has done.
    """
    order = order if order is not None and order.sort in get_args(QuarantineSort) else Order("id", descending=True)
    maximum = LARGEST_EXPORT if page is None else ROWS_OF_A_PAGE
    rows = store.quarantine(
        connection,
        integrations=integrations,
        with_resolved=with_resolved,
        search=search,
        sort=cast("QuarantineSort", order.sort),
        descending=order.descending,
        maximum=maximum,
        skipped=((page or 1) - 1) * maximum,
    )
    matches = rows[0].matches if rows else 0
    empty = "No record matches." if search else "No record is in quarantine."
    columns = (*QUARANTINE_COLUMNS, *_buttons(changeable)) if changeable else QUARANTINE_COLUMNS
    return Table("quarantine", "Quarantined records", columns, rows, order, empty, matches, page or 1, said=said)


def _buttons(changeable: list[str]) -> tuple[Column[QuarantineRow], ...]:
    """Return the columns with the buttons of the records that are open."""

    def button(action: str, text: str) -> Callable[[QuarantineRow], Action | None]:
        def of_row(row: QuarantineRow) -> Action | None:
            if row.resolution is not None or row.integration not in changeable:
                return None
            return Action(f"quarantine/{row.id}/{action}", text, f"{text} record {row.id}")

        return of_row

    return tuple(
        Column(action, text, lambda _row: None, action=button(action, text), is_sortable=False)
        for action, text in (("retry", "Retry"), ("accept", "Accept"))
    )
