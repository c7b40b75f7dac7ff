"""Delivering the outbox: at least once, in order within a session, by whichever process comes first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from amop import time_limits
from amop.notify.amop_client import AmopClient, AmopRefusedError, AmopUnavailableError
from amop.warehouse.connection import transaction
from amop.warehouse.outbox import (
    OutboxMessage,
    bury_followers,
    claim_message,
    mark_dead,
    mark_retry,
    mark_sent,
    waiting,
)

log = logging.getLogger(__name__)

APPLICATION_NAME = "amop outbox"

FAILURES_IN_A_ROW = 3
"""After so many messages that AMOP did not take, AMOP is taken to be down: the rest waits for the next call."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one call of `deliver_outbox` did, and what it left."""

    sent: int
    dead: int
    """Messages that AMOP refused for good, and the progress messages behind them."""
    pending: int
    last_error: str | None


def deliver_outbox(
    conninfo: str,
    client: AmopClient,
    *,
    now: Callable[[], datetime],
    session_id: int | None = None,
    dedupe_key: str | None = None,
) -> DeliveryReport:
    """Send every message that may be sent now; what AMOP does not take is tried again later, with back-off.

    A message is claimed and committed before it is sent, and marked after: a process that is killed in between leaves a
    message that the next one sends again, with the same idempotency key. No transaction is open while HTTP runs. What
    is not begun within `DELIVERY` is left for the next call.

    Args:
        conninfo: libpq connection string of the warehouse.
        client: AMOP.
        now: the clock, aware.
        session_id: only this session's messages.
        dedupe_key: only this message.
    """
    sent = dead = failures = 0
    until = now() + time_limits.DELIVERY
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        dead += bury_followers(connection, session_id)
    while failures < FAILURES_IN_A_ROW and now() < until:
        with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
            message = claim_message(connection, session_id=session_id, dedupe_key=dedupe_key, now=now())
        if message is None:
            break
        try:
            client.post(message.kind, message.payload, message.dedupe_key)
        except AmopRefusedError as error:
            dead += _give_up(conninfo, message, str(error))
        except AmopUnavailableError as error:
            _put_off(conninfo, message, error, now())
            failures += 1
        else:
            with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
                mark_sent(connection, message, now=now())
            sent += 1
            failures = 0
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        left = waiting(connection, session_id=session_id, dedupe_key=dedupe_key)
    if left["pending"]:
        log.warning("%s messages to AMOP wait for their next try: %s", left["pending"], left["last_error"])
    return DeliveryReport(sent, dead, int(left["pending"]), left["last_error"])


def _give_up(conninfo: str, message: OutboxMessage, text: str) -> int:
    log.error("AMOP refused %s for good: %s", message.dedupe_key, text)
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        return mark_dead(connection, message, text)


def _put_off(conninfo: str, message: OutboxMessage, error: AmopUnavailableError, now: datetime) -> None:
    log.warning("%s was not delivered (try %s): %s", message.dedupe_key, message.attempts, error)
    with transaction(conninfo, application_name=APPLICATION_NAME) as connection:
        mark_retry(connection, message, str(error), not_before=now + timedelta(seconds=error.retry_after or 0))
