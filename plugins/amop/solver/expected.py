"""Find the assignment of the least expected bill over scenarios of the usage, and prove how close to the least it is.

`optimize_expected` also optimizes the point forecast with `amop.solver.solver.optimize`: its plans are the first
candidate, so that the expected bill of the result is never above theirs, and the difference is what the scenarios are
worth. With one scenario the result is that of `optimize` for this usage. With a risk weight the mean of the worst tenth
of the bills counts beside the expected bill (`amop.solver.risk`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from amop.solver.bill import CostModel, Terms
from amop.solver.canonical import CanonicalProblem
from amop.solver.changes import assignment_without_changes, count_changes, is_changed, undo_swaps, undo_swaps_in_pools
from amop.solver.components import Doubles
from amop.solver.hashing import SEED, mix
from amop.solver.model import NONE, Devices, Eligibility, Integers, RatePlans
from amop.solver.risk import (
    SMALL_FLEET,
    Exchange,
    RiskProof,
    bound_at,
    follow_path,
    play_rounds,
    prove_risk,
    risk_weight_units,
)
from amop.solver.risk_candidates import RiskCandidates
from amop.solver.risk_exchange import RiskExchange
from amop.solver.scenario_certificate import ScenarioCertificate, certify_scenarios
from amop.solver.scenario_search import ScenarioSearchResult, scenario_objective, search_scenarios
from amop.solver.scenarios import RiskFigures, ScenarioBills, mean_half_up
from amop.solver.solver import OptimizationResult, minimum_saving, optimize


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    """An assignment, its bills in all scenarios, and the proof of its gap. Money in 1e-6 currency."""

    bills: ScenarioBills
    assignment: Integers
    """Index of the plan of each SIM, shape (N,), int64; -1 for a SIM without an eligible plan, which keeps its plan."""
    risk: RiskFigures
    point: OptimizationResult
    """The result for the point forecast."""
    point_risk: RiskFigures
    """What the plans of the point forecast cost in the scenarios."""
    current_risk: RiskFigures
    """What the current plans cost; unknown ones count as the base assignment."""
    certificate: ScenarioCertificate
    """Proof of the expected bill."""
    risk_proof: RiskProof | None
    """Proof of the risk-adjusted bill; None without a risk weight."""
    seconds: float

    @property
    def expected_lower_bound(self) -> int:
        """Return the lower bound of the expected bill of every assignment, rounded half up."""
        return mean_half_up(self.certificate.lower_bound, self.bills.count)

    @property
    def gap(self) -> float:
        """Return the relative optimality gap of the expected bill."""
        claim = self.certificate
        return (claim.total - claim.lower_bound) / claim.total if claim.total else 0.0

    @property
    def at_point_forecast(self) -> OptimizationResult:
        """Return the result as one for the point forecast: its bill at that usage, and the proof of its gap there."""
        point, cost = self.point, self.point.model.bill(self.assignment)
        proof = point.certificate.changes
        if proof is not None:
            count = count_changes(point.model, self.assignment)
            proof = replace(proof, change_count=count, objective=cost + proof.min_saving * count)
        return replace(
            point,
            assignment=self.assignment,
            total_cost=cost,
            certificate=replace(point.certificate, bill=cost, changes=proof),
            status="optimal" if cost == point.lower_bound and proof is None else "within_gap",
            changes=self.changes,
        )

    @property
    def changes(self) -> int:
        """Return the number of SIMs that leave a known current plan, those that must move included."""
        current = self.bills.model.devices.current_rate_plan
        return int(((self.assignment != current) & (current >= 0) & (self.assignment >= 0)).sum())


def optimize_expected(
    devices: Devices,
    rate_plans: RatePlans,
    eligibility: Eligibility,
    usage: Integers,
    *,
    period_days: int,
    uses_proration: bool,
    prorate_allowance: bool = False,
    pool_scope: str = "service_provider",
    min_saving_per_change: Decimal | int | str = 0,
    risk_weight: Decimal | int | str = 0,
    time_limit: float | None = None,
    point: OptimizationResult | None = None,
) -> ExpectedResult:
    """Return the assignment of the least expected bill + minimum saving x changes that was found, with its proof.

    With a risk weight the risk-adjusted bill takes the place of the expected one.

    Args:
        devices: N SIMs, with their point forecast.
        rate_plans: P plans.
        eligibility: which plans each communication plan allows.
        usage: of each SIM in each of S equally likely scenarios, shape (N, S), 1e-6 MB, int64.
        period_days: local calendar days of the billing period.
        uses_proration: whether charges of SIMs activated within the period are prorated.
        prorate_allowance: whether their included data is prorated, too.
        pool_scope: ``service_provider`` or ``comm_group``.
        min_saving_per_change: minimum saving per change of a plan, in currency.
        risk_weight: of the mean of the worst tenth of the bills, 0 to 10; see `amop.solver.risk`.
        time_limit: seconds for branch and bound of the point forecast; see `optimize`.
        point: the result of `optimize` for the same arguments, where it is known; None = computed here.

    Raises:
        OptimizerInputError: the input breaks a rule of the model; the message names the SIM or the plan.
    """
    weight_units = risk_weight_units(risk_weight)
    begun = time.perf_counter()

    def of_point(fleet: Devices) -> OptimizationResult:
        return optimize(
            fleet,
            rate_plans,
            eligibility,
            period_days=period_days,
            uses_proration=uses_proration,
            prorate_allowance=prorate_allowance,
            pool_scope=pool_scope,
            min_saving_per_change=min_saving_per_change,
            time_limit=time_limit,
        )

    terms = Terms(period_days, uses_proration, prorate_allowance, pool_scope)
    bills = ScenarioBills(CostModel(devices, rate_plans, eligibility, terms), usage)
    saving = minimum_saving(min_saving_per_change)
    if point is None:
        point = of_point(devices)
    starts = [point.assignment, assignment_without_changes(bills.model, point.base_assignment)]
    if bills.count == 1:
        found = _of_one_scenario(of_point(bills.model.devices))
    else:
        found = _search(bills, eligibility, saving, starts)
    candidates = RiskCandidates(bills, saving, [found.assignment, point.assignment])
    proof = None
    if bills.count > 1 and (weight_units or not found.is_optimal):
        proof = _weigh_risk(candidates, eligibility, weight_units, found.price, starts)
    best = candidates.best(weight_units)
    is_optimal = found.is_optimal and best.expected_total == candidates.found[0].expected_total
    certificate = certify_scenarios(bills, found.price, best.assignment, min_saving=saving, is_optimal=is_optimal)
    return ExpectedResult(
        bills=bills,
        assignment=best.assignment,
        risk=best.risk,
        point=point,
        point_risk=candidates.evaluate(point.assignment).risk,
        current_risk=bills.risk(point.current_assignment),
        certificate=certificate,
        risk_proof=proof,
        seconds=time.perf_counter() - begun,
    )


def _weigh_risk(
    candidates: RiskCandidates, eligibility: Eligibility, weight_units: int, price: Doubles, starts: list[Integers]
) -> RiskProof | None:
    """Add candidates to choose from at a risk weight; return the proof of the risk-adjusted bill, None at weight 0.

    Args:
        candidates: the assignment of the least expected bill, and others.
        eligibility: which plans each communication plan allows.
        weight_units: the risk weight in 1 / `UNITS`.
        price: prices that bound the expected bill, shape (K, S).
        starts: further assignments that the result is not worse than, shape (N,) each.
    """

    def search(weighted: ScenarioBills, known: list[Integers]) -> ScenarioSearchResult:
        return _search(weighted, eligibility, candidates.min_saving, [*known, *starts])

    is_small = len(candidates.bills.model.devices) <= SMALL_FLEET
    exchange = _exchange(candidates.bills, eligibility, candidates.min_saving) if is_small else None
    bounds = {} if exchange is None else follow_path(candidates, search, exchange)
    if not weight_units:
        return None
    if weight_units not in bounds:
        bounds[weight_units] = play_rounds(candidates, weight_units, search)
        if exchange is not None:
            exchange(candidates, weight_units)
    bounds[0] = [bound_at(candidates.bills, price, candidates.found[0].assignment, candidates.min_saving)]
    return prove_risk(candidates, weight_units, bounds)


def _exchange(bills: ScenarioBills, eligibility: Eligibility, min_saving: int) -> Exchange:
    """Return the local search of `risk_exchange`, in an order of SIMs, plans and scenarios that is not the input's."""
    canonical = CanonicalProblem.of(bills.model, eligibility)
    copy = bills.of_copy(canonical.model, canonical.row, _canonical_columns(bills, canonical.row))
    place = np.append(np.argsort(canonical.plan), NONE)
    moves = RiskExchange(copy, min_saving)
    tried: set[tuple[int, int]] = set()

    def improve(candidates: RiskCandidates, risk_weight: int) -> None:
        start = candidates.best(risk_weight)
        if (id(start), risk_weight) in tried:
            return
        inner = RiskCandidates(copy, min_saving, [place[start.assignment[canonical.row]]])
        moves.improve(inner, inner.found[0], risk_weight)
        for each in inner.found[1:]:
            candidates.add(candidates.evaluate(canonical.original_assignment(each.assignment)))
        tried.add((id(candidates.best(risk_weight)), risk_weight))

    return improve


