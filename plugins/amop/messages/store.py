"""SQL of the outbox of messages to AMOP, and of the reports that could not be delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message that was claimed for sending."""

    id: int
    kind: str
    """``progress``, ``error`` or ``daily_sync``."""
    session_id: int | None
    dedupe_key: str
    payload: Any
    """JSON object: the body of the callback."""
    attempts: int
    """Number of attempts, including this one."""


@dataclass(frozen=True, slots=True)
class DailySyncFacts:
    """The fields of a provider's daily-sync notice."""

    daily_sync_key: str
    tenant_id: int
    tenant_name: str


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A dead-lettered message and AMOP's error."""

    id: int
    dedupe_key: str
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Redelivery:
    """What became of a queue message when it was received first."""

    outcome: str
    """``started``, ``ignored`` or ``rejected``."""
    reason: str | None
    run_id: int | None
    removed_at: datetime | None
    """When it was deleted from the queue; None = not yet."""


@dataclass(frozen=True, slots=True)
class StagedProvider:
    """A provider, and the latest run that the existing system has opened for it; None where there is none."""

    integration: str
    supports_optimization: bool
    run_id: int | None
    run_status: str | None
    run_ended_at: datetime | None
    billing_period_id: int | None
    started_by: str | None
    """Id of the queue message that has started the run's clean-up."""


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run whose clean-up a queue message has started."""

    run_id: int
    service_provider_id: int
    service_provider_name: str
    connection_id: str
    optimization_session_id: int | None
    max_tries: int
    delay_seconds: int


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A queue message that was received."""

    message_id: str
    received_at: datetime
    outcome: str
    reason: str | None
    run_id: int | None
    deliveries: int
    max_tries: int | None
    delay_seconds: int | None
    should_optimize: bool
    dag_run_id: str
    removed_at: datetime | None
    attributes: Any


@dataclass(frozen=True, slots=True)
class UndeliveredMessages:
    """The messages that are pending."""

    pending: int
    oldest_pending_at: datetime | None
    last_error: str | None
    """Error of the latest failed attempt."""


@dataclass(frozen=True, slots=True)
class ClaimedReport:
    """An undelivered report that was claimed for another attempt."""

    id: int
    kind: str
    """``sync_log``, ``notification``, ``archive``, ``workbook`` or ``mail``."""
    run_id: int | None
    """The device sync run, None for a report of an optimization."""
    instance_id: int | None
    address: str | None
    """Address of the DAG run in Airflow, for the links of a mail."""
    error: str
    attempts: int
    """Number of attempts, including this one."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UnsentMessage:
    """A message that AMOP has not accepted."""

    id: int
    session_id: int | None
    dedupe_key: str
    state: str
    """``pending`` or ``dead``."""
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    last_error: str | None


@dataclass(frozen=True, slots=True)
class UndeliveredReport:
    """A report that could not be delivered yet."""

    id: int
    kind: str
    run_id: int | None
    instance_id: int | None
    attempts: int
    next_attempt_at: datetime
    error: str


@statement("messages/add_message")
def add_message(
    connection: WarehouseConnection, *, kind: str, session_id: int | None, dedupe_key: str, payload: Jsonb
) -> None:
    """Add a message to the outbox; a second message with the same key changes nothing."""


@statement("messages/daily_sync_facts")
def daily_sync_facts(connection: WarehouseConnection, *, service_provider_id: int) -> DailySyncFacts | None:
    """Return the fields of a provider's daily-sync notice, None if there is no such provider."""


@statement("messages/claim_messages")
def claim_messages(
    connection: WarehouseConnection,
    *,
    session_id: int | None,
    dedupe_key: str | None,
    now: datetime | None,
    batch_size: int,
    first_delay_seconds: float,
    longest_delay_seconds: float,
) -> list[OutboxMessage]:
    """Reserve the next messages that may be sent now until their next attempt is due, one of a session at most."""


@statement("messages/release_messages")
def release_messages(connection: WarehouseConnection, *, message_ids: list[int], now: datetime | None) -> None:
    """Give claimed messages back that were not sent."""


@statement("messages/mark_sent")
def mark_sent(connection: WarehouseConnection, *, message_id: int, now: datetime | None) -> RowCount:
    """Mark a pending message as accepted by AMOP."""


@statement("messages/schedule_retry")
def schedule_retry(
    connection: WarehouseConnection,
    *,
    message_id: int,
    attempts: int,
    last_error: str,
    delay_seconds: float,
    now: datetime | None,
) -> None:
    """Record a failed attempt; the next attempt is not made before a delay in seconds has passed."""


@statement("messages/dead_letter_message")
def dead_letter_message(connection: WarehouseConnection, *, message_id: int, last_error: str) -> RowCount:
    """Dead-letter a pending message that AMOP refuses."""


