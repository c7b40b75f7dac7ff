"""Deliver the outbox to AMOP: at least once, and in order within a session. Any process may call it at any time."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from amop import time_limits
from amop.clock import Clock
from amop.database.connection import WarehouseConnection, connect
from amop.messages.amop_client import AmopClient, AmopRefusedError, AmopUnavailableError
from amop.messages.outbox import (
    FIRST_DELAY_SECONDS,
    claim_messages,
    dead_letter,
    dead_letter_followers,
    mark_sent,
    release_messages,
    schedule_retry,
    undelivered_messages,
)
from amop.messages.store import OutboxMessage

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop outbox"

MAXIMUM_CONSECUTIVE_FAILURES = 3
"""Stop after this many consecutive failed attempts: AMOP is then unavailable, and the next call continues."""

BATCH_SIZE = 200
"""Messages that are claimed at once."""

SENDING_SECONDS = FIRST_DELAY_SECONDS / 3
"""The messages of a batch that are not begun within this time are given back, before their claim ends."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The result of one call of `deliver_outbox`."""

    sent: int
    dead: int
    """Number of dead-lettered messages: those that AMOP refused, and the progress messages that follow them."""
    pending: int
    last_error: str | None


def deliver_outbox(
    conninfo: str,
    client: AmopClient,
    *,
    now: Clock | None = None,
    session_id: int | None = None,
    dedupe_key: str | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> DeliveryReport:
    """Send every message that is due now; retry a failed one later, with back-off.

    A message is claimed and committed before it is sent, and marked afterwards. When a process is killed in between,
    the next one sends the message again, with the same idempotency key. No transaction is open during an HTTP call.
    No new message is started after `amop.time_limits.DELIVERY`; the next call continues.

    Args:
        conninfo: libpq connection string of the warehouse.
        client: AMOP.
        now: the clock, aware; None = the database's.
        session_id: send only the messages of this session.
        dedupe_key: send only this message.
        monotonic: monotonic clock in seconds, for the length of the delivery.
    """
    until = monotonic() + time_limits.DELIVERY.total_seconds()
    with connect(conninfo, application_name=APPLICATION_NAME, autocommit=True) as connection:
        # Nothing is lost with the last commits before a crash of the database: these messages are sent once more.
        connection.execute("SET synchronous_commit = off")
        delivery = _Delivery(connection, client, now or (lambda: None))
        delivery.dead += dead_letter_followers(connection, session_id)
        while not delivery.is_stopped and monotonic() < until:
            batch = deque(
                claim_messages(
                    connection, session_id=session_id, dedupe_key=dedupe_key, limit=BATCH_SIZE, now=delivery.now()
                )
            )
            if not batch:
                break
            batch_until = min(until, monotonic() + SENDING_SECONDS)
            while batch and not delivery.is_stopped and monotonic() < batch_until:
                delivery.send(batch.popleft())
            release_messages(connection, batch, now=delivery.now())
        left = undelivered_messages(connection, session_id=session_id, dedupe_key=dedupe_key)
    if left.pending:
        log.warning("%s messages to AMOP are pending and will be retried: %s", left.pending, left.last_error)
    return DeliveryReport(delivery.sent, delivery.dead, left.pending, left.last_error)


@dataclass(slots=True)
class _Delivery:
    """One delivery and its counts."""

    connection: WarehouseConnection
    client: AmopClient
    now: Callable[[], datetime | None]
    sent: int = 0
    dead: int = 0
    consecutive_failures: int = 0

    @property
    def is_stopped(self) -> bool:
        """True where AMOP is unavailable."""
        return self.consecutive_failures >= MAXIMUM_CONSECUTIVE_FAILURES

    def send(self, message: OutboxMessage) -> None:
        """Send a claimed message and record the outcome."""
        try:
            self.client.post(message.kind, message.payload, message.dedupe_key)
        except AmopRefusedError as error:
            log.error("AMOP refused message %s, it will not be retried: %s", message.dedupe_key, error)
            self.dead += dead_letter(self.connection, message, str(error))
        except AmopUnavailableError as error:
            log.warning("Attempt %s to deliver %s failed: %s", message.attempts, message.dedupe_key, error)
            schedule_retry(self.connection, message, str(error), delay_seconds=error.retry_after or 0, now=self.now())
            self.consecutive_failures += 1
        else:
            mark_sent(self.connection, message, now=self.now())
            self.sent += 1
            self.consecutive_failures = 0
