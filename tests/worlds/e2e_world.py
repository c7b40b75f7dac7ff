"""The sandbox world of the end-to-end tests, started from the command line without the caller's Airflow settings.

One world serves all end-to-end tests of a session, in the order of their files. A test counts what its own runs left,
because it finds what earlier tests left: SIMs, optimizations, messages, archived answers. It restores what it changes
(faults, settings of providers, API keys) and leaves no DAG run unfinished.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from sandbox.world.airflow_api import ENDED, AirflowApi
from sandbox.world.world import AIRFLOW_DATABASE, DIRECTORY_VARIABLE, World
from tests.worlds.fault_switch import FaultSwitch
from tests.worlds.scratch import scratch_directory

ROOT = Path(__file__).resolve().parents[2]
SIMS = 120
"""SIMs of each of the four accounts: three pages of the device list."""
CALLS = "20"
"""Limit of each account in a second. At the vendor's 5, a day of these few SIMs is little else than waiting for it."""
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 300.0

ON_THE_WORLD = [pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]
"""Marks of every module of end-to-end tests: one worker, and time enough to start the world."""


def launch(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m sandbox`` for the world in a folder; ``settings`` replace environment variables of the world."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | settings
    environment |= {DIRECTORY_VARIABLE: str(directory), "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    with (directory / "launcher-output.log").open("a") as log:  # searched for secrets like everything else
        log.write(done.stdout + done.stderr)
    return done


@contextmanager
def started_world() -> Iterator[World]:
    """Yield a running world in a folder of its own; stop and remove it at the end."""
    directory = scratch_directory("amop-e2e-")
    FaultSwitch(directory / "airflow").install()
    started = launch(
        directory, "up", "--no-first-look", "--devices", str(SIMS), "--latency-ms", "2", "--calls-per-second", CALLS
    )
    world = World(directory)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        world.load()
        yield world
    finally:
        launch(directory, "down")
        shutil.rmtree(directory, ignore_errors=True)


def wait_until(
    condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS, poll: float = POLL_SECONDS
) -> float:
    """Wait for a condition and return how long that took, in seconds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(poll)
    return time.monotonic() - begun


def wait_for_runs(api: AirflowApi, runs: Mapping[str, str], *, seconds: float = PATIENCE_SECONDS) -> dict[str, str]:
    """Wait for the end of DAG runs, given as run id by DAG id; return their states by DAG id."""
    wait_until(lambda: all(api.run_state(*run) in ENDED for run in runs.items()), f"the end of {runs}", seconds=seconds)
    return {dag_id: str(api.run_state(dag_id, run_id)) for dag_id, run_id in runs.items()}


def rows(world: World, statement: str, *values: Any) -> list[dict[str, Any]]:
    """Return the rows of a statement in the warehouse."""
    return _rows(world.warehouse_dsn(), statement, values)


def airflow_rows(world: World, statement: str, *values: Any) -> list[dict[str, Any]]:
    """Return the rows of a statement in Airflow's metadata database."""
    return _rows(world.postgres().conninfo(AIRFLOW_DATABASE), statement, values)


def _rows(dsn: str, statement: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def sandbox_page(address: str, path: str, *, post: dict[str, Any] | None = None) -> Any:
    """Return a page under ``/sandbox/`` of the carrier or of AMOP, or post a document to it."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"{address}/sandbox/{path}"
        answer = session.get(url, timeout=30) if post is None else session.post(url, json=post, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def carrier_stats(world: World, account: str) -> dict[str, Any]:
    """Return the carrier's figures of an account; all figures are zero before its first call."""
    stats: dict[str, Any] = sandbox_page(world.carrier_address, "stats")
    assert stats["violations"] == 0
    found: dict[str, Any] = stats["accounts"].get(account, {"calls": 0, "calls_by_endpoint": {}})
    return found


def run_of(world: World, dag_run_id: str) -> dict[str, Any]:
    """Return the sync run of a DAG run that covers one provider."""
    (run,) = rows(world, "SELECT * FROM amop.device_sync_run WHERE dag_run_id = %s", dag_run_id)
    return run
