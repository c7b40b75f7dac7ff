"""When a session is opened automatically: time zones, daylight saving, month and year ends, short months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from amop.reference.billing_period import billing_period_at
from amop.runs.session_window import (
    MAXIMUM_FAILURES_A_DAY,
    PAUSE_AFTER_FAILURE,
    DayOfSessions,
    is_last_day,
    reason_to_wait,
    session_is_due,
    start_of_local_day,
)

NEW_YORK, LOS_ANGELES, TORONTO = "America/New_York", "America/Los_Angeles", "America/Toronto"
KOLKATA, KATHMANDU, ADELAIDE, ST_JOHNS = "Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "America/St_Johns"
SYDNEY, AUCKLAND, SANTIAGO, LORD_HOWE = (
    "Australia/Sydney",
    "Pacific/Auckland",
    "America/Santiago",
    "Australia/Lord_Howe",
)
LONDON, HAVANA, APIA, KIRITIMATI = "Europe/London", "America/Havana", "Pacific/Apia", "Pacific/Kiritimati"

NOT_YET, ONCE, CONTINUOUSLY = "not yet", "once a day", "one after the other"
"""Nothing is due; one session is due unless one has completed today; sessions follow continuously (last day)."""


@dataclass(frozen=True)
class Case:
    """A provider's settings, a local moment, and what is due at it."""

    name: str
    zone: str
    end_day: int
    end_hour: int
    start_hour: int
    now: str
    due: str
    fold: int = 0


