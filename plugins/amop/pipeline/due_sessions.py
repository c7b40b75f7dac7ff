"""When a session is due by itself: one rule for the daily sync (``auto``) and for the looks of the hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from amop.domain import session_window
from amop.domain.session_window import DayOfSessions, start_of_local_day
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection


def sessions_of_day(
    connection: WarehouseConnection, provider: Mapping[str, Any], period: Mapping[str, Any], now: datetime
) -> DayOfSessions:
    """Return what became of the sessions of a billing period that were opened on the provider's local day.

    A session belongs to the day on which it was opened, also when it ends after midnight.
    """
    found = connection.execute(
        sql.load("sessions/sessions_of_day"),
        {
            "service_provider_id": provider["id"],
            "billing_period_id": period["id"],
            "day_start": start_of_local_day(now, provider["time_zone"]),
        },
    ).fetchone()
    return DayOfSessions(**(found or {}))


def session_is_due(provider: Mapping[str, Any], period: Mapping[str, Any], day: DayOfSessions, now: datetime) -> bool:
    """Return True when a session of a provider is to be opened by itself in a billing period.

    Args:
        provider: a row with time_zone and optimization_start_hour_local.
        period: a row with cycle_end.
        day: as `sessions_of_day` gives it.
        now: the moment, aware.
    """
    return session_window.session_is_due(
        now,
        cycle_end=period["cycle_end"],
        time_zone=provider["time_zone"],
        optimization_start_hour_local=provider["optimization_start_hour_local"],
        has_completed_today=day.has_completed,
    )
