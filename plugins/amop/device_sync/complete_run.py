"""End a sync run as complete, and hand its optimization session over to the optimization."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from amop.database.connection import transaction
from amop.messages.outbox import daily_sync_key, enqueue_daily_sync_notice
from amop.runs.sessions import session_is_running
from amop.runs.sync_runs import end_run, load_run, require_running, require_step

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionToOptimize:
    """The ids that start the optimization of a run."""

    service_provider_id: int
    billing_period_id: int
    optimization_session_id: int


def complete_run(conninfo: str, run_id: int, *, now: datetime) -> str:
    """End the run as complete and write the daily-sync notice in the same transaction; return the notice's key.

    A complete run is left unchanged.

    Raises:
        SyncRunEndedError: the run failed or was refused.
        StepMissingError: its usage is not merged: an operator marked that task as success.
    """
    with transaction(conninfo, application_name="amop notify_amop") as connection:
        run = load_run(connection, run_id)
        if run.is_complete:
            return daily_sync_key(run_id, run.service_provider_id)
        require_running(run)
        require_step(run, "merge_usage", is_done=run.usage_merged_at is not None)
        key = enqueue_daily_sync_notice(connection, run_id=run_id, service_provider_id=run.service_provider_id)
        end_run(connection, run_id, "complete", None, now=now)
    return key


def session_to_optimize(conninfo: str, run_id: int) -> SessionToOptimize | None:
    """Return the ids that start the optimization of this run, None with the reason in the log if it must not start.

    It starts if the integration supports it and the session that was opened for this run is still running.
    """
    with transaction(conninfo, application_name="amop should_optimize") as connection:
        run = load_run(connection, run_id)
        session_id = run.optimization_session_id
        if not run.supports_optimization or session_id is None:
            log.info("%s: no optimization session was opened for this run", run.service_provider_name)
            return None
        is_running = session_is_running(connection, session_id)
    if not is_running:
        log.warning("%s: session %s is no longer running", run.service_provider_name, session_id)
        return None
    return SessionToOptimize(run.service_provider_id, run.billing_period_id, session_id)
