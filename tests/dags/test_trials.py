"""``airflow tasks test``: one task alone opens no session and sends AMOP nothing; a missing provider is named."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.cli import cli_parser
from airflow.cli.commands.task_command import task_test
from airflow.models.dagrun import DagRun
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from amop import ids
from amop.runs.take_over import TRIAL_RUN_PREFIX
from amop.tasks import carrier_optimization, device_sync
from tests.worlds.dag_world import SIMS, Day
from tests.worlds.moments import machine_time

# The fixture of the DAGs shortens the delays between tries, so that Airflow may store a DAG of one version twice.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Multiple rows returned with uselist=False for lazily-loaded attribute 'DagRun.serialized_dag'"
)

DATE = "2026-11-19"
SYNC = ids.device_sync_dag("jasper")
WORKS_ALONE = {"report_failed_checks", "report_rejected"}
"""Tasks that find nothing to do, rather than miss the result of the task before them."""


def try_task(day: Day, dag_id: str, task_id: str, of: str = DATE, *, is_mapped: bool = False) -> None:
    """Run ``airflow tasks test`` of a task, of a date or of a DAG run; the task's error is only logged."""
    index = ["--map-index", "0"] if is_mapped else []
    arguments = cli_parser.get_parser().parse_args(["tasks", "test", dag_id, task_id, of, *index])
    task_test(arguments, dag=day.dags[dag_id])


def context(dag_id: str, params: dict[str, Any], run_id: str = f"{TRIAL_RUN_PREFIX}2026-11-20T00:00:00+00:00__") -> Any:
    """Return the context of a task in Airflow's temporary run, or in another one."""
    dag_run = SimpleNamespace(
        dag_id=dag_id,
        run_id=run_id,
        run_type=SimpleNamespace(value="manual"),
        run_after=machine_time(),
        logical_date=None,
        clear_number=0,
        triggering_user_name=None,
        start_date=machine_time(),
    )
    ti = SimpleNamespace(map_index=-1, task_id="open_instance")
    return {"dag_run": dag_run, "params": params, "task": SimpleNamespace(execution_timeout=None), "ti": ti}


def test_a_trial_of_select_providers_opens_no_session(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {key: day.dags["device_sync_jasper"].params[key] for key in day.dags["device_sync_jasper"].params}
    params["optimization"] = "always"
    monkeypatch.setattr(device_sync, "get_current_context", lambda: context("device_sync_jasper", params))
    (run,) = device_sync.select_providers.function("jasper")
    assert run["optimization_session_id"] is None
    assert day.rows("SELECT * FROM amop.optimization_session") == []
    assert day.amop.messages() == []


def test_a_trial_of_open_instance_checks_the_request_and_opens_no_session(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = day.dags["carrier_optimization_jasper"]
    params = {key: dag.params[key] for key in dag.params}
    assert json.dumps(params["service_provider_id"]) == "null"
    for provider, error, text in (
        (None, AirflowFailException, "service_provider_id is not set"),
        (2, AirflowFailException, "service_provider_id 2 is not a provider of integration"),
        (1, AirflowSkipException, "A trial .* opens no session"),
    ):
        given = params | {"service_provider_id": provider}
        monkeypatch.setattr(carrier_optimization, "get_current_context", lambda given=given: context(dag.dag_id, given))
        with pytest.raises(error, match=text):
            carrier_optimization.open_instance.function("jasper")
    assert day.rows("SELECT * FROM amop.optimization_session") == []
    assert day.amop.messages() == []


def test_a_map_index_that_open_instance_does_not_have_opens_nothing(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context("carrier_optimization_jasper", {"service_provider_id": 1}, run_id="manual__1")
    given["ti"].map_index = 7
    monkeypatch.setattr(carrier_optimization, "get_current_context", lambda: given)
    with pytest.raises(AirflowFailException, match="open_instance is not mapped, so it has no map index 7: repeat the"):
        carrier_optimization.open_instance.function("jasper")
    for table in ("optimization_session", "optimization_instance"):
        assert day.rows(f"SELECT * FROM amop.{table}") == []


@pytest.mark.parametrize(
    "dag_id",
    [
        SYNC,
        ids.carrier_optimization_dag("jasper"),
        ids.DEVICE_NOTIFICATION_DAG,
        ids.OPTIMIZATION_WINDOW_DAG,
        ids.FINDINGS_DAG,
        ids.REALISED_SAVINGS_DAG,
    ],
)
def test_a_trial_of_a_task_that_needs_an_earlier_one_says_how_to_run_it(
    dag_id: str, day: Day, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [task for task in day.dags[dag_id].tasks if task.upstream_task_ids and task.task_id not in WORKS_ALONE]
    assert tasks
    for task in tasks:
        caplog.clear()
        is_mapped = task.is_mapped or task.get_closest_mapped_task_group() is not None
        try_task(day, dag_id, task.task_id, is_mapped=is_mapped)
        advice = f"airflow tasks test {dag_id} {task.task_id} RUN_ID" + (" --map-index 0" if is_mapped else "")
        log = caplog.text + capsys.readouterr().out
        assert "Give the id of a DAG run that has this result instead of the date" in log, task.task_id
        assert advice in log
    assert day.amop.messages() == []
    for table in ("device_sync_run", "optimization_session", "notification"):
        assert day.rows(f"SELECT * FROM amop.{table}") == []


def test_a_trial_of_a_mapped_task_works_on_the_dag_run_that_it_is_given(
    day: Day,
) -> None:
    day.carrier.reject_api_key("api_jasper")
    run = day.run(SYNC, optimization="never")
    assert run.state == "failed"
    day.carrier.accept_api_key("api_jasper")
    day.clear(run, ["sync.fetch_devices"], downstream=False)
    try_task(day, SYNC, "sync.fetch_devices", run.run_id, is_mapped=True)
    assert day.rows("SELECT count(*) AS n FROM amop.device_staging") == [{"n": SIMS}]
    assert DagRun.find(dag_id=SYNC, run_id=run.run_id)
