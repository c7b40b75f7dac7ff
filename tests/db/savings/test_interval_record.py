"""Whether the bill came true: the interval of an instance against the real usage, and the provider's record of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from amop.database.connection import connect
from amop.optimization.rows import IntervalRecord
from amop.optimization.store.record import interval_record
from amop.page.savings import read_savings
from amop.savings.realised import measure_provider
from tests.db.optimization.test_expected_bill import filled, optimized
from tests.worlds.history_world import AS_OF, ONE_DAY, History
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, MEGABYTE

LATER = CYCLE_END + timedelta(hours=10)


def measured(world: History, mb_a_day: float) -> dict[str, Any]:
    """Let the SIMs use megabytes on each day until the period closes, measure it, and return the row."""
    left = (CYCLE_END - AS_OF) / ONE_DAY
    world.execute(
        "INSERT INTO amop.device_usage (device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage)"
        " SELECT id, %s, %s, %s, 0, 0 FROM amop.device",
        (CYCLE_END - ONE_DAY).date(),
        world.billing_period_id,
        round(mb_a_day * left * MEGABYTE),
    )
    next_id = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=12,
        cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + 30 * ONE_DAY,
    )
    world.insert(
        "device_sync_run",
        service_provider_id=1,
        dag_id="device_sync_jasper",
        dag_run_id="next",
        status="complete",
        billing_period_id=next_id,
        is_full=True,
        usage_as_of=CYCLE_END + timedelta(hours=5),
        usage_merged_at=CYCLE_END + timedelta(hours=5),
    )
    assert measure_provider(world.dsn, 1, now=LATER) == {"measured": 1}
    (row,) = world.execute("SELECT * FROM amop.realised_saving")
    return row


@pytest.mark.parametrize(("mb_a_day", "holds"), [(1.1, True), (500.0, False)])
def test_a_bill_within_the_stated_interval_is_a_hit_and_any_other_is_none(
    warehouse_dsn: str, mb_a_day: float, holds: bool
) -> None:
    world = filled(warehouse_dsn, projection_method="scenarios")
    instance = optimized(world)
    row = measured(world, mb_a_day)
    low, high = instance["cost_5_percent"], instance["cost_95_percent"]
    assert row["is_within_interval"] is (low <= row["solved_plans_cost"] <= high) is holds
    with connect(world.dsn) as connection:
        (shown,) = read_savings(connection, integrations=["jasper"], order=None).table.rows
        assert shown.is_within_interval is holds
        found = interval_record(connection, service_provider_id=1, ends_after=CYCLE_START)
        later = interval_record(connection, service_provider_id=1, ends_after=CYCLE_END)
    assert found == IntervalRecord(periods=1, held=int(holds))
    assert later == IntervalRecord(periods=0, held=0)


def test_an_instance_of_the_point_forecast_states_no_interval(warehouse_dsn: str) -> None:
    world = filled(warehouse_dsn)
    optimized(world)
    row = measured(world, 2.0)
    assert (row["solved_plans_cost"], row["is_within_interval"]) == (None, None)


@pytest.mark.parametrize(("record", "falls_back"), [((4, 1), True), ((4, 2), False), ((3, 0), False), ((12, 5), True)])
def test_a_provider_whose_bills_were_mostly_outside_falls_back_to_the_point_forecast(
    warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, record: tuple[int, int], falls_back: bool
) -> None:
    monkeypatch.setattr("amop.optimization.solve.read_record", lambda *_: IntervalRecord(*record))
    instance = optimized(filled(warehouse_dsn, projection_method="scenarios"))
    assert (instance["expected_cost"] is None) is falls_back
    warning = f"the interval of the bill held {record[1]} of the last {record[0]} bills"
    assert (warning in (instance["warning"] or "")) is falls_back
