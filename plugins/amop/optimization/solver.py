"""Find the cheapest assignment, and the prices that prove how close to the cheapest it is.

At the prices that prove the highest bound nearly every SIM has one cheapest plan; the others are rounded, and an exact
local search mends what whole overage blocks leave. Small fleets are solved to proved optimality.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from amop.optimization.bill import CostModel, Terms
from amop.optimization.canonical import CanonicalProblem
from amop.optimization.certificate import Certificate
from amop.optimization.changes import Preference, changes_of, keep_present_plans, stay_assignment
from amop.optimization.model import Devices, Eligibility, Flags, Integers, OptimizerInputError, RatePlans, micro
from amop.optimization.search import Search, certify

TIME_LIMIT = 25.0
"""Seconds that the search for a proved optimum of a small fleet may take where nothing else is said."""


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """An assignment, its exact bill and the proof. Money in 1e-6 currency."""

    model: CostModel
    assignment: Integers
    """Index of the plan of each SIM, shape (N,); -1 for a SIM without an eligible plan, which is left as it is."""
    base_assignment: Integers
    current_assignment: Integers
    """The present plans; the base assignment where a present plan is unknown."""
    total_cost: int
    current_cost: int
    base_cost: int
    lower_bound: int
    """No assignment is billed less, whatever is asked of changes."""
    certificate: Certificate
    status: str
    """``optimal``: proved, to the last 1e-6; ``within_gap``: the gap says how close; ``time_limit``: the same, and the
    clock ended the search for a proof."""
    changes: int
    """SIMs whose known present plan is another, those that must move included."""
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
    min_saving_per_change: Decimal | int | str = 0,
    max_changes: int | None = None,
    time_limit: float | None = None,
) -> OptimizationResult:
    """Return the best assignment found, with the proof of how close to the best one it is.

    Without a preference for few changes the bill is never above the base assignment's, nor above the present one's if
    every SIM may keep its plan. With one, what is minimized is bill + saving x changes, under the cap; the bill is then
    never above the present one's, but can be above the base assignment's, which changes many SIMs.

    Args:
        devices: N SIMs.
        rate_plans: P plans.
        eligibility: which plans each communication plan allows.
        period_days: local calendar days of the billing period.
        uses_proration: whether charges of SIMs activated within the period are prorated.
        prorate_allowance: whether their included data is, too.
        pool_scope: ``service_provider`` or ``comm_group``.
        min_saving_per_change: what each change of a plan must save at least, in currency.
        max_changes: most SIMs that leave a known present plan which they could keep; None = any number.
        time_limit: seconds for the search for a proved optimum of a small fleet; None = 25. Its answer then depends on
            the speed of the machine where ``status`` is ``time_limit``; 0 = no such search.

    Raises:
        OptimizerInputError: the input breaks a rule; the message names the SIM or the plan.
    """
    begun = time.perf_counter()
    terms = Terms(period_days, uses_proration, prorate_allowance, pool_scope)
    model = CostModel(devices, rate_plans, eligibility, terms)
    preference = Preference(_saving(min_saving_per_change), _most(max_changes))
    copy = CanonicalProblem.of(devices, rate_plans, eligibility, terms)
    answer = _solve(copy.model, preference, TIME_LIMIT if time_limit is None else time_limit)
    assignment = copy.restored(answer.assignment)
    return OptimizationResult(
        model=model,
        assignment=assignment,
        base_assignment=copy.restored(answer.base),
        current_assignment=copy.restored(answer.current),
        total_cost=answer.certificate.bill,
        current_cost=answer.current_cost,
        base_cost=answer.base_cost,
        lower_bound=answer.certificate.lower_bound,
        certificate=copy.restored_certificate(answer.certificate),
        status=answer.status,
        changes=int(_moved(model, assignment).sum()),
        unknown_plans=answer.unknown_plans,
        seconds=time.perf_counter() - begun,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was found of the canonical copy of a problem; see `OptimizationResult`."""

    assignment: Integers
    base: Integers
    current: Integers
    current_cost: int
    base_cost: int
    certificate: Certificate
    status: str
    unknown_plans: int


def _solve(model: CostModel, preference: Preference, seconds: float) -> _Answer:
    base = model.base_assignment()
    current, unknown_plans = model.current_assignment(base)
    current_cost, base_cost = model.bill(current), model.bill(base)
    found = Search(model, seconds).cheapest(preference)
    candidates = [(found.assignment, model.bill(found.assignment)), (base, base_cost)]
    stay = stay_assignment(model, base)
    candidates.append((stay, current_cost if (stay == current).all() else model.bill(stay)))
    assignment, bill = _cheapest(model, preference, candidates)
    assignment = keep_present_plans(model, assignment)
    certificate = certify(model, preference, found, assignment, bill)
    if certificate.changes is None:
        is_optimal = bill == certificate.lower_bound
    else:
        is_optimal = certificate.changes.objective == certificate.changes.bound
    status = "optimal" if is_optimal else "time_limit" if found.was_cut_off else "within_gap"
    return _Answer(assignment, base, current, current_cost, base_cost, certificate, status, unknown_plans)


def _saving(value: Decimal | int | str) -> int:
    saving = micro(value)
    if saving < 0:
        raise OptimizerInputError(f"min_saving_per_change {value} is negative")
    return saving


def _most(value: int | None) -> int | None:
    if value is not None and value < 0:
        raise OptimizerInputError(f"max_changes {value} is negative")
    return value


def _cheapest(model: CostModel, preference: Preference, candidates: list[tuple[Integers, int]]) -> tuple[Integers, int]:
    """Return the candidate of least bill + saving x changes within the cap, and its bill; of equal ones the first."""
    best, least = candidates[0], None
    for assignment, bill in candidates:
        changes = 0 if preference.is_none else changes_of(model, assignment)
        if preference.most is not None and changes > preference.most:
            continue
        objective = bill + preference.saving * changes
        if least is None or objective < least:
            best, least = (assignment, bill), objective
    return best


def _moved(model: CostModel, assignment: Integers) -> Flags:
    current = model.devices.current_rate_plan
    return np.asarray((assignment != current) & (current >= 0) & (assignment >= 0))
