"""SQL of retention, the watchdog and ``bin/amop status``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement

RunTable = Literal[
    "amop.device_staging",
    "amop.device_usage_staging",
    "amop.device_detail_staging",
    "amop.device_sync_page",
    "amop.device_usage_processed",
    "amop.device_usage_to_process",
]
"""Tables whose rows belong to a sync run."""

InstanceTable = Literal[
    "amop.optimization_device",
    "amop.optimization_base_assignment",
    "amop.optimization_solved_assignment",
    "amop.optimization_device_result",
    "amop.optimization_device_excluded",
    "amop.optimization_left_plan",
]
"""Tables with a row per SIM of an optimization instance."""


@dataclass(frozen=True, slots=True)
class ExpiredUsagePeriod:
    """A billing period whose daily usage has expired."""

    id: int
    service_provider_id: int
    bill_year: int
    bill_month: int


@dataclass(frozen=True, slots=True)
class StaleRun:
    """A running sync run without progress and without a heartbeat."""

    id: int
    dag_id: str
    dag_run_id: str
    service_provider_id: int
    service_provider_name: str
    pages: int
    alive_at: datetime
    """The later of its last progress and its last heartbeat."""


@dataclass(frozen=True, slots=True)
class StaleSession:
    """A running optimization session without a heartbeat."""

    id: int
    service_provider_id: int
    service_provider_name: str
    integration: str
    opened_by: str
    progress: int
    alive_at: datetime
    """The latest heartbeat of the session and its sync run."""


@dataclass(frozen=True, slots=True)
class RunningRun:
    """A running sync run and the DAG run that executes it."""

    id: int
    dag_id: str
    dag_run_id: str
    attempt: int
    service_provider_id: int
    service_provider_name: str


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A running optimization session whose sync has ended."""

    id: int
    service_provider_id: int
    service_provider_name: str
    integration: str
    opened_by: str
    progress: int
    sync_dag_id: str | None
    """DAG of the sync that fed the session, None for a session without a sync."""
    sync_dag_run_id: str | None


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


@dataclass(frozen=True, slots=True)
class ProviderGauges:
    """Figures of a provider; None = there is none. Each field but the first three is the name of a gauge."""

    service_provider_id: int
    provider: str
    integration: str
    sync_age_seconds: float | None
    """Since the end of the last complete sync."""
    sims: float | None
    unconfirmed_sims: float | None
    """SIMs whose usage the last complete sync could not confirm."""
    work_rows_left: float
    quarantined_records: float
    calls_left_today: float
    """Of the calls that the rate limit allows in a day, UTC; one call for each page that a sync read."""
    forecast_bill: float | None
    """Of the current billing period with the present plans."""
    optimized_bill: float | None
    forecast_saving: float | None
    plan_changes_waiting: float | None
    """Plan changes that need an approval."""
    pool_fill_percent: float | None
    """Forecast usage of the fullest pool, of its included data."""
    realised_saving: float | None
    """Of the last measured billing period."""


@dataclass(frozen=True, slots=True)
class PackageGauges:
    """Figures of the whole package; each field is the name of a gauge."""

    outbox_pending: float
    outbox_dead: float
    outbox_age_seconds: float
    """Of the oldest message that AMOP has not accepted."""
    carriers_failing: float
    carrier_outage_seconds: float
    """Of the longest outage."""
    notifications_pending: float
    sessions_running: float


# --- Retention --------------------------------------------------------------------------------------------------------


@statement("maintenance/runs_to_archive")
def runs_to_archive(
    connection: WarehouseConnection, *, settled_before: datetime, staging_before: datetime
) -> list[int]:
    """Return the ids of the ended runs with responses that are not archived."""


@statement("maintenance/runs_with_expired_staging")
def runs_with_expired_staging(connection: WarehouseConnection, *, before: datetime) -> list[int]:
    """Return the ids of the runs whose staging has expired."""


@statement("maintenance/expire_staging")
def expire_staging(connection: WarehouseConnection, *, run_id: int, before: datetime, now: datetime) -> RowCount:
    """Make an ended run final, so that its staging may be deleted; no row if it was reopened meanwhile."""


@statement("maintenance/runs_with_expired_ledger")
def runs_with_expired_ledger(connection: WarehouseConnection, *, before: datetime) -> list[int]:
    """Return the ids of the runs whose pages and work rows have expired."""


@statement("maintenance/delete_rows_of_run")
def delete_rows_of_run(connection: WarehouseConnection, *, table: RunTable, run_id: int, batch: int) -> RowCount:
    """Delete a batch of the rows of an ended run from one table."""


