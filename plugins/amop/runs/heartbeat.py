"""Heartbeats of running sync runs and sessions."""

from __future__ import annotations

from datetime import datetime

from amop.database.connection import transaction
from amop.runs import store


def record_heartbeat(
    conninfo: str, *, sync_run_id: int | None, session_id: int | None, now: datetime | None = None
) -> None:
    """Record that the running run, the running session or both are alive; leave one that has ended as it is.

    ``now`` None is the database's clock.
    """
    with transaction(conninfo, application_name="amop heartbeat") as connection:
        if sync_run_id is not None:
            store.sync_runs.record_run_heartbeat(connection, sync_run_id=sync_run_id, now=now)
        if session_id is not None:
            store.sessions.record_session_heartbeat(connection, session_id=session_id, now=now)
