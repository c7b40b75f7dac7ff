"""The trade-off curve of saving against plan changes: the share of the saving that few changes keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from amop.solver.bill import Terms
from amop.solver.changes import count_changes
from amop.solver.model import Devices, Eligibility, RatePlans, from_micro, micro
from amop.solver.solver import OptimizationResult, optimize

THRESHOLDS = tuple(Decimal(text) for text in ("0", "0.05", "0.1", "0.25", "0.5", "1", "2", "5"))
"""Default minimum savings per change, in currency."""


@dataclass(frozen=True, slots=True)
class TradeOffPoint:
    """One point of the curve. Money in currency, exact."""

    minimum_saving: Decimal
    """Minimum saving per change."""
    changes: int
    """SIMs that leave a known current plan which they could keep."""
    total_cost: Decimal
    saving: Decimal
    """Current cost less total cost."""
    kept: Decimal
    """Share of the saving at the lowest threshold; 1 where there is no saving."""
    lower_bound: Decimal
    """Lower bound of the bill of every assignment with at most this number of changes."""


def trade_off_curve(
    devices: Devices,
    rate_plans: RatePlans,
    eligibility: Eligibility,
    terms: Terms,
    *,
    thresholds: Sequence[Decimal] = THRESHOLDS,
    time_limit: float = 0.0,
) -> list[TradeOffPoint]:
    """Return one point per threshold, in ascending order of the threshold.

    The lower bound of a point follows from its proof: an assignment with at most c changes costs at least
    bound(bill + threshold x changes) - threshold x c.

    Args:
        devices: N SIMs.
        rate_plans: P plans.
        eligibility: which plans each communication plan allows.
        terms: how the provider bills.
        thresholds: minimum savings per change, in currency.
        time_limit: seconds of branch and bound per point; 0 = skip it.

    Raises:
        OptimizerInputError: the input breaks a rule of the model; the message names the SIM or the plan.
    """
    points: list[TradeOffPoint] = []
    for threshold in sorted(thresholds):
        result = optimize(
            devices,
            rate_plans,
            eligibility,
            period_days=terms.period_days,
            uses_proration=terms.uses_proration,
            prorate_allowance=terms.prorate_allowance,
            pool_scope=terms.pool_scope,
            min_saving_per_change=threshold,
            time_limit=time_limit,
        )
        points.append(_point(result, threshold, points[0].saving if points else None))
    return points


def _point(result: OptimizationResult, threshold: Decimal, full_saving: Decimal | None) -> TradeOffPoint:
    changes = count_changes(result.model, result.assignment)
    proof = result.certificate.changes
    bound = result.lower_bound if proof is None else proof.bound - micro(threshold) * changes
    saving = from_micro(result.savings)
    return TradeOffPoint(
        minimum_saving=threshold,
        changes=changes,
        total_cost=from_micro(result.total_cost),
        saving=saving,
        kept=saving / full_saving if full_saving else Decimal(1),
        lower_bound=from_micro(max(bound, result.lower_bound)),
    )
