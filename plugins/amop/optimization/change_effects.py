"""When a plan change counts on the carrier's bill: for the whole billing period, from its day, or from the next period.

The provider's settings ``upgrade_effect`` and ``downgrade_effect`` say so. A change to a plan of a lower monthly charge
(rate charge + base rate) is a downgrade, any other change is an upgrade.

* ``whole_cycle``: the plan at the period's end is billed for all of the period and all of its usage.
* ``from_change``: both plans are billed for their days, with the usage of these days (`amop.solver.mid_cycle`). The day
  of the change is the first one of the new plan.
* ``next_cycle``: this period's bill stays as it is. Such a change saves nothing in the period, so it is not offered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import numpy as np

from amop.optimization.rows import Instance
from amop.solver.model import Flags, RatePlans

WHOLE_CYCLE, FROM_CHANGE, NEXT_CYCLE = "whole_cycle", "from_change", "next_cycle"

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ChangeEffects:
    """The effects of plan changes at a provider, each ``whole_cycle``, ``from_change`` or ``next_cycle``."""

    upgrade: str = WHOLE_CYCLE
    downgrade: str = WHOLE_CYCLE

    @property
    def count_from_change(self) -> bool:
        """Return True if plans are billed for their days."""
        return FROM_CHANGE in {self.upgrade, self.downgrade}

    @property
    def is_default(self) -> bool:
        """Return True if every change counts for the whole period."""
        return self.upgrade == self.downgrade == WHOLE_CYCLE

    def as_json(self) -> dict[str, str]:
        """Return the effects as a JSON-serializable document."""
        return asdict(self)

    def counting(self, rate_plans: RatePlans, *, days_left: int) -> Flags:
        """Return which changes count in this period, from the plan of a row to that of a column, shape (P, P), bool.

        Args:
            rate_plans: P plans.
            days_left: days of the period on a new plan; 0 = the period is over.
        """
        charge = rate_plans.rate_charge + rate_plans.base_rate
        is_downgrade = charge[None, :] < charge[:, None]
        counts = np.where(
            is_downgrade, _counts(self.downgrade, days_left=days_left), _counts(self.upgrade, days_left=days_left)
        )
        np.fill_diagonal(counts, True)
        return np.asarray(counts)

    def any_counts(self, *, days_left: int) -> bool:
        """Return True if any change counts in the period, given the days that are left of it."""
        return any(_counts(effect, days_left=days_left) for effect in (self.upgrade, self.downgrade))


def effects_of(instance: Instance) -> ChangeEffects:
    """Return the effects of plan changes by the provider's present settings."""
    return ChangeEffects(instance.upgrade_effect, instance.downgrade_effect)


def days_left(moment: datetime, *, cycle_end: datetime, period_days: int) -> int:
    """Return the days of a period for which a plan is billed that a SIM is moved to at a moment.

    ``ceil((cycle end - moment) / 1 day)``, as for an activation, at most the days of the period; 0 once it is over.
    """
    if moment >= cycle_end:
        return 0
    return min(-((moment - cycle_end) // ONE_DAY), period_days)


def _counts(effect: str, *, days_left: int) -> bool:
    return effect == WHOLE_CYCLE or (effect == FROM_CHANGE and days_left > 0)
