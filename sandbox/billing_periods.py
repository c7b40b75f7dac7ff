"""The sandbox world's billing periods: time enough in the present one, and a whole month that goes by at once.

The carrier's clock and Airflow's are real, so that nobody can wait for a billing period to end. Instead the past is
moved: everything that the warehouse has of a provider's billing periods goes one period back, and the present period
begins anew. Its carrier is then where it was in its cycle a month before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from amop.domain.billing_period import billing_period_at
from amop.warehouse.billing_periods import ensure_billing_period
from sandbox.background_server import LOOPBACK, request_json
from sandbox.catalogue import ServiceProvider
from sandbox.environment import World

TIME_ENOUGH = timedelta(hours=2)
"""Plan changes must never be too late in the sandbox, whatever the hour is."""
MOMENT = timedelta(milliseconds=1)

LENGTHEN = "UPDATE amop.billing_period SET cycle_end = greatest(cycle_end, %(until)s) WHERE id = %(id)s"

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
"""One billing period and what lies in it, as far as anything is worked out from when it was."""

USAGE_WAS_READ_TO_THE_END = """
UPDATE amop.device_sync_run
SET usage_as_of = %(last_moment)s
WHERE id = (SELECT max(id) FROM amop.device_sync_run WHERE billing_period_id = %(id)s AND status = 'complete')
"""

BEGIN_ANEW = """
INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
VALUES (%(service_provider_id)s, %(bill_year)s, %(bill_month)s, %(cycle_start)s, %(cycle_end)s)
"""


def leave_time_in_the_periods(warehouse: psycopg.Connection[Any], providers: tuple[ServiceProvider, ...]) -> None:
    """Let the present billing period of every provider last for two hours more at least."""
    now = datetime.now(UTC)
    with warehouse.transaction():
        for provider in providers:
            period = ensure_billing_period(warehouse, provider.id, now)
            warehouse.execute(LENGTHEN, {"id": period["id"], "until": now + TIME_ENOUGH})


def use_until_the_period_ends(world: World, provider: ServiceProvider) -> None:
    """Let the SIMs at the carrier use what they use in the rest of its billing period."""
    _use_until(world, provider, datetime.fromisoformat(_truth(world, provider)["cycle_end"]) - MOMENT)


def begin_the_next_period(world: World, warehouse: psycopg.Connection[Any], provider: ServiceProvider) -> None:
    """Close a provider's present billing period and begin the next: at the carrier, and by moving the past back."""
    with warehouse.transaction():
        periods = warehouse.execute(PERIODS, {"service_provider_id": provider.id}).fetchall()
        for period in periods:  # the oldest first: no two may ever be of one month
            regular = billing_period_at(
                period["cycle_start"] - MOMENT,
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
        warehouse.execute(USAGE_WAS_READ_TO_THE_END, values)
        warehouse.execute(BEGIN_ANEW, periods[-1])
    _use_until(world, provider, datetime.fromisoformat(_truth(world, provider)["as_of"]))


def _use_until(world: World, provider: ServiceProvider, moment: datetime) -> None:
    body = {"account": provider.api_user, "until": moment.isoformat()}
    request_json(LOOPBACK, world.ports["carrier"], "POST", "/sandbox/usage", body)


def _truth(world: World, provider: ServiceProvider) -> dict[str, Any]:
    truth: dict[str, Any] = request_json(LOOPBACK, world.ports["carrier"], "GET", f"/sandbox/truth/{provider.api_user}")
    return truth
