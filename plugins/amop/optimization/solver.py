"""Find the cheapest assignment, and the prices that prove how close to the cheapest it is.

At the prices that prove the highest bound every SIM takes its cheapest plan; an exact local search then mends what
rounding to whole overage blocks leaves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from amop.optimization.bill import CostModel, Terms
from amop.optimization.certificate import (
    Certificate,
    largest_prices,
    least_reduced_costs,
    lower_bound,
    reduced_costs,
    verify,
)
from amop.optimization.local_search import cheapest_of_all, improve
from amop.optimization.model import NONE, Devices, Eligibility, Integers, RatePlans
from amop.optimization.prices import best_prices


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """An assignment, its exact bill and the proof. Money in 1e-6 currency."""

    model: CostModel
    assignment: Integers
    """Index of the plan of each SIM, shape (N,); -1 for a SIM without an eligible plan, which is left as it is."""
    base_assignment: Integers
    current_assignment: Integers
    total_cost: int
    current_cost: int
    base_cost: int
    lower_bound: int
    certificate: Certificate
    changes: int
    """SIMs whose known present plan is another."""
    unknown_plans: int
    """SIMs whose present plan is unknown; they count in the current cost on their base assignment."""
    seconds: float

    @property
    def gap(self) -> float:
        """Share of the bill that may be above the least possible one."""
        return (self.total_cost - self.lower_bound) / self.total_cost if self.total_cost else 0.0

    @property
    def savings(self) -> int:
        """Current cost less total cost."""
        return self.current_cost - self.total_cost


def optimize(
    devices: Devices,
    rate_plans: RatePlans,
    eligibility: Eligibility,
    *,
    period_days: int,
    uses_proration: bool,
    prorate_allowance: bool = False,
    pool_scope: str = "service_provider",
) -> OptimizationResult:
    """Return the best assignment found, never above the present cost or the base assignment, with a verified bound.

    Args:
        devices: N SIMs.
        rate_plans: P plans.
        eligibility: which plans each communication plan allows.
        period_days: local calendar days of the billing period.
        uses_proration: whether charges of SIMs activated within the period are prorated.
        prorate_allowance: whether their included data is, too.
        pool_scope: ``service_provider`` or ``comm_group``.

    Raises:
        OptimizerInputError: the input breaks a rule; the message names the SIM or the plan.
        CertificateError: the result does not verify (a defect; nothing is returned).
    """
    begun = time.perf_counter()
    model = CostModel(
        devices, rate_plans, eligibility, Terms(period_days, uses_proration, prorate_allowance, pool_scope)
    )
    base = model.base_assignment()
    current, unknown_plans = model.current_assignment()
    price = best_prices(model)
    at_price = cheapest_at(model, price)
    starts = [at_price, cheapest_at(model, np.zeros_like(price)), cheapest_at(model, largest_prices(model)), base]
    if is_feasible(model, current):
        starts.append(current)
    improved = [improve(model, start, price) for start in starts]
    if (best_of_all := cheapest_of_all(model)) is not None:
        improved.append(best_of_all)
    assignment = min(improved, key=lambda candidate: (model.bill(candidate), _changes(model, candidate)))
    assignment = _keep_present_plans(model, assignment)
    bill = model.bill(assignment)
    bound = lower_bound(model, price)
    certificate = Certificate(tuple(model.pool_name), tuple(price.tolist()), bill, bound)
    verify(certificate, model, assignment)
    return OptimizationResult(
        model=model,
        assignment=assignment,
        base_assignment=base,
        current_assignment=current,
        total_cost=bill,
        current_cost=model.bill(current),
        base_cost=model.bill(base),
        lower_bound=bound,
        certificate=certificate,
        changes=_changes(model, assignment),
        unknown_plans=unknown_plans,
        seconds=time.perf_counter() - begun,
    )


def cheapest_at(model: CostModel, price: Integers) -> Integers:
    """Return each SIM's plan of least reduced cost; ties keep the present plan, then take the first code."""
    reduced = reduced_costs(model, price)
    best = np.full(len(reduced), NONE, dtype=np.int64)
    least = least_reduced_costs(model, reduced)
    for plan in reversed(model.plans_by_code()):
        best[model.is_eligible[:, plan] & (reduced[:, plan] == least)] = plan
    current = model.devices.current_rate_plan
    rows = np.flatnonzero(current >= 0)
    stays = model.is_eligible[rows, current[rows]] & (reduced[rows, current[rows]] == least[rows])
    best[rows[stays]] = current[rows[stays]]
    return best


def is_feasible(model: CostModel, assignment: Integers) -> bool:
    """Return True if every SIM is on a plan that it may have."""
    rows = np.flatnonzero(assignment >= 0)
    return bool(model.is_eligible[rows, assignment[rows]].all())


def _changes(model: CostModel, assignment: Integers) -> int:
    current = model.devices.current_rate_plan
    return int(((assignment != current) & (current >= 0) & (assignment >= 0)).sum())


def _keep_present_plans(model: CostModel, assignment: Integers) -> Integers:
    """Undo the changes between plans that leave cost and pools just as they are: identical SIMs swapped for nothing."""
    current = model.devices.current_rate_plan
    rows = np.flatnonzero((current >= 0) & (assignment >= 0) & (assignment != current))
    rows = rows[model.is_eligible[rows, current[rows]]]
    new = assignment[rows]
    same_cost = model.own_cost[rows, current[rows]] == model.own_cost[rows, new]
    group = model.group[rows]
    same_pool = model.pool[group, current[rows]] == model.pool[group, new]
    unpooled = model.pool[group, new] == NONE
    same_allowance = model.allowance[rows, current[rows]] == model.allowance[rows, new]
    kept = assignment.copy()
    undo = rows[same_cost & same_pool & (unpooled | same_allowance)]
    kept[undo] = current[undo]
    return kept
