"""SQL of the reference data: billing periods, tenants, providers, rate plans and their eligibility."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class StoredBillingPeriod:
    """One billing cycle of a provider as it was used, half-open ``[cycle_start, cycle_end)``, UTC."""

    id: int
    service_provider_id: int
    bill_year: int
    bill_month: int
    cycle_start: datetime
    cycle_end: datetime


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """What a provider's billing periods are derived from."""

    id: int
    bill_period_end_day: int
    bill_period_end_hour: int
    time_zone: str


@dataclass(frozen=True, slots=True)
class ChangedProvider:
    """A stored provider whose billing settings differ from those of a reference file."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ImplausiblePrice:
    """A price or size of a stored rate plan that a reference file would change by more than the provider's factor."""

    service_provider_id: int
    service_provider_name: str
    rate_plan_code: str
    field: str
    stored_value: Decimal
    new_value: Decimal
    maximum_price_factor: Decimal


@dataclass(frozen=True, slots=True)
class UnlistedRatePlan:
    """A stored rate plan that a reference file does not list."""

    service_provider_id: int
    service_provider_name: str
    rate_plan_code: str


# --- Billing periods --------------------------------------------------------------------------------------------------


@statement("reference/billing_period_at")
def stored_period_at(
    connection: WarehouseConnection, *, service_provider_id: int, moment: datetime
) -> StoredBillingPeriod | None:
    """Return the stored billing period of a provider that contains a moment, None if there is none."""


@statement("reference/add_billing_period")
def add_billing_period(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    moment: datetime,
    bill_year: int,
    bill_month: int,
    cycle_start: datetime,
    cycle_end: datetime,
) -> StoredBillingPeriod:
    """Store a derived billing period, or return the one that another transaction stored first."""


@statement("reference/billing_settings")
def billing_settings(connection: WarehouseConnection, *, service_provider_id: int) -> BillingSettings | None:
    """Return a provider's billing settings, None if there is no such provider."""


@statement("reference/remove_open_billing_periods")
def remove_open_billing_periods(connection: WarehouseConnection, *, service_provider_id: int, now: datetime) -> None:
    """Delete the provider's billing periods that have not ended."""


# --- Reference file ---------------------------------------------------------------------------------------------------
# ``entries`` is a JSON array with an object per row, see `amop.reference.entries`. Statements that write return a
# value for each written row: True where it was inserted, False where it was updated.


@statement("reference/implausible_prices")
def implausible_prices(connection: WarehouseConnection, *, entries: Jsonb) -> list[ImplausiblePrice]:
    """Return the prices and sizes that a reference file would change by more than the provider's factor."""


@statement("reference/unknown_time_zones")
def unknown_time_zones(connection: WarehouseConnection, *, names: list[str]) -> list[str]:
    """Return the time zones that the database server does not know."""


@statement("reference/lock_reference")
def lock_reference(connection: WarehouseConnection) -> None:
    """Wait until no other load of reference data runs, and keep others out until the transaction ends."""


@statement("reference/changed_billing_settings")
def changed_billing_settings(connection: WarehouseConnection, *, entries: Jsonb) -> list[ChangedProvider]:
    """Return the stored providers whose billing settings differ from those of the file."""


@statement("reference/upsert_tenants")
def upsert_tenants(connection: WarehouseConnection, *, entries: Jsonb) -> list[bool]:
    """Insert or update the tenants of the file."""


@statement("reference/set_integration_types")
def set_integration_types(connection: WarehouseConnection, *, entries: Jsonb) -> list[bool]:
    """Set the numbers that the existing system has for integrations; every returned value is False."""


@statement("reference/upsert_service_providers")
def upsert_service_providers(connection: WarehouseConnection, *, entries: Jsonb) -> list[bool]:
    """Insert or update the service providers of the file."""


@statement("reference/upsert_rate_plans")
def upsert_rate_plans(connection: WarehouseConnection, *, entries: Jsonb) -> list[bool]:
    """Insert or update the rate plans of the file."""


@statement("reference/rate_plans_not_in_file")
def rate_plans_not_in_file(
    connection: WarehouseConnection, *, entries: Jsonb, service_provider_ids: list[int]
) -> list[UnlistedRatePlan]:
    """Return the stored rate plans of the file's providers that the file does not list."""


@statement("reference/add_communication_plans")
def add_communication_plans(connection: WarehouseConnection, *, entries: Jsonb, now: datetime) -> list[bool]:
    """Insert the communication plans of the file that are not stored yet."""


@statement("reference/add_eligibility")
def add_eligibility(connection: WarehouseConnection, *, entries: Jsonb) -> list[bool]:
    """Add the rate plans that the file assigns to communication plans."""


@statement("reference/remove_eligibility")
def remove_eligibility(connection: WarehouseConnection, *, entries: Jsonb, service_provider_ids: list[int]) -> RowCount:
    """Remove the rate plans that the file no longer assigns to the communication plans of these providers."""


@dataclass(frozen=True, slots=True)
class ListedBillingPeriod:
    """A billing period as the command line lists it."""

    id: int
    bill_year: int
    bill_month: int
    cycle_start: datetime
    cycle_end: datetime


@statement("reference/billing_periods")
def billing_periods(
    connection: WarehouseConnection, *, service_provider_id: int, row_limit: int
) -> list[ListedBillingPeriod]:
    """Return the billing periods of a provider, newest first."""
