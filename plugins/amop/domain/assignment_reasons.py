"""Why a SIM keeps its rate plan or is to change it, in words.

Which reason a SIM has is decided by ``include/sql/optimization/add_results.sql`` from what is stored of it.
"""

from __future__ import annotations

ASSIGNMENT_REASONS = {
    "kept_only_plan": "kept: the only rate plan that its communication plan allows",
    "kept_cheapest": "kept: no change lowers the bill, within the provider's limits on changes",
    "set_unknown": "set: the carrier names no rate plan of this SIM",
    "set_not_in_reference": "set: its present rate plan is not in the reference data",
    "moved_retired": "moved: its present rate plan is retired",
    "moved_not_allowed": "moved: its communication plan does not allow its present rate plan",
    "moved_saves": "moved: saves",
    "moved_for_pool": "moved: its new pool needs the data that the rate plan includes",
    "moved_for_bill": "moved: costs more by itself, but lowers the bill of all SIMs",
}
"""Words by the name of the reason; the amount that a change saves follows ``moved_saves``."""
