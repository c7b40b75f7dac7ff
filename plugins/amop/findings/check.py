"""Check the SIMs and pools of a provider after a sync, and store what is found, the most money first.

A check reads the devices, usage and history of the provider's latest complete sync and writes in one transaction. It is
set-based: each kind of finding is one statement over temporary tables, and no SIM is read into memory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from psycopg.types.json import Jsonb

from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import WarehouseConnection, transaction
from amop.findings import rules, store
from amop.findings.store import KindTotal, Scope
from amop.log_lines import figures

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class CheckTimes:
    """The times of a check in days."""

    elapsed: Decimal
    """Of the billing period."""
    left: Decimal
    """Of the billing period; 0 after its end."""
    recent: Decimal | None
    """From the sync that ends the history until now; None without a history."""
    known: Decimal | None
    """History and recent days together; None without a history."""

    @classmethod
    def of(cls, scope: Scope) -> CheckTimes:
        """Return the times of a scope."""
        recent = known = None
        begins_at, ends_at = scope.history_begins_at, scope.recent_begins_at
        if begins_at is not None and ends_at is not None and begins_at < ends_at < scope.usage_as_of:
            recent, known = _days(scope.usage_as_of - ends_at), _days(scope.usage_as_of - begins_at)
        return cls(
            elapsed=_days(scope.usage_as_of - scope.cycle_start),
            left=max(Decimal(0), _days(scope.cycle_end - scope.usage_as_of)),
            recent=recent,
            known=known,
        )


def providers_to_check(conninfo: str) -> list[dict[str, int | str]]:
    """Return ``service_provider_id`` and ``service_provider_name`` of the providers with a sync to check."""
    with transaction(conninfo, application_name="amop find_providers_to_check") as connection:
        return [
            {"service_provider_id": each.service_provider_id, "service_provider_name": each.service_provider_name}
            for each in store.providers_to_check(connection)
        ]


def check_provider(conninfo: str, service_provider_id: int, *, now: datetime) -> dict[str, int]:
    """Store the findings of a provider's latest complete sync; return how many were found of each kind.

    Nothing is found where the provider has no complete sync. A repeated check of the same sync finds the same.
    """
    with transaction(conninfo, application_name="amop check_provider") as connection:
        scope = store.scope(
            connection,
            service_provider_id=service_provider_id,
            recent_days=rules.RECENT_DAYS,
            history_days=rules.HISTORY_DAYS,
        )
        if scope is None:
            return {}
        _find(connection, scope, CheckTimes.of(scope))
        totals = store.candidate_totals(connection, service_provider_id=service_provider_id)
        stored = store.store_findings(
            connection, service_provider_id=service_provider_id, most=rules.MOST_FINDINGS, now=now
        )
        store.delete_findings(
            connection,
            service_provider_id=service_provider_id,
            now=now,
            dismissed_before=now - rules.DISMISSED_FOR,
        )
        store.record_check(
            connection,
            service_provider_id=service_provider_id,
            run_id=scope.run_id,
            now=now,
            totals=Jsonb(_as_json(totals)),
        )
    found = {total.kind: total.found for total in totals}
    log.info("%s: %s found, %s stored: %s", scope.service_provider_name, sum(found.values()), stored, figures(found))
    return found


def _find(connection: WarehouseConnection, scope: Scope, times: CheckTimes) -> None:
    """Fill the temporary table of candidates."""
    provider_id, period_id = scope.service_provider_id, scope.billing_period_id
    _create_tables(connection, scope, times)
    if times.recent is not None and scope.history_begins_at is not None and scope.recent_begins_at is not None:
        store.find_usage_spikes(
            connection,
            billing_period_id=period_id,
            history_begins_at=scope.history_begins_at,
            recent_begins_at=scope.recent_begins_at,
            recent_days=times.recent,
            elapsed_days=times.elapsed,
            days_left=times.left,
            spike_factor=rules.SPIKE_FACTOR,
            spike_spreads=rules.SPIKE_SPREADS,
            spike_mb=rules.SPIKE_MB,
            fewest_history_days=rules.FEWEST_HISTORY_DAYS,
        )
    store.find_pools_over(connection, billing_period_id=period_id, days_left=times.left)
    store.find_unused_sims(connection, unused_since=scope.usage_as_of - rules.UNUSED_FOR)
    store.find_imei_changes(
        connection,
        changed_since=scope.usage_as_of - rules.IMEI_CHANGED_WITHIN,
        days_left=times.left,
        days_in_period=scope.days_in_period,
    )
    store.find_plan_changes(
        connection, service_provider_id=provider_id, cycle_start=scope.cycle_start, usage_as_of=scope.usage_as_of
    )
    store.find_ineligible_plans(connection, service_provider_id=provider_id)
    if scope.uses_proration and "date of activation" in KNOWN_INTEGRATIONS[scope.integration].api.sim_fields:
        store.find_unknown_activations(
            connection,
            billing_period_id=period_id,
            cycle_start=scope.cycle_start,
            cycle_end=scope.cycle_end,
            days_in_period=scope.days_in_period,
        )


def _create_tables(connection: WarehouseConnection, scope: Scope, times: CheckTimes) -> None:
    store.raise_work_memory(connection)
    store.create_usage(
        connection,
        service_provider_id=scope.service_provider_id,
        history_begins_at=scope.history_begins_at,
        history_begins_on=scope.history_begins_on,
        recent_begins_on=scope.recent_begins_on,
        usage_date=scope.usage_date,
    )
    store.create_sims(
        connection,
        service_provider_id=scope.service_provider_id,
        billing_period_id=scope.billing_period_id,
        usage_as_of=scope.usage_as_of,
        uses_proration=scope.uses_proration,
        prorates_allowance=scope.prorates_allowance,
        pool_scope=scope.pool_scope,
        days_in_period=scope.days_in_period,
        days_left=times.left,
        known_days=times.known,
        elapsed_days=times.elapsed,
        megabyte=KNOWN_INTEGRATIONS[scope.integration].api.megabyte,
    )
    store.analyze_sims(connection)
    store.create_pools(connection)
    store.create_candidates(connection)


def _as_json(totals: list[KindTotal]) -> dict[str, dict[str, int | str]]:
    return {total.kind: {"found": total.found, "amount": str(total.amount)} for total in totals}


def _days(length: timedelta) -> Decimal:
    """Return a length of time in days, exact to a microsecond."""
    return Decimal(length // MICROSECOND) / Decimal(DAY // MICROSECOND)
