"""SQL of optimization instances: comm groups, inputs, assignments, bills, results and exclusions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.copy import CopyInto
from amop.database.statements import statement
from amop.optimization.comm_groups import CommunicationPlan
from amop.optimization.rows import (
    BillingPeriodEnd,
    CommGroupCounts,
    ExclusionCount,
    Instance,
    PoolItem,
    Provider,
    RatePlan,
    RatePlanItem,
    ResultTotals,
    StoredCommGroup,
    SyncRunOfSession,
)
from amop.optimization.usage_history import UsageDay

if TYPE_CHECKING:
    from amop.optimization.arrays import BilledDevices, LeftPlanRows, UsageOfDay

copy_rate_plan_items = CopyInto("amop.optimization_rate_plan_result", RatePlanItem)
copy_pool_items = CopyInto("amop.optimization_pool_result", PoolItem)


# --- Instances --------------------------------------------------------------------------------------------------------


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
        "amop.optimization_device_result",
        "amop.optimization_rate_plan_result",
        "amop.optimization_pool_result",
        "amop.rate_plan_move",
        "amop.saving_curve",
    ],
) -> None:
    """Delete the rows of an instance from one table, before they are written again."""


# --- Comm groups and rate plans ---------------------------------------------------------------------------------------


@statement("optimization/communication_plans")
def communication_plans(
    connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int, usage_as_of: datetime
) -> list[CommunicationPlan]:
    """Return the provider's communication plans, including those of SIMs that the reference data does not map."""


@statement("optimization/add_comm_group")
def add_comm_group(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    group_key: str,
    rate_plan_ids: Sequence[int],
    communication_plans: Sequence[str],
    device_count: int,
) -> None:
    """Write one comm group of an instance."""


@statement("optimization/comm_groups")
def comm_groups(connection: WarehouseConnection, *, instance_id: int) -> list[StoredCommGroup]:
    """Return the comm groups of an instance in the order of their ids."""


@statement("optimization/set_outcome")
def set_outcome(connection: WarehouseConnection, *, comm_group_id: int, outcome: str) -> None:
    """Record the outcome of a comm group."""


@statement("optimization/present_rate_plans")
def present_rate_plans(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    usage_as_of: datetime,
    communication_plans: Sequence[str],
) -> list[int]:
    """Return the ids of the rate plans that the eligible SIMs of some communication plans are on."""


@statement("optimization/rate_plans")
def rate_plans(connection: WarehouseConnection, *, rate_plan_ids: Sequence[int]) -> list[RatePlan]:
    """Return rate plans by id, in the order of their codes."""


# --- Usage history and SIMs -------------------------------------------------------------------------------------------


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


# --- Costs and results ------------------------------------------------------------------------------------------------


@statement("optimization/set_base_costs")
def set_base_costs(
    connection: WarehouseConnection, *, instance_id: int, current_cost: Decimal, base_cost: Decimal
) -> None:
    """Store the cost of the present rate plans and of the base assignment."""


@statement("optimization/set_solution")
def set_solution(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    total_cost: Decimal,
    lower_bound: Decimal,
    gap: Decimal,
    certificate: Jsonb,
    expected_bill: Jsonb | None,
) -> None:
    """Store the solved cost with its proof: lower bound, gap and certificate; and the expected bill, if any."""


@statement("optimization/create_costs")
def create_costs(connection: WarehouseConnection) -> None:
    """Create the temporary table ``device_cost``, in 1e-6 of the currency."""


@statement("optimization/add_results", needs=["optimization/create_costs"])
def add_results(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    a_change_counts: bool,
    kept_retired: str,
    kept_sms_not_read: str,
    kept_not_placed: str,
    kept_change_count: str,
    kept_days_on_plan: str,
    kept_next_cycle: str,
    kept_only_plan: str,
    kept_cheapest: str,
    set_unknown: str,
    set_not_in_reference: str,
    moved_retired: str,
    moved_not_allowed: str,
    moved_saves: str,
    currency: str,
    moved_for_pool: str,
    moved_for_bill: str,
) -> None:
    """Write one result row per billed SIM from ``device_cost`` and the solved assignment, with the reason in words."""


@statement("optimization/set_group_costs")
def set_group_costs(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Store the sums of the results of each placed comm group."""


@statement("optimization/result_totals")
def result_totals(connection: WarehouseConnection, *, instance_id: int) -> ResultTotals:
    """Return the sums of the result rows of an instance."""


@statement("optimization/set_uncapped")
def set_uncapped(
    connection: WarehouseConnection, *, instance_id: int, uncapped_cost: Decimal, uncapped_change_count: int
) -> None:
    """Store the solved cost and the number of plan changes without the cap on them."""


@statement("optimization/set_savings")
def set_savings(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Store the savings of an instance, which marks its results as written."""
