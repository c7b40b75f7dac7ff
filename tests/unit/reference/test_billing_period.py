"""Billing periods: month lengths, year ends, daylight saving, and the days that a SIM is billed for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop.reference.billing_period import (
    BillingPeriod,
    billing_period_at,
    days_activated,
    days_in_period,
    is_activated_within,
)

NEW_YORK = "America/New_York"
SECOND_OF_1990, SECOND_OF_2090 = 631_152_000, 3_786_912_000
"""The first seconds of these years, UTC."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str, zone: str = NEW_YORK) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("moment", "end_day", "end_hour", "zone", "year", "month", "start", "end"),
    [
        # Plain: the default end, winter and summer offsets of New York.
        ("2026-11-20 12:00", 18, 18, NEW_YORK, 2026, 12, "2026-11-18 23:00", "2026-12-18 23:00"),
        ("2026-07-01 00:00", 18, 18, NEW_YORK, 2026, 7, "2026-06-18 22:00", "2026-07-18 22:00"),
        # Daylight saving ends or begins inside the cycle: the length is not a multiple of 24 hours.
        ("2026-11-01 12:00", 18, 18, NEW_YORK, 2026, 11, "2026-10-18 22:00", "2026-11-18 23:00"),
        ("2026-03-10 12:00", 18, 18, NEW_YORK, 2026, 3, "2026-02-18 23:00", "2026-03-18 22:00"),
        # The end belongs to the next period, the instant before it does not.
        ("2026-11-18 23:00", 18, 18, NEW_YORK, 2026, 12, "2026-11-18 23:00", "2026-12-18 23:00"),
        ("2026-11-18 22:59:59.999999", 18, 18, NEW_YORK, 2026, 11, "2026-10-18 22:00", "2026-11-18 23:00"),
        # The year changes.
        ("2026-12-31 23:59", 18, 18, "UTC", 2027, 1, "2026-12-18 18:00", "2027-01-18 18:00"),
        ("2027-01-01 00:00", 18, 18, "UTC", 2027, 1, "2026-12-18 18:00", "2027-01-18 18:00"),
        ("2026-01-05 00:00", 31, 23, "UTC", 2026, 1, "2025-12-31 23:00", "2026-01-31 23:00"),
        # The end day is clipped to the month's last day.
        ("2026-02-10 00:00", 31, 0, "UTC", 2026, 2, "2026-01-31 00:00", "2026-02-28 00:00"),
        ("2028-02-10 00:00", 31, 0, "UTC", 2028, 2, "2028-01-31 00:00", "2028-02-29 00:00"),
        ("2026-02-28 00:00", 31, 0, "UTC", 2026, 3, "2026-02-28 00:00", "2026-03-31 00:00"),
        ("2026-03-01 00:00", 30, 12, "UTC", 2026, 3, "2026-02-28 12:00", "2026-03-30 12:00"),
        ("2026-04-30 12:00", 31, 12, "UTC", 2026, 5, "2026-04-30 12:00", "2026-05-31 12:00"),
        # The bill month is the local one, also where UTC is in another month or year.
        ("2026-11-01 03:00", 31, 23, NEW_YORK, 2026, 11, "2026-11-01 03:00", "2026-12-01 04:00"),
        ("2026-11-01 02:59", 31, 23, NEW_YORK, 2026, 10, "2026-10-01 03:00", "2026-11-01 03:00"),
        ("2027-01-01 04:30", 1, 0, NEW_YORK, 2027, 1, "2026-12-01 05:00", "2027-01-01 05:00"),
        ("2026-12-31 15:00", 1, 0, "Asia/Tokyo", 2027, 2, "2026-12-31 15:00", "2027-01-31 15:00"),
        # Periods that end on day 1 to 7.
        ("2026-11-30 12:00", 1, 6, "UTC", 2026, 12, "2026-11-01 06:00", "2026-12-01 06:00"),
        ("2026-11-05 12:00", 5, 0, "Europe/Berlin", 2026, 12, "2026-11-04 23:00", "2026-12-04 23:00"),
        # 02:00 does not exist on 8 March 2026 in New York: the cycle ends at the jump, 07:00 UTC.
        ("2026-03-08 06:59:59", 8, 2, NEW_YORK, 2026, 3, "2026-02-08 07:00", "2026-03-08 07:00"),
        ("2026-03-08 07:00", 8, 2, NEW_YORK, 2026, 4, "2026-03-08 07:00", "2026-04-08 06:00"),
        # 01:00 comes twice on 1 November 2026 in New York: the cycle ends the first time, 05:00 UTC.
        ("2026-11-01 04:59:59", 1, 1, NEW_YORK, 2026, 11, "2026-10-01 05:00", "2026-11-01 05:00"),
        ("2026-11-01 05:30", 1, 1, NEW_YORK, 2026, 12, "2026-11-01 05:00", "2026-12-01 06:00"),
        ("2026-11-01 06:30", 1, 1, NEW_YORK, 2026, 12, "2026-11-01 05:00", "2026-12-01 06:00"),
        # Midnight does not exist on 6 September 2026 in Santiago (the clock goes from 24:00 to 01:00).
        ("2026-09-06 04:00", 6, 0, "America/Santiago", 2026, 10, "2026-09-06 04:00", "2026-10-06 03:00"),
        # Half-hour daylight saving: 02:00 becomes 02:30 on 4 October 2026 on Lord Howe Island.
        ("2026-10-03 15:30", 4, 2, "Australia/Lord_Howe", 2026, 11, "2026-10-03 15:30", "2026-11-03 15:00"),
        # Offsets that are no whole hours, and a zone on the other side of the date line.
        ("2026-11-18 12:15", 18, 18, "Asia/Kathmandu", 2026, 12, "2026-11-18 12:15", "2026-12-18 12:15"),
        ("2026-11-30 10:30", 1, 0, "Pacific/Kiritimati", 2027, 1, "2026-11-30 10:00", "2026-12-31 10:00"),
    ],
)
def test_a_moment_lies_in_the_period_of_its_provider(
    moment: str, end_day: int, end_hour: int, zone: str, year: int, month: int, start: str, end: str
) -> None:
    period = billing_period_at(utc(moment), end_day=end_day, end_hour=end_hour, time_zone=zone)
    assert period == BillingPeriod(year, month, utc(start), utc(end))
    assert period.cycle_start.tzinfo is UTC


