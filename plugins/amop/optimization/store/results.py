"""SQL of the costs, bills and results of an instance."""

from __future__ import annotations

from decimal import Decimal

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.copy import CopyInto
from amop.database.statements import statement
from amop.optimization.rows import PoolItem, RatePlanItem, ResultTotals

copy_rate_plan_items = CopyInto("amop.optimization_rate_plan_result", RatePlanItem)
copy_pool_items = CopyInto("amop.optimization_pool_result", PoolItem)


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
    kept_change_in_doubt: str,
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
