"""Run the peers of the sync benchmark, each in a process and an environment of its own.

The environments are made from ``bench/requirements-peers.txt`` and ``bench/requirements-singer.txt`` in the folder
``.bench`` at the first use. Where a package cannot be installed its peers are reported as such.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench.sync_world import Warehouse

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".bench"
PROGRAMS = ROOT / "bench" / "peer_programs.py"

LISTS = {
    "dlt, default": "dlt-default",
    "dlt, tuned: Arrow tables, CSV": "dlt-tuned",
    "dlt, tuned: Arrow tables, Parquet by ADBC": "dlt-adbc",
    "requests, executemany a page": "requests-many",
    "requests, INSERT a row": "requests-rows",
}
"""Peer → its program, from the carrier's API into a table with one row a SIM."""

LOADERS = {
    "psycopg, COPY binary": "load-psycopg-binary",
    "psycopg, COPY text": "load-psycopg-text",
    "asyncpg, copy_records_to_table": "load-asyncpg",
    "ADBC, from Python rows": "load-adbc",
}
"""Loader → its program, from rows in memory into a table like ``device_staging``."""


class PeerUnavailableError(Exception):
    """A peer could not be installed or did not finish; the message says why."""


@dataclass(frozen=True, slots=True)
class PeerCost:
    """What a peer's load cost."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    wal_bytes: int


def environment(name: str) -> Path:
    """Return the interpreter of an environment of the peers, which is made if there is none.

    Raises:
        PeerUnavailableError: the packages cannot be installed.
    """
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "-r", str(ROOT / "bench" / f"requirements-{name}.txt")],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerUnavailableError(f"not installed ({type(error).__name__})") from None
        (folder / ".installed").touch()
    return python


def run_list(warehouse: Warehouse, program: str, base_url: str) -> PeerCost:
    """Load the carrier's list by a program of `bench.peer_programs`.

    Raises:
        PeerUnavailableError: the peer is not installed or failed.
    """
    return _measure(warehouse, [str(environment("peers")), str(PROGRAMS), program], base_url, 0)


def run_loader(warehouse: Warehouse, program: str, count: int) -> PeerCost:
    """Load rows that are in memory by a program of `bench.peer_programs`.

    Raises:
        PeerUnavailableError: the peer is not installed or failed.
    """
    return _measure(warehouse, [str(environment("peers")), str(PROGRAMS), program], "", count)


def run_airflow(warehouse: Warehouse, base_url: str) -> PeerCost:
    """Load the carrier's list by Airflow's own operator and hook.

    Raises:
        PeerUnavailableError: the peer failed.
    """
    return _measure(warehouse, [sys.executable, "-m", "bench.peer_airflow"], base_url, 0)


def run_singer(warehouse: Warehouse, base_url: str) -> PeerCost:
    """Load the carrier's list by a Singer tap and target-postgres, connected by a pipe.

    Raises:
        PeerUnavailableError: the peer is not installed or failed.
    """
    python = environment("singer")
    dsn = warehouse.empty()
    before, begun = _wal(dsn), time.perf_counter()
    configuration = FOLDER / "target.json"
    configuration.write_text(
        json.dumps({"sqlalchemy_url": _url(dsn, "postgresql+psycopg"), "default_target_schema": "peer"})
    )
    tap = subprocess.Popen([python, PROGRAMS, "singer", dsn, base_url, "0"], stdout=subprocess.PIPE)
    target = subprocess.run(
        [python.with_name("target-postgres"), "--config", configuration],
        stdin=tap.stdout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    tap.wait()
    seconds = time.perf_counter() - begun
    if target.returncode:
        raise PeerUnavailableError(f"failed: {target.stderr.strip().splitlines()[-1][:200]}")
    return PeerCost(_rows(dsn), seconds, 0.0, 0.0, _wal(dsn) - before)


def _measure(warehouse: Warehouse, command: list[str], base_url: str, count: int) -> PeerCost:
    dsn = warehouse.empty()
    warehouse.checkpoint()
    before = _wal(dsn)
    arguments = [_url(dsn, "postgresql"), base_url, *([str(count)] if "peer_airflow" not in command[-1] else [])]
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
    )
    if done.returncode:
        raise PeerUnavailableError(f"failed: {(done.stderr.strip().splitlines() or ['no output'])[-1][:200]}")
    cost = json.loads(done.stdout.splitlines()[-1])
    return PeerCost(_rows(dsn), cost["seconds"], cost["cpu_seconds"], cost["peak_megabytes"], _wal(dsn) - before)


def _url(dsn: str, scheme: str) -> str:
    parts = conninfo_to_dict(dsn)
    return f"{scheme}://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{parts['dbname']}"


def _rows(dsn: str) -> int:
    """Return the number of rows of the table that the peer has filled, whatever its schema."""
    with psycopg.connect(dsn) as connection:
        name = connection.execute(
            "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables"
            " WHERE relname IN ('device', 'device_staging') AND schemaname NOT LIKE '%staging'"
        ).fetchone()
        row = connection.execute(f"SELECT count(*) FROM {name[0]}").fetchone() if name else None
    return int(row[0]) if row else 0


def _wal(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(row[0]) if row else 0
