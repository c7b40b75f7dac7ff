"""SIMs that an optimization does not place: why, in words, and what can be done about it.

Which reason a SIM has is decided by ``include/sql/optimization/add_left_out.sql``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeftOutReason:
    """Why SIMs are left out."""

    words: str
    remedy: str
    """What to do so that the next optimization takes them; empty where nothing is to be done."""
    is_expected: bool
    """True if these SIMs were to be placed: they make the difference between expected and placed SIMs."""


LEFT_OUT_REASONS = {
    "no_communication_plan": LeftOutReason(
        "The carrier gives it no communication plan", "Give it a communication plan at the carrier", True
    ),
    "communication_plan_not_mapped": LeftOutReason(
        "Its communication plan is not mapped to any rate plan", "Map the plan in the reference file and load it", True
    ),
    "only_retired_rate_plans": LeftOutReason(
        "Every rate plan that its communication plan allows is retired",
        "Map the communication plan to a rate plan that is sold",
        True,
    ),
    "limit_exceeded": LeftOutReason(
        "Its communication plan allows more rate plans than the provider's rate_plan_limit",
        "Raise rate_plan_limit (null = no limit) or map fewer rate plans",
        True,
    ),
    "usage_too_large": LeftOutReason(
        "It has used more than a SIM can use in a billing period: its counter is broken",
        "Ask the carrier; the next sync brings the right counter",
        True,
    ),
    "changed_meanwhile": LeftOutReason(
        "It was added or changed while the SIMs were being read", "Nothing: the next optimization takes it", True
    ),
    "inactive": LeftOutReason("Not activated: no usage in this billing period, and not activated within it", "", False),
    "vanished": LeftOutReason("The carrier's device list no longer names it", "", False),
}
"""By the code in ``amop.optimization_device_left_out``; what can be mended comes first."""
