"""The DAG ``optimization_window``: its structure, and a run on a real warehouse in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import Asset
from psycopg.conninfo import conninfo_to_dict

from amop import ids
from amop.config import INTEGRATIONS
from tests.worlds.moments import machine_time
from tests.worlds.optimization_world import OptimizationWorld

ROOT = Path(__file__).resolve().parents[3]
SYNC = "device_sync_jasper"
STARTED_NOTHING = {
    "find_open_windows": ["success"],
    "start_device_sync": ["skipped"],
    "report_failed_checks": ["success"],
}


@pytest.fixture(scope="module")
def airflow_with_dags(airflow_database: Path) -> None:
    """Store every DAG in the metadata database, where the trigger operator finds its target."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "reserialize"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def dag(airflow_with_dags: None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(ROOT / "dags").dags[ids.OPTIMIZATION_WINDOW_DAG]


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, airflow_with_dags: None) -> Iterator[OptimizationWorld]:
    """Return a provider whose billing period ends in two days by the machine's clock, and a sync DAG to start."""
    from airflow.models import DagModel, DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete, update

    def delete_runs(*, is_paused: bool) -> None:
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.dag_id == SYNC))
            session.execute(update(DagModel).where(DagModel.dag_id == SYNC).values(is_paused=is_paused))

    warehouse = conninfo_to_dict(warehouse_dsn)
    connection = {
        "conn_type": "postgres",
        "host": warehouse["host"],
        "port": int(warehouse["port"] or 0),
        "schema": warehouse["dbname"],
        "login": warehouse["user"],
        "password": warehouse["password"],
    }
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", json.dumps(connection))
    end = machine_time().astimezone(ZoneInfo("America/New_York")) + timedelta(days=2)
    world = OptimizationWorld(warehouse_dsn, bill_period_end_day=end.day, bill_period_end_hour=23)
    world.execute("DELETE FROM amop.billing_period")
    delete_runs(is_paused=False)
    yield world
    delete_runs(is_paused=True)


def started() -> list[tuple[str, dict[str, Any]]]:
    """Return run id and configuration of the started device syncs."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        runs = session.scalars(select(DagRun).where(DagRun.dag_id == SYNC).order_by(DagRun.id)).all()
        return [(run.run_id, run.conf) for run in runs]


def end_runs() -> None:
    """End the started syncs."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.dag_id == SYNC).values(state="success"))


def states(run: Any) -> dict[str, list[str]]:
    """Return the states of a run's tasks."""
    found: dict[str, list[str]] = {}
    for instance in run.get_task_instances():
        found.setdefault(instance.task_id, []).append(str(instance.state))
    return found


def test_it_runs_every_hour_and_after_every_optimization_one_run_at_a_time(dag: Any) -> None:
    assert dag.schedule.timetable.expression == "5 * * * *"
    assert {asset.name for asset in dag.schedule.asset_condition.objects} == {
        f"amop_optimization_results_{name}" for name in ("jasper", "pod19", "tmobile_jasper", "rogers")
    }
    assert dag.max_active_runs == 1
    assert dag.is_paused_upon_creation is True
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "find_open_windows": set(),
        "start_device_sync": {"find_open_windows"},
        "report_failed_checks": {"find_open_windows"},
    }


def test_the_assets_that_start_a_run_are_those_that_an_optimization_writes(airflow_with_dags: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dags = DagBag(ROOT / "dags").dags
    written = {
        asset.name
        for dag_id, dag in dags.items()
        if dag_id.startswith("carrier_optimization_")
        for task in dag.tasks
        for asset in task.outlets
    }
    results = Asset(ids.optimization_results_asset("rogers"))
    writers = {task.task_id for task in dags["carrier_optimization_rogers"].tasks if results in task.outlets}
    assert writers == {"publish_report", "plan_changes", "record_approval", "apply_changes"}
    awaited = {asset.name for asset in dags[ids.OPTIMIZATION_WINDOW_DAG].schedule.asset_condition.objects}
    # What is written before an optimization is complete starts nothing; the plans at the carrier are written by
    # `apply_changes` as well, whose results start the run.
    drafts = {ids.optimization_draft_asset(integration) for integration in INTEGRATIONS}
    plans = {ids.carrier_plans_asset(integration) for integration in INTEGRATIONS}
    assert (awaited, written - awaited) == (written - plans - drafts, (plans | drafts) & written)
    assert awaited and plans & written and drafts & written


def test_a_run_starts_the_sync_of_the_due_providers_with_optimization_always(
    dag: Any, world: OptimizationWorld
) -> None:
    add_provider(world, 7)
    run = dag.test(logical_date=None)
    assert run.state == "success"
    assert started() == [
        (f"optimization_window__{run.run_id}", {"service_provider_ids": [1, 7], "optimization": "always"})
    ]
    # The started sync is queued: the next run, however it is started, starts no second one.
    again = dag.test(logical_date=None)
    assert again.run_id != run.run_id
    assert states(again) == STARTED_NOTHING
    assert len(started()) == 1
    # The sync has ended without reaching the warehouse: the next run starts another one.
    end_runs()
    third = dag.test(logical_date=None)
    assert [run_id for run_id, _ in started()] == [
        f"optimization_window__{run.run_id}",
        f"optimization_window__{third.run_id}",
    ]


def test_a_repeated_run_starts_nothing_twice(dag: Any, world: OptimizationWorld) -> None:
    moment = machine_time().replace(minute=5, second=0, microsecond=0)
    first = dag.test(logical_date=moment, run_after=moment)
    assert len(started()) == 1
    # The sync has ended and its provider is still due: the same run, cleared by an operator, finds its sync.
    end_runs()
    second = dag.test(logical_date=moment, run_after=moment)
    assert second.run_id == first.run_id
    assert states(second) == STARTED_NOTHING
    assert len(started()) == 1


def test_a_run_without_due_providers_succeeds_and_starts_nothing(dag: Any, world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET is_active = false")
    run = dag.test(logical_date=None)
    assert run.state == "success"
    assert started() == []


def test_a_provider_that_cannot_be_checked_stops_no_other_and_fails_the_run(
    dag: Any, world: OptimizationWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    add_provider(world, 7)
    world.execute("UPDATE amop.service_provider SET time_zone = 'Mars/Olympus' WHERE id = 1")
    run = dag.test(logical_date=None)
    assert run.state == "failed"
    assert states(run) == {
        "find_open_windows": ["success"], "start_device_sync": ["success"], "report_failed_checks": ["failed"],
    }  # fmt: skip
    assert [conf["service_provider_ids"] for _, conf in started()] == [[7]]


def test_a_paused_sync_fails_the_run_and_starts_nothing(dag: Any, world: OptimizationWorld) -> None:
    from airflow.models import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagModel).where(DagModel.dag_id == SYNC).values(is_paused=True))
    for task in dag.tasks:
        task.retries = 0
    run = dag.test(logical_date=None)
    assert run.state == "failed"
    assert started() == []


def add_provider(world: OptimizationWorld, provider_id: int) -> None:
    """Add a provider with the billing period of the first one."""
    world.insert(
        "service_provider",
        id=provider_id,
        tenant_id=1,
        integration_id=1,
        name="Another",
        connection_id="c",
        time_zone="America/New_York",
        **_same_period(world),
    )


def _same_period(world: OptimizationWorld) -> dict[str, Any]:
    return world.execute("SELECT bill_period_end_day, bill_period_end_hour FROM amop.service_provider WHERE id = 1")[0]
