"""Scheduler, triggerer and api-server are killed once each during a day of a provider; its figures stay correct."""

from __future__ import annotations

import gzip
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email import message_from_string
from typing import Any

import pytest

from amop import ids
from amop.reports.report_mail import SESSION_HEADER
from amop.runs.progress import PROGRESS_STEPS
from sandbox.carrier.catalogue import provider_of
from sandbox.demo.proof import take_notifications
from sandbox.world.airflow_api import AirflowApi, AirflowApiError
from sandbox.world.aws_resources import ARCHIVE_BUCKET, aws_client, sent_mails
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.worlds.e2e_world import (
    ON_THE_WORLD,
    airflow_rows,
    carrier_stats,
    rows,
    run_of,
    sandbox_page,
    wait_until,
)
from tests.worlds.reliability import RecordFault

pytestmark = ON_THE_WORLD

PROVIDER = provider_of("tmobile_jasper")
DETAIL_CALLS = 110
"""At five calls a second the carrier keeps the fetch tasks busy for half a minute: time for three kills."""

SECONDS_TO_END = 500
SYNC_DAG = ids.device_sync_dag(PROVIDER.integration)
OPTIMIZATION_DAG = ids.carrier_optimization_dag(PROVIDER.integration)
FORGET_SIMS = (
    "DELETE FROM amop.device_usage WHERE device_id IN (SELECT id FROM amop.device WHERE service_provider_id = %s)",
    "DELETE FROM amop.device_history WHERE device_id IN (SELECT id FROM amop.device WHERE service_provider_id = %s)",
    "DELETE FROM amop.device WHERE service_provider_id = %s",
)
"""A sync reads the details of new SIMs one by one."""
SET_DETAIL_CALLS = "UPDATE amop.service_provider SET detail_calls_per_run = %s WHERE id = %s"


class Watcher:
    """Watches one sync run and its optimization in both databases, without the help of a daemon."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.supervisor = Supervisor(world)
        self.dag_run_id = ""
        self._calls_before = carrier_stats(world, PROVIDER.api_user)["calls"]
        (latest,) = airflow_rows(world, "SELECT coalesce(max(id), 0) AS id FROM dag_run")
        self._latest_dag_run = latest["id"]

    def calls(self) -> int:
        """Return the calls of this day."""
        return int(carrier_stats(self.world, PROVIDER.api_user)["calls"] - self._calls_before)

    def task_states(self, task_id: str) -> list[str]:
        """Return the states of a task of the sync."""
        found = airflow_rows(
            self.world,
            "SELECT state FROM task_instance WHERE dag_id = %s AND run_id = %s AND task_id = %s",
            SYNC_DAG,
            self.dag_run_id,
            task_id,
        )
        return [row["state"] for row in found]

    def run_states(self) -> dict[str, list[str]]:
        """Return the states of the runs of the two DAGs that began in this day."""
        found = airflow_rows(
            self.world,
            "SELECT dag_id, state FROM dag_run WHERE dag_id IN (%s, %s) AND id > %s",
            SYNC_DAG,
            OPTIMIZATION_DAG,
            self._latest_dag_run,
        )
        states: dict[str, list[str]] = {}
        for row in found:
            states.setdefault(row["dag_id"], []).append(row["state"])
        return states

    def until(self, condition: Callable[[], Any], what: str) -> float:
        """Wait for a condition, polling often; return the seconds."""
        return wait_until(condition, what, seconds=SECONDS_TO_END, poll=0.2)

    def kill(self, name: str) -> int:
        """Kill a daemon with its whole process group, as when its container dies; return the group."""
        group = self.supervisor.process_group(name)
        assert group is not None, f"{name} does not run"
        os.killpg(group, signal.SIGKILL)
        return group

    def is_back(self, name: str, killed: int) -> bool:
        """Return whether another process group of a daemon runs."""
        return self.supervisor.process_group(name) not in {None, killed}


@dataclass(frozen=True)
class Day:
    """What the day left, counted wherever it left something."""

    runs: dict[str, list[str]]
    """DAG → states of its runs."""
    sims_that_differ: int
    calls: int
    answers: int
    """The carrier's answers to the run, each in the archive once."""
    progress: list[int]
    """Steps of the session at AMOP, in the order of their arrival."""
    errors: list[str]
    notices: int
    notifications: int
    mails: int
    instances: list[str]

    @classmethod
    def of(cls, watcher: Watcher) -> Day:
        """Count what the watched day left."""
        world, run = watcher.world, run_of(watcher.world, watcher.dag_run_id)
        truth = sandbox_page(world.carrier_address, f"truth/{PROVIDER.api_user}")["devices"]
        names = ("iccid", "status", "rate_plan", "communication_plan")
        theirs = {(*(sim[name] for name in names), sim["data_usage"]) for sim in truth}
        devices = f"SELECT {', '.join(names)}, ctd_data_usage FROM amop.device WHERE service_provider_id = %s"
        ours = [tuple(row.values()) for row in rows(world, devices, PROVIDER.id)]
        session_id = run["optimization_session_id"]
        (session,) = rows(world, "SELECT * FROM amop.optimization_session WHERE id = %s", session_id)
        told = sandbox_page(world.amop_address, "sessions")[str(session["session_guid"])]
        messages = sandbox_page(world.amop_address, "messages")
        key = f"daily_sync:{run['id']}:{PROVIDER.id}"
        mails = [message_from_string(mail["raw_data"]) for mail in sent_mails(world.aws_address)]
        instances = rows(world, "SELECT run_status FROM amop.optimization_instance WHERE session_id = %s", session_id)
        return cls(
            runs=watcher.run_states(),
            sims_that_differ=len(theirs ^ set(ours)) + len(ours) - len(set(ours)),
            calls=watcher.calls(),
            answers=archived_answers(world, run["id"]),
            progress=told["progress"],
            errors=told["errors"] + told["order_errors"],
            notices=sum(message.get("idempotency_key") == key for message in messages),
            notifications=sum(body.get("run_id") == run["id"] for body in take_notifications(world)),
            mails=sum(mail[SESSION_HEADER] == str(session_id) for mail in mails),
            instances=[row["run_status"] for row in instances],
        )


