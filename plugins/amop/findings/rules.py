"""The rules of the findings: their limits, what each kind means, and what it says.

Every action can be taken back: a SIM that is deactivated in Control Center can be activated again, unlike a retired
one; an optimization only proposes; a setting can be set back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

from amop.findings.kinds import FindingKind
from amop.wording import hundredths, money, several

MOST_FINDINGS = 20
"""Findings of a provider that are kept, the most money first."""

RECENT_DAYS = 3
"""A spike is unusual usage of these days: shorter ones are noise, longer ones have cost their money already."""

HISTORY_DAYS = 28
"""The days before them are the SIM's own history: whole weeks, so that each weekday counts the same."""

FEWEST_HISTORY_DAYS = Decimal(14)
"""A SIM with a shorter history has no usual usage."""

SPIKE_FACTOR = Decimal(3)
"""A spike is at least this multiple of the usual usage. Usage on one weekday only is 2.3 times the mean of 3 days."""

SPIKE_SPREADS = 6
"""A spike is at least this many standard deviations above the usual usage; SIMs that use data in bursts have large
ones."""

SPIKE_MB = Decimal(10)
"""A spike is at least this much above the usual usage."""

UNUSED_FOR = timedelta(days=60)
"""A SIM without any usage for this long is a finding."""

IMEI_CHANGED_WITHIN = timedelta(days=30)
"""A change of equipment is a finding for this long."""

DISMISSED_FOR = timedelta(days=400)
"""A dismissal is kept for this long."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of finding means."""

    title: str
    money: str
    """What the amount is."""
    action: str
    """What to do, and how to take it back."""
    is_answered_by_plan_changes: bool = False
    """True if the plan changes of an optimization may be the answer, so that an open approval comes first."""


DEACTIVATE = "Deactivate the SIM in Control Center; activate it again to take that back"

KINDS: dict[FindingKind, Kind] = {
    "usage_spike": Kind("Usage spike", "overage that it costs if it continues", f"{DEACTIVATE}."),
    "pool_over": Kind(
        "Pool heading over its allowance",
        "overage of the pool",
        "Run the optimization with apply_changes = never: it proposes plans with more allowance, changes nothing and "
        "leaves an open approval as it is.",
        is_answered_by_plan_changes=True,
    ),
    "no_usage": Kind(
        "No usage for 60 days",
        "charges of the period, less the overage of a pool that needs its allowance",
        f"{DEACTIVATE}. Do not retire it: that is final.",
    ),
    "imei_changed": Kind(
        "In other equipment",
        "charges and overage of the rest of the period",
        f"If the tenant did not move the SIM: {DEACTIVATE[0].lower()}{DEACTIVATE[1:]}.",
    ),
    "plan_changed": Kind(
        "Plan changed by another party",
        "difference of the bill; negative where the new plan is cheaper",
        "Set the previous plan in Control Center again, or dismiss this if the change is wanted.",
    ),
    "ineligible_plan": Kind(
        "On a plan that it may not have",
        "saving on the cheapest plan that it may have",
        "Map the plan to the communication plan in the reference file, or set an allowed plan in Control Center.",
    ),
    "unknown_activation": Kind(
        "Activation date unknown",
        "charges that may not be due",
        "Raise detail_calls_per_run in the reference file, so that the next sync reads the date; set it back then.",
    ),
}
"""Every kind."""

if set(KINDS) != set(get_args(FindingKind)):
    raise RuntimeError("each kind of finding needs its words")


def sentence(kind: FindingKind, subject: str, facts: Mapping[str, Any], currency: str) -> str:
    """Return what was found.

    Args:
        kind: kind of the finding.
        subject: ICCID of the SIM, or name of the pool.
        facts: figures as `include/sql/findings` stores them.
        currency: ISO 4217 code of the provider's amounts.
    """
    match kind:
        case "usage_spike":
            return (
                f"used {_mb(facts['recent_mb'])} in {facts['recent_days']} days; its history suggests "
                f"{_mb(facts['usual_mb'])} (plan {facts['rate_plan']})"
            )
        case "pool_over":
            over = (
                "its allowance is used up"
                if Decimal(facts["days_until_empty"]) == 0
                else f"its allowance is used up in {facts['days_until_empty']} days"
            )
            return (
                f"{several(facts['sims'], 'SIM has', 'SIMs have')} used {_mb(facts['used_mb'])} of "
                f"{_mb(facts['allowance_mb'])}, heading for {_mb(facts['projected_mb'])}; {over}"
            )
        case "no_usage":
            lent = Decimal(facts["lent"])
            pool = f", but its pool then pays {money(lent, currency)} more overage" if lent else ""
            return (
                f"no data, message or call since {facts['quiet_since']}; deactivated it saves "
                f"{money(Decimal(facts['charges']), currency)} in each period (plan {facts['rate_plan']}){pool}"
            )
        case "imei_changed":
            return f"moved from IMEI {facts['from_imei']} to {facts['to_imei']}; seen on {facts['changed_on']}"
        case "plan_changed":
            return f"changed from {facts['from_rate_plan']} to {facts['to_rate_plan']}; seen on {facts['seen_on']}"
        case "ineligible_plan":
            return (
                f"is on {facts['rate_plan'] or 'no plan'}, which communication plan {facts['communication_plan']} does "
                f"not allow; the cheapest one that it allows is {facts['cheapest_plan']}"
            )
        case "unknown_activation":
            return (
                f"is billed for the whole period, and was first listed as active on {facts['first_listed']}: "
                f"{facts['days_due']} of {facts['days_in_period']} days (plan {facts['rate_plan']})"
            )


def _mb(text: str) -> str:
    return f"{hundredths(Decimal(text)):,f} MB"
