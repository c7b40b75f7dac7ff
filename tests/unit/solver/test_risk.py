"""Bad outcomes that count more: figures by hand, and tiny fleets against all assignments."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from amop.solver import OptimizerInputError
from amop.solver.risk import risk_weight_units, verify_risk
from amop.solver.scenarios import RiskFigures
from tests.worlds.optimizer_cases import Case, case, every_bill, micros, tiny_case
from tests.worlds.scenario_cases import of_scenario, optimize_scenarios, random_scenarios

METERS = [
    {"code": "meter 10", "rate_charge": 2, "plan_mb": 10, "data_per_overage_charge": 10},
    {"code": "meter 50", "rate_charge": 4, "plan_mb": 50, "data_per_overage_charge": 10},
]
"""10 MB for 2.00 or 50 MB for 4.00, 1.00 per 10 MB above, one pool each."""


def risk_of(bills: list[int]) -> RiskFigures:
    return RiskFigures(sum(bills), tuple(bills), (), ())


@pytest.mark.parametrize(
    ("bills", "expected"),
    [
        ([7], 7),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 100], 100),
        # 1.5 of 15 scenarios: (30 + 20 / 2) / 1.5 = 26.67.
        ([10] * 13 + [20, 30], 27),
        ([50] * 20, 50),
    ],
)
def test_the_worst_tenth_is_the_mean_of_the_highest_bills_the_last_one_in_part(bills: list[int], expected: int) -> None:
    risk = risk_of(bills)
    assert risk.worst_tenth() == expected
    assert risk.tail_weights().sum() == len(bills)


@pytest.mark.parametrize(("weight", "chosen", "adjusted"), [("0.7", 0, "8.588235"), ("0.9", 1, "9.263158")])
def test_a_high_weight_chooses_the_plan_with_the_better_bad_end(weight: str, chosen: int, adjusted: str) -> None:
    # In 9 scenarios of 10 the SIM uses 5 MB: the small plan costs 2 or, with 145 MB, 16; the large one 4 or 14.
    # Expected 3.40 and 5.00, worst tenth 16 and 14: they are equal at a weight of 0.8.
    fleet = case([5], METERS)
    result = optimize_scenarios(fleet, micros([5] * 9 + [145])[None, :], risk_weight=weight)
    assert result.assignment.tolist() == [chosen]
    proof = result.risk_proof
    assert proof is not None
    assert Decimal(round(proof.adjusted)).scaleb(-6) == Decimal(adjusted)
    verify_risk(proof, result.bills, result.assignment)


def test_the_risk_adjusted_bill_of_a_tiny_fleet_is_near_the_least_of_all_assignments() -> None:
    exact = 0
    for seed in range(40):
        fleet: Case = tiny_case(seed)
        usage = random_scenarios(fleet, seed, 12)
        result = optimize_scenarios(fleet, usage, risk_weight="0.5")
        proof = result.risk_proof
        assert proof is not None
        bills = np.stack([every_bill(of_scenario(fleet, usage, number))[0] for number in range(12)])
        adjusted = [
            Fraction(2 * sum(row) + sum(int(w) * b for w, b in zip(risk_of(row).tail_weights(), row, strict=True)), 36)
            for row in bills.T.tolist()
        ]
        assert proof.lower_bound <= min(adjusted) <= proof.adjusted, f"seed {seed}"
        assert proof.adjusted <= min(adjusted) * Fraction(102, 100), f"seed {seed}"
        exact += proof.adjusted == min(adjusted)
    assert exact >= 30


@pytest.mark.parametrize("weight", ["-0.1", "10.001", "0.0005", "much", "NaN", "Infinity"])
def test_a_weight_that_is_no_thousandth_within_0_and_10_is_refused(weight: str) -> None:
    with pytest.raises(OptimizerInputError, match="risk weight"):
        risk_weight_units(weight)


def test_a_weight_is_exact_to_the_thousandth() -> None:
    found = [risk_weight_units(weight) for weight in ("0", "0.001", "0.25", "10", 3, Decimal("0.5"))]
    assert found == [0, 1, 250, 10_000, 3_000, 500]
