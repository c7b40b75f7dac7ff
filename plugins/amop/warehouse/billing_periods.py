"""Stored billing periods: derived once from the provider's settings, then kept as they were used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg

from amop.domain.billing_period import billing_period_at
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection


class UnknownServiceProviderError(LookupError):
    """There is no service provider with this id."""


def ensure_billing_period(
    connection: WarehouseConnection, service_provider: Mapping[str, Any] | int, moment: datetime
) -> dict[str, Any]:
    """Return the billing period of a provider that a moment lies in; a missing one is derived and stored.

    A stored period is never shortened or moved: when a provider's end day changes, the stored period that
    contains the moment stays in force and the next one begins where it ends, so that periods neither overlap
    nor leave a gap.

    Args:
        connection: the caller's transaction; nothing is committed here.
        service_provider: id, or a row with id, time_zone, bill_period_end_day and bill_period_end_hour.
        moment: any aware time.

    Returns:
        id, service_provider_id, bill_year, bill_month, cycle_start and cycle_end (UTC, half-open).

    Raises:
        UnknownServiceProviderError: there is no such provider.
        ValueError: a naive moment, or settings that no period can be derived from.
    """
    provider_id = service_provider if isinstance(service_provider, int) else service_provider["id"]
    key = {"service_provider_id": provider_id, "moment": moment}
    if moment.tzinfo is None:
        raise ValueError(f"moment {moment} has no time zone")
    stored = connection.execute(sql.load("reference/billing_period_at"), key).fetchone()
    if stored is not None:
        return stored
    settings = service_provider if not isinstance(service_provider, int) else _settings(connection, provider_id)
    derived = billing_period_at(
        moment,
        end_day=settings["bill_period_end_day"],
        end_hour=settings["bill_period_end_hour"],
        time_zone=settings["time_zone"],
    )
    added = connection.execute(
        sql.load("reference/add_billing_period"),
        {
            **key,
            "bill_year": derived.bill_year,
            "bill_month": derived.bill_month,
            "cycle_start": derived.cycle_start,
            "cycle_end": derived.cycle_end,
        },
    ).fetchone()
    if added is None:  # INSERT … ON CONFLICT DO UPDATE … RETURNING always returns its row
        raise RuntimeError(f"billing period of provider {provider_id} at {moment} was not stored")
    return added


def apply_changed_settings(connection: WarehouseConnection, service_provider_id: int, now: datetime) -> bool:
    """Forget the provider's open periods after its billing settings changed, unless something uses them.

    Returns:
        True when the settings apply at once; False when they apply after the current period, which is in use.
    """
    try:
        with connection.transaction():
            connection.execute(
                sql.load("reference/remove_open_billing_periods"),
                {"service_provider_id": service_provider_id, "now": now},
            )
    except psycopg.errors.ForeignKeyViolation:
        return False
    return True


def _settings(connection: WarehouseConnection, service_provider_id: int) -> dict[str, Any]:
    settings = connection.execute(
        sql.load("reference/billing_settings"), {"service_provider_id": service_provider_id}
    ).fetchone()
    if settings is None:
        raise UnknownServiceProviderError(f"service provider {service_provider_id} does not exist")
    return settings