def _of_one_scenario(result: OptimizationResult) -> ScenarioSearchResult:
    claim = result.certificate
    price = np.array(claim.price, dtype=np.float64).reshape(-1, 1) / claim.price_scale
    return ScenarioSearchResult(result.assignment, price, result.status == "optimal")


def _search(
    bills: ScenarioBills, eligibility: Eligibility, min_saving: int, candidates: list[Integers]
) -> ScenarioSearchResult:
    """Search a copy of the problem whose order does not depend on the input's.

    Args:
        bills: the fleet.
        eligibility: which plans each communication plan allows.
        min_saving: minimum saving per change, 1e-6 currency.
        candidates: assignments that the result is not worse than, shape (N,) each.
    """
    canonical = CanonicalProblem.of(bills.model, eligibility)
    columns = _canonical_columns(bills, canonical.row)
    copy = bills.of_copy(canonical.model, canonical.row, columns)
    place = np.argsort(canonical.plan)
    starts = [np.append(place, NONE)[assignment[canonical.row]] for assignment in candidates]
    found = search_scenarios(copy, min_saving, starts)
    assignment = canonical.original_assignment(_keep_current_plans_on_ties(copy, found.assignment, min_saving))
    price = np.zeros((bills.model.pool_count, bills.count))
    price[canonical.pool[:, None], columns[None, :]] = found.price
    return replace(found, assignment=assignment, price=price)


