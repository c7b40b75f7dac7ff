"""Scheduler, triggerer and api-server are killed once each while a day runs on them, and it ends as if nothing was."""

from __future__ import annotations

import gzip
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from amop import ids
from amop.domain.progress import PROGRESS_STEPS
from sandbox.airflow_api import AirflowApi, AirflowApiError
from sandbox.aws_resources import ARCHIVE_BUCKET, aws_client, sent_mails
from sandbox.demo_proof import received_notifications
from sandbox.environment import AIRFLOW_DATABASE, World
from sandbox.supervision import Supervisor
from tests.reliability import RecordFault

pytestmark = [pytest.mark.xdist_group("world"), pytest.mark.timeout(600)]  # one world at a time, on one worker

SIMS = 150
JASPER = 1
DETAIL_CALLS = 110
"""At five calls a second the carrier keeps the fetch tasks busy for half a minute: time for three kills."""

SECONDS_TO_END = 240
SYNC_DAG, OPTIMIZATION_DAG = ids.device_sync_dag("jasper"), ids.carrier_optimization_dag("jasper")


class Watcher:
    """Looks at the run in both databases, so that no daemon is needed for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.supervisor = Supervisor(world)
        self._session = requests.Session()
        self._session.trust_env = False

    def airflow(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self._rows(self.world.postgres().conninfo(AIRFLOW_DATABASE), statement, values)

    def warehouse(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self._rows(self.world.warehouse_dsn(), statement, values)

    def _rows(self, dsn: str, statement: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def get(self, address: str) -> Any:
        return self._session.get(address, timeout=30).json()

    def calls(self) -> int:
        stats = self.get(f"{self.world.carrier_address}/sandbox/stats")
        return int(stats["accounts"].get("api_jasper", {}).get("calls", 0))

    def run_states(self) -> dict[str, list[str]]:
        """Return the states of the runs of the two DAGs."""
        found = self.airflow("SELECT dag_id, state FROM dag_run WHERE dag_id IN (%s, %s)", SYNC_DAG, OPTIMIZATION_DAG)
        states: dict[str, list[str]] = {}
        for row in found:
            states.setdefault(row["dag_id"], []).append(row["state"])
        return states

    def task_states(self, task_id: str) -> list[str]:
        found = self.airflow("SELECT state FROM task_instance WHERE dag_id = %s AND task_id = %s", SYNC_DAG, task_id)
        return [row["state"] for row in found]

    def until(self, condition: Callable[[], Any], what: str, *, seconds: float = SECONDS_TO_END) -> float:
        """Wait for a condition; return how long that took, in seconds."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, f"not in {seconds} s: {what}"
            time.sleep(0.2)
        return time.monotonic() - begun

    def kill(self, name: str) -> int:
        """Kill a daemon with what belongs to its process group, as when its container dies; return the group."""
        group = self.supervisor.process_group(name)
        assert group is not None, f"{name} does not run"
        os.killpg(group, signal.SIGKILL)
        return group

    def is_back(self, name: str, killed: int) -> bool:
        return self.supervisor.process_group(name) not in {None, killed}


@dataclass(frozen=True)
class Day:
    """What the day left, counted wherever it left something."""

    runs: dict[str, list[str]]
    """DAG → states of its runs."""
    sims_that_differ: int
    calls: int
    answers: int
    """What the carrier answered to the run, each in the archive once."""
    told: list[list[int]]
    """Steps of each session at AMOP, in the order of their arrival."""
    errors: list[str]
    notices: int
    notifications: int
    mails: int
    instances: list[str]

    @classmethod
    def of(cls, watcher: Watcher) -> Day:
        world = watcher.world
        truth = watcher.get(f"{world.carrier_address}/sandbox/truth/api_jasper")["devices"]
        names = ("iccid", "status", "rate_plan", "communication_plan")
        theirs = {(*(sim[name] for name in names), sim["data_usage"]) for sim in truth}
        ours = [tuple(row.values()) for row in watcher.warehouse(f"SELECT {', '.join(names)}, ctd_data_usage"
                                                                 " FROM amop.device")]  # fmt: skip
        sessions = watcher.get(f"{world.amop_address}/sandbox/sessions").values()
        messages = watcher.get(f"{world.amop_address}/sandbox/messages")
        instances = watcher.warehouse("SELECT run_status FROM amop.optimization_instance")
        return cls(
            runs=watcher.run_states(),
            sims_that_differ=len(theirs ^ set(ours)) + len(ours) - len(set(ours)),
            calls=watcher.calls(),
            answers=answers_in_archive(world),
            told=[session["progress"] for session in sessions],
            errors=[error for session in sessions for error in session["errors"] + session["order_errors"]],
            notices=sum(message["kind"] == "daily_sync" for message in messages),
            notifications=len(received_notifications(world)),
            mails=len(sent_mails(world.aws_address)),
            instances=[row["run_status"] for row in instances],
        )


