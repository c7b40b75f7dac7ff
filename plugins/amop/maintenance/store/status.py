"""SQL of ``bin/amop status``, ``runs`` and ``sessions``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A device sync run as the command line lists it."""

    id: int
    service_provider_id: int
    service_provider: str
    dag_id: str
    dag_run_id: str
    attempt: int
    status: str
    started_at: datetime
    ended_at: datetime | None
    alive_at: datetime
    """The later of its last progress and its last heartbeat."""
    pages: int
    devices_seen: int
    work_rows_left: int
    list_is_complete: bool
    devices_merged_at: datetime | None
    usage_merged_at: datetime | None
    staging_removed_at: datetime | None
    is_deleted: bool
    """True if Airflow no longer has the DAG run of the failed run."""
    newer_merged_run_id: int | None
    """A later run of the provider that has merged: this run must not merge any more."""
    optimization_session_id: int | None
    supports_optimization: bool
    warnings: list[str]
    error: str | None


@dataclass(frozen=True, slots=True)
class ListedSession:
    """An optimization session as the command line lists it."""

    id: int
    session_guid: UUID
    service_provider_id: int
    service_provider: str
    billing_period_end: datetime
    status: str
    progress: int
    opened_by: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    undelivered_messages: int
    error: str | None
    changes_status: str | None
    """Of its plan changes; None until they are planned."""
    changes_reason: str | None
    applied_plan_count: int | None
    """Billed SIMs whose present plan was applied after the last list of devices; None before there is an instance."""
    change_in_doubt_count: int | None
    """SIMs that keep their plan because the outcome of a change of it was not known."""


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """A service provider with its current billing period."""

    id: int
    name: str
    tenant: str
    integration: str
    is_active: bool
    billing_period_end: datetime | None


@dataclass(frozen=True, slots=True)
class LastSyncRun:
    """The latest device sync run of a provider."""

    id: int
    service_provider_id: int
    service_provider: str
    dag_run_id: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    last_success_at: datetime | None
    """End of the provider's last complete run."""
    pages: int
    devices_seen: int
    error: str | None
    warnings: list[str]
    work_rows_left: int


@dataclass(frozen=True, slots=True)
class LastOptimization:
    """The latest optimization of a provider: its costs, its gap and the states of its plan changes."""

    service_provider_id: int
    service_provider: str
    instance_id: int
    billing_period_end: datetime
    run_status: str
    device_count: int
    currency: str
    current_cost: Decimal | None
    total_cost: Decimal | None
    forecast_savings: Decimal | None
    savings_percent: Decimal | None
    """Of the current cost."""
    gap_percent: Decimal | None
    proposed: int
    approved: int
    rejected: int
    applied: int
    conflict: int
    failed: int
    changes_status: str | None
    changes_reason: str | None
    changes_decided_by: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class RealisedSavings:
    """The savings of an optimization of the last measured billing period of a provider."""

    service_provider_id: int
    service_provider: str
    instance_id: int
    billing_period_end: datetime
    applied_changes: int
    unsent_changes: int
    """Changes that waited for a later optimization until the period had ended."""
    currency: str
    forecast_saving: Decimal
    realised_saving: Decimal
    realised_percent: Decimal | None
    """Of the bill with the old plans."""
    projection_error_percent: Decimal | None
    weighted_error_percent: Decimal | None
    usage_read_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunningSession:
    """An optimization session that is running."""

    id: int
    session_guid: UUID
    service_provider_id: int
    service_provider: str
    progress: int
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetteredMessage:
    """A message that AMOP refused."""

    dedupe_key: str
    service_provider: str | None
    created_at: datetime
    attempts: int
    last_error: str | None
    followers: int
    """Number of messages of its session that were dead-lettered after it."""


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """The number of messages to AMOP by state."""

    pending: int
    dead: int
    sent: int
    oldest_pending: datetime | None
    last_error: str | None
    """Of the messages that are not delivered."""


@dataclass(frozen=True, slots=True)
class CarrierOutage:
    """A carrier account that gets no usable answer."""

    account: str
    """Provider and connection."""
    failures: int
    """Consecutive failures."""
    failing_since: datetime
    next_call_at: datetime | None
    """No process calls the carrier before; None = it is being called."""
    last_failure: str | None


@statement("maintenance/service_providers")
def service_providers(connection: WarehouseConnection, *, now: datetime) -> list[ProviderStatus]:
    """Return the service providers with the end of their current billing period."""


@statement("maintenance/last_sync_runs")
def last_sync_runs(connection: WarehouseConnection) -> list[LastSyncRun]:
    """Return the latest device sync run of every provider."""


@statement("maintenance/last_optimizations")
def last_optimizations(connection: WarehouseConnection) -> list[LastOptimization]:
    """Return the latest optimization of every provider."""


@statement("maintenance/last_realised_savings")
def last_realised_savings(connection: WarehouseConnection) -> list[RealisedSavings]:
    """Return the savings of the last measured billing period of every provider."""


@statement("maintenance/running_sessions")
def running_sessions(connection: WarehouseConnection) -> list[RunningSession]:
    """Return the running optimization sessions."""


@statement("maintenance/dead_lettered_messages")
def dead_lettered_messages(connection: WarehouseConnection) -> list[DeadLetteredMessage]:
    """Return the latest messages that AMOP refused, newest first."""


@statement("maintenance/outbox_counts")
def outbox_counts(connection: WarehouseConnection) -> OutboxCounts:
    """Count the messages to AMOP by state."""


@statement("maintenance/carrier_outages")
def carrier_outages(connection: WarehouseConnection) -> list[CarrierOutage]:
    """Return the carrier accounts that get no usable answer, the longest outage first."""


@statement("maintenance/list_runs")
def list_runs(
    connection: WarehouseConnection, *, run_id: int | None, service_provider_id: int | None, row_limit: int
) -> list[ListedRun]:
    """Return device sync runs, newest first: all, one, or those of a provider."""


@statement("maintenance/list_sessions")
def list_sessions(
    connection: WarehouseConnection, *, session_id: int | None, service_provider_id: int | None, row_limit: int
) -> list[ListedSession]:
    """Return optimization sessions, newest first: all, one, or those of a provider."""
