"""``airflow tasks test``: one task alone opens no session and sends AMOP nothing; a missing provider is named."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from amop.runs.take_over import TRIAL_RUN_PREFIX
from amop.tasks import carrier_optimization, device_sync
from tests.worlds.dag_world import Day
from tests.worlds.moments import machine_time


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
    return {"dag_run": dag_run, "params": params, "task": SimpleNamespace(execution_timeout=None)}


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
