"""Measure what Airflow costs beside the work: a day of four providers, the relay at rest, the parsing of the DAG files.

python -m bench.orchestration day|relay|parse

The day and the relay run in a sandbox world of their own with the README's settings, or with Airflow's defaults.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.world import lifecycle
from sandbox.world.airflow_api import ENDED, AirflowApi
from sandbox.world.world import ROOT, World

AIRFLOW_DEFAULTS = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__MP_START_METHOD": "fork",
}
"""The settings that the README recommends, as Airflow has them without it."""

DAY_TIMEOUT_SECONDS = 200
DAY_GOAL_SECONDS = 15.0
PARSE_GOAL_SECONDS = 0.3
SETTLE_SECONDS = 45
"""After its start Airflow parses all files, which is not what is measured."""
REST_SECONDS = 95
"""Two runs of the relay."""

SYNC_CHAIN = ("select_providers", "sync.queue_sync", "sync.fetch_devices", "sync.fetch_usage")
CLEANUP_CHAIN = (
    "cleanup.merge_devices",
    "cleanup.merge_usage",
    "cleanup.update_communication_plans",
    "cleanup.check_quality",
    "cleanup.publish_summary",
    "cleanup.notify_amop",
    "cleanup.should_optimize",
)

PARSE = """
import os, sys, time
import airflow.dag_processing.processor, airflow.dag_processing.dagbag, airflow.serialization.serialized_objects
import airflow.providers.standard.operators.python
from airflow import plugins_manager
from airflow.sdk import DAG, task
plugins_manager.ensure_plugins_loaded()
import importlib.util
times = []
for path in sys.argv[1:]:
    reader, writer = os.pipe()
    if os.fork() == 0:  # as the DAG processor does: one process for each file, with Airflow imported
        begun = time.process_time()
        spec = importlib.util.spec_from_file_location("parsed", path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        os.write(writer, str(time.process_time() - begun).encode())
        os._exit(0)
    os.wait()
    times.append(os.read(reader, 64).decode())
print(*times)
"""


@dataclass(frozen=True, slots=True)
class DayCost:
    """A day of four providers."""

    wall_seconds: float
    critical_seconds: float
    """Durations of the tasks on the longest chain of one provider."""

    @property
    def overhead_seconds(self) -> float:
        """Return what the day took beyond its critical path."""
        return self.wall_seconds - self.critical_seconds


@contextmanager
def running_world(settings: Mapping[str, str], *, sims: int) -> Iterator[tuple[World, AirflowApi]]:
    """Run a sandbox world of its own until the end of the ``with`` block, with these settings of Airflow."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        with tempfile.TemporaryDirectory(prefix="amop-day-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o711)  # PostgreSQL runs as user nobody if this process is root
            world = World(Path(folder) / "world", devices_per_account=sims)
            try:
                lifecycle.start(world, Console(quiet=True))
                yield world, AirflowApi(world.ui_address)
            finally:
                lifecycle.stop(world)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def measure_day(settings: Mapping[str, str] | None = None, *, sims: int = 300) -> DayCost:
    """Sync four providers at once in a fresh world and return the cost.

    Raises:
        RuntimeError: a run failed, or did not end in time.
    """
    with running_world(settings or {}, sims=sims) as (_, api):
        dags = [ids.device_sync_dag(name) for name in INTEGRATIONS]
        api.wait_for_dags(set(dags))
        begun = time.time()
        runs = {dag: api.trigger(dag, {"optimization": "never"}) for dag in dags}
        while set(states := [api.run_state(dag, run) for dag, run in runs.items()]) - ENDED:
            if time.time() - begun > DAY_TIMEOUT_SECONDS:
                raise RuntimeError(f"the day did not end within {DAY_TIMEOUT_SECONDS} s: {states}")
            time.sleep(0.5)
        if set(states) != {"success"}:
            raise RuntimeError(f"the day failed: {states}")
        ends, chains = [], []
        for dag, run in runs.items():
            ends.append(_moment(api.request("GET", f"/dags/{dag}/dagRuns/{run}")["end_date"]))
            chains.append(_critical_seconds(api.task_instances(dag, run)))
    return DayCost(max(ends) - begun, max(chains))


def _critical_seconds(instances: list[dict[str, Any]]) -> float:
    """Return the durations of the tasks on the longest chain; the wait for staging runs beside the sync."""
    seconds = {
        (each["task_id"], each["map_index"]): _moment(each["end_date"]) - _moment(each["start_date"])
        for each in instances
        if each["start_date"] and each["end_date"]
    }
    first = seconds[(SYNC_CHAIN[0], -1)]
    providers = {index for _, index in seconds if index >= 0}
    chains = [sum(seconds.get((task, index), 0.0) for task in SYNC_CHAIN[1:] + CLEANUP_CHAIN) for index in providers]
    return first + max(chains)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True, slots=True)
