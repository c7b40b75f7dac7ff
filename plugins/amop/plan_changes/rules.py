"""Rules of plan changes: go, request approval or no go; and whether a SIM may be changed at the carrier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from amop.foreign_text import LONGEST_NAME, clean_text, text_fault
from amop.wording import money, several

CALLS_PER_CHANGE = 2
"""One read of the SIM's present plan and one write."""
VERIFICATION_SAMPLE = 50
"""Applied changes that are read back: if the carrier drops 1 in 20, a sample of 50 finds one with 92 % probability."""
RESERVE = timedelta(minutes=10)
"""Time that must be left in the billing period once all changes are applied."""
GONE_STATUSES = frozenset({"RETIRED", "PURGED", "REPLACED"})
"""Control Center's final statuses of a SIM, in upper case: its rate plan can no longer be changed."""


class ChangesStatus(StrEnum):
    """``optimization_instance.changes_status``: the state of an instance's proposed plan changes."""

    NOTHING_TO_CHANGE = "nothing_to_change"
    PROPOSED_ONLY = "proposed_only"
    """The settings or the run do not allow applying them."""
    NO_GO = "no_go"
    """Too little time is left in the billing period."""
    WAITING = "waiting"
    """For approval."""
    APPROVED = "approved"
    REJECTED = "rejected"
    """By a user."""
    SUPERSEDED = "superseded"
    """A newer instance of the provider has replaced them."""
    STOPPED = "stopped"
    """Some were handled; the rest was not sent, and the task continues with it when it is run again."""
    APPLIED = "applied"
    """All were handled: applied, in conflict, or refused by the carrier."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A status and its reason in one sentence."""

    status: ChangesStatus
    reason: str
    """Of the changes that do not wait; empty where all of them do."""
    waiting: str = ""
    """What the changes that wait do; empty without any."""

    @property
    def sentence(self) -> str:
        """The reason, and what the changes that wait do."""
        return reason_with_waiting(self.status, self.reason, self.waiting)


def waiting_words(count: int, reason: str) -> str:
    """Return what became of a number of doubtful changes, such as ``each of 2 doubtful changes waits for …``."""
    changes = several(count, "doubtful change", "doubtful changes")
    return f"{changes if count == 1 else f'each of {changes}'} {reason}"


def reason_with_waiting(status: str | None, decision: str, waiting: str) -> str:
    """Return the decision on an instance's changes, followed by what becomes of those that wait.

    Args:
        status: a `ChangesStatus`.
        decision: on the changes that do not wait; empty where all of them do.
        waiting: words on the changes that wait; empty without any.
    """
    if decision or not waiting:
        return f"{decision}; {waiting}" if waiting else decision
    return f"{'no go' if status == ChangesStatus.NO_GO else 'only proposed'}: {waiting}"


def calls_needed(changes: int) -> int:
    """Return the number of carrier calls of a number of changes, the verification sample included."""
    return changes * CALLS_PER_CHANGE + min(changes, VERIFICATION_SAMPLE)


def time_needed(changes: int, calls_per_second: float) -> timedelta:
    """Return how long a number of changes takes at the account's call rate, without the reserve."""
    return timedelta(seconds=math.ceil(calls_needed(changes) / calls_per_second))


def latest_start(cycle_end: datetime, changes: int, calls_per_second: float) -> datetime:
    """Return the last moment at which there is time for all changes and the reserve before the period ends."""
    return cycle_end - time_needed(changes, calls_per_second) - RESERVE


def refusal_by_settings(
    *, apply_changes: str, is_active: bool, write_is_enabled: bool, can_auto_update_rate_plans: bool
) -> str | None:
    """Return why the settings or the run do not allow applying the changes, None if they do."""
    if apply_changes == "never":
        return "the run was started with apply_changes = never"
    if not is_active:
        return "service_provider.is_active is off: the provider is switched off"
    if not write_is_enabled:
        return "service_provider.write_is_enabled is off: no write request is sent to this carrier"
    if not can_auto_update_rate_plans:
        return "service_provider.can_auto_update_rate_plans is off"
    return None


def refusal_by_time(*, cycle_end: datetime, changes: int, calls_per_second: float, now: datetime) -> str | None:
    """Return why there is too little time for *all* changes, None if there is enough."""
    if now <= latest_start(cycle_end, changes, calls_per_second):
        return None
    needed, left = time_needed(changes, calls_per_second), max(timedelta(0), cycle_end - now)
    return (
        f"no go: {several(changes, 'change takes', 'changes take')} {describe_span(needed)} at {calls_per_second:.3g} "
        f"calls a second, plus {describe_span(RESERVE)}, but the billing period ends in {describe_span(left)}"
    )


