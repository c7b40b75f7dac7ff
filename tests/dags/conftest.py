"""DAGs, reloaded for every test, and the services that their runs need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.sdk import DAG
from moto.server import ThreadedMotoServer

from sandbox.amop.running import running_amop
from sandbox.carrier.running import running_carrier
from sandbox.world.aws_resources import BUCKET, MAIL_FROM, MAIL_TO, QUEUE, create_aws_resources
from tests.worlds.dag_world import CANARY, ROOT, SIMS, TOKEN, Day, connections
from tests.worlds.parse_once import parse_once
from tests.worlds.sandbox_reference import load_sandbox_reference

parse_once()
TRY_AGAIN_AFTER = timedelta(milliseconds=100)
POLL_SECONDS = 0.1


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``dag.test()`` look ten times a second, not once, whether a task may be tried again."""
    sleep = time.sleep

    def short_sleep(seconds: float) -> None:
        is_poll = sys._getframe(1).f_globals["__name__"] == DAG.__module__
        sleep(POLL_SECONDS if is_poll else seconds)

    monkeypatch.setattr(time, "sleep", short_sleep)


@pytest.fixture(scope="module", autouse=True)
def moment(machine_moment: datetime) -> datetime:
    """Return the machine's time; the warehouse has the same, as in production."""
    return machine_moment


@pytest.fixture(scope="session")
def serialized_dags(airflow_database: Path) -> None:
    # TriggerDagRunOperator finds its target in the metadata database, as under the scheduler.
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "reserialize"],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def dags(serialized_dags: None) -> dict[str, Any]:
    """Return the DAGs, reloaded because a test run leaves its parameters on the DAG; their tries follow at once."""
    from airflow.dag_processing.dagbag import DagBag

    loaded = dict(DagBag(ROOT / "dags").dags)
    for dag in loaded.values():
        for task in dag.tasks:
            task.retry_delay, task.retry_exponential_backoff = TRY_AGAIN_AFTER, False
    return loaded


@pytest.fixture
def day(warehouse_dsn: str, tmp_path: Path, dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    load_sandbox_reference(warehouse_dsn)
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    address = f"http://{host}:{port}"
    requests.post(f"{address}/moto-api/reset", timeout=10).raise_for_status()  # what other tests of this process left
    create_aws_resources(address)
    with (
        running_carrier(devices_per_account=SIMS, limits_are_enforced=False, api_key=CANARY) as carrier,
        running_amop(token=TOKEN) as amop,
    ):
        for name, connection in connections(warehouse_dsn, carrier, amop, address).items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_DEVICE_NOTIFICATION_QUEUE", QUEUE)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", BUCKET)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_FROM", MAIL_FROM)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_TO", MAIL_TO)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_ARCHIVE_PATH", (tmp_path / "archive").as_uri())
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield Day(warehouse_dsn, carrier, amop, address, dags)
    aws.stop()
