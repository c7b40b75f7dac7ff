"""Explanations of a SIM's plan: the figures are those of the bound, and the sentences describe them."""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, Decimal

import numpy as np
import pytest

from amop.solver import OptimizationResult
from amop.solver.explanation import Explanation, FinalPrices, decimal_text, explain
from tests.worlds.optimizer_cases import Case, case, random_case

POOLED = [{"rate_charge": 1, "plan_mb": 0, "pool": "p"}, {"rate_charge": 3, "plan_mb": 10, "pool": "p"}]
TWO_PLANS = [
    {"code": "small", "rate_charge": 1, "plan_mb": 1, "overage_rate": "0.5"},
    {"code": "large", "rate_charge": 4, "plan_mb": 10},
]


def explained(result: OptimizationResult, row: int = 0) -> Explanation:
    return explain(result.model, result.assignment, FinalPrices.of(result.certificate), row)


@pytest.mark.parametrize("seed", range(12))
def test_the_least_totals_of_all_sims_add_up_to_the_proven_bound(seed: int) -> None:
    fleet = random_case(seed, 40, 6)
    result = fleet.optimize(time_limit=0)
    total = Decimal(0)
    for row in range(40):
        found = explained(result, row)
        eligible = [plan for plan in found.plans if plan.is_eligible]
        assert [plan.total for plan in eligible] == sorted(plan.total for plan in eligible)
        assert all(plan.total == plan.own_cost + plan.data_cost + plan.change_cost for plan in found.plans)
        assert all(plan.data_cost == plan.price_per_mb * plan.above_allowance_mb for plan in found.plans)
        total += eligible[0].total if eligible else 0
    bound = (total * 10**6).to_integral_value(ROUND_CEILING)
    assert int(bound) == result.certificate.price_bound


def test_stored_prices_give_the_same_explanation_as_the_result() -> None:
    result = random_case(3, 60, 6).optimize(time_limit=0, max_changes=5)
    stored = json.loads(json.dumps(result.certificate.as_json()))
    prices = FinalPrices.from_json(stored)
    assert prices == FinalPrices.of(result.certificate)
    assert prices.change_price > 0
    for row in range(60):
        assert explain(result.model, result.assignment, prices, row) == explained(result, row)


def sentences(fleet: Case, **preference: object) -> tuple[str, ...]:
    return explained(fleet.optimize(**preference)).sentences


def test_a_sim_that_stays_shows_by_how_much_the_next_plan_costs_more() -> None:
    assert sentences(case([2], TWO_PLANS, current_rate_plan=[0])) == (
        "It stays on small.",
        "No plan is cheaper at the final prices; the next cheapest, large, costs 2.50 more.",
    )


def test_a_sim_that_moves_shows_the_saving() -> None:
    assert sentences(case([2], TWO_PLANS, current_rate_plan=[1]))[0] == (
        "It moves from large to small, which costs 2.50 less."
    )


def test_a_sim_that_must_move_shows_the_reason() -> None:
    retired = [{**TWO_PLANS[0], "is_retired": True}, TWO_PLANS[1]]
    assert sentences(case([2], retired, current_rate_plan=[0])) == (
        "It must move: small is retired; it is assigned large.",
        "No other plan is eligible.",
    )
    fleet = case([2], TWO_PLANS, allowed=[[0, 1]], current_rate_plan=[0])
    assert sentences(fleet)[0] == "It must move: small is not allowed by its communication plan; it is assigned large."
    plans = explained(fleet.optimize()).plans
    assert [(plan.rate_plan, plan.is_eligible, plan.is_current) for plan in plans] == [
        ("large", True, False),
        ("small", False, True),
    ]


def test_an_unknown_current_plan_is_named_as_such() -> None:
    assert sentences(case([2], TWO_PLANS))[0] == "Its current plan is unknown; it is assigned small."