def refusal_by_limits(
    *,
    change_count: int,
    month_change_count: int,
    last_changed_at: datetime | None,
    maximum_changes_per_sim: int | None,
    maximum_changes_per_month: int | None,
    minimum_days_on_plan: int,
    effect: str,
    now: datetime,
) -> str | None:
    """Return why a SIM's plan may not change now by the limits of provider and carrier, None if it may.

    Args:
        change_count: changes of the SIM's plan in this billing period.
        month_change_count: those in this month.
        last_changed_at: the last change of its plan, None if none is known.
        maximum_changes_per_sim: the provider's limit in a billing period; None = no limit.
        maximum_changes_per_month: the carrier's limit; None = no limit.
        minimum_days_on_plan: fewest days after a change before the next one.
        effect: when the change would count.
        now: the present time, aware.
    """
    if effect == "next_cycle":
        return "the change would count from the next billing period only, and save nothing in this one; it was not sent"
    if maximum_changes_per_sim is not None and change_count >= maximum_changes_per_sim:
        return (
            f"the SIM's plan has changed {several(change_count, 'time')} in this billing period, and "
            f"maximum_changes_per_sim is {maximum_changes_per_sim}; it was not sent"
        )
    if maximum_changes_per_month is not None and month_change_count >= maximum_changes_per_month:
        return (
            f"the SIM's plan has changed {several(month_change_count, 'time')} this month, and the carrier accepts "
            f"{several(maximum_changes_per_month, 'plan change')} of a SIM in a month; it was not sent"
        )
    if last_changed_at is not None and now < last_changed_at + timedelta(days=minimum_days_on_plan):
        return (
            f"the SIM's plan changed at {last_changed_at:%Y-%m-%d %H:%M} UTC, less than minimum_days_on_plan = "
            f"{several(minimum_days_on_plan, 'day')} ago; it was not sent"
        )
    return None


def reason_to_request_approval(
    *,
    warnings: int,
    changes: int,
    waiting_changes: int,
    amount: Decimal,
    waiting_amount: Decimal,
    approval_above_changes: int | None,
    approval_above_amount: Decimal | None,
    currency: str,
) -> str | None:
    """Return why the changes need approval: warnings, or a limit of the provider that they exceed; None if they do not.

    A limit is that of an optimization: changes that wait for a later session count too, or they would pass it in parts.

    Args:
        warnings: number of warnings of the device syncs that the changes are built on.
        changes: the number of changes to be sent now.
        waiting_changes: the number of those that wait.
        amount: the sum of |cost on the new plan - cost on the present plan| over the changes to be sent now.
        waiting_amount: the same sum over those that wait.
        approval_above_changes: None = no limit on the number.
        approval_above_amount: None = no limit on the amount.
        currency: of both amounts.
    """
    if warnings:
        return (
            "the carrier's answers that the changes are built on were implausible: "
            f"{several(warnings, 'warning')} of the device sync"
        )
    all_changes, all_amount = changes + waiting_changes, amount + waiting_amount
    if approval_above_changes is not None and all_changes > approval_above_changes:
        count, verb = several(all_changes, "change"), "is" if all_changes == 1 else "are"
        parts = f" ({changes:,} to be sent now and {waiting_changes:,} that wait)" if waiting_changes else ""
        return f"{count}{parts} {verb} more than approval_above_changes = {approval_above_changes:,}"
    if approval_above_amount is not None and all_amount > approval_above_amount:
        limit = money(approval_above_amount, currency)
        parts = (
            f" ({money(amount, currency)} by what is sent now and {money(waiting_amount, currency)} by what waits)"
            if waiting_changes
            else ""
        )
        return f"{money(all_amount, currency)} moved{parts} is more than approval_above_amount = {limit}"
    return None


def present_plan(details: Mapping[str, Any]) -> str | None:
    """Return the rate plan in a SIM's details in a form that can be compared and stored, None without one.

    Names are stripped, here as in the device list and the reference file.
    """
    value = details.get("ratePlan")
    if isinstance(value, str) and text_fault(value, longest=LONGEST_NAME) is None:
        return value.strip() or None
    return None if value is None else clean_text(value, maximum=LONGEST_NAME)


def check_present_plan(
    details: Mapping[str, Any], *, iccid: str, from_rate_plan: str | None, to_rate_plan: str
) -> tuple[bool, str | None]:
    """Check a SIM's details at the carrier before its plan is changed.

    Returns:
        True if it is on the target plan already, and the conflict that forbids the change (None = none).
    """
    if details.get("iccid") != iccid or "ratePlan" not in details:
        return False, f"the carrier's response does not name SIM {iccid} and its rate plan; nothing was sent"
    present, status = present_plan(details), clean_text(details.get("status") or "", maximum=60).upper()
    if status in GONE_STATUSES:
        return False, f"the SIM is {status} at the carrier; its plan was not changed"
    if present == to_rate_plan:
        return True, None
    if present != from_rate_plan:
        return False, (
            f"the carrier shows rate plan {present!r}, neither the present one of the proposal ({from_rate_plan!r}) "
            f"nor the target ({to_rate_plan!r}); it was not overwritten"
        )
    return False, None


def superseded_text(newer_instance_id: int) -> str:
    """Return the reason of changes that a newer instance has superseded."""
    return f"superseded by instance {newer_instance_id} of the same provider"


def describe_span(length: timedelta) -> str:
    """Return a length of time in words, such as ``90 s``, ``15 min`` or ``3 h 20 min``."""
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
