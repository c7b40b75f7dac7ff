"""A run that holds its provider although its process is gone: the next run continues its work at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from amop import time_limits
from amop.device_sync import fetch
from amop.runs.errors import PipelineError
from amop.runs.opening import SyncRequest, open_runs
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.moments import present
from tests.worlds.sync_world import SyncWorld

SIMS = 60
LATE = 3 * time_limits.HEARTBEAT + timedelta(seconds=1)


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield carrier


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> SyncWorld:
    return SyncWorld(warehouse_dsn, carrier)


def open_next(world: SyncWorld, *, after: timedelta, active: bool = False, **request: Any) -> int:
    """Open the next run some time after the last progress; return its id."""
    wanted = {"optimization": "never"} | request
    runs = open_runs(
        world.dsn,
        SyncRequest("jasper", "device_sync_jasper", "next", **wanted),
        now=present() + after,
        is_active=lambda *_: active,
    )
    return runs[0].run_id


def test_the_next_run_continues_the_work_of_one_whose_dag_run_is_over(world: SyncWorld) -> None:
    first = world.open("killed", optimization="always")
    fetch.queue_sync(world.dsn, first)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, first, client)
    calls = world.carrier.stats("api_jasper")["calls"]
    again = open_next(world, after=LATE, optimization="always")
    assert again == first
    run = world.run(first)
    assert (run["dag_run_id"], run["status"], run["attempt"]) == ("next", "running", 2)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, first, client)
    assert world.carrier.stats("api_jasper")["calls"] == calls  # the list is not read again
    world.stage(first)
    world.merge(first)
    assert world.run(first)["status"] == "complete"
    (session,) = world.rows("SELECT status FROM amop.optimization_session")
    assert session == {"status": "running"}


def test_a_killed_dags_test_is_taken_over_although_airflow_believes_that_it_runs(world: SyncWorld) -> None:
    first = world.open("killed", is_one_process=True)
    assert open_next(world, after=LATE, active=True) == first


@pytest.mark.parametrize(
    ("after", "active"),
    [(LATE - timedelta(seconds=30), False), (LATE, True)],
    ids=["its heartbeat is not late", "its DAG run is active"],
)
def test_a_run_that_may_still_be_alive_keeps_its_provider(world: SyncWorld, after: timedelta, *, active: bool) -> None:
    first = world.open("alive")
    second = open_next(world, after=after, active=active)
    assert (world.run(first)["status"], world.run(second)["status"]) == ("running", "refused")
    assert f"is held by run {first} of device_sync_jasper" in world.run(second)["error"]


def test_a_run_that_the_existing_system_stages_keeps_its_provider_without_heartbeats(world: SyncWorld) -> None:
    first = world.open("staged")
    world.rows("UPDATE amop.device_sync_run SET dag_id = 'device_notification' WHERE id = %s RETURNING id", first)
    second = open_next(world, after=LATE)
    assert (world.run(first)["status"], world.run(second)["status"]) == ("running", "refused")


def test_a_run_whose_process_still_reads_keeps_its_provider_without_heartbeats(world: SyncWorld) -> None:
    first = world.open("disconnected")
    with psycopg.connect(world.dsn) as reader:
        reader.execute("SELECT pg_advisory_lock(hashtextextended('amop carrier reads of run ' || %s, 0))", (first,))
        second = open_next(world, after=LATE)
    assert (world.run(first)["status"], world.run(second)["status"]) == ("running", "refused")


@pytest.mark.parametrize(
    ("request_of", "after"),
    [
        (lambda: {"full_sync": True}, LATE),
        (lambda: {"modified_since": present() - timedelta(days=3)}, LATE),
        (dict, time_limits.STALE_AFTER + timedelta(seconds=1)),
    ],
    ids=["a full list is asked for", "another list is asked for", "its list is old"],
)
def test_a_run_that_asks_for_something_else_ends_the_old_one_and_starts_its_own_scan(
    world: SyncWorld, request_of: Callable[[], dict[str, Any]], after: timedelta
) -> None:
    world.sync("before", full_sync=True)
    first = world.open("killed")
    assert world.run(first)["is_full"] is False
    second = open_next(world, after=after, **request_of())
    assert second != first
    assert (world.run(first)["status"], world.run(second)["status"]) == ("failed", "running")
    assert "was taken over by next" in world.run(first)["error"]


def test_a_list_of_changes_in_the_future_is_refused_before_a_run_is_opened(world: SyncWorld) -> None:
    with pytest.raises(PipelineError, match=r"modified_since is .*, in the future: the carrier would list no SIM"):
        open_next(world, after=timedelta(0), modified_since=present() + timedelta(minutes=1))
    assert world.rows("SELECT 1 FROM amop.device_sync_run") == []