@given(
    second=st.integers(SECOND_OF_1990, SECOND_OF_2090),
    end_day=st.integers(1, 31),
    end_hour=st.integers(0, 23),
    zone=st.sampled_from(
        [NEW_YORK, "UTC", "America/St_Johns", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe",
         "America/Santiago", "Africa/Cairo", "Asia/Beirut", "Pacific/Apia", "Pacific/Kiritimati"]
    ),
)  # fmt: skip
def test_periods_follow_each_other_without_gap_or_overlap(second: int, end_day: int, end_hour: int, zone: str) -> None:
    moment = datetime.fromtimestamp(second, UTC)
    settings: dict[str, Any] = {"end_day": end_day, "end_hour": end_hour, "time_zone": zone}
    period = billing_period_at(moment, **settings)
    assert period.cycle_start <= moment < period.cycle_end
    following = billing_period_at(period.cycle_end, **settings)
    assert following.cycle_start == period.cycle_end
    months = following.bill_year * 12 + following.bill_month - period.bill_year * 12 - period.bill_month
    assert months == 1
    before = billing_period_at(period.cycle_start - timedelta(microseconds=1), **settings)
    assert before.cycle_end == period.cycle_start


@given(second=st.integers(SECOND_OF_1990, SECOND_OF_2090), zone=st.timezones())
def test_the_zone_in_which_a_moment_is_written_does_not_matter(second: int, zone: ZoneInfo) -> None:
    moment = datetime.fromtimestamp(second, zone)
    settings: dict[str, Any] = {"end_day": 18, "end_hour": 18, "time_zone": NEW_YORK}
    assert billing_period_at(moment, **settings) == billing_period_at(moment.astimezone(UTC), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"end_day": 0}, "end_day 0 is not a day of the month"),
        ({"end_day": 32}, "end_day 32 is not a day of the month"),
        ({"end_hour": 24}, "end_hour 24 is not an hour of the day"),
        ({"end_hour": -1}, "end_hour -1 is not an hour of the day"),
        ({"time_zone": "America/New_Yorkk"}, "'America/New_Yorkk' is not an IANA time zone"),
        ({"time_zone": "America"}, "'America' is not an IANA time zone"),
        ({"time_zone": "../etc/passwd"}, "is not an IANA time zone"),
        ({"time_zone": ""}, "'' is not an IANA time zone"),
    ],
)
def test_settings_that_no_period_can_be_derived_from_are_refused(settings: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"end_day": 18, "end_hour": 18, "time_zone": "UTC"}
    with pytest.raises(ValueError, match=message):
        billing_period_at(utc("2026-11-20 12:00"), **(usual | settings))


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        billing_period_at(datetime(2026, 11, 20), end_day=18, end_hour=18, time_zone="UTC")  # noqa: DTZ001


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-10-18 18:00", "2026-11-18 18:00", 31),  # 745 hours: daylight saving ends
        ("2026-02-18 18:00", "2026-03-18 18:00", 28),  # 671 hours: it begins
        ("2026-11-18 18:00", "2026-12-18 18:00", 30),
        ("2028-02-18 18:00", "2028-03-18 18:00", 29),
        ("2026-01-31 23:00", "2026-02-28 23:00", 28),
    ],
)
def test_days_of_a_period_are_local_calendar_days(start: str, end: str, days: int) -> None:
    assert days_in_period(local(start), local(end), NEW_YORK) == days


