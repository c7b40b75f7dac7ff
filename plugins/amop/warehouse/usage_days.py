"""The daily usage history of a provider in the warehouse: which days there are, and what they add to a projection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from amop.domain.projection import SAFETY_PERCENT
from amop.domain.usage_history import FEWEST_DAYS, LOOKBACK, UsageDay, UsageHistory, usage_history
from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

DAILY_HISTORY, ELAPSED_TIME = "daily_history", "elapsed_time"
"""Values of the provider setting ``projection_method``."""

LARGEST_PRODUCT = 2**63 - 1
"""What a bigint holds."""


def read_history(connection: WarehouseConnection, instance: Mapping[str, Any]) -> UsageHistory | None:
    """Return the history that projects an instance and keep its usage days with it.

    None where the provider's setting does not want it, or too few syncs have read usage: then every SIM is projected
    by the elapsed time.
    """
    history = None
    if instance["projection_method"] == DAILY_HISTORY:
        days = connection.execute(
            sql.load("optimization/usage_days"),
            {
                "service_provider_id": instance["service_provider_id"],
                "billing_period_id": instance["billing_period_id"],
                "usage_as_of": instance["usage_as_of"],
                "begins_after": instance["usage_as_of"] - LOOKBACK,
                "time_zone": instance["time_zone"],
            },
        ).fetchall()
        history = usage_history(
            [UsageDay(**day) for day in days],
            billing_period_id=instance["billing_period_id"],
            usage_as_of=instance["usage_as_of"],
            cycle_end=instance["cycle_end"],
            time_zone=instance["time_zone"],
        )
    projection: dict[str, Any] = {"method": ELAPSED_TIME}
    if history is not None:
        projection = {"method": DAILY_HISTORY, "usage_days": [day.as_json() for day in history.days]}
    connection.execute(
        sql.load("optimization/note_projection"), {"instance_id": instance["id"], "projection": Jsonb(projection)}
    )
    return history


def create_usage_history(
    connection: WarehouseConnection, instance: Mapping[str, Any], history: UsageHistory | None
) -> None:
    """Fill the temporary table ``usage_history`` for `optimization_instances.add_devices`; no history, no rows."""
    days = history.days if history else ()
    weights = [weight for row in history.weights for weight in row] if history else []
    connection.execute(
        sql.load("optimization/create_usage_day"),
        {
            "usage_dates": [day.usage_date for day in days],
            "billing_period_ids": [day.billing_period_id for day in days],
        },
    )
    connection.execute(sql.load("optimization/analyze_usage_day"))
    connection.execute(sql.load("optimization/raise_work_memory"))
    connection.execute(
        sql.load("optimization/create_usage_history"),
        {
            "service_provider_id": instance["service_provider_id"],
            "billing_period_id": instance["billing_period_id"],
            "billing_period_ids": sorted({day.billing_period_id for day in days}),
            "earliest": min((day.usage_date for day in days), default=None),
            "day_count": len(days),
            "begins_at": [day.begins_at for day in days],
            "weights": weights,
            "largest_factor": LARGEST_PRODUCT // max([1, *weights]),
        },
    )


def history_parameters(history: UsageHistory | None) -> dict[str, Any]:
    """Return what ``optimization/add_devices`` must know of the history besides the temporary table."""
    return {
        "begins_at": [day.begins_at for day in history.days] if history else [],
        "history_days": list(history.counts) if history else [0],
        "last_weights": [row[-1] for row in history.weights] + [0] if history else [0],
        "fewest_days": FEWEST_DAYS,
        "safety_percent": SAFETY_PERCENT,
    }
