"""A switch in a running world that lets tasks fail for good until it is turned off again.

It is Airflow's own place for such things, ``config/airflow_local_settings.py`` in the world's ``AIRFLOW_HOME``, so that
the package knows nothing of it. A fault is a file, named after DAG run, task and map index; its content is the place
that fails:

* empty: the task fails before its work begins, as if its process were lost in every try: nothing is recorded;
* ``module:name``: the task's own work fails where it calls that function, and the task records the failure.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException

HOME_VARIABLE = "AIRFLOW_HOME"
TEXT = "a fault of the tests in {task}"
"""Of every error that a fault raises: operators are notified of each cause once a day, so every task has its own."""

RUNNER = "airflow.sdk.execution_time.task_runner"
SETTINGS = "from tests.worlds.fault_switch import task_policy\n\n__all__ = ['task_policy']\n"


class FaultSwitch:
    """The switch of one world.

    Args:
        home: the world's ``AIRFLOW_HOME``.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def install(self) -> None:
        """Put the switch into a world that is not running yet."""
        settings = self._home / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(SETTINGS)

    def add(self, run_id: str, task_id: str, map_index: int, place: str = "") -> None:
        """Let a task instance fail for good at a place."""
        file = _file(self._home, run_id, task_id, map_index)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(place)

    def remove(self, run_id: str, task_id: str | None = None) -> None:
        """Remove the faults of a DAG run, or those of one task of it."""
        folder = _file(self._home, run_id, "", 0).parent
        if task_id is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            for file in folder.glob(f"{task_id}.*"):
                file.unlink()


def _file(home: Path, run_id: str, task_id: str, map_index: int) -> Path:
    return home / "faults" / run_id / f"{task_id}.{map_index}"


def task_policy(task: Any) -> None:
    """Let the process that has just read this task's DAG obey the switch: Airflow calls this for every task."""
    runner = sys.modules.get(RUNNER)
    if runner is not None and not hasattr(runner, "execute_without_faults"):
        runner.execute_without_faults = runner._execute_task  # type: ignore[attr-defined]
        runner._execute_task = _execute_task  # type: ignore[attr-defined]


def _execute_task(context: Any, ti: Any, log: Any) -> Any:
    file = _file(Path(os.environ[HOME_VARIABLE]), ti.run_id, ti.task_id, ti.map_index)
    if file.exists():
        place = file.read_text()
        fail = partial(_fail, ti.task_id)
        if not place:
            fail()
        module, _, name = place.partition(":")
        setattr(importlib.import_module(module), name, fail)
    return sys.modules[RUNNER].execute_without_faults(context=context, ti=ti, log=log)


def _fail(task_id: str, *_: Any, **__: Any) -> NoReturn:
    raise AirflowFailException(TEXT.format(task=task_id))
