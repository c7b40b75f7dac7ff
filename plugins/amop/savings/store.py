"""SQL of realised savings: closed instances, real usage, applied changes and the measured savings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from amop.database.columns import ColumnRow
from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement
from amop.optimization.rows import RatePlan


@dataclass(frozen=True, slots=True)
class ClosedInstance:
    """A completed instance of a closed billing period that is not measured yet."""

    id: int
    service_provider_id: int
    service_provider_name: str


@dataclass(frozen=True, slots=True)
class RealUsage(ColumnRow):
    """Usage of the placed SIMs of an instance in its closed billing period, as columns of one length."""

    device_id: npt.NDArray[np.int64]
    usage_micro_mb: npt.NDArray[np.int64]
    sms_usage: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AppliedChanges(ColumnRow):
    """Changes that were applied within the billing period, as columns of one length."""

    device_id: npt.NDArray[np.int64]
    rate_plan_id: npt.NDArray[np.int64]
    days_left: npt.NDArray[np.int64]
    """Days of the period from the change on."""
    usage_before: npt.NDArray[np.int64]
    """Usage of the period on the local days before the change, 1e-6 MB."""
    sms_before: npt.NDArray[np.int64]


@statement("savings/instances_to_measure")
def instances_to_measure(
    connection: WarehouseConnection, *, service_provider_id: int | None = None, now: datetime
) -> list[ClosedInstance]:
    """Return the instances to measure, of one provider or of all, oldest first."""


@statement("savings/rate_plans")
def rate_plans_as_solved(
    connection: WarehouseConnection, *, instance_id: int, service_provider_id: int
) -> list[RatePlan]:
    """Return the rate plans of both bills of an instance at the prices that it was solved with."""


@statement("savings/real_usage")
def real_usage(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    billing_period_id: int,
) -> RealUsage:
    """Return the real usage of the placed SIMs, in any order; a numeric overflow means that it is beyond 64 bits."""


@statement("savings/applied_changes")
def applied_changes(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    service_provider_id: int,
    billing_period_id: int,
    cycle_start: datetime,
    cycle_end: datetime,
    time_zone: str,
    days_in_period: int,
) -> AppliedChanges:
    """Return the changes that were applied within the billing period, and the usage before each of them."""


@statement("savings/add_realised_saving")
def add_realised_saving(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    usage_read_at: datetime | None,
    applied_changes: int,
    forecast_saving: Decimal,
    old_plans_cost: Decimal,
    applied_plans_cost: Decimal,
    solved_plans_cost: Decimal | None,
    is_within_interval: bool | None,
    projected_usage_mb: Decimal,
    real_usage_mb: Decimal,
    absolute_error_mb: Decimal,
    now: datetime,
) -> RowCount:
    """Write the realised saving of an instance, once."""
