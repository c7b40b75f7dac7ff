"""The charts of a view as data: usage by day with the forecast of the remaining days, and cumulative savings."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from amop.page.time_series import MEGABYTE, DayUsage, savings_chart, usage_chart, usage_with_forecast

USED = {date(2026, 11, 2): 3 * MEGABYTE, date(2026, 11, 1): 2 * MEGABYTE}
CYCLE: dict[str, Any] = {
    "used_so_far": 6 * MEGABYTE,  # 1 MB was used on a day without a reading
    "forecast_mb": Decimal(18),
    "now": datetime(2026, 11, 25, 12, tzinfo=UTC),
    "cycle_end": datetime(2026, 11, 28, 23, tzinfo=UTC),  # the 28th in New York
    "time_zone": "America/New_York",
}
MEASURED = [DayUsage(date(2026, 11, 1), 2 * MEGABYTE), DayUsage(date(2026, 11, 2), 3 * MEGABYTE)]


def test_the_rest_of_the_forecast_is_spread_over_the_remaining_days() -> None:
    days = usage_with_forecast(USED, **CYCLE)
    assert days == [*MEASURED, *(DayUsage(date(2026, 11, day), 3 * MEGABYTE, True) for day in (25, 26, 27, 28))]


def test_a_day_with_a_reading_is_no_forecast() -> None:
    days = usage_with_forecast(USED | {date(2026, 11, 25): 0}, **CYCLE)
    assert [day.day.day for day in days if day.is_forecast] == [26, 27, 28]


def test_nothing_is_forecast_without_a_forecast_after_the_cycle_or_beyond_it() -> None:
    for without in (
        {"forecast_mb": None},
        {"cycle_end": None},
        {"now": datetime(2026, 11, 29, 6, tzinfo=UTC)},
        {"forecast_mb": Decimal(6)},
        {"now": datetime(2026, 1, 1, tzinfo=UTC)},
    ):
        assert usage_with_forecast(USED, **(CYCLE | without)) == MEASURED, without


def test_the_chart_of_usage_has_a_series_for_the_measured_and_one_for_the_forecast_days() -> None:
    chart = usage_chart(usage_with_forecast(USED, **CYCLE))
    assert chart is not None
    found = json.loads(chart.json)
    assert (found["unit"], found["moments"][0]) == ("MB", int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()))
    assert found["series"][0]["values"] == [2.0, 3.0, None, None, None, None]
    assert found["series"][1]["values"] == [None, None, 3.0, 3.0, 3.0, 3.0]
    assert usage_chart([]) is None


def test_the_chart_of_savings_is_cumulative_and_needs_two_periods() -> None:
    first, second = date(2026, 9, 1), date(2026, 10, 1)
    chart = savings_chart("CAD", {first: Decimal("10.005"), second: Decimal(5)}, {second: Decimal("4.5")})
    assert chart is not None
    assert [series.values for series in chart.series] == [[10.0, 15.0], [0.0, 4.5]]
    assert savings_chart("CAD", {first: Decimal(1)}, {first: Decimal(1)}) is None
