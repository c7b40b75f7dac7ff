"""The transactional outbox: a message to AMOP is a row, written in the transaction of the change that it reports.

The ``dedupe_key`` of a row is the ``Idempotency-Key`` of the message: ``session:<id>:progress:<percent>``,
``session:<id>:error`` or ``daily_sync:<run id>:<service provider id>``. This module sends nothing; see
`amop.messages.delivery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection, transaction
from amop.messages import store
from amop.messages.bodies import daily_sync_notice
from amop.messages.store import (
    OutboxMessage,
    RefusedMessage,
    UndeliveredMessages,
    UndeliveredReport,
    UnsentMessage,
)

FIRST_DELAY_SECONDS = 30
"""Delay between the first attempt of a message and the second; it doubles with every attempt."""

LONGEST_DELAY_SECONDS = 900
"""Longest delay between two attempts of a message."""


def enqueue(
    connection: WarehouseConnection,
    *,
    kind: str,
    session_id: int | None,
    dedupe_key: str,
    payload: Mapping[str, Any],
) -> None:
    """Write a message in the caller's transaction; a second message with the same key changes nothing."""
    store.add_message(connection, kind=kind, session_id=session_id, dedupe_key=dedupe_key, payload=Jsonb(dict(payload)))


def session_progress_key(session_id: int, progress: int) -> str:
    """Return the key of a session's progress message; ``progress`` in percent."""
    return f"session:{session_id}:progress:{progress}"


def session_error_key(session_id: int) -> str:
    """Return the key of a session's ErrorMessage."""
    return f"session:{session_id}:error"


def daily_sync_key(run_id: int, service_provider_id: int) -> str:
    """Return the key of a run's daily-sync notice."""
    return f"daily_sync:{run_id}:{service_provider_id}"


def enqueue_daily_sync_notice(connection: WarehouseConnection, *, run_id: int, service_provider_id: int) -> str:
    """Write the daily-sync notice of a run, in the transaction that ends the run; return its key.

    Raises:
        LookupError: there is no such service provider.
    """
    facts = store.daily_sync_facts(connection, service_provider_id=service_provider_id)
    if facts is None:
        raise LookupError(
            f"service provider {service_provider_id} does not exist: no daily-sync notice for run {run_id}"
        )
    key = daily_sync_key(run_id, service_provider_id)
    payload = daily_sync_notice(facts.daily_sync_key, facts.tenant_id, facts.tenant_name)
    enqueue(connection, kind="daily_sync", session_id=None, dedupe_key=key, payload=payload)
    return key


def claim_messages(
    connection: WarehouseConnection,
    *,
    session_id: int | None = None,
    dedupe_key: str | None = None,
    limit: int = 1,
    now: datetime | None = None,
) -> list[OutboxMessage]:
    """Claim the next messages that may be sent now, at most ``limit``, in order. Commit before sending them.

    A batch has one message of a session at most. The claim lasts until the next attempt of the message is due. After
    that any process may claim it, so a process that is killed after its claim leaves nothing to clean up. ``now`` None
    is the database's clock, here and below.
    """
    claimed = store.claim_messages(
        connection,
        session_id=session_id,
        dedupe_key=dedupe_key,
        now=now,
        batch_size=limit,
        first_delay_seconds=FIRST_DELAY_SECONDS,
        longest_delay_seconds=LONGEST_DELAY_SECONDS,
    )
    return sorted(claimed, key=lambda message: (message.attempts, message.id))


def release_messages(
    connection: WarehouseConnection, messages: Sequence[OutboxMessage], *, now: datetime | None = None
) -> None:
    """Give claimed messages back that were not sent: any process may send them at once."""
    if messages:
        store.release_messages(connection, message_ids=[message.id for message in messages], now=now)


def mark_sent(connection: WarehouseConnection, message: OutboxMessage, *, now: datetime | None = None) -> bool:
    """Mark a message as accepted by AMOP; False if another process has settled it meanwhile."""
    return store.mark_sent(connection, message_id=message.id, now=now) == 1


def schedule_retry(
    connection: WarehouseConnection,
    message: OutboxMessage,
    last_error: str,
    *,
    delay_seconds: float = 0,
    now: datetime | None = None,
) -> None:
    """Record a failed attempt; the next one is due when the claim ends, or after a longer delay that AMOP requested."""
    store.schedule_retry(
        connection,
        message_id=message.id,
        attempts=message.attempts,
        last_error=last_error,
        delay_seconds=delay_seconds,
        now=now,
    )


def dead_letter(connection: WarehouseConnection, message: OutboxMessage, last_error: str) -> int:
    """Dead-letter a message that AMOP refuses and the progress messages that follow it; return how many."""
    with connection.transaction():
        count: int = store.dead_letter_message(connection, message_id=message.id, last_error=last_error)
        if message.session_id is not None:
            count += store.dead_letter_followers(connection, session_id=message.session_id)
    return count


def dead_letter_followers(connection: WarehouseConnection, session_id: int | None = None) -> int:
    """Dead-letter the progress messages that were written after a dead-lettered one; return how many."""
    return store.dead_letter_followers(connection, session_id=session_id)


def report_refused_messages(connection: WarehouseConnection, *, reported_in: str) -> list[RefusedMessage]:
    """Return the refused messages that no other run of the relay has reported, oldest first.

    Args:
        connection: the transaction that assigns the messages to the run.
        reported_in: id of the relay's run; a repeated call in the same run returns the same messages.
    """
    return sorted(store.report_refused_messages(connection, reported_in=reported_in), key=lambda message: message.id)


def undelivered_messages(
    connection: WarehouseConnection, *, session_id: int | None = None, dedupe_key: str | None = None
) -> UndeliveredMessages:
    """Count the pending messages of a session, of a key, or all."""
    return store.undelivered_messages(connection, session_id=session_id, dedupe_key=dedupe_key)


def undelivered(conninfo: str, *, limit: int) -> tuple[list[UnsentMessage], list[UndeliveredReport]]:
    """Return the messages that AMOP has not accepted, and the reports that could not be delivered yet."""
    with transaction(conninfo, application_name="amop cli") as connection:
        messages = store.unsent_messages(connection, row_limit=limit)
        return messages, store.undelivered_reports(connection, row_limit=limit)


def resend_messages(conninfo: str, *, session_id: int | None, dedupe_key: str | None) -> int:
    """Let the dead-lettered messages of a session, or one message, be sent again; return their number."""
    with transaction(conninfo, application_name="amop cli") as connection:
        return store.resend_messages(connection, session_id=session_id, dedupe_key=dedupe_key)
