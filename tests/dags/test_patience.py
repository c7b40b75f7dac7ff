"""How long a task waits for a carrier that is away, and when an ended run may be opened again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from amop import time_limits
from amop.carriers.errors import CarrierUnavailableError
from amop.domain.circuit_breaker import LONGEST_PAUSE
from amop.orchestration import failures
from amop.orchestration.failures import may_reopen_run, patience_with_carrier
from amop.orchestration.staging_sensor import StagingReadySensor
from amop.pipeline.sync_runs import SyncRequest, open_runs
from amop.warehouse.reference import load_reference
from sandbox.fleet import write_reference
from tests.db.test_cli import as_airflow_json

NOW = datetime.now(UTC)


@pytest.fixture
def run_id(warehouse_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    write_reference(tmp_path / "reference.yaml")
    load_reference(warehouse_dsn, tmp_path / "reference.yaml")
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    return int(open_runs(warehouse_dsn, SyncRequest("jasper", "device_sync_jasper", "run"), now=NOW)[0]["run_id"])


def test_a_task_waits_for_the_carrier_until_its_next_call_is_due(run_id: int) -> None:
    retry_at = NOW + timedelta(minutes=2)
    with pytest.raises(AirflowRescheduleException) as waits, patience_with_carrier(run_id):
        raise CarrierUnavailableError("the carrier is not well", retry_at=retry_at)
    assert waits.value.reschedule_date == retry_at


def test_a_carrier_that_is_away_for_too_long_ends_the_run_and_says_since_when(run_id: int) -> None:
    retry_at = NOW + time_limits.CARRIER_OUTAGE + timedelta(seconds=1)
    with pytest.raises(AirflowFailException) as given_up, patience_with_carrier(run_id):
        raise CarrierUnavailableError("the carrier is not well", retry_at=retry_at)
    assert f"has not moved since {NOW:%Y-%m-%d %H:%M:%S} UTC" in str(given_up.value)
    assert "clear this task when the carrier is back" in str(given_up.value)


def test_a_fault_without_a_moment_is_left_to_airflows_retries(run_id: int) -> None:
    with pytest.raises(CarrierUnavailableError), patience_with_carrier(run_id):
        raise CarrierUnavailableError("pages are empty")


def test_ten_minutes_of_outage_are_waited_for_and_the_sensor_never_gives_up_first() -> None:
    sensor = StagingReadySensor(task_id="wait", run={"run_id": 1})
    assert timedelta(minutes=10) + LONGEST_PAUSE < time_limits.CARRIER_OUTAGE
    assert time_limits.CARRIER_OUTAGE + LONGEST_PAUSE < sensor.no_progress_limit < time_limits.SILENCE


@pytest.mark.parametrize(
    ("try_number", "max_tries", "reschedules", "may_reopen"),
    [(1, 3, 0, True), (2, 3, 0, False), (4, 3, 0, False), (1, 3, 1, False), (3, 5, 0, True), (4, 5, 0, False)],
    ids=["first try", "second try", "last try", "back from waiting", "cleared after two tries", "its second try"],
)
def test_only_an_operator_opens_an_ended_run_again(
    monkeypatch: pytest.MonkeyPatch, try_number: int, max_tries: int, reschedules: int, may_reopen: bool
) -> None:
    context = {
        "ti": SimpleNamespace(try_number=try_number, max_tries=max_tries),
        "task": SimpleNamespace(retries=3),
        "task_reschedule_count": reschedules,
    }
    monkeypatch.setattr(failures, "get_current_context", lambda: context)
    assert may_reopen_run() is may_reopen
