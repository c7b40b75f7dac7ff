"""SQL of the watchdog: runs and sessions whose process or DAG run is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class StaleRun:
    """A running sync run without progress and without a heartbeat."""

    id: int
    dag_id: str
    dag_run_id: str
    service_provider_id: int
    service_provider_name: str
    pages: int
    alive_at: datetime
    """The later of its last progress and its last heartbeat."""


@dataclass(frozen=True, slots=True)
class StaleSession:
    """A running optimization session without a heartbeat."""

    id: int
    service_provider_id: int
    service_provider_name: str
    integration: str
    opened_by: str
    progress: int
    alive_at: datetime
    """The latest heartbeat of the session and its sync run."""


@dataclass(frozen=True, slots=True)
class RunningRun:
    """A running sync run and the DAG run that executes it."""

    id: int
    dag_id: str
    dag_run_id: str
    attempt: int
    service_provider_id: int
    service_provider_name: str


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A running optimization session whose sync has ended."""

    id: int
    service_provider_id: int
    service_provider_name: str
    integration: str
    opened_by: str
    progress: int
    sync_dag_id: str | None
    """DAG of the sync that fed the session, None for a session without a sync."""
    sync_dag_run_id: str | None


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A failed or refused sync run, the latest of its provider, and its DAG run."""

    id: int
    dag_id: str
    dag_run_id: str


@dataclass(frozen=True, slots=True)
class UnfinishedSession:
    """A session that failed or has undecided or unsent plan changes, the latest of its provider, and its opener."""

    id: int
    integration: str
    opened_by: str
    has_instance: bool
    """Whether its optimization has begun: what is left of the session is then left to that DAG run."""


@dataclass(frozen=True, slots=True)
class OpenChanges:
    """A session whose plan changes wait for an approval or are to be sent, and whether its DAG run was found ended."""

    id: int
    integration: str
    opened_by: str
    is_lost: bool


@statement("maintenance/record_watchdog_check")
def record_watchdog_check(connection: WarehouseConnection, *, now: datetime, longest_gap: timedelta) -> datetime:
    """Record a check of the watchdog; return since when it has checked without a gap."""


@statement("maintenance/stale_runs")
def stale_runs(connection: WarehouseConnection, *, stale_since: datetime) -> list[StaleRun]:
    """Return and lock the running runs without progress and without a heartbeat since a moment."""


@statement("maintenance/stale_sessions")
def stale_sessions(connection: WarehouseConnection, *, stale_since: datetime) -> list[StaleSession]:
    """Return and lock the running sessions without a heartbeat since a moment."""


@statement("maintenance/running_runs")
def running_runs(connection: WarehouseConnection, *, existing_system_dag_id: str) -> list[RunningRun]:
    """Return the running sync runs whose DAG runs Airflow can be asked about."""


@statement("maintenance/open_sessions")
def open_sessions(connection: WarehouseConnection) -> list[OpenSession]:
    """Return the running sessions whose sync does not run."""


@statement("maintenance/failed_runs")
def failed_runs(connection: WarehouseConnection, *, existing_system_dag_id: str, row_limit: int) -> list[FailedRun]:
    """Return the failed runs, the latest of their providers, whose DAG runs Airflow may have deleted."""


@statement("maintenance/unfinished_sessions")
def unfinished_sessions(
    connection: WarehouseConnection, *, superseded_since: datetime, row_limit: int
) -> list[UnfinishedSession]:
    """Return the unfinished sessions, and those superseded lately, whose DAG runs may be deleted."""


@statement("maintenance/settle_superseded_changes")
def settle_superseded_changes(connection: WarehouseConnection, *, longest_write: timedelta) -> RowCount:
    """Settle the plan changes in doubt of superseded sessions by a later list; return their number."""


@statement("maintenance/mark_run_deleted")
def mark_run_deleted(connection: WarehouseConnection, *, run_id: int, now: datetime) -> None:
    """Record that Airflow no longer has the DAG run of a failed run."""


@statement("maintenance/mark_session_deleted")
def mark_session_deleted(connection: WarehouseConnection, *, session_id: int, now: datetime) -> None:
    """Record that Airflow no longer has any DAG run of a session."""


@statement("maintenance/waiting_approvals")
def waiting_approvals(connection: WarehouseConnection) -> list[OpenChanges]:
    """Return the sessions whose plan changes wait for an approval, the oldest first."""


@statement("maintenance/set_approval_lost")
def set_approval_lost(connection: WarehouseConnection, *, session_id: int, lost_at: datetime | None) -> None:
    """Record that the approval of a session can no longer be answered; None: it can again."""


@statement("maintenance/sessions_to_apply")
def sessions_to_apply(connection: WarehouseConnection) -> list[OpenChanges]:
    """Return the sessions whose approved plan changes were not all sent, the oldest first."""


@statement("maintenance/set_applying_lost")
def set_applying_lost(connection: WarehouseConnection, *, session_id: int, lost_at: datetime | None) -> None:
    """Record that no DAG run sends the rest of a session's plan changes; None: one does again."""
