"""SQL of the notifications of operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A sync run that failed or was refused."""

    service_provider_id: int
    provider: str
    time_zone: str
    error: str | None
    dag_id: str
    dag_run_id: str
    is_deleted: bool
    """True if Airflow no longer has the DAG run."""
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class FailedSession:
    """An optimization session that failed on its own."""

    session_id: int
    service_provider_id: int
    provider: str
    time_zone: str
    integration: str
    error: str | None
    is_deleted: bool
    """True if Airflow no longer has any DAG run that could continue it."""
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message on the device notification queue that starts nothing."""

    message_id: str
    reason: str
    received_at: datetime
    dag_run_id: str


@dataclass(frozen=True, slots=True)
class NewCommunicationPlans:
    """The communication plans that one sync added and that have no rate plan."""

    service_provider_id: int
    provider: str
    added_at: datetime
    names: list[str]


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """A complete sync run with its stored summary."""

    run_id: int
    provider: str
    dag_id: str
    dag_run_id: str
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OptimizationGap:
    """A complete optimization without some of the SIMs that were expected."""

    session_id: int
    service_provider_id: int
    provider: str
    time_zone: str
    rate_plan_limit: int | None
    device_count: int
    expected_device_count: int
    warning: str | None
    ended_at: datetime
    groups_above_limit: int
    """Comm groups with more rate plans than the limit."""
    most_rate_plans: int
    """Of one of these groups."""


@dataclass(frozen=True, slots=True)
class ChangeConflicts:
    """Plan changes of an optimization that were not made at the carrier."""

    instance_id: int
    session_id: int
    provider: str
    conflict_count: int
    failure_count: int
    error: str | None
    """Of one of them."""


@dataclass(frozen=True, slots=True)
class LastSync:
    """An active provider with its last complete and its last failed sync."""

    service_provider_id: int
    provider: str
    time_zone: str
    integration: str
    complete_started_at: datetime | None
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class AmopOutage:
    """The oldest message that AMOP has not accepted."""

    message_id: int
    waiting_since: datetime
    last_error: str | None
    waiting: int
    """Messages that wait."""


@dataclass(frozen=True, slots=True)
class CarrierOutage:
    """A carrier account that gets no usable answer."""

    api_user: str
    """Hash of the API user."""
    account: str
    """Provider and connection."""
    failing_since: datetime
    open_until: datetime | None
    last_failure: str | None


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A notification to send."""

    id: int
    kind: str
    provider: str
    cause: str
    first_step: str
    address: str
    attempts: int


@dataclass(frozen=True, slots=True)
class UnsentNotifications:
    """The number of notifications that wait, and that could not be sent."""

    pending: int
    failed: int
    last_error: str | None


@statement("notifications/failed_runs")
def failed_runs(connection: WarehouseConnection, *, since: datetime) -> list[FailedRun]:
    """Return the sync runs that failed or were refused since a moment."""


@statement("notifications/failed_sessions")
def failed_sessions(connection: WarehouseConnection, *, since: datetime) -> list[FailedSession]:
    """Return the sessions that failed since a moment, except those that a failed sync run ended."""


@statement("notifications/rejected_messages")
def rejected_messages(connection: WarehouseConnection, *, since: datetime) -> list[RejectedMessage]:
    """Return the rejected queue messages that were received since a moment."""


@statement("notifications/new_communication_plans")
def new_communication_plans(connection: WarehouseConnection, *, since: datetime) -> list[NewCommunicationPlans]:
    """Return the communication plans without rate plans that were added since a moment."""


@statement("notifications/completed_runs")
def completed_runs(connection: WarehouseConnection, *, since: datetime) -> list[CompletedRun]:
    """Return the sync runs that were completed since a moment."""


@statement("notifications/optimization_gaps")
def optimization_gaps(connection: WarehouseConnection, *, since: datetime) -> list[OptimizationGap]:
    """Return the optimizations that were completed since a moment without all expected SIMs."""


@statement("notifications/plan_change_conflicts")
def plan_change_conflicts(connection: WarehouseConnection, *, since: datetime) -> list[ChangeConflicts]:
    """Return the optimizations whose plan changes ended since a moment with conflicts or failures."""


@statement("notifications/last_syncs")
def last_syncs(connection: WarehouseConnection) -> list[LastSync]:
    """Return the last complete and the last failed sync of every active provider."""


@statement("notifications/amop_outage")
def amop_outage(connection: WarehouseConnection, *, before: datetime) -> AmopOutage | None:
    """Return the oldest message that AMOP has not accepted since before a moment, None if there is none."""


@statement("notifications/carrier_outages")
def carrier_outages(connection: WarehouseConnection, *, before: datetime) -> list[CarrierOutage]:
    """Return the carrier accounts that have had no usable answer since before a moment."""


@statement("notifications/is_recorded_failure")
def is_recorded_failure(
    connection: WarehouseConnection,
    *,
    run_id: int | None,
    session_id: int | None,
    dag_id: str,
    dag_run_id: str,
    error: str,
    since: datetime,
) -> bool:
    """Return whether a task's failure is recorded in its sync run or its session."""


@statement("notifications/provider_of_work")
def provider_of_work(connection: WarehouseConnection, *, run_id: int | None, session_id: int | None) -> str | None:
    """Return the name of the provider of a sync run or a session, None if neither is known."""


@statement("notifications/add_notification")
def add_notification(
    connection: WarehouseConnection,
    *,
    kind: str,
    dedupe_key: str,
    cause_key: str,
    provider: str,
    cause: str,
    first_step: str,
    address: str,
    state: str,
    now: datetime,
) -> RowCount:
    """Write a notification; return 0 if its event has one."""


@statement("notifications/next_notifications")
def next_notifications(connection: WarehouseConnection, *, now: datetime, batch: int) -> list[PendingNotification]:
    """Return and lock the notifications of the cause that has waited longest."""


@statement("notifications/set_result")
def set_result(
    connection: WarehouseConnection,
    *,
    ids: list[int],
    state: str,
    error: str | None,
    next_attempt_at: datetime,
    sent_at: datetime | None,
) -> None:
    """Record the result of sending notifications."""


@statement("notifications/waiting")
def waiting(connection: WarehouseConnection) -> UnsentNotifications:
    """Count the notifications that could not be sent yet, or at all."""
