"""What may become of proposed plan changes: go, ask, or no go; and what a SIM's present plan at the carrier means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

CALLS_PER_CHANGE = 2
"""A read of the SIM's present plan, and the write."""
VERIFICATION_SAMPLE = 50
"""Applied changes that are read back: with 1 in 20 not kept by the carrier, 50 show it with 92 % certainty."""
RESERVE = timedelta(minutes=10)
"""Left over when everything is applied (DOMAIN: changes / allowed rate, plus 10 minutes)."""
GONE_STATUSES = frozenset({"RETIRED", "PURGED", "REPLACED"})
"""Control Center's final statuses of a SIM, in upper case: its plan is nobody's to change any more."""


class ChangesStatus(StrEnum):
    """``optimization_instance.changes_status``: what becomes of an instance's proposed plan changes."""

    NOTHING_TO_CHANGE = "nothing_to_change"
    PROPOSED_ONLY = "proposed_only"
    """Settings or the run do not allow to apply them."""
    NO_GO = "no_go"
    """Too little time is left in the billing period."""
    WAITING = "waiting"
    """For a person."""
    APPROVED = "approved"
    REJECTED = "rejected"
    """By a person."""
    SUPERSEDED = "superseded"
    """A newer instance of the provider has made them stale."""
    STOPPED = "stopped"
    """Some were handled; the rest was not sent, and goes on when the task is run again."""
    APPLIED = "applied"
    """Each was handled: applied, or a conflict, or refused by the carrier."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A status and the sentence that says why."""

    status: ChangesStatus
    reason: str


def calls_needed(changes: int) -> int:
    """Return the carrier calls that so many changes take, the verification of the sample included."""
    return changes * CALLS_PER_CHANGE + min(changes, VERIFICATION_SAMPLE)


def time_needed(changes: int, calls_per_second: float) -> timedelta:
    """Return how long so many changes take at the account's pace, without the reserve."""
    return timedelta(seconds=math.ceil(calls_needed(changes) / calls_per_second))


def latest_start(cycle_end: datetime, changes: int, calls_per_second: float) -> datetime:
    """Return the last moment at which there is time for all changes and the reserve before the period ends."""
    return cycle_end - time_needed(changes, calls_per_second) - RESERVE


def refusal_by_settings(*, apply_changes: str, write_is_enabled: bool, can_auto_update_rate_plans: bool) -> str | None:
    """Return why settings or the run do not allow to apply the changes, None where they do."""
    if apply_changes == "never":
        return "the run was started with apply_changes = never"
    if not write_is_enabled:
        return "service_provider.write_is_enabled is off: no write request is sent to this carrier"
    if not can_auto_update_rate_plans:
        return "service_provider.can_auto_update_rate_plans is off"
    return None


def refusal_by_time(*, cycle_end: datetime, changes: int, calls_per_second: float, now: datetime) -> str | None:
    """Return why there is too little time for *all* these changes, None where there is enough."""
    if now <= latest_start(cycle_end, changes, calls_per_second):
        return None
    needed, left = time_needed(changes, calls_per_second), max(timedelta(0), cycle_end - now)
    return (
        f"no go: {changes} changes take {describe_span(needed)} at {calls_per_second:g} calls a second, plus "
        f"{describe_span(RESERVE)}, but the billing period ends in {describe_span(left)}"
    )


def reason_to_ask(
    *, changes: int, amount: Decimal, approval_above_changes: int | None, approval_above_amount: Decimal | None
) -> str | None:
    """Return which limit of the provider the changes exceed, so that a person must agree; None for none.

    Args:
        changes: how many there are.
        amount: money moved: the sum of |cost on the new plan - cost on the present plan| over the changes.
        approval_above_changes: None = the count never asks.
        approval_above_amount: None = money never asks.
    """
    if approval_above_changes is not None and changes > approval_above_changes:
        return f"{changes} changes are more than approval_above_changes = {approval_above_changes}"
    if approval_above_amount is not None and amount > approval_above_amount:
        return f"{amount:.2f} moved is more than approval_above_amount = {approval_above_amount:.2f}"
    return None


def judge_present_plan(
    details: Mapping[str, Any], *, iccid: str, from_rate_plan: str | None, to_rate_plan: str
) -> tuple[bool, str | None]:
    """Judge what the carrier says about a SIM before its plan is changed.

    Returns:
        Whether it is on the target plan already, and the conflict that forbids the change (None = none).
    """
    if details.get("iccid") != iccid or "ratePlan" not in details:
        return False, f"the carrier's answer is not about rate plan and SIM {iccid}; nothing was sent"
    present, status = details["ratePlan"] or None, str(details.get("status") or "").upper()
    if status in GONE_STATUSES:
        return False, f"the SIM is {status} at the carrier; its plan was left alone"
    if present == to_rate_plan:
        return True, None
    if present != from_rate_plan:
        return False, (
            f"the carrier shows rate plan {present!r}, neither the present one of the proposal ({from_rate_plan!r}) "
            f"nor the target ({to_rate_plan!r}); it was not overwritten"
        )
    return False, None


def describe_span(length: timedelta) -> str:
    """Return a length of time for people, such as ``90 s``, ``15 min`` or ``3 h 20 min``."""
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
