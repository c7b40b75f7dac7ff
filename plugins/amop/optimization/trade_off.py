"""The trade-off curve: what share of the saving is kept when only changes that save enough are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from amop.optimization.changes import changes_of
from amop.optimization.model import Devices, Eligibility, RatePlans, from_micro, micro
from amop.optimization.solver import OptimizationResult, optimize

THRESHOLDS = tuple(Decimal(text) for text in ("0", "0.05", "0.1", "0.25", "0.5", "1", "2", "5"))
"""Minimum savings per change, in currency, that make a curve of most fleets."""


@dataclass(frozen=True, slots=True)
class TradeOffPoint:
    """One point of the curve. Money in currency, exact."""

    minimum_saving: Decimal
    """What each change had to save."""
    changes: int
    """SIMs that leave a known present plan which they could keep."""
    total_cost: Decimal
    saving: Decimal
    """Present cost less total cost."""
    kept: Decimal
    """Share of the saving of the first point, that of the lowest threshold; 1 where there is none to lose."""
    lower_bound: Decimal
    """No assignment with at most so many changes is billed less than this."""


def trade_off_curve(
    devices: Devices,
    rate_plans: RatePlans,
    eligibility: Eligibility,
    *,
    period_days: int,
    uses_proration: bool,
    prorate_allowance: bool = False,
    pool_scope: str = "service_provider",
    thresholds: Sequence[Decimal] = THRESHOLDS,
    time_limit: float = 0.0,
) -> list[TradeOffPoint]:
    """Return one point for each threshold, in ascending order; the other arguments are those of `optimize`.

    The bound of a point follows from its proof: whoever makes at most c changes pays at least
    bound(bill + threshold x changes) - threshold x c.
    """
    points: list[TradeOffPoint] = []
    for threshold in sorted(thresholds):
        result = optimize(
            devices,
            rate_plans,
            eligibility,
            period_days=period_days,
            uses_proration=uses_proration,
            prorate_allowance=prorate_allowance,
            pool_scope=pool_scope,
            min_saving_per_change=threshold,
            time_limit=time_limit,
        )
        points.append(_point(result, threshold, points[0].saving if points else None))
    return points


def _point(result: OptimizationResult, threshold: Decimal, most: Decimal | None) -> TradeOffPoint:
    changes = changes_of(result.model, result.assignment)
    proof = result.certificate.changes
    bound = result.lower_bound if proof is None else proof.bound - micro(threshold) * changes
    saving = from_micro(result.savings)
    return TradeOffPoint(
        minimum_saving=threshold,
        changes=changes,
        total_cost=from_micro(result.total_cost),
        saving=saving,
        kept=saving / most if most else Decimal(1),
        lower_bound=from_micro(max(bound, result.lower_bound)),
    )
