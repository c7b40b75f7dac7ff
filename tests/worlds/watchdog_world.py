"""A warehouse with running syncs and sessions, and a watchdog with a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from amop.maintenance.watchdog import end_stale_work
from amop.runs.opening import SyncRequest, open_runs
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVERY_FIVE_MINUTES = timedelta(minutes=5)


class WatchdogWorld:
    """Open runs with sessions and check them as `amop_relay` does."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.queued: set[int] = set()
        """Sessions whose optimization is queued in Airflow."""
        load_sandbox_reference(dsn)

    def open_sync(self, dag_run_id: str = "monday", *, integration: str = "jasper", at: datetime = NOW) -> int:
        """Open a run of an integration's only provider with its session, as `select_providers` does; return its id."""
        request = SyncRequest(integration, f"device_sync_{integration}", dag_run_id, optimization="always")
        return int(open_runs(self.dsn, request, now=at)[0].run_id)

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def run(self, run_id: int) -> dict[str, Any]:
        """Return a run's row."""
        return self.rows("SELECT * FROM amop.device_sync_run WHERE id = %s", run_id)[0]

    def session_of(self, run_id: int) -> dict[str, Any]:
        """Return the row of a run's session."""
        return self.rows(
            "SELECT session.* FROM amop.optimization_session AS session JOIN amop.device_sync_run AS run"
            " ON run.optimization_session_id = session.id WHERE run.id = %s",
            run_id,
        )[0]

    def reported(self, session_id: int) -> list[Any]:
        """Return the messages of a session, in order: percent or error text."""
        messages = self.rows("SELECT payload FROM amop.amop_outbox WHERE session_id = %s ORDER BY id", session_id)
        data = [message["payload"]["data"] for message in messages]
        return [one["Progress"] if one["job_name"] == "Progress" else one["ErrorMessage"] for one in data]

    def check(self, now: datetime) -> list[str]:
        """Run the watchdog once; return the errors of what it ended."""
        return end_stale_work(self.dsn, now=now, is_queued=lambda _integration, session: session in self.queued)

    def watch(self, begin: datetime, end: datetime) -> dict[datetime, list[str]]:
        """Run the watchdog every five minutes; return the errors of what it ended, by moment."""
        found, now = {}, begin
        while now <= end:
            if errors := self.check(now):
                found[now] = errors
            now += EVERY_FIVE_MINUTES
        return found
