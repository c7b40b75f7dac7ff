"""SQL of the view Today: the providers, and the health of the carriers and of AMOP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A provider with its last sync, session and forecast; times are UTC, data is in bytes."""

    id: int
    name: str
    currency: str
    time_zone: str
    tenant: str
    integration: str
    cycle_start: datetime | None
    cycle_end: datetime | None
    synced_at: datetime | None
    """End of the last complete sync."""
    sync_is_of_period: bool | None
    device_count: int | None
    data_usage: Decimal | None
    """Of all SIMs in the cycle of the last complete sync."""
    usage_as_of: datetime | None
    usual_usage: Decimal | None
    """The same at about the same time of the cycle before."""
    usual_elapsed: timedelta | None
    """How much of that cycle had elapsed."""
    run_id: int | None
    run_dag_id: str | None
    run_dag_run_id: str | None
    run_status: str | None
    run_started_at: datetime | None
    run_ended_at: datetime | None
    run_error: str | None
    run_is_deleted: bool
    """True if Airflow no longer has the DAG run of the failed run."""
    run_warnings: int
    run_pages: int | None
    rows_left: int | None
    """Work rows of a running sync."""
    session_id: int | None
    session_status: str | None
    session_progress: int | None
    session_started_at: datetime | None
    session_heartbeat_at: datetime | None
    session_error: str | None
    session_is_deleted: bool
    """True if Airflow no longer has any DAG run that could continue the session."""
    session_sync_is_redone: bool
    """True if its sync failed, and a later sync of the provider is complete: only the optimization is missing."""
    approval_session_id: int | None
    """The session whose plan changes wait for an approval, also while the provider is optimized again."""
    approval_is_deleted: bool | None
    """True if Airflow no longer has the DAG run whose request it is."""
    approval_is_lost: bool | None
    """True if that DAG run has ended without an answer."""
    approval_changes: int | None
    approval_savings: Decimal | None
    unsent_session_id: int | None
    """The session whose approved plan changes were not all sent; the billing period is not over."""
    unsent_is_stopped: bool | None
    """True if the task that sends them has stopped; False if it may still be sending."""
    unsent_reason: str | None
    unsent_is_deleted: bool | None
    unsent_is_lost: bool | None
    """True if the DAG run that sends them has ended before they were sent."""
    unsent_changes: int | None
    unsent_since: datetime | None
    """The last change that was sent, or the decision."""
    unsent_applied: int | None
    """Its applied changes."""
    unsent_whole: int | None
    """All its changes."""
    unsent_reached_saving: Decimal | None
    """The bill before any change less the bill with the applied ones; None if it is not known."""
    unsent_saving: Decimal | None
    """The same of all changes."""
    forecast_session_id: int | None
    forecast_bill: Decimal | None
    """Of the current period: with the optimized plans where they are applied, otherwise with the present ones."""
    optimized_bill: Decimal | None
    change_cap: int | None
    """Limit on the number of plan changes of that optimization (maximum_changes); None = no limit."""
    uncapped_changes: int | None
    """Further plan changes without the limit; None where it was not reached."""
    uncapped_saving: Decimal | None
    """What they would save."""
    failing_since: datetime | None
    """When the consecutive failures of its API user began; None while its carrier answers."""
    pools_over: int
    """Pools that are heading over their allowance in this billing period and were not dismissed."""
    pools_over_amount: Decimal | None
    """Their overage."""
    quarantined: int
    pending_messages: int
    dead_messages: int


@dataclass(frozen=True, slots=True)
class HealthRow:
    """API users of carriers that are failing, and messages that AMOP has not taken."""

    api_users: int
    failing: int
    failing_since: datetime | None
    next_call: datetime | None
    pending: int
    dead: int
    oldest_pending: datetime | None


@statement("page/moment")
def moment(connection: WarehouseConnection) -> datetime:
    """Return the present time of the warehouse."""


@statement("page/providers")
def providers(connection: WarehouseConnection, *, integrations: list[str], now: datetime) -> list[ProviderRow]:
    """Return the active providers of some integrations by name."""


@statement("page/health")
def health(connection: WarehouseConnection) -> HealthRow:
    """Return the health of the carriers and of AMOP."""
