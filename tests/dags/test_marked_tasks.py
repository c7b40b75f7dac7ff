"""A failed task that an operator marks as success has no result: the tasks that need it say what to do."""

from __future__ import annotations

from typing import Any

import pytest
from airflow import settings
from airflow.models.dagrun import DagRun
from airflow.sdk.exceptions import AirflowFailException
from airflow.utils.state import TaskInstanceState

from amop import ids
from amop.device_sync import complete_run
from tests.worlds.dag_world import Day

SYNC, OPTIMIZATION = ids.device_sync_dag("jasper"), ids.carrier_optimization_dag("jasper")


def mark_success(day: Day, run: Any, task_id: str) -> dict[str, str]:
    """Mark a failed task as success, as Airflow does: its downstream tasks run. Return the states of the tasks."""
    day.clear(run, [task_id], downstream=True)
    with settings.Session() as session:
        for task in run.get_task_instances(session=session):
            if task.task_id == task_id:
                session.merge(task).state = TaskInstanceState.SUCCESS
        session.commit()
    return day.resume(run)


def test_an_optimization_is_not_started_without_its_session(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AirflowFailException("a fault of the tests")

    monkeypatch.setattr(complete_run, "session_to_optimize", fail)
    run = day.run(SYNC, optimization="always")
    assert run.state == "failed"
    before = len(DagRun.find(dag_id=OPTIMIZATION))
    states = mark_success(day, run, "cleanup.should_optimize")
    assert states["cleanup.trigger_optimization"] == "failed"
    assert len(DagRun.find(dag_id=OPTIMIZATION)) == before


def test_an_optimization_without_an_instance_says_which_task_to_clear(day: Day) -> None:
    run = day.run(OPTIMIZATION)
    assert run.state == "failed"
    states = mark_success(day, run, "open_instance")
    assert states["group_communication_plans"] == "failed"
    (told,) = day.rows("SELECT cause FROM amop.notification WHERE cause LIKE '%task group_communication_plans:%'")
    assert "marked as success without its work. Clear open_instance with downstream tasks" in told["cause"]
