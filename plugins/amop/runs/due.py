"""When a session is opened automatically: one rule for the daily sync (``auto``) and for the hourly check."""

from __future__ import annotations

from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.reference.store import StoredBillingPeriod
from amop.runs import store
from amop.runs.session_window import DayOfSessions, session_is_due, start_of_local_day
from amop.runs.store.sync_runs import Provider


def sessions_of_day(
    connection: WarehouseConnection, provider: Provider, period: StoredBillingPeriod, now: datetime
) -> DayOfSessions:
    """Return the outcome of the sessions of a billing period that were opened on the provider's local day.

    A session belongs to the day on which it was opened, also when it ends after midnight.
    """
    return store.sessions.sessions_of_day(
        connection,
        service_provider_id=provider.id,
        billing_period_id=period.id,
        day_start=start_of_local_day(now, provider.time_zone),
    )


def provider_is_due(provider: Provider, period: StoredBillingPeriod, day: DayOfSessions, now: datetime) -> bool:
    """Return True when a session of a provider is to be opened automatically in a billing period.

    Args:
        provider: the provider.
        period: its billing period.
        day: the sessions of its local day, from `sessions_of_day`.
        now: the moment, aware.
    """
    return session_is_due(
        now,
        cycle_end=period.cycle_end,
        time_zone=provider.time_zone,
        optimization_start_hour_local=provider.optimization_start_hour_local,
        has_completed_today=day.has_completed,
    )
