"""SQL of optimization instances: who may be optimized, and the beginning and end of an instance."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.optimization.rows import BillingPeriodEnd, Instance, Provider, SyncRunOfSession


@statement("optimization/provider")
def find_provider(connection: WarehouseConnection, *, service_provider_id: int) -> Provider | None:
    """Return a provider with its integration, None if there is none."""


@statement("optimization/provider_of_billing_period")
def provider_of_billing_period(connection: WarehouseConnection, *, billing_period_id: int) -> int | None:
    """Return the provider that a billing period belongs to, None if there is no such period."""


@statement("optimization/latest_billing_periods")
def latest_billing_periods(connection: WarehouseConnection, *, service_provider_id: int) -> list[BillingPeriodEnd]:
    """Return the latest billing periods of a provider, newest first."""


@statement("optimization/sync_run_of_session")
def sync_run_of_session(connection: WarehouseConnection, *, session_id: int) -> SyncRunOfSession | None:
    """Return the newest device sync run of a session, None if no sync opened the session."""


@statement("optimization/usage_read_at")
def usage_read_at(
    connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int
) -> datetime | None:
    """Return when the usage of a billing period was last read from the carrier, None if no sync has read any."""


@statement("optimization/insert_instance")
def insert_instance(
    connection: WarehouseConnection, *, session_id: int, usage_as_of: datetime, apply_changes: str, now: datetime
) -> int:
    """Open the instance of a session, or find the open one; return its id."""


@statement("optimization/instance")
def find_instance(connection: WarehouseConnection, *, instance_id: int) -> Instance | None:
    """Return an instance with its session, provider and billing period, None if there is none."""


@statement("optimization/add_warning")
def add_warning(connection: WarehouseConnection, *, instance_id: int, warning: str) -> None:
    """Add a warning to an instance, once."""


@statement("optimization/complete_instance")
def complete_instance(connection: WarehouseConnection, *, instance_id: int, now: datetime) -> None:
    """End a running instance as complete."""


@statement("optimization/delete_rows")
def delete_rows(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    table: Literal[
        "amop.optimization_comm_group",
        "amop.optimization_base_assignment",
        "amop.optimization_solved_assignment",
        "amop.optimization_device_forecast",
        "amop.optimization_device_result",
        "amop.optimization_rate_plan_result",
        "amop.optimization_pool_result",
        "amop.rate_plan_move",
        "amop.saving_curve",
    ],
) -> None:
    """Delete the rows of an instance from one table, before they are written again."""
