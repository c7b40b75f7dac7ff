"""A warehouse with an optimized instance and proposed plan changes, and the carrier that they go to; for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.plan_changes.apply import apply_changes
from amop.plan_changes.decide import Answer, plan_changes, settle_approval
from amop.plan_changes.rules import ChangesStatus
from sandbox.carrier.catalogue import provider_of
from sandbox.carrier.running import RunningCarrier
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
CYCLE_START, CYCLE_END = NOW - timedelta(days=20), NOW + timedelta(days=5)
CALLS_PER_SECOND = 5.0


class ChangesWorld:
    """One provider of the sandbox, with SIMs that may change their plan and instances that propose changes.

    Args:
        dsn: a fresh migrated warehouse.
        carrier: the carrier; its SIMs are copied into the warehouse as a sync would.
        integration: integration of the provider.
        settings: columns of ``service_provider``; writes are enabled by default.
    """

    def __init__(self, dsn: str, carrier: RunningCarrier, integration: str = "jasper", **settings: Any) -> None:
        self.dsn = dsn
        self.carrier = carrier
        self.provider = provider_of(integration)
        self.account = self.provider.api_user
        load_sandbox_reference(dsn)
        self.set_provider(**{"write_is_enabled": True, "can_auto_update_rate_plans": True} | settings)
        self.billing_period_id = self.add_billing_period(11, CYCLE_START, CYCLE_END)
        self._ids: dict[str, int] = {}
        self._taken = 0
        self.waits: list[float] = []
        """Seconds that applying waited before it settled a doubt; no test waits for them."""

    def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement in a transaction of its own; return its rows, if it has any."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def set_provider(self, **settings: Any) -> None:
        """Change settings of the provider."""
        columns = ", ".join(f"{name} = %s" for name in settings)
        self.execute(f"UPDATE amop.service_provider SET {columns} WHERE id = %s", *settings.values(), self.provider.id)

    def add_billing_period(self, month: int, start: datetime, end: datetime) -> int:
        """Add a billing period of the year 2099, which no other test uses, and return its id."""
        return int(
            self.execute(
                "INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)"
                " VALUES (%s, 2099, %s, %s, %s) RETURNING id",
                self.provider.id,
                month,
                start,
                end,
            )[0]["id"]
        )

    def add_merged_run(self, warnings: list[str]) -> None:
        """Add a device sync that was merged with warnings before the inputs of every instance were read."""
        self.execute(
            "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, billing_period_id, "
            "is_full, started_at, devices_merged_at, usage_merged_at, warnings)"
            " VALUES (%s, 'device_sync', 'warned', 'complete', %s, true, %s, %s, %s, %s)",
            self.provider.id,
            self.billing_period_id,
            *[NOW - timedelta(hours=1)] * 3,
            warnings,
        )

    def sims(self, count: int) -> list[dict[str, Any]]:
        """Return SIMs at the carrier that no other instance of this test has, each with a plan it may move to."""
        truth = self.carrier.truth(self.account)["devices"]
        allowed = {plan.name: plan.rate_plans for plan in self.provider.communication_plans}
        active = [sim for sim in truth if sim["status"] == "ACTIVATED"][self._taken : self._taken + count]
        assert len(active) == count, "the carrier of this test has too few SIMs"
        self._taken += count
        for sim in active:
            sim["target"] = next(code for code in allowed[sim["communication_plan"]] if code != sim["rate_plan"])
        return active

    def instance(
        self,
        sims: list[dict[str, Any]],
        *,
        apply_changes: str = "provider_setting",
        billing_period_id: int | None = None,
        run_status: str = "complete_with_success",
    ) -> int:
        """Return a completed instance that proposes to move these SIMs; each saves 1, 2, 3 … in their order."""
        session_id = self.execute(
            "INSERT INTO amop.optimization_session"
            " (service_provider_id, billing_period_id, opened_by, status, progress)"
            " VALUES (%s, %s, gen_random_uuid()::text, 'complete', 100) RETURNING id",
            self.provider.id,
            billing_period_id or self.billing_period_id,
        )[0]["id"]
        saving = Decimal(sum(range(1, len(sims) + 1)))
        instance_id = int(
            self.execute(
                "INSERT INTO amop.optimization_instance"
                " (session_id, apply_changes, run_status, current_cost, total_cost, savings)"
                " VALUES (%s, %s, %s, 1000, %s, %s) RETURNING id",
                session_id,
                apply_changes,
                run_status,
                1000 - saving,
                saving,
            )[0]["id"]
        )
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            for number, sim in enumerate(sims, start=1):
                device = (instance_id, self._device(connection, sim), sim["rate_plan"], sim["target"])
                cursor.execute(
                    "INSERT INTO amop.optimization_device_result VALUES (%s, %s, %s, %s, 1, 1, %s, %s)",
                    (*device, 10 + number, 10),
                )
                cursor.execute(
                    "INSERT INTO amop.rate_plan_change"
                    " (instance_id, device_id, from_rate_plan, to_rate_plan, from_cost, to_cost, own_saving,"
                    " send_order) VALUES (%s, %s, %s, %s, %s, 10, %s, %s)",
                    (*device, 10 + number, number, len(sims) + 1 - number),
                )
        return instance_id

    def _device(self, connection: psycopg.Connection[Any], sim: dict[str, Any]) -> int:
        row = connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid, status, rate_plan, communication_plan)"
            " VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (service_provider_id, iccid) DO UPDATE SET rate_plan = excluded.rate_plan RETURNING id",
            (self.provider.id, sim["iccid"], sim["status"], sim["rate_plan"], sim["communication_plan"]),
        ).fetchone()
        return int(row[0]) if row else 0

    def plan(self, instance_id: int, *, now: datetime = NOW, can_wait: bool = True) -> ChangesStatus:
        """Decide on the changes of an instance at the account's pace."""
        return plan_changes(
            self.dsn,
            instance_id,
            call_rate=lambda *_: CALLS_PER_SECOND,
            planned_by="dag/run",
            can_wait=can_wait,
            now=now,
        )

    def answer(self, instance_id: int, answer: Answer, *, now: datetime = NOW) -> ChangesStatus:
        """Settle the approval of an instance."""
        return settle_approval(self.dsn, instance_id, answer, call_rate=lambda *_: CALLS_PER_SECOND, now=now)

    def apply(self, instance_id: int, *, client: Any = None, now: datetime = NOW, **settings: Any) -> dict[str, int]:
        """Apply the changes of an instance, by a client that may write unless one is given."""
        pace = settings.pop("calls_per_second", CALLS_PER_SECOND)
        clock = settings.pop("clock", lambda: now)
        if client is not None:
            return apply_changes(
                self.dsn, instance_id, client, calls_per_second=pace, clock=clock, sleep=self.waits.append
            )
        with self.client() as own:
            return apply_changes(
                self.dsn, instance_id, own, calls_per_second=pace, clock=clock, sleep=self.waits.append
            )

    @contextmanager
    def client(self, *, may_write: bool = True, sleep: Any = None) -> Iterator[ControlCenterClient]:
        """Yield a client of the account that is not slowed down and does not wait between tries."""
        account = CarrierAccount.from_connection_fields(
            connection_id=self.provider.connection_id,
            service_provider_name=self.provider.name,
            host=self.carrier.base_url,
            schema=None,
            port=None,
            login=self.account,
            password=self.carrier.api_key,
            extra={"calls_per_second": 1000},
        )
        gate = PostgresCallGate(self.dsn, account.gate_key, account.calls_per_second)
        waiting = sleep or (lambda _seconds: None)
        with ControlCenterClient(account, gate, may_write=may_write, sleep=waiting) as client:
            yield client

    def row(self, instance_id: int) -> dict[str, Any]:
        """Return an instance's row."""
        return self.execute("SELECT * FROM amop.optimization_instance WHERE id = %s", instance_id)[0]

    def changes(self, instance_id: int) -> dict[str, dict[str, Any]]:
        """Return the changes of an instance by ICCID."""
        rows = self.execute(
            "SELECT change.*, device.iccid FROM amop.rate_plan_change AS change"
            " JOIN amop.device AS device ON device.id = change.device_id WHERE change.instance_id = %s",
            instance_id,
        )
        return {row["iccid"]: row for row in rows}

    def states(self, instance_id: int) -> list[str]:
        """Return the states of the changes of an instance, in the order of their SIMs."""
        found = self.execute("SELECT state FROM amop.rate_plan_change WHERE instance_id = %s ORDER BY id", instance_id)
        return [row["state"] for row in found]

    def plans(self) -> dict[str, str]:
        """Return the rate plan of every SIM at the carrier."""
        return {sim["iccid"]: sim["rate_plan"] for sim in self.carrier.truth(self.account)["devices"]}

    def calls(self) -> dict[str, int]:
        """Return the calls that the carrier counted since the figures were reset: reads and writes of a SIM."""
        by_endpoint = self.carrier.stats(self.account)["calls_by_endpoint"]
        return {method: by_endpoint.get(f"{method} /devices/{{iccid}}", 0) for method in ("GET", "PUT")}


def approved(world: ChangesWorld, count: int) -> tuple[int, list[dict[str, Any]]]:
    """Return an instance whose changes are approved, and its SIMs."""
    sims = world.sims(count)
    instance_id = world.instance(sims)
    assert world.plan(instance_id) == "approved"
    world.carrier.reset_stats()
    return instance_id, sims


def device_path(sim: dict[str, Any]) -> str:
    """Return the path of a SIM at the carrier."""
    return f"/rws/api/v1/devices/{sim['iccid']}"
