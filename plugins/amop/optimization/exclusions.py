"""SIMs that an optimization does not place: the reason in words, and the remedy.

``include/sql/optimization/add_exclusions.sql`` decides the reason of each SIM.
"""

from __future__ import annotations

from dataclasses import dataclass

USAGE_TOO_LARGE = "usage_too_large"


@dataclass(frozen=True, slots=True)
class ExclusionReason:
    """A reason to exclude SIMs."""

    words: str
    remedy: str
    """What to do so that the next optimization places the SIMs; empty if there is nothing to do."""
    is_expected: bool
    """True if the SIMs should have been placed: they are the difference between expected and placed SIMs."""


EXCLUSION_REASONS = {
    "no_communication_plan": ExclusionReason(
        "The carrier gives it no communication plan", "Give it a communication plan at the carrier", True
    ),
    "communication_plan_not_mapped": ExclusionReason(
        "Its communication plan is not mapped to any rate plan", "Map the plan in the reference file and load it", True
    ),
    "only_retired_rate_plans": ExclusionReason(
        "Every rate plan that its communication plan allows is retired",
        "Map the communication plan to a rate plan that is sold",
        True,
    ),
    "limit_exceeded": ExclusionReason(
        "Its communication plan allows more rate plans than the provider's rate_plan_limit",
        "Raise rate_plan_limit (null = no limit) or map fewer rate plans",
        True,
    ),
    USAGE_TOO_LARGE: ExclusionReason(
        "Its usage is above what a SIM can use in a billing period: its counter is broken",
        "Ask the carrier; the next sync brings the right counter",
        True,
    ),
    "sms_not_read": ExclusionReason(
        "Its messages were not read, and every rate plan that it may have has a price for them",
        "See the run of the device sync: why its usage could not be read",
        True,
    ),
    "changed_meanwhile": ExclusionReason(
        "It was added or changed while the SIMs were being read", "Nothing: the next optimization includes it", True
    ),
    "inactive": ExclusionReason(
        "Not activated: no usage in this billing period, and not activated within it", "", False
    ),
    "retired": ExclusionReason(
        "It was retired within this billing period: it is billed on its plan to the period's end", "", False
    ),
    "vanished": ExclusionReason("It is no longer in the carrier's device list", "", False),
}
"""By the code in ``amop.optimization_device_excluded``; reasons with a remedy come first."""
