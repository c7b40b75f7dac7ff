"""The reasons why a SIM keeps or changes its rate plan, in words.

``include/sql/optimization/add_results.sql`` decides the reason of each SIM.
"""

from __future__ import annotations

ASSIGNMENT_REASONS = {
    "kept_retired": "kept: retired within this billing period, and billed to its end",
    "kept_sms_not_read": "kept: its messages were not read, and its rate plans have a price for them",
    "kept_not_placed": "kept: not optimized, but billed and in its pool",
    "kept_change_in_doubt": "kept: a change of its plan was sent, and its outcome is not known yet",
    "kept_change_count": "kept: its plan has changed in this billing period as often as the provider allows",
    "kept_days_on_plan": "kept: its plan changed too recently to change again",
    "kept_next_cycle": "kept: a change of its plan would count from the next billing period only",
    "kept_only_plan": "kept: the only rate plan that its communication plan allows",
    "kept_cheapest": "kept: no change lowers the bill, within the provider's limits on changes",
    "set_unknown": "set: the carrier names no rate plan of this SIM",
    "set_not_in_reference": "set: its present rate plan is not in the reference data",
    "moved_retired": "moved: its present rate plan is retired",
    "moved_not_allowed": "moved: its communication plan does not allow its present rate plan",
    "moved_saves": "moved: saves",
    "moved_for_pool": "moved: its new pool needs the data that the rate plan includes",
    "moved_for_bill": "moved: costs more on its own, but lowers the total bill",
}
"""Words by the name of the reason; the amount that a change saves follows ``moved_saves``."""


def reasons_of(monthly_limit: int | None) -> dict[str, str]:
    """Return the words for a carrier that accepts this many plan changes of a SIM in a month; None = no limit."""
    if monthly_limit is None:
        return ASSIGNMENT_REASONS
    counted = f", or this month as often as the carrier accepts ({monthly_limit})"
    return ASSIGNMENT_REASONS | {"kept_change_count": ASSIGNMENT_REASONS["kept_change_count"] + counted}
