"""Optimization sessions: one runs per provider, and AMOP gets each step and the end exactly once.

Every function works in the caller's transaction and writes the message to AMOP with the change, so that neither exists
without the other. The messages of a session are always the first of the steps 0, 20, 30, 40, 50, 100, in order,
followed by at most one ErrorMessage. ``now`` None is the database's clock.
"""

from __future__ import annotations

import logging
from datetime import datetime

from amop.database.connection import WarehouseConnection, transaction
from amop.foreign_text import storable_error
from amop.messages.bodies import SessionFacts, error_message, error_text, progress_message
from amop.messages.outbox import enqueue, session_error_key, session_progress_key
from amop.runs import store
from amop.runs.progress import PROGRESS_STEPS, steps_between
from amop.runs.store.sessions import RunningSession, Session

log = logging.getLogger(__name__)

COMPLETE = PROGRESS_STEPS[-1]
OPENING_TRIES = 5
"""A session may end between our insert and our query for the one in its way; the insert is then tried again."""


class SessionError(RuntimeError):
    """Base of the errors of a session."""


class SessionAlreadyRunningError(SessionError):
    """The provider has a running session; the message names it, its opener and its start."""


class SessionEndedError(SessionError):
    """The session is complete, failed or cancelled: it takes no further step."""


class SessionNotFoundError(SessionError):
    """There is no session with this id."""


def open_session(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    opened_by: str,
    now: datetime | None = None,
) -> Session:
    """Open a session and send AMOP 0 %; a repeated call by the same opener returns the same session, ended or not.

    Args:
        connection: the caller's transaction.
        service_provider_id: the provider of the session.
        billing_period_id: a billing period of that provider.
        opened_by: the opener, such as ``<dag id>/<run id>``; the key of a repeated call.
        now: the moment, aware.

    Raises:
        SessionAlreadyRunningError: another session of this provider is running.
        ValueError: the billing period does not belong to this provider.
    """
    if not store.sessions.has_billing_period(
        connection, service_provider_id=service_provider_id, billing_period_id=billing_period_id
    ):
        raise ValueError(
            f"billing period {billing_period_id} does not belong to service provider {service_provider_id}"
        )
    for _ in range(OPENING_TRIES):
        with connection.transaction():
            session_id = store.sessions.insert_session(
                connection,
                service_provider_id=service_provider_id,
                billing_period_id=billing_period_id,
                opened_by=opened_by,
                now=now,
            )
            if session_id is not None:
                _enqueue_progress(connection, session_id, (0,))
                return load_session(connection, session_id)
        known_id = store.sessions.session_opened_by(
            connection, service_provider_id=service_provider_id, opened_by=opened_by
        )
        if known_id is not None:
            return load_session(connection, known_id)
        running = store.sessions.running_session(connection, service_provider_id=service_provider_id)
        if running is not None:
            raise SessionAlreadyRunningError(_running_text(running))
    raise SessionAlreadyRunningError(
        f"Service provider {service_provider_id}: other sessions were opened and ended repeatedly; try again"
    )


def _running_text(running: RunningSession) -> str:
    return (
        f"Optimization session {running.id} of {running.service_provider_name} ({running.service_provider_id}) has "
        f"been running since {running.started_at:%Y-%m-%d %H:%M:%S %Z}, opened by {running.opened_by}, at "
        f"{running.progress} %; wait until it has ended"
    )


def advance_session(
    connection: WarehouseConnection, session_id: int, progress: int, *, now: datetime | None = None
) -> bool:
    """Move a running session forward and send AMOP its progress; return True if it moved.

    A step that was made already counts as a heartbeat. Skipped steps are sent first, in order: AMOP must see every
    one. ``progress`` 100 completes the session.

    Raises:
        SessionEndedError: the session has ended.
        SessionNotFoundError: there is no such session.
        ValueError: ``progress`` is not a step.
    """
    with connection.transaction():
        session = _locked_session(connection, session_id)
        steps = steps_between(session.progress, progress)
        if not session.is_running:
            raise SessionEndedError(_ended_text(session))
        if not steps:
            store.sessions.touch_session(connection, session_id=session_id, now=now)
            return False
        _enqueue_progress(connection, session_id, steps)
        store.sessions.set_session_progress(connection, session_id=session_id, progress=progress, now=now)
    return True


