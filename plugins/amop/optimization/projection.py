"""The daily usage history of a provider in the warehouse: its usage days, and their part in a projection."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.families import monthly_change_limits
from amop.optimization import store
from amop.optimization.change_effects import effects_of
from amop.optimization.comm_groups import PLACED
from amop.optimization.forecast import (
    LARGEST_SMS_USAGE,
    LARGEST_USAGE_MB,
    SAFETY_PERCENT,
    UNPROJECTED_STATUSES,
    projection_factor,
)
from amop.optimization.rows import Instance
from amop.optimization.usage_history import FEWEST_DAYS, LOOKBACK, UsageHistory, usage_history
from amop.reference.billing_period import days_in_period

DAILY_HISTORY, ELAPSED_TIME, SCENARIOS = "daily_history", "elapsed_time", "scenarios"
"""Values of the provider setting ``projection_method``; the point forecast of the last is that of the first."""

LARGEST_BIGINT = 2**63 - 1


def read_history(connection: WarehouseConnection, instance: Instance) -> UsageHistory | None:
    """Return the history that projects an instance, and store its usage days with the instance.

    Returns:
        None if the provider's setting excludes the history, or too few syncs have read usage: then every SIM is
        projected by the elapsed time.
    """
    history = None
    if instance.projection_method in {DAILY_HISTORY, SCENARIOS}:
        days = store.sims.usage_days(
            connection,
            service_provider_id=instance.service_provider_id,
            billing_period_id=instance.billing_period_id,
            usage_as_of=instance.usage_as_of,
            begins_after=instance.usage_as_of - LOOKBACK,
            time_zone=instance.time_zone,
        )
        history = usage_history(
            days,
            billing_period_id=instance.billing_period_id,
            usage_as_of=instance.usage_as_of,
            cycle_end=instance.cycle_end,
            time_zone=instance.time_zone,
        )
    projection: dict[str, Any] = {"method": ELAPSED_TIME}
    if history is not None:
        projection = {"method": DAILY_HISTORY, "usage_days": [day.as_json() for day in history.days]}
    store.sims.set_projection(connection, instance_id=instance.id, projection=Jsonb(projection))
    return history


def add_devices(connection: WarehouseConnection, instance: Instance, history: UsageHistory | None) -> None:
    """Write the inputs of the instance: one row per eligible SIM, with its projected usage.

    Args:
        connection: the caller's transaction.
        instance: the instance.
        history: the usage days of the provider; None projects every SIM by the elapsed time.
    """
    _create_usage_history(connection, instance, history)
    factor = projection_factor(instance.usage_as_of, cycle_start=instance.cycle_start, cycle_end=instance.cycle_end)
    store.sims.add_devices(
        connection,
        instance_id=instance.id,
        service_provider_id=instance.service_provider_id,
        billing_period_id=instance.billing_period_id,
        usage_as_of=instance.usage_as_of,
        uses_proration=instance.uses_proration,
        days_in_period=days_in_period(instance.cycle_start, instance.cycle_end, instance.time_zone),
        numerator=factor.numerator,
        denominator=factor.denominator,
        unprojected_statuses=sorted(UNPROJECTED_STATUSES),
        begins_at=[day.begins_at for day in history.days] if history else [],
        history_days=history.counts if history else [0],
        last_weights=[row[-1] for row in history.weights] + [0] if history else [0],
        fewest_days=FEWEST_DAYS,
        safety_percent=SAFETY_PERCENT,
        largest_usage_mb=LARGEST_USAGE_MB,
        largest_sms_usage=LARGEST_SMS_USAGE,
        placed=PLACED,
        cycle_start=instance.cycle_start,
        cycle_end=instance.cycle_end,
        maximum_changes_per_sim=instance.maximum_changes_per_sim,
        maximum_changes_per_month=monthly_change_limits().get(instance.family),
        time_zone=instance.time_zone,
        minimum_days_on_plan=instance.minimum_days_on_plan,
        counts_from_change=effects_of(instance).count_from_change,
    )


def add_left_plans(connection: WarehouseConnection, instance: Instance) -> None:
    """Write the plans that SIMs had left within the period, where they are billed for the days on them."""
    if effects_of(instance).count_from_change:
        store.sims.add_left_plans(
            connection,
            instance_id=instance.id,
            billing_period_id=instance.billing_period_id,
            cycle_start=instance.cycle_start,
            cycle_end=instance.cycle_end,
            time_zone=instance.time_zone,
            days_in_period=days_in_period(instance.cycle_start, instance.cycle_end, instance.time_zone),
        )


def _create_usage_history(connection: WarehouseConnection, instance: Instance, history: UsageHistory | None) -> None:
    """Fill the temporary table ``usage_history``; without a history it stays empty."""
    days = history.days if history else ()
    weights = [weight for row in history.weights for weight in row] if history else []
    store.sims.create_usage_day(
        connection,
        usage_dates=[day.usage_date for day in days],
        billing_period_ids=[day.billing_period_id for day in days],
    )
    store.sims.analyze_usage_day(connection)
    store.sims.raise_work_memory(connection)
    store.sims.create_usage_history(
        connection,
        service_provider_id=instance.service_provider_id,
        billing_period_id=instance.billing_period_id,
        billing_period_ids=sorted({day.billing_period_id for day in days}),
        earliest=min((day.usage_date for day in days), default=None),
        day_count=len(days),
        begins_at=[day.begins_at for day in days],
        weights=weights,
        largest_factor=LARGEST_BIGINT // max([1, *weights]),
    )
