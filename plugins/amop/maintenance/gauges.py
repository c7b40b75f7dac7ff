"""The figures that ``amop_relay`` exports as gauges, for a monitoring system with its own alarms and graphs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from psycopg import IsolationLevel

from amop.database.connection import transaction
from amop.maintenance.store import gauges as store
from amop.maintenance.store.gauges import PackageGauges, ProviderGauges

CALLS_A_DAY = 5 * 86_400
"""Calls that the vendor's policy of 5 a second allows an API user in a day."""

LABELS = frozenset({"service_provider_id", "provider", "integration"})

GAUGES: tuple[str, ...] = tuple(
    field.name for row in (ProviderGauges, PackageGauges) for field in fields(row) if field.name not in LABELS
)
"""Every gauge by name; those of a provider are followed by its id."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure at one moment."""

    name: str
    """Dotted, such as ``amop.sync_age_seconds.1``; the number is the provider's id."""
    value: float
    tags: dict[str, str]


def read_gauges(conninfo: str, *, now: datetime) -> list[Gauge]:
    """Return all gauges that have a value at a moment."""
    with transaction(conninfo, application_name="amop gauges") as connection:
        connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
        whole = store.package_gauges(connection, now=now)
        providers = store.provider_gauges(connection, now=now, calls_a_day=CALLS_A_DAY)
    gauges = [Gauge(f"amop.{field.name}", getattr(whole, field.name), {}) for field in fields(whole)]
    for row in providers:
        tags = {"service_provider_id": str(row.service_provider_id), "integration": row.integration}
        for field in fields(row):
            value = getattr(row, field.name)
            if field.name not in LABELS and value is not None:
                gauges.append(Gauge(f"amop.{field.name}.{row.service_provider_id}", value, tags))
    return gauges
