"""The usage at which another plan is better: figures by hand, and that the search finds the nearest such usage."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.optimization.break_even import MICRO, BreakEven, UsageCost, break_even

SMALL = UsageCost(Decimal(2), allowance=Decimal(100), block=Decimal(50), block_price=Decimal(3))
"""100 MB for 2.00, then 3.00 per 50 MB."""
LARGE = UsageCost(Decimal(12), allowance=Decimal(500), block=Decimal(50), block_price=Decimal(3))
POOLED = UsageCost(Decimal(4) - Decimal(200) * Decimal("0.01"), price_per_mb=Decimal("0.01"))
"""4.00 with 200 MB in a pool whose data is worth 0.01 per MB."""


def test_a_larger_plan_is_better_from_the_block_on_that_makes_the_difference() -> None:
    # The 4th block, above 100 + 3 x 50 MB, makes the small plan cost 2 + 12 = 14.
    assert break_even(SMALL, LARGE, forecast=Decimal(80)) == BreakEven(Decimal(250), None)


def test_a_smaller_plan_is_better_up_to_the_end_of_the_last_block_that_is_worth_it() -> None:
    found = break_even(LARGE, SMALL, forecast=Decimal(400))
    assert found == BreakEven(None, Decimal(250))
    assert break_even(LARGE, SMALL, forecast=Decimal(400), used=Decimal(251)) == BreakEven(None, None)


def test_a_pooled_plan_is_better_between_the_usages_at_which_the_lines_cross() -> None:
    # The pooled plan costs 2 + 0.01 x usage: it is never better within the allowance, and always above it.
    assert break_even(SMALL, POOLED, forecast=Decimal(60)) == BreakEven(Decimal(100), None)
    # The large plan costs 12 up to 500 MB, the pooled one 12 at 1,000 MB; then blocks of 3.00 cost 0.06 per MB.
    assert break_even(POOLED, LARGE, forecast=Decimal(300)).above is None


def test_a_straight_line_crosses_a_constant_where_they_are_equal() -> None:
    flat = UsageCost(Decimal(12), allowance=Decimal(5000), block=Decimal(1), block_price=Decimal(1))
    found = break_even(POOLED, flat, forecast=Decimal(300))
    assert found == BreakEven(Decimal(1000), None)
    assert POOLED.at(Decimal(1000)) == flat.at(Decimal(1000))


def test_two_plans_of_one_pool_never_change_places() -> None:
    dearer = UsageCost(POOLED.fixed + 1, price_per_mb=POOLED.price_per_mb)
    assert break_even(POOLED, dearer, forecast=Decimal(10)) == BreakEven(None, None)


def test_a_plan_that_is_cheaper_at_the_forecast_is_said_to_be_so() -> None:
    assert break_even(LARGE, SMALL, forecast=Decimal(40)) == BreakEven(None, None, is_better_now=True)


@pytest.mark.parametrize("block", ["0.01", "0.000001"])
def test_small_blocks_are_crossed_where_a_straight_line_would_be(block: str) -> None:
    tiny = UsageCost(Decimal(2), allowance=Decimal(10), block=Decimal(block), block_price=Decimal(block) / 2)
    flat = UsageCost(Decimal(102), allowance=Decimal(10**6), block=Decimal(1), block_price=Decimal(1))
    assert break_even(tiny, flat, forecast=Decimal(5)).above == pytest.approx(Decimal(210), abs=Decimal("0.02"))


amounts = st.integers(0, 400).map(lambda cents: Decimal(cents) / 20)
costs = st.builds(
    UsageCost,
    fixed=amounts,
    allowance=st.integers(0, 60).map(Decimal),
    block=st.integers(1, 20).map(Decimal),
    block_price=st.integers(1, 100).map(lambda cents: Decimal(cents) / 20),
) | st.builds(UsageCost, fixed=amounts, price_per_mb=st.integers(0, 20).map(lambda cents: Decimal(cents) / 100))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(costs, costs, st.integers(0, 120), st.integers(0, 60))
def test_the_usage_found_is_the_nearest_one_at_which_the_other_plan_is_cheaper(
    chosen: UsageCost, other: UsageCost, forecast: int, used: int
) -> None:
    start, so_far = Decimal(max(forecast, used)), Decimal(used)
    found = break_even(chosen, other, forecast=start, used=so_far)
    grid = [Decimal(tenths) / 10 for tenths in range(int(so_far * 10), 3000)]
    better = [usage for usage in grid if other.at(usage) < chosen.at(usage)]
    if found.is_better_now:
        assert start in better
        return
    above = [usage for usage in better if usage > start]
    below = [usage for usage in better if usage < start]
    if found.above is None:
        assert not above
    else:
        assert not above or found.above <= above[0]
        assert other.at(found.above + 2 * MICRO) < chosen.at(found.above + 2 * MICRO)
        assert not [usage for usage in better if start < usage < found.above]
    if found.below is None:
        assert not below
    else:
        assert so_far <= found.below
        assert other.at(found.below) < chosen.at(found.below)
        assert not [usage for usage in better if found.below + MICRO < usage < start]