CASES = [
    # Defaults of New York: the 18th, 18:00.
    Case("eight dates before the end", NEW_YORK, 18, 18, 0, "2026-11-10 23:59:59", NOT_YET),
    Case("seven dates before the end, at midnight", NEW_YORK, 18, 18, 0, "2026-11-11 00:00", ONCE),
    Case("the day before the end", NEW_YORK, 18, 18, 0, "2026-11-17 23:59:59", ONCE),
    Case("the last day from midnight on", NEW_YORK, 18, 18, 0, "2026-11-18 00:00", CONTINUOUSLY),
    Case("the last microsecond of the period", NEW_YORK, 18, 18, 0, "2026-11-18 17:59:59.999999", CONTINUOUSLY),
    Case("the instant of the end belongs to the next period", NEW_YORK, 18, 18, 0, "2026-11-18 18:00", NOT_YET),
    Case("the evening after the end", NEW_YORK, 18, 18, 0, "2026-11-18 23:59", NOT_YET),
    # The start hour.
    Case("a second before the start hour", NEW_YORK, 18, 18, 6, "2026-11-14 05:59:59", NOT_YET),
    Case("exactly at the start hour", NEW_YORK, 18, 18, 6, "2026-11-14 06:00", ONCE),
    Case("the last day before the start hour", NEW_YORK, 18, 18, 6, "2026-11-18 05:59", NOT_YET),
    Case("the last day at the start hour", NEW_YORK, 18, 18, 6, "2026-11-18 06:00", CONTINUOUSLY),
    Case("a start hour after the end hour, the last day", NEW_YORK, 18, 18, 20, "2026-11-18 17:59", NOT_YET),
    Case("a start hour after the end hour, the day before", NEW_YORK, 18, 18, 20, "2026-11-17 20:00", ONCE),
    Case("a start hour of 23 leaves an hour a day", LOS_ANGELES, 5, 12, 23, "2026-11-04 23:00", ONCE),
    # Daylight saving ends on 1 November 2026 and begins on 14 March 2027 in the United States.
    Case("the clocks go back inside the window", NEW_YORK, 5, 12, 0, "2026-10-29 00:00", ONCE),
    Case("the clocks go back inside the window, a day too early", NEW_YORK, 5, 12, 0, "2026-10-28 23:59", NOT_YET),
    Case("the start hour comes twice, first time", NEW_YORK, 5, 12, 1, "2026-11-01 01:00", ONCE),
    Case("the start hour comes twice, second time", NEW_YORK, 5, 12, 1, "2026-11-01 01:00", ONCE, fold=1),
    Case("the hour before one that comes twice", NEW_YORK, 5, 12, 2, "2026-11-01 01:59", NOT_YET, fold=1),
    Case("the start hour is skipped: the next one is past it", NEW_YORK, 18, 18, 2, "2027-03-14 03:00", ONCE),
    Case("the hour before a skipped start hour", NEW_YORK, 18, 18, 2, "2027-03-14 01:59", NOT_YET),
    Case("ends in the hour that comes twice, first time", NEW_YORK, 1, 1, 0, "2026-11-01 00:59", CONTINUOUSLY),
    Case("the hour comes again after the end", NEW_YORK, 1, 1, 0, "2026-11-01 01:30", NOT_YET, fold=1),
    Case("the period ends in the skipped hour: at the jump", NEW_YORK, 14, 2, 0, "2027-03-14 01:59", CONTINUOUSLY),
    Case("after the jump that ended the period", NEW_YORK, 14, 2, 0, "2027-03-14 03:00", NOT_YET),
    Case("summer time of London begins on the last day", LONDON, 28, 12, 0, "2027-03-28 11:59", CONTINUOUSLY),
    Case("midnight comes twice in Havana, second time", HAVANA, 1, 12, 0, "2026-11-01 00:30", CONTINUOUSLY, fold=1),
    # Offsets of half and quarter hours.
    Case("India, a minute before the start hour", KOLKATA, 18, 18, 9, "2026-11-12 08:59", NOT_YET),
    Case("India, at the start hour: half past three in UTC", KOLKATA, 18, 18, 9, "2026-11-12 09:00", ONCE),
    Case("Nepal, the last day begins at 18:15 UTC", KATHMANDU, 18, 18, 0, "2026-11-18 00:00", CONTINUOUSLY),
    Case("Newfoundland, the last half hour", ST_JOHNS, 18, 18, 0, "2026-11-18 17:30", CONTINUOUSLY),
    Case("Adelaide, summer time with half an hour", ADELAIDE, 18, 18, 0, "2026-11-11 00:00", ONCE),
    Case("Adelaide, the evening before the window", ADELAIDE, 18, 18, 0, "2026-11-10 23:59", NOT_YET),
    Case("Lord Howe moves its clocks by half an hour in the window", LORD_HOWE, 8, 18, 2, "2026-10-04 02:30", ONCE),
    # The southern hemisphere: summer time begins in spring there, and ends in April.
    Case("Sydney, summer time begins in the window", SYDNEY, 8, 18, 0, "2026-10-01 00:00", ONCE),
    Case("Sydney, summer time begins in the window, a day too early", SYDNEY, 8, 18, 0, "2026-09-30 23:59", NOT_YET),
    Case("Auckland, summer time ends on the last day", AUCKLAND, 4, 18, 0, "2027-04-04 17:59", CONTINUOUSLY),
    Case("Auckland, summer time ends on the last day: the end", AUCKLAND, 4, 18, 0, "2027-04-04 18:00", NOT_YET),
    Case("Santiago, midnight is skipped on the last day", SANTIAGO, 6, 18, 0, "2026-09-06 01:00", CONTINUOUSLY),
    # Far from UTC.
    Case("Kiritimati is a date ahead of UTC", KIRITIMATI, 18, 18, 0, "2026-11-11 00:00", ONCE),
    Case("Apia, the last day while it is yesterday in UTC", APIA, 18, 18, 0, "2026-11-18 03:00", CONTINUOUSLY),
    # The year changes.
    Case("December to January, seven dates", TORONTO, 3, 18, 0, "2026-12-27 00:00", ONCE),
    Case("December to January, eight dates", TORONTO, 3, 18, 0, "2026-12-26 23:59", NOT_YET),
    Case("New Year's Eve in the window", TORONTO, 3, 18, 0, "2026-12-31 23:59", ONCE),
    Case("the period ends on 1 January", TORONTO, 1, 6, 0, "2027-01-01 05:59", CONTINUOUSLY),
    Case("the period ends with the year", TORONTO, 31, 23, 0, "2026-12-31 22:59", CONTINUOUSLY),
    # February.
    Case("the 28th of a common year", "UTC", 28, 18, 0, "2027-02-28 17:59", CONTINUOUSLY),
    Case("the 29th in a common year is the 28th", "UTC", 29, 18, 0, "2027-02-28 10:00", CONTINUOUSLY),
    Case("the 29th of a leap year", "UTC", 29, 18, 0, "2028-02-29 10:00", CONTINUOUSLY),
    Case("the day before the 29th of a leap year", "UTC", 29, 18, 0, "2028-02-28 10:00", ONCE),
    Case("the 31st in a leap year's February is the 29th", "UTC", 31, 0, 0, "2028-02-28 23:59", CONTINUOUSLY),
    Case("over the end of a common February, seven dates", "UTC", 3, 18, 0, "2027-02-24 00:00", ONCE),
    Case("over the end of a common February, eight dates", "UTC", 3, 18, 0, "2027-02-23 23:59", NOT_YET),
    Case("over the end of a leap February, seven dates", "UTC", 3, 18, 0, "2028-02-25 00:00", ONCE),
    Case("over the end of a leap February, eight dates", "UTC", 3, 18, 0, "2028-02-24 23:59", NOT_YET),
    # The 31st in months of 30 days.
    Case("the 31st in June is the 30th", TORONTO, 31, 23, 0, "2027-06-30 12:00", CONTINUOUSLY),
    Case("seven dates before the 30th", TORONTO, 31, 23, 0, "2027-06-23 00:00", ONCE),
    Case("eight dates before the 30th", TORONTO, 31, 23, 0, "2027-06-22 23:59", NOT_YET),
    Case("the 30th of a month of 31 days is not its last", TORONTO, 31, 23, 0, "2027-07-30 12:00", ONCE),
    # Periods that end on day 1 to 7: the window begins in the month before.
    Case("ends on day 1", "UTC", 1, 6, 0, "2026-10-25 00:00", ONCE),
    Case("ends on day 2", "UTC", 2, 6, 0, "2026-10-26 00:00", ONCE),
    Case("ends on day 3", "UTC", 3, 6, 0, "2026-10-27 00:00", ONCE),
    Case("ends on day 4", "UTC", 4, 6, 0, "2026-10-28 00:00", ONCE),
    Case("ends on day 5", "UTC", 5, 6, 0, "2026-10-29 00:00", ONCE),
    Case("ends on day 6", "UTC", 6, 6, 0, "2026-10-30 00:00", ONCE),
    Case("ends on day 7", "UTC", 7, 6, 0, "2026-10-31 00:00", ONCE),
    Case("ends on day 7, a day too early", "UTC", 7, 6, 0, "2026-10-30 23:59", NOT_YET),
    # A period that ends at midnight has its last day before that date.
    Case("ends at midnight: the day before is the last", NEW_YORK, 27, 0, 0, "2026-11-26 00:00", CONTINUOUSLY),
    Case("ends at midnight: two days before", NEW_YORK, 27, 0, 0, "2026-11-25 23:59", ONCE),
    Case("ends at midnight: the date of the end", NEW_YORK, 27, 0, 0, "2026-11-27 00:00", NOT_YET),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_session_opens_by_itself(case: Case) -> None:
    now = datetime.fromisoformat(case.now).replace(tzinfo=ZoneInfo(case.zone), fold=case.fold).astimezone(UTC)
    period = billing_period_at(now, end_day=case.end_day, end_hour=case.end_hour, time_zone=case.zone)
    calendar: dict[str, Any] = {"cycle_end": period.cycle_end, "time_zone": case.zone}
    due = {
        has_completed: session_is_due(
            now, optimization_start_hour_local=case.start_hour, has_completed_today=has_completed, **calendar
        )
        for has_completed in (False, True)
    }
    assert due == {False: case.due != NOT_YET, True: case.due == CONTINUOUSLY}
    if case.due != NOT_YET:
        assert is_last_day(now, **calendar) == (case.due == CONTINUOUSLY)


def test_the_cases_have_names_of_their_own_and_are_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 30


@pytest.mark.parametrize(
    ("now", "zone", "start"),
    [
        ("2026-11-18 03:00", NEW_YORK, "2026-11-17 05:00"),
        ("2026-11-18 05:00", NEW_YORK, "2026-11-18 05:00"),
        ("2026-11-01 12:00", NEW_YORK, "2026-11-01 04:00"),  # a day of 25 hours begins in summer time
        ("2026-11-02 12:00", NEW_YORK, "2026-11-02 05:00"),
        ("2026-11-01 05:30", HAVANA, "2026-11-01 04:00"),  # midnight comes twice: the day begins the first time
        ("2026-09-06 12:00", SANTIAGO, "2026-09-06 04:00"),  # midnight is skipped: the day begins at the jump
        ("2026-11-17 18:14", KATHMANDU, "2026-11-16 18:15"),
        ("2026-11-17 18:15", KATHMANDU, "2026-11-17 18:15"),
        ("2026-11-17 10:00", KIRITIMATI, "2026-11-17 10:00"),
    ],
)
def test_the_local_day_begins_at_its_first_instant(now: str, zone: str, start: str) -> None:
    moment, expected = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, start))
    assert start_of_local_day(moment, zone) == expected


