"""SQL of the comm groups of an instance and the rate plans that they are offered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.optimization.comm_groups import CommunicationPlan
from amop.optimization.rows import RatePlan, StoredCommGroup


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
