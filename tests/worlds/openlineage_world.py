"""Airflow's OpenLineage provider in the process of a test: the settings of docs/deploy.md, a file as catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.listeners import hookimpl
from airflow.providers.openlineage import conf
from airflow.sdk.listener import get_listener_manager

from amop.tasks.openlineage import LineageExtractor

NAMESPACE = "fleet"


class Catalogue:
    """The events that a catalogue would have received."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """Return the events of a type, such as ``COMPLETE``, in order."""
        events = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [event for event in events if event["eventType"] == event_type]

    def tasks(self, event_type: str = "COMPLETE") -> list[dict[str, Any]]:
        """Return the tasks whose events of a type name datasets of the package, with the rows of each dataset."""
        found = [
            {
                "task": event["job"]["name"],
                "reads": _rows(event["inputs"], "inputFacets", "inputStatistics"),
                "writes": _rows(event["outputs"], "outputFacets", "outputStatistics"),
            }
            for event in self.events(event_type)
        ]
        return [task for task in found if task["reads"] or task["writes"]]


def _rows(datasets: list[dict[str, Any]], facets: str, statistics: str) -> dict[str, int | None]:
    # In one process, a task's files would be counted for those after it, too: the provider keeps them by process.
    return {
        each["name"]: each.get(facets, {}).get(statistics, {}).get("rowCount")
        for each in datasets
        if each["namespace"] == NAMESPACE
    }


class _TaskListener:
    """Passes on what happens to tasks; events of DAG runs come from the scheduler, by a pool of processes."""

    def __init__(self, listener: Any) -> None:
        self.listener = listener

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self.listener.on_task_instance_running(previous_state, task_instance)

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        self.listener.on_task_instance_success(previous_state, task_instance)


@contextmanager
def openlineage(path: Path) -> Iterator[Catalogue]:
    """Send the events of the tasks of this process to a file."""
    settings = {
        "TRANSPORT": json.dumps({"type": "file", "log_file_path": str(path), "append": True}),
        "EXTRACTORS": f"{LineageExtractor.__module__}.{LineageExtractor.__qualname__}",
        "NAMESPACE": NAMESPACE,
        "EXECUTE_IN_THREAD": "True",  # by default the process forks for every event, here that of all tests
    }
    manager = get_listener_manager()  # first: it loads the provider's plugin, which without settings listens to nothing
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"AIRFLOW__OPENLINEAGE__{name}", value)
        _forget_settings()
        from airflow.providers.openlineage.plugins.listener import OpenLineageListener

        listener = _TaskListener(OpenLineageListener())
        manager.add_listener(listener)
        try:
            yield Catalogue(path)
        finally:
            manager.pm.unregister(listener)
    _forget_settings()


def _forget_settings() -> None:
    for function in vars(conf).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
