"""Read the state of the package: providers, last syncs and optimizations, savings, running sessions and messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import IsolationLevel

from amop.clock import utc_now
from amop.database.connection import transaction
from amop.maintenance.store import status as store


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the warehouse at one instant."""

    service_providers: list[store.ProviderStatus]
    last_sync_runs: list[store.LastSyncRun]
    last_optimizations: list[store.LastOptimization]
    realised_savings: list[store.RealisedSavings]
    running_sessions: list[store.RunningSession]
    dead_messages: list[store.DeadLetteredMessage]
    """The latest messages that AMOP refused."""
    outbox: store.OutboxCounts
    carrier_outages: list[store.CarrierOutage]
    work_rows_left: int
    """Remaining work rows of the last sync runs."""


def read_status(conninfo: str, *, now: datetime | None = None) -> Status:
    """Return the state of the warehouse at one instant.

    Args:
        conninfo: libpq connection string of the warehouse.
        now: moment of the current billing period; None = the system clock.

    Raises:
        psycopg.Error: the warehouse cannot be read, for instance because it was never migrated.
    """
    with transaction(conninfo, application_name="amop status") as connection:
        connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
        runs = store.last_sync_runs(connection)
        return Status(
            service_providers=store.service_providers(connection, now=now or utc_now()),
            last_sync_runs=runs,
            last_optimizations=store.last_optimizations(connection),
            realised_savings=store.last_realised_savings(connection),
            running_sessions=store.running_sessions(connection),
            dead_messages=store.dead_lettered_messages(connection),
            outbox=store.outbox_counts(connection),
            carrier_outages=store.carrier_outages(connection),
            work_rows_left=sum(run.work_rows_left for run in runs),
        )
