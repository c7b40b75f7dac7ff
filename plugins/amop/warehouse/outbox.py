"""The transactional outbox: a message to AMOP is a row, written with the change that it tells of.

A row's ``dedupe_key`` is the message's ``Idempotency-Key``: ``session:<id>:progress:<percent>``,
``session:<id>:error`` or ``daily_sync:<run id>:<service provider id>``. Nothing here sends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from amop.domain.amop_messages import daily_sync_notice
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

FIRST_DELAY_SECONDS = 30
"""Wait between the first try of a message and the second; it doubles with every try."""

LONGEST_DELAY_SECONDS = 900
"""Longest wait between two tries of a message."""


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message taken for sending."""

    id: int
    kind: str
    """``progress``, ``error`` or ``daily_sync``."""
    session_id: int | None
    dedupe_key: str
    payload: dict[str, Any]
    attempts: int
    """Tries, this one included."""


def enqueue(
    connection: WarehouseConnection,
    *,
    kind: str,
    session_id: int | None,
    dedupe_key: str,
    payload: Mapping[str, Any],
) -> None:
    """Write a message in the caller's transaction; a second one with the same key changes nothing."""
    connection.execute(
        sql.load("outbox/add_message"),
        {"kind": kind, "session_id": session_id, "dedupe_key": dedupe_key, "payload": Jsonb(dict(payload))},
    )


def daily_sync_key(run_id: int, service_provider_id: int) -> str:
    """Return the key of a run's daily-sync notice."""
    return f"daily_sync:{run_id}:{service_provider_id}"


def enqueue_daily_sync_notice(connection: WarehouseConnection, *, run_id: int, service_provider_id: int) -> str:
    """Write the daily-sync notice of a run, in the transaction that ends the run; return its key.

    Raises:
        LookupError: there is no such service provider.
    """
    facts = connection.execute(
        sql.load("outbox/daily_sync_facts"), {"service_provider_id": service_provider_id}
    ).fetchone()
    if facts is None:
        raise LookupError(
            f"service provider {service_provider_id} does not exist: no daily-sync notice for run {run_id}"
        )
    key = daily_sync_key(run_id, service_provider_id)
    payload = daily_sync_notice(facts["daily_sync_key"], facts["tenant_id"], facts["tenant_name"])
    enqueue(connection, kind="daily_sync", session_id=None, dedupe_key=key, payload=payload)
    return key


def claim_message(
    connection: WarehouseConnection, *, session_id: int | None, dedupe_key: str | None, now: datetime
) -> OutboxMessage | None:
    """Take the next message that may be sent now, or None.

    The claim is the row's next try: until then no other process takes the message, after that anyone may. So a
    process that is killed after its claim needs no cleaning up. Commit before sending.
    """
    row = connection.execute(
        sql.load("outbox/claim_message"),
        {
            "session_id": session_id,
            "dedupe_key": dedupe_key,
            "now": now,
            "first_delay_seconds": FIRST_DELAY_SECONDS,
            "longest_delay_seconds": LONGEST_DELAY_SECONDS,
        },
    ).fetchone()
    return None if row is None else OutboxMessage(**row)


def mark_sent(connection: WarehouseConnection, message: OutboxMessage, *, now: datetime) -> bool:
    """Note that AMOP has taken a message; False if somebody else has settled it meanwhile."""
    values = {"message_id": message.id, "now": now}
    return connection.execute(sql.load("outbox/mark_sent"), values).rowcount == 1


def mark_retry(
    connection: WarehouseConnection, message: OutboxMessage, last_error: str, *, not_before: datetime
) -> None:
    """Note why a message was not taken; its next try is that of its claim, or ``not_before`` if that is later."""
    connection.execute(
        sql.load("outbox/mark_retry"),
        {
            "message_id": message.id,
            "attempts": message.attempts,
            "last_error": last_error,
            "not_before": not_before,
        },
    )


def mark_dead(connection: WarehouseConnection, message: OutboxMessage, last_error: str) -> int:
    """Give up a message that AMOP refuses, and the progress messages behind it; return how many were given up."""
    with connection.transaction():
        values = {"message_id": message.id, "last_error": last_error}
        dead = connection.execute(sql.load("outbox/mark_dead"), values).rowcount
        if message.session_id is not None:
            dead += bury_followers(connection, message.session_id)
    return dead


def bury_followers(connection: WarehouseConnection, session_id: int | None = None) -> int:
    """Give up progress messages that were written behind a dead one of their session; return how many."""
    return connection.execute(sql.load("outbox/bury_followers"), {"session_id": session_id}).rowcount


def report_refused(connection: WarehouseConnection, *, reported_in: str) -> list[dict[str, Any]]:
    """Return the refused messages that no other run of the relay has reported, oldest first; they are its own now.

    Args:
        connection: in whose transaction it is noted.
        reported_in: id of the relay's run; asking again in the same run gives the same messages.
    """
    rows = connection.execute(sql.load("outbox/report_refused"), {"reported_in": reported_in}).fetchall()
    return sorted(rows, key=lambda row: row["id"])


def waiting(
    connection: WarehouseConnection, *, session_id: int | None = None, dedupe_key: str | None = None
) -> dict[str, Any]:
    """Return ``pending`` (a count), ``oldest_pending_at`` and ``last_error`` of what still waits."""
    row = connection.execute(
        sql.load("outbox/waiting"), {"session_id": session_id, "dedupe_key": dedupe_key}
    ).fetchone()
    return dict(row or {"pending": 0, "oldest_pending_at": None, "last_error": None})
