"""The demo on the real scheduler: the whole day twice, and a day with a wrong API key."""

from __future__ import annotations

import re
import time
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from sandbox.airflow_api import ENDED, AirflowApi
from sandbox.environment import World
from sandbox.supervision import Supervisor
from tests.e2e_world import launch

pytestmark = pytest.mark.xdist_group("world")  # one world for all of them, on one worker

SIMS = 110
PROVIDERS = 4
SECONDS_UNTIL_THE_FAILURE_IS_TOLD = 60


def figures(output: str) -> dict[str, str]:
    return dict(re.findall(r"^ok  (.+?): (\S+)$", output, flags=re.MULTILINE))


def rows(world: World, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(world.warehouse_dsn(), row_factory=dict_row) as connection:
        return list(connection.execute(statement).fetchall())  # type: ignore[arg-type]


def test_the_demo_proves_a_whole_day_and_a_second_one_merges_nothing(world: World) -> None:
    first = launch(world.directory, "demo")
    assert first.returncode == 0, first.stdout + first.stderr
    assert figures(first.stdout) == {
        "syncs complete": str(PROVIDERS),
        "devices equal to the carrier's": str(PROVIDERS * SIMS),
        "work rows left": "0",
        "records in quarantine": "0",
        "sessions at 100 %": str(PROVIDERS),
        "sessions whose bound <= cost <= min(current, base)": str(PROVIDERS),
        "progress messages at AMOP": str(6 * PROVIDERS),
        "sessions with 0, 20, 30, 40, 50, 100 in order": str(PROVIDERS),
        "error messages at AMOP": "0",
        "daily-sync notices at AMOP": str(PROVIDERS),
        "messages in the notification queue": str(PROVIDERS),
        "violations of the carrier's limits": "0",
    }
    assert "NO  " not in first.stdout

    versions = rows(world, "SELECT id, xmin::text FROM amop.device ORDER BY id")
    second = launch(world.directory, "demo")
    assert second.returncode == 0, second.stdout + second.stderr
    assert rows(world, "SELECT id, xmin::text FROM amop.device ORDER BY id") == versions
    written = rows(
        world, "SELECT sum(devices_updated + usage_updated) AS n FROM amop.device_sync_run WHERE NOT is_full"
    )
    assert written[0]["n"] == 0
    assert Supervisor(world).is_running()


def test_with_a_wrong_api_key_one_provider_fails_within_a_minute_and_the_others_end_well(world: World) -> None:
    session = requests.Session()
    session.trust_env = False
    wrong = {"account": "api_jasper", "is_wrong": True}
    session.post(f"{world.carrier_address}/sandbox/password", json=wrong, timeout=10).raise_for_status()
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({"device_sync_jasper", "device_sync_rogers"})
    begun = time.monotonic()
    run_ids = {
        dag_id: api.trigger(dag_id, {"optimization": "always"})
        for dag_id in ("device_sync_jasper", "device_sync_rogers")
    }
    failed = "SELECT * FROM amop.device_sync_run WHERE status = 'failed'"
    while not rows(world, failed):
        assert time.monotonic() - begun < SECONDS_UNTIL_THE_FAILURE_IS_TOLD
        time.sleep(0.5)
    while not all(api.run_state(*run) in ENDED for run in run_ids.items()):
        assert time.monotonic() - begun < 300
        time.sleep(1)
    (run,) = rows(world, failed)
    states = {dag_id: api.run_state(dag_id, run_id) for dag_id, run_id in run_ids.items()}
    assert states == {"device_sync_jasper": "failed", "device_sync_rogers": "success"}
    assert "AT&T Control Center" in run["error"] and "connection carrier_jasper" in run["error"]
    assert run["devices_merged_at"] is None
    (told,) = rows(
        world, f"SELECT session_guid::text FROM amop.optimization_session WHERE id = {run['optimization_session_id']}"
    )
    sessions = session.get(f"{world.amop_address}/sandbox/sessions", timeout=10).json()
    deadline = time.monotonic() + 30
    while not sessions[told["session_guid"]]["errors"] and time.monotonic() < deadline:
        time.sleep(0.5)
        sessions = session.get(f"{world.amop_address}/sandbox/sessions", timeout=10).json()
    assert len(sessions[told["session_guid"]]["errors"]) == 1
    assert sessions[told["session_guid"]]["order_errors"] == []


def test_a_day_by_airflow_dags_test_beside_the_running_scheduler(world: World) -> None:
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({"device_sync_pod19"})
    done = launch(world.directory, "airflow", "dags", "test", "device_sync_pod19", "2026-11-20")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    latest = rows(world, "SELECT status FROM amop.device_sync_run WHERE service_provider_id = 2 ORDER BY id DESC")[0]
    assert latest["status"] == "complete"
    task = launch(world.directory, "airflow", "tasks", "test", "device_sync_pod19", "select_providers", "2026-11-19")
    assert task.returncode == 0, task.stdout[-3000:] + task.stderr[-3000:]
    opened = rows(world, "SELECT * FROM amop.device_sync_run WHERE service_provider_id = 2 ORDER BY id DESC")[0]
    assert opened["dag_run_id"].startswith("__airflow_temporary_run_")
    assert not api.pause("device_sync_pod19", is_paused=False)


def test_no_secret_of_the_world_is_in_any_log(world: World) -> None:
    secrets = [world.secrets.carrier_api_key, world.secrets.amop_token, world.secrets.postgres_password]
    logs = [path for path in world.directory.rglob("*.log") if path.is_file()]
    assert len(logs) > 10
    for path in logs:
        text = path.read_text(errors="replace")
        for secret in secrets:
            assert secret not in text, path.name
