"""When an optimization session is due: days to the end, local hour, daylight saving, month and year ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from amop.runs.session_window import days_until_period_end, optimization_is_due

NEW_YORK, UTC_ZONE, TOKYO, AUCKLAND = "America/New_York", "UTC", "Asia/Tokyo", "Pacific/Auckland"


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("now", "cycle_end", "zone", "start_hour", "is_due"),
    [
        # Fewer than 8 local dates to the end.
        ("2026-11-10 23:59", "2026-11-18 18:00", NEW_YORK, 0, False),
        ("2026-11-11 00:00", "2026-11-18 18:00", NEW_YORK, 0, True),
        ("2026-11-12 12:00", "2026-11-18 18:00", NEW_YORK, 0, True),
        ("2026-10-19 12:00", "2026-11-18 18:00", NEW_YORK, 0, False),
        # The last day, until the end and not after it.
        ("2026-11-18 00:00", "2026-11-18 18:00", NEW_YORK, 0, True),
        ("2026-11-18 17:59:59.999999", "2026-11-18 18:00", NEW_YORK, 0, True),
        ("2026-11-18 18:00", "2026-11-18 18:00", NEW_YORK, 0, False),
        ("2026-11-18 23:59", "2026-11-18 18:00", NEW_YORK, 0, False),
        ("2026-11-19 00:00", "2026-11-18 18:00", NEW_YORK, 0, False),
        # The start hour is local.
        ("2026-11-15 05:59:59", "2026-11-18 18:00", NEW_YORK, 6, False),
        ("2026-11-15 06:00", "2026-11-18 18:00", NEW_YORK, 6, True),
        ("2026-11-15 23:59", "2026-11-18 18:00", NEW_YORK, 23, True),
        ("2026-11-18 17:00", "2026-11-18 18:00", NEW_YORK, 18, False),  # on the last day it is too late
        # Dates are local: in UTC both lines would be a day further.
        ("2026-11-10 19:30", "2026-11-18 18:00", NEW_YORK, 0, False),
        ("2026-11-17 22:00", "2026-11-18 18:00", NEW_YORK, 22, True),
        ("2026-11-11 08:30", "2026-11-18 18:00", TOKYO, 8, True),
        ("2026-11-10 23:30", "2026-11-18 06:00", TOKYO, 0, False),
        # The month and the year change inside the window; periods that end on day 1 to 7.
        ("2026-10-24 12:00", "2026-11-01 06:00", UTC_ZONE, 0, False),
        ("2026-10-25 00:00", "2026-11-01 06:00", UTC_ZONE, 0, True),
        ("2026-10-31 23:59", "2026-11-01 06:00", UTC_ZONE, 0, True),
        ("2026-02-22 00:00", "2026-03-01 00:00", UTC_ZONE, 0, True),
        ("2026-02-21 23:59", "2026-03-01 00:00", UTC_ZONE, 0, False),
        ("2028-02-22 12:00", "2028-03-01 00:00", UTC_ZONE, 0, False),  # leap year: one date more
        ("2028-02-23 12:00", "2028-03-01 00:00", UTC_ZONE, 0, True),
        ("2026-12-27 12:00", "2027-01-03 18:00", UTC_ZONE, 0, True),
        ("2026-12-26 12:00", "2027-01-03 18:00", UTC_ZONE, 0, False),
        ("2026-12-31 23:59", "2027-01-03 18:00", AUCKLAND, 0, True),
        ("2026-02-28 10:00", "2026-02-28 18:00", UTC_ZONE, 10, True),
        # A period that ends at midnight ends as its date begins.
        ("2026-11-17 23:59", "2026-11-18 00:00", NEW_YORK, 0, True),
        ("2026-11-18 00:00", "2026-11-18 00:00", NEW_YORK, 0, False),
        # Daylight saving begins (8 March) and ends (1 November) inside the window: dates count, not hours.
        ("2026-03-02 00:00", "2026-03-09 23:00", NEW_YORK, 0, True),
        ("2026-03-01 23:59", "2026-03-09 23:00", NEW_YORK, 0, False),
        ("2026-10-26 00:00", "2026-11-02 23:00", NEW_YORK, 0, True),
        ("2026-10-25 23:59", "2026-11-02 00:00", NEW_YORK, 0, False),
        ("2026-03-08 01:59", "2026-03-09 18:00", NEW_YORK, 2, False),
        ("2026-03-08 03:00", "2026-03-09 18:00", NEW_YORK, 2, True),  # 02:00 never came: 03:00 is past it
        ("2026-09-27 03:30", "2026-10-01 18:00", AUCKLAND, 3, True),
    ],
)
def test_a_session_is_due_near_the_end_from_the_start_hour_on(
    now: str, cycle_end: str, zone: str, start_hour: int, is_due: bool
) -> None:
    moment, end = local(now, zone), local(cycle_end, zone)
    arguments: dict[str, Any] = {"time_zone": zone, "optimization_start_hour_local": start_hour}
    assert optimization_is_due(moment, cycle_end=end, **arguments) is is_due
    # The zone in which the two are written makes no difference.
    assert optimization_is_due(moment.astimezone(UTC), cycle_end=end.astimezone(UTC), **arguments) is is_due


@pytest.mark.parametrize(("fold", "hour"), [(0, 1), (1, 1)])
def test_the_hour_that_comes_twice_counts_both_times(fold: int, hour: int) -> None:
    now = datetime(2026, 11, 1, hour, 30, tzinfo=ZoneInfo(NEW_YORK), fold=fold)
    end = local("2026-11-02 18:00", NEW_YORK)
    assert optimization_is_due(now, cycle_end=end, time_zone=NEW_YORK, optimization_start_hour_local=1)
    assert not optimization_is_due(now, cycle_end=end, time_zone=NEW_YORK, optimization_start_hour_local=2)


@pytest.mark.parametrize(
    ("now", "days"),
    [
        ("2026-11-18 23:59", 0),
        ("2026-11-17 00:00", 1),
        ("2026-11-10 12:00", 8),
        ("2026-11-19 00:00", -1),
        ("2026-10-31 23:59", 18),
    ],
)
def test_days_until_the_end_are_dates_apart(now: str, days: int) -> None:
    end = local("2026-11-18 18:00", NEW_YORK)
    assert days_until_period_end(local(now, NEW_YORK), cycle_end=end, time_zone=NEW_YORK) == days


@pytest.mark.parametrize("hour", [-1, 24])
def test_a_start_hour_that_no_day_has_is_refused(hour: int) -> None:
    moment = local("2026-11-18 12:00", NEW_YORK)
    with pytest.raises(ValueError, match=f"optimization_start_hour_local {hour} is not 0 to 23"):
        optimization_is_due(moment, cycle_end=moment, time_zone=NEW_YORK, optimization_start_hour_local=hour)


def test_a_time_without_zone_is_refused() -> None:
    naive = datetime(2026, 11, 18)  # noqa: DTZ001
    with pytest.raises(ValueError, match="need a time zone"):
        optimization_is_due(
            naive,
            cycle_end=local("2026-11-18 18:00", NEW_YORK),
            time_zone=NEW_YORK,
            optimization_start_hour_local=0,
        )