def archived_answers(world: World, run_id: int) -> int:
    """Return the number of answers in the only object of the run in the archive; its first line describes the run."""
    s3 = aws_client("s3", world.aws_address)
    objects = s3.list_objects_v2(Bucket=ARCHIVE_BUCKET)["Contents"]
    (key,) = [entry["Key"] for entry in objects if entry["Key"].endswith(f"_run_{run_id}.jsonl.gz")]
    body = s3.get_object(Bucket=ARCHIVE_BUCKET, Key=key)["Body"].read()
    return len(gzip.decompress(body).splitlines()) - 1


@pytest.fixture
def watcher(world: World) -> Iterator[Watcher]:
    """A watcher of a provider that has no SIMs yet and may read many details."""
    (before,) = rows(world, "SELECT detail_calls_per_run AS n FROM amop.service_provider WHERE id = %s", PROVIDER.id)
    rows(world, SET_DETAIL_CALLS, DETAIL_CALLS, PROVIDER.id)
    for statement in FORGET_SIMS:
        rows(world, statement, PROVIDER.id)
    yield Watcher(world)
    rows(world, SET_DETAIL_CALLS, before["n"], PROVIDER.id)


def test_each_daemon_is_killed_once_and_the_day_ends_with_the_same_figures(
    api: AirflowApi, watcher: Watcher, reliability: RecordFault
) -> None:
    api.wait_for_dags({SYNC_DAG, OPTIMIZATION_DAG})
    watcher.dag_run_id = api.trigger(SYNC_DAG, {"optimization": "always", "full_sync": True})

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
        day,
        runs=ended,
        sims_that_differ=0,
        progress=list(PROGRESS_STEPS),
        errors=[],
        notices=1,
        notifications=1,
        mails=1,
        instances=["complete_with_success"],
    )
    for name in killed:
        reliability(
            fault=f"{name} killed with its process group during a day with clean-up and optimization",
            injected=1,
            expected="both runs success, 0 SIMs differ from the carrier, at most 1 call in vain, 0 to 100 % once and "
            "in order, 1 notice, 1 optimization run",
            seen=f"{day.runs[SYNC_DAG][0]} and {day.runs[OPTIMIZATION_DAG][0]}, "
            f"{day.sims_that_differ} SIMs differ, {calls_in_vain} of {day.calls} calls in vain, "
            f"{' '.join(map(str, day.progress))} %, {day.notices} notice, {len(day.instances)} optimization run, "
            f"{seconds:.0f} s after the last kill",
        )


def test_eight_triggers_of_one_optimization_at_once_make_one_run(
    world: World, api: AirflowApi, reliability: RecordFault
) -> None:
    """The run id of a session's optimization is its key: a second trigger gets the answer 409."""
    run_id, conf = ids.optimization_run_id(10**9), {"service_provider_id": PROVIDER.id}
    api.wait_for_dags({OPTIMIZATION_DAG})
    start = threading.Barrier(8)

    def trigger(_: int) -> str:
        one = AirflowApi(world.ui_address)
        start.wait(timeout=60)
        try:
            one.request(
                "POST", f"/dags/{OPTIMIZATION_DAG}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf}
            )
        except AirflowApiError as error:
            return str(re.findall(r": (\d{3}) ", str(error))[0])
        return "triggered"

    with api.paused(OPTIMIZATION_DAG), ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(trigger, range(8)))
        runs = airflow_rows(world, "SELECT state FROM dag_run WHERE run_id = %s", run_id)
        api.request("DELETE", f"/dags/{OPTIMIZATION_DAG}/dagRuns/{run_id}")
    assert (answers, [run["state"] for run in runs]) == ({"triggered": 1, "409": 7}, ["queued"])
    reliability(
        fault="eight triggers of one session's optimization at once",
        injected=8,
        expected="1 run, 7 answered that it exists",
        seen=f"{len(runs)} run, {answers['409']} answered that it exists",
    )
