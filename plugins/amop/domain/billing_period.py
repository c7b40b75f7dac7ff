"""Billing periods: from a provider's end day, end hour and time zone, never from the calendar month.

A period is half-open, ``[cycle_start, cycle_end)``, in UTC. Its bill month is the local month in which it
ends.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from amop.domain.time_zone import load_time_zone

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BillingPeriod:
    """One billing cycle of a service provider."""

    bill_year: int
    """Local year in which the cycle ends."""
    bill_month: int
    """Local month in which the cycle ends, 1 to 12."""
    cycle_start: datetime
    """First instant of the cycle, UTC."""
    cycle_end: datetime
    """First instant after the cycle, UTC: the next cycle begins here."""


def billing_period_at(moment: datetime, *, end_day: int, end_hour: int, time_zone: str) -> BillingPeriod:
    """Return the billing period that a moment lies in.

    Args:
        moment: any aware time.
        end_day: day of the month on which a cycle ends, 1 to 31; in a shorter month the last day.
        end_hour: local hour at which it ends, 0 to 23. Where daylight saving skips that hour the cycle ends
            at the jump; where it comes twice the cycle ends the first time.
        time_zone: IANA name.

    Raises:
        ValueError: a naive moment, a day or hour out of range, or an unknown time zone.
    """
    _require_aware(moment, "moment")
    if not 1 <= end_day <= 31:
        raise ValueError(f"end_day {end_day} is not a day of the month (1 to 31)")
    if not 0 <= end_hour <= 23:
        raise ValueError(f"end_hour {end_hour} is not an hour of the day (0 to 23)")
    local = moment.astimezone(load_time_zone(time_zone))
    year, month = local.year, local.month
    end = _cycle_end(year, month, end_day, end_hour, time_zone)
    if moment >= end:
        year, month = _next_month(year, month)
        start, end = end, _cycle_end(year, month, end_day, end_hour, time_zone)
    else:
        start = _cycle_end(*_previous_month(year, month), end_day, end_hour, time_zone)
    return BillingPeriod(year, month, start, end)


def days_in_period(cycle_start: datetime, cycle_end: datetime, time_zone: str) -> int:
    """Return the local calendar days of a cycle: 31 from 18 October to 18 November, in any season.

    Raises:
        ValueError: a naive time, a cycle that does not end after its start, or an unknown time zone.
    """
    _require_aware(cycle_start, "cycle_start")
    _require_aware(cycle_end, "cycle_end")
    if cycle_end <= cycle_start:
        raise ValueError(f"cycle_end {cycle_end} is not after cycle_start {cycle_start}")
    zone = load_time_zone(time_zone)
    days = (cycle_end.astimezone(zone).date() - cycle_start.astimezone(zone).date()).days
    return max(1, days)


def is_activated_within(date_activated: datetime | None, *, cycle_start: datetime, cycle_end: datetime) -> bool:
    """Return True when a SIM was activated inside the cycle: only then its charge can be prorated."""
    return date_activated is not None and cycle_start <= date_activated < cycle_end


def days_activated(
    date_activated: datetime | None, *, cycle_start: datetime, cycle_end: datetime, time_zone: str
) -> int:
    """Return the days of a cycle that a SIM is billed for.

    ``ceil((cycle end - activation) / 1 day)``, at least 1 and at most the days of the cycle. An activation
    outside the cycle, or unknown, counts as the whole period.

    Raises:
        ValueError: a naive time, a cycle that does not end after its start, or an unknown time zone.
    """
    whole_period = days_in_period(cycle_start, cycle_end, time_zone)
    if date_activated is None:
        return whole_period
    _require_aware(date_activated, "date_activated")
    if not is_activated_within(date_activated, cycle_start=cycle_start, cycle_end=cycle_end):
        return whole_period
    started_days = -((date_activated - cycle_end) // ONE_DAY)  # ceil, in exact integers of microseconds
    return min(max(1, started_days), whole_period)


def _cycle_end(year: int, month: int, end_day: int, end_hour: int, time_zone: str) -> datetime:
    day = min(end_day, monthrange(year, month)[1])
    # fold=0: a doubled hour is its first pass; a skipped one keeps the old offset, which is the jump or just
    # after.
    return datetime(year, month, day, end_hour, tzinfo=load_time_zone(time_zone), fold=0).astimezone(UTC)


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def _previous_month(year: int, month: int) -> tuple[int, int]:
    return (year - 1, 12) if month == 1 else (year, month - 1)


def _require_aware(moment: datetime, name: str) -> None:
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{name} {moment} has no time zone")