END = datetime(2026, 11, 18, 23, tzinfo=UTC)
BEFORE, ON_THE_LAST_DAY = END - timedelta(days=3), END - timedelta(hours=5)


@pytest.mark.parametrize(
    ("now", "failures", "since_the_last", "reason"),
    [
        (BEFORE, 0, None, None),
        (BEFORE, 1, timedelta(0), "its last session failed at 23:00:00 UTC"),
        (BEFORE, 1, PAUSE_AFTER_FAILURE - timedelta(microseconds=1), "its last session failed"),
        (BEFORE, 1, PAUSE_AFTER_FAILURE, None),
        (BEFORE, MAXIMUM_FAILURES_A_DAY - 1, timedelta(hours=1), None),
        (BEFORE, MAXIMUM_FAILURES_A_DAY, timedelta(hours=1), "3 consecutive sessions have failed today"),
        (ON_THE_LAST_DAY, MAXIMUM_FAILURES_A_DAY, timedelta(hours=1), None),
        (ON_THE_LAST_DAY, 17, PAUSE_AFTER_FAILURE, None),
        (ON_THE_LAST_DAY, 1, timedelta(minutes=5), "its last session failed"),
    ],
)
def test_a_failed_session_is_tried_again_after_a_pause_and_three_times_a_day(
    now: datetime, failures: int, since_the_last: timedelta | None, reason: str | None
) -> None:
    failed_at = None if since_the_last is None else now - since_the_last
    day = DayOfSessions(consecutive_failures=failures, last_failed_at=failed_at)
    found = reason_to_wait(now, day, cycle_end=END, time_zone=NEW_YORK)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize("now", [BEFORE, ON_THE_LAST_DAY])
def test_a_cancelled_session_stands_for_the_day(now: datetime) -> None:
    found = reason_to_wait(now, DayOfSessions(latest_was_cancelled=True), cycle_end=END, time_zone=NEW_YORK)
    assert found is not None and "was cancelled" in found
