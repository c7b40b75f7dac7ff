"""Sync runs and sessions that died without saying so are ended, so that AMOP is told and nobody is blocked.

A task that works says so every few minutes (`beat`), whatever it is busy with. Who is silent for `SILENCE` has died:
its process was killed, its machine went away, or nothing ever went on with it. Its provider is free again then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from amop import time_limits
from amop.pipeline.optimization_runs import end_instance_of_failed_session
from amop.pipeline.sync_runs import end_run
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection, transaction
from amop.warehouse.sessions import fail_session, touch_session

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop watchdog"

IsQueued = Callable[[str, int], bool]
"""Integration and session id → True while the session's optimization waits for its turn in Airflow."""


def beat(conninfo: str, *, sync_run_id: int | None, session_id: int | None, now: datetime) -> None:
    """Say that the running run, the running session or both are alive; one that has ended stays as it is."""
    with transaction(conninfo, application_name="amop heartbeat") as connection:
        if sync_run_id is not None:
            connection.execute(sql.load("watchdog/beat_run"), {"sync_run_id": sync_run_id, "now": now})
        if session_id is not None:
            connection.execute(sql.load("watchdog/beat_session"), {"session_id": session_id, "now": now})


def end_the_silent(conninfo: str, *, now: datetime, is_queued: IsQueued) -> list[str]:
    """End the runs and sessions without a sign of life, each with one ErrorMessage; return what was told of each.

    Nobody is judged before the watchdog itself has been watching for the whole of `SILENCE`: after an outage of
    Airflow the tasks that go on by themselves get their time.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: the moment of this look, aware.
        is_queued: asked for silent sessions only; one whose optimization is queued waits, and is not dead.
    """
    silent = {"silent_since": now - time_limits.SILENCE}
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        look = {"now": now, "longest_gap": time_limits.WATCHDOG_ABSENCE}
        watching = connection.execute(sql.load("watchdog/note_look"), look).fetchone()
    if watching is None or watching["watching_since"] > silent["silent_since"]:
        log.info("Watching since %s only: nobody is judged yet", watching and watching["watching_since"])
        return []
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        found = connection.execute(sql.load("watchdog/silent_sessions"), silent).fetchall()
    queued = {session["id"] for session in found if is_queued(session["integration"], session["id"])}
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        told = [_end_run(connection, run, now) for run in connection.execute(
            sql.load("watchdog/silent_runs"), silent).fetchall()]  # fmt: skip
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        for session in connection.execute(sql.load("watchdog/silent_sessions"), silent).fetchall():
            if session["id"] in queued:
                touch_session(connection, session["id"], now=now)
            elif fail_session(connection, session["id"], text := _session_text(session), now=now):
                told.append(text)
    for session in found:
        end_instance_of_failed_session(conninfo, session["id"], now=now)
    return told


def _end_run(connection: WarehouseConnection, run: dict[str, Any], now: datetime) -> str:
    text = (
        f"Device sync run {run['id']} of {run['service_provider_name']} ({run['service_provider_id']}) stopped after "
        f"{run['pages']} pages without reporting an error: {_silence(run)}. It is part of {run['dag_id']}, run "
        f"{run['dag_run_id']}; look at that in Airflow, then clear its failed task, which goes on where it stopped"
    )
    end_run(connection, run["id"], "failed", text, now=now)
    return text


def _session_text(session: dict[str, Any]) -> str:
    return (
        f"Optimization session {session['id']} of {session['service_provider_name']} "
        f"({session['service_provider_id']}) stopped at {session['progress']} % without reporting an error: "
        f"{_silence(session)}. It was opened by {session['opened_by']}; look at that run in Airflow, then start the "
        "provider again"
    )


def _silence(row: dict[str, Any]) -> str:
    limit = time_limits.SILENCE.total_seconds() / 60
    return f"no sign of life since {row['alive_at']:%Y-%m-%d %H:%M:%S %Z}, limit {limit:.0f} minutes"
