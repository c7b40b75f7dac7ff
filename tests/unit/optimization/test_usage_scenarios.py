"""Scenarios of the usage from the daily history: what they keep of the past, and what a forecast cannot know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amop.optimization.usage_rates import DailyUsage, Remaining
from amop.optimization.usage_scenarios import estimate_spread, interval_scenarios, simulate_usage, student_quantiles

MB = 1_000_000
DAYS = 28
WEEKDAYS = np.arange(DAYS) % 7


def history_of(megabytes: np.ndarray, first_day: np.ndarray | None = None) -> DailyUsage:
    count = len(megabytes)
    return DailyUsage(
        usage=np.rint(megabytes * MB).astype(np.int64),
        length=np.ones(megabytes.shape[1]),
        weekday=WEEKDAYS[: megabytes.shape[1]],
        first_day=np.zeros(count, dtype=np.int64) if first_day is None else first_day,
    )


def week(days: int = 7) -> Remaining:
    return Remaining(np.ones(days), np.arange(days) % 7)


def simulate(history: DailyUsage, remaining: Remaining, **options: Any) -> np.ndarray:
    used = np.zeros(len(history.usage), dtype=np.int64)
    return simulate_usage(history, used, remaining, **options) / MB


def steady_fleet(count: int = 200, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 1, (count, 1)) * rng.lognormal(-0.005, 0.1, (count, DAYS))


def test_a_period_that_is_over_has_the_usage_so_far_in_every_scenario() -> None:
    used = np.array([5 * MB, 7])
    found = simulate_usage(history_of(np.ones((2, DAYS))), used, week(0), count=3)
    assert found.tolist() == [[5 * MB] * 3, [7] * 3]


def test_a_fleet_without_sims_has_no_scenarios() -> None:
    assert simulate(history_of(np.zeros((0, DAYS))), week(), count=4).shape == (0, 4)


def test_the_same_history_gives_the_same_scenarios_and_another_seed_others() -> None:
    history = history_of(steady_fleet())
    first = simulate(history, week())
    assert (first == simulate(history, week())).all()
    assert (first != simulate(history, week(), seed=2)).any()


def test_steady_sims_go_on_like_that_with_a_small_spread() -> None:
    megabytes = steady_fleet()
    found = simulate(history_of(megabytes), week())
    level = megabytes[:, -14:].mean(axis=1)
    assert np.median(np.abs(found.mean(axis=1) / (7 * level) - 1)) < 0.05
    assert 0.02 < np.median(found.std(axis=1) / found.mean(axis=1)) < 0.15


def test_a_sim_that_reports_on_one_weekday_uses_data_only_on_that_weekday() -> None:
    megabytes = steady_fleet() * np.where(WEEKDAYS == 2, 7.0, 0.0)
    on_it = simulate(history_of(megabytes), Remaining(np.ones(1), np.array([2])))
    beside = simulate(history_of(megabytes), Remaining(np.ones(1), np.array([3])))
    assert beside.sum() < 0.08 * on_it.sum()


def test_a_burst_of_the_whole_fleet_on_one_day_is_one_of_its_scenarios() -> None:
    calm = steady_fleet(400)
    bursts = calm * np.where(np.isin(np.arange(DAYS), [5, 16]), 5.0, 1.0)
    spread = [float(np.std(simulate(history_of(m), week(2)).sum(axis=0)) / m.sum() * DAYS) for m in (calm, bursts)]
    assert spread[1] > 5 * spread[0]


def test_a_daily_sim_that_has_been_silent_for_days_is_expected_to_use_little() -> None:
    megabytes = steady_fleet()
    megabytes[:20, -5:] = 0.0
    found = simulate(history_of(megabytes), week()).mean(axis=1) / megabytes[:, :20].mean(axis=1)
    assert found[:20].mean() < 0.1 * found[20:].mean()


def test_an_irregular_sim_is_not_taken_for_a_silent_one() -> None:
    rng = np.random.default_rng(3)
    megabytes = steady_fleet()
    megabytes[:50] = 10 * (rng.random((50, DAYS)) < 0.2)
    megabytes[:50, -4:] = 0
    found = simulate(history_of(megabytes), week())[:50]
    assert found.mean() > 0.5 * 7 * megabytes[:50, -14:].mean()


def test_days_before_the_activation_do_not_count() -> None:
    megabytes = steady_fleet()
    megabytes[0] = [0.0] * 20 + [3.0] * 8
    first_day = np.zeros(200, dtype=np.int64)
    first_day[0] = 20
    found = simulate(history_of(megabytes, first_day), week())
    assert found[0].mean() == pytest.approx(21, rel=0.15)


def test_the_hazard_and_the_drift_are_those_of_the_fleets_past() -> None:
    steady = steady_fleet(600)
    stopping = steady.copy()
    stopping[:60, 22:] = 0.0
    walk = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.12, steady.shape), axis=1))
    assert estimate_spread(history_of(stopping)).hazard > 3 * estimate_spread(history_of(steady)).hazard
    drifting, calm = (estimate_spread(history_of(m)).drift.max() for m in (steady * walk, steady))
    assert drifting > 0.2 > calm


def test_a_short_history_has_scenarios_too() -> None:
    found = simulate(history_of(steady_fleet(30)[:, :4]), week())
    assert (found > 0).mean() > 0.98  # a few may stop
    assert found.std(axis=1).mean() > 0


def test_sims_of_the_second_chunk_are_simulated_as_those_of_the_first() -> None:
    megabytes = np.repeat(steady_fleet(100), 170, axis=0)
    found = simulate(history_of(megabytes), week(2), count=8)
    assert found[:16_000].mean() / megabytes[:16_000].mean() == pytest.approx(
        found[-600:].mean() / megabytes[-600:].mean(), rel=0.03
    )


def interval_of(history: DailyUsage, remaining: Remaining, seed: int = 1) -> np.ndarray:
    used = np.zeros(len(history.usage), dtype=np.int64)
    return np.concatenate(list(interval_scenarios(history, used, remaining, seed=seed)), axis=1) / MB


def test_the_interval_has_99_other_scenarios_that_vary_more_than_those_that_choose_the_plans() -> None:
    history = history_of(steady_fleet(400))
    chosen, interval = simulate(history, week()), interval_of(history, week())
    assert interval.shape == (400, 99)
    assert len(np.unique(interval.sum(axis=0))) == 99
    assert interval.sum(axis=0).std() > 1.5 * chosen.sum(axis=0).std()
    assert interval.mean() == pytest.approx(chosen.mean(), rel=0.02)
    assert (interval == interval_of(history, week())).all()
    assert (interval != interval_of(history, week(), seed=2)).any()


def test_a_single_day_is_relatively_less_certain_than_a_week() -> None:
    history = history_of(steady_fleet(400))
    totals = [interval_of(history, week(days)).sum(axis=0) for days in (1, 7)]
    spread = [total.std() / total.mean() for total in totals]
    assert spread[0] > 1.5 * spread[1]


def test_a_fleet_whose_past_weeks_differed_has_a_wider_interval() -> None:
    calm = steady_fleet(400)
    restless = calm * np.repeat([1.0, 1.0, 1.6, 0.7], 7)
    spread = [estimate_spread(history_of(megabytes)).fleet_of_interval for megabytes in (calm, restless)]
    assert spread[1] > 1.5 * spread[0]


def test_the_common_factor_has_the_quantiles_of_a_student_distribution_with_4_degrees_of_freedom() -> None:
    # Tables: 2.1318 at 95 %, 3.7469 at 99 %: the last of 10 and of 50 middles of equal shares.
    assert student_quantiles(10)[-1] == pytest.approx(2.1318, abs=1e-4)
    assert student_quantiles(50)[-1] == pytest.approx(3.7469, abs=1e-4)
    found = student_quantiles(99)
    assert found == pytest.approx(-found[::-1])
    assert found[49] == pytest.approx(0, abs=1e-6)