def answers_in_archive(world: World) -> int:
    """Return the number of answers in the only object of the archive; its first line tells of the run."""
    s3 = aws_client("s3", world.aws_address)
    (entry,) = s3.list_objects_v2(Bucket=ARCHIVE_BUCKET)["Contents"]
    body = s3.get_object(Bucket=ARCHIVE_BUCKET, Key=entry["Key"])["Body"].read()
    return len(gzip.decompress(body).splitlines()) - 1


@pytest.fixture
def watcher(world: World) -> Watcher:
    watcher = Watcher(world)
    watcher.warehouse("UPDATE amop.service_provider SET detail_calls_per_run = %s WHERE id = %s", DETAIL_CALLS, JASPER)
    return watcher


def test_each_daemon_is_killed_once_and_the_day_ends_with_the_same_figures(
    world: World, watcher: Watcher, reliability: RecordFault
) -> None:
    api = AirflowApi(world.ui_address)
    api.wait_for_dags({SYNC_DAG, OPTIMIZATION_DAG})
    api.trigger(SYNC_DAG, {"optimization": "always"})

    # The triggerer, while the clean-up waits in it for the sync.
    watcher.until(lambda: watcher.task_states("cleanup.wait_for_staging") == ["deferred"], "the deferred sensor")
    killed = {"triggerer": watcher.kill("triggerer")}
    # The api-server, while a task calls the carrier and its supervisor reports.
    watcher.until(lambda: watcher.calls() >= 15, "the first calls")
    assert "running" in watcher.task_states("sync.fetch_devices") + watcher.task_states("sync.fetch_usage")
    killed["api-server"] = watcher.kill("api-server")
    # The scheduler with its workers, while a task is in the middle of its calls.
    watcher.until(lambda: watcher.calls() >= 60, "the next calls")
    assert watcher.task_states("sync.fetch_usage") == ["running"]
    killed["scheduler"] = watcher.kill("scheduler")

    ended = {SYNC_DAG: ["success"], OPTIMIZATION_DAG: ["success"]}
    seconds = watcher.until(lambda: watcher.run_states() == ended, "both runs")
    assert all(watcher.is_back(name, group) for name, group in killed.items())
    day = Day.of(watcher)
    calls_in_vain = day.calls - day.answers
    assert day.calls > DETAIL_CALLS
    assert 0 <= calls_in_vain <= 1, "the call that was on its way when its process was killed"
    assert day == replace(
        day, runs=ended, sims_that_differ=0, told=[list(PROGRESS_STEPS)], errors=[], notices=1, notifications=1,
        mails=1, instances=["complete_with_success"],
    )  # fmt: skip
    for name in killed:
        reliability(
            fault=f"{name} killed with its process group during a day with clean-up and optimization",
            injected=1,
            expected="both runs success, 0 SIMs differ from the carrier, at most 1 call in vain, 0 to 100 % once and "
            "in order, 1 notice, 1 optimization run",
            seen=f"{day.runs[SYNC_DAG][0]} and {day.runs[OPTIMIZATION_DAG][0]}, "
            f"{day.sims_that_differ} SIMs differ, {calls_in_vain} of {day.calls} calls in vain, "
            f"{' '.join(map(str, day.told[0]))} %, {day.notices} notice, {len(day.instances)} optimization run, "
            f"{seconds:.0f} s after the last kill",
        )


def test_eight_triggers_of_one_optimization_at_once_make_one_run(
    world: World, watcher: Watcher, reliability: RecordFault
) -> None:
    """The run id of a session's optimization is its key: whoever comes second is told so."""
    run_id, conf = ids.optimization_run_id(10**9), {"service_provider_id": JASPER}
    api = AirflowApi(world.ui_address)
    start = threading.Barrier(8)

    def trigger(_: int) -> str:
        one = AirflowApi(world.ui_address)
        start.wait(timeout=60)
        try:
            one.request(
                "POST", f"/dags/{OPTIMIZATION_DAG}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf}
            )
        except AirflowApiError as error:
            return re.findall(r": (\d{3}) ", str(error))[0]
        return "triggered"

    with api.paused(OPTIMIZATION_DAG), ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(trigger, range(8)))
        runs = watcher.airflow("SELECT state FROM dag_run WHERE run_id = %s", run_id)
        api.request("DELETE", f"/dags/{OPTIMIZATION_DAG}/dagRuns/{run_id}")
    assert (answers, [run["state"] for run in runs]) == ({"triggered": 1, "409": 7}, ["queued"])
    reliability(
        fault="eight triggers of one session's optimization at once", injected=8,
        expected="1 run, 7 told that it exists",
        seen=f"{len(runs)} run, {answers['409']} told that it exists",
    )  # fmt: skip
