"""Reference data into the warehouse: one file, one transaction, only what differs is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from amop.domain.reference_entries import ReferenceFile, ServiceProviderEntry
from amop.domain.reference_file import Problem, ReferenceFileError, parse_reference_file
from amop.warehouse import sql
from amop.warehouse.billing_periods import apply_changed_settings, ensure_billing_period
from amop.warehouse.connection import WarehouseConnection, transaction

log = logging.getLogger(__name__)

Counts = dict[str, dict[str, int]]
"""By table: rows inserted, updated, unchanged, and where it applies removed or not_in_file."""

PLANS = {"rate_plans", "communication_plans"}


def load_reference(conninfo: str, path: str | Path, *, now: datetime | None = None) -> Counts:
    """Load a reference file: all of it or nothing.

    Tenants, providers, rate plans and communication plans are inserted or, where they differ, updated; none
    is ever deleted. The mapping of communication plans to rate plans becomes that of the file for the
    providers whose ``communication_plans`` it states. Rate plans that the file does not name are left alone
    and reported (a warning in the log, ``not_in_file`` in the result). Every provider of the file gets its
    current billing period.

    Args:
        conninfo: libpq connection string of the warehouse.
        path: the YAML file.
        now: the moment whose billing period is the current one; by default the clock.

    Returns:
        Counts of rows by table. A second load of the same file counts only ``unchanged``.

    Raises:
        ReferenceFileError: the file is unreadable, wrong or contradicts the warehouse; nothing was written.
        psycopg.Error: the warehouse failed; nothing was written.
    """
    path = Path(path)
    reference = parse_reference_file(_read(path), path.name)
    try:
        with transaction(conninfo, application_name="amop load_reference") as connection:
            return _load(connection, reference, now or datetime.now(UTC))
    except psycopg.errors.UniqueViolation as error:
        detail = error.diag.message_detail or str(error)
        problem = Problem(None, "", f"contradicts the warehouse: {detail} (in {error.diag.table_name})")
        raise ReferenceFileError(path.name, [problem]) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(None, "", f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        problem = Problem(None, "", f"cannot be read: {error.strerror}")
    raise ReferenceFileError(str(path), [problem])


def _load(connection: WarehouseConnection, reference: ReferenceFile, now: datetime) -> Counts:
    connection.execute(sql.load("reference/lock_reference"))
    providers = reference.service_providers
    tenants = [tenant.model_dump(mode="json") for tenant in reference.tenants]
    accounts = [provider.model_dump(mode="json", exclude=PLANS) for provider in providers]
    changed = connection.execute(
        sql.load("reference/changed_billing_settings"), {"entries": Jsonb(accounts)}
    ).fetchall()
    counts = {
        "tenant": _write(connection, "upsert_tenants", tenants),
        "service_provider": _write(connection, "upsert_service_providers", accounts),
        "carrier_rate_plan": _load_rate_plans(connection, providers),
        "communication_plan": _write(
            connection,
            "add_communication_plans",
            [
                {"service_provider_id": provider.id, "name": plan.name}
                for provider in providers
                for plan in provider.communication_plans or ()
            ],
            now=now,
        ),
        "communication_plan_rate_plan": _load_eligibility(connection, providers),
    }
    for provider in changed:
        if not apply_changed_settings(connection, provider["id"], now):
            log.warning(
                "%s (%s): its current billing period is in use; the changed end applies from the next one on",
                provider["name"], provider["id"],
            )  # fmt: skip
    counts["billing_period"] = _ensure_billing_periods(connection, providers, now)
    return counts


def _load_rate_plans(connection: WarehouseConnection, providers: Sequence[ServiceProviderEntry]) -> dict[str, int]:
    entries = [
        {"service_provider_id": provider.id, **plan.model_dump(mode="json")}
        for provider in providers
        for plan in provider.rate_plans
    ]
    counts = _write(connection, "upsert_rate_plans", entries)
    others = connection.execute(
        sql.load("reference/rate_plans_not_in_file"),
        {"entries": Jsonb(entries), "service_provider_ids": [provider.id for provider in providers]},
    ).fetchall()
    for plan in others:
        log.warning(
            "%s (%s): rate plan %r is not in the file; it was left alone",
            plan["service_provider_name"], plan["service_provider_id"], plan["rate_plan_code"],
        )  # fmt: skip
    return {**counts, "not_in_file": len(others)}


def _load_eligibility(connection: WarehouseConnection, providers: Sequence[ServiceProviderEntry]) -> dict[str, int]:
    stated = [provider for provider in providers if provider.communication_plans is not None]
    entries = [
        {"service_provider_id": provider.id, "communication_plan": plan.name, "rate_plan_code": code}
        for provider in stated
        for plan in provider.communication_plans or ()
        for code in plan.rate_plans
    ]
    removed = connection.execute(
        sql.load("reference/remove_eligibility"),
        {"entries": Jsonb(entries), "service_provider_ids": [provider.id for provider in stated]},
    ).rowcount
    return {**_write(connection, "add_eligibility", entries), "removed": removed}


def _ensure_billing_periods(
    connection: WarehouseConnection, providers: Sequence[ServiceProviderEntry], now: datetime
) -> dict[str, int]:
    inserted = 0
    for provider in providers:
        key = {"service_provider_id": provider.id, "moment": now}
        if connection.execute(sql.load("reference/billing_period_at"), key).fetchone() is None:
            ensure_billing_period(connection, provider.id, now)
            inserted += 1
    return {"inserted": inserted, "updated": 0, "unchanged": len(providers) - inserted}


def _write(
    connection: WarehouseConnection, statement: str, entries: Sequence[dict[str, Any]], **parameters: Any
) -> dict[str, int]:
    """Run one set-based statement that returns a row for everything that it wrote."""
    rows = connection.execute(
        sql.load(f"reference/{statement}"), {"entries": Jsonb(list(entries)), **parameters}
    ).fetchall()
    inserted = sum(row["was_inserted"] for row in rows)
    return {
        "inserted": inserted,
        "updated": len(rows) - inserted,
        "unchanged": len(entries) - len(rows),
    }
