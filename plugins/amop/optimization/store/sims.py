"""SQL of the SIMs of an instance: usage history, projection, exclusions and counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.optimization.rows import CommGroupCounts, ExclusionCount
from amop.optimization.usage_history import UsageDay

if TYPE_CHECKING:
    from amop.optimization.arrays import BilledDevices, LeftPlanRows, UsageOfDay


@statement("optimization/usage_days")
def usage_days(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    usage_as_of: datetime,
    begins_after: datetime,
    time_zone: str,
) -> list[UsageDay]:
    """Return the usage days of a provider up to a moment, oldest first."""


@statement("optimization/set_projection")
def set_projection(connection: WarehouseConnection, *, instance_id: int, projection: Jsonb) -> None:
    """Store the projection method of an instance and its usage days."""


@statement("optimization/create_usage_day")
def create_usage_day(
    connection: WarehouseConnection, *, usage_dates: Sequence[date], billing_period_ids: Sequence[int]
) -> None:
    """Create the temporary table ``usage_day``: the usage days of a projection, oldest first."""


@statement("optimization/analyze_usage_day", needs=["optimization/create_usage_day"])
def analyze_usage_day(connection: WarehouseConnection) -> None:
    """Collect planner statistics of ``usage_day``."""


@statement("optimization/raise_work_memory")
def raise_work_memory(connection: WarehouseConnection) -> None:
    """Raise the memory of one aggregate over all SIMs, until the transaction ends."""


@statement("optimization/create_usage_history", needs=["optimization/create_usage_day"])
def create_usage_history(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    billing_period_ids: Sequence[int],
    earliest: date | None,
    day_count: int,
    begins_at: Sequence[datetime],
    weights: Sequence[int],
    largest_factor: int,
) -> None:
    """Create the temporary table ``usage_history``: the weighted usage of each SIM's usage days."""


@statement("optimization/add_devices", needs=["optimization/create_usage_history"])
def add_devices(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    service_provider_id: int,
    billing_period_id: int,
    usage_as_of: datetime,
    uses_proration: bool,
    days_in_period: int,
    numerator: int,
    denominator: int,
    unprojected_statuses: Sequence[str],
    begins_at: Sequence[datetime],
    history_days: Sequence[int],
    last_weights: Sequence[int],
    fewest_days: int,
    safety_percent: int,
    largest_usage_mb: int,
    largest_sms_usage: int,
    placed: Sequence[str],
    cycle_start: datetime,
    cycle_end: datetime,
    maximum_changes_per_sim: int | None,
    maximum_changes_per_month: int | None,
    time_zone: str,
    minimum_days_on_plan: int,
    counts_from_change: bool,
) -> None:
    """Write one row per eligible SIM: usage, projected usage and billed days."""


@statement("optimization/add_left_plans")
def add_left_plans(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    billing_period_id: int,
    cycle_start: datetime,
    cycle_end: datetime,
    time_zone: str,
    days_in_period: int,
) -> None:
    """Write the plans that the billed SIMs had left within the period, with their days and usage."""


@statement("optimization/left_plans", types_from="amop.optimization.arrays")
def left_plans(connection: WarehouseConnection, *, instance_id: int) -> LeftPlanRows:
    """Return the plans that the SIMs of an instance had left within the period, as columns, by SIM and time."""


@statement("optimization/exclude_too_large_usage")
def exclude_too_large_usage(connection: WarehouseConnection, *, instance_id: int, largest_usage_mb: int) -> None:
    """Exclude the SIMs whose projected usage is above the largest possible one."""


@statement("optimization/add_exclusions")
def add_exclusions(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    service_provider_id: int,
    billing_period_id: int,
    usage_as_of: datetime,
    largest_usage_mb: int,
    largest_sms_usage: int,
) -> None:
    """Write the SIMs that the instance does not place, each with the reason."""


@statement("optimization/exclusion_counts")
def exclusion_counts(connection: WarehouseConnection, *, instance_id: int) -> list[ExclusionCount]:
    """Return the number of excluded SIMs by reason, the most frequent reason first."""


@statement("optimization/count_devices")
def count_devices(connection: WarehouseConnection, *, instance_id: int) -> list[CommGroupCounts]:
    """Count the SIMs of each comm group as they were read."""


@statement("optimization/set_group_device_count")
def set_group_device_count(connection: WarehouseConnection, *, comm_group_id: int, device_count: int) -> None:
    """Store the number of SIMs of a comm group."""


@statement("optimization/set_device_counts")
def set_device_counts(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    device_count: int,
    expected_device_count: int,
    kept_device_count: int,
    sms_unread_count: int,
    unknown_plan_count: int,
    unknown_activation_count: int,
    unknown_activation_cost: Decimal,
    applied_plan_count: int,
    change_in_doubt_count: int,
    warning: str | None,
) -> None:
    """Store the counts of an instance's SIMs and a warning, and record that its inputs were read."""


@statement("optimization/billed_devices", types_from="amop.optimization.arrays")
def billed_devices(connection: WarehouseConnection, *, instance_id: int) -> BilledDevices:
    """Return the billed SIMs of an instance, placed and kept ones, as columns, in any order."""


@statement("optimization/usage_of_day", types_from="amop.optimization.arrays")
def usage_of_day(
    connection: WarehouseConnection, *, instance_id: int, billing_period_id: int, usage_date: date
) -> UsageOfDay:
    """Return the usage of the billed SIMs of an instance on one usage day, as columns, without SIMs that used none."""
