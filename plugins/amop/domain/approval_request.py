"""What a person reads before plan changes are applied: subject and Markdown body of the approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from amop.domain.plan_changes import describe_span

MOVES_SHOWN = 25
"""Rows of the table; the rest is summed up in one."""
UNKNOWN_PLAN = "(none)"


def approval_subject(facts: Mapping[str, Any]) -> str:
    """Return the headline: whose changes, how many, and what they save."""
    return (
        f"{facts['service_provider_name']}: apply {facts['changes']:,} rate plan changes that save "
        f"{facts['savings']:,.2f}?"
    )


def approval_body(facts: Mapping[str, Any], moves: Sequence[Mapping[str, Any]], *, needed: timedelta, why: str) -> str:
    """Return the Markdown body.

    Args:
        facts: row of ``changes/facts``.
        moves: rows of ``changes/moves``: how many SIMs go from which plan to which, and the money of each.
        needed: how long the changes take.
        why: the limit that makes a person's answer necessary.
    """
    zone = facts["time_zone"]
    share = facts["savings"] / facts["current_cost"] if facts["current_cost"] else Decimal(0)
    lines = [
        f"Optimization of **{_cell(facts['service_provider_name'])}** ({facts['service_provider_id']}), billing period "
        f"{_moment(facts['cycle_start'], zone)} to {_moment(facts['cycle_end'], zone)}. A person must agree: {why}.",
        "",
        "| | |",
        "|---|---:|",
        f"| SIMs that change their rate plan | {facts['changes']:,} |",
        f"| cost of the period, forecast, as it is | {facts['current_cost']:,.2f} |",
        f"| saved by the changes | {facts['savings']:,.2f} ({share:.1%}) |",
        f"| money moved | {facts['amount']:,.2f} |",
        f"| applying takes | {describe_span(needed)} |",
        f"| answer before | {_moment(facts['changes_deadline'], zone)} |",
        "",
        "| from | to | SIMs | cost now | cost then | saves |",
        "|---|---|---:|---:|---:|---:|",
        *(_row(move) for move in moves[:MOVES_SHOWN]),
    ]
    if rest := moves[MOVES_SHOWN:]:
        total = {name: sum(move[name] for move in rest) for name in ("changes", "from_cost", "to_cost")}
        lines.append(_row(total | {"from_rate_plan": f"{len(rest)} other moves", "to_rate_plan": ""}))
    lines += [
        "",
        "The saving is that of the whole bill: SIMs that stay may share a pool with those that move. "
        f"Every SIM: table `amop.rate_plan_change`, `instance_id` {facts['instance_id']}. "
        "**Approve** sends the changes to the carrier; a SIM whose plan was changed meanwhile is left alone. "
        "**Reject** sends nothing. Without an answer in time nothing is sent; a newer optimization of the provider "
        "takes this question back.",
    ]
    return "\n".join(lines)


def _row(move: Mapping[str, Any]) -> str:
    saves = move["from_cost"] - move["to_cost"]
    source, target = _cell(move["from_rate_plan"] or UNKNOWN_PLAN), _cell(move["to_rate_plan"])
    return (
        f"| {source} | {target} | {move['changes']:,} | {move['from_cost']:,.2f} | {move['to_cost']:,.2f} | "
        f"{saves:,.2f} |"
    )


def _cell(text: str) -> str:
    """Return a name of the carrier's as plain text in a Markdown table: it must not mark up anything."""
    escaped = "".join(f"\\{character}" if character in r"\`*_{}[]()<>#+!|~&" else character for character in text)
    return " ".join(escaped.split())


def _moment(moment: datetime, time_zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M %Z}"