def complete_session(connection: WarehouseConnection, session_id: int, *, now: datetime | None = None) -> bool:
    """End a session as complete and send AMOP 100 %; False if it was complete already.

    Raises:
        SessionEndedError: the session has failed or was cancelled.
        SessionNotFoundError: there is no such session.
    """
    with connection.transaction():
        if _locked_session(connection, session_id).status == "complete":
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
    """End a session as failed and send AMOP one ErrorMessage; False if it had ended, then nothing changes.

    Args:
        connection: the caller's transaction.
        session_id: the session.
        text: the ErrorMessage, and the session's error.
        detail: follows the text in the session's error, for the operator only.
        now: the moment, aware.

    Raises:
        SessionNotFoundError: there is no such session.
    """
    error = error_text(text)
    with connection.transaction():
        if not _locked_session(connection, session_id).is_running:
            return False
        stored = error if detail is None else f"{error}: {storable_error(detail)}"
        store.sessions.set_session_failed(connection, session_id=session_id, error=stored, now=now)
        _enqueue_error(connection, session_id, text)
    return True


def cancel_session(conninfo: str, session_id: int, text: str, *, now: datetime | None = None) -> bool:
    """End a session as cancelled, with its instance, and send AMOP one ErrorMessage; False if it had ended.

    A cancelled session is not replaced on the same day.

    Raises:
        SessionNotFoundError: there is no such session.
    """
    with transaction(conninfo, application_name="amop cancel_session") as connection:
        if not _locked_session(connection, session_id).is_running:
            return False
        store.sessions.set_session_cancelled(connection, session_id=session_id, error=error_text(text), now=now)
        store.sessions.end_instance_of_session(connection, session_id=session_id, now=now)
        _enqueue_error(connection, session_id, text)
    return True


def _enqueue_error(connection: WarehouseConnection, session_id: int, text: str) -> None:
    enqueue(
        connection,
        kind="error",
        session_id=session_id,
        dedupe_key=session_error_key(session_id),
        payload=error_message(_facts(connection, session_id), text),
    )


def end_instance_of_failed_session(conninfo: str, session_id: int, *, now: datetime | None = None) -> None:
    """End the instance of a session that has failed; nothing changes while the session runs."""
    with transaction(conninfo, application_name="amop end_instance") as connection:
        store.sessions.end_instance_of_session(connection, session_id=session_id, now=now)


def touch_session(connection: WarehouseConnection, session_id: int, *, now: datetime | None = None) -> bool:
    """Record that a running session is alive; False if it has ended."""
    return store.sessions.touch_session(connection, session_id=session_id, now=now) == 1


def session_is_running(connection: WarehouseConnection, session_id: int) -> bool:
    """Return True while a session is running; False for one that does not exist."""
    return store.sessions.session_status(connection, session_id=session_id) == "running"


def session_is_complete(conninfo: str, session_id: int) -> bool:
    """Return True if a session is complete: its tasks have nothing to do, as the log says."""
    with transaction(conninfo, application_name="amop session") as connection:
        is_complete = store.sessions.session_status(connection, session_id=session_id) == "complete"
    if is_complete:
        log.info("Optimization session %s is already complete, nothing to do", session_id)
    return is_complete


def load_session(connection: WarehouseConnection, session_id: int) -> Session:
    """Return a session with its provider and billing period.

    Raises:
        SessionNotFoundError: there is no such session.
    """
    session = store.sessions.find_session(connection, session_id=session_id)
    if session is None:
        raise SessionNotFoundError(f"optimization session {session_id} does not exist")
    return session


def lock_session(connection: WarehouseConnection, session_id: int) -> None:
    """Lock a session until the transaction ends, so that one process at a time changes it."""
    store.sessions.lock_session(connection, session_id=session_id)


def _locked_session(connection: WarehouseConnection, session_id: int) -> Session:
    lock_session(connection, session_id)
    return load_session(connection, session_id)


def _ended_text(session: Session) -> str:
    since = f" since {session.ended_at:%Y-%m-%d %H:%M:%S %Z}" if session.ended_at else ""
    return (
        f"Optimization session {session.id} of {session.service_provider_name} ({session.service_provider_id}) is "
        f"{session.status}{since}" + (f": {session.error}" if session.error else "")
    )


def _enqueue_progress(connection: WarehouseConnection, session_id: int, steps: tuple[int, ...]) -> None:
    facts = _facts(connection, session_id)
    for step in steps:
        enqueue(
            connection,
            kind="progress",
            session_id=session_id,
            dedupe_key=session_progress_key(session_id, step),
            payload=progress_message(facts, step),
        )


def _facts(connection: WarehouseConnection, session_id: int) -> SessionFacts:
    facts = store.sessions.session_facts(connection, session_id=session_id)
    if facts is None:
        raise SessionNotFoundError(f"optimization session {session_id} does not exist")
    return facts
