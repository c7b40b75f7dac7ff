"""The assignments that were found on the way, each with its expected bill, its worst tenth and its changes.

From these three figures the risk-adjusted bill follows at *every* risk weight, exactly. The best of one set of
candidates is chosen for each weight: then no weight's plans are beaten by those of another weight, and a higher weight
never has the worse worst tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from amop.solver.changes import count_changes
from amop.solver.model import Integers
from amop.solver.scenarios import RiskFigures, ScenarioBills

UNITS = 1_000
"""A risk weight is stored in thousandths."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An assignment and what it costs in the scenarios. Money in 1e-6 currency."""

    assignment: Integers
    """Index of the plan of each SIM, shape (N,), int64."""
    risk: RiskFigures
    expected_total: int
    """Sum of the bills over the scenarios."""
    tail_total: int
    """Sum of tail weight x bill: S times the mean of the worst tenth."""
    change_count: int

    def adjusted_total(self, risk_weight: int) -> int:
        """Return the numerator of the risk-adjusted bill, over (`UNITS` + risk weight) x S."""
        return UNITS * self.expected_total + risk_weight * self.tail_total


class RiskCandidates:
    """The candidates in the order in which they were found.

    Args:
        bills: the fleet, with equally likely scenarios.
        min_saving: minimum saving per change, 1e-6 currency.
        assignments: the first candidates, shape (N,) each.
    """

    def __init__(self, bills: ScenarioBills, min_saving: int, assignments: Sequence[Integers]) -> None:
        self.bills, self.min_saving = bills, min_saving
        self.found: list[Candidate] = []
        for assignment in assignments:
            self.add(self.evaluate(assignment))

    def evaluate(self, assignment: Integers) -> Candidate:
        """Return an assignment with its figures; the one that is a candidate already, if it is."""
        for known in self.found:
            if (known.assignment == assignment).all():
                return known
        risk = self.bills.risk(assignment)
        tail = sum(weight * bill for weight, bill in zip(risk.tail_weights().tolist(), risk.bills, strict=True))
        return Candidate(assignment, risk, sum(risk.bills), tail, count_changes(self.bills.model, assignment))

    def add(self, candidate: Candidate) -> None:
        """Add a candidate, once."""
        if not any(known is candidate for known in self.found):
            self.found.append(candidate)

    def objective(self, candidate: Candidate, risk_weight: int) -> Fraction:
        """Return the risk-adjusted bill + minimum saving x changes at a weight in 1 / `UNITS`, 1e-6 currency."""
        adjusted = Fraction(candidate.adjusted_total(risk_weight), (UNITS + risk_weight) * self.bills.count)
        return adjusted + self.min_saving * candidate.change_count

    def best(self, risk_weight: int) -> Candidate:
        """Return the candidate of the least objective at a weight; of equal ones the first."""
        return min(self.found, key=lambda candidate: self.objective(candidate, risk_weight))
