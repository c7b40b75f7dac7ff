"""Which providers are to be synced and optimized now: their window is open and nothing of theirs is done or running."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop import time_limits
from amop.domain.session_window import MAXIMUM_FAILURES_A_DAY, PAUSE_FOR_CHANGES, is_last_day, reason_to_wait
from amop.pipeline.due_sessions import session_is_due, sessions_of_day
from amop.warehouse import sql
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import WarehouseConnection, transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DueProvider:
    """A provider whose device sync is to be started with an optimization behind it."""

    service_provider_id: int
    service_provider_name: str
    billing_period_id: int
    is_last_day: bool


def find_due_providers(conninfo: str, integration: str, *, now: datetime) -> list[DueProvider]:
    """Return the active providers of an integration that are due now, in the order of their ids.

    That is: the window of the present billing period is open; on its local day no session of the period has completed,
    unless it is the last day; no session and no device sync of the provider runs, and no plan changes of it are being
    decided on or applied; and a session that failed or was cancelled today is not to be left alone (`reason_to_wait`).
    A sync without a sign of life was killed and holds nobody.
    """
    with transaction(conninfo, application_name="amop find_due_providers") as connection:
        providers = connection.execute(
            sql.load("sync/active_providers"), {"integration": integration, "service_provider_ids": []}
        ).fetchall()
        found = [
            _due_provider(connection, provider, now) for provider in providers if provider["supports_optimization"]
        ]
    return [due for due in found if due is not None]


def _due_provider(connection: WarehouseConnection, provider: dict[str, Any], now: datetime) -> DueProvider | None:
    period = ensure_billing_period(connection, provider, now)
    day = sessions_of_day(connection, provider, period, now)
    if not session_is_due(provider, period, day, now):
        return None
    calendar = {"cycle_end": period["cycle_end"], "time_zone": provider["time_zone"]}
    reason = _what_runs(connection, provider["id"], now) or reason_to_wait(now, day, **calendar)
    if reason is not None:
        level = logging.ERROR if day.failures_in_a_row >= MAXIMUM_FAILURES_A_DAY else logging.INFO
        log.log(level, "%s (%s) is due, but %s", provider["name"], provider["id"], reason)
        return None
    return DueProvider(provider["id"], provider["name"], period["id"], is_last_day(now, **calendar))


def _what_runs(connection: WarehouseConnection, service_provider_id: int, now: datetime) -> str | None:
    running = connection.execute(
        sql.load("sessions/running_work"),
        {
            "service_provider_id": service_provider_id,
            "alive_since": now - time_limits.SILENCE,
            "changes_since": now - PAUSE_FOR_CHANGES,
        },
    ).fetchone()
    if running is None:  # SELECT of three values always returns its row
        return None
    if running["session_id"] is not None:
        return f"its session {running['session_id']} runs"
    if running["sync_run_id"] is not None:
        return f"its device sync {running['sync_run_id']} runs"
    if running["changes_instance_id"] is not None:
        return (
            f"the plan changes of its optimization {running['changes_instance_id']} are decided on or applied; it is "
            f"started {PAUSE_FOR_CHANGES.total_seconds() / 3600:.0f} hours after the decision at the latest"
        )
    return None
