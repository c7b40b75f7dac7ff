"""Time the check of a provider for findings: one fleet, 31 days of usage, what is found planted in it.

python -m bench.findings 1000000
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from amop.database.migrations import migrate
from amop.findings.check import check_provider
from sandbox.world.postgres import EmbeddedPostgres

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)

FLEET = """
INSERT INTO amop.tenant VALUES (1, 'Bench', 'UTC');
INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone)
VALUES (1, 1, 1, 'Bench', 'carrier_bench', 'UTC');
INSERT INTO amop.billing_period (service_provider_id, bill_year, bill_month, cycle_start, cycle_end) VALUES
(1, 2026, 11, '2026-11-01', '2026-12-01'), (1, 2026, 10, '2026-10-01', '2026-11-01');
INSERT INTO amop.carrier_rate_plan
(service_provider_id, rate_plan_code, rate_charge, plan_mb, overage_rate, data_per_overage_charge, allows_sim_pooling,
 pool)
SELECT 1, 'Plan ' || n, n, 10 * n, 0.5, 1, n % 2 = 0, CASE WHEN n % 2 = 0 THEN 'Fleet' END
FROM generate_series(1, 10) AS n;
INSERT INTO amop.communication_plan (service_provider_id, name) SELECT 1, 'Comm ' || n FROM generate_series(1, 4) AS n;
INSERT INTO amop.communication_plan_rate_plan
SELECT c.id, p.id FROM amop.communication_plan AS c CROSS JOIN amop.carrier_rate_plan AS p;
INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, is_full, billing_period_id,
 usage_as_of, usage_merged_at, devices_merged_at)
SELECT 1, 'd', day::text, 'complete', true, CASE WHEN day < '2026-11-01' THEN 2 ELSE 1 END, day + interval '5 hours',
 day, day
FROM generate_series('2026-09-01'::timestamptz, '2026-11-21', '1 day') AS day;
"""

SIMS = """
INSERT INTO amop.device (service_provider_id, iccid, status, rate_plan, communication_plan, ctd_data_usage,
 date_activated, last_usage_date, billing_period_id)
SELECT 1, (89000000000000000000 + n)::text, 'ACTIVATED', 'Plan ' || 1 + n %% 10, 'Comm ' || 1 + n %% 4,
 CASE WHEN n %% 20 = 0 THEN 0 ELSE 20 * (100000 + n %% 300000) END,
 CASE WHEN n %% 50 = 0 THEN NULL ELSE timestamptz '2025-01-01' END,
 CASE WHEN n %% 20 = 0 THEN NULL ELSE timestamptz '2026-11-21' END, 1
FROM generate_series(1, %(count)s) AS n
"""

USAGE = """
INSERT INTO amop.device_usage (device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage)
SELECT id, %(day)s::date, CASE WHEN %(day)s::date < '2026-11-01' THEN 2 ELSE 1 END,
 CASE WHEN id %% 1000 = 6 AND %(day)s::date > '2026-11-18' THEN 50000000 ELSE 100000 + id %% 300000 END, 0, 0
FROM amop.device WHERE id %% 20 <> 0
"""

HISTORY = """
INSERT INTO amop.device_history SELECT id, '2026-08-01', '2026-08-01', status, rate_plan, communication_plan
FROM amop.device
"""


@contextmanager
def server() -> Iterator[EmbeddedPostgres]:
    """Run a PostgreSQL server of its own until the end of the ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as running:
            running.create_database("bench")
            yield running


def add_fleet(conninfo: str, count: int) -> None:
    """Migrate a database and add a fleet of this many SIMs with 31 days of usage."""
    migrate(conninfo)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(FLEET)
        connection.execute(SIMS, {"count": count})
        for day in range(31):
            date = datetime.fromordinal(NOW.toordinal() - 30 + day).date()
            connection.execute(USAGE, {"day": date})
        connection.execute(HISTORY)
        connection.execute("VACUUM ANALYZE")


def seconds(count: int) -> tuple[float, dict[str, int]]:
    """Return the seconds of a check of this many SIMs, and how many findings of each kind it had."""
    with server() as running:
        conninfo = running.conninfo("bench")
        add_fleet(conninfo, count)
        begun = time.perf_counter()
        found = check_provider(conninfo, 1, now=NOW)
        return time.perf_counter() - begun, found


def main(count: Annotated[int, typer.Argument(help="Number of SIMs.")] = 100_000) -> None:
    """Print the seconds of a check."""
    spent, found = seconds(count)
    print(f"{count:,} SIMs: {spent:.1f} s, {found}")


if __name__ == "__main__":
    typer.run(main)
