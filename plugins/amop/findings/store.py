"""SQL of the findings: the scope of a check, what it finds, and what users dismissed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class ProviderToCheck:
    """A provider with a complete sync that was not checked yet."""

    service_provider_id: int
    service_provider_name: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check of a provider works on; times are UTC."""

    run_id: int
    usage_as_of: datetime
    usage_date: date
    """Local date of it."""
    service_provider_id: int
    service_provider_name: str
    integration: str
    time_zone: str
    uses_proration: bool
    prorates_allowance: bool
    pool_scope: str
    billing_period_id: int
    cycle_start: datetime
    cycle_end: datetime
    days_in_period: int
    recent_begins_at: datetime | None
    """The sync that ends the history and begins the recent days; None without one."""
    history_begins_at: datetime | None
    """The sync that begins the history; None without one."""
    recent_begins_on: date | None
    history_begins_on: date | None


@dataclass(frozen=True, slots=True)
class KindTotal:
    """Number and money of everything of a kind that a check found."""

    kind: str
    found: int
    amount: Decimal


@statement("findings/providers_to_check")
def providers_to_check(connection: WarehouseConnection) -> list[ProviderToCheck]:
    """Return the active providers with a complete sync that was not checked yet."""


@statement("findings/scope")
def scope(
    connection: WarehouseConnection, *, service_provider_id: int, recent_days: int, history_days: int
) -> Scope | None:
    """Return what a check of a provider works on, None where it has no complete sync."""


@statement("findings/raise_work_memory")
def raise_work_memory(connection: WarehouseConnection) -> None:
    """Raise the memory of this transaction's aggregates and joins."""


@statement("findings/create_usage")
def create_usage(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    history_begins_at: datetime | None,
    history_begins_on: date | None,
    recent_begins_on: date | None,
    usage_date: date,
) -> None:
    """Create the temporary table of recent usage and history."""


@statement("findings/create_sims", needs=["findings/create_usage"])
def create_sims(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    billing_period_id: int,
    usage_as_of: datetime,
    uses_proration: bool,
    prorates_allowance: bool,
    pool_scope: str,
    days_in_period: int,
    days_left: Decimal,
    known_days: Decimal | None,
    elapsed_days: Decimal,
    megabyte: int,
) -> None:
    """Create the temporary table of the billed SIMs."""


@statement("findings/analyze_sims", needs=["findings/create_sims"])
def analyze_sims(connection: WarehouseConnection) -> None:
    """Collect statistics of the billed SIMs."""


@statement("findings/create_pools", needs=["findings/create_sims"])
def create_pools(connection: WarehouseConnection) -> None:
    """Create the temporary table of the pools."""


@statement("findings/create_candidates")
def create_candidates(connection: WarehouseConnection) -> None:
    """Create the temporary table of everything that is found."""


NEEDS = ("findings/create_pools", "findings/create_candidates")


@statement("findings/find_usage_spikes", needs=NEEDS)
def find_usage_spikes(
    connection: WarehouseConnection,
    *,
    billing_period_id: int,
    history_begins_at: datetime,
    recent_begins_at: datetime,
    recent_days: Decimal,
    elapsed_days: Decimal,
    days_left: Decimal,
    spike_factor: Decimal,
    spike_spreads: int,
    spike_mb: Decimal,
    fewest_history_days: Decimal,
) -> None:
    """Find SIMs whose recent usage is far above their own history."""


@statement("findings/find_pools_over", needs=NEEDS)
def find_pools_over(connection: WarehouseConnection, *, billing_period_id: int, days_left: Decimal) -> None:
    """Find pools whose projected usage is above their allowance."""


@statement("findings/find_unused_sims", needs=NEEDS)
def find_unused_sims(connection: WarehouseConnection, *, unused_since: datetime) -> None:
    """Find active SIMs without any usage for a long time."""


@statement("findings/find_imei_changes", needs=NEEDS)
def find_imei_changes(
    connection: WarehouseConnection, *, changed_since: datetime, days_left: Decimal, days_in_period: int
) -> None:
    """Find SIMs that were moved to other equipment lately."""


@statement("findings/find_plan_changes", needs=NEEDS)
def find_plan_changes(
    connection: WarehouseConnection, *, service_provider_id: int, cycle_start: datetime, usage_as_of: datetime
) -> None:
    """Find SIMs whose plan another party changed at the carrier."""


@statement("findings/find_ineligible_plans", needs=NEEDS)
def find_ineligible_plans(connection: WarehouseConnection, *, service_provider_id: int) -> None:
    """Find SIMs on a plan that their communication plan does not allow."""


@statement("findings/find_unknown_activations", needs=NEEDS)
def find_unknown_activations(
    connection: WarehouseConnection,
    *,
    billing_period_id: int,
    cycle_start: datetime,
    cycle_end: datetime,
    days_in_period: int,
) -> None:
    """Find SIMs whose unknown activation date decides on their charges."""


@statement("findings/candidate_totals", needs=["findings/create_candidates"])
def candidate_totals(connection: WarehouseConnection, *, service_provider_id: int) -> list[KindTotal]:
    """Return number and money of everything that was found, by kind."""


@statement("findings/store_findings", needs=["findings/create_candidates"])
def store_findings(connection: WarehouseConnection, *, service_provider_id: int, most: int, now: datetime) -> RowCount:
    """Store the findings with the most money."""


@statement("findings/delete_findings")
def delete_findings(
    connection: WarehouseConnection, *, service_provider_id: int, now: datetime, dismissed_before: datetime
) -> RowCount:
    """Delete the findings that were not found again."""


@statement("findings/record_check")
def record_check(
    connection: WarehouseConnection, *, service_provider_id: int, run_id: int, now: datetime, totals: Jsonb
) -> None:
    """Record the check of a provider."""


@statement("findings/dismiss")
def dismiss(
    connection: WarehouseConnection, *, finding_id: int, integrations: list[str], dismissed_by: str, now: datetime
) -> RowCount:
    """Dismiss a finding of a provider of one of the integrations."""


@statement("findings/restore")
def restore(connection: WarehouseConnection, *, finding_id: int, integrations: list[str]) -> RowCount:
    """Take a dismissal back."""
