"""SQL of optimization sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement
from amop.messages.bodies import SessionFacts
from amop.runs.session_window import DayOfSessions


@dataclass(frozen=True, slots=True)
class Session:
    """An optimization session with its provider and billing period; times are UTC."""

    id: int
    session_guid: UUID
    service_provider_id: int
    service_provider_name: str
    billing_period_id: int
    cycle_start: datetime
    cycle_end: datetime
    status: str
    """``running``, ``complete``, ``failed`` or ``cancelled``."""
    progress: int
    """Percent: 0, 20, 30, 40, 50 or 100."""
    error: str | None
    opened_by: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None

    @property
    def is_running(self) -> bool:
        """True until the session has ended."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class RunningSession:
    """The session of a provider that runs now."""

    id: int
    service_provider_id: int
    service_provider_name: str
    opened_by: str
    progress: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class RunningWork:
    """The work in progress for a provider, each None where there is none."""

    session_id: int | None
    sync_run_id: int | None
    changes_instance_id: int | None


@dataclass(frozen=True, slots=True)
class FailedSession:
    """A session that has failed."""

    is_latest: bool
    """Whether its provider has no later session."""
    has_begun: bool
    """Whether its optimization had opened an instance."""


@statement("runs/has_billing_period")
def has_billing_period(connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int) -> bool:
    """Return True if the billing period belongs to the provider."""


@statement("runs/insert_session")
def insert_session(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    opened_by: str,
    now: datetime | None,
) -> int | None:
    """Insert a session and return its id; None where one runs already or the same opener has one."""


@statement("runs/session_opened_by")
def session_opened_by(connection: WarehouseConnection, *, service_provider_id: int, opened_by: str) -> int | None:
    """Return the id of the session that an opener got earlier."""


@statement("runs/running_session")
def running_session(connection: WarehouseConnection, *, service_provider_id: int) -> RunningSession | None:
    """Return the session of a provider that runs now."""


@statement("runs/session_row")
def find_session(connection: WarehouseConnection, *, session_id: int) -> Session | None:
    """Return a session with its provider and billing period, None if there is none."""


@statement("runs/session_status")
def session_status(connection: WarehouseConnection, *, session_id: int) -> str | None:
    """Return the status of a session, None if there is none."""


@statement("runs/failed_session")
def failed_session(connection: WarehouseConnection, *, session_id: int) -> FailedSession | None:
    """Return what decides whether a failed session may be replaced, None for one that has not failed."""


@statement("runs/lock_session")
def lock_session(connection: WarehouseConnection, *, session_id: int) -> int | None:
    """Lock a session's row until the transaction ends; return its id, None if there is none."""


@statement("runs/session_facts")
def session_facts(connection: WarehouseConnection, *, session_id: int) -> SessionFacts | None:
    """Return the parts of a session that its messages carry."""


@statement("runs/set_session_progress")
def set_session_progress(
    connection: WarehouseConnection, *, session_id: int, progress: int, now: datetime | None
) -> None:
    """Move a running session forward; 100 completes it."""


@statement("runs/set_session_failed")
def set_session_failed(connection: WarehouseConnection, *, session_id: int, error: str, now: datetime | None) -> None:
    """End a running session as failed."""


@statement("runs/set_session_cancelled")
def set_session_cancelled(
    connection: WarehouseConnection, *, session_id: int, error: str, now: datetime | None
) -> None:
    """End a running session as cancelled."""


@statement("runs/end_instance_of_session")
def end_instance_of_session(connection: WarehouseConnection, *, session_id: int, now: datetime | None) -> None:
    """End the running instance of a session that has failed or was cancelled, with the session's error."""


@statement("runs/touch_session")
def touch_session(connection: WarehouseConnection, *, session_id: int, now: datetime | None) -> RowCount:
    """Record that a running session is alive."""


@statement("runs/record_session_heartbeat")
def record_session_heartbeat(connection: WarehouseConnection, *, session_id: int, now: datetime | None) -> None:
    """Record the heartbeat of a running session, unless its row is locked."""


@statement("runs/sessions_of_day")
def sessions_of_day(
    connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int, day_start: datetime
) -> DayOfSessions:
    """Return the outcome of the sessions of a billing period that were opened since a local day began."""


@statement("runs/running_work")
def running_work(
    connection: WarehouseConnection, *, service_provider_id: int, alive_since: datetime, changes_since: datetime
) -> RunningWork:
    """Return the work in progress for a provider."""
