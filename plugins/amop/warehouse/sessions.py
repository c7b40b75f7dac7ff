"""Optimization sessions: one runs per provider, each step is told to AMOP once, the end is told too.

Every function works in the caller's transaction and writes AMOP's message with the change, so that neither exists
without the other. The messages of a session are always the first steps of 0, 20, 30, 40, 50, 100, in order, and
at most one ErrorMessage after them. ``now`` None is the database's clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from amop.domain.amop_messages import SessionFacts, error_message, error_text, progress_message
from amop.domain.progress import PROGRESS_STEPS, steps_between
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection
from amop.warehouse.outbox import enqueue

COMPLETE = PROGRESS_STEPS[-1]
OPENING_TRIES = 5
"""A session may end between our insert and our look at what stood in its way; then the insert is tried again."""


class SessionError(RuntimeError):
    """Base of what can be wrong with a session."""


class SessionAlreadyRunningError(SessionError):
    """The provider has a running session; the message names it, its opener and since when it runs."""


class SessionEndedError(SessionError):
    """The session is complete, failed or cancelled: it takes no further step."""


class SessionNotFoundError(SessionError):
    """There is no session of this id."""


def open_session(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    opened_by: str,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Open a session and tell AMOP 0 %; the same ``opened_by`` asking again gets the same session, ended or not.

    Args:
        connection: in whose transaction all of it happens.
        service_provider_id: whose session.
        billing_period_id: a billing period of that provider.
        opened_by: who asks, such as ``<dag id>/<run id>``; the key of a repeated call.
        now: the moment, aware.

    Returns:
        The row as `session_row` gives it.

    Raises:
        SessionAlreadyRunningError: another one runs for this provider.
        ValueError: the billing period is not one of this provider.
    """
    values = {
        "service_provider_id": service_provider_id,
        "billing_period_id": billing_period_id,
        "opened_by": opened_by,
        "now": now,
    }
    if connection.execute(sql.load("sessions/billing_period_of_provider"), values).fetchone() is None:
        raise ValueError(f"billing period {billing_period_id} is not one of service provider {service_provider_id}")
    for _ in range(OPENING_TRIES):
        with connection.transaction():
            added = connection.execute(sql.load("sessions/add_session"), values).fetchone()
            if added is not None:
                session = session_row(connection, added["id"])
                _enqueue_progress(connection, session["id"], (0,))
                return session
        known = connection.execute(sql.load("sessions/session_opened_by"), values).fetchone()
        if known is not None:
            return session_row(connection, known["id"])
        running = connection.execute(sql.load("sessions/running_session"), values).fetchone()
        if running is not None:
            raise SessionAlreadyRunningError(_running_text(running))
    raise SessionAlreadyRunningError(
        f"Service provider {service_provider_id}: other sessions were opened and ended all the time; try again"
    )


def _running_text(running: dict[str, Any]) -> str:
    return (
        f"Optimization session {running['id']} of {running['service_provider_name']} "
        f"({running['service_provider_id']}) runs since {running['started_at']:%Y-%m-%d %H:%M:%S %Z}, opened by "
        f"{running['opened_by']}, at {running['progress']} %; wait until it has ended"
    )


def advance_session(
    connection: WarehouseConnection, session_id: int, progress: int, *, now: datetime | None = None
) -> bool:
    """Move a running session forward and tell AMOP; return True if it moved.

    A step that was made already is only a sign of life. Steps that were left out are told first, in order: AMOP
    must see every one. ``progress`` 100 completes the session.

    Raises:
        SessionEndedError: the session has ended.
        SessionNotFoundError: there is no such session.
        ValueError: ``progress`` is not a step.
    """
    with connection.transaction():
        session = _locked_session(connection, session_id)
        steps = steps_between(session["progress"], progress)
        if session["status"] != "running":
            raise SessionEndedError(_ended_text(session))
        if not steps:
            touch_session(connection, session_id, now=now)
            return False
        _enqueue_progress(connection, session_id, steps)
        connection.execute(
            sql.load("sessions/set_progress"), {"session_id": session_id, "progress": progress, "now": now}
        )
    return True


def complete_session(connection: WarehouseConnection, session_id: int, *, now: datetime | None = None) -> bool:
    """End a session as complete and tell AMOP 100 %; False if it was complete already.

    Raises:
        SessionEndedError: the session has failed or was cancelled.
        SessionNotFoundError: there is no such session.
    """
    with connection.transaction():
        if _locked_session(connection, session_id)["status"] == "complete":
            return False
        return advance_session(connection, session_id, COMPLETE, now=now)


def fail_session(
    connection: WarehouseConnection,
    session_id: int,
    text: str,
    *,
    detail: str | None = None,
    now: datetime | None = None,
) -> bool:
    """End a session as failed and tell AMOP with one ErrorMessage; False if it had ended, then nothing changes.

    Args:
        connection: in whose transaction all of it happens.
        session_id: whose end.
        text: what AMOP is told, and the session's error.
        detail: what the session's error says after the text, for the operator alone.
        now: the moment, aware.

    Raises:
        SessionNotFoundError: there is no such session.
    """
    error = error_text(text)
    with connection.transaction():
        if _locked_session(connection, session_id)["status"] != "running":
            return False
        connection.execute(
            sql.load("sessions/fail_session"),
            {"session_id": session_id, "error": error if detail is None else f"{error}: {detail}", "now": now},
        )
        enqueue(
            connection,
            kind="error",
            session_id=session_id,
            dedupe_key=f"session:{session_id}:error",
            payload=error_message(_message_facts(connection, session_id), text),
        )
    return True


def touch_session(connection: WarehouseConnection, session_id: int, *, now: datetime | None = None) -> bool:
    """Stamp a running session as alive; False if it has ended."""
    values = {"session_id": session_id, "now": now}
    return connection.execute(sql.load("sessions/touch_session"), values).rowcount == 1


def session_row(connection: WarehouseConnection, session_id: int) -> dict[str, Any]:
    """Return a session with its provider's name and its billing period's start and end.

    Raises:
        SessionNotFoundError: there is no such session.
    """
    row = connection.execute(sql.load("sessions/session"), {"session_id": session_id}).fetchone()
    if row is None:
        raise SessionNotFoundError(f"optimization session {session_id} does not exist")
    return row


def _locked_session(connection: WarehouseConnection, session_id: int) -> dict[str, Any]:
    connection.execute(sql.load("sessions/lock_session"), {"session_id": session_id})
    return session_row(connection, session_id)


def _ended_text(session: dict[str, Any]) -> str:
    since = f" since {session['ended_at']:%Y-%m-%d %H:%M:%S %Z}" if session["ended_at"] else ""
    return (
        f"Optimization session {session['id']} of {session['service_provider_name']} "
        f"({session['service_provider_id']}) is {session['status']}{since}"
        + (f": {session['error']}" if session["error"] else "")
    )


def _enqueue_progress(connection: WarehouseConnection, session_id: int, steps: tuple[int, ...]) -> None:
    facts = _message_facts(connection, session_id)
    for step in steps:
        enqueue(
            connection,
            kind="progress",
            session_id=session_id,
            dedupe_key=f"session:{session_id}:progress:{step}",
            payload=progress_message(facts, step),
        )


def _message_facts(connection: WarehouseConnection, session_id: int) -> SessionFacts:
    row = connection.execute(sql.load("sessions/message_facts"), {"session_id": session_id}).fetchone()
    if row is None:
        raise SessionNotFoundError(f"optimization session {session_id} does not exist")
    return SessionFacts(**row)