class RelayCost:
    """Processor time of all processes of a world, in shares of a core."""

    at_rest: float
    with_relay: float
    runs: int
    """Runs of the relay in the measured time."""


def measure_relay() -> RelayCost:
    """Return what all processes of a world use at rest, and with the relay unpaused."""
    with running_world({}, sims=100) as (world, api):
        api.wait_for_dags({ids.AMOP_RELAY_DAG}, unpause=False)
        time.sleep(SETTLE_SECONDS)
        at_rest = _core_share(world)
        api.pause(ids.AMOP_RELAY_DAG, is_paused=False)
        with_relay = _core_share(world)
        runs = api.request("GET", f"/dags/{ids.AMOP_RELAY_DAG}/dagRuns?state=success")["total_entries"]
        return RelayCost(at_rest, with_relay, int(runs))


def _core_share(world: World) -> float:
    begun, before = time.perf_counter(), _processor_seconds(world)
    time.sleep(REST_SECONDS)
    return (_processor_seconds(world) - before) / (time.perf_counter() - begun)


def _processor_seconds(world: World) -> float:
    """Return the processor time of all processes of a world and of their children that have ended."""
    spent = 0.0
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_RUNTIME_DIR") == str(world.directory):
                spent += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return spent


def measure_parsing(repeats: int = 5) -> dict[str, float]:
    """Return the median processor seconds that each DAG file takes above an empty one, with Airflow imported."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text("from airflow.sdk import DAG\n\nwith DAG('empty'):\n    pass\n", encoding="utf-8")
        files = [empty, *sorted((ROOT / "dags").glob("*.py"))]
        rounds = [_parse(files, Path(folder)) for _ in range(repeats)]
    medians = [statistics.median(each) for each in zip(*rounds, strict=True)]
    return {file.name: seconds - medians[0] for file, seconds in zip(files[1:], medians[1:], strict=True)}


def _parse(files: list[Path], home: Path) -> list[float]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *map(str, files)], env=environment, capture_output=True, text=True, check=True
    )
    return [float(each) for each in done.stdout.split()[-len(files) :]]


def table(sims: int) -> list[str]:
    """Return the section of ``docs/benchmarks.md``."""
    days = {
        "the README's settings": measure_day(sims=sims),
        "Airflow's defaults": measure_day(AIRFLOW_DEFAULTS, sims=sims),
    }
    relay = measure_relay()
    parsed = measure_parsing()
    slowest = max(parsed, key=lambda name: parsed[name])
    return [
        f"A day of {len(INTEGRATIONS)} providers with {sims:,} SIMs each, all started at once on the local executor."
        " The critical path is the longest chain of task durations of one provider.",
        "",
        "| settings | seconds | critical path | beyond it | goal |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {cost.wall_seconds:.1f} | {cost.critical_seconds:.1f} | {cost.overhead_seconds:.1f}"
            f" | {_verdict(cost.overhead_seconds, DAY_GOAL_SECONDS)} |"
            for name, cost in days.items()
        ),
        "",
        f"All processes of a world at rest use {relay.at_rest:.3f} cores, and {relay.with_relay:.3f} while `amop_relay`"
        f" runs {relay.runs} times in {REST_SECONDS} s, with one task each.",
        "",
        f"The DAG file that takes longest to parse, `{slowest}`, takes {parsed[slowest]:.2f} processor seconds more"
        f" than an empty one. {_verdict(parsed[slowest], PARSE_GOAL_SECONDS)}.",
    ]


def _verdict(seconds: float, goal: float) -> str:
    return f"≤ {goal:g} s: {'met' if seconds <= goal else '**missed**'}"


def main(what: Annotated[str, typer.Argument(help="day, defaults, relay or parse.")]) -> None:
    """Print one measurement."""
    if what == "parse":
        for name, seconds in measure_parsing().items():
            print(f"{name:28} {seconds:6.3f} s")
    elif what == "relay":
        print(measure_relay())
    else:
        cost = measure_day(AIRFLOW_DEFAULTS if what == "defaults" else None)
        print(f"{cost.wall_seconds:.1f} s, critical path {cost.critical_seconds:.1f} s, {cost.overhead_seconds:.1f} s")


if __name__ == "__main__":
    typer.run(main)
