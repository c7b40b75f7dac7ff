"""SQL of sync runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement
from amop.families import IdentifierRule
from amop.runs.run_warning import RunWarning


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A device sync run with its provider and billing period; times are UTC."""

    id: int
    service_provider_id: int
    dag_id: str
    dag_run_id: str
    attempt: int
    """1, and one more each time the run is reopened."""
    status: str
    """``running``, ``complete``, ``failed`` or ``refused``."""
    error: str | None
    billing_period_id: int
    """0 for a refused run whose billing period could not be determined."""
    optimization_session_id: int | None
    is_full: bool
    modified_since: datetime | None
    """Start of an incremental list, None for a full one."""
    allows_mass_deactivation: bool
    allows_implausible: bool
    """True when an operator lets this run pass above the plausibility limits."""
    list_is_complete: bool
    list_is_exact: bool
    """True when no SIM can be missing from the list."""
    list_is_whole: bool
    """False when the carrier refuses to list SIMs that were last modified long ago."""
    pages: int
    devices_seen: int
    work_rows_queued: int
    devices_inserted: int
    devices_updated: int
    devices_vanished: int
    devices_missing: int
    usage_updated: int
    usage_unconfirmed: int
    devices_merged_at: datetime | None
    usage_merged_at: datetime | None
    usage_as_of: datetime | None
    progress_at: datetime
    heartbeat_at: datetime | None
    notification_sent_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None
    staging_removed_at: datetime | None
    replayed_run_id: int | None
    """The live run whose archive this one replays, None for a live run."""
    service_provider_name: str
    connection_id: str
    time_zone: str
    detail_calls_per_run: int
    usage_calls_per_run: int
    maximum_bad_share: Decimal
    maximum_vanished_share: Decimal
    integration: str
    portal_type_id: int
    supports_optimization: bool
    cycle_start: datetime
    cycle_end: datetime

    @property
    def identifier(self) -> IdentifierRule:
        """What identifies a SIM at the carrier."""
        return KNOWN_INTEGRATIONS[self.integration].api.identifier

    @property
    def is_running(self) -> bool:
        """True until the run has ended."""
        return self.status == "running"

    @property
    def is_complete(self) -> bool:
        """True once every step of the run is done."""
        return self.status == "complete"

    @property
    def label(self) -> str:
        """The provider's name and id, for messages."""
        return f"{self.service_provider_name} ({self.service_provider_id})"


@dataclass(frozen=True, slots=True)
class Provider:
    """A service provider as the start of a run needs it."""

    id: int
    name: str
    connection_id: str
    time_zone: str
    bill_period_end_day: int
    bill_period_end_hour: int
    optimization_start_hour_local: int
    is_active: bool
    supports_optimization: bool


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run that was just opened, or found again."""

    id: int
    status: str
    attempt: int
    billing_period_id: int | None
    """None only where the run is refused."""
    optimization_session_id: int | None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run of a DAG run and how far it got."""

    id: int
    status: str


@dataclass(frozen=True, slots=True)
class HoldingRun:
    """The run that holds a provider now."""

    id: int
    dag_id: str
    dag_run_id: str
    started_at: datetime
    alive_at: datetime
    """The later of its last progress and its last heartbeat."""
    is_one_process: bool
    """True for ``airflow dags test``."""
    billing_period_id: int | None
    is_full: bool
    modified_since: datetime | None


@dataclass(frozen=True, slots=True)
class NewerRun:
    """A later run of the same provider that has merged."""

    id: int
    dag_run_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class LatestCompleteRuns:
    """Starts of the last complete sync and of the last complete full sync of a provider."""

    last_complete_start: datetime | None
    last_full_start: datetime | None
    has_missing_devices: bool
    """True where a SIM was missing from the last full list: the next one decides whether it vanished."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that was just ended."""

    optimization_session_id: int | None


@statement("runs/active_providers")
def active_providers(
    connection: WarehouseConnection, *, integration: str, service_provider_ids: list[int]
) -> list[Provider]:
    """Return the providers of an integration: those given, or all active ones where none is given."""


