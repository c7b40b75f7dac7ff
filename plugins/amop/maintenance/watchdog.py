"""End stale sync runs and sessions, so that AMOP gets an ErrorMessage and the provider is free again.

A working task sends a heartbeat every few minutes (`amop.runs.heartbeat`). A run or session without one for
`STALE_AFTER` is stale: its process was killed, its machine was lost, or no task ever continued it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from amop import time_limits
from amop.database.connection import WarehouseConnection, transaction
from amop.maintenance.store import watchdog as store
from amop.maintenance.store.watchdog import StaleRun, StaleSession
from amop.runs.sessions import end_instance_of_failed_session, fail_session, touch_session
from amop.runs.sync_runs import end_run
from amop.wording import several

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop watchdog"

IsQueued = Callable[[str, int], bool]
"""Integration and session id → True while the session's optimization is queued in Airflow."""


def end_stale_work(conninfo: str, *, now: datetime, is_queued: IsQueued) -> list[str]:
    """End the stale runs and sessions, each with one ErrorMessage; return the error of each.

    Nothing is ended until the watchdog itself has been running for `STALE_AFTER` without a gap: after an outage of
    Airflow, the tasks that resume on their own get the full time again.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: the moment of this check, aware.
        is_queued: called for stale sessions only; a session whose optimization is queued is not ended.
    """
    stale_since = now - time_limits.STALE_AFTER
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        watching_since = store.record_watchdog_check(connection, now=now, longest_gap=time_limits.WATCHDOG_ABSENCE)
    if watching_since > stale_since:
        log.info("The watchdog has been running only since %s: nothing is ended yet", watching_since)
        return []
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        found = store.stale_sessions(connection, stale_since=stale_since)
    queued = {session.id for session in found if is_queued(session.integration, session.id)}
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        errors = [_end_run(connection, run, now) for run in store.stale_runs(connection, stale_since=stale_since)]
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        for session in store.stale_sessions(connection, stale_since=stale_since):
            if session.id in queued:
                touch_session(connection, session.id, now=now)
            elif fail_session(connection, session.id, text := _session_error(session), now=now):
                errors.append(text)
    for session in found:
        end_instance_of_failed_session(conninfo, session.id, now=now)
    return errors


def _end_run(connection: WarehouseConnection, run: StaleRun, now: datetime) -> str:
    text = (
        f"Device sync run {run.id} of {run.service_provider_name} ({run.service_provider_id}) stopped after "
        f"{several(run.pages, 'page')} without reporting an error: {_missing_heartbeat(run.alive_at)}. It is part of "
        f"{run.dag_id}, run {run.dag_run_id}; check that run in Airflow"
    )
    end_run(connection, run.id, "failed", text, now=now)
    return text


def _session_error(session: StaleSession) -> str:
    return (
        f"Optimization session {session.id} of {session.service_provider_name} ({session.service_provider_id}) "
        f"stopped at {session.progress} % without reporting an error: {_missing_heartbeat(session.alive_at)}. It was "
        f"opened by {session.opened_by}; check that run in Airflow, then start the provider again"
    )


def _missing_heartbeat(alive_at: datetime) -> str:
    limit = time_limits.STALE_AFTER.total_seconds() / 60
    return f"no heartbeat since {alive_at:%Y-%m-%d %H:%M:%S %Z}, limit {limit:.0f} minutes"
