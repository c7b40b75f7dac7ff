"""When an optimization session is due: the last days of a billing period, from a provider's start hour on."""

from __future__ import annotations

from datetime import datetime

from amop.domain.time_zone import load_time_zone

WINDOW_DAYS = 8
"""A session is due when fewer local dates than this lie between today and the period's end."""


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
