"""SQL of what-ifs: the optimization that they start from, and their results."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.what_if.plan_rules import OfferedPlan


@statement("what_if/latest_instance")
def latest_instance(connection: WarehouseConnection, *, service_provider_id: int, integration: str) -> int | None:
    """Return the id of the provider's latest completed optimization whose SIMs are stored, None without one."""


@statement("what_if/provider_plans")
def provider_plans(connection: WarehouseConnection, *, service_provider_id: int) -> list[str]:
    """Return the codes of all rate plans of a provider."""


@statement("what_if/offered_plans")
def offered_plans(connection: WarehouseConnection, *, instance_id: int) -> list[OfferedPlan]:
    """Return the rate plans that the SIMs of an instance may have or are on."""


@statement("what_if/open_what_if")
def open_what_if(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    integration: str,
    dag_id: str,
    dag_run_id: str,
    rate_plans: str,
    ladder_size: int | None,
    now: datetime,
) -> int | None:
    """Open the what-if of a DAG run, again if it is there; return its id, None where the provider does not exist."""


@statement("what_if/fail_what_if")
def fail_what_if(connection: WarehouseConnection, *, what_if_id: int, error: str, now: datetime) -> None:
    """End a what-if with an error."""


@statement("what_if/complete_what_if")
def complete_what_if(
    connection: WarehouseConnection,
    *,
    what_if_id: int,
    instance_id: int,
    device_count: int,
    present_cost: Decimal,
    today_cost: Decimal,
    today_bound: Decimal,
    new_present_cost: Decimal,
    new_cost: Decimal,
    new_bound: Decimal,
    changes: int,
    now: datetime,
) -> None:
    """End a what-if with its figures."""


@statement("what_if/delete_moves")
def delete_moves(connection: WarehouseConnection, *, what_if_id: int) -> None:
    """Delete the moves of a what-if."""


@statement("what_if/delete_ladders")
def delete_ladders(connection: WarehouseConnection, *, what_if_id: int) -> None:
    """Delete the ladders of a what-if."""


@statement("what_if/add_moves")
def add_moves(
    connection: WarehouseConnection,
    *,
    what_if_id: int,
    from_rate_plans: list[str],
    to_rate_plans: list[str],
    sims: list[int],
) -> None:
    """Add the moves of a what-if."""


@statement("what_if/add_ladder")
def add_ladder(
    connection: WarehouseConnection,
    *,
    what_if_id: int,
    rate_plans: list[str],
    cost: Decimal,
    bound: Decimal,
    changes: int,
) -> None:
    """Add a ladder of a what-if."""
