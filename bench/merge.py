"""Measure the merge of staging into the main tables beside the bare guarded MERGE: time, WAL, rows and growth.

python -m bench.merge 1000000

Every measurement begins with a copy of the same database: a fleet that was synced yesterday, and the staging of a full
list and its usage in which one SIM of fifty differs. The bare statements write the same rows of ``device`` and
``device_usage``, without the checks, the history, the quarantine and the counts of a run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from psycopg.sql import SQL, Identifier

from amop.database.migrations import migrate
from amop.device_sync.merge import merge_devices, merge_usage
from sandbox.world.postgres import SUPERUSER, EmbeddedPostgres

DAY_ONE = datetime(2026, 11, 1, 5, tzinfo=UTC)
CHANGED_EVERY = 50
"""One SIM of this many differs from the day before: 2 %."""

REFERENCE = """
INSERT INTO amop.tenant VALUES (1, 'Bench', 'UTC');
INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)
VALUES (1, 1, 1, 'Bench', 'carrier_bench', 'UTC');
INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
VALUES (1, 2026, 12, '2026-11-01', '2026-12-15');
INSERT INTO amop.carrier_rate_plan
(service_provider_id, rate_plan_code, rate_charge, plan_mb, overage_rate, data_per_overage_charge)
SELECT 1, 'Plan ' || n, n, 10 * n, 0.5, 1 FROM generate_series(0, 9) AS n;
INSERT INTO amop.communication_plan (service_provider_id, name) SELECT 1, 'Comm ' || n FROM generate_series(0, 3) AS n;
INSERT INTO amop.communication_plan_rate_plan
SELECT c.id, p.id FROM amop.communication_plan AS c CROSS JOIN amop.carrier_rate_plan AS p
"""

RUN = """
INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, is_full, billing_period_id, list_is_complete,
 list_is_exact, devices_seen, pages, usage_as_of, started_at)
VALUES (1, 'device_sync_bench', %(day)s::text, true, 1, true, true, %(count)s, %(count)s / 50,
 timestamptz '2026-11-01 05:00+00' + %(day)s * interval '1 day',
 timestamptz '2026-11-01 04:00+00' + %(day)s * interval '1 day')
RETURNING id
"""

DEVICES = """
INSERT INTO amop.device_staging (run_id, scan_pass, page_number, row_number, iccid, status, rate_plan,
 communication_plan)
SELECT %(run)s, 1, 1 + n / 50, n %% 50, (89000000000000000000 + n)::text, 'ACTIVATED',
 'Plan ' || (n + (%(day)s + n %% %(every)s) / %(every)s) %% 10, 'Comm ' || n %% 4
FROM generate_series(0, %(count)s - 1) AS n
"""

USAGE = """
INSERT INTO amop.device_usage_staging (run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number,
 row_number, usage, received_at)
SELECT %(run)s, (89000000000000000000 + n)::text, 'DATA',
 'Plan ' || (n + (%(day)s + n %% %(every)s) / %(every)s) %% 10, 1, 1 + n / 500, n %% 500,
 100000000 + n::bigint * 7919 %% 50000000 + 1000000 * ((%(day)s + n / 3 %% %(every)s) / %(every)s),
 timestamptz '2026-11-01 05:00+00' + %(day)s * interval '1 day'
FROM generate_series(0, %(count)s - 1) AS n
"""

PROCESSED = """
INSERT INTO amop.device_usage_processed (run_id, kind, rate_plan_code, rate_plan_version, usage_type, pages,
 processed_at)
SELECT %(run)s, 'rate_plan_usage', 'Plan ' || n, 1, 'DATA', 1,
 timestamptz '2026-11-01 05:00+00' + %(day)s * interval '1 day'
FROM generate_series(0, 9) AS n
"""

BARE_DEVICES = """
MERGE INTO amop.device AS device
USING (SELECT * FROM amop.device_staging WHERE run_id = %(run)s) AS staged
ON device.service_provider_id = 1 AND device.iccid = staged.iccid
WHEN MATCHED AND (device.status, device.rate_plan, device.communication_plan) IS DISTINCT FROM (
 staged.status, staged.rate_plan, staged.communication_plan
) THEN UPDATE SET status = staged.status, rate_plan = staged.rate_plan, communication_plan = staged.communication_plan,
 modified_at = now()
