"""Decide when an optimization session is due: in the last days of a billing period, from a provider's start hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from amop.reference.time_zone import load_time_zone

WINDOW_DAYS = 8
"""A session is due when fewer than this many local dates remain until the end of the period."""

MAXIMUM_FAILURES_A_DAY = 3
"""No further session after this many consecutive failures on one local day, except on the last day of the period."""

PAUSE_AFTER_FAILURE = timedelta(minutes=30)
"""No new session sooner than this after a failed one."""

PAUSE_FOR_CHANGES = timedelta(hours=2)
"""The next session waits this long while plan changes are awaiting approval or being applied; it supersedes them."""

PAUSE_BETWEEN_REPORTS = timedelta(hours=2)
"""Shortest interval of the report mails on the last day, where sessions are opened continuously."""


@dataclass(frozen=True, slots=True)
class DayOfSessions:
    """Outcome of the sessions of a provider and billing period that were opened on the provider's current local day."""

    has_completed: bool = False
    consecutive_failures: int = 0
    """Number of failed sessions since the last completed one."""
    last_failed_at: datetime | None = None
    latest_was_cancelled: bool = False


def days_until_period_end(now: datetime, *, cycle_end: datetime, time_zone: str) -> int:
    """Return the number of local dates from today to the last date of the period: 0 on it, negative after it.

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
    """Return True while the optimization window of a provider is open.

    The window is open when fewer than 8 local dates remain until the period ends, the period has not ended, and the
    local hour has reached the provider's start hour.

    Raises:
        ValueError: a naive time, an hour that is not 0 to 23, or an unknown time zone.
    """
    if not 0 <= optimization_start_hour_local <= 23:
        raise ValueError(f"optimization_start_hour_local {optimization_start_hour_local} is not 0 to 23")
    days_left = days_until_period_end(now, cycle_end=cycle_end, time_zone=time_zone)
    local_hour = now.astimezone(load_time_zone(time_zone)).hour
    return now < cycle_end and days_left < WINDOW_DAYS and local_hour >= optimization_start_hour_local


def is_last_day(now: datetime, *, cycle_end: datetime, time_zone: str) -> bool:
    """Return True on the local date of a period's last instant; for an end at midnight, that is the day before.

    Raises:
        ValueError: a naive time or an unknown time zone.
    """
    last_instant = cycle_end - timedelta(microseconds=1)
    return now < cycle_end and days_until_period_end(now, cycle_end=last_instant, time_zone=time_zone) == 0


def start_of_local_day(now: datetime, time_zone: str) -> datetime:
    """Return the first instant of a provider's current local day, UTC; the first one if midnight occurs twice.

    Raises:
        ValueError: an unknown time zone.
    """
    zone = load_time_zone(time_zone)
    today = now.astimezone(zone)
    return datetime(today.year, today.month, today.day, tzinfo=zone, fold=0).astimezone(UTC)


def next_daily_session(now: datetime, *, time_zone: str, optimization_start_hour_local: int) -> datetime:
    """Return when the first session of the provider's next local day is due, UTC.

    Raises:
        ValueError: an unknown time zone.
    """
    zone = load_time_zone(time_zone)
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    hour = time(optimization_start_hour_local)
    return datetime.combine(tomorrow, hour, tzinfo=zone).astimezone(UTC)


def session_is_due(
    now: datetime,
    *,
    cycle_end: datetime,
    time_zone: str,
    optimization_start_hour_local: int,
    has_completed_today: bool,
) -> bool:
    """Return True when a session is to be opened automatically: the window is open, and none has completed today.

    On the last day of the period sessions are opened continuously: a completed one does not prevent the next.

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
    """Return why a session that is due is not opened automatically now, None when it is.

    A new session follows a failed one after a pause, but not after three consecutive failures on one day: an operator
    must then find the cause. On the last day there is no later day to wait for, so only the pause applies. A session
    that an operator cancelled prevents another one on the same day.

    Raises:
        ValueError: a naive time or an unknown time zone.
    """
    if day.latest_was_cancelled:
        return "its session of today was cancelled; start one manually if it is needed after all"
    if day.last_failed_at is not None and now - day.last_failed_at < PAUSE_AFTER_FAILURE:
        return f"its last session failed at {day.last_failed_at:%H:%M:%S %Z}; a later check starts the next one"
    if day.consecutive_failures >= MAXIMUM_FAILURES_A_DAY and not is_last_day(
        now, cycle_end=cycle_end, time_zone=time_zone
    ):
        return (
            f"{day.consecutive_failures} consecutive sessions have failed today; fix the cause (see "
            "amop.optimization_session.error) and start it manually"
        )
    return None


def reason_not_to_mail(now: datetime, *, last_mailed_at: datetime, proposes_the_same: bool) -> str | None:
    """Return why the report of an automatically started session, not the first of its day, is not mailed.

    On the last day of a period, where sessions are opened continuously, it is mailed (None) when it proposes other plan
    changes than the last mailed report, and two hours have passed since then.

    Args:
        now: the moment, aware.
        last_mailed_at: when a report of the same provider, period and local day was last mailed.
        proposes_the_same: whether that report had the same plan changes.
    """
    mailed = f"the report mailed at {last_mailed_at:%H:%M %Z}"
    if proposes_the_same:
        return f"it proposes the same plan changes as {mailed}"
    if now - last_mailed_at < PAUSE_BETWEEN_REPORTS:
        hours = PAUSE_BETWEEN_REPORTS.total_seconds() / 3600
        return f"it follows {mailed}, and the reports of one day are at least {hours:.0f} hours apart"
    return None
