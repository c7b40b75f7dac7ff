"""``amop status``: one sentence on top, then providers, syncs, optimizations and messages in 120 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from textwrap import fill
from typing import Any, TypedDict

from amop.cli.connection import warehouse_conninfo
from amop.cli.output import AsJson, print_json, print_table, print_text
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import transaction
from amop.maintenance.status import Status, read_status
from amop.maintenance.store.status import CarrierOutage, LastOptimization, OutboxCounts
from amop.notifications.deliver import unsent as unsent_notifications
from amop.page import formatting
from amop.page.needs import unsent_action, unsent_reached
from amop.page.today import Today, read_today
from amop.wording import money, several

WIDTH = 120
"""Characters of a line."""


class OpenApproval(TypedDict):
    """Plan changes of a session that wait for an approval."""

    service_provider: str
    session_id: int | None
    plan_changes: int
    saving: str


class UnsentChanges(TypedDict):
    """Approved plan changes of a session that were not sent."""

    service_provider: str
    session_id: int | None
    plan_changes: int
    reason: str | None
    reached: str | None
    """What the changes that were sent have done to the bill; None if none was applied."""
    next: str


class ProviderNeed(TypedDict):
    """What a provider needs."""

    service_provider: str
    need: str
    reason: str
    next: str


MOST_NEEDS = 20
"""Providers whose needs are printed; JSON and the page have all of them."""

Columns = dict[str, Callable[[Any], object]]
"""Headings and what stands below them."""


def status_command(as_json: AsJson = False) -> None:
    """Say in one sentence whether all is fine; show providers, syncs, optimizations, savings and messages."""
    status, today = read_status(warehouse_conninfo()), _read_today(warehouse_conninfo())
    if as_json:
        summary = {"sentence": today.headline, "is_fine": today.is_fine, "approvals": approvals(today)}
        print_json(summary | {"needs": needs(today), "unsent_changes": unsent_changes(today)} | asdict(status))
        return
    _print_line(today.headline)
    for each in needs(today)[:MOST_NEEDS]:
        if each["need"] not in NAMED_BELOW and f"{each['service_provider']}: {each['reason']}" not in today.headline:
            _print_line(f"Also: {each['service_provider']}: {each['reason']}. Next: {each['next']}")
    for approval in approvals(today):
        _print_line(
            f"Approval needed: {approval['service_provider']}, session {approval['session_id']}: "
            f"{several(approval['plan_changes'], 'plan change')}, saving {approval['saving']}. "
            "Answer on the page AMOP or by bin/amop approvals"
        )
    for unsent in unsent_changes(today):
        _print_line(
            f"Plan changes stopped: {unsent['service_provider']}, session {unsent['session_id']}: "
            f"{several(unsent['plan_changes'], 'approved change was', 'approved changes were')} not sent. "
            f"{unsent['reached'] + '. ' if unsent['reached'] else ''}"
            f"Next: {unsent['next']}"
        )
    for outage in status.carrier_outages:
        _print_line(_outage_line(outage))
    if status.outbox.pending or status.outbox.dead:
        _print_line(_outbox_line(status.outbox))
    waiting = unsent_notifications(warehouse_conninfo())
    if waiting.last_error:
        _print_line(
            f"Notifications: {several(waiting.pending, 'waits', 'wait')}, {waiting.failed:,} could not be sent. "
            f"Last error: {waiting.last_error}"
        )
    print_text("")
    _print_tables(status)


def _read_today(conninfo: str) -> Today:
    with transaction(conninfo, application_name="amop status") as connection:
        connection.read_only = True
        return read_today(connection, integrations=list(KNOWN_INTEGRATIONS), order=None)


def approvals(today: Today) -> list[OpenApproval]:
    """Return the open approvals, also those of a provider that is being optimized again."""
    return [
        {
            "service_provider": row.stored.name,
            "session_id": row.stored.approval_session_id,
            "plan_changes": row.stored.approval_changes or 0,
            "saving": money(row.stored.approval_savings, row.stored.currency),
        }
        for row in today.table.rows
        if row.stored.approval_session_id is not None
    ]


def needs(today: Today) -> list[ProviderNeed]:
    """Return the providers that need something, the most urgent first: those that the page lists under What to do."""
    return [
        {
            "service_provider": row.stored.name,
            "need": row.need.name.lower(),
            "reason": row.reason,
            "next": row.action,
        }
        for row in today.table.rows
        if not row.needs_nothing
    ]


def unsent_changes(today: Today) -> list[UnsentChanges]:
    """Return the sessions whose approved plan changes were not all sent, and no task seems to send them."""
    return [
        {
            "service_provider": row.stored.name,
            "session_id": row.stored.unsent_session_id,
            "plan_changes": row.stored.unsent_changes or 0,
            "reason": row.stored.unsent_reason,
            "reached": unsent_reached(row.stored),
            "next": unsent_action(row.stored),
        }
        for row in today.table.rows
        if row.has_unsent_changes
    ]


NAMED_BELOW = frozenset({"approval", "stopped", "messages"})
"""Needs that have a line of their own."""


def _outage_line(outage: CarrierOutage) -> str:
    next_call = f"next call {formatting.moment(outage.next_call_at)}" if outage.next_call_at else "it is being called"
    return (
        f"Carrier down since {formatting.moment(outage.failing_since)}, {next_call}: {outage.account}, "
        f"{several(outage.failures, 'call', 'calls')} failed, the last one with: {outage.last_failure}"
    )


def _outbox_line(outbox: OutboxCounts) -> str:
    waiting = several(outbox.pending, "message waits", "messages wait")
    since = f", the oldest since {formatting.moment(outbox.oldest_pending)}" if outbox.oldest_pending else ""
    refused = f", {several(outbox.dead, 'was refused', 'were refused')}" if outbox.dead else ""
    error = f". Last error: {outbox.last_error}" if outbox.last_error else ""
    return f"AMOP: {waiting}{since}{refused}{error}"


def _print_tables(status: Status) -> None:
    left = several(status.work_rows_left, "work row is left", "work rows are left")
    print_text(f"Times are UTC; {left}.\n")
    _print("Service providers", PROVIDERS, status.service_providers)
    _print("Last sync runs", SYNC_RUNS, status.last_sync_runs)
    runs = [(f"{run.service_provider}, run {run.id}", run) for run in status.last_sync_runs]
    _print_notes((about, note) for about, run in runs for note in (run.error, *run.warnings))
    _print("Last optimizations", OPTIMIZATIONS, status.last_optimizations)
    latest = status.last_optimizations
    _print_notes((f"{last.service_provider}, instance {last.instance_id}", last.error) for last in latest)
    _print("Their plan changes", PLAN_CHANGES, status.last_optimizations)
    _print_notes((f"{last.service_provider}, {_decided_by(last)}", last.changes_reason) for last in latest)
    _print("Realised savings of the last closed billing period", REALISED_SAVINGS, status.realised_savings)
    _print("Running optimization sessions", SESSIONS, status.running_sessions)
    _print("Messages to AMOP", OUTBOX, [status.outbox])
    if status.dead_messages:
        _print("Messages that AMOP refused (docs/runbook.md)", REFUSED_MESSAGES, status.dead_messages)
        _print_notes((message.dedupe_key, message.last_error) for message in status.dead_messages)


def _print(title: str, columns: Columns, rows: Sequence[Any]) -> None:
    cells = ([value(row) for value in columns.values()] for row in rows)
    print_table(title, columns, cells, width=WIDTH)


def _print_notes(notes: Iterable[tuple[str, str | None]]) -> None:
    """Print what a table has no room for, as lines below it."""
    lines = [f"{about}: {note}" for about, note in notes if note]
    for line in lines:
        _print_line(line)
    if lines:
        print_text("")


def _decided_by(last: LastOptimization) -> str:
    return f"decided by {last.changes_decided_by}" if last.changes_decided_by else "not decided"


def _print_line(text: str) -> None:
    for line in text.splitlines():
        print_text(fill(line, WIDTH, subsequent_indent="  "))


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _money(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else money(amount, currency)


def _percent(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f} %"


def _facts(names: Iterable[str]) -> Columns:
    """Return columns that show attributes of a row under their own names."""
    return {name: attrgetter(name) for name in names}


PROVIDERS: Columns = _facts(("id", "name", "tenant", "integration", "is_active")) | {
    "billing_period_end": lambda row: _minute(row.billing_period_end)
}
SYNC_RUNS: Columns = {
    "service_provider": lambda row: row.service_provider,
    "id": lambda row: row.id,
    "status": lambda row: row.status,
    "started": lambda row: _minute(row.started_at),
    "ended": lambda row: _minute(row.ended_at),
    "last success": lambda row: _minute(row.last_success_at),
    "pages": lambda row: row.pages,
    "SIMs listed": lambda row: row.devices_seen,
    "rows left": lambda row: row.work_rows_left,
}
OPTIMIZATIONS: Columns = {
    "service_provider": lambda row: row.service_provider,
    "instance": lambda row: row.instance_id,
    "period end": lambda row: _day(row.billing_period_end),
    "status": lambda row: row.run_status.removeprefix("complete_with_"),
    "SIMs placed": lambda row: row.device_count,
    "current bill": lambda row: _money(row.current_cost, row.currency),
    "optimized bill": lambda row: _money(row.total_cost, row.currency),
    "saving": lambda row: _money(row.forecast_savings, row.currency),
    "of bill": lambda row: _percent(row.savings_percent),
    "gap": lambda row: _percent(row.gap_percent and round(row.gap_percent, 4)),
}
PLAN_CHANGES: Columns = {"service_provider": lambda row: row.service_provider, "instance": lambda row: row.instance_id}
PLAN_CHANGES |= _facts(("proposed", "approved", "rejected", "applied", "conflict", "failed"))
PLAN_CHANGES |= {"state": lambda row: formatting.words(row.changes_status)}
REALISED_SAVINGS: Columns = {
    "service_provider": lambda row: row.service_provider,
    "instance": lambda row: row.instance_id,
    "period end": lambda row: _day(row.billing_period_end),
    "applied": lambda row: row.applied_changes,
    "waited, not sent": lambda row: row.unsent_changes,
    "forecast_saving": lambda row: _money(row.forecast_saving, row.currency),
    "realised_saving": lambda row: _money(row.realised_saving, row.currency),
    "of bill": lambda row: _percent(row.realised_percent),
    "projection error": lambda row: _percent(row.projection_error_percent),
    "weighted error": lambda row: _percent(row.weighted_error_percent),
    "usage read": lambda row: _minute(row.usage_read_at),
}
SESSIONS: Columns = {
    "id": lambda row: row.id,
    "service_provider": lambda row: row.service_provider,
    "progress": lambda row: f"{row.progress} %",
    "started": lambda row: _minute(row.started_at),
    "heartbeat": lambda row: _minute(row.heartbeat_at),
}
OUTBOX: Columns = _facts(("pending", "dead", "sent")) | {"oldest_pending": lambda row: _minute(row.oldest_pending)}
REFUSED_MESSAGES: Columns = _facts(("dedupe_key", "service_provider")) | {
    "created": lambda row: _minute(row.created_at),
    "attempts": lambda row: row.attempts,
    "followers": lambda row: row.followers,
}
