"""Time series as data for the chart of a view: what a script draws in place of the picture of the server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

MEGABYTE = 1_048_576
LONGEST_CYCLE = timedelta(days=100)
"""A forecast is drawn for no longer than this."""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one kind, one for each moment; None where there is none."""

    name: str
    values: list[float | None]
    shape: Literal["bars", "line"]
    is_forecast: bool


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """What one chart shows."""

    unit: str
    """MB, or the currency."""
    is_monthly: bool
    moments: list[int]
    """Seconds since 1970, ascending."""
    series: list[Series]

    @property
    def json(self) -> str:
        """The chart as JSON, for the attribute ``data-chart``."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class DayUsage:
    """Data of a day in bytes, measured or forecast."""

    day: date
    amount: int
    is_forecast: bool = False


def usage_with_forecast(
    used: Mapping[date, int],
    *,
    used_so_far: int,
    forecast_mb: Decimal | None,
    now: datetime,
    cycle_end: datetime | None,
    time_zone: str,
) -> list[DayUsage]:
    """Return the usage of each day of a cycle, followed by the forecast of its remaining days in equal parts.

    Args:
        used: bytes by day.
        used_so_far: bytes of the cycle, the days without a reading included.
        forecast_mb: MB that are forecast for the whole cycle; None without a forecast.
        now: the present time.
        cycle_end: end of the cycle; None if it is unknown.
        time_zone: the provider's.
    """
    days = [DayUsage(day, amount) for day, amount in sorted(used.items())]
    if forecast_mb is None or cycle_end is None or cycle_end - now > LONGEST_CYCLE:
        return days
    zone = ZoneInfo(time_zone)
    last = (cycle_end - timedelta(microseconds=1)).astimezone(zone).date()
    today = now.astimezone(zone).date()
    begin = max([today, *(each.day + timedelta(days=1) for each in days)])
    count = (last - begin).days + 1
    rest = round(forecast_mb * MEGABYTE) - used_so_far
    if count < 1 or rest <= 0:
        return days
    return [*days, *(DayUsage(begin + timedelta(days=number), rest // count, True) for number in range(count))]


def usage_chart(days: Sequence[DayUsage]) -> TimeSeries | None:
    """Return the chart of usage by day, None without a day."""
    if not days:
        return None
    return TimeSeries(
        "MB",
        False,
        [_seconds(each.day) for each in days],
        [
            Series("Used", [None if each.is_forecast else _mb(each.amount) for each in days], "bars", False),
            Series("Forecast", [_mb(each.amount) if each.is_forecast else None for each in days], "bars", True),
        ],
    )


def savings_chart(
    currency: str, forecast: Mapping[date, Decimal], realised: Mapping[date, Decimal]
) -> TimeSeries | None:
    """Return the chart of cumulative savings by billing period, None with fewer than two periods."""
    months = sorted({*forecast, *realised})
    if len(months) < 2:
        return None
    return TimeSeries(
        currency,
        True,
        [_seconds(month) for month in months],
        [
            Series("Forecast, cumulative", _cumulative(forecast, months), "line", True),
            Series("Realised, cumulative", _cumulative(realised, months), "line", False),
        ],
    )


def _cumulative(amounts: Mapping[date, Decimal], months: Sequence[date]) -> list[float | None]:
    so_far, values = Decimal(0), list[float | None]()
    for month in months:
        so_far += amounts.get(month, Decimal(0))
        values.append(float(round(so_far, 2)))
    return values


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _mb(amount: int) -> float:
    return round(amount / MEGABYTE, 6)