@statement("runs/sync_run")
def find_run(connection: WarehouseConnection, *, run_id: int) -> SyncRun | None:
    """Return a run with its provider and billing period, None if there is none."""


@statement("runs/insert_run")
def insert_run(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    dag_id: str,
    dag_run_id: str,
    status: str,
    error: str | None,
    billing_period_id: int | None,
    is_full: bool,
    modified_since: datetime | None,
    allows_mass_deactivation: bool,
    allows_implausible: bool,
    clear_number: int,
    is_one_process: bool,
    now: datetime,
) -> OpenedRun:
    """Open the run of a provider in a DAG run, or find it again; a unique violation means another run holds it."""


@statement("runs/run_holding_provider")
def run_holding_provider(connection: WarehouseConnection, *, service_provider_id: int) -> HoldingRun | None:
    """Return and lock the run that holds a provider now."""


@statement("runs/run_of_dag_run")
def run_of_dag_run(
    connection: WarehouseConnection, *, service_provider_id: int, dag_id: str, dag_run_id: str
) -> RunStatus | None:
    """Return the run that a DAG run opened for a provider earlier."""


@statement("runs/newer_merged_run")
def newer_merged_run(connection: WarehouseConnection, *, service_provider_id: int, run_id: int) -> NewerRun | None:
    """Return a run of the same provider that was opened later and has merged."""


@statement("runs/latest_complete_runs")
def latest_complete_runs(connection: WarehouseConnection, *, service_provider_id: int) -> LatestCompleteRuns:
    """Return when the last complete syncs of a provider began."""


@statement("runs/attach_session")
def attach_session(connection: WarehouseConnection, *, run_id: int, optimization_session_id: int) -> None:
    """Record which session a run feeds."""


@statement("runs/lock_run_reads")
def lock_run_reads(connection: WarehouseConnection, *, run_id: int) -> None:
    """Take the session-level lock of a run's carrier reads; waits up to the session's lock timeout."""


@statement("runs/try_lock_run_reads")
def try_lock_run_reads(connection: WarehouseConnection, *, run_id: int) -> bool:
    """Return True if no process reads a run from the carrier; none begins to until the transaction ends."""


@statement("runs/adopt_run")
def adopt_run(
    connection: WarehouseConnection,
    *,
    run_id: int,
    dag_id: str,
    dag_run_id: str,
    clear_number: int,
    is_one_process: bool,
    now: datetime,
) -> None:
    """Hand a running run whose process is gone to another DAG run."""


@statement("runs/record_progress")
def set_progress_of_run(connection: WarehouseConnection, *, run_id: int, pages: int, now: datetime) -> RowCount:
    """Add pages to a running run and record that it has made progress."""


@statement("runs/record_run_heartbeat")
def record_run_heartbeat(connection: WarehouseConnection, *, sync_run_id: int, now: datetime | None) -> None:
    """Record the heartbeat of a running run."""


@statement("runs/note_clear_number")
def note_clear_number(connection: WarehouseConnection, *, run_id: int, clear_number: int) -> RowCount:
    """Record how often the DAG run of a run was cleared; 1 if it was cleared since the last call, else 0."""


@statement("runs/set_run_reopened")
def set_run_reopened(connection: WarehouseConnection, *, run_id: int, now: datetime) -> None:
    """Set an ended run to running again; a unique violation means another run holds the provider."""


@statement("runs/end_run")
def end_run(
    connection: WarehouseConnection, *, run_id: int, status: str, error: str | None, now: datetime | None
) -> EndedRun | None:
    """End a running run; None if it had ended already."""


@statement("runs/add_run_warning")
def add_run_warning(connection: WarehouseConnection, *, run_id: int, warning: str) -> None:
    """Add a warning to a run, once."""


@statement("runs/warnings_of_instance")
def warnings_of_instance(connection: WarehouseConnection, *, instance_id: int) -> list[RunWarning]:
    """Return the warnings of the sync runs that the inputs of an optimization instance came from, oldest first."""
