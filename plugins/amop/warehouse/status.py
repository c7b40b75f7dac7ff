"""What an operator asks first: providers, their last sync and optimization, what was saved, what runs, what waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from amop.warehouse import sql
from amop.warehouse.connection import transaction


def read_status(conninfo: str, *, now: datetime | None = None) -> dict[str, Any]:
    """Return the state of the warehouse at one instant, as plain rows.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: the moment whose billing period is the current one; by default the clock.

    Returns:
        ``service_providers``, ``last_sync_runs``, ``last_optimizations``, ``realised_savings`` and
        ``running_sessions`` (lists), ``outbox`` (pending, dead, sent, oldest_pending), ``dead_messages`` (the latest
        that AMOP refused) and ``work_rows_left`` (of the last runs together).

    Raises:
        psycopg.Error: the warehouse cannot be read, for instance because it was never migrated.
    """
    with transaction(conninfo, application_name="amop status") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        runs = connection.execute(sql.load("status/last_sync_runs")).fetchall()
        return {
            "service_providers": connection.execute(
                sql.load("status/service_providers"), {"now": now or datetime.now(UTC)}
            ).fetchall(),
            "last_sync_runs": runs,
            "last_optimizations": connection.execute(sql.load("status/last_optimizations")).fetchall(),
            "realised_savings": connection.execute(sql.load("status/realised_savings")).fetchall(),
            "running_sessions": connection.execute(sql.load("status/running_sessions")).fetchall(),
            "dead_messages": connection.execute(sql.load("status/dead_messages")).fetchall(),
            "outbox": connection.execute(sql.load("status/outbox")).fetchone(),
            "work_rows_left": sum(run["work_rows_left"] for run in runs),
        }
