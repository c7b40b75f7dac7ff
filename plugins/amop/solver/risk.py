"""Bad outcomes that count more: the expected bill + risk weight x the mean of the worst tenth of the bills.

The mean of the worst tenth (conditional value at risk) of S equally likely scenarios is a weighted mean: the scenarios
with the highest bills have a weight of 10, the others 0, and the weights add up to S. It is the highest of all such
weighted means. Divided by 1 + risk weight, so that it is comparable with a bill,

    risk-adjusted bill = max over weights of  sum of weight x bill / sum of the weights,
        each weight within 1 and 1 + 10 x risk weight, with the mean 1 + risk weight.

Hence the least weighted bill under *any* such weights is a lower bound of the risk-adjusted bill of every assignment.
The search alternates: the weights of the worst scenarios of the plans found so far, averaged over the rounds
(fictitious play), then the plans of the least weighted bill, which `amop.solver.scenario_search` finds and bounds. The
plans of all rounds are candidates; the best of them is chosen by its exact risk-adjusted bill. Of a small fleet the
candidates are those of several weights, with a local search (`amop.solver.risk_exchange`), for *every* risk weight, 0
included: plans that are best for a neighbouring weight are then not missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np

from amop.solver.components import Doubles
from amop.solver.model import Integers, OptimizerInputError
from amop.solver.proof_tree import CertificateError
from amop.solver.risk_candidates import UNITS, RiskCandidates
from amop.solver.scenario_certificate import ScenarioCertificate, certify_scenarios, verify_scenarios
from amop.solver.scenario_search import ScenarioSearchResult
from amop.solver.scenarios import TAIL_WEIGHT, ScenarioBills

MAX_RISK_WEIGHT = 10
MAX_ROUNDS = 5
"""Rounds of weights and plans."""
TOLERANCE = Fraction(1, 10**5)
"""Relative gap at which no further round is made."""

PATH = (500, 1_000, 2_000, 5_000, MAX_RISK_WEIGHT * UNITS)
"""Risk weights at which a small fleet is searched, whatever weight is asked for, in 1 / `UNITS`."""
SMALL_FLEET = 200
"""SIMs up to which a fleet is small: one SIM is so large a part of it that the search can miss better plans by up to
a percent. Of a larger fleet it misses a few blocks of overage."""

Search = Callable[[ScenarioBills, list[Integers]], ScenarioSearchResult]
"""Finds the plans of the least weighted bill; those that it is given are never better."""
Exchange = Callable[[RiskCandidates, int], None]
"""Adds what a local search finds from the best candidate of a weight."""


@dataclass(frozen=True, slots=True)
class RiskProof:
    """What a result claims about its risk-adjusted bill, in integers."""

    risk_weight: int
    """In 1 / `UNITS`."""
    certificate: ScenarioCertificate
    """Proof of the least weighted bill, at weights that bound the risk-adjusted one."""
    total: int
    """Numerator of the risk-adjusted bill of the assignment in 1e-6 currency, over (`UNITS` + risk weight) x S."""

    @property
    def adjusted(self) -> Fraction:
        """Return the risk-adjusted bill of the assignment, 1e-6 currency."""
        return Fraction(self.total, (UNITS + self.risk_weight) * self.certificate.scenario_count)

    @property
    def lower_bound(self) -> Fraction:
        """Return the lower bound of the risk-adjusted bill of every assignment, 1e-6 currency."""
        return Fraction(self.certificate.lower_bound, sum(self.certificate.weight))

    @property
    def objective_bound(self) -> Fraction:
        """Return the lower bound of the risk-adjusted bill + minimum saving x changes of every assignment."""
        return Fraction(self.certificate.objective_bound, sum(self.certificate.weight))

    @property
    def gap(self) -> float:
        """Return the relative optimality gap of the risk-adjusted bill."""
        return float((self.adjusted - self.lower_bound) / self.adjusted) if self.adjusted else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the proof as a JSON-serializable document."""
        return {
            "risk_weight": str(Decimal(self.risk_weight).scaleb(-3)),
            "total_micro": self.total,
            "certificate": self.certificate.as_json(),
        }


def risk_weight_units(weight: Decimal | int | str) -> int:
    """Return a risk weight in 1 / `UNITS`.

    Raises:
        OptimizerInputError: it is not a number within 0 and `MAX_RISK_WEIGHT` with at most three places.
    """
    try:
        scaled = Decimal(weight) * UNITS
        units = int(scaled)
    except (ArithmeticError, ValueError):
        raise OptimizerInputError(f"risk weight {weight!r} is not a number") from None
    if units != scaled or not 0 <= units <= MAX_RISK_WEIGHT * UNITS:
        raise OptimizerInputError(f"risk weight {weight!r} is not within 0 and {MAX_RISK_WEIGHT} in steps of 0.001")
    return units


@dataclass(frozen=True, slots=True)
class RiskBound:
    """A bound of the risk-adjusted bill + minimum saving x changes: weights of the scenarios, and prices."""

    bound: Fraction
    bills: ScenarioBills
    price: Doubles


