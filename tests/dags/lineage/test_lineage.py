"""Lineage from the carrier's device list to its plan changes: what each task reads and writes, and how many rows.

The golden files name every task with data of the package, and the figure of the warehouse that each row count equals.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import select

from amop import ids
from amop.config import INTEGRATIONS
from amop.tasks import lineage
from amop.tasks.openlineage import LineageExtractor
from sandbox.carrier.running import running_carrier
from tests.dags.device_sync.test_device_notification import ExistingSystem
from tests.dags.optimization.test_optimization_dag_runs import optimize
from tests.worlds.dag_world import CANARY, SIMS, Day
from tests.worlds.openlineage_world import openlineage
from tests.worlds.sandbox_reference import load_sandbox_reference

GOLDEN = Path(__file__).parent
WITHOUT_DATA = {
    "select_providers", "sync.queue_sync", "cleanup.wait_for_staging", "cleanup.should_optimize",
    "cleanup.trigger_optimization", "select_back_fill", "optimize_after_back_fill", "open_instance",
    "receive_messages", "report_rejected",
}  # fmt: skip
"""Tasks that decide, wait or start others."""
NOT_IN_A_DAY = {"replay_archive", "approve_changes", "record_approval"}
"""Tasks of a back-fill, and of changes that need an approval."""


def golden(name: str) -> list[dict[str, Any]]:
    """Return the tasks of a golden file: ``task`` with what it ``reads`` and ``writes``, asset by figure."""
    tasks: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return tasks


def golden_of(integration: str) -> list[dict[str, Any]]:
    """Return the golden file of an integration: what is optimized is like Jasper, what is only synced like Teal."""
    name = "jasper" if INTEGRATIONS[integration].supports_optimization else "teal"
    text = json.dumps(golden(name))
    return list(json.loads(text.replace(f"_{name}.", f"_{integration}.").replace(f'_{name}"', f'_{integration}"')))


def names(assets: list[Any]) -> list[str]:
    return [asset.name for asset in assets]


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_the_lineage_of_an_integration_is_that_of_its_golden_file(dags: dict[str, Any], integration: str) -> None:
    known = (ids.device_sync_dag(integration), ids.carrier_optimization_dag(integration))
    tasks = [task for dag_id in known if dag_id in dags for task in dags[dag_id].topological_sort()]
    found = {f"{task.dag_id}.{task.task_id}": (names(task.inlets), names(task.outlets)) for task in tasks}
    expected = {task["task"]: (list(task["reads"]), list(task["writes"])) for task in golden_of(integration)}
    assert {name: found[name] for name in found if any(found[name])} == expected
    others = {task.task_id for task in tasks if not task.inlets + task.outlets}
    assert others <= WITHOUT_DATA, others - WITHOUT_DATA


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_every_asset_that_a_task_reads_is_written_by_one_before_it_but_the_carriers_list(integration: str) -> None:
    written = {ids.carrier_list_asset(integration), ids.archive_asset(integration)}  # a back-fill reads the archive
    for task in golden_of(integration):
        assert set(task["reads"]) <= written, task
        written |= set(task["writes"])
    last = (
        ids.carrier_plans_asset if INTEGRATIONS[integration].supports_optimization else ids.devices_asset
    )(integration)  # fmt: skip
    assert last in written


def test_the_events_of_a_day_carry_its_runs_and_their_rows_in_airflow_and_in_openlineage(
    day: Day, tmp_path: Path
) -> None:
    last = last_event()
    with openlineage(tmp_path / "events.jsonl") as catalogue:
        run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    (synced,) = day.rows("SELECT * FROM amop.device_sync_run")
    figures = figures_of_sync(day, tmp_path) | figures_of_optimization(day)
    read_back = run.get_task_instance("verify_changes").xcom_pull(task_ids="verify_changes")["verified"]
    assert 0 < read_back <= figures["plan changes applied"]  # some were read back while others were applied
    figures["plan changes read back"] = read_back
    assert sorted_by_task(catalogue.tasks()) == sorted_by_task(with_figures("jasper", figures))
    started = [(task["task"], list(task["reads"]), list(task["writes"])) for task in catalogue.tasks("START")]
    assert started == [(task["task"], list(task["reads"]), list(task["writes"])) for task in catalogue.tasks()]

    events = {(event.source_task_id, event.asset.name): event.extra for event in events_after(last)}
    of_run = {"run_id": synced["id"], "service_provider_id": 1}
    of_instance = {"instance_id": instance["id"], "session_id": instance["session_id"]}
    for task in catalogue.tasks():
        task_id = task["task"].partition(".")[2]
        for asset, rows in task["writes"].items():
            event = events.pop((task_id, asset))
            ids_of_event = of_run if task["task"].startswith("device_sync") else of_instance
            assert event | ids_of_event == event and event["rows"] == rows, task
    assert events == {}


def test_a_sync_without_an_optimization_and_a_clean_up_of_any_integration_name_their_own_data(
    day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_sandbox_reference(day.dsn, has_all=True)
    existing = ExistingSystem(day)
    existing.stage()
    existing.send()
    with running_carrier(
        devices_per_account=12, accounts=("teal",), limits_are_enforced=False, api_key=CANARY
    ) as carrier:
        connection = {"conn_type": "http", "host": carrier.base_url, "login": "api_teal", "password": CANARY}
        monkeypatch.setenv("AIRFLOW_CONN_CARRIER_TEAL", json.dumps(connection))
        with openlineage(tmp_path / "events.jsonl") as catalogue:
            assert day.run(ids.device_sync_dag("teal")).state == "success"
    figures = figures_of_sync(day, tmp_path, provider=6)
    assert sorted_by_task(catalogue.tasks()) == sorted_by_task(with_figures("teal", figures))

    last = last_event()
    with openlineage(tmp_path / "notified.jsonl") as catalogue:
        assert day.run(ids.DEVICE_NOTIFICATION_DAG).state == "success"
    figures = figures_of_sync(day, tmp_path, provider=1)
    assert sorted_by_task(catalogue.tasks()) == sorted_by_task(with_figures("device_notification", figures))
    assert catalogue.tasks("START") == []  # which integration it is is not known yet
    written = {(event.source_task_id, event.asset.name): event.extra["rows"] for event in events_after(last)}
    assert written == {
        (task["task"].partition(".")[2], asset): rows
        for task in catalogue.tasks()
        for asset, rows in task["writes"].items()
    }


def test_a_clean_up_of_any_integration_may_read_the_staging_of_each(dags: dict[str, Any]) -> None:
    dag = dags[ids.DEVICE_NOTIFICATION_DAG]
    assert names(dag.get_task("cleanup.merge_devices").inlets) == [ids.staging_asset(name) for name in INTEGRATIONS]
    assert names(dag.get_task("cleanup.notify_amop").inlets) == [ids.merged_asset(name) for name in INTEGRATIONS]
    others = {task.task_id for task in dag.tasks if not task.inlets + task.outlets}
    assert others <= WITHOUT_DATA


def test_tasks_of_other_packages_are_left_to_the_provider() -> None:
    assert lineage.dataset_names([Asset("s3://bucket/key"), Asset("amop_devices_of_others")], None) == []


def test_the_documented_setting_names_the_extractor() -> None:
    text = (GOLDEN.parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"^AIRFLOW__OPENLINEAGE__EXTRACTORS=(\S+)$", text, re.MULTILINE)
    assert documented == f"{LineageExtractor.__module__}.{LineageExtractor.__qualname__}"


def with_figures(name: str, figures: dict[str, int]) -> list[dict[str, Any]]:
    """Return the tasks of a golden file that a day runs, with the value of each figure."""
    return [
        {
            "task": task["task"],
            **{
                key: {asset: None if figure is None else figures[figure] for asset, figure in task[key].items()}
                for key in ("reads", "writes")
            },
        }
        for task in golden(name)
        if task["task"].partition(".")[2] not in NOT_IN_A_DAY
    ]


def sorted_by_task(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(tasks, key=lambda task: task["task"])


def figures_of_sync(day: Day, folder: Path, *, provider: int = 1) -> dict[str, int]:
    """Return the figures of the only run of a provider, as the golden files name them."""
    (run,) = day.rows(f"SELECT * FROM amop.device_sync_run WHERE service_provider_id = {provider}")
    written = run["devices_inserted"] + run["devices_updated"] + run["devices_vanished"]
    assert run["devices_seen"] == written > 0  # the first sync: every SIM is new
    objects = list((folder / "archive").glob(f"*/{provider}/*/*"))
    responses = sum(len(gzip.decompress(path.read_bytes()).splitlines()) - 1 for path in objects)
    return {
        "SIMs listed": run["devices_seen"],
        "work rows": run["work_rows_queued"],
        "responses": responses,
        "SIMs written": written,
        "SIMs with usage": run["usage_updated"],
        "new communication plans": len(run["summary"]["unassociated_communication_plans"]),
    }


def figures_of_optimization(day: Day) -> dict[str, int]:
    """Return the figures of the only optimization, as the golden files name them."""
    counts = {
        "comm groups": "SELECT count(*) AS count FROM amop.optimization_comm_group",
        "SIMs": "SELECT count(*) AS count FROM amop.device WHERE service_provider_id = 1",
        "SIMs placed": "SELECT device_count AS count FROM amop.optimization_instance",
        "SIMs billed": "SELECT device_count + kept_device_count AS count FROM amop.optimization_instance",
        "plan changes": "SELECT count(*) AS count FROM amop.rate_plan_change",
        "plan changes applied": "SELECT count(*) AS count FROM amop.rate_plan_change WHERE state = 'applied'",
    }
    figures = {name: int(day.rows(statement)[0]["count"]) for name, statement in counts.items()}
    assert figures["SIMs"] == SIMS and figures["plan changes applied"] == figures["plan changes"] > 0
    return figures


def last_event() -> int:
    with create_session() as session:
        return int(session.scalar(select(AssetEvent.id).order_by(AssetEvent.id.desc()).limit(1)) or 0)


def events_after(last: int) -> list[Any]:
    with create_session() as session:
        events = list(session.scalars(select(AssetEvent).where(AssetEvent.id > last)))
        for event in events:
            assert event.asset.name
        return events
