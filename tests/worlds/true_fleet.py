"""The bill of a fleet from the carrier's own data and the price list, without the package; for tests.

SIMs come from the carrier's truth, prices from the sandbox's catalogue, and every figure is a fraction until it is
rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.carrier.catalogue import RatePlan, ServiceProvider

MICRO = 10**6
BYTES_PER_MB = 1_048_576
MICROSECOND = timedelta(microseconds=1)


def half_up(value: Fraction) -> int:
    """Return a value rounded to a whole number, half up."""
    return floor(value + Fraction(1, 2))


class TrueFleet:
    """The bill of a fleet by the carrier's truth.

    Args:
        provider: the account and its price list.
        truth: all of the account, as the carrier has it.
        read_at: when the usage was read; it is projected from there to the end of the cycle.
    """

    def __init__(self, provider: ServiceProvider, truth: Mapping[str, Any], read_at: datetime) -> None:
        self.provider = provider
        self.start, self.end = (datetime.fromisoformat(truth[name]) for name in ("cycle_start", "cycle_end"))
        zone = ZoneInfo(provider.time_zone)
        self.days = (self.end.astimezone(zone).date() - self.start.astimezone(zone).date()).days
        whole, elapsed = ((moment - self.start) // MICROSECOND for moment in (self.end, read_at))
        self.growth = Fraction(whole * 101, elapsed * 100)
        self.sims = {sim["iccid"]: sim for sim in truth["devices"] if self._is_billed(sim)}

    def _activated(self, sim: Mapping[str, Any]) -> datetime | None:
        """Return when a SIM was activated, if that was within the cycle."""
        moment = None if sim["date_activated"] is None else datetime.fromisoformat(sim["date_activated"])
        return moment if moment is not None and self.start <= moment < self.end else None

    def _is_billed(self, sim: Mapping[str, Any]) -> bool:
        is_used = sim["data_usage"] or sim["sms_usage"] or sim["voice_usage"]
        return bool(sim["status"] == "ACTIVATED" or is_used or self._activated(sim))

    def usage(self, sim: Mapping[str, Any]) -> int:
        """Return the usage of a SIM at the end of the cycle, 1e-6 MB."""
        read = half_up(Fraction(sim["data_usage"] * MICRO, BYTES_PER_MB))
        return read if sim["status"] in {"DEACTIVATED", "RETIRED"} else half_up(read * self.growth)

    def bill(self, plan_of: Mapping[str, str]) -> Decimal:
        """Return the bill with each SIM on its plan: SIM by SIM, then pool by pool."""
        total, above = 0, dict[str, int]()
        for iccid, sim in self.sims.items():
            plan = self.provider.rate_plan(plan_of[iccid])
            days, activated = self.days, self._activated(sim)
            if self.provider.uses_proration and activated is not None:
                days = min(self.days, max(1, ceil((self.end - activated) / timedelta(days=1))))
            total += half_up(Fraction(plan.rate_charge) * MICRO * days / self.days)
            total += int(plan.base_rate * MICRO) + sim["sms_usage"] * int(plan.sms_rate * MICRO)
            excess = self.usage(sim) - int(plan.plan_mb * MICRO)
            if plan.allows_sim_pooling:
                above[_pool(plan)] = above.get(_pool(plan), 0) + excess
            else:
                total += _overage(plan, excess)
        for plan in {_pool(plan): plan for plan in self.provider.rate_plans if plan.allows_sim_pooling}.values():
            total += _overage(plan, above.get(_pool(plan), 0))
        return Decimal(total).scaleb(-6)


def _pool(plan: RatePlan) -> str:
    return f"pool {plan.pool}" if plan.pool else f"plan {plan.rate_plan_code}"


def _overage(plan: RatePlan, excess: int) -> int:
    blocks = ceil(Fraction(max(0, excess), int(plan.data_per_overage_charge * MICRO)))
    return blocks * int(plan.overage_rate * MICRO)
