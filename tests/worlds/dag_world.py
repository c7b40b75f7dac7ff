"""What DAG runs in one process by ``dag.test()`` touch: real carrier, AMOP, AWS emulator, PostgreSQL; no scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from airflow import settings
from airflow.models.dagrun import DagRun
from airflow.sdk.definitions.dag import _run_task
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.state import DagRunState, State, TaskInstanceState
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import select

from sandbox.amop.running import RunningAmop
from sandbox.carrier.running import RunningCarrier

ROOT = Path(__file__).resolve().parents[2]
SIMS = 60
LONGEST_PATH = 100
"""Polls of a scheduler after which a run that goes on for ever is given up."""
WAITS_FOR_THE_OTHERS = "cleanup.wait_for_staging"
"""Run last: one process cannot wait for a task that it runs later."""
CANARY = "canary-api-key-4711"
TOKEN = "canary-token-4711"


@dataclass
class Day:
    """Everything that a DAG run touches."""

    dsn: str
    carrier: RunningCarrier
    amop: RunningAmop
    aws: str
    dags: dict[str, Any]

    def run(self, dag_id: str, **conf: Any) -> Any:
        """Run a DAG with these params and return its run."""
        return self.dags[dag_id].test(run_conf=conf)

    def clear(self, run: Any, task_ids: Sequence[str], *, downstream: bool) -> None:
        """Clear tasks of an ended run as the REST API does; `resume` runs them."""
        from airflow.models.taskinstance import clear_task_instances, find_relevant_relatives

        dag = scheduler_dag(self.dags[run.dag_id])
        with settings.Session() as session:
            cleared: set[Any] = set(task_ids)
            if downstream:
                cleared |= find_relevant_relatives(
                    task_ids, [], dag=dag, run_id=run.run_id, direction="downstream", session=session
                )
            instances = [
                ti
                for ti in _run(session, run).get_task_instances(session=session)
                if ti.task_id in cleared or (ti.task_id, ti.map_index) in cleared
            ]
            clear_task_instances(instances, session, DagRunState.RUNNING)
            session.commit()

    def resume(self, run: Any) -> dict[str, str]:
        """Run what is left of a run, as the scheduler does; return the state of the run and of each task."""
        dag = self.dags[run.dag_id]
        with settings.Session() as session:
            again = _run(session, run)
            again.dag = scheduler_dag(dag)
            for _ in range(LONGEST_PATH):
                session.expire_all()
                for ti in again.update_state(session=session)[0]:
                    if ti.state != TaskInstanceState.UP_FOR_RESCHEDULE:
                        ti.try_number += 1
                    ti.state = TaskInstanceState.SCHEDULED
                session.commit()
                states = again.get_task_instances(session=session)
                ready = [ti for ti in states if ti.state == TaskInstanceState.SCHEDULED]
                # Its next poll would be due in 5 s of real time.
                ready = ready or [ti for ti in states if ti.state == TaskInstanceState.UP_FOR_RESCHEDULE]
                for ti in ready:
                    ti.state = TaskInstanceState.SCHEDULED
                session.commit()
                for ti in sorted(ready, key=lambda ti: ti.task_id == WAITS_FOR_THE_OTHERS):
                    _run_task(ti=ti, task=dag.task_dict[ti.task_id], run_triggerer=True)
                if again.state in State.finished_dr_states:
                    break
            session.expire_all()
            found = {ti.task_id: str(ti.state) for ti in again.get_task_instances(session=session)}
            return {"": str(again.state)} | found

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return list(connection.execute(statement).fetchall())  # type: ignore[arg-type]


def scheduler_dag(dag: Any) -> Any:
    """Return a DAG as the scheduler sees it."""
    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))


def _run(session: Any, run: Any) -> Any:
    return session.scalar(select(DagRun).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id))


def connections(dsn: str, carrier: RunningCarrier, amop: RunningAmop, aws: str) -> dict[str, dict[str, Any]]:
    """Return Airflow's connections to all of it, by name."""
    warehouse = conninfo_to_dict(dsn)
    return {
        "amop_warehouse": {
            "conn_type": "postgres",
            "host": warehouse["host"],
            "port": int(warehouse["port"] or 0),
            "schema": warehouse["dbname"],
            "login": warehouse["user"],
            "password": warehouse["password"],
        },
        "amop_api": {
            "conn_type": "http",
            "host": amop.base_url,
            "password": TOKEN,
            "extra": {"progress_path": amop.progress_path, "sync_path": amop.sync_path},
        },
        "aws_default": {
            "conn_type": "aws",
            "login": "test",
            "password": "test",
            "extra": {"region_name": "us-east-1", "endpoint_url": aws},
        },
        "carrier_jasper": {
            "conn_type": "http",
            "host": carrier.base_url,
            "login": "api_jasper",
            "password": CANARY,
            "extra": {"calls_per_second": 1000},
        },
    }
