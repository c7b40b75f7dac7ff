"""SQL of the report of an optimization: its figures, the tables of its workbook, and what became of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class StoredReport:
    """The figures of an optimization; times are UTC, money is currency, None until the results are written."""

    instance_id: int
    session_id: int
    session_guid: str
    opened_by: str
    service_provider_id: int
    service_provider_name: str
    currency: str
    time_zone: str
    tenant_name: str
    integration: str
    integration_display_name: str
    bill_year: int
    bill_month: int
    cycle_start: datetime
    cycle_end: datetime
    run_status: str
    error: str | None
    started_at: datetime
    usage_as_of: datetime
    apply_changes: str
    device_count: int
    expected_device_count: int
    unknown_plan_count: int
    unknown_activation_count: int
    unknown_activation_cost: Decimal
    kept_device_count: int
    applied_plan_count: int
    change_in_doubt_count: int
    sms_unread_count: int
    current_cost: Decimal | None
    base_cost: Decimal | None
    total_cost: Decimal | None
    lower_bound: Decimal | None
    savings: Decimal | None
    gap: Decimal | None
    change_cap: int | None
    uncapped_changes: int | None
    uncapped_saving: Decimal | None
    certificate: dict[str, Any] | None
    warning: str | None
    report_uri: str | None
    report_mailed_at: datetime | None
    devices_removed_at: datetime | None
    synced_at: datetime | None
    """End of the last complete device sync of the provider."""
    sync_usage_as_of: datetime | None
    change_count: int
    doubtful_count: int
    """Changes that are doubtful: they may wait for a later optimization."""


@dataclass(frozen=True, slots=True)
class MailedReport:
    """The latest report of a provider's local day that was mailed."""

    report_mailed_at: datetime
    proposes_the_same: bool
    """True if it proposed the same plan changes."""


@dataclass(frozen=True, slots=True)
class RatePlanRow:
    """A rate plan with its prices and its part in the present (``from``) and the optimized (``to``) bill."""

    rate_plan_code: str
    pool_name: str | None
    rate_charge: Decimal
    base_rate: Decimal
    plan_mb: Decimal
    overage_rate: Decimal
    data_per_overage_charge: Decimal
    sms_rate: Decimal
    from_device_count: int | None
    from_usage_mb: Decimal | None
    from_included_mb: Decimal | None
    from_overage_mb: Decimal | None
    from_overage_blocks: Decimal | None
    from_charges: Decimal | None
    from_overage_cost: Decimal | None
    from_sms_cost: Decimal | None
    from_total_cost: Decimal | None
    to_device_count: int | None
    to_usage_mb: Decimal | None
    to_included_mb: Decimal | None
    to_overage_mb: Decimal | None
    to_overage_blocks: Decimal | None
    to_charges: Decimal | None
    to_overage_cost: Decimal | None
    to_sms_cost: Decimal | None
    to_total_cost: Decimal | None


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool with its terms, its price in the proof, and its part in the present and the optimized bill."""

    pool_name: str
    comm_group_key: str | None
    overage_rate: Decimal
    data_per_overage_charge: Decimal
    price_per_mb: Decimal | None
    from_device_count: int | None
    from_usage_mb: Decimal | None
    from_included_mb: Decimal | None
    from_overage_mb: Decimal | None
    from_overage_blocks: Decimal | None
    from_overage_cost: Decimal | None
    to_device_count: int | None
    to_usage_mb: Decimal | None
    to_included_mb: Decimal | None
    to_overage_mb: Decimal | None
    to_overage_blocks: Decimal | None
    to_overage_cost: Decimal | None


@dataclass(frozen=True, slots=True)
class CommGroupRow:
    """A comm group with the names of its plans; costs are None for a group that was not placed."""

    group_key: str
    outcome: str | None
    device_count: int
    current_cost: Decimal | None
    total_cost: Decimal | None
    saving: Decimal | None
    rate_plan_count: int
    rate_plans: str | None
    communication_plans: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A placed SIM with both plans and costs, its usage and the reason of its plan."""

    iccid: str
    communication_plan: str | None
    group_key: str
    from_rate_plan: str | None
    to_rate_plan: str
    from_cost: float
    to_cost: float
    saving: float
    usage_mb: float
    projected_usage_mb: float
    sms_usage: int | None
    """None where messages were not read."""
    days_activated: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A plan change with its saving."""

    iccid: str
    from_rate_plan: str | None
    to_rate_plan: str
    from_cost: float
    to_cost: float
    saving: float
    state: str
    reason: str | None
    certainty: float | None
    """Share of the scenarios in which no plan is cheaper for the SIM; None without scenarios."""
    timing: str | None
    """Why the change waits or may wait; None for a certain one."""


@dataclass(frozen=True, slots=True)
class ExcludedDevice:
    """An excluded SIM and its present state."""

    iccid: str
    status: str | None
    communication_plan: str | None
    rate_plan: str | None
    usage_mb: float | None
    reason: str
    """A key of `amop.optimization.exclusions.EXCLUSION_REASONS`."""


@statement("reports/report")
def find_report(connection: WarehouseConnection, *, instance_id: int) -> StoredReport | None:
    """Return the figures of an optimization, None if there is no such instance."""


@statement("reports/rate_plans")
def rate_plans(connection: WarehouseConnection, *, instance_id: int) -> list[RatePlanRow]:
    """Return the rate plans of both bills, the most expensive first."""


@statement("reports/pools")
def pools(connection: WarehouseConnection, *, instance_id: int) -> list[PoolRow]:
    """Return the pools of both bills in the order of the certificate."""


@statement("reports/comm_groups")
def comm_groups(connection: WarehouseConnection, *, instance_id: int) -> list[CommGroupRow]:
    """Return the comm groups, the largest first."""


@statement("reports/devices")
def devices(connection: WarehouseConnection, *, instance_id: int) -> Iterator[DeviceRow]:
    """Stream the placed SIMs in the order of their ICCIDs."""


@statement("reports/changes")
def changes(connection: WarehouseConnection, *, instance_id: int) -> Iterator[ChangeRow]:
    """Stream the plan changes, the largest saving first."""


@statement("reports/excluded_devices")
def excluded_devices(
    connection: WarehouseConnection, *, instance_id: int, reasons: Sequence[str]
) -> Iterator[ExcludedDevice]:
    """Stream the excluded SIMs, in the order of the reasons."""


@statement("reports/last_mailed")
def last_mailed(connection: WarehouseConnection, *, instance_id: int, day_start: datetime) -> MailedReport | None:
    """Return the latest report of the same provider and billing period that was mailed since a local day began."""


@statement("reports/set_mailed")
def set_mailed(connection: WarehouseConnection, *, instance_id: int, now: datetime) -> None:
    """Record that the report was mailed; the first moment stays."""


@statement("reports/set_report_uri")
def set_report_uri(connection: WarehouseConnection, *, instance_id: int, report_uri: str) -> None:
    """Store the address of the workbook."""
