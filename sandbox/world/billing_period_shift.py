"""Extend the current billing periods of the sandbox world, and start the next one without waiting a month.

The clocks of the sandbox carrier and of Airflow are real, so a billing period cannot be made to end. Instead, the data
that the warehouse has of a provider's billing periods is moved one period into the past, and the current period starts
again. The carrier's usage counters are set back to the start of the demo.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from amop.reference.billing_period import billing_period_at
from amop.reference.billing_periods import ensure_billing_period
from sandbox.carrier.catalogue import ServiceProvider
from sandbox.http_server import LOOPBACK, request_json
from sandbox.world.world import World

MINIMUM_TIME_LEFT = timedelta(hours=2)
"""Time left in the current period, so that plan changes are never too late in the sandbox."""
MILLISECOND = timedelta(milliseconds=1)

EXTEND = "UPDATE amop.billing_period SET cycle_end = greatest(cycle_end, %(until)s) WHERE id = %(id)s"

PERIODS = """
SELECT id, service_provider_id, bill_year, bill_month, cycle_start, cycle_end
FROM amop.billing_period
WHERE service_provider_id = %(service_provider_id)s
ORDER BY cycle_start
"""

MOVE_BACK = (
    """
    UPDATE amop.billing_period
    SET bill_year = %(bill_year)s, bill_month = %(bill_month)s, cycle_start = %(cycle_start)s, cycle_end = %(cycle_end)s
    WHERE id = %(id)s
    """,
    """
    UPDATE amop.optimization_instance
    SET usage_as_of = least(usage_as_of - %(by)s, %(last_moment)s)
    WHERE session_id IN (SELECT id FROM amop.optimization_session WHERE billing_period_id = %(id)s)
    """,
    """
    UPDATE amop.rate_plan_change AS change
    SET applied_at = least(change.applied_at - %(by)s, %(last_moment)s)
    FROM amop.optimization_instance AS instance
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    WHERE change.instance_id = instance.id AND session.billing_period_id = %(id)s AND change.applied_at IS NOT NULL
    """,
    "UPDATE amop.device_usage SET usage_date = usage_date - %(days)s::integer WHERE billing_period_id = %(id)s",
    """
    UPDATE amop.device_sync_run
    SET usage_as_of = least(usage_as_of - %(by)s, %(last_moment)s)
    WHERE billing_period_id = %(id)s
    """,
)
"""Move one billing period and every time within it that a computation depends on."""

MARK_USAGE_AS_READ_TO_END = """
UPDATE amop.device_sync_run
SET usage_as_of = %(last_moment)s
WHERE id = (SELECT max(id) FROM amop.device_sync_run WHERE billing_period_id = %(id)s AND status = 'complete')
"""

INSERT_CURRENT_PERIOD = """
INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
VALUES (%(service_provider_id)s, %(bill_year)s, %(bill_month)s, %(cycle_start)s, %(cycle_end)s)
"""


def extend_open_periods(warehouse: psycopg.Connection[Any], providers: tuple[ServiceProvider, ...]) -> None:
    """Extend the current billing period of every provider to end at least two hours from now."""
    now = datetime.now(UTC)
    with warehouse.transaction():
        for provider in providers:
            period = ensure_billing_period(warehouse, provider.id, now)
            warehouse.execute(EXTEND, {"id": period.id, "until": now + MINIMUM_TIME_LEFT})


def use_until_period_end(world: World, provider: ServiceProvider) -> None:
    """Set the carrier's usage counters to the end of the current billing period."""
    _use_until(world, provider, datetime.fromisoformat(_truth(world, provider)["cycle_end"]) - MILLISECOND)


def start_next_period(world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider) -> None:
    """Close a provider's current billing period and start the next one, in the warehouse and at the carrier."""
    with warehouse.transaction():
        periods = warehouse.execute(PERIODS, {"service_provider_id": provider.id}).fetchall()
        for period in periods:  # oldest first, so that no two periods ever have the same month
            regular = billing_period_at(
                period["cycle_start"] - MILLISECOND,
                end_day=provider.bill_period_end_day,
                end_hour=provider.bill_period_end_hour,
                time_zone=provider.time_zone,
            )
            by = period["cycle_start"] - regular.cycle_start
            values = {
                "id": period["id"],
                "bill_year": regular.bill_year,
                "bill_month": regular.bill_month,
                "cycle_start": regular.cycle_start,
                "cycle_end": regular.cycle_end,
                "by": by,
                "days": round(by / timedelta(days=1)),
                "last_moment": regular.cycle_end - timedelta(minutes=1),
            }
            for statement in MOVE_BACK:
                warehouse.execute(statement, values)
        warehouse.execute(MARK_USAGE_AS_READ_TO_END, values)
        warehouse.execute(INSERT_CURRENT_PERIOD, periods[-1])
    _use_until(world, provider, datetime.fromisoformat(_truth(world, provider)["as_of"]))


def _use_until(world: World, provider: ServiceProvider, time: datetime) -> None:
    body = {"account": provider.api_user, "until": time.isoformat()}
    request_json(LOOPBACK, world.ports["carrier"], "POST", "/sandbox/usage", body)


def _truth(world: World, provider: ServiceProvider) -> dict[str, Any]:
    truth: dict[str, Any] = request_json(LOOPBACK, world.ports["carrier"], "GET", f"/sandbox/truth/{provider.api_user}")
    return truth
