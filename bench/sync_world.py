"""A PostgreSQL server with a migrated warehouse of one provider, for the sync benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from amop.carriers.account import HIGHEST_CALLS_PER_SECOND
from amop.database.migrations import migrate
from bench.account import PLANS
from bench.sync_process import SyncCost
from sandbox.world.postgres import SUPERUSER, EmbeddedPostgres

PROVIDER = """
INSERT INTO amop.tenant (id, name, time_zone) VALUES (1, 'Bench', 'UTC');
INSERT INTO amop.service_provider
(id, tenant_id, integration_id, name, connection_id, time_zone, bill_period_end_day, bill_period_end_hour)
SELECT 1, 1, id, 'Bench', 'carrier_bench', 'UTC', 30, 0 FROM amop.integration WHERE name = 'jasper';
"""
PLAN = """
INSERT INTO amop.carrier_rate_plan
(service_provider_id, rate_plan_code, rate_charge, plan_mb, overage_rate, data_per_overage_charge)
VALUES (1, %s, 1, 10, 0.5, 1)
"""


class Warehouse:
    """A server with one database a run."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._count = 0

    def empty(self) -> str:
        """Create an empty database and return its connection string."""
        self._count += 1
        name = f"bench_{self._count}"
        self._server.create_database(name)
        return self._server.conninfo(name)

    def migrated(self) -> str:
        """Create a migrated database with one provider and return its connection string."""
        conninfo = self.empty()
        migrate(conninfo)
        with psycopg.connect(conninfo) as connection:
            connection.execute(PROVIDER)
            for plan in PLANS:
                connection.execute(PLAN, [plan])
        return conninfo

    def checkpoint(self) -> None:
        """Write what is dirty, so that a run does not pay for the one before it."""
        with psycopg.connect(self._server.conninfo("postgres", user=SUPERUSER), autocommit=True) as connection:
            connection.execute("CHECKPOINT")


@contextmanager
def warehouse() -> Iterator[Warehouse]:
    """Run a durable server until the end of the ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="amop-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
        with EmbeddedPostgres(Path(folder) / "postgres") as server:
            yield Warehouse(server)


def sync(conninfo: str, base_url: str, name: str, *, calls_per_second: float = HIGHEST_CALLS_PER_SECOND) -> SyncCost:
    """Sync in a process of its own and return what it cost."""
    command = [sys.executable, "-m", "bench.sync_process", conninfo, base_url, name]
    done = subprocess.run(
        [*command, f"--calls-per-second={calls_per_second}"],
        stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ),
    )  # fmt: skip
    return SyncCost(**json.loads(done.stdout.splitlines()[-1]))
