"""What DAG runs in one process by ``dag.test()`` touch: real carrier, AMOP, AWS emulator, PostgreSQL; no scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from sandbox.amop.running import RunningAmop
from sandbox.carrier.running import RunningCarrier

ROOT = Path(__file__).resolve().parents[2]
SIMS = 60
CANARY = "canary-api-key-4711"
TOKEN = "canary-token-4711"


@dataclass
class Day:
    """Everything that a DAG run touches."""

    dsn: str
    carrier: RunningCarrier
    amop: RunningAmop
    aws: str
    dags: dict[str, Any]

    def run(self, dag_id: str, **conf: Any) -> Any:
        """Run a DAG with these params and return its run."""
        return self.dags[dag_id].test(run_conf=conf)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return list(connection.execute(statement).fetchall())  # type: ignore[arg-type]


def connections(dsn: str, carrier: RunningCarrier, amop: RunningAmop, aws: str) -> dict[str, dict[str, Any]]:
    """Return Airflow's connections to all of it, by name."""
    warehouse = conninfo_to_dict(dsn)
    return {
        "amop_warehouse": {
            "conn_type": "postgres",
            "host": warehouse["host"],
            "port": int(warehouse["port"] or 0),
            "schema": warehouse["dbname"],
            "login": warehouse["user"],
            "password": warehouse["password"],
        },
        "amop_api": {
            "conn_type": "http",
            "host": amop.base_url,
            "password": TOKEN,
            "extra": {"progress_path": amop.progress_path, "sync_path": amop.sync_path},
        },
        "aws_default": {
            "conn_type": "aws",
            "login": "test",
            "password": "test",
            "extra": {"region_name": "us-east-1", "endpoint_url": aws},
        },
        "carrier_jasper": {
            "conn_type": "http",
            "host": carrier.base_url,
            "login": "api_jasper",
            "password": CANARY,
            "extra": {"calls_per_second": 1000},
        },
    }
