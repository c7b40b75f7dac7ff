"""SQL of the gauges that ``amop_relay`` exports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class ProviderGauges:
    """Figures of a provider; None = there is none. Each field but the first three is the name of a gauge."""

    service_provider_id: int
    provider: str
    integration: str
    sync_age_seconds: float | None
    """Since the end of the last complete sync."""
    sims: float | None
    unconfirmed_sims: float | None
    """SIMs whose usage the last complete sync could not confirm."""
    work_rows_left: float
    quarantined_records: float
    calls_left_today: float
    """Of the calls that the rate limit allows in a day, UTC; one call for each page that a sync read."""
    forecast_bill: float | None
    """Of the current billing period with the present plans."""
    optimized_bill: float | None
    forecast_saving: float | None
    plan_changes_waiting: float | None
    """Plan changes that need an approval."""
    pool_fill_percent: float | None
    """Forecast usage of the fullest pool, of its included data."""
    realised_saving: float | None
    """Of the last measured billing period."""


@dataclass(frozen=True, slots=True)
class PackageGauges:
    """Figures of the whole package; each field is the name of a gauge."""

    outbox_pending: float
    outbox_dead: float
    outbox_age_seconds: float
    """Of the oldest message that AMOP has not accepted."""
    carriers_failing: float
    carrier_outage_seconds: float
    """Of the longest outage."""
    notifications_pending: float
    sessions_running: float


@statement("maintenance/provider_gauges")
def provider_gauges(connection: WarehouseConnection, *, now: datetime, calls_a_day: int) -> list[ProviderGauges]:
    """Return the figures of every active provider that are exported as gauges."""


@statement("maintenance/package_gauges")
def package_gauges(connection: WarehouseConnection, *, now: datetime) -> PackageGauges:
    """Return the figures of outbox, carriers and notifications that are exported as gauges."""
