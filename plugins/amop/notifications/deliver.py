"""Send the pending notifications, one message per cause. A notification that cannot be sent fails nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from amop import time_limits
from amop.database.connection import connect, transaction
from amop.foreign_text import storable_error
from amop.notifications import store
from amop.notifications.message import Message, build_message

log = logging.getLogger(__name__)

MOST_AT_ONCE = 500
"""Notifications of one cause that are claimed together."""

FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=5), timedelta(hours=1)
"""Between two attempts; the delay doubles."""

MOST_ATTEMPTS = 26
"""About a day of attempts; what could not be sent by then is no news."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one call of `deliver` did."""

    messages: int
    notifications: int
    failures: int
    """Messages that could not be sent."""


def deliver(
    conninfo: str,
    send: Callable[[Message], None],
    *,
    base_url: str,
    now: datetime,
    monotonic: Callable[[], float] = time.monotonic,
) -> Delivered:
    """Send the notifications that are due and record the result.

    The rows of a message are locked while it is sent, so that two processes never send the same one. A process that
    is killed between sending and recording leaves them pending: they are then sent twice.

    Args:
        conninfo: the warehouse.
        send: sends one message; every exception counts as "not sent".
        base_url: Airflow's address.
        now: the present time.
        monotonic: monotonic clock in seconds, for the length of the delivery.
    """
    until = monotonic() + time_limits.DELIVERY.total_seconds()
    messages = notifications = failures = 0
    while monotonic() < until:
        with transaction(conninfo, application_name="amop notify_operators") as connection:
            claimed = store.next_notifications(connection, now=now, batch=MOST_AT_ONCE)
            if not claimed:
                break
            error = _send(send, build_message(claimed, base_url=base_url))
            attempts = max(each.attempts for each in claimed) + 1
            delay = min(FIRST_DELAY * 2 ** min(attempts - 1, 10), LONGEST_DELAY)
            is_last = attempts >= MOST_ATTEMPTS
            store.set_result(
                connection,
                ids=[each.id for each in claimed],
                state="sent" if error is None else "failed" if is_last else "pending",
                error=error,
                next_attempt_at=now + delay,
                sent_at=now if error is None else None,
            )
        if error is None:
            messages, notifications = messages + 1, notifications + len(claimed)
        else:
            failures += 1
    return Delivered(messages, notifications, failures)


def _send(send: Callable[[Message], None], message: Message) -> str | None:
    """Send a message; return the error's text if that failed."""
    try:
        send(message)
    except Exception as error:
        text = storable_error(error) or type(error).__name__
        log.warning("The notification %r was not sent and is tried again: %s", message.subject, text)
        return text
    log.info("Notification sent: %s", message.subject)
    return None


def unsent(conninfo: str) -> store.UnsentNotifications:
    """Return the number of notifications that wait or could not be sent, with the latest error."""
    with connect(conninfo, application_name="amop status") as connection:
        return store.waiting(connection)
