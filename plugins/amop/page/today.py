"""The view Today: is everything fine, and what needs a person first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from textwrap import shorten

from amop.database.connection import WarehouseConnection
from amop.page import formatting
from amop.page.store import today as store
from amop.page.store.today import HealthRow, ProviderRow
from amop.page.table import Column, Order, Table, sort_rows
from amop.runs.first_step import first_step
from amop.time_limits import STALE_AFTER

LATE_AFTER = timedelta(hours=30)
"""A daily sync that is older than this has been missed; the longest run of one may take as long."""

UNUSUAL_USAGE = Decimal("0.5")
"""Usage this share above or below the usual one is marked."""


LONGEST_REASON = 240
"""Characters of an error; the run has the rest."""

ENDED_BADLY = frozenset({"failed", "refused"})
"""Statuses of a sync that merged nothing."""


class Need(IntEnum):
    """What a provider needs, the most urgent first."""

    FAILED = 0
    APPROVAL = 1
    LATE = 2
    MESSAGES = 3
    QUARANTINE = 4
    WARNING = 5
    FINE = 6


@dataclass(frozen=True, slots=True)
class Link:
    """What to do next, and where."""

    text: str
    address: str
    is_airflow: bool = False
    """True for an address of Airflow's own pages, False for one of this page."""


