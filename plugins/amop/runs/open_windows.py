"""Find the providers to sync and optimize now: their window is open, and none of their work is done or in progress."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from amop import time_limits
from amop.database.connection import WarehouseConnection, is_of_one_row, transaction
from amop.foreign_text import clean_text
from amop.reference.billing_periods import ensure_billing_period
from amop.runs import store
from amop.runs.due import provider_is_due, sessions_of_day
from amop.runs.session_window import MAXIMUM_FAILURES_A_DAY, PAUSE_FOR_CHANGES, is_last_day, reason_to_wait
from amop.runs.store.sync_runs import Provider

log = logging.getLogger(__name__)

CHECK_LOCK = timedelta(seconds=10)
"""Longest wait for a lock during the check of one provider."""

LONGEST_CAUSE = 300
"""Longest cause of an error in characters."""


@dataclass(frozen=True, slots=True)
class DueProvider:
    """A provider whose device sync and optimization are to be started."""

    service_provider_id: int
    service_provider_name: str
    billing_period_id: int
    is_last_day: bool


@dataclass(frozen=True, slots=True)
class WindowCheck:
    """The result of a check of an integration's providers."""

    due: list[DueProvider]
    """In the order of their ids."""
    errors: list[str]
    """Why a provider could not be checked, one sentence for each."""


def find_due_providers(conninfo: str, integration: str, *, now: datetime) -> WindowCheck:
    """Return the active providers of an integration that are due now; one that cannot be checked stops no other.

    A provider is due when all of this holds: the window of its billing period is open; no session of the period has
    completed on its local day, unless this is the last day; none of its sessions or device syncs is running; none of
    its plan changes are being decided or applied; and no failed or cancelled session of today prevents another one
    (`reason_to_wait`). A stale sync does not count as running.
    """
    with transaction(conninfo, application_name="amop find_due_providers") as connection:
        providers = store.sync_runs.active_providers(connection, integration=integration, service_provider_ids=[])
    check = WindowCheck([], [])
    for provider in providers:
        if not provider.supports_optimization:
            continue
        try:
            with transaction(conninfo, application_name="amop find_due_providers", lock=CHECK_LOCK) as connection:
                due = _due_provider(connection, provider, now)
        except Exception as error:
            if not is_of_one_row(error):
                raise
            log.exception("%s (%s) cannot be checked", provider.name, provider.id)
            cause = clean_text(error, maximum=LONGEST_CAUSE)
            check.errors.append(f"{provider.name} ({provider.id}): {cause} ({type(error).__name__})")
        else:
            check.due.extend([due] if due is not None else [])
    return check


def _due_provider(connection: WarehouseConnection, provider: Provider, now: datetime) -> DueProvider | None:
    period = ensure_billing_period(connection, provider.id, now)
    day = sessions_of_day(connection, provider, period, now)
    if not provider_is_due(provider, period, day, now):
        return None
    cycle_end, time_zone = period.cycle_end, provider.time_zone
    reason = _work_in_progress(connection, provider.id, now) or reason_to_wait(
        now, day, cycle_end=cycle_end, time_zone=time_zone
    )
    if reason is not None:
        level = logging.ERROR if day.consecutive_failures >= MAXIMUM_FAILURES_A_DAY else logging.INFO
        log.log(level, "%s (%s) is due, but %s", provider.name, provider.id, reason)
        return None
    last_day = is_last_day(now, cycle_end=cycle_end, time_zone=time_zone)
    return DueProvider(provider.id, provider.name, period.id, last_day)


def _work_in_progress(connection: WarehouseConnection, service_provider_id: int, now: datetime) -> str | None:
    running = store.sessions.running_work(
        connection,
        service_provider_id=service_provider_id,
        alive_since=now - time_limits.STALE_AFTER,
        changes_since=now - PAUSE_FOR_CHANGES,
    )
    if running.session_id is not None:
        return f"its session {running.session_id} is running"
    if running.sync_run_id is not None:
        return f"its device sync {running.sync_run_id} is running"
    if running.changes_instance_id is not None:
        return (
            f"the plan changes of its optimization {running.changes_instance_id} are being decided or applied; it is "
            f"started at the latest {PAUSE_FOR_CHANGES.total_seconds() / 3600:.0f} hours after the decision"
        )
    return None
