"""Prices that are legal but extreme: the search ends, and its proof holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amop.solver import OptimizationResult, Terms, tree_search, verify
from amop.solver import certificate as certificates
from amop.solver.components import pool_components
from amop.solver.prices import MasterProblem
from amop.solver.proof_tree import HIGHEST_CHARGE, HIGHEST_PRICE, CertificateError, Leaf, RealLeaf, RealTree
from amop.solver.tree_fleet import TreeFleet
from amop.solver.tree_master import MasterSolution, TreeMaster
from amop.solver.tree_node import Node
from tests.worlds.optimizer_cases import Case, case, every_bill

DEAR = {"overage_rate": 20, "data_per_overage_charge": 1, "pool": "one"}
TERABYTES: list[dict[str, Any]] = [
    {"rate_charge": "21.48", "plan_mb": 1024, "sms_rate": "0.01", **DEAR},
    {"rate_charge": 5120, "plan_mb": 102400, **DEAR},
    {"rate_charge": "51.7", "plan_mb": 5120, **DEAR},
    {
        "rate_charge": "5.5",
        "base_rate": "0.5",
        "plan_mb": 500,
        "overage_rate": "0.004885",
        "data_per_overage_charge": "0.000977",
        "pool": "other",
    },
]


def proved(fleet: Case, **preferences: Any) -> OptimizationResult:
    result = fleet.optimize(**preferences)
    verify(result.certificate, result.model, result.assignment)
    assert result.total_cost == int(every_bill(fleet)[0].min())
    return result


def fleet_of_terabytes() -> Case:
    return case(
        ["564.559223", 1000, 0, 500_000, "1.822297"],
        TERABYTES,
        allowed=[[False, True, False, True], [True, True, False, True]],
        terms=Terms(30, True, prorate_allowance=True),
        communication_plan=[0, 1, 0, 1, 0],
        sms_usage=[5, 5, 100, 0, 0],
        days_active=[3, 30, 15, 30, 30],
        is_prorated=[True, False, True, False, False],
    )


def test_a_sim_of_half_a_terabyte_at_20_per_megabyte_is_optimized_and_proved() -> None:
    assert proved(fleet_of_terabytes()).status == "optimal"


@pytest.mark.parametrize(
    ("value", "price", "charge"),
    [
        (np.inf, HIGHEST_PRICE, HIGHEST_CHARGE),
        (-np.inf, 0, -HIGHEST_CHARGE),
        (np.nan, 0, 0),
        (1e40, HIGHEST_PRICE, HIGHEST_CHARGE),
    ],
)
def test_prices_and_charges_of_a_search_are_cut_to_the_highest_valid_ones(
    value: float, price: int, charge: int
) -> None:
    fleet = fleet_of_terabytes()
    real = RealTree((0, 1), ((0, -1),), (RealLeaf((value, 0.0), ((0, value),)),))
    leaf = real.as_integers(fleet.model, 10**9).nodes[0]
    assert isinstance(leaf, Leaf)
    highest = int(fleet.model.pool_rate[0]) * 10**9 // int(fleet.model.pool_block[0])
    assert leaf.price == (min(price, highest), 0)
    assert leaf.charge == ((0, charge),)


def test_a_tree_that_does_not_hold_is_left_out_of_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise CertificateError("a price is not valid")

    monkeypatch.setattr(certificates, "tree_total", refuse)
    plans = [{"rate_charge": 1, "overage_rate": 1000, "data_per_overage_charge": 500, "pool": "one"}]
    fleet = case([1] * 30, [*plans, {"rate_charge": 10, "plan_mb": 5}])
    result = fleet.optimize(time_limit=0)
    assert result.certificate.tree is None
    assert result.total_cost == 300_000_000
    assert result.lower_bound == result.certificate.price_bound
    assert result.status == "within_gap"
    verify(result.certificate, result.model, result.assignment)


def test_a_price_above_all_duals_leaves_the_best_prices_to_be_rounded() -> None:
    # Blocks of 0.000095 MB at 10,000 each: HiGHS gives no cut a dual above 1e-12.
    block = {"overage_rate": 10_000, "data_per_overage_charge": "0.000095", "pool": "one"}
    plans = [
        {"rate_charge": "0.000001", "base_rate": "40.16606", "plan_mb": "363.761503", **block},
        {"rate_charge": "915.2216", "base_rate": "11.640889", "plan_mb": 1_000_000, **block},
    ]
    assert proved(case([1024], plans, days_active=[15])).status == "optimal"
    best = np.array([3.0])
    master = MasterProblem(np.zeros(1), np.ones(1), best, 0.0, np.zeros(1))
    master._solver.clear()
    assert master.primal_weights(best) == [(1.0, best)]


def test_a_master_problem_without_a_solution_gives_no_assignments() -> None:
    component = next(iter(pool_components(fleet_of_terabytes().model)))
    fleet = TreeFleet(component, 0.0)
    assert len(fleet.explicit)
    master = TreeMaster(fleet, 1.0)
    prices, charges = np.zeros(len(fleet.rate)), np.zeros(len(fleet.plans))
    master.add(fleet.evaluate(prices, charges)[1])
    nothing = MasterSolution(0.0, prices, charges, np.zeros(master.integers), np.ones(len(master.columns)))
    assert master.vertices(nothing)[0] == []
    master._solver.clear()
    failed = master.solve(np.zeros(master.integers), np.ones(master.integers))
    assert failed.value == -np.inf
    assert master.vertices(failed)[0] == []


def test_a_gap_that_doubles_round_in_two_ways_does_not_keep_the_search_running(monkeypatch: pytest.MonkeyPatch) -> None:
    # At a bill of 2,483,146,422.07 doubles are 4.8e-7 apart: bill - bound > goal, and yet bound >= bill - goal.
    steps, finish = [], tree_search._TreeSearch._finish

    def counted(search: Any, node: Node) -> bool:
        steps.append(node.bound)
        assert len(steps) <= 100
        return finish(search, node)

    monkeypatch.setattr(tree_search._TreeSearch, "_finish", counted)
    pool = {"overage_rate": 10, "data_per_overage_charge": "0.000001", "pool": "one"}
    plans = [
        {"rate_charge": 1, "plan_mb": "549.28232", "sms_rate": "0.1", **pool},
        {"rate_charge": 0, "base_rate": 5000, "overage_rate": "0.000001", "data_per_overage_charge": 10**6},
        {"rate_charge": 1, "base_rate": 5000, "plan_mb": "372.972516", "sms_rate": "0.1", **pool},
        {"rate_charge": "579.542538", "plan_mb": "4.266881", **pool},
        {"rate_charge": 1, "base_rate": 5000, "plan_mb": 1, "sms_rate": "0.1", **pool},
    ]
    fleet = case(
        [0, 1, 1024, "0.000001"],
        plans,
        allowed=[[True, True, False, True, True], [True, True, False, True, True], [False, False, True, True, True]],
        terms=Terms(30, True, prorate_allowance=True),
        communication_plan=[2, 2, 2, 0],
        days_active=[1, 30, 30, 1],
        is_prorated=[True, False, False, True],
        current_rate_plan=[2, 1, 4, 4],
    )
    result = fleet.optimize(min_saving_per_change="0.000001")
    verify(result.certificate, result.model, result.assignment)
    assert result.certificate.changes is not None
    assert result.certificate.changes.objective == result.certificate.changes.bound


def test_a_search_whose_steps_change_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Node] = []

    def unchanged(search: Any, node: Node) -> bool:
        steps.append(node)
        assert len(steps) <= 1_000
        return True

    monkeypatch.setattr(tree_search._TreeSearch, "_finish", unchanged)
    monkeypatch.setattr(tree_search._TreeSearch, "_branch", lambda *_: [])
    plans = [{"rate_charge": 1, "overage_rate": 1000, "data_per_overage_charge": 500, "pool": "one"}]
    fleet = case([1] * 30, [*plans, {"rate_charge": 10, "plan_mb": 5}])
    result = fleet.optimize(time_limit=0)
    verify(result.certificate, result.model, result.assignment)
    assert len(steps) >= tree_search.MAX_IDLE_STEPS
