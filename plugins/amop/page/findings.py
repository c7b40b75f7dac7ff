"""The view Findings: what is unusual about SIMs and pools, its money, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from amop.database.connection import WarehouseConnection
from amop.findings.kinds import FindingKind
from amop.findings.rules import KINDS, MOST_FINDINGS, Kind, sentence
from amop.page.store import findings as store
from amop.page.store.findings import FindingRow, FindingTotal
from amop.page.table import Action, Column, Order, Table, whole_table

TITLE = f"Findings, at most {MOST_FINDINGS} of a provider"

TOTAL_COLUMNS: tuple[Column[FindingTotal], ...] = (
    Column("provider", "Provider", lambda row: row.provider),
    Column("kind", "Kind", lambda row: KINDS[cast("FindingKind", row.kind)].title),
    Column("found", "Found", lambda row: row.found, kind="count"),
    Column("amount", "To the period's end", lambda row: row.amount, kind="money"),
    Column("meaning", "Which is", lambda row: KINDS[cast("FindingKind", row.kind)].money),
    Column("checked_at", "Checked", lambda row: row.checked_at, kind="moment"),
)


@dataclass(frozen=True, slots=True)
class FindingsView:
    """The whole view."""

    table: Table[FindingRow]
    totals: Table[FindingTotal]


def read_findings(
    connection: WarehouseConnection,
    *,
    integrations: list[str],
    changeable: list[str],
    dismissed: bool,
    service_provider_id: int | None,
    orders: Mapping[str, Order],
) -> FindingsView:
    """Return the findings of the providers' latest checks.

    Args:
        connection: a reading transaction.
        integrations: names of the integrations that the user may see.
        changeable: names of those whose findings the user may dismiss.
        dismissed: True = the dismissed findings instead.
        service_provider_id: None = all providers.
        orders: order of each table by its name.
    """
    wanted = {"integrations": integrations, "service_provider_id": service_provider_id}
    rows = store.findings(connection, dismissed=dismissed, **wanted)  # type: ignore[arg-type]
    totals = store.finding_totals(connection, **wanted)  # type: ignore[arg-type]
    if dismissed:
        empty = "No finding is dismissed."
    elif store.last_finding_check(connection, **wanted) is None:  # type: ignore[arg-type]
        empty = "Nothing was checked yet: that needs a complete sync."
    else:
        empty = "Nothing unusual was found."
    return FindingsView(
        table=whole_table(
            "findings",
            "Dismissed findings" if dismissed else TITLE,
            _columns(changeable, dismissed=dismissed),
            rows,
            order=orders.get("findings") or Order("amount", descending=True),
            empty=empty,
            currency=lambda row: row.currency,
        ),
        totals=whole_table(
            "totals",
            "All that was found, by kind",
            TOTAL_COLUMNS,
            totals,
            order=orders.get("totals") or Order("amount", descending=True),
            empty="Nothing was found.",
            currency=lambda row: row.currency,
        ),
    )


def _columns(changeable: list[str], *, dismissed: bool) -> tuple[Column[FindingRow], ...]:
    columns: tuple[Column[FindingRow], ...] = (
        Column("provider", "Provider", lambda row: row.provider),
        Column("kind", "Kind", lambda row: _kind(row).title, note=lambda row: _kind(row).money),
        Column("subject", "SIM or pool", lambda row: row.subject, link=_sim),
        Column("found", "Found", lambda row: sentence(_name(row), row.subject, row.facts, row.currency)),
        Column("amount", "To the period's end", lambda row: row.amount, kind="money"),
        Column("action", "What to do", _what_to_do, link=_approval, is_sortable=False),
        Column("first_found_at", "Since", lambda row: row.first_found_at, kind="day"),
    )
    if dismissed:
        columns = (*columns, Column("dismissed_by", "Dismissed by", lambda row: row.dismissed_by))
    if not changeable:
        return columns
    return (*columns, Column("button", "Dismiss", lambda _row: None, action=_button(changeable), is_sortable=False))


def _name(row: FindingRow) -> FindingKind:
    return cast("FindingKind", row.kind)


def _kind(row: FindingRow) -> Kind:
    return KINDS[_name(row)]


def _sim(row: FindingRow) -> str | None:
    return f"sim/{row.device_id}" if row.device_id else None


def _what_to_do(row: FindingRow) -> str:
    """Return the action of a finding; what another run of the optimization may bring begins with the open approval."""
    if row.approval_session_id is None or not _kind(row).is_answered_by_plan_changes:
        return _kind(row).action
    return f"First approve or reject the plan changes of session {row.approval_session_id}. Then: {_kind(row).action}"


def _approval(row: FindingRow) -> str | None:
    if row.approval_session_id is None or not _kind(row).is_answered_by_plan_changes:
        return None
    return f"session/{row.approval_session_id}#approval"


def _button(changeable: list[str]) -> Callable[[FindingRow], Action | None]:
    def button(row: FindingRow) -> Action | None:
        if row.integration not in changeable:
            return None
        what = f"{_kind(row).title}, {row.subject}"
        if row.dismissed_at is None:
            return Action(f"findings/{row.id}/dismiss", "Dismiss", f"Dismiss: {what}")
        return Action(f"findings/{row.id}/restore", "Show again", f"Show again: {what}")

    return button
