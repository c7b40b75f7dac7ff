"""Split the counters of a billing period into days, for the carriers that report usage by day."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

from sandbox.carrier.account import CarrierAccount


def days_of_cycle(account: CarrierAccount) -> list[date]:
    """Return the days of the account's billing period until the time of its counters."""
    first = account.fleet.cycle_start.astimezone(ZoneInfo(account.provider.time_zone)).date()
    last = max(first, account.fleet.as_of.astimezone(UTC).date())
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def shares(total: int, count: int) -> list[int]:
    """Return a counter in parts that differ by at most 1 and whose sum it is."""
    return [total // count + (number < total % count) for number in range(count)]