def test_a_sim_without_an_eligible_plan_is_named_as_such() -> None:
    found = explained(case([2], TWO_PLANS, allowed=[[0, 0]], current_rate_plan=[0]).optimize())
    assert (found.from_rate_plan, found.to_rate_plan) == ("small", None)
    assert found.sentences == (
        "No rate plan is eligible: the SIM keeps its plan and is excluded from the bill and the bound.",
    )


def test_where_costs_at_the_prices_are_equal_the_rounding_to_whole_blocks_decides() -> None:
    result = case([4] * 10, POOLED, current_rate_plan=[0] * 10).optimize()
    found = [explained(result, row) for row in range(10)]
    assert sorted(one.to_rate_plan or "" for one in found) == ["plan 0"] * 6 + ["plan 1"] * 4
    for one in found:
        assert " costs the same as " in one.sentences[1]
        assert one.plans[0].total == one.plans[1].total == Decimal("1.8")
    staying = next(one for one in found if one.to_rate_plan == "plan 0")
    moving = next(one for one in found if one.to_rate_plan == "plan 1")
    assert (
        staying.sentences[2]
        == "The price of data in pool p is 0.20 per MB: the SIM uses 4.00 MB above its allowance, at 0.80."
    )
    assert moving.sentences[2] == (
        "The price of data in pool p is 0.20 per MB: the SIM leaves 6.00 MB to other SIMs, worth 1.20."
    )


def test_a_pool_with_spare_data_has_a_price_of_zero() -> None:
    found = sentences(case([1, 1], [{"rate_charge": 1, "plan_mb": 100, "pool": "p"}], current_rate_plan=[0, 0]))
    assert found[2] == "The price of data in pool p is 0: the pool has enough for all of its SIMs."


def test_a_change_that_saves_too_little_is_explained_by_the_price_per_change() -> None:
    found = sentences(case([2], TWO_PLANS, current_rate_plan=[1]), min_saving_per_change=3)
    assert found == ("It stays on large.", "small would save 2.50, less than the price per change of 3.00.")
    moved = explained(case([2], TWO_PLANS, current_rate_plan=[1]).optimize(min_saving_per_change=2))
    assert moved.sentences[0] == "It moves from large to small, which costs 2.50 less (the price per change is 2.00)."


def test_where_whole_blocks_outweigh_the_prices_the_explanation_names_them() -> None:
    # 3 SIMs of 4 MB and blocks of 10 MB for 2: on the free plan they pay 2 blocks; one SIM on plan 1 for 1.9 saves one.
    plans = [
        {"rate_charge": 0, "plan_mb": 0, "overage_rate": 2, "data_per_overage_charge": 10, "pool": "p"},
        {"rate_charge": "1.9", "plan_mb": 4, "overage_rate": 2, "data_per_overage_charge": 10, "pool": "p"},
    ]
    result = case([4] * 3, plans, current_rate_plan=[0] * 3).optimize()
    assert (result.total_cost, result.status) == (3_900_000, "optimal")
    moved = explained(result, int(np.argmax(result.assignment)))
    assert moved.sentences[:2] == (
        "It moves from plan 0 to plan 1.",
        "At the final prices plan 0 would cost 1.10 less. plan 1 is cheaper for the fleet as a whole, because overage "
        "is billed in whole blocks or changes are limited.",
    )


def test_displayed_numbers_are_rounded_half_up_and_never_to_zero() -> None:
    values = {"1.5": "1.50", "1.0000005": "1.000001", "0.0000001": "less than 0.000001", "0": "0.00", "-2.25": "-2.25"}
    assert {value: decimal_text(Decimal(value)) for value in values} == values
    assert decimal_text(Decimal("0.009570654"), places=9) == "0.009570654"


def test_the_explanation_has_usage_days_and_messages_of_the_sim() -> None:
    found = explained(case([2], TWO_PLANS, sms_usage=np.array([7])).optimize())
    assert (found.usage_mb, found.sms_usage, found.billed_days) == (Decimal("2.000000"), 7, 30)
