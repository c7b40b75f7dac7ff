"""A warehouse with the sandbox's reference data and a carrier to sync it from, without Airflow; for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.device_sync import fetch
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run
from amop.device_sync.merge import merge_devices, merge_usage
from amop.device_sync.quality import check_quality
from amop.device_sync.summary import summarize
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.reopening import resume_run
from sandbox.carrier.running import RunningCarrier
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference
from tests.worlds.simulated_clock import SimulatedClock

JASPER = 1
"""Id of the sandbox's provider on integration ``jasper``."""


FINAL_STATE = {
    "device": (
        "SELECT service_provider_id, iccid, imsi, msisdn, imei, status, rate_plan, communication_plan, ctd_data_usage,"
        " ctd_sms_usage, ctd_voice_usage, ctd_session_count, date_activated, billing_period_id, is_active"
        " FROM amop.device ORDER BY 1, 2"
    ),
    "device_usage": (
        "SELECT device.iccid, daily.billing_period_id, daily.data_usage, daily.sms_usage, daily.voice_usage"
        " FROM amop.device_usage AS daily JOIN amop.device AS device ON device.id = daily.device_id ORDER BY 1, 2"
    ),
    "communication_plan": "SELECT service_provider_id, name FROM amop.communication_plan ORDER BY 1, 2",
    "quarantine": "SELECT kind, record_key, raw::text, reason FROM amop.device_quarantine ORDER BY 1, 2",
    "run": "SELECT status, devices_seen, devices_inserted, devices_vanished, error FROM amop.device_sync_run",
    "notices": "SELECT kind, payload::text FROM amop.amop_outbox ORDER BY id",
}
"""Table → the statement that reads what a day leaves in it."""


class SyncWorld:
    """Runs the steps of a provider's day as the tasks do, one after another.

    Args:
        dsn: a fresh migrated warehouse.
        carrier: the carrier, without limits unless a test is about them.
    """

    def __init__(self, dsn: str, carrier: RunningCarrier) -> None:
        self.dsn = dsn
        self.carrier = carrier
        load_sandbox_reference(dsn)

    def open(self, dag_run_id: str, *, now: datetime | None = None, **request: Any) -> int:
        """Open a run of the Jasper provider and return its id."""
        wanted = {"optimization": "never"} | request
        runs = open_runs(
            self.dsn,
            SyncRequest("jasper", "device_sync_jasper", dag_run_id, **wanted),
            now=now or present(),
        )
        return runs[0].run_id

    @contextmanager
    def client(
        self, api_key: str | None = None, *, clock: SimulatedClock | None = None
    ) -> Iterator[ControlCenterClient]:
        """Yield a client of the Jasper account that is not slowed down, on the real clock or on another."""
        account = CarrierAccount.from_connection_fields(
            connection_id="carrier_jasper",
            service_provider_name="AT&T Control Center",
            host=self.carrier.base_url,
            schema=None,
            port=None,
            login="api_jasper",
            password=api_key or self.carrier.api_key,
            extra={"calls_per_second": 1000},
        )
        gate = PostgresCallGate(
            self.dsn, account.gate_key, account.calls_per_second, clock=clock.now if clock else None
        )
        times: dict[str, Any] = {}
        if clock is not None:
            times = {"sleep": clock.sleep, "clock": clock.now, "monotonic": clock.monotonic}
        with ControlCenterClient(account, gate, **times) as client:
            yield client

    def stage(self, run_id: int, *, clock: SimulatedClock | None = None) -> None:
        """Do what group ``sync`` does."""
        fetch.queue_sync(self.dsn, run_id)
        with self.client(clock=clock) as client:
            fetch.fetch_devices(self.dsn, run_id, client)
            fetch.fetch_usage(self.dsn, run_id, client)

    def clear(self, run_id: int, *, now: datetime | None = None) -> bool:
        """Do what a task of the run does that an operator has cleared; return True if work is left."""
        number = self.run(run_id)["clear_number"] + 1
        return resume_run(self.dsn, run_id, clear_number=number, now=now or present()) is not None

    def merge(self, run_id: int, *, now: datetime | None = None) -> None:
        """Do what group ``cleanup`` does, up to the end of the run."""
        moment = now or present()
        merge_devices(self.dsn, run_id, now=moment)
        merge_usage(self.dsn, run_id, now=moment)
        update_communication_plans(self.dsn, run_id, now=moment)
        check_quality(self.dsn, run_id)
        summarize(self.dsn, run_id)
        complete_run(self.dsn, run_id, now=moment)

    def sync(self, dag_run_id: str, *, now: datetime | None = None, **request: Any) -> dict[str, Any]:
        """Run a whole day of the provider and return its run's row."""
        run_id = self.open(dag_run_id, now=now, **request)
        self.stage(run_id)
        self.merge(run_id, now=now)
        return self.run(run_id)

    def run(self, run_id: int) -> dict[str, Any]:
        """Return a run's row."""
        return self.rows("SELECT * FROM amop.device_sync_run WHERE id = %s", run_id)[0]

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return list(connection.execute(statement, values or None).fetchall())  # type: ignore[arg-type]

    def count(self, table: str, condition: str = "true") -> int:
        """Return the number of rows of a table of schema amop."""
        return int(self.rows(f"SELECT count(*) AS n FROM amop.{table} WHERE {condition}")[0]["n"])

    def final_state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows that a sync leaves, without what differs between runs: ids and times of writing."""
        return {name: [tuple(row.values()) for row in self.rows(statement)] for name, statement in FINAL_STATE.items()}

    def delete_days(self) -> None:
        """Empty the tables that a day fills, so that the same world can run the same day again."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "TRUNCATE amop.device, amop.device_sync_run, amop.device_staging, amop.device_detail_staging,"
                " amop.device_usage_staging, amop.amop_outbox CASCADE"
            )
            connection.execute(
                "DELETE FROM amop.communication_plan AS plan WHERE NOT EXISTS (SELECT 1 FROM"
                " amop.communication_plan_rate_plan AS mapping WHERE mapping.communication_plan_id = plan.id)"
            )

    def truth(self) -> dict[str, dict[str, Any]]:
        """Return the carrier's SIMs by ICCID."""
        return {device["iccid"]: device for device in self.carrier.truth("api_jasper")["devices"]}

    def devices(self) -> dict[str, dict[str, Any]]:
        """Return the warehouse's SIMs by ICCID."""
        return {row["iccid"]: row for row in self.rows("SELECT * FROM amop.device")}
