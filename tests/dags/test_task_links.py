"""The link from a task to the page, as Airflow's API server asks for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from amop.web.task_links import view_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("dag_id", "task_id", "run_id", "view"),
    [
        ("device_sync_jasper", "sync.fetch_devices", "scheduled__2026", ""),
        ("device_sync_rogers", "cleanup.check_quality", "manual__1", "quarantine"),
        ("device_sync_pod19", "cleanup.notify_amop", "manual__1", "outbox"),
        ("carrier_optimization_jasper", "approve_changes", "session_17", "session/17"),
        ("carrier_optimization_jasper", "solve", "manual__session_17", "sessions"),
        ("carrier_optimization_jasper", "solve", "session_1/../../logout", "sessions"),
        ("realised_savings", "measure_savings", "asset__1", "savings"),
        ("findings", "check_provider", "asset__1", "findings"),
        ("what_if_rogers", "compute_what_if", "manual__1", "what-if"),
        ("amop_relay", "deliver", "scheduled__1", "outbox"),
        ("maintenance", "remove_staging", "scheduled__1", None),
        ("device_sync_of_another_package", "solve", "session_17", None),
    ],
)
def test_a_task_leads_to_the_view_that_shows_what_it_did(
    dag_id: str, task_id: str, run_id: str, view: str | None
) -> None:
    assert view_of(dag_id, task_id, run_id) == view


def test_airflow_offers_the_link_on_ordinary_and_on_mapped_tasks(
    airflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow import plugins_manager
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team/")
    assert "AMOP" in {link.name for link in plugins_manager.get_global_operator_extra_links()}
    dag = DagSerialization.from_dict(DagSerialization.to_dict(DagBag(ROOT / "dags").dags["findings"]))
    found = {task_id: _link(dag.get_task(task_id)) for task_id in ("find_providers_to_check", "check_provider")}
    assert found == dict.fromkeys(found, "/team/amop/findings")


def _link(task: Any) -> str:
    assert "AMOP" in task.extra_links
    key = SimpleNamespace(dag_id="findings", task_id=task.task_id, run_id="asset__1")
    return str(task.get_extra_links(SimpleNamespace(key=key), "AMOP"))
