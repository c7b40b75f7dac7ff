"""How long a task waits for a carrier that is away, and when an ended run may be opened again."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from amop import time_limits
from amop.carriers.circuit_breaker import LONGEST_PAUSE
from amop.carriers.errors import CarrierUnavailableError
from amop.device_sync import communication_plans
from amop.runs.first_step import RECOVERED, first_step
from amop.runs.opening import SyncRequest, open_runs
from amop.tasks import carrier_access, device_sync, frames, lineage
from amop.tasks.carrier_access import carrier_of
from amop.tasks.frames import ProviderRun, SyncWork
from amop.tasks.reopening import may_reopen_run
from amop.tasks.staging_sensor import StagingReadySensor
from tests.db.cli.test_cli import as_airflow_json
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
CONTEXT = {
    "dag_run": SimpleNamespace(clear_number=0),
    "ti": SimpleNamespace(try_number=1, max_tries=3),
    "task": SimpleNamespace(retries=3),
}


@pytest.fixture
def work(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> SyncWork:
    load_sandbox_reference(warehouse_dsn)
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    (run,) = open_runs(warehouse_dsn, SyncRequest("jasper", "device_sync_jasper", "run"), now=NOW)
    monkeypatch.setattr(carrier_access, "carrier_client", lambda *_: nullcontext())
    provider_run = ProviderRun(
        run_id=run.run_id, service_provider_id=1, service_provider_name=run.service_provider_name,
        connection_id=run.connection_id, optimization_session_id=None,
    )  # fmt: skip
    return SyncWork(warehouse_dsn, provider_run, NOW)


def test_a_task_waits_for_the_carrier_until_its_next_call_is_due(work: SyncWork) -> None:
    retry_at = NOW + timedelta(minutes=2)
    with pytest.raises(AirflowRescheduleException) as waits, carrier_of(work):
        raise CarrierUnavailableError("the carrier is not well", retry_at=retry_at)
    assert waits.value.reschedule_date == retry_at


def test_a_carrier_that_is_away_for_too_long_ends_the_run_and_says_since_when(work: SyncWork) -> None:
    retry_at = NOW + time_limits.CARRIER_OUTAGE + timedelta(seconds=1)
    with pytest.raises(AirflowFailException) as given_up, carrier_of(work):
        raise CarrierUnavailableError("the carrier is not well", retry_at=retry_at)
    assert f"has made no progress since {NOW:%Y-%m-%d %H:%M:%S} UTC" in str(given_up.value)
    assert first_step(str(given_up.value)) == RECOVERED


def test_a_fault_without_a_moment_is_left_to_airflows_retries(work: SyncWork) -> None:
    with pytest.raises(CarrierUnavailableError), carrier_of(work):
        raise CarrierUnavailableError("pages are empty")


def test_ten_minutes_of_outage_are_waited_for_and_the_sensor_never_gives_up_first() -> None:
    sensor = StagingReadySensor(task_id="wait", run={"run_id": 1})
    assert timedelta(minutes=10) + LONGEST_PAUSE < time_limits.CARRIER_OUTAGE
    assert time_limits.CARRIER_OUTAGE + LONGEST_PAUSE < sensor.no_progress_limit < time_limits.STALE_AFTER


@pytest.mark.parametrize(
    ("try_number", "max_tries", "reschedules", "may_reopen"),
    [(1, 3, 0, True), (2, 3, 0, False), (4, 3, 0, False), (1, 3, 1, False), (3, 5, 0, True), (4, 5, 0, False)],
    ids=["first try", "second try", "last try", "back from waiting", "cleared after two tries", "its second try"],
)
def test_only_an_operator_opens_an_ended_run_again(
    try_number: int, max_tries: int, reschedules: int, may_reopen: bool
) -> None:
    context = {
        "ti": SimpleNamespace(try_number=try_number, max_tries=max_tries),
        "task": SimpleNamespace(retries=3),
        "task_reschedule_count": reschedules,
    }
    assert may_reopen_run(context) is may_reopen


def test_new_communication_plans_are_handed_on_as_a_count(work: SyncWork, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:0255}" for number in range(1000)]
    monkeypatch.setattr(communication_plans, "update_communication_plans", lambda *_, **__: names)
    monkeypatch.setattr(frames, "get_current_context", lambda: CONTEXT)
    recorded: list[int] = []
    monkeypatch.setattr(lineage, "record_rows", lambda rows, *_, **__: recorded.append(rows))
    assert device_sync.update_communication_plans.function(run=work.run) == 1000
    assert recorded == [1000]
