"""The sync: device list and usage are staged, also after kills and faults."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from amop.carriers.errors import CarrierAuthenticationError
from amop.device_sync import fetch
from amop.runs.errors import PipelineError, StepMissingError, SyncRunEndedError
from amop.runs.opening import SyncRequest, open_runs
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import present
from tests.worlds.sync_world import JASPER, SyncWorld

SIMS = 120
LIST_PAGES = 3


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier)


class Killed(BaseException):
    """The process is killed in the middle of a task."""


class KilledClient:
    """A client whose process is killed at the n-th call."""

    def __init__(self, client: Any, calls: int) -> None:
        self._client = client
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            if self._left == 0:
                raise Killed
            self._left -= 1
            return method(*arguments, **named)

        return call


def test_every_page_of_the_list_and_of_the_usage_is_staged_once(world: SyncWorld) -> None:
    run_id = world.open("first")
    world.stage(run_id)
    assert world.run(run_id)["devices_seen"] == SIMS
    assert world.count("device_staging") == SIMS
    assert world.count("device_sync_page") == LIST_PAGES
    assert world.count("device_usage_to_process") == 0
    assert world.carrier.stats("api_jasper")["calls_by_endpoint"]["GET /devices"] == LIST_PAGES


@pytest.mark.parametrize("calls_before_the_kill", [0, 1, 2])
def test_a_killed_list_resumes_at_the_page_where_it_stopped(world: SyncWorld, calls_before_the_kill: int) -> None:
    run_id = world.open("killed")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        with pytest.raises(Killed):
            fetch.fetch_devices(world.dsn, run_id, KilledClient(client, calls_before_the_kill))
        assert fetch.fetch_devices(world.dsn, run_id, client) == SIMS
    assert world.carrier.stats("api_jasper")["calls"] == LIST_PAGES
    assert world.count("device_staging") == SIMS


def test_usage_killed_at_every_call_ends_with_the_same_staging_and_no_extra_call(world: SyncWorld) -> None:
    whole = world.open("whole")
    world.stage(whole)
    calls = world.carrier.stats("api_jasper")["calls"]
    staged = "SELECT iccid, usage_type, usage FROM amop.device_usage_staging WHERE run_id = %s ORDER BY 1, 2, 3"
    expected = world.rows(staged, whole)
    world.merge(whole)
    world.carrier.reset_stats()

    killed = world.open("killed", full_sync=True)
    fetch.queue_sync(world.dsn, killed)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, killed, client)
        for _ in range(500):
            try:
                fetch.fetch_usage(world.dsn, killed, KilledClient(client, 1))
                break
            except Killed:
                continue
    assert world.rows(staged, killed) == expected
    # Both runs read 50 details: the second one those of the next 50 SIMs.
    assert world.carrier.stats("api_jasper")["calls"] == calls


def test_no_sim_is_missed_if_another_one_is_touched_during_the_scan(world: SyncWorld) -> None:
    first_iccids = sorted(world.truth())[:2]
    world.carrier.add_fault(method="GET", path="/rws/api/v1/devices", page_number=2, times=1, touch=first_iccids)
    run_id = world.open("touched")
    world.stage(run_id)
    run = world.run(run_id)
    assert run["list_is_exact"]
    assert run["devices_seen"] == SIMS
    assert {row["iccid"] for row in world.rows("SELECT DISTINCT iccid FROM amop.device_staging")} == set(world.truth())


def test_a_wrong_api_key_ends_after_one_call_and_stages_nothing(world: SyncWorld) -> None:
    world.carrier.reject_api_key("api_jasper")
    run_id = world.open("wrong-key")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client, pytest.raises(CarrierAuthenticationError, match="connection carrier_jasper"):
        fetch.fetch_devices(world.dsn, run_id, client)
    assert world.carrier.stats("api_jasper")["calls"] == 1
    assert world.count("device_staging") == 0


def test_usage_is_not_read_where_the_task_of_the_list_was_marked_as_success(world: SyncWorld) -> None:
    run_id = world.open("marked")
    fetch.queue_sync(world.dsn, run_id)
    text = f"fetch_devices of run {run_id} has not done its work, although a later task has started"
    with world.client() as client, pytest.raises(StepMissingError, match=text):
        fetch.fetch_usage(world.dsn, run_id, client)
    assert world.carrier.stats("api_jasper")["calls"] == 0
    assert world.run(run_id)["status"] == "running", "the task records the failure; the sensor then ends at once"


def test_a_sim_that_the_carrier_refuses_is_quarantined_and_the_run_continues(world: SyncWorld) -> None:
    shared = world.rows("SELECT rate_plan_code FROM amop.carrier_rate_plan WHERE is_shared AND service_provider_id = 1")
    on_shared_plans = [
        iccid for iccid, sim in world.truth().items() if sim["rate_plan"] in {row["rate_plan_code"] for row in shared}
    ]
    path = f"/rws/api/v1/devices/{on_shared_plans[0]}/ctdUsages"
    world.carrier.add_fault(path=path, times=None, status=404, error_message="Resource not found")
    run_id = world.open("refused-sim")
    world.stage(run_id)
    rejected = world.rows("SELECT kind, record_key, raw, reason FROM amop.device_quarantine")
    assert [(row["kind"], row["record_key"]) for row in rejected] == [("usage", on_shared_plans[0])]
    assert rejected[0]["raw"]["status"] == 404
    assert "Resource not found" in rejected[0]["reason"]
    assert world.count("device_usage_to_process") == 0


def test_a_second_run_of_a_provider_is_refused_at_once_and_names_the_holder(world: SyncWorld) -> None:
    first = world.open("first")
    second = world.open("second")
    assert world.run(second)["status"] == "refused"
    with pytest.raises(SyncRunEndedError, match=rf"held by run {first} of device_sync_jasper \(first"):
        fetch.queue_sync(world.dsn, second)


def test_a_run_without_progress_for_an_hour_is_taken_over(world: SyncWorld) -> None:
    now = present()
    first = world.open("first", now=now)
    second = world.open("second", now=now + timedelta(minutes=61))
    assert world.run(first)["status"] == "failed"
    assert "taken over by second" in world.run(first)["error"]
    assert world.run(second)["status"] == "running"


def test_a_run_that_airflow_tasks_test_left_behind_is_taken_over_at_once(world: SyncWorld) -> None:
    trial = world.open("__airflow_temporary_run_2026-11-20T00:00:00+00:00__")
    real = world.open("real")
    assert (world.run(trial)["status"], world.run(real)["status"]) == ("failed", "running")


def test_a_repeated_request_for_the_same_dag_run_finds_the_same_run(world: SyncWorld) -> None:
    assert world.open("same", optimization="always") == world.open("same", optimization="always")
    assert world.count("device_sync_run") == 1
    assert world.count("optimization_session") == 1


def test_a_provider_of_another_integration_is_refused_by_name(world: SyncWorld) -> None:
    request = SyncRequest("jasper", "device_sync_jasper", "r", service_provider_ids=[JASPER, 4711])
    with pytest.raises(PipelineError, match=r"\[4711\] are not providers of integration 'jasper'"):
        open_runs(world.dsn, request, now=present())


def test_the_list_is_full_first_then_incremental_with_a_day_of_overlap_then_full_again_within_a_week(
    world: SyncWorld,
) -> None:
    start = present()
    first = world.sync("day-0", now=start)
    second = world.sync("day-1", now=start + timedelta(days=1))
    week = world.run(world.open("day-7", now=start + timedelta(days=6, hours=23, minutes=50)))
    assert first["is_full"]
    assert not second["is_full"]
    assert second["modified_since"] == first["started_at"] - timedelta(days=1)
    assert week["is_full"]
