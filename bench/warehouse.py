"""Time the task `solve` from warehouse to warehouse, on an instance that is stored in PostgreSQL first."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from amop.database.migrations import migrate
from amop.optimization.solve import assign_base, solve
from amop.solver import from_micro
from bench.instances import Instance
from sandbox.world.postgres import EmbeddedPostgres

CYCLE = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def solve_seconds(instance: Instance) -> float:
    """Return the seconds that the task ``solve`` takes on a fresh server: read, optimize, verify, write."""
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            server.create_database("bench")
            conninfo = server.conninfo("bench")
            migrate(conninfo)
            instance_id = _store(conninfo, instance)
            assign_base(conninfo, instance_id)
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
            begun = time.perf_counter()
            solve(conninfo, instance_id)
            return time.perf_counter() - begun


def _store(conninfo: str, instance: Instance) -> int:
    """Store the instance as the tasks before ``solve`` leave it: grouped, validated, projected; return its id."""
    plans, devices = instance.rate_plans, instance.devices
    with psycopg.connect(conninfo) as connection:
        one = _Inserter(connection)
        connection.execute("INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'Bench', 'UTC')")
        connection.execute(
            "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)"
            " VALUES (1, 1, 1, 'Bench', 'carrier_bench', 'UTC')"
        )
        period_id = one(
            "billing_period",
            service_provider_id=1,
            bill_year=2026,
            bill_month=11,
            cycle_start=CYCLE[0],
            cycle_end=CYCLE[1],
        )
        plan_ids = [
            one(
                "carrier_rate_plan",
                service_provider_id=1,
                rate_plan_code=code,
                pool=_pool_name(instance, number),
                allows_sim_pooling=bool(plans.pool[number] >= 0),
                **{
                    name: from_micro(int(getattr(plans, field)[number]))
                    for name, field in (
                        ("rate_charge", "rate_charge"),
                        ("base_rate", "base_rate"),
                        ("plan_mb", "plan_micro_mb"),
                        ("overage_rate", "overage_rate"),
                        ("data_per_overage_charge", "block_micro_mb"),
                        ("sms_rate", "sms_rate"),
                    )
                },
            )
            for number, code in enumerate(plans.code)
        ]
        session_id = one(
            "optimization_session", service_provider_id=1, billing_period_id=period_id, opened_by="bench", progress=30
        )
        instance_id = one(
            "optimization_instance",
            session_id=session_id,
            usage_as_of=CYCLE[0],
            device_count=len(devices),
            inputs_read_at=CYCLE[0],
        )
        groups = instance.eligibility.by_group()
        group_ids = [
            one(
                "optimization_comm_group",
                instance_id=instance_id,
                group_key=str(number),
                outcome="optimized",
                rate_plan_ids=[plan_ids[plan] for plan in np.flatnonzero(allowed)],
                communication_plans=[f"group {number}"],
            )
            for number, allowed in enumerate(groups)
        ]
        _copy_devices(connection, instance, instance_id, group_ids, plan_ids)
    return instance_id


def _copy_devices(
    connection: psycopg.Connection[Any], instance: Instance, instance_id: int, group_ids: list[int], plan_ids: list[int]
) -> None:
    devices = instance.devices
    connection.execute(
        "CREATE TEMPORARY TABLE sim (iccid text, group_id bigint, plan_id bigint, usage bigint, sms bigint, days int,"
        " is_prorated boolean) ON COMMIT DROP"
    )
    group = instance.eligibility.comm_group[devices.communication_plan].tolist()
    columns = zip(
        devices.device_id.tolist(),
        group,
        devices.current_rate_plan.tolist(),
        devices.usage_micro_mb.tolist(),
        devices.sms_usage.tolist(),
        devices.days_active.tolist(),
        devices.is_prorated.tolist(),
        strict=True,
    )
    with connection.cursor().copy("COPY sim FROM STDIN") as copy:
        for iccid, number, plan, usage, sms, days, prorated in columns:
            copy.write_row((iccid, group_ids[number], None if plan < 0 else plan_ids[plan], usage, sms, days, prorated))
    connection.execute(
        "INSERT INTO amop.device (service_provider_id, iccid, status) SELECT 1, iccid, 'ACTIVATED' FROM sim"
    )
    connection.execute(
        "INSERT INTO amop.optimization_device (instance_id, device_id, comm_group_id, iccid, current_rate_plan_id,"
        " usage_mb, projected_usage_mb, sms_usage, days_activated, is_prorated)"
        " SELECT %s, device.id, sim.group_id, sim.iccid, sim.plan_id, sim.usage * 0.000001, sim.usage * 0.000001,"
        " sim.sms, sim.days, sim.is_prorated FROM sim INNER JOIN amop.device AS device ON device.iccid = sim.iccid",
        (instance_id,),
    )


def _pool_name(instance: Instance, plan: int) -> str | None:
    pool = int(instance.rate_plans.pool[plan])
    name = instance.rate_plans.pool_name[pool] if pool >= 0 else ""
    return name.removeprefix("pool ") if name.startswith("pool ") else None


class _Inserter:
    """Insert one row and return its id."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def __call__(self, table: str, **columns: Any) -> int:
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        statement = f"INSERT INTO amop.{table} ({names}) VALUES ({marks}) RETURNING id"
        found = self._connection.execute(statement, list(columns.values())).fetchone()  # type: ignore[call-overload]
        if found is None:
            raise RuntimeError(f"{statement} returned no id")
        return int(found[0])