def _canonical_columns(bills: ScenarioBills, row: Integers) -> Integers:
    """Return the scenarios in an order that depends on their content only, shape (S,)."""
    keys = np.zeros(bills.count, dtype=np.uint64)
    total = np.zeros(bills.count, dtype=np.int64)
    factors = mix(np.arange(1, len(row) + 1, dtype=np.uint64) * np.uint64(SEED))
    for first in range(0, len(row), 65_536):
        usage = bills.usage(row[first : first + 65_536])
        total += usage.sum(axis=0)
        keys += (mix(usage.view(np.uint64)) * factors[first : first + 65_536, None]).sum(axis=0, dtype=np.uint64)
    return np.lexsort((bills.weight, keys, total))


def _keep_current_plans_on_ties(bills: ScenarioBills, assignment: Integers, min_saving: int) -> Integers:
    """Return an assignment of the same total that undoes changes without effect, swaps of equal SIMs and in pools."""
    model = bills.model
    rows = np.flatnonzero(is_changed(model, assignment))
    if not len(rows):
        return assignment
    kept = assignment.copy()
    new, current = assignment[rows], model.devices.current_rate_plan[rows]
    group, tariff = model.group[rows], model.tariff[rows]
    pool = model.pool[group, new]
    undo = model.pool[group, current] == pool
    undo &= (pool == NONE) | (model.included[tariff, current] == model.included[tariff, new])
    maybe = rows[undo]
    before, after = (np.where(_marks(maybe, len(kept)), plans, NONE) for plans in (_current(model), assignment))
    same = bills.totals_of(before)[maybe] == bills.totals_of(after)[maybe]
    kept[maybe[same]] = _current(model)[maybe[same]]
    others = np.flatnonzero(is_changed(model, kept))
    swapped = kept.copy()
    usage = bills.usage(others)
    factors = mix(np.arange(1, 2 * bills.count + 1, dtype=np.uint64) * np.uint64(SEED)).reshape(2, -1)
    keys = [(mix(usage.view(np.uint64)) * factor).sum(axis=1, dtype=np.uint64).view(np.int64) for factor in factors]
    undo_swaps(model, others, swapped, [*keys, model.devices.sms_usage[others]])
    undo_swaps_in_pools(model, swapped)
    # SIMs are compared by hashes of their scenarios: keep the swaps only if they cost nothing.
    fewer = count_changes(model, swapped) <= count_changes(model, kept)
    same_cost = scenario_objective(bills, swapped, min_saving) <= scenario_objective(bills, kept, min_saving)
    return swapped if fewer and same_cost else kept


def _current(model: CostModel) -> Integers:
    return model.devices.current_rate_plan


def _marks(rows: Integers, count: int) -> np.typing.NDArray[np.bool_]:
    marks = np.zeros(count, dtype=np.bool_)
    marks[rows] = True
    return marks
