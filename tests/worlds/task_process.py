"""The process in which Airflow's tasks run and are killed: the real DAGs, task by task, by Airflow's own runner.

Imported only by the fork server of the tests, which has imported Airflow, parsed the DAGs and built the execution API
before it forks a process: a killed process and its successor cost a fork each.

This process does the scheduler's part as `DAG.test` does: it finds the tasks that are ready and runs them one after
another until the DAG run has ended. A task that a killed process left in state running is lost; it is retried.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import pkgutil
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import airflow.providers.amazon.aws.hooks.s3
import airflow.providers.amazon.aws.hooks.sqs  # noqa: F401 what tasks import when they run
import boto3
import httpx
from airflow import settings
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.dagrun import DagRun, get_or_create_dagrun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.definitions.dag import _run_task
from airflow.sdk.execution_time.supervisor import in_process_api_server
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select
from sqlalchemy.orm import Session, configure_mappers

import amop
from amop.database import clock as database_clock
from amop.database import store as database_store
from amop.plan_changes import apply
from tests.worlds import kill_points
from tests.worlds.kill_points import Work
from tests.worlds.moments import machine_time
from tests.worlds.parse_once import parse_once

WAITS_FOR_THE_OTHERS = "cleanup.wait_for_staging"
"""Run last: one process cannot wait for a task that it runs later."""
POLLS_AFTER_A_SKIP = 3
"""A poll that only skips tasks makes others ready for the next poll."""
LONGEST_CALL = timedelta(seconds=1)
"""Of this carrier, which is in the same machine: a doubt is settled after it."""
LOST = (TaskInstanceState.RUNNING, TaskInstanceState.QUEUED)


class _MetaClock(type(datetime)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


class StandingClock(datetime, metaclass=_MetaClock):
    """`datetime` as the package's modules see it, in which it is always the same moment.

    A second run of a task must differ from the first by the kill alone, not by the projection of a later moment.
    """

    moment = datetime(2000, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """Return the moment, in a time zone."""
        return cls.moment.astimezone(tz)


def run_dag(work: Work) -> None:
    """Run what is left of a DAG run; end the process with status 0 if it has come to where it was to come.

    Raises:
        RuntimeError: the run has not ended, and no task of it is ready.
    """
    StandingClock.moment = datetime.fromisoformat(work.now)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "amop" and vars(module).get("datetime") is datetime:
            module.datetime = StandingClock  # type: ignore[attr-defined]
    # The warehouse's clock runs; the tasks see it stand too.
    database_store.present_time = lambda _connection: StandingClock.now(UTC)  # type: ignore[assignment]
    database_clock.monotonic = lambda: 0.0  # type: ignore[attr-defined]
    apply.SETTLE_AFTER = LONGEST_CALL
    with settings.Session() as session:
        run = _dag_run(session, work)
        polls_without_work = 0
        while run.state == DagRunState.RUNNING:
            ready = _ready_tasks(session, run)
            if work.stops_before in {ti.task_id for ti in ready}:
                ready = [ti for ti in ready if ti.task_id != work.stops_before]
                if not ready:
                    sys.exit(0)
            polls_without_work = 0 if ready else polls_without_work + 1
            if polls_without_work > POLLS_AFTER_A_SKIP:
                states = {ti.task_id: ti.state for ti in run.get_task_instances(session=session)}
                raise RuntimeError(f"{work.dag_id} {work.run_id} has no task that is ready: {states}")
            for ti in ready:
                kill_points.present_task = ti.task_id
                _run_task(ti=ti, task=DAGS[work.dag_id].task_dict[ti.task_id], run_triggerer=True)
        print(f"{work.dag_id} {work.run_id}: {run.state}", flush=True)  # noqa: T201
        sys.exit(0 if run.state == DagRunState.SUCCESS else 1)


def _dag_run(session: Session, work: Work) -> DagRun:
    """Return the DAG run, created if it is not there, with its lost tasks up for the next try."""
    dag = SCHEDULER_DAGS[work.dag_id]
    run = session.scalar(select(DagRun).where(DagRun.dag_id == work.dag_id, DagRun.run_id == work.run_id))
    if run is None:
        run = get_or_create_dagrun(
            dag=dag,
            run_id=work.run_id,
            conf=dict(work.conf),
            logical_date=None,
            data_interval=None,
            run_after=StandingClock.moment,
            start_date=StandingClock.moment,
            session=session,
            triggered_by=DagRunTriggeredByType.TEST,
            triggering_user_name="operator",
        )
    run.dag = dag
    run.state = DagRunState.RUNNING if run.state == DagRunState.QUEUED else run.state
    for ti in run.get_task_instances(session=session):
        if ti.state in LOST:
            ti.state = TaskInstanceState.UP_FOR_RETRY
            ti.end_date = machine_time() - timedelta(hours=1)  # the delay of the retry is over
    session.commit()
    return run


def _ready_tasks(session: Session, run: DagRun) -> list[TaskInstance]:
    session.expire_all()
    for ti in run.update_state(session=session)[0]:
        if ti.state != TaskInstanceState.UP_FOR_RESCHEDULE:
            ti.try_number += 1
        ti.state = TaskInstanceState.SCHEDULED
    session.commit()
    scheduled = [ti for ti in run.get_task_instances(session=session) if ti.state == TaskInstanceState.SCHEDULED]
    others = [ti for ti in scheduled if ti.task_id != WAITS_FOR_THE_OTHERS]
    return sorted(others or scheduled, key=lambda ti: ti.task_id)


def _prepare() -> tuple[dict[str, Any], dict[str, Any]]:
    """Do once what every process would do again: import, parse, serialize, build the execution API's routes."""
    parse_once()
    for module in pkgutil.walk_packages(amop.__path__, "amop."):
        importlib.import_module(module.name)
    configure_mappers()
    inspect.stack()  # Airflow's AWS hooks inspect their caller, which reads the source of every module the first time
    boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    manager = DagBundlesManager()
    with settings.Session() as session:
        manager.sync_bundles_to_db(session=session)
        session.commit()
    (bundle,) = manager.get_all_dag_bundles()
    bundle.initialize()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)
    asyncio.run(_ask_the_execution_api())
    settings.dispose_orm(do_log=False)  # no connection may be shared with the processes to come
    settings.configure_orm()
    dags = dict(bag.dags)
    return dags, {name: DagSerialization.deserialize_dag(DagSerialization.serialize_dag(d)) for name, d in dags.items()}


async def _ask_the_execution_api() -> None:
    transport = in_process_api_server().atransport
    async with httpx.AsyncClient(transport=transport, base_url="http://in-process.invalid") as client:
        await client.get("/no-such-page")  # the first request builds the routes


DAGS, SCHEDULER_DAGS = _prepare()
gc.collect()
gc.freeze()  # else every process would walk, and so copy, all that it shares with the one it was forked from
