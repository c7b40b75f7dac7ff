"""What the DAGs look like from outside: exact ids, order, parameters, docs, limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from amop import ids
from amop.config import INTEGRATIONS, RETENTION

ROOT = Path(__file__).resolve().parents[2]

SYNC_TASKS = {
    "select_providers": set(),
    "sync.queue_sync": {"select_providers"},
    "sync.fetch_devices": {"sync.queue_sync"},
    "sync.fetch_usage": {"sync.fetch_devices"},
    "sync.publish_notification": {"sync.fetch_usage"},
    "sync.archive_pages": {"sync.fetch_usage"},
    "cleanup.wait_for_staging": {"select_providers", "sync.fetch_usage"},
    "cleanup.merge_devices": {"cleanup.wait_for_staging"},
    "cleanup.merge_usage": {"cleanup.merge_devices"},
    "cleanup.update_communication_plans": {"cleanup.merge_usage"},
    "cleanup.check_quality": {"cleanup.update_communication_plans"},
    "cleanup.publish_summary": {"cleanup.check_quality"},
    "cleanup.notify_amop": {"cleanup.publish_summary"},
    "cleanup.should_optimize": {"cleanup.notify_amop"},
    "cleanup.trigger_optimization": {"cleanup.should_optimize"},
}
OPTIMIZING_TASKS = {"cleanup.should_optimize", "cleanup.trigger_optimization"}
BACK_FILL_TASKS = {
    "select_back_fill": set(),
    "replay_archive": {"select_back_fill"},
    "optimize_after_back_fill": {"replay_archive"},
}
OPTIMIZATION_TASKS = [
    "open_instance",
    "group_communication_plans",
    "validate_groups",
    "project_usage",
    "assign_base",
    "solve",
    "write_results",
    "write_workbook",
    "publish_report",
    "mail_report",
    "plan_changes",
    "approve_changes",
    "record_approval",
    "apply_changes",
    "verify_changes",
]


@pytest.fixture(scope="module")
def dags(airflow_database: Path) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(ROOT / "dags")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_there_are_three_dags_for_each_optimized_integration_one_for_each_other_and_the_ones_for_all(
    dags: dict[str, Any],
) -> None:
    expected = {
        ids.AMOP_RELAY_DAG,
        ids.DEVICE_NOTIFICATION_DAG,
        ids.FINDINGS_DAG,
        ids.MAINTENANCE_DAG,
        ids.OPTIMIZATION_WINDOW_DAG,
        ids.REALISED_SAVINGS_DAG,
    }
    for name in ("jasper", "pod19", "tmobile_jasper", "rogers"):
        expected |= {f"device_sync_{name}", f"carrier_optimization_{name}", f"what_if_{name}"}
    assert set(dags) == expected | {"device_sync_thingspace", "device_sync_teal"}
    assert list(INTEGRATIONS) == ["jasper", "pod19", "tmobile_jasper", "rogers", "thingspace", "teal"]


OPTIMIZED = [name for name, integration in INTEGRATIONS.items() if integration.supports_optimization]


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_sync_and_cleanup_stand_side_by_side(dags: dict[str, Any], integration: str) -> None:
    dag = dags[f"device_sync_{integration}"]
    # Tasks that read the run also follow the task that their group is mapped over.
    optimizing = set() if integration in OPTIMIZED else {*OPTIMIZING_TASKS, "optimize_after_back_fill"}
    for task in dag.tasks:
        expected = (SYNC_TASKS | BACK_FILL_TASKS)[task.task_id]
        assert set(task.upstream_task_ids) - {"select_providers"} == expected - {"select_providers"}
    assert {task.task_id for task in dag.tasks} == (set(SYNC_TASKS) | set(BACK_FILL_TASKS)) - optimizing
    # The sensor starts with the sync; its arrow from fetch_usage only clears it together with a cleared fetch task.
    sensor = dag.get_task("cleanup.wait_for_staging")
    assert sensor.trigger_rule == "one_success"
    assert "select_providers" in sensor.upstream_task_ids
    for task in dag.tasks:
        group = task.task_group.group_id
        in_group = "back_fill" if task.task_id in BACK_FILL_TASKS else task.task_id.rpartition(".")[0]
        assert group == (in_group or None)
    # The grid shows a group as one row; that of the back-fill is the last one.
    rows = [node.node_id for node in dag.task_group.topological_sort()]
    assert rows == ["select_providers", "sync", "cleanup", "back_fill"]


@pytest.mark.parametrize("integration", OPTIMIZED)
def test_the_optimization_is_one_line_of_tasks_with_the_mail_beside_the_changes(
    dags: dict[str, Any], integration: str
) -> None:
    dag = dags[f"carrier_optimization_{integration}"]
    assert [task.task_id for task in dag.topological_sort()] == OPTIMIZATION_TASKS
    before = dict(zip(OPTIMIZATION_TASKS[1:], OPTIMIZATION_TASKS, strict=False)) | {"plan_changes": "publish_report"}
    for task in dag.tasks:
        expected = {before[task.task_id]} if task.task_id in before else set()
        assert expected <= set(task.upstream_task_ids)


@pytest.mark.parametrize("integration", OPTIMIZED)
def test_changes_are_applied_after_an_approval_or_straight_after_the_plan(
    dags: dict[str, Any], integration: str
) -> None:
    dag = dags[f"carrier_optimization_{integration}"]
    apply = dag.get_task("apply_changes")
    assert apply.upstream_task_ids >= {"plan_changes", "record_approval"}
    assert apply.trigger_rule == "none_failed_min_one_success"
    assert dag.get_task("plan_changes").downstream_task_ids == {"approve_changes", "apply_changes"}
    assert dag.get_task("verify_changes").upstream_task_ids >= {"apply_changes"}


@pytest.mark.parametrize("integration", OPTIMIZED)
def test_a_wait_for_a_person_neither_ends_the_run_nor_keeps_others_out(dags: dict[str, Any], integration: str) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator

    dag = dags[f"carrier_optimization_{integration}"]
    assert dag.dagrun_timeout > dag.get_task("approve_changes").response_timeout > timedelta(days=31)
    assert dag.max_active_runs == 100
    question = dag.get_task("approve_changes")
    assert isinstance(question, HITLOperator)
    assert (question.options, question.defaults) == (["Approve", "Reject"], ["Reject"])
    assert list(question.params) == ["comment"]
    assert question.max_active_tis_per_dag is None
    for name in OPTIMIZATION_TASKS[: OPTIMIZATION_TASKS.index("plan_changes")]:
        assert dag.get_task(name).max_active_tis_per_dag == 4, name


def test_the_trigger_of_the_question_is_rebuilt_as_it_was() -> None:
    from airflow.sdk.module_loading import import_string

    from amop.tasks.approval import PlanChangeApprovalTrigger

    ti_id = "019abcde-0000-7000-8000-000000000001"
    path, arguments = PlanChangeApprovalTrigger(instance_id=12, ti_id=ti_id).serialize()
    again = import_string(path)(**arguments)
    assert again.serialize() == (path, arguments)
    assert (again.instance_id, str(again.ti_id), again.defaults) == (12, ti_id, ["Reject"])


def test_the_parameters_are_those_of_the_contract(dags: dict[str, Any]) -> None:
    for name in INTEGRATIONS:
        sync = dags[f"device_sync_{name}"].params
        assert {key: sync[key] for key in sync} == {
            "service_provider_ids": [],
            "full_sync": False,
            "modified_since": None,
            "optimization": "auto",
            "allow_mass_deactivation": False,
            "allow_implausible": False,
            "max_tries": None,
            "delay": 300,
            "no_progress_limit": 1800,
            "notify_amop_of_back_fill": False,
        }
        if name not in OPTIMIZED:
            continue
        optimization = dags[f"carrier_optimization_{name}"].params
        assert set(optimization) == {
            "service_provider_id",
            "billing_period_id",
            "optimization_session_id",
            "apply_changes",
        }
        assert optimization["apply_changes"] == "provider_setting"


def test_the_form_of_the_maintenance_has_every_age_and_refuses_one_that_is_too_short(dags: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = dags[ids.MAINTENANCE_DAG].params
    assert {name: params[name] for name in params} == {name: age.days for name, age in RETENTION.items()}
    for name, age in RETENTION.items():
        assert params.get_param(name).resolve(age.minimum_days) == age.minimum_days
        with pytest.raises(ParamValidationError):
            params.get_param(name).resolve(age.minimum_days - 1)


@pytest.mark.parametrize("wrong", [{"optimization": "maybe"}, {"service_provider_ids": [0]}, {"full_sync": "yes"}])
def test_a_wrong_parameter_is_refused_by_its_schema(dags: dict[str, Any], wrong: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    ((name, value),) = wrong.items()
    with pytest.raises(ParamValidationError):
        dags["device_sync_jasper"].params.get_param(name).resolve(value)


def test_every_dag_says_what_it_does_whose_it_is_and_how_long_it_may_take(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert "### What it does" in dag.doc_md and "### When it fails" in dag.doc_md
        assert dag.description and ids.TAG_AMOP in dag.tags and set(dag.tags) <= ids.TAGS
        assert dag.dagrun_timeout is not None
        assert not dag.catchup
        for task in dag.tasks:
            assert task.owner == ids.OWNER, task.task_id
            assert task.execution_timeout is not None, task.task_id
            assert task.doc_md, task.task_id
            assert task.retries >= 1, task.task_id


def test_every_parameter_has_a_title_and_a_description(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.description and param.schema.get("title"), (dag.dag_id, name)


def test_tasks_that_call_a_carrier_are_in_its_pool_and_only_they(dags: dict[str, Any]) -> None:
    for name in INTEGRATIONS:
        in_pool = {task.task_id for task in dags[f"device_sync_{name}"].tasks if task.pool == ids.carrier_pool(name)}
        assert in_pool == {"sync.fetch_devices", "sync.fetch_usage"}
        if name not in OPTIMIZED:
            continue
        optimization = dags[f"carrier_optimization_{name}"]
        in_pool = {task.task_id for task in optimization.tasks if task.pool == ids.carrier_pool(name)}
        assert in_pool == {"apply_changes", "verify_changes"}


def test_every_mapped_task_is_named_after_its_provider(dags: dict[str, Any]) -> None:
    for name in INTEGRATIONS:
        for task in dags[f"device_sync_{name}"].tasks:
            is_mapped = task.task_id not in {"select_providers", "select_back_fill"}
            assert bool(task.map_index_template) == is_mapped, task.task_id


def test_realised_savings_follow_any_integration_s_sync_and_stand_beside_it(dags: dict[str, Any]) -> None:
    dag = dags[ids.REALISED_SAVINGS_DAG]
    watched = {asset.name for asset in dag.schedule.objects}
    assert watched == {ids.devices_asset(name) for name in OPTIMIZED}
    assert dag.task_dict["measure_savings"].upstream_task_ids == {"find_closed_periods"}
    assert dag.task_dict["measure_savings"].map_index_template
    produced = {
        outlet.name for name in INTEGRATIONS for task in dags[f"device_sync_{name}"].tasks for outlet in task.outlets
    }
    assert watched <= produced


def test_findings_follow_any_integration_s_sync_and_stand_beside_it(dags: dict[str, Any]) -> None:
    dag = dags[ids.FINDINGS_DAG]
    assert {asset.name for asset in dag.schedule.objects} == {ids.devices_asset(name) for name in INTEGRATIONS}
    assert dag.task_dict["check_provider"].upstream_task_ids == {"find_providers_to_check"}
    assert dag.task_dict["check_provider"].map_index_template


def test_the_documented_list_is_that_of_the_dags(dags: dict[str, Any]) -> None:
    from tools.dag_list import dag_list_markdown

    assert (ROOT / "docs" / "DAGS.md").read_text(encoding="utf-8") == dag_list_markdown(), "run: make docs"


def test_dag_files_hold_wiring_only() -> None:
    for path in (ROOT / "dags").glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 100, path.name
        for word in ("SELECT ", "requests", "os.getenv", "os.environ", "Variable.get"):
            assert word not in text.partition('"""\n\nfrom')[2], (path.name, word)


def test_a_sync_of_an_integration_without_optimization_ends_with_its_notice(airflow_database: Path) -> None:
    from airflow.sdk import DAG

    from amop.tasks.device_sync import cleanup, select_providers, sync

    synced = replace(INTEGRATIONS["jasper"], name="synced", supports_optimization=False)
    with DAG("device_sync_synced", schedule=None) as dag:
        runs = select_providers(synced.name)
        sync.partial(integration=synced).expand(run=runs)
        cleanup.partial(integration=synced).expand(run=runs)
    assert set(dag.task_dict) == set(SYNC_TASKS) - OPTIMIZING_TASKS
    assert dag.task_dict["cleanup.notify_amop"].downstream_task_ids == set()
