"""A small warehouse of one provider, filled by SQL, and the steps of its optimization one after another; for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, check_request, open_instance

CYCLE_START = datetime(2026, 10, 18, 22, tzinfo=UTC)
CYCLE_END = datetime(2026, 11, 18, 23, tzinfo=UTC)
"""18:00 in New York on both days: the clocks go back on 1 November, so the cycle has 31 days and an hour."""
NOW = CYCLE_START + (CYCLE_END - CYCLE_START) / 2
MEGABYTE = 1_048_576


class OptimizationWorld:
    """Provider 1 on Jasper with one billing period.

    Args:
        dsn: a fresh migrated warehouse.
        settings: columns of ``service_provider`` that differ from their defaults.
    """

    def __init__(self, dsn: str, **settings: Any) -> None:
        self.dsn = dsn
        self.execute("INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'Acme IoT', 'America/New_York')")
        columns = {
            "id": 1,
            "tenant_id": 1,
            "integration_id": 1,
            "name": "AT&T",
            "connection_id": "carrier_jasper",
            "time_zone": "America/New_York",
            **settings,
        }
        self.insert("service_provider", **columns)
        self.billing_period_id = self.insert(
            "billing_period",
            service_provider_id=1,
            bill_year=2026,
            bill_month=11,
            cycle_start=CYCLE_START,
            cycle_end=CYCLE_END,
        )

    def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement in a transaction of its own; return its rows, if it has any."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, **columns: Any) -> Any:
        """Insert a row and return its id."""
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        statement = f"INSERT INTO amop.{table} ({names}) VALUES ({marks}) RETURNING id"
        return self.execute(statement, *columns.values())[0]["id"]

    def add_rate_plan(self, code: str, charge: str, plan_mb: str, **columns: Any) -> int:
        """Add a rate plan; overage is 1.00 per MB by default."""
        terms = {"overage_rate": "1", "data_per_overage_charge": "1"} | columns
        return int(
            self.insert(
                "carrier_rate_plan",
                service_provider_id=1,
                rate_plan_code=code,
                rate_charge=charge,
                plan_mb=plan_mb,
                **terms,
            )
        )

    def add_communication_plan(self, name: str, rate_plans: Sequence[str]) -> None:
        """Add a communication plan that allows these rate plans."""
        plan_id = self.insert("communication_plan", service_provider_id=1, name=name)
        self.execute(
            "INSERT INTO amop.communication_plan_rate_plan (communication_plan_id, carrier_rate_plan_id)"
            " SELECT %s, id FROM amop.carrier_rate_plan WHERE service_provider_id = 1 AND rate_plan_code = ANY(%s)",
            plan_id,
            list(rate_plans),
        )

    def add_sim(
        self, iccid: str, communication_plan: str | None, rate_plan: str | None, mb: float = 0, **columns: Any
    ) -> int:
        """Add an active SIM that has used `mb` MB in the cycle."""
        values = {
            "status": "ACTIVATED",
            "billing_period_id": self.billing_period_id,
            "ctd_data_usage": round(mb * MEGABYTE),
            "date_activated": CYCLE_START - timedelta(days=400),
            "last_usage_date": NOW,
            "sms_is_read": True,
        } | columns
        return int(
            self.insert(
                "device",
                service_provider_id=1,
                iccid=iccid,
                communication_plan=communication_plan,
                rate_plan=rate_plan,
                **values,
            )
        )

    def insert_usage(self, device_id: int, data_usage: int, *, day: datetime = NOW) -> None:
        """Add a daily usage row of a SIM in the billing period, in bytes."""
        self.execute(
            "INSERT INTO amop.device_usage VALUES (%s, %s, %s, %s, 0, 0)",
            device_id,
            day.date(),
            self.billing_period_id,
            data_usage,
        )

    def request(self, **request: Any) -> OptimizationRequest:
        """Return the request of a manual run."""
        wanted: dict[str, Any] = {"integration": "jasper", "service_provider_id": 1}
        wanted["opened_by"] = "carrier_optimization_jasper/manual"
        return OptimizationRequest(**(wanted | request))

    def open(self, *, now: datetime = NOW, **request: Any) -> int:
        """Open an instance and return its id."""
        wanted = self.request(**request)
        check_request(self.dsn, wanted)
        return open_instance(self.dsn, wanted, now=now)["instance_id"]

    def steps(self, instance_id: int) -> list[Any]:
        """Return the steps after the first as calls without arguments, in order."""
        dsn = self.dsn
        return [
            lambda: inputs.group_communication_plans(dsn, instance_id),
            lambda: inputs.validate_groups(dsn, instance_id, now=NOW),
            lambda: inputs.project_usage(dsn, instance_id),
            lambda: solve.assign_base(dsn, instance_id),
            lambda: solve.solve(dsn, instance_id),
            lambda: results.write_results(dsn, instance_id),
            lambda: results.publish_report(dsn, instance_id, now=NOW),
        ]

    def optimize(self, **request: Any) -> dict[str, Any]:
        """Run all steps and return the instance's row."""
        instance_id = self.open(**request)
        for step in self.steps(instance_id):
            step()
        return self.instance(instance_id)

    def instance(self, instance_id: int) -> dict[str, Any]:
        """Return an instance's row."""
        return self.execute("SELECT * FROM amop.optimization_instance WHERE id = %s", instance_id)[0]

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the result rows by ICCID."""
        found = self.execute(
            "SELECT device.iccid, result.* FROM amop.optimization_device_result AS result"
            " JOIN amop.device AS device ON device.id = result.device_id"
        )
        return {row["iccid"]: row for row in found}

    def outcomes(self) -> dict[tuple[str, ...], str]:
        """Return the outcome of each comm group by its communication plans."""
        return {
            tuple(row["communication_plans"]): row["outcome"]
            for row in self.execute("SELECT * FROM amop.optimization_comm_group")
        }

    def messages(self) -> list[Any]:
        """Return the messages to AMOP in order: percents and error texts."""
        payloads = self.execute("SELECT kind, payload FROM amop.amop_outbox ORDER BY id")
        return [
            row["payload"]["data"]["Progress"] if row["kind"] == "progress" else row["payload"]["data"]["ErrorMessage"]
            for row in payloads
        ]


def money(text: str) -> Decimal:
    """Return an amount with 6 decimals."""
    return Decimal(text).quantize(Decimal("0.000001"))