@statement("maintenance/delete_runs")
def delete_runs(connection: WarehouseConnection, *, before: datetime, batch: int) -> RowCount:
    """Delete a batch of expired runs."""


@statement("maintenance/delete_messages")
def delete_messages(
    connection: WarehouseConnection, *, sent_before: datetime, dead_before: datetime, batch: int
) -> RowCount:
    """Delete a batch of expired messages."""


@statement("maintenance/delete_notifications")
def delete_notifications(connection: WarehouseConnection, *, before: datetime, batch: int) -> RowCount:
    """Delete a batch of expired notifications."""


@statement("maintenance/delete_queue_messages")
def delete_queue_messages(connection: WarehouseConnection, *, received_before: datetime, batch: int) -> RowCount:
    """Delete a batch of expired queue messages that started no clean-up."""


@statement("maintenance/delete_quarantine")
def delete_quarantine(
    connection: WarehouseConnection, *, resolved_before: datetime, open_before: datetime, batch: int
) -> RowCount:
    """Delete a batch of expired quarantined records."""


@statement("maintenance/next_devices")
def next_devices(connection: WarehouseConnection, *, after: int, batch: int) -> int | None:
    """Return the last id of the next batch of SIMs, None after the last SIM."""


@statement("maintenance/periods_with_expired_usage")
def periods_with_expired_usage(connection: WarehouseConnection, *, before: datetime) -> list[ExpiredUsagePeriod]:
    """Return the billing periods whose daily usage has expired."""


@statement("maintenance/delete_usage_of_period")
def delete_usage_of_period(
    connection: WarehouseConnection, *, billing_period_id: int, after: int, upto: int
) -> RowCount:
    """Delete the daily usage of a billing period for a batch of SIMs."""


@statement("maintenance/mark_usage_removed")
def mark_usage_removed(connection: WarehouseConnection, *, billing_period_id: int, now: datetime) -> None:
    """Mark a billing period whose daily usage was deleted."""


@statement("maintenance/delete_device_history")
def delete_device_history(connection: WarehouseConnection, *, before: date, after: int, upto: int) -> RowCount:
    """Delete the device history of a batch of SIMs before a day."""


@statement("maintenance/instances_with_expired_devices")
def instances_with_expired_devices(connection: WarehouseConnection, *, before: datetime) -> list[int]:
    """Return the ids of the instances whose rows per SIM have expired."""


@statement("maintenance/mark_devices_removed")
def mark_devices_removed(connection: WarehouseConnection, *, instance_id: int, now: datetime) -> None:
    """Mark an instance whose rows per SIM are being deleted."""


@statement("maintenance/delete_rows_of_instance")
def delete_rows_of_instance(
    connection: WarehouseConnection, *, table: InstanceTable, instance_id: int, batch: int
) -> RowCount:
    """Delete a batch of the rows of an instance from one table."""


# --- Watchdog ---------------------------------------------------------------------------------------------------------


@statement("maintenance/record_watchdog_check")
def record_watchdog_check(connection: WarehouseConnection, *, now: datetime, longest_gap: timedelta) -> datetime:
    """Record a check of the watchdog; return since when it has checked without a gap."""


@statement("maintenance/stale_runs")
def stale_runs(connection: WarehouseConnection, *, stale_since: datetime) -> list[StaleRun]:
    """Return and lock the running runs without progress and without a heartbeat since a moment."""


@statement("maintenance/stale_sessions")
def stale_sessions(connection: WarehouseConnection, *, stale_since: datetime) -> list[StaleSession]:
    """Return and lock the running sessions without a heartbeat since a moment."""


# --- Status -----------------------------------------------------------------------------------------------------------


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


@statement("maintenance/provider_gauges")
def provider_gauges(connection: WarehouseConnection, *, now: datetime, calls_a_day: int) -> list[ProviderGauges]:
    """Return the figures of every active provider that are exported as gauges."""


@statement("maintenance/package_gauges")
def package_gauges(connection: WarehouseConnection, *, now: datetime) -> PackageGauges:
    """Return the figures of outbox, carriers and notifications that are exported as gauges."""


@statement("maintenance/running_runs")
def running_runs(connection: WarehouseConnection, *, existing_system_dag_id: str) -> list[RunningRun]:
    """Return the running sync runs whose DAG runs Airflow can be asked about."""


@statement("maintenance/open_sessions")
def open_sessions(connection: WarehouseConnection) -> list[OpenSession]:
    """Return the running sessions whose sync does not run."""


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
