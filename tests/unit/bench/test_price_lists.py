"""Random price lists: what a seed draws is a valid problem, and the bounds of the optimizer hold on all of them."""

from __future__ import annotations

import numpy as np
import pytest

from bench import price_lists
from bench.instances import PERIOD_DAYS

SEEDS = range(1, 41)


def test_the_same_seed_draws_the_same_price_list_and_another_one_another() -> None:
    first, again, other = (price_lists.random_instance(50, seed) for seed in (3, 3, 4))
    assert (first.devices.usage_micro_mb == again.devices.usage_micro_mb).all()
    assert (first.rate_plans.rate_charge == again.rate_plans.rate_charge).all()
    assert (
        first.rate_plans.code != other.rate_plans.code
        or (first.rate_plans.rate_charge != other.rate_plans.rate_charge).any()
    )


def test_the_seeds_draw_what_no_profile_has() -> None:
    lists = [price_lists.random_instance(200, seed) for seed in SEEDS]
    pools = {len(one.rate_plans.pool_name) for one in lists}
    blocks = np.concatenate([one.rate_plans.block_micro_mb for one in lists]) / 1e6
    assert min(pools) == 0 and max(pools) >= 5
    assert blocks.min() < 0.1 and 500 < blocks.max() <= 1024
    assert any((one.rate_plans.plan_micro_mb == 0).any() for one in lists)
    assert any((one.devices.usage_micro_mb == price_lists.LARGEST_SIM_MB * 1e6).any() for one in lists)
    for one in lists:
        assert (one.devices.days_active <= PERIOD_DAYS).all()


@pytest.mark.parametrize("first", range(1, 41, 10))
def test_the_bound_of_every_drawn_price_list_is_proved_and_below_its_bill(first: int) -> None:
    found = price_lists.measure(300, range(first, first + 10))  # verifies each certificate
    assert all(0 <= one.gap < 0.5 for one in found), found
    assert len(found) == 10
