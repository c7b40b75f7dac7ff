"""How fast a provider's plan changes are applied: the account's call rate, or slower as its latest changes were."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from amop.database.connection import WarehouseConnection, transaction
from amop.plan_changes import store
from amop.plan_changes.rules import CALLS_PER_CHANGE

log = logging.getLogger(__name__)

REMEMBERED = timedelta(days=92)
"""Changes of older sessions are not measured: three billing periods."""
MOST_CHANGES = 500
"""Latest changes that are measured."""
FEWEST_INTERVALS = 20
"""Fewer intervals between two changes say too little: the account's call rate is then used."""
LONGEST_INTERVAL = timedelta(minutes=10)
"""Longer intervals are interruptions (an outage, a restart of the task): the reserve is for these."""
TIMES_USUAL = 30
"""So are intervals this many times the median: one of nine minutes would make a thousand changes take hours."""


def measured_rate(
    connection: WarehouseConnection, service_provider_id: int, call_rate: float, *, now: datetime
) -> float:
    """Return the calls a second at which the provider's plan changes are applied, at most the account's call rate.

    Args:
        connection: a transaction.
        service_provider_id: the provider.
        call_rate: what its account allows, calls a second.
        now: the present time, aware.
    """
    measured = store.decisions.change_pace(
        connection,
        service_provider_id=service_provider_id,
        since=now - REMEMBERED,
        longest_interval=LONGEST_INTERVAL,
        times_usual=TIMES_USUAL,
        maximum=MOST_CHANGES,
    )
    return rate_of(measured.interval_count, measured.seconds, call_rate)


def rate_of(intervals: int, seconds: float | None, call_rate: float) -> float:
    """Return the calls a second of changes that followed each other in this time, at most the account's call rate.

    Args:
        intervals: number of intervals between one change and the next.
        seconds: their sum; None without any.
        call_rate: what the account allows, calls a second.
    """
    if not seconds or intervals < FEWEST_INTERVALS:
        return call_rate
    return min(call_rate, CALLS_PER_CHANGE * intervals / seconds)


def read_measured_rate(conninfo: str, service_provider_id: int, call_rate: float, *, now: datetime) -> float:
    """Return `measured_rate` in a transaction of its own."""
    with transaction(conninfo, application_name="amop measured_rate") as connection:
        rate = measured_rate(connection, service_provider_id, call_rate, now=now)
    if rate < call_rate:
        log.info(
            "Provider %s: its latest plan changes took %.2f calls a second; the account allows %g",
            service_provider_id,
            rate,
            call_rate,
        )
    return rate
