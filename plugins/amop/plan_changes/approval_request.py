"""Subject and Markdown body of an approval request for plan changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from amop.plan_changes.rules import describe_span
from amop.plan_changes.store.decisions import InstanceChanges, Move
from amop.runs.run_warning import RunWarning
from amop.wording import capped, money, several

MOVES_SHOWN = 25
"""Rows of the table; the other moves are summed up in one row."""
UNKNOWN_PLAN = "(none)"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The text of an approval request."""

    subject: str
    body: str


def approval_subject(changes: InstanceChanges) -> str:
    """Return the headline: provider, number of changes, and savings."""
    return (
        f"{changes.service_provider_name}: apply "
        f"{several(changes.change_count, 'rate plan change that saves', 'rate plan changes that save')} "
        f"{money(changes.savings, changes.currency)}?"
    )


def approval_body(
    changes: InstanceChanges, moves: Sequence[Move], warnings: Sequence[RunWarning], *, needed: timedelta
) -> str:
    """Return the Markdown body.

    Args:
        changes: the changes of the instance; their reason is the limit that they exceed.
        moves: the changes summed up by plan.
        warnings: implausible answers of the carrier that the changes are built on.
        needed: how long applying takes.
    """
    zone, currency = changes.time_zone, changes.currency
    share = changes.savings / changes.current_cost if changes.current_cost else Decimal(0)
    deadline = "unknown" if changes.changes_deadline is None else _local_time(changes.changes_deadline, zone)
    lines = [
        f"Optimization of **{_cell(changes.service_provider_name)}** ({changes.service_provider_id}), billing period "
        f"{_local_time(changes.cycle_start, zone)} to {_local_time(changes.cycle_end, zone)}. Approval is required: "
        f"{changes.changes_reason}.",
        "",
        *_warning_lines(warnings),
        "| | |",
        "|---|---:|",
        f"| SIMs that change their rate plan | {changes.change_count:,} |",
        f"| forecast cost of the period without changes | {money(changes.current_cost, currency)} |",
        f"| saved by the changes | {money(changes.savings, currency)} ({share:.1%}) |",
        f"| applying takes | {describe_span(needed)} |",
        f"| answer before | {deadline} |",
        "",
        "| from | to | SIMs | cost now | new cost | saves |",
        "|---|---|---:|---:|---:|---:|",
        *(_row(move, currency) for move in moves[:MOVES_SHOWN]),
    ]
    if others := moves[MOVES_SHOWN:]:
        lines.append(_row(_sum(others), currency))
    cap = capped(changes.change_cap, changes.uncapped_changes, changes.uncapped_saving, currency)
    if cap is not None:
        lines += ["", f"The plan changes are {cap}."]
    lines += [
        "",
        "The saving is that of the whole bill: SIMs that stay may share a pool with those that move. "
        f"Every SIM: table `amop.rate_plan_change`, `instance_id` {changes.instance_id}. "
        "**Approve** sends the changes to the carrier, except for SIMs whose plan has changed since. "
        "**Reject** sends nothing. Without an answer in time nothing is sent; a newer optimization of the provider "
        "withdraws this request, unless it only proposes (apply_changes = never).",
    ]
    return "\n".join(lines)


def _warning_lines(warnings: Sequence[RunWarning]) -> list[str]:
    """Return the warnings as a list, for the person who answers."""
    if not warnings:
        return []
    return [
        "**The carrier's answers that these changes are built on were implausible.** Approve only what would be right "
        "even if they were wrong:",
        "",
        *(f"* {_cell(warning.warning)} (device sync run {warning.run_id})" for warning in warnings),
        "",
    ]


def _sum(moves: Sequence[Move]) -> Move:
    return Move(
        from_rate_plan=f"{len(moves)} other moves",
        to_rate_plan="",
        change_count=sum(move.change_count for move in moves),
        from_cost=sum((move.from_cost for move in moves), Decimal(0)),
        to_cost=sum((move.to_cost for move in moves), Decimal(0)),
    )


def _row(move: Move, currency: str) -> str:
    source, target = _cell(move.from_rate_plan or UNKNOWN_PLAN), _cell(move.to_rate_plan)
    amounts = (move.from_cost, move.to_cost, move.from_cost - move.to_cost)
    costs = " | ".join(money(amount, currency) for amount in amounts)
    return f"| {source} | {target} | {move.change_count:,} | {costs} |"


def _cell(text: str) -> str:
    """Return a name from the carrier as plain text of a Markdown table; its markup is escaped."""
    escaped = "".join(f"\\{character}" if character in r"\`*_{}[]()<>#+!|~&" else character for character in text)
    return " ".join(escaped.split())


def _local_time(moment: datetime, time_zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M %Z}"
