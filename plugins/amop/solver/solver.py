"""Find the cheapest assignment of rate plans, and prove how close its bill is to the least possible one.

`optimize` runs these steps, each in a module of its own:

1. `bill`: check the input and build the cost model.
2. `canonical`: copy the fleet into an order that does not depend on the input's.
3. `search`: for each pool component the LP relaxation (`prices`), `rounding`, `local_search`, a proof by cases
   (`tree_search`) where the gap is wide, and branch and bound (`exact`) where it is small.
4. `certificate`: turn the dual prices into integers and compute the bound that they prove, alone or as the leaves of
   trees (`proof_tree`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal

from amop.solver.bill import CostModel, Parts, Terms
from amop.solver.canonical import CanonicalProblem
from amop.solver.certificate import Certificate, certify
from amop.solver.changes import (
    ChangePreference,
    assignment_without_changes,
    count_changes,
    keep_current_plans_on_ties,
)
from amop.solver.model import Devices, Eligibility, Integers, OptimizerInputError, RatePlans, micro
from amop.solver.search import Search, SearchResult

TIME_LIMIT = 25.0
"""Default time limit of branch and bound, in seconds."""


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """An assignment, its exact bill and the proof of its gap. Money in 1e-6 currency."""

    model: CostModel
    assignment: Integers
    """Index of the plan of each SIM, shape (N,), int64; -1 for a SIM without an eligible plan, which keeps its plan."""
    base_assignment: Integers
    """Each SIM on the plan whose included data is closest to its usage, shape (N,)."""
    current_assignment: Integers
    """The current plans, shape (N,); the base assignment where a current plan is unknown."""
    total_cost: int
    current_cost: int
    base_cost: int
    lower_bound: int
    """Lower bound of the bill of every assignment, whether or not changes are restricted."""
    certificate: Certificate
    status: str
    """``optimal``: proved, to the last 1e-6; ``within_gap``: not proved, `gap` says how close it is; ``time_limit``:
    not proved, because branch and bound reached its time limit."""
    changes: int
    """SIMs that leave a known current plan, those that must move included."""
    unknown_plan_count: int
    """SIMs whose current plan is unknown. They count in the current cost on their base assignment."""
    seconds: float

    @property
    def gap(self) -> float:
        """Return the relative optimality gap, (total cost - lower bound) / total cost."""
        return (self.total_cost - self.lower_bound) / self.total_cost if self.total_cost else 0.0

    @property
    def savings(self) -> int:
        """Return current cost less total cost."""
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
    parts: Parts | None = None,
) -> OptimizationResult:
    """Return the best assignment found, with a proof of its optimality gap.

    Without restrictions on changes the bill is never above the base assignment's, nor above the current one if every
    SIM can keep its plan. With them, bill + minimum saving x changes is minimized within the cap; the bill is then
    never above the current one, but can be above the base assignment's, which changes many SIMs.

    Args:
        devices: N SIMs.
        rate_plans: P plans.
        eligibility: which plans each communication plan allows.
        period_days: local calendar days of the billing period.
        uses_proration: whether charges of SIMs activated within the period are prorated.
        prorate_allowance: whether their included data is prorated, too.
        pool_scope: ``service_provider`` or ``comm_group``.
        min_saving_per_change: minimum saving per change of a plan, in currency.
        max_changes: cap on the number of SIMs that leave a known current plan which they could keep; None = no cap.
        time_limit: seconds for branch and bound, which small fleets are solved with; None = `TIME_LIMIT`, 0 = skip it.
            Where ``status`` is ``time_limit`` the answer depends on the speed of the machine.
        parts: which rows of ``devices`` are parts of a SIM's period (`amop.solver.mid_cycle`); None = none.

    Raises:
        OptimizerInputError: the input breaks a rule of the model; the message names the SIM or the plan.
    """
    begun = time.perf_counter()
    terms = Terms(period_days, uses_proration, prorate_allowance, pool_scope)
    model = CostModel(devices, rate_plans, eligibility, terms, parts)
    preference = ChangePreference(minimum_saving(min_saving_per_change), _max_changes(max_changes))
    canonical = CanonicalProblem.of(model, eligibility)
    seconds = TIME_LIMIT if time_limit is None else time_limit
    found = Search(canonical.model, seconds).run(preference)
    best = _select(canonical.model, preference, found)
    assignment = canonical.original_assignment(best.assignment)
    dual = replace(
        found.dual,
        price=canonical.original_prices(found.dual.price),
        free_price=canonical.original_prices(found.dual.free_price),
        trees=tuple(canonical.original_tree(tree) for tree in found.dual.trees),
    )
    certificate = certify(model, preference, dual, assignment, best.total_cost)
    return OptimizationResult(
        model=model,
        assignment=assignment,
        base_assignment=canonical.original_assignment(best.base),
        current_assignment=canonical.original_assignment(best.current),
        total_cost=best.total_cost,
        current_cost=best.current_cost,
        base_cost=best.base_cost,
        lower_bound=certificate.lower_bound,
        certificate=certificate,
        status=_status(certificate, timed_out=dual.timed_out),
        changes=_count_moved(model, assignment),
        unknown_plan_count=best.unknown_plan_count,
        seconds=time.perf_counter() - begun,
    )


def minimum_saving(value: Decimal | int | str) -> int:
    """Return a minimum saving per change in 1e-6 currency.

    Raises:
        OptimizerInputError: it is not a number, or negative.
    """
    saving = micro(value)
    if saving < 0:
        raise OptimizerInputError(f"min_saving_per_change {value} is negative")
    return saving


def _max_changes(value: int | None) -> int | None:
    if value is not None and value < 0:
        raise OptimizerInputError(f"max_changes {value} is negative")
    return value


@dataclass(frozen=True, slots=True)
class _Selection:
    """The best candidate and the assignments that it is compared with, in canonical order; 1e-6 currency."""

    assignment: Integers
    total_cost: int
    base: Integers
    base_cost: int
    current: Integers
    current_cost: int
    unknown_plan_count: int


def _select(model: CostModel, preference: ChangePreference, found: SearchResult) -> _Selection:
    """Return the cheapest of the incumbent, the base assignment and the current plans, without needless changes."""
    base = model.base_assignment()
    current, unknown_plan_count = model.current_assignment(base)
    current_cost, base_cost = model.bill(current), model.bill(base)
    unchanged = assignment_without_changes(model, base)
    unchanged_cost = current_cost if (unchanged == current).all() else model.bill(unchanged)
    candidates = [
        (found.assignment, model.bill(found.assignment)),
        (base, base_cost),
        (unchanged, unchanged_cost),
    ]
    assignment, total_cost = _cheapest(model, preference, candidates)
    assignment = keep_current_plans_on_ties(model, assignment)
    return _Selection(assignment, total_cost, base, base_cost, current, current_cost, unknown_plan_count)


def _cheapest(
    model: CostModel, preference: ChangePreference, candidates: list[tuple[Integers, int]]
) -> tuple[Integers, int]:
    """Return the candidate of least bill + minimum saving x changes within the cap, and its bill; ties: the first."""
    best, least = candidates[0], None
    for assignment, bill in candidates:
        changes = 0 if preference.is_empty else count_changes(model, assignment)
        if preference.max_changes is not None and changes > preference.max_changes:
            continue
        objective = bill + preference.min_saving * changes
        if least is None or objective < least:
            best, least = (assignment, bill), objective
    return best


def _status(certificate: Certificate, *, timed_out: bool) -> str:
    proof = certificate.changes
    if (certificate.bill == certificate.lower_bound) if proof is None else (proof.objective == proof.bound):
        return "optimal"
    return "time_limit" if timed_out else "within_gap"


def _count_moved(model: CostModel, assignment: Integers) -> int:
    """Return the number of SIMs that leave a known current plan, those that must move included."""
    current = model.devices.current_rate_plan
    return int(((assignment != current) & (current >= 0) & (assignment >= 0)).sum())
