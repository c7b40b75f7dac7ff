"""A worker is killed with SIGKILL: its run is ended with one ErrorMessage, and its provider is free again."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from amop import time_limits
from amop.messages.amop_client import AmopClient
from amop.messages.delivery import deliver_outbox
from sandbox.amop.running import running_amop
from tests.worlds.moments import machine_time
from tests.worlds.reliability import RecordFault
from tests.worlds.watchdog_world import WatchdogWorld

ROOT = Path(__file__).resolve().parents[3]
MINUTE = timedelta(minutes=1)

WORKER = """
import sys, time
from datetime import timedelta
from amop.tasks.heartbeat import heartbeat
dsn, run_id, session_id = sys.argv[1:]
with heartbeat(dsn, sync_run_id=int(run_id), session_id=int(session_id), every=timedelta(milliseconds=50)):
    print("working", flush=True)
    time.sleep(600)
"""
"""A task in the middle of its work, with its heartbeat."""

ALIVE_AT = "SELECT max(heartbeat_at) AS at FROM amop.device_sync_run"


@pytest.fixture
def world(warehouse_dsn: str) -> WatchdogWorld:
    return WatchdogWorld(warehouse_dsn)


def test_the_run_of_a_killed_worker_is_ended_once_and_blocks_no_other_run(
    world: WatchdogWorld, reliability: RecordFault
) -> None:
    begun_at = machine_time()
    run_id = world.open_sync("monday", at=begun_at)
    session = world.session_of(run_id)
    _work_and_be_killed(world, run_id, session["id"])
    died_at = world.rows(ALIVE_AT)[0]["at"]
    assert died_at > begun_at  # it had sent a heartbeat

    # While it counts as alive, a second run and a second session are refused, and the first is not changed.
    second = world.open_sync("tuesday", at=died_at + 30 * MINUTE)
    assert world.run(second)["status"] == "refused"
    assert world.rows("SELECT count(*) AS n FROM amop.optimization_session")[0]["n"] == 1

    ended = world.watch(died_at - 60 * MINUTE, died_at + 60 * MINUTE)
    (ended_at,) = ended
    assert time_limits.STALE_AFTER < ended_at - died_at <= time_limits.STALE_AFTER + 5 * MINUTE
    errors = [text for text in world.reported(session["id"]) if isinstance(text, str)]
    assert errors == ended[ended_at]

    third = world.open_sync("wednesday", at=ended_at)
    assert world.run(third)["status"] == world.session_of(third)["status"] == "running"
    assert world.session_of(third)["id"] != session["id"]

    with running_amop() as amop:
        fields = {"progress_path": amop.progress_path, "sync_path": amop.sync_path}
        with AmopClient.from_connection_fields(
            host=amop.base_url, schema=None, port=None, password=None, extra=fields
        ) as client:
            deliver_outbox(world.dsn, client, now=lambda: ended_at)
        told = {told["session_id"]: told for told in amop.sessions().values()}
    assert told[str(session["id"])]["errors"] == errors
    assert all(one["order_errors"] == [] for one in told.values())
    reliability(
        fault="worker killed (SIGKILL) in the middle of a sync",
        injected=1,
        expected="ended within 50 minutes, 1 ErrorMessage, provider free for the next run and session",
        seen=f"ended after {(ended_at - died_at) / MINUTE:.0f} minutes, {len(errors)} ErrorMessage, next run "
        f"{world.run(third)['status']}",
    )


def test_live_runs_beside_stale_ones_are_not_ended(world: WatchdogWorld, reliability: RecordFault) -> None:
    integrations = ("jasper", "pod19", "tmobile_jasper", "rogers")
    runs = {name: world.open_sync(integration=name, at=machine_time()) for name in integrations}
    sessions = {name: world.session_of(run_id)["id"] for name, run_id in runs.items()}
    for name in ("jasper", "pod19"):
        _work_and_be_killed(world, runs[name], sessions[name])
    died_at = world.rows(ALIVE_AT)[0]["at"]
    ended: dict[str, int] = {}
    now = died_at - 60 * MINUTE
    while now <= died_at + 120 * MINUTE:
        for name in ("tmobile_jasper", "rogers"):
            world.rows("UPDATE amop.device_sync_run SET heartbeat_at = %s WHERE id = %s", now, runs[name])
        for text in world.check(now):
            ended[text] = ended.get(text, 0) + 1
        now += 5 * MINUTE
    status = {name: world.run(run_id)["status"] for name, run_id in runs.items()}
    assert status == {"jasper": "failed", "pod19": "failed", "tmobile_jasper": "running", "rogers": "running"}
    assert sorted(ended.values()) == [1, 1]
    reliability(
        fault="two of four workers killed, watched for three hours",
        injected=2,
        expected="2 runs ended once each, 2 left running",
        seen=f"{len(ended)} runs ended once each, {list(status.values()).count('running')} left running",
    )


def _work_and_be_killed(world: WatchdogWorld, run_id: int, session_id: int) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, world.dsn, str(run_id), str(session_id)],
        env={"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "working\n"
        while world.run(run_id)["heartbeat_at"] is None:
            assert worker.poll() is None
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    assert worker.returncode == -signal.SIGKILL
