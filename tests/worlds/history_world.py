"""A provider whose syncs read the usage of its SIMs at chosen moments, in the tables that projections read."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, OptimizationWorld

ZONE = ZoneInfo("America/New_York")
CYCLE = {"cycle_start": CYCLE_START, "cycle_end": CYCLE_END}
AS_OF = datetime(2026, 11, 13, 5, tzinfo=UTC)
ONE_DAY = timedelta(days=1)
RUN = itertools.count()


class History(OptimizationWorld):
    """A provider whose syncs read usage at chosen moments of this cycle and the one before."""

    def __init__(self, dsn: str, **settings: Any) -> None:
        super().__init__(dsn, **settings)
        self.before_id = self.insert(
            "billing_period",
            service_provider_id=1,
            bill_year=2026,
            bill_month=10,
            cycle_start=CYCLE_START - timedelta(days=30),
            cycle_end=CYCLE_START,
        )
        self.add_rate_plan("Small", "1", "10")
        self.add_communication_plan("Tracking", ["Small"])

    def forget(self) -> None:
        """Take back syncs, SIMs and their usage."""
        self.execute("UPDATE amop.optimization_session SET status = 'cancelled'")
        for table in ("device_usage", "device", "device_sync_run"):
            self.execute(f"DELETE FROM amop.{table}")

    def period_of(self, moment: datetime) -> int:
        """Return the billing period that a sync at this moment reads."""
        return int(self.billing_period_id if moment >= CYCLE_START else self.before_id)

    def sync(self, *moments: datetime, **columns: Any) -> None:
        """Let syncs have merged usage at these moments."""
        values = {"status": "complete", "usage_merged_at": AS_OF} | columns
        self.execute(
            "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, is_full, billing_period_id,"
            " usage_as_of, status, usage_merged_at)"
            " SELECT 1, 'device_sync_jasper', %s || usage_as_of::text, true, billing_period_id, usage_as_of, %s, %s"
            " FROM unnest(%s::bigint[], %s::timestamptz[]) AS read (billing_period_id, usage_as_of)",
            f"{next(RUN)} ",
            values["status"],
            values["usage_merged_at"],
            [self.period_of(moment) for moment in moments],
            list(moments),
        )

    def use(
        self,
        iccid: str,
        used: dict[datetime, int],
        *,
        communication_plan: str = "Tracking",
        rate_plan: str = "Small",
        **columns: Any,
    ) -> None:
        """Add a SIM whose usage, in bytes, was seen by the syncs of these moments; its counter is that of the cycle."""
        rows: Counter[tuple[date, int]] = Counter()
        for moment, usage in used.items():
            rows[moment.astimezone(ZONE).date(), self.period_of(moment)] += usage
        ctd = sum(usage for (_, period), usage in rows.items() if period == self.billing_period_id)
        values: dict[str, Any] = {"ctd_data_usage": ctd, "last_usage_date": AS_OF} | columns
        device_id = self.add_sim(iccid, communication_plan, rate_plan, **values)
        self.execute(
            "INSERT INTO amop.device_usage (device_id, usage_date, billing_period_id, data_usage, sms_usage,"
            " voice_usage) SELECT %s, usage_date, billing_period_id, data_usage, 0, 0"
            " FROM unnest(%s::date[], %s::bigint[], %s::bigint[]) AS daily (usage_date, billing_period_id, data_usage)",
            device_id,
            [day for day, _ in rows],
            [period for _, period in rows],
            list(rows.values()),
        )

    def project(self, as_of: datetime = AS_OF) -> dict[str, dict[str, Any]]:
        """Project the usage of a new instance; return its SIMs by ICCID, and the instance under ''."""
        instance_id = self.open(now=as_of, opened_by=f"test {next(RUN)}")
        for step in self.steps(instance_id)[:3]:
            step()
        found = self.execute("SELECT * FROM amop.optimization_device WHERE instance_id = %s", instance_id)
        self.execute("UPDATE amop.optimization_session SET status = 'cancelled'")
        return {row["iccid"]: row for row in found} | {"": self.instance(instance_id)}


def daily(first: datetime, last: datetime) -> list[datetime]:
    """Return a moment a day."""
    return [first + number * ONE_DAY for number in range((last - first).days + 1)]
