"""Load reference data into the warehouse: one file, one transaction; only changed rows are written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from amop.clock import utc_now
from amop.database.connection import WarehouseConnection, transaction
from amop.reference import store
from amop.reference.billing_periods import apply_changed_settings, ensure_billing_period
from amop.reference.entries import ReferenceFile, ServiceProviderEntry
from amop.reference.reference_file import Problem, ReferenceFileError, parse_reference_file

log = logging.getLogger(__name__)

Counts = dict[str, dict[str, int]]
"""By table: number of rows inserted, updated, unchanged and, where applicable, removed or not_in_file."""

PLANS = {"rate_plans", "communication_plans"}


def load_reference(
    conninfo: str, path: str | Path, *, allow_implausible: bool = False, now: datetime | None = None
) -> Counts:
    """Load a whole reference file, or nothing.

    Insert or update tenants, providers, rate plans and communication plans; never delete any. Replace the mapping of
    communication plans to rate plans for the providers with ``communication_plans`` in the file. Rate plans that the
    file does not list are not changed, but reported (a warning in the log, ``not_in_file`` in the result). Every
    provider of the file gets its current billing period.

    Args:
        conninfo: libpq connection string of the warehouse.
        path: the YAML file.
        allow_implausible: load prices that change by more than a provider's ``maximum_price_factor``, too.
        now: moment of the current billing period; None = the system clock.

    Returns:
        Numbers of rows by table. A second load of the same file counts only ``unchanged``.

    Raises:
        ReferenceFileError: the file is unreadable, invalid or conflicts with the warehouse; nothing was written.
        psycopg.Error: the warehouse failed; nothing was written.
    """
    path = Path(path)
    reference = parse_reference_file(_read(path), path.name)
    try:
        with transaction(conninfo, application_name="amop load_reference") as connection:
            _check_time_zones(connection, reference, path.name)
            if not allow_implausible:
                _check_prices(connection, reference, path.name)
            return _load(connection, reference, now or utc_now())
    except psycopg.errors.UniqueViolation as error:
        detail = error.diag.message_detail or str(error)
        problem = Problem(None, "", f"conflicts with the warehouse: {detail} (in {error.diag.table_name})")
        raise ReferenceFileError(path.name, [problem]) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(None, "", f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        problem = Problem(None, "", f"cannot be read: {error.strerror}")
    raise ReferenceFileError(str(path), [problem])


def _check_time_zones(connection: WarehouseConnection, reference: ReferenceFile, file_name: str) -> None:
    """Check that the database server knows every time zone: the merges convert times there.

    Raises:
        ReferenceFileError: it does not know one.
    """
    names = {tenant.time_zone for tenant in reference.tenants}
    names |= {provider.time_zone for provider in reference.service_providers}
    unknown = store.unknown_time_zones(connection, names=sorted(names))
    if unknown:
        problems = [
            Problem(None, "time_zone", f"{name!r} is not known to the database server; allowed: a name of its view "
                    "pg_timezone_names") for name in unknown
        ]  # fmt: skip
        raise ReferenceFileError(file_name, problems)


def _check_prices(connection: WarehouseConnection, reference: ReferenceFile, file_name: str) -> None:
    """Check that no price or size of a known rate plan changes by more than its provider's factor.

    Raises:
        ReferenceFileError: one does; a misplaced decimal point would move a whole fleet to another plan.
    """
    problems = [
        Problem(
            None,
            price.field,
            f"rate plan {price.rate_plan_code!r} of {price.service_provider_name} ({price.service_provider_id}) "
            f"changes from {price.stored_value.normalize():f} to {price.new_value.normalize():f}, by more than "
            f"service_provider.maximum_price_factor {price.maximum_price_factor.normalize():f}; if this is right, load "
            "the file with --allow-implausible",
        )
        for price in store.implausible_prices(connection, entries=Jsonb(_rate_plan_entries(reference)))
    ]
    if problems:
        raise ReferenceFileError(file_name, problems)


def _rate_plan_entries(reference: ReferenceFile) -> list[dict[str, Any]]:
    return [
        {"service_provider_id": provider.id, **plan.model_dump(mode="json")}
        for provider in reference.service_providers
        for plan in provider.rate_plans
    ]


def _load(connection: WarehouseConnection, reference: ReferenceFile, now: datetime) -> Counts:
    store.lock_reference(connection)
    providers = reference.service_providers
    tenants = [tenant.model_dump(mode="json") for tenant in reference.tenants]
    accounts = [provider.model_dump(mode="json", exclude=PLANS) for provider in providers]
    plans = [
        {"service_provider_id": provider.id, "name": plan.name}
        for provider in providers
        for plan in provider.communication_plans or ()
    ]
    numbers = [integration.model_dump(mode="json") for integration in reference.integrations]
    changed = store.changed_billing_settings(connection, entries=Jsonb(accounts))
    counts = {
        "tenant": _counts(tenants, store.upsert_tenants(connection, entries=Jsonb(tenants))),
        "integration": _counts(numbers, store.set_integration_types(connection, entries=Jsonb(numbers))),
        "service_provider": _counts(accounts, store.upsert_service_providers(connection, entries=Jsonb(accounts))),
        "carrier_rate_plan": _load_rate_plans(connection, reference),
        "communication_plan": _counts(plans, store.add_communication_plans(connection, entries=Jsonb(plans), now=now)),
        "communication_plan_rate_plan": _load_eligibility(connection, providers),
    }
    for provider in changed:
        if not apply_changed_settings(connection, provider.id, now):
            log.warning(
                "%s (%s): the current billing period is in use; the changed end day applies from the next period",
                provider.name,
                provider.id,
            )
    counts["billing_period"] = _ensure_billing_periods(connection, providers, now)
    return counts


def _load_rate_plans(connection: WarehouseConnection, reference: ReferenceFile) -> dict[str, int]:
    entries = _rate_plan_entries(reference)
    counts = _counts(entries, store.upsert_rate_plans(connection, entries=Jsonb(entries)))
    others = store.rate_plans_not_in_file(
        connection,
        entries=Jsonb(entries),
        service_provider_ids=[provider.id for provider in reference.service_providers],
    )
    for plan in others:
        log.warning(
            "%s (%s): rate plan %r is not in the file; it was not changed",
            plan.service_provider_name,
            plan.service_provider_id,
            plan.rate_plan_code,
        )
    return {**counts, "not_in_file": len(others)}


def _load_eligibility(connection: WarehouseConnection, providers: Sequence[ServiceProviderEntry]) -> dict[str, int]:
    stated = [provider for provider in providers if provider.communication_plans is not None]
    entries = [
        {"service_provider_id": provider.id, "communication_plan": plan.name, "rate_plan_code": code}
        for provider in stated
        for plan in provider.communication_plans or ()
        for code in plan.rate_plans
    ]
    removed = store.remove_eligibility(
        connection, entries=Jsonb(entries), service_provider_ids=[provider.id for provider in stated]
    )
    added = store.add_eligibility(connection, entries=Jsonb(entries))
    return {**_counts(entries, added), "removed": removed}


def _ensure_billing_periods(
    connection: WarehouseConnection, providers: Sequence[ServiceProviderEntry], now: datetime
) -> dict[str, int]:
    inserted = 0
    for provider in providers:
        if store.stored_period_at(connection, service_provider_id=provider.id, moment=now) is None:
            ensure_billing_period(connection, provider.id, now)
            inserted += 1
    return {"inserted": inserted, "updated": 0, "unchanged": len(providers) - inserted}


def _counts(entries: Sequence[object], written: Sequence[bool]) -> dict[str, int]:
    """Return the numbers of rows, given the entries and, for each written row, whether it was inserted."""
    inserted = sum(written)
    return {"inserted": inserted, "updated": len(written) - inserted, "unchanged": len(entries) - len(written)}
