"""The comparison of forecasts by what their plans cost: its fleets, and that knowing the distribution helps."""

from __future__ import annotations

import numpy as np
import pytest

from bench.forecast import METHODS, ForecastCase, forecasts, outcomes, table
from bench.forecast_fleets import BEFORE, DAYS, GENERATORS, PRICE_LISTS


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_same_seed_gives_the_same_fleet_and_another_number_another_future(generator: str) -> None:
    fleet, again = (GENERATORS[generator](3, 40) for _ in range(2))
    assert (fleet.megabytes == again.megabytes).all()
    cut = DAYS - 5
    futures = [fleet.again(cut, number) for number in range(3)]
    assert all(future.shape == (40, 5) for future in futures)
    assert (futures[0] == again.again(cut, 0)).all()
    assert (futures[0] != futures[1]).any()


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_futures_of_a_fleet_are_like_what_came(generator: str) -> None:
    came, futures = 0.0, 0.0
    for seed in range(1, 7):
        fleet = GENERATORS[generator](seed, 400)
        came += fleet.megabytes[:, DAYS - 7 :].sum()
        futures += np.mean([fleet.again(DAYS - 7, number).sum() for number in range(6)])
    assert futures == pytest.approx(came, rel=0.15)


def test_late_counters_are_read_on_a_later_day_but_never_lost() -> None:
    fleet = GENERATORS["adversarial"](2, 100)
    assert (fleet.seen != fleet.megabytes).any()
    assert fleet.seen.sum(axis=1) == pytest.approx(fleet.megabytes.sum(axis=1))


def test_every_method_has_a_loss_for_every_price_list_and_a_line_in_the_table() -> None:
    found = outcomes("studies", 1, 5, count=210, scenarios=8)
    assert {(one.method, one.price_list) for one in found} == {(m, p) for m in METHODS for p in PRICE_LISTS}
    assert min(one.loss for one in found) >= -1e-3
    assert found == outcomes("studies", 1, 5, count=210, scenarios=8)
    assert len(table(found)) == 2 + len(PRICE_LISTS) + 2


def test_the_point_forecast_and_the_means_of_the_scenarios_are_close() -> None:
    fleet = GENERATORS["projection"](1, 300)
    point, usages = forecasts(ForecastCase.of(fleet, 5), 1, 32)
    real = fleet.megabytes[:, BEFORE:].sum() * 1e6
    totals = [point.sum(), *(usage.mean(axis=1).sum() for usage in usages.values())]
    assert np.array(totals) / real == pytest.approx(1, abs=0.1)


def test_scenarios_choose_cheaper_plans_than_the_point_forecast_on_the_mean_of_the_generators() -> None:
    found = [one for name in GENERATORS for seed in (11, 12, 13) for one in outcomes(name, seed, 3, count=250)]
    loss = {method: np.mean([one.loss for one in found if one.method == method]) for method in METHODS}
    assert loss["known"] < loss["pooled"] < loss["point"]


def test_the_interval_of_the_bill_holds_nine_bills_in_ten_on_fleets_that_it_was_not_tuned_on() -> None:
    cases = [(name, seed) for name in GENERATORS for seed in range(501, 508)]
    found = [one for name, seed in cases for one in outcomes(name, seed, 5, count=220, methods=["pooled"])]
    assert 0.8 <= np.mean([bool(one.is_covered) for one in found]) <= 0.98
    assert abs(np.mean([one.expected for one in found])) < 0.03