WHEN NOT MATCHED THEN INSERT (service_provider_id, iccid, status, rate_plan, communication_plan)
VALUES (1, staged.iccid, staged.status, staged.rate_plan, staged.communication_plan)
"""

BARE_DAILY_USAGE = """
MERGE INTO amop.device_usage AS daily
USING (
 SELECT device.id, staged.usage, staged.usage - device.ctd_data_usage AS increase
 FROM amop.device_usage_staging AS staged
 INNER JOIN amop.device AS device ON device.service_provider_id = 1 AND device.iccid = staged.iccid
 WHERE staged.run_id = %(run)s AND device.ctd_data_usage IS DISTINCT FROM staged.usage
) AS used ON daily.device_id = used.id AND daily.usage_date = %(day)s AND daily.billing_period_id = 1
WHEN MATCHED THEN UPDATE SET data_usage = used.increase, ctd_data_usage = used.usage
WHEN NOT MATCHED THEN INSERT (device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage,
 ctd_data_usage, ctd_sms_usage, ctd_voice_usage, as_of)
VALUES (used.id, %(day)s, 1, used.increase, 0, 0, used.usage, 0, 0, now())
"""

BARE_USAGE = """
MERGE INTO amop.device AS device
USING (SELECT * FROM amop.device_usage_staging WHERE run_id = %(run)s) AS staged
ON device.service_provider_id = 1 AND device.iccid = staged.iccid
WHEN MATCHED AND device.ctd_data_usage IS DISTINCT FROM staged.usage
THEN UPDATE SET ctd_data_usage = staged.usage, last_usage_date = now(), modified_at = now(), billing_period_id = 1
"""

SIZE = "SELECT pg_total_relation_size('amop.device')"

NEEDS_VACUUM = """
SELECT stat.relname FROM pg_stat_user_tables AS stat INNER JOIN pg_class AS class ON class.oid = stat.relid
WHERE stat.schemaname = 'amop' AND (n_dead_tup > 50 + 0.2 * greatest(reltuples, 0)
 OR n_ins_since_vacuum > 1000 + 0.2 * greatest(reltuples, 0))
"""
"""The tables that autovacuum would clean by PostgreSQL's default settings."""

DEVICE_TASK, USAGE_TASK = "merge_devices", "merge_usage"
FIRST_DEVICES, FIRST_USAGE = "merge_devices, first load", "merge_usage, first load"
DEVICE_RERUN, USAGE_RERUN = "merge_devices, rerun", "merge_usage, rerun"
BARE = {DEVICE_TASK: "bare MERGE of devices", USAGE_TASK: "bare MERGEs of usage"}
"""Task → what it is compared with."""

GOAL = 1.2
RERUN_GOAL_MEGABYTES = 1.0
GROWTH_GOAL = 1.10
GROWTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step cost."""

    seconds: float
    wal_megabytes: float
    rows: int
    """Rows inserted, updated or deleted in all tables."""


class FleetServer:
    """A PostgreSQL server with copies of one prepared database."""

    def __init__(self, server: EmbeddedPostgres, count: int) -> None:
        self.server = server
        self.count = count
        server.create_database("yesterday")
        self.template = server.conninfo("yesterday")
        migrate(self.template)
        with psycopg.connect(self.template, autocommit=True) as connection:
            connection.execute(REFERENCE)

    @contextmanager
    def copy(self) -> Iterator[str]:
        """Yield the connection string of a copy of the prepared database; drop it afterwards."""
        self.server.create_database("today", template="yesterday")
        try:
            yield self.server.conninfo("today")
        finally:
            self.server.drop_database("today")

    def cost(self, conninfo: str, step: Callable[[], object]) -> Cost:
        """Run one step behind a checkpoint and return its cost."""
        with psycopg.connect(self.server.conninfo("postgres", user=SUPERUSER), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            rows, position = _rows_written(conninfo), _wal_position(connection)
            begun = time.perf_counter()
            step()
            seconds = time.perf_counter() - begun
            wal = _wal_position(connection) - position
        return Cost(seconds, wal / 1e6, _rows_written(conninfo) - rows)


def stage(conninfo: str, count: int, day: int, *, every: int = CHANGED_EVERY) -> int:
    """Stage the full list and the usage of a day; one SIM of ``every`` differs from the day before; return the run."""
    values: dict[str, Any] = {"count": count, "day": day, "every": every}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        found = connection.execute(RUN, values).fetchone()
        assert found is not None
        values["run"] = found[0]
        for statement in (DEVICES, USAGE, PROCESSED):
            connection.execute(statement, values)
        connection.execute("ANALYZE amop.device_staging, amop.device_usage_staging, amop.device_usage_processed")
    return int(found[0])


def moment(day: int) -> datetime:
    """Return when the merge of a day begins."""
    return DAY_ONE + timedelta(days=day, hours=1)


def merge(conninfo: str, run_id: int, day: int) -> None:
    """Merge a staged day as the tasks do, and complete its run."""
    merge_devices(conninfo, run_id, now=moment(day))
    merge_usage(conninfo, run_id, now=moment(day))
    complete(conninfo, run_id)


def complete(conninfo: str, run_id: int) -> None:
    """Complete a run, so that the next one may begin."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE amop.device_sync_run SET status = 'complete' WHERE id = %s", [run_id])


