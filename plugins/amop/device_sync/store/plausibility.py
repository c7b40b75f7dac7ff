"""SQL of the plausibility limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class PlausibilityLimits:
    """The limits of a provider: above a maximum a run is refused, above a warning it is merged with a warning."""

    maximum_unlisted_share: Decimal
    warning_unlisted_share: Decimal
    maximum_usage_loss_share: Decimal
    warning_usage_loss_share: Decimal
    maximum_value_loss_share: Decimal
    warning_value_loss_share: Decimal
    maximum_usage_factor: Decimal
    warning_usage_factor: Decimal


@dataclass(frozen=True, slots=True)
class ListLoss:
    """What a list lost against the warehouse, of one kind."""

    kind: str
    """``unlisted``, ``status``, ``rate plan`` or ``communication plan``."""
    fleet: int
    """Active SIMs, with the new ones of the list where their values are counted."""
    known_before: int
    """Active SIMs before the list."""
    lost: int
    new_without: int
    """New SIMs without a known value."""
    samples: list[str] | None
    """Some of the SIMs, None if there are none."""


@dataclass(frozen=True, slots=True)
class UsageLoss:
    """Usage that a run read against the counters of the warehouse, of one usage type."""

    usage_type: str
    used_before: int
    """Compared SIMs with usage in the known counters."""
    vanished: int
    """Of them those without usage now, in the same billing period."""
    total_before: Decimal
    total: Decimal
    samples: list[str]
    """The SIMs whose counters changed most."""
    sims: int
    """Compared SIMs."""
    used: int
    """Of them those with usage now."""
    typical_total: Decimal
    """Usage now without the two SIMs that used most."""


@dataclass(frozen=True, slots=True)
class FleetUsage:
    """Total usage of the fleet within a billing period, of one usage type."""

    usage_type: str
    billing_period_id: int
    elapsed: timedelta
    """Since the period began."""
    sim_count: int
    used_count: int
    """Of them those with usage."""
    total: Decimal
    """Bytes, messages or seconds, without the two SIMs that used most."""


@dataclass(frozen=True, slots=True)
class MergedUsage:
    """The latest reading of usage that was merged."""

    billing_period_id: int
    usage_as_of: datetime
    cycle_start: datetime


@dataclass(frozen=True, slots=True)
class UnusualCounters:
    """Counters of single SIMs that look wrong, of one kind and usage type."""

    kind: str
    """``impossible``: more than a radio can carry; ``fallen``: within a billing period."""
    usage_type: str
    sims: int
    samples: list[str]
    """Some of the SIMs with their counters, the largest change first."""


@statement("device_sync/plausibility_limits")
def plausibility_limits(connection: WarehouseConnection, *, service_provider_id: int) -> PlausibilityLimits:
    """Return the plausibility limits of a provider."""


@statement("device_sync/list_losses", needs=["device_sync/collect_list_changes"])
def list_losses(
    connection: WarehouseConnection, *, run_id: int, service_provider_id: int, known_statuses: list[str]
) -> list[ListLoss]:
    """Return what a run's list lost against the warehouse."""


@statement("device_sync/latest_merged_usage")
def latest_merged_usage(
    connection: WarehouseConnection, *, service_provider_id: int, run_id: int
) -> MergedUsage | None:
    """Return the latest merged reading of usage before a run, None if there is none."""


@statement("device_sync/usage_losses")
def usage_losses(
    connection: WarehouseConnection,
    *,
    run_id: int,
    service_provider_id: int,
    billing_period_id: int,
    known_billing_period_id: int,
    cycle_end: datetime,
    list_is_full: bool,
) -> list[UsageLoss]:
    """Return the usage that a run read against the known counters, by usage type."""


@statement("device_sync/record_fleet_usage")
def record_fleet_usage(
    connection: WarehouseConnection, *, run_id: int, usage_type: str, sim_count: int, used_count: int, total: Decimal
) -> RowCount:
    """Record the total usage of the fleet that a run read."""


@statement("device_sync/earlier_fleet_usage")
def earlier_fleet_usage(
    connection: WarehouseConnection, *, service_provider_id: int, cycle_start: datetime
) -> list[FleetUsage]:
    """Return the total usage of the fleet in earlier billing periods, the latest reading last."""


@statement("device_sync/is_allowed_in_period")
def is_allowed_in_period(
    connection: WarehouseConnection, *, service_provider_id: int, billing_period_id: int, run_id: int
) -> bool:
    """Return whether an operator has let an implausible run of a billing period pass."""


@statement("device_sync/unusual_counters", needs=["device_sync/collect_usage"])
def unusual_counters(
    connection: WarehouseConnection, *, most_bytes: int, least_share: Decimal, least_bytes: int, least_units: int
) -> list[UnusualCounters]:
    """Return the counters of ``collected_usage`` that look wrong, by kind and usage type."""
