"""Measure what the staging sensors of many providers cost the triggerer while they wait."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psycopg
from psycopg.conninfo import conninfo_to_dict

from amop.database.migrations import migrate
from sandbox.world.postgres import EmbeddedPostgres

PROVIDERS = """
WITH tenant AS (INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'Bench', 'UTC') RETURNING id),
provider AS (
    INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)
    SELECT number, tenant.id, 1, 'Provider ' || number, 'carrier_' || number, 'UTC'
    FROM tenant, generate_series(1, %(count)s::integer) AS number RETURNING id
),
period AS (
    INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
    SELECT id, 2026, 11, '2026-11-01', '2026-12-01' FROM provider RETURNING id, service_provider_id
),
run AS (
    INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, billing_period_id, is_full)
    SELECT service_provider_id, 'device_sync_jasper', 'bench', id, true FROM period RETURNING id
)
INSERT INTO amop.device_usage_to_process (run_id, kind, iccid)
SELECT run.id, 'device_usage', sim FROM run, generate_series(1, %(rows)s::integer) AS sim
"""


@dataclass(frozen=True)
class Waiting:
    """Cost of waiting providers."""

    providers: int
    connections: int
    """Most connections to the warehouse at a time."""
    core_share: float
    """Processor time of the waiting process divided by the time waited."""


def measure_waiting(providers: int = 500, *, rows: int = 100, seconds: float = 60.0) -> Waiting:
    """Return the cost of providers that wait for this long, the fast first polls included.

    Args:
        providers: number of sensors in one event loop.
        rows: work rows that are left of each.
        seconds: how long they wait.
    """
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            server.create_database("bench")
            conninfo = server.conninfo("bench")
            migrate(conninfo)
            with psycopg.connect(conninfo) as connection:
                connection.execute(PROVIDERS, {"count": providers, "rows": rows})
                run_ids = [row[0] for row in connection.execute("SELECT id FROM amop.device_sync_run").fetchall()]
            given = {"AIRFLOW_CONN_AMOP_WAREHOUSE": _as_airflow(conninfo)}
            with mock.patch.dict(os.environ, given):
                return asyncio.run(_wait(conninfo, run_ids, seconds))


async def _wait(conninfo: str, run_ids: list[int], seconds: float) -> Waiting:
    from amop.tasks.staging_sensor import StagingReadyTrigger

    triggers = [StagingReadyTrigger(run_id, "amop_warehouse") for run_id in run_ids]
    waiting = [asyncio.create_task(_first_event(trigger)) for trigger in triggers]
    await asyncio.sleep(1)  # every trigger has read its Airflow connection
    begun, used, most = time.perf_counter(), time.process_time(), 0
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'amop wait_for_staging'"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while time.perf_counter() - begun < seconds:
            row = connection.execute(query).fetchone()
            most = max(most, row[0] if row else 0)
            await asyncio.sleep(1)
    share = (time.process_time() - used) / (time.perf_counter() - begun)
    for task in waiting:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    if any(not isinstance(result, asyncio.CancelledError) for result in ended):
        raise RuntimeError("a sensor did not wait")
    return Waiting(len(run_ids), most, share)


async def _first_event(trigger: object) -> object:
    async for event in trigger.run():  # type: ignore[attr-defined]
        return event
    return None


def _as_airflow(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts["host"],
            "port": int(str(parts["port"])),
            "login": parts["user"],
            "password": parts.get("password"),
            "schema": parts["dbname"],
        }
    )


if __name__ == "__main__":
    print(measure_waiting())