@contextmanager
def fleet_server(count: int, *, durable: bool = True) -> Iterator[FleetServer]:
    """Run a server whose database ``yesterday`` is migrated and has the reference data, without autovacuum."""
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
        with EmbeddedPostgres(Path(folder) / "postgres", durable=durable) as server:
            with psycopg.connect(server.conninfo("postgres", user=SUPERUSER), autocommit=True) as connection:
                # Its work would count as that of the measured step.
                connection.execute("ALTER SYSTEM SET autovacuum = off")
                connection.execute("SELECT pg_reload_conf()")
            yield FleetServer(server, count)


def measure(count: int, repeats: int = 1) -> dict[str, Cost]:
    """Return the cost of each step by its name; of several repeats that with the fewest seconds."""
    costs: dict[str, Cost] = {}

    def keep(name: str, cost: Cost) -> None:
        costs[name] = min(costs.get(name, cost), cost, key=lambda each: each.seconds)

    with fleet_server(count) as fleet:
        run_id = stage(fleet.template, count, 0)
        keep(FIRST_DEVICES, fleet.cost(fleet.template, lambda: merge_devices(fleet.template, run_id, now=moment(0))))
        keep(FIRST_USAGE, fleet.cost(fleet.template, lambda: merge_usage(fleet.template, run_id, now=moment(0))))
        complete(fleet.template, run_id)
        today = stage(fleet.template, count, 1)
        with psycopg.connect(fleet.template, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        for _ in range(repeats):
            for name, cost in _daily_costs(fleet, today).items():
                keep(name, cost)
    return costs


def _daily_costs(fleet: FleetServer, today: int) -> dict[str, Cost]:
    """Return the costs of the staged day, bare and by the tasks, and of the same answers once more."""
    values: Mapping[str, object] = {"run": today, "day": moment(1).date()}
    costs = {}
    with fleet.copy() as conninfo:
        costs[BARE[DEVICE_TASK]] = fleet.cost(conninfo, lambda: _execute(conninfo, values, BARE_DEVICES))
        costs[BARE[USAGE_TASK]] = fleet.cost(conninfo, lambda: _execute(conninfo, values, BARE_DAILY_USAGE, BARE_USAGE))
    with fleet.copy() as conninfo:
        costs[DEVICE_TASK] = fleet.cost(conninfo, lambda: merge_devices(conninfo, today, now=moment(1)))
        costs[USAGE_TASK] = fleet.cost(conninfo, lambda: merge_usage(conninfo, today, now=moment(1)))
        complete(conninfo, today)
        again = _stage_again(conninfo, today)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        costs[DEVICE_RERUN] = fleet.cost(conninfo, lambda: merge_devices(conninfo, again, now=moment(2)))
        costs[USAGE_RERUN] = fleet.cost(conninfo, lambda: merge_usage(conninfo, again, now=moment(2)))
    return costs


def growth(count: int) -> float:
    """Return by which factor ``amop.device`` and its indexes have grown after 30 daily merges of 2 % each.

    Between two days the tables are vacuumed that autovacuum would vacuum, and the staging of the day is deleted.
    """
    with fleet_server(count, durable=False) as fleet:
        sizes = []
        for day in range(GROWTH_DAYS + 1):
            merge(fleet.template, stage(fleet.template, count, day), day)
            with psycopg.connect(fleet.template, autocommit=True) as connection:
                for table in ("device_staging", "device_usage_staging"):
                    connection.execute(SQL("DELETE FROM amop.{}").format(Identifier(table)))
                connection.execute("SELECT pg_stat_force_next_flush()")
                for (table,) in connection.execute(NEEDS_VACUUM).fetchall():
                    connection.execute(SQL("VACUUM (ANALYZE) amop.{}").format(Identifier(table)))
                found = connection.execute(SIZE).fetchone()
                assert found is not None
                sizes.append(int(found[0]))
    return sizes[-1] / sizes[0]


def table(count: int, growth_count: int) -> list[str]:
    """Return the section of ``docs/benchmarks.md``, with each goal met or missed."""
    costs, grown = measure(count), growth(growth_count)
    rows = [
        "| step | seconds | WAL, MB | rows written | seconds, times bare | WAL, times bare | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cost in costs.items():
        bare = costs.get(
            {"merge_devices": "bare MERGE of devices", "merge_usage": "bare MERGEs of usage"}.get(name, "")
        )
        if bare is not None:
            ratios = cost.seconds / bare.seconds, cost.wal_megabytes / bare.wal_megabytes
            goal = f"≤ {GOAL} x bare: {_verdict(max(ratios) <= GOAL)}"
            more = f"{ratios[0]:.1f} | {ratios[1]:.2f}"
        elif name in {DEVICE_RERUN, USAGE_RERUN}:
            more = " | "
            is_met = cost.rows == 0 and cost.wal_megabytes < RERUN_GOAL_MEGABYTES
            goal = f"0 rows, < {RERUN_GOAL_MEGABYTES:.0f} MB: {_verdict(is_met)}"
        else:
            more, goal = " | ", ""
        rows.append(f"| {name} | {cost.seconds:.2f} | {cost.wal_megabytes:.2f} | {cost.rows:,} | {more} | {goal} |")
    return [
        f"{count:,} SIMs over {count:,}, of which 2 % differ; a durable server, a checkpoint before each step. The"
        " bare statements only write `device` and `device_usage`; the tasks also check completeness and plausibility,"
        " keep the history and the quarantine, and find missing SIMs: passes of their own over all SIMs, each about as"
        " long as the bare statement. Tried, and kept: judge and sort only the SIMs that differ, do not sort the fleet"
        " for the largest changes, compare only the usage types that were read, join by hash with 256 MB.",
        "",
        *rows,
        "",
        f"After {GROWTH_DAYS} daily merges of 2 % into {growth_count:,} SIMs, vacuumed as autovacuum does by default,"
        f" `device` and its indexes have {grown:.2f} times their size. Goal ≤ {GROWTH_GOAL:.2f}:"
        f" {_verdict(grown <= GROWTH_GOAL)}.",
    ]


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _stage_again(conninfo: str, run_id: int) -> int:
    """Stage the answers of a run once more, as a run that begins later on the same day; return that run."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        found = connection.execute(RUN, {"count": 0, "day": 2}).fetchone()
        assert found is not None
        again = int(found[0])
        connection.execute(
            "UPDATE amop.device_sync_run AS again SET devices_seen = run.devices_seen, usage_as_of = run.usage_as_of"
            " FROM amop.device_sync_run AS run WHERE run.id = %s AND again.id = %s",
            [run_id, again],
        )
        for table, columns in (
            ("device_staging", "scan_pass, page_number, row_number, iccid, status, rate_plan, communication_plan"),
            (
                "device_usage_staging",
                "iccid, usage_type, rate_plan_code, rate_plan_version, page_number, row_number, usage, received_at",
            ),
            ("device_usage_processed", "kind, rate_plan_code, rate_plan_version, usage_type, pages, processed_at"),
        ):
            connection.execute(
                f"INSERT INTO amop.{table} (run_id, {columns}) SELECT {again}, {columns} FROM amop.{table}"
                f" WHERE run_id = {run_id}"
            )
    return again


def _execute(conninfo: str, values: Mapping[str, object], *statements: str) -> None:
    with psycopg.connect(conninfo) as connection:
        for statement in statements:
            connection.execute(statement, values)  # type: ignore[call-overload]


def _wal_position(connection: psycopg.Connection[Any]) -> int:
    found = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert found is not None
    return int(found[0])


def _rows_written(conninfo: str) -> int:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        found = connection.execute(
            "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname = 'amop'"
            " AND relname IN ('device', 'device_usage', 'device_history', 'device_missing', 'device_quarantine')"
        ).fetchone()
    assert found is not None
    return int(found[0])


def main(count: Annotated[int, typer.Argument(help="Number of SIMs.")] = 100_000) -> None:
    """Print the cost of each step."""
    for name, cost in measure(count).items():
        print(f"{name:30} {cost.seconds:8.2f} s {cost.wal_megabytes:10.2f} MB WAL {cost.rows:10,} rows")


if __name__ == "__main__":
    typer.run(main)
