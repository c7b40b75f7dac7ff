"""When an optimization session is due: the last days of a billing period, from a provider's start hour on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from amop.domain.time_zone import load_time_zone

WINDOW_DAYS = 8
"""A session is due when fewer local dates than this lie between today and the period's end."""

MAXIMUM_FAILURES_A_DAY = 3
"""So many failed sessions in a row are enough for one local day; the last day of the period has no such limit."""

PAUSE_AFTER_FAILURE = timedelta(minutes=30)
"""A session that failed is not tried again sooner, however often somebody looks."""

PAUSE_FOR_CHANGES = timedelta(hours=2)
"""So long the next session waits while a person is asked about plan changes or they are applied; it supersedes them."""

PAUSE_BETWEEN_REPORTS = timedelta(hours=2)
"""Sessions that follow one another on the last day mail no more often than this, and only when they propose others."""


@dataclass(frozen=True, slots=True)
class DayOfSessions:
    """What became of a provider's sessions of one billing period that were opened on its present local day."""

    has_completed: bool = False
    failures_in_a_row: int = 0
    """Failed sessions since the last one that completed."""
    last_failed_at: datetime | None = None
    latest_was_cancelled: bool = False


def days_until_period_end(now: datetime, *, cycle_end: datetime, time_zone: str) -> int:
    """Return the local dates from today to the period's last one: 0 on the last day, negative after it.

    Raises:
        ValueError: a naive time or an unknown time zone.
    """
    if now.tzinfo is None or cycle_end.tzinfo is None:
        raise ValueError("now and cycle_end need a time zone")
    zone = load_time_zone(time_zone)
    return (cycle_end.astimezone(zone).date() - now.astimezone(zone).date()).days


def optimization_is_due(
    now: datetime, *, cycle_end: datetime, time_zone: str, optimization_start_hour_local: int
) -> bool:
    """Return True when a scheduled run should open an optimization session for a provider.

    That is: fewer than 8 local dates until the period ends, the period has not ended, and the local hour has
    reached the provider's start hour.

    Raises:
        ValueError: a naive time, an hour that is not 0 to 23, or an unknown time zone.
    """
    if not 0 <= optimization_start_hour_local <= 23:
        raise ValueError(f"optimization_start_hour_local {optimization_start_hour_local} is not 0 to 23")
    days_left = days_until_period_end(now, cycle_end=cycle_end, time_zone=time_zone)
    local_hour = now.astimezone(load_time_zone(time_zone)).hour
    return now < cycle_end and days_left < WINDOW_DAYS and local_hour >= optimization_start_hour_local


def is_last_day(now: datetime, *, cycle_end: datetime, time_zone: str) -> bool:
    """Return True on the local date of a period's last instant: the day before for a period that ends at midnight.

    Raises:
        ValueError: a naive time or an unknown time zone.
    """
    last_instant = cycle_end - timedelta(microseconds=1)
    return now < cycle_end and days_until_period_end(now, cycle_end=last_instant, time_zone=time_zone) == 0


def start_of_local_day(now: datetime, time_zone: str) -> datetime:
    """Return the first instant of a provider's present local day, UTC; where midnight comes twice, the first.

    Raises:
        ValueError: an unknown time zone.
    """
    zone = load_time_zone(time_zone)
    today = now.astimezone(zone)
    return datetime(today.year, today.month, today.day, tzinfo=zone, fold=0).astimezone(UTC)


def session_is_due(
    now: datetime,
    *,
    cycle_end: datetime,
    time_zone: str,
    optimization_start_hour_local: int,
    has_completed_today: bool,
) -> bool:
    """Return True when a session is to be opened by itself: the window is open and the day has no completed one yet.

    On the period's last day sessions follow one another: there a completed one is no reason to wait.

    Raises:
        ValueError: a naive time, an hour that is not 0 to 23, or an unknown time zone.
    """
    return optimization_is_due(
        now,
        cycle_end=cycle_end,
        time_zone=time_zone,
        optimization_start_hour_local=optimization_start_hour_local,
    ) and (not has_completed_today or is_last_day(now, cycle_end=cycle_end, time_zone=time_zone))


def reason_to_wait(now: datetime, day: DayOfSessions, *, cycle_end: datetime, time_zone: str) -> str | None:
    """Return why a session that is due is not tried again by itself at this moment, None when it is.

    A failed one is tried again after a pause, three times in a row a day at most: after that a person must look. On
    the last day there is no later one to wait for, so that only the pause holds. A cancelled one was a person's
    decision and stands for the day.

    Raises:
        ValueError: a naive time or an unknown time zone.
    """
    if day.latest_was_cancelled:
        return "its session of today was cancelled; start one by hand if it is wanted after all"
    if day.last_failed_at is not None and now - day.last_failed_at < PAUSE_AFTER_FAILURE:
        return f"its last session failed at {day.last_failed_at:%H:%M:%S %Z}; it is tried again at a later look"
    if day.failures_in_a_row >= MAXIMUM_FAILURES_A_DAY and not is_last_day(
        now, cycle_end=cycle_end, time_zone=time_zone
    ):
        return (
            f"{day.failures_in_a_row} sessions in a row have failed today; mend the cause (see "
            "amop.optimization_session.error) and start it by hand"
        )
    return None


def reason_not_to_mail(now: datetime, *, last_mailed_at: datetime, proposes_the_same: bool) -> str | None:
    """Return why the report of a session that started by itself, and is not the first of its day, is not mailed.

    On the last day of a period, where sessions follow one another, it is mailed (None) when it proposes other plan
    changes than the report that was mailed last, and two hours have gone by since.

    Args:
        now: the moment, aware.
        last_mailed_at: when a report of the same provider, period and local day was mailed last.
        proposes_the_same: whether that one had the same plan changes.
    """
    mailed = f"the report mailed at {last_mailed_at:%H:%M %Z}"
    if proposes_the_same:
        return f"it proposes the same plan changes as {mailed}"
    if now - last_mailed_at < PAUSE_BETWEEN_REPORTS:
        hours = PAUSE_BETWEEN_REPORTS.total_seconds() / 3600
        return f"it follows {mailed}, and reports of one day are {hours:.0f} hours apart at least"
    return None
