"""Store billing periods: derived once from the provider's settings, and kept as they were used."""

from __future__ import annotations

from datetime import datetime

import psycopg

from amop.database.connection import WarehouseConnection, transaction
from amop.reference import store
from amop.reference.billing_period import billing_period_at
from amop.reference.store import ListedBillingPeriod, StoredBillingPeriod


class UnknownServiceProviderError(LookupError):
    """There is no service provider with this id."""


def ensure_billing_period(
    connection: WarehouseConnection, service_provider_id: int, moment: datetime
) -> StoredBillingPeriod:
    """Return the billing period of a provider that contains a moment; derive and store a missing one.

    A stored period is never shortened or moved. When a provider's end day changes, the stored period that contains
    the moment remains in force and the next one starts where it ends, so that periods neither overlap nor leave a gap.

    Args:
        connection: the caller's transaction; nothing is committed here.
        service_provider_id: the provider.
        moment: any aware time.

    Raises:
        UnknownServiceProviderError: there is no such provider.
        ValueError: a naive moment, or settings that no period can be derived from.
    """
    if moment.tzinfo is None:
        raise ValueError(f"moment {moment} has no time zone")
    stored = store.stored_period_at(connection, service_provider_id=service_provider_id, moment=moment)
    if stored is not None:
        return stored
    settings = store.billing_settings(connection, service_provider_id=service_provider_id)
    if settings is None:
        raise UnknownServiceProviderError(f"service provider {service_provider_id} does not exist")
    derived = billing_period_at(
        moment,
        end_day=settings.bill_period_end_day,
        end_hour=settings.bill_period_end_hour,
        time_zone=settings.time_zone,
    )
    return store.add_billing_period(
        connection,
        service_provider_id=service_provider_id,
        moment=moment,
        bill_year=derived.bill_year,
        bill_month=derived.bill_month,
        cycle_start=derived.cycle_start,
        cycle_end=derived.cycle_end,
    )


def apply_changed_settings(connection: WarehouseConnection, service_provider_id: int, now: datetime) -> bool:
    """Delete the provider's open periods after its billing settings changed, unless a row refers to them.

    Returns:
        True when the settings apply immediately; False when they apply after the current period, which is in use.
    """
    try:
        with connection.transaction():
            store.remove_open_billing_periods(connection, service_provider_id=service_provider_id, now=now)
    except psycopg.errors.ForeignKeyViolation:
        return False
    return True


def list_billing_periods(conninfo: str, service_provider_id: int, *, limit: int) -> list[ListedBillingPeriod]:
    """Return the billing periods of a provider, newest first."""
    with transaction(conninfo, application_name="amop cli") as connection:
        return store.billing_periods(connection, service_provider_id=service_provider_id, row_limit=limit)