@dataclass(frozen=True, slots=True)
class ProviderToday:
    """A provider with what it needs."""

    stored: ProviderRow
    need: Need
    reason: str
    """Sentence without the provider's name; empty if it is fine."""
    next_step: Link | None
    now: datetime
    action: str = ""
    """What to do first, as a clause; empty if it is fine."""

    @property
    def is_fine(self) -> bool:
        """True if no person has to do anything before the next night."""
        return self.need >= Need.QUARANTINE

    @property
    def sync_age(self) -> timedelta | None:
        """Time since the last complete sync."""
        return None if self.stored.synced_at is None else self.now - self.stored.synced_at

    @property
    def days_left(self) -> int | None:
        """Days until the billing period ends, begun ones included."""
        end = self.stored.cycle_end
        return None if end is None else max(0, -((self.now - end) // timedelta(days=1)))

    @property
    def usage_ratio(self) -> Decimal | None:
        """Usage of the cycle as a multiple of the usual one at this time; None without a history."""
        stored = self.stored
        if stored.usage_as_of is None or stored.cycle_start is None or not stored.sync_is_of_period:
            return None
        if not stored.usual_usage or stored.usual_elapsed is None or stored.data_usage is None:
            return None
        elapsed = stored.usage_as_of - stored.cycle_start
        expected = stored.usual_usage * Decimal(elapsed / stored.usual_elapsed)
        return stored.data_usage / expected if expected > 0 else None

    @property
    def has_unusual_usage(self) -> bool:
        """True if the usage differs from the usual one by more than `UNUSUAL_USAGE`."""
        return self.usage_ratio is not None and abs(self.usage_ratio - 1) > UNUSUAL_USAGE

    @property
    def progress_text(self) -> str | None:
        """What a running sync or session has done so far."""
        stored = self.stored
        parts = []
        if stored.run_status == "running":
            parts.append(f"sync: {formatting.count(stored.run_pages)} pages, {formatting.count(stored.rows_left)} left")
        if stored.session_status == "running":
            parts.append(f"session {stored.session_id}: {stored.session_progress} %")
        return "; ".join(parts) or None

    @property
    def possible_saving(self) -> Decimal | None:
        """What the optimized plans cost less than the forecast bill."""
        stored = self.stored
        if stored.forecast_bill is None or stored.optimized_bill is None:
            return None
        return stored.forecast_bill - stored.optimized_bill


@dataclass(frozen=True, slots=True)
class Today:
    """The whole view."""

    now: datetime
    headline: str
    is_fine: bool
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
        is_fine=all(row.is_fine for row in rows),
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


def headline(rows: Sequence[ProviderToday]) -> str:
    """Return one sentence about all providers."""
    if not rows:
        return "No provider is active yet."
    needy = [row for row in rows if not row.is_fine]
    fine = len(rows) - len(needy)
    verb = "is" if fine == 1 else "are"
    if not needy:
        return f"All {len(rows)} providers are fine." if len(rows) > 1 else f"{rows[0].stored.name} is fine."
    first = min(needy, key=lambda row: row.need)
    others = f" {len(needy) - 1} more need attention." if len(needy) > 2 else ""
    others = " 1 more needs attention." if len(needy) == 2 else others
    told = f"{first.stored.name}: {first.reason}. Next: {first.action}."
    return f"{fine} of {len(rows)} providers {verb} fine. {told}{others}"


def judge(row: ProviderRow, now: datetime) -> ProviderToday:
    """Return a provider with its most urgent need."""
    need, reason, step = _most_urgent(row, now)
    return ProviderToday(row, need, reason, step, now, _action(row, need))


def _action(row: ProviderRow, need: Need) -> str:
    """Return what to do first, in words that serve on the page, in a terminal and in a mail."""
    sync = f"device_sync_{row.integration}"
    actions = {
        Need.FAILED: "unpause amop_relay, which ends the session, then trigger the optimization again",
        Need.APPROVAL: "approve or reject it, on the page AMOP or by bin/amop approvals",
        Need.LATE: f"trigger {sync} and see that it is not paused",
        Need.MESSAGES: "see the errors of these messages, then send them again as the runbook says",
        Need.QUARANTINE: "run bin/amop quarantine list",
        Need.WARNING: "read the warnings of the sync",
        Need.FINE: "",
    }
    if need is Need.FAILED and row.run_status in ENDED_BADLY:
        return first_step(row.run_error)
    if need is Need.FAILED and row.session_status == "failed":
        return first_step(row.session_error, of_session=True)
    return actions[need]


def _most_urgent(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None]:
    approval = _approval(row)
    failure = _failure(row, now)
    if failure is not None and approval is not None:
        need, reason, link = failure
        return need, f"{reason}. Session {row.approval_session_id} waits: {approval[1]}", link
    for found in (failure, approval, _lateness(row, now), _leftovers(row)):
        if found is not None:
            return found
    return Need.FINE, "", None


def _failure(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None] | None:
    if row.run_status in ENDED_BADLY:
        verb = "failed" if row.run_status == "failed" else "was refused"
        reason = f"the sync {verb} at {formatting.moment(row.run_ended_at)}: {_sentence(row.run_error)}"
        return Need.FAILED, reason, Link("See the failed sync", _run_address(row), is_airflow=True)
    is_stale = (
        row.session_status == "running"
        and row.session_heartbeat_at is not None
        and now - row.session_heartbeat_at > STALE_AFTER
    )
    if is_stale:
        reason = f"session {row.session_id} has sent no heartbeat since {formatting.moment(row.session_heartbeat_at)}"
        return Need.FAILED, reason, Link("See the session", f"session/{row.session_id}")
    if row.session_status == "failed":
        reason = f"session {row.session_id} failed: {_sentence(row.session_error)}"
        return Need.FAILED, reason, Link("See the failed session", f"session/{row.session_id}")
    return None


def _approval(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.approval_session_id is None:
        return None
    saving = formatting.money(row.approval_savings, row.currency)
    changes = formatting.several(row.approval_changes or 0, "plan change", "plan changes")
    reason = f"an approval is needed for {changes}, saving {saving}"
    return Need.APPROVAL, reason, Link("Approve or reject", f"session/{row.approval_session_id}#approval")


def _lateness(row: ProviderRow, now: datetime) -> tuple[Need, str, Link | None] | None:
    if row.run_status == "running":
        return None
    link = Link("Start a sync", f"dags/device_sync_{row.integration}", is_airflow=True)
    if row.synced_at is None:
        return Need.LATE, "it was never synced", link
    if now - row.synced_at > LATE_AFTER:
        return Need.LATE, f"the last complete sync is {formatting.span(now - row.synced_at)} old", link
    return None


def _leftovers(row: ProviderRow) -> tuple[Need, str, Link | None] | None:
    if row.dead_messages:
        reason = f"AMOP refused {formatting.several(row.dead_messages, 'message', 'messages')}"
        return Need.MESSAGES, reason, Link("See the messages", "outbox?state=dead")
    if row.quarantined:
        reason = f"quarantine holds {formatting.several(row.quarantined, 'record', 'records')}"
        return Need.QUARANTINE, reason, Link("See the quarantine", "quarantine")
    if row.run_warnings:
        reason = f"the last sync has {formatting.several(row.run_warnings, 'warning', 'warnings')}"
        return Need.WARNING, reason, Link("See the sync", _run_address(row), is_airflow=True)
    return None


def _run_address(row: ProviderRow) -> str:
    return formatting.airflow_run(row.run_dag_id or "", row.run_dag_run_id or "")


def _sentence(text: str | None) -> str:
    return shorten(text or "the reason was not recorded", LONGEST_REASON, placeholder=" …").rstrip(".")


COLUMNS: tuple[Column[ProviderToday], ...] = (
    Column("provider", "Provider", lambda row: row.stored.name, note=lambda row: row.stored.tenant),
    Column("state", "State", lambda row: row.need.name.lower(), kind="state", note=lambda row: row.reason),
    Column("bill", "Forecast bill", lambda row: row.stored.forecast_bill, kind="money"),
    Column("saving", "Still to save", lambda row: row.possible_saving, kind="money"),
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