def follow_path(candidates: RiskCandidates, search: Search, exchange: Exchange) -> dict[int, list[RiskBound]]:
    """Add what is found for each weight of `PATH` to the candidates of a small fleet, whatever weight is asked for.

    Args:
        candidates: the assignment of the least expected bill, and others.
        search: of the least weighted bill.
        exchange: local search for the risk-adjusted bill.

    Returns:
        The bounds of each weight. More candidates for one weight alone could beat the plans of the others.
    """
    bounds = {risk_weight: play_rounds(candidates, risk_weight, search) for risk_weight in PATH}
    for risk_weight in (0, *PATH, *reversed(PATH), 0):
        exchange(candidates, risk_weight)
    return bounds


def play_rounds(candidates: RiskCandidates, risk_weight: int, search: Search) -> list[RiskBound]:
    """Add the assignments of the least weighted bills, round by round; return the bound of each round.

    Args:
        candidates: the assignment of the least expected bill, and others.
        risk_weight: in 1 / `UNITS`, above 0.
        search: of the least weighted bill.
    """
    bills, last = candidates.bills, candidates.found[0]
    tails, bounds = np.zeros(bills.count, dtype=np.int64), list[RiskBound]()
    for number in range(1, MAX_ROUNDS + 1):
        tails += last.risk.tail_weights()
        weighted = bills.weighted(_weights(tails, number, risk_weight))
        result = search(weighted, [candidates.best(risk_weight).assignment])
        bounds.append(bound_at(weighted, result.price, result.assignment, candidates.min_saving))
        last = candidates.evaluate(result.assignment)
        candidates.add(last)
        least = candidates.objective(candidates.best(risk_weight), risk_weight)
        if least - max(one.bound for one in bounds) <= TOLERANCE * abs(least):
            break
    return bounds


def bound_at(bills: ScenarioBills, price: Doubles, assignment: Integers, min_saving: int) -> RiskBound:
    """Return the bound that prices prove under the weights of some bills.

    Args:
        bills: the fleet, with a weight of each scenario.
        price: of each pool's data in each scenario, shape (K, S).
        assignment: plan of each SIM, shape (N,).
        min_saving: minimum saving per change, 1e-6 currency.
    """
    proof = certify_scenarios(bills, price, assignment, min_saving=min_saving, is_optimal=False)
    return RiskBound(Fraction(proof.objective_bound, bills.whole), bills, price)


def prove_risk(candidates: RiskCandidates, risk_weight: int, bounds: Mapping[int, Sequence[RiskBound]]) -> RiskProof:
    """Return the proof of the best candidate at a risk weight, by the tightest bound of this weight and lower ones.

    The mean of the worst tenth is never below the expected bill, so that the risk-adjusted bill of an assignment rises
    with the risk weight: a bound at a lower weight holds at a higher one.

    Args:
        candidates: the assignments found.
        risk_weight: in 1 / `UNITS`.
        bounds: bounds by the risk weight at which they were found, 0 for the expected bill.
    """
    best = candidates.best(risk_weight)
    usable = [one for weight, found in bounds.items() if weight <= risk_weight for one in found]
    tightest = max(usable, key=lambda one: one.bound)
    # All assignments of a fleet were compared under these weights only, so that its own total is no bound.
    proof = certify_scenarios(
        tightest.bills, tightest.price, best.assignment, min_saving=candidates.min_saving, is_optimal=False
    )
    return RiskProof(risk_weight, proof, best.adjusted_total(risk_weight))


def verify_risk(proof: RiskProof, bills: ScenarioBills, assignment: Integers) -> None:
    """Recompute the risk-adjusted bill and its bound, and check that the weights may bound it, in integers.

    Raises:
        CertificateError: a figure is not the claimed one, or a weight is outside its range.
    """
    weight, units = np.array(proof.certificate.weight, dtype=np.int64), proof.risk_weight
    whole = int(weight.sum())
    if not 0 < units <= MAX_RISK_WEIGHT * UNITS or len(weight) != bills.count or weight.min(initial=1) < 1:
        raise CertificateError(f"the risk weight {units} or the number of its weights ({len(weight)}) is not valid")
    lowest, highest = whole * UNITS, whole * (UNITS + TAIL_WEIGHT * units)
    if any(not lowest <= one * (UNITS + units) * bills.count <= highest for one in weight.tolist()):
        raise CertificateError("a weight of a scenario is outside the range in which the bound holds")
    verify_scenarios(proof.certificate, bills.weighted(weight), assignment)
    total = RiskCandidates(bills, 0, [assignment]).found[0].adjusted_total(units)
    if total != proof.total:
        raise CertificateError(f"claimed a risk-adjusted total of {proof.total}, found {total}")


def _weights(tails: Integers, rounds: int, risk_weight: int) -> Integers:
    """Return the weights of the scenarios for the sum of the tail weights of some rounds, shape (S,)."""
    factor = gcd(UNITS, risk_weight)
    return (UNITS // factor) * rounds + (risk_weight // factor) * tails