@statement("messages/dead_letter_followers")
def dead_letter_followers(connection: WarehouseConnection, *, session_id: int | None) -> RowCount:
    """Dead-letter the pending progress messages that follow a dead-lettered message of their session."""


@statement("messages/report_refused_messages")
def report_refused_messages(connection: WarehouseConnection, *, reported_in: str) -> list[RefusedMessage]:
    """Assign the refused messages that no run of the relay has reported to a run, and return them."""


@statement("messages/undelivered_messages")
def undelivered_messages(
    connection: WarehouseConnection, *, session_id: int | None, dedupe_key: str | None
) -> UndeliveredMessages:
    """Count the pending messages of a session, of a key, or all."""


@statement("messages/add_undelivered_report")
def add_undelivered_report(
    connection: WarehouseConnection,
    *,
    kind: str,
    run_id: int | None,
    instance_id: int | None,
    address: str | None,
    error: str,
    now: datetime | None,
    delay_seconds: float,
) -> None:
    """Record a report that could not be delivered; a second call for the same report replaces its error."""


@statement("messages/add_report_warning")
def add_report_warning(connection: WarehouseConnection, *, run_id: int, warning: str) -> None:
    """Add a warning about a report to a run, once."""


@statement("messages/add_missed_notification")
def add_missed_notification(
    connection: WarehouseConnection, *, run_id: int, error: str, now: datetime | None, delay_seconds: float
) -> None:
    """Record the notification of a staged run as undelivered, unless it was sent."""


@statement("messages/claim_undelivered_report")
def claim_undelivered_report(
    connection: WarehouseConnection, *, now: datetime | None, first_delay_seconds: float, longest_delay_seconds: float
) -> ClaimedReport | None:
    """Reserve the next undelivered report that is due until its following attempt, None if none is due."""


@statement("messages/set_report_error")
def set_report_error(connection: WarehouseConnection, *, report_id: int, error: str) -> None:
    """Record why the latest attempt to deliver a report failed."""


@statement("messages/delete_undelivered_report")
def delete_undelivered_report(connection: WarehouseConnection, *, report_id: int) -> None:
    """Remove a report that was delivered, or that can no longer be."""


# --- Messages of the device notification queue ------------------------------------------------------------------------


@statement("messages/lock_queue_messages")
def lock_queue_messages(connection: WarehouseConnection) -> None:
    """Wait until no other process takes queue messages in, and keep others out until the transaction ends."""


@statement("messages/note_redelivery")
def note_redelivery(connection: WarehouseConnection, *, message_id: str, now: datetime) -> Redelivery | None:
    """Record a further delivery of a message; None if it was never received before."""


@statement("messages/add_queue_message")
def add_queue_message(
    connection: WarehouseConnection,
    *,
    message_id: str,
    dag_run_id: str,
    outcome: str,
    reason: str | None,
    run_id: int | None,
    max_tries: int | None,
    delay_seconds: int | None,
    should_optimize: bool,
    attributes: Jsonb,
    body: str,
    now: datetime,
) -> None:
    """Record a message with what becomes of it."""


@statement("messages/mark_queue_message_removed")
def mark_queue_message_removed(connection: WarehouseConnection, *, message_id: str, now: datetime) -> None:
    """Record that a message was deleted from the queue."""


@statement("messages/integration_of_type")
def integration_of_type(connection: WarehouseConnection, *, integration_type: int) -> str | None:
    """Return the name of the integration with this number in the existing system."""


@statement("messages/staged_provider")
def staged_provider(connection: WarehouseConnection, *, service_provider_id: int, dag_id: str) -> StagedProvider | None:
    """Return a provider with the latest run of the existing system, None if there is no such provider."""


@statement("messages/started_runs")
def started_runs(connection: WarehouseConnection, *, dag_run_id: str) -> list[StartedRun]:
    """Return the runs whose clean-up a run of DAG ``device_notification`` has to do."""


@statement("messages/received_messages")
def received_messages(
    connection: WarehouseConnection, *, dag_run_id: str | None, outcome: str | None, most: int
) -> list[ReceivedMessage]:
    """Return the queue messages that were received last, the newest first."""


@statement("messages/undelivered_reports")
def undelivered_reports(connection: WarehouseConnection, *, row_limit: int) -> list[UndeliveredReport]:
    """Return the reports that could not be delivered yet."""


@statement("messages/unsent_messages")
def unsent_messages(connection: WarehouseConnection, *, row_limit: int) -> list[UnsentMessage]:
    """Return the messages that AMOP has not accepted, oldest first."""


@statement("messages/resend_messages")
def resend_messages(connection: WarehouseConnection, *, session_id: int | None, dedupe_key: str | None) -> RowCount:
    """Let the dead-lettered messages of a session, or one message, be sent again; return their number."""
