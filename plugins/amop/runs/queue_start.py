"""Take in the messages of other systems on the device notification queue, each with exactly one effect.

The existing system fills the staging tables and opens a run for it (docs/staging-contract.md); its message starts the
clean-up of that run. A message is a row of ``amop.queue_message``: however often it is delivered, it has one effect.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.types.json import Jsonb

from amop import ids
from amop.database.connection import WarehouseConnection, transaction
from amop.messages import store
from amop.messages.queue_message import QueueMessage, StartRequest, UnusableMessageError, read_start_request
from amop.messages.store import StagedProvider
from amop.runs.sessions import SessionAlreadyRunningError, advance_session, open_session
from amop.runs.store.sessions import find_session
from amop.runs.store.sync_runs import attach_session

log = logging.getLogger(__name__)

QUEUED_PROGRESS = 20
"""AMOP's progress once a sync is queued."""


class Outcome(StrEnum):
    """``queue_message.outcome``."""

    STARTED = "started"
    """The clean-up of a run waits."""
    IGNORED = "ignored"
    """There is nothing to do."""
    REJECTED = "rejected"
    """The message is unusable and belongs into the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message."""

    outcome: Outcome
    reason: str | None = None
    run_id: int | None = None
    is_settled: bool = False
    """True for a redelivery of a message that was deleted from the queue: its effects are complete."""


@dataclass(frozen=True, slots=True)
class _Start:
    """A clean-up to start."""

    run_id: int
    request: StartRequest


def take_message(conninfo: str, message: QueueMessage, *, dag_run_id: str, now: datetime) -> Taken:
    """Record a message and, if it can start a clean-up, prepare the run: one transaction, one effect.

    Args:
        conninfo: libpq connection string of the warehouse.
        message: the message.
        dag_run_id: the run of DAG ``device_notification`` that received it.
        now: the present time.
    """
    with transaction(conninfo, application_name="amop receive_messages") as connection:
        store.lock_queue_messages(connection)
        known = store.note_redelivery(connection, message_id=message.message_id, now=now)
        if known is not None:
            return Taken(Outcome(known.outcome), known.reason, known.run_id, known.removed_at is not None)
        start: _Start | None = None
        if message.is_own:
            taken = Taken(Outcome.IGNORED, "it was sent by this package (Source=airflow)")
        else:
            try:
                start, taken = _judge(connection, message, now)
            except UnusableMessageError as error:
                taken = Taken(Outcome.REJECTED, str(error))
        store.add_queue_message(
            connection,
            message_id=message.message_id,
            dag_run_id=dag_run_id,
            outcome=taken.outcome,
            reason=taken.reason,
            run_id=taken.run_id,
            max_tries=start.request.max_tries if start else None,
            delay_seconds=round(start.request.delay.total_seconds()) if start else None,
            should_optimize=start.request.should_optimize if start else False,
            attributes=Jsonb(message.attributes),
            body=message.body,
            now=now,
        )
    log.info("Message %s: %s %s", message.message_id, taken.outcome, taken.reason or f"run {taken.run_id}")
    return taken


def _judge(connection: WarehouseConnection, message: QueueMessage, now: datetime) -> tuple[_Start | None, Taken]:
    """Return the clean-up that a message of another system starts, None where there is nothing to do.

    Raises:
        UnusableMessageError: the message belongs into the dead-letter queue.
    """
    request = read_start_request(message)
    integration = store.integration_of_type(connection, integration_type=request.integration_type)
    if integration is None:
        raise UnusableMessageError(
            f"IntegrationType {request.integration_type} is the integration_type of no integration; set it in the "
            "reference file (integrations)"
        )
    provider = store.staged_provider(
        connection, service_provider_id=request.service_provider_id, dag_id=ids.DEVICE_NOTIFICATION_DAG
    )
    if provider is None or provider.integration != integration:
        raise UnusableMessageError(
            f"ServiceProviderId {request.service_provider_id} is not a service provider of integration {integration} "
            f"(IntegrationType {request.integration_type})"
        )
    if provider.run_id is None or provider.run_status != "running":
        return None, _without_open_run(provider, message, request)
    if provider.started_by is not None:
        reason = f"the clean-up of run {provider.run_id} was started by message {provider.started_by}"
        return None, Taken(Outcome.IGNORED, reason)
    _attach_session(connection, provider, request, message, now)
    return _Start(provider.run_id, request), Taken(Outcome.STARTED, run_id=provider.run_id)


def _without_open_run(provider: StagedProvider, message: QueueMessage, request: StartRequest) -> Taken:
    """Return that a message came late for a run that has ended meanwhile.

    Raises:
        UnusableMessageError: the sender has opened no run for its staging.
    """
    ended_at = provider.run_ended_at
    if ended_at is not None and message.sent_at is not None and message.sent_at <= ended_at:
        return Taken(Outcome.IGNORED, f"run {provider.run_id} has ended as {provider.run_status} meanwhile")
    raise UnusableMessageError(
        f"no staging of service provider {request.service_provider_id} is open: the sender must open a run before it "
        "sends the message, see docs/staging-contract.md"
    )


def _attach_session(
    connection: WarehouseConnection,
    provider: StagedProvider,
    request: StartRequest,
    message: QueueMessage,
    now: datetime,
) -> None:
    """Give the run the session that the message asks for: the named one, or a new one.

    Raises:
        UnusableMessageError: the named session is not a running one of the provider.
    """
    if not request.should_optimize or not provider.supports_optimization:
        return
    session_id = request.optimization_session_id
    if session_id is None:
        try:
            session_id = open_session(
                connection,
                service_provider_id=request.service_provider_id,
                billing_period_id=provider.billing_period_id or 0,
                opened_by=f"{ids.DEVICE_NOTIFICATION_DAG}/{message.message_id}",
                now=now,
            ).id
        except SessionAlreadyRunningError as error:
            log.warning("The clean-up of run %s will not optimize: %s", provider.run_id, error)
            return
    else:
        session = find_session(connection, session_id=session_id)
        if session is None or session.service_provider_id != request.service_provider_id or not session.is_running:
            raise UnusableMessageError(
                f"OptimizationSessionId {session_id} is not a running session of service provider "
                f"{request.service_provider_id}"
            )
    attach_session(connection, run_id=provider.run_id or 0, optimization_session_id=session_id)
    advance_session(connection, session_id, QUEUED_PROGRESS, now=now)


def mark_removed(conninfo: str, message_id: str, *, now: datetime) -> None:
    """Record that a message was deleted from the queue."""
    with transaction(conninfo, application_name="amop receive_messages") as connection:
        store.mark_queue_message_removed(connection, message_id=message_id, now=now)
