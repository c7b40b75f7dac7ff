"""The demo on the real scheduler: the whole cycle, a day after it, and a day with a wrong API key."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.airflow_api import ENDED, AirflowApi
from sandbox.aws_resources import ARCHIVE_BUCKET, BUCKET, QUEUE, aws_client, sent_mails
from sandbox.environment import AIRFLOW_DATABASE, WAREHOUSE_DATABASE, World
from sandbox.supervision import Supervisor
from tests.canaries import command_lines, files, find, tables
from tests.e2e_world import launch
from tests.reliability import RecordFault

pytestmark = [pytest.mark.xdist_group("world"), pytest.mark.timeout(1200)]  # one world at a time, on one worker

ROOT = Path(__file__).resolve().parents[2]
SIMS = 110
PROVIDERS = 4
SYNCS = 4 + 3 + 2
SECONDS_UNTIL_THE_FAILURE_IS_TOLD = 60


def figures(output: str) -> dict[str, str]:
    return dict(re.findall(r"^ok  (.+?): (\S+)$", output, flags=re.MULTILINE))


def rows(world: World, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(world.warehouse_dsn(), row_factory=dict_row) as connection:
        return list(connection.execute(statement).fetchall())  # type: ignore[arg-type]


def test_the_demo_proves_a_whole_cycle_and_the_next_day_merges_nothing(world: World) -> None:
    done = launch(world.directory, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO  " not in done.stdout
    found = figures(done.stdout)
    assert int(found.pop("answers archived")) > SYNCS * SIMS / 50
    by_person, applied = int(found["changes that a person approved"]), int(found["changes applied"])
    assert 0 < by_person < applied
    assert found == {
        "syncs complete": str(SYNCS),
        "devices equal to the carrier's": str(PROVIDERS * SIMS),
        "work rows left": "0",
        "records in quarantine": "0",
        "sessions at 100 %": str(PROVIDERS),
        "sessions whose bound <= cost <= min(current, base)": str(PROVIDERS),
        "progress messages at AMOP": str(6 * PROVIDERS),
        "sessions with 0, 20, 30, 40, 50, 100 in order": str(PROVIDERS),
        "error messages at AMOP": "0",
        "daily-sync notices at AMOP": str(SYNCS),
        "messages in the notification queue": str(SYNCS),
        "reports in S3": str(PROVIDERS),
        "report mails sent": str(PROVIDERS),
        "providers with changes, now or before": str(PROVIDERS),
        "approvals from the command line": "1",
        "approvals as the UI gives them": "1",
        "approval mails sent": "2",
        "changes that a person approved": str(by_person),
        "changes applied": str(applied),
        "changes refused or in conflict": "0",
        "changes read back from the carrier": str(applied),
        "write requests at the carrier": str(applied),
        "providers with one write request a change": str(PROVIDERS),
        "write requests where write_is_enabled is false": "0",
        "changes confirmed by the next sync": str(applied),
        "realised savings": "2",
        "changes in the realised savings": str(by_person),
        "realised savings above zero": "2",
        "violations of the carrier's limits": "0",
    }
    for shown in ("$ bin/amop approvals approve carrier_optimization_jasper/", "Required Actions, as the UI answers",
                  "Realised savings of the last closed billing period"):  # fmt: skip
        assert shown in done.stdout
    states = rows(
        world, "SELECT DISTINCT state FROM amop.rate_plan_change JOIN amop.realised_saving USING (instance_id)"
    )
    assert states == [{"state": "applied"}]

    versions = rows(world, "SELECT id, xmin::text FROM amop.device ORDER BY id")
    api = AirflowApi(world.ui_address)
    dag_ids = [ids.device_sync_dag(name) for name in INTEGRATIONS]
    runs = {dag_id: api.trigger(dag_id, {"optimization": "never"}) for dag_id in dag_ids}
    begun = time.monotonic()
    while not all(api.run_state(*run) in ENDED for run in runs.items()):
        assert time.monotonic() - begun < 300
        time.sleep(1)
    assert {api.run_state(*run) for run in runs.items()} == {"success"}
    assert rows(world, "SELECT id, xmin::text FROM amop.device ORDER BY id") == versions
    written = rows(
        world,
        "SELECT sum(devices_updated + usage_updated) AS n FROM (SELECT * FROM amop.device_sync_run ORDER BY id DESC"
        f" LIMIT {PROVIDERS}) AS latest",
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


def canaries(world: World) -> dict[str, str]:
    return {
        "carrier API key": world.secrets.carrier_api_key,
        "AMOP token": world.secrets.amop_token,
        "database password": world.secrets.postgres_password,
        "AWS secret key": world.secrets.aws_secret_key,
    }


def fail_in_ways_that_could_tell_a_secret(world: World) -> None:
    """Let a carrier echo its API key, AMOP refuse everything, and the command line meet a wrong password."""
    session = requests.Session()
    session.trust_env = False
    echo = {"account": "api_rogers", "status": 400, "times": 1, "error_message": f"no: {world.secrets.carrier_api_key}"}
    session.post(f"{world.carrier_address}/sandbox/faults", json=echo, timeout=10).raise_for_status()
    session.post(
        f"{world.amop_address}/sandbox/faults", json={"status": 422, "times": 3}, timeout=10
    ).raise_for_status()
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({"device_sync_rogers", ids.AMOP_RELAY_DAG})
    runs = [("device_sync_rogers", api.trigger("device_sync_rogers", {"optimization": "always"}))]
    wrong = json.dumps(
        {"conn_type": "postgres", "host": "127.0.0.1", "port": world.ports["postgres"], "login": "nobody",
         "password": world.secrets.postgres_password, "schema": "warehouse"}
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "amop.cli", "status"], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins"), "AIRFLOW_CONN_AMOP_WAREHOUSE": wrong},
    )  # fmt: skip
    assert done.returncode == 1 and "the warehouse cannot be reached" in done.stderr
    (world.directory / "cli-output.log").write_text(done.stdout + done.stderr)
    begun = time.monotonic()
    while not all(api.run_state(*run) in ENDED for run in runs):
        assert time.monotonic() - begun < 300
        time.sleep(0.5)
    assert [api.run_state(*run) for run in runs] == ["failed"]
    runs = [(ids.AMOP_RELAY_DAG, api.trigger(ids.AMOP_RELAY_DAG, {}))]
    while not all(api.run_state(*run) in ENDED for run in runs):
        assert time.monotonic() - begun < 400
        time.sleep(0.5)


def objects_and_messages(world: World) -> Iterator[tuple[str, bytes]]:
    s3, sqs = aws_client("s3", world.aws_address), aws_client("sqs", world.aws_address)
    for name, bucket in (("s3", BUCKET), ("archive", ARCHIVE_BUCKET)):
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            yield f"{name} {entry['Key']}", answer["Body"].read()
            yield f"{name} {entry['Key']}", repr(answer["Metadata"]).encode()
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=600
    ).get("Messages"):
        yield from (("sqs", repr(message).encode()) for message in messages)
    yield from (("mail", repr(mail).encode()) for mail in sent_mails(world.aws_address))
    session = requests.Session()
    session.trust_env = False
    for page in ("messages", "sessions", "stats"):
        yield f"AMOP {page}", session.get(f"{world.amop_address}/sandbox/{page}", timeout=30).content


def test_no_planted_secret_is_anywhere_after_whole_days_and_failures(world: World, reliability: RecordFault) -> None:
    fail_in_ways_that_could_tell_a_secret(world)
    looked: dict[str, int] = {}

    def counted(blobs: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for where, blob in blobs:
            looked[where.partition(" ")[0]] = looked.get(where.partition(" ")[0], 0) + len(blob)
            yield where, blob

    planted = canaries(world)
    # The one file that holds them is also the proof that the search finds them.
    settings = world.settings_file
    assert {name for name, _ in find(planted, [("settings", settings.read_bytes())])} == set(planted)
    postgres = world.postgres()
    found = find(planted, counted(files(world.directory, but={settings})))
    for database in (AIRFLOW_DATABASE, WAREHOUSE_DATABASE):
        found += find(planted, counted(tables(postgres.conninfo(database))))
    found += find(planted, counted(objects_and_messages(world)))
    found += find(planted, counted(command_lines()))
    assert found == []
    for place in ("public.xcom", "public.rendered_task_instance_fields", "public.dag_run", "public.log",
                  "amop.amop_outbox", "amop.device_sync_run", "s3", "archive", "sqs", "AMOP"):  # fmt: skip
        assert looked.get(place, 0) > 0, place
    assert sum(path.endswith(".log") for path in looked) > 20
    reliability(
        fault="canary secrets planted (API key, AMOP token, database password, AWS key), whole days and failing runs",
        injected=len(planted),
        expected="0 found in logs, files, both databases, objects, queue, AMOP messages, command lines",
        seen=f"{len(found)} found in {len(looked)} places, {sum(looked.values()) / 1e6:.0f} MB",
    )
