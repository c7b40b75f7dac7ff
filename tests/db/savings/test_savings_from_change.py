"""Realised savings where a plan change counts from its day or from the next period, worked out by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.db.savings.test_realised_savings import FINAL, LAST_READ, Period
from tests.worlds.optimization_world import CYCLE_START, MEGABYTE, NOW, money


@pytest.fixture
def period(warehouse_dsn: str) -> Period:
    return Period(warehouse_dsn, upgrade_effect="from_change", downgrade_effect="from_change")


def test_both_plans_are_billed_with_the_real_usage_of_their_days(period: Period) -> None:
    device_id = period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    # 15 of 31 days on Large, 16 on Small: 5 x 15/31 + 1 x 16/31.
    assert (instance["current_cost"], instance["total_cost"]) == (money("5"), money("2.935484"))
    period.apply("1", at=NOW + timedelta(days=3))  # 13 days are left
    for days, mb in ((0, 8), (3, 2)):
        period.insert_usage(device_id, mb * MEGABYTE, day=NOW + timedelta(days=days))
    period.close(sim_1=3)
    row = period.measure()[instance["id"]]
    # 13 MB are within Large's 100. From the day of the change on it were 5 MB, of which Small includes 10 x 13/31 =
    # 4.193548: one block. 5 x 18/31 + 1 x 13/31 + 1.
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("5"), money("4.322581"))
    assert (row["realised_saving"], row["forecast_saving"]) == (money("0.677419"), money("2.064516"))
    assert row["applied_changes"] == 1


def test_plans_that_were_left_before_the_optimization_are_in_both_bills(period: Period) -> None:
    device_id = period.add_sim("1", "Tracking", "Large", 30, **FINAL)
    period.insert_usage(device_id, 30 * MEGABYTE, day=CYCLE_START + timedelta(days=1))
    first = period.optimize()
    assert first["savings"] == money("2.064516")  # the 30 MB stay within the 48.387096 MB of 15 days on Large
    period.apply("1", at=NOW)
    period.execute("UPDATE amop.device SET rate_plan = 'Small'")
    second = period.optimize(opened_by="carrier_optimization_jasper/again")
    assert second["current_cost"] == second["total_cost"] == money("2.935484")
    period.close(sim_1=4)
    rows = period.measure()
    assert rows[first["id"]]["realised_saving"] == money("2.064516")
    assert rows[second["id"]]["old_plans_cost"] == rows[second["id"]]["applied_plans_cost"] == money("2.935484")


def test_a_change_that_counts_from_the_next_period_has_saved_nothing(warehouse_dsn: str) -> None:
    period = Period(warehouse_dsn, downgrade_effect="next_cycle")
    device_id = period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.add_sim("2", "Tracking", "Small", 95, **FINAL)
    period.add_sim("3", "Tracking", "Small", 8, **FINAL)
    instance = period.optimize()
    assert instance["savings"] == money("81")  # 1 + 85 -> 5; Large to Small would save 4
    period.insert(
        "rate_plan_change",
        instance_id=instance["id"],
        device_id=device_id,
        from_rate_plan="Large",
        to_rate_plan="Small",
    )
    period.apply("1", "2")
    period.close(sim_1=8, sim_2=95, sim_3=8)
    row = period.measure()[instance["id"]]
    assert (row["applied_changes"], row["forecast_saving"], row["realised_saving"]) == (2, money("81"), money("81"))


def test_the_settings_of_the_optimization_count_not_those_of_the_measurement(period: Period) -> None:
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    instance = period.optimize()
    period.apply("1", at=LAST_READ)
    period.close(sim_1=8)
    period.execute("UPDATE amop.service_provider SET upgrade_effect = 'whole_cycle', downgrade_effect = 'whole_cycle'")
    row = period.measure()[instance["id"]]
    # One day on Small, on which the SIM used 8 MB of 10 / 31: 8 blocks; 5 x 30/31 + 1/31 + 8.
    assert (row["old_plans_cost"], row["applied_plans_cost"]) == (money("5"), money("12.870968"))
