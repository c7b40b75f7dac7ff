"""Derive billing periods from a provider's end day, end hour and time zone, never from the calendar month.

A period is half-open, ``[cycle_start, cycle_end)``, in UTC. Its bill month is the local month in which it ends.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from amop.reference.time_zone import load_time_zone

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
    """First instant after the cycle, UTC; the next cycle starts here."""


def billing_period_at(moment: datetime, *, end_day: int, end_hour: int, time_zone: str) -> BillingPeriod:
    """Return the billing period that contains a moment.

    Args:
        moment: any aware time.
        end_day: day of the month on which a cycle ends, 1 to 31; the last day in a shorter month.
        end_hour: local hour at which it ends, 0 to 23. Where daylight saving skips that hour, the cycle ends at the
            transition; where the hour occurs twice, at its first occurrence.
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
    """Return the number of local calendar days of a cycle: 31 from 18 October to 18 November, whatever the DST changes.

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
    """Return True when a SIM was activated within the cycle: only then can its charge be prorated."""
    return date_activated is not None and cycle_start <= date_activated < cycle_end


def days_activated(
    date_activated: datetime | None, *, cycle_start: datetime, cycle_end: datetime, time_zone: str
) -> int:
    """Return the number of days of a cycle for which a SIM is billed.

    ``ceil((cycle end - activation) / 1 day)``, at least 1 and at most the days of the cycle. An unknown activation,
    or one outside the cycle, counts as the whole period.

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
    # fold=0: an hour that occurs twice is its first occurrence; a skipped hour keeps the old offset, which is the
    # transition or just after it.
    return datetime(year, month, day, end_hour, tzinfo=load_time_zone(time_zone), fold=0).astimezone(UTC)


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def _previous_month(year: int, month: int) -> tuple[int, int]:
    return (year - 1, 12) if month == 1 else (year, month - 1)


def _require_aware(moment: datetime, name: str) -> None:
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{name} {moment} has no time zone")
