"""Bad outcomes that count more: the expected bill + risk weight x the mean of the worst tenth of the bills.

The mean of the worst tenth (conditional value at risk) of S equally likely scenarios is a weighted mean: the scenarios
with the highest bills have a weight of 10, the others 0, and the weights add up to S. It is the highest of all such
weighted means. Divided by 1 + risk weight, so that it is comparable with a bill,

    risk-adjusted bill = max over weights of  sum of weight x bill / sum of the weights,
        each weight within 1 and 1 + 10 x risk weight, with the mean 1 + risk weight.

Hence the least weighted bill under *any* such weights is a lower bound of the risk-adjusted bill of every assignment.
The search alternates: the weights of the worst scenarios of the plans found so far, averaged over the rounds
(fictitious play), then the plans of the least weighted bill, which `amop.solver.scenario_search` finds and bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np

from amop.solver.certificate import CertificateError
from amop.solver.changes import count_changes
from amop.solver.model import Integers, OptimizerInputError
from amop.solver.scenario_certificate import ScenarioCertificate, certify_scenarios, verify_scenarios
from amop.solver.scenario_search import ScenarioSearchResult
from amop.solver.scenarios import TAIL_WEIGHT, RiskFigures, ScenarioBills

UNITS = 1_000
"""A risk weight is stored in thousandths."""
MAX_RISK_WEIGHT = 10
MAX_ROUNDS = 5
"""Rounds of weights and plans."""
TOLERANCE = Fraction(1, 10**5)
"""Relative gap at which no further round is made."""

Search = Callable[[ScenarioBills, list[Integers]], ScenarioSearchResult]
"""Finds the plans of the least weighted bill; those that it is given are never better."""


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


def minimize_risk(
    bills: ScenarioBills, found: ScenarioSearchResult, risk_weight: int, min_saving: int, search: Search
) -> tuple[Integers, RiskProof]:
    """Return the assignment of the least risk-adjusted bill that was found, shape (N,), and its proof.

    Args:
        bills: the fleet, with equally likely scenarios.
        found: the assignment of the least expected bill.
        risk_weight: in 1 / `UNITS`, above 0.
        min_saving: minimum saving per change, 1e-6 currency.
        search: of the least weighted bill.
    """
    assignments, objectives = [found.assignment], [_objective(bills, found.assignment, risk_weight, min_saving)]
    tails, proofs = np.zeros(bills.count, dtype=np.int64), []
    for number in range(1, MAX_ROUNDS + 1):
        tails += bills.risk(assignments[-1]).tail_weights()
        weighted = bills.weighted(_weights(tails, number, risk_weight))
        result = search(weighted, [assignments[objectives.index(min(objectives))]])
        proof = certify_scenarios(
            weighted, result.price, result.assignment, min_saving=min_saving, is_optimal=result.is_optimal
        )
        proofs.append((Fraction(proof.objective_bound, weighted.whole), number, weighted, result))
        assignments.append(result.assignment)
        objectives.append(_objective(bills, result.assignment, risk_weight, min_saving))
        bound, least = max(one[0] for one in proofs), min(objectives)
        if least - bound <= TOLERANCE * abs(least):
            break
    assignment = assignments[objectives.index(min(objectives))]
    _, _, weighted, result = max(proofs, key=lambda one: (one[0], -one[1]))
    # All assignments of a fleet were compared under these weights only, so that its own total is no bound.
    proof = certify_scenarios(weighted, result.price, assignment, min_saving=min_saving, is_optimal=False)
    return assignment, RiskProof(risk_weight, proof, _total(bills.risk(assignment), risk_weight))


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
    total = _total(bills.risk(assignment), units)
    if total != proof.total:
        raise CertificateError(f"claimed a risk-adjusted total of {proof.total}, found {total}")


def _weights(tails: Integers, rounds: int, risk_weight: int) -> Integers:
    """Return the weights of the scenarios for the sum of the tail weights of some rounds, shape (S,)."""
    factor = gcd(UNITS, risk_weight)
    return (UNITS // factor) * rounds + (risk_weight // factor) * tails


def _total(risk: RiskFigures, risk_weight: int) -> int:
    tail = risk.tail_weights().tolist()
    return sum((UNITS + risk_weight * worst) * bill for worst, bill in zip(tail, risk.bills, strict=True))


def _objective(bills: ScenarioBills, assignment: Integers, risk_weight: int, min_saving: int) -> Fraction:
    """Return the risk-adjusted bill + minimum saving x changes, 1e-6 currency."""
    total = _total(bills.risk(assignment), risk_weight)
    return Fraction(total, (UNITS + risk_weight) * bills.count) + min_saving * count_changes(bills.model, assignment)