START, END = local("2026-11-18 18:00"), local("2026-12-18 18:00")


@pytest.mark.parametrize(
    ("activated", "days", "is_within"),
    [
        (START, 30, True),
        (START + timedelta(microseconds=1), 30, True),
        (START + timedelta(days=1), 29, True),
        (START + timedelta(hours=1), 30, True),
        (END - timedelta(days=1), 1, True),
        (END - timedelta(days=1, microseconds=1), 2, True),
        (END - timedelta(microseconds=1), 1, True),
        (START - timedelta(microseconds=1), 30, False),
        (START - timedelta(days=400), 30, False),
        (END, 30, False),
        (END + timedelta(days=3), 30, False),
        (None, 30, False),
    ],
)
def test_days_activated_are_started_days_until_the_end(activated: datetime | None, days: int, is_within: bool) -> None:
    cycle = {"cycle_start": START, "cycle_end": END}
    assert days_activated(activated, **cycle, time_zone=NEW_YORK) == days
    assert is_activated_within(activated, **cycle) is is_within


def test_days_activated_never_pass_the_days_of_a_period_that_is_an_hour_longer() -> None:
    start, end = local("2026-10-18 18:00"), local("2026-11-18 18:00")  # 31 days and 1 hour
    cycle: dict[str, Any] = {"cycle_start": start.astimezone(UTC), "cycle_end": end.astimezone(UTC)}
    cycle["time_zone"] = NEW_YORK
    assert days_activated(start.astimezone(UTC), **cycle) == 31
    assert days_activated(start.astimezone(UTC) + timedelta(hours=1), **cycle) == 31
    assert days_activated(start.astimezone(UTC) + timedelta(hours=1, microseconds=1), **cycle) == 31
    assert days_activated(start.astimezone(UTC) + timedelta(days=1, hours=1), **cycle) == 30


def test_a_cycle_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="is not after cycle_start"):
        days_in_period(END, START, NEW_YORK)
