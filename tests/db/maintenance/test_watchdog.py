"""The watchdog on a real database: stale runs and sessions are ended, live and queued ones are not."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from amop import time_limits
from amop.database.connection import transaction
from amop.device_sync.complete_run import complete_run
from amop.runs.heartbeat import record_heartbeat
from amop.runs.sessions import advance_session
from amop.runs.sync_runs import load_run
from amop.tasks.heartbeat import heartbeat
from tests.worlds.watchdog_world import EVERY_FIVE_MINUTES, NOW, WatchdogWorld

MINUTE = timedelta(minutes=1)
LONG_BEFORE = NOW - timedelta(hours=2)


@pytest.fixture
def world(warehouse_dsn: str) -> WatchdogWorld:
    return WatchdogWorld(warehouse_dsn)


def test_a_stale_sync_run_and_its_session_are_ended_with_one_error_message(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    session = world.session_of(run_id)
    ended = world.watch(LONG_BEFORE, NOW + timedelta(hours=2))
    assert list(ended) == [NOW + 50 * MINUTE]  # no heartbeat for more than 45 minutes, found by the next check
    ((text,),) = ended.values()
    assert "stopped after 0 pages without reporting an error: no heartbeat since 2026-11-24 12:00:00 UTC" in text
    assert "device_sync_jasper, run monday" in text
    assert (world.run(run_id)["status"], world.run(run_id)["error"]) == ("failed", text)
    assert world.session_of(run_id)["status"] == "failed"
    assert world.reported(session["id"]) == [0, text]


def test_the_provider_of_an_ended_run_is_free(world: WatchdogWorld) -> None:
    stale = world.open_sync("monday")
    refused = world.open_sync("tuesday", at=NOW + 40 * MINUTE)
    assert world.run(refused)["status"] == "refused"
    assert f"is held by run {stale}" in world.run(refused)["error"]
    world.watch(LONG_BEFORE, NOW + timedelta(hours=1))
    next_run = world.open_sync("wednesday", at=NOW + timedelta(hours=1))
    assert world.run(next_run)["status"] == "running"
    assert world.session_of(next_run)["status"] == "running"
    assert world.run(stale)["error"].startswith("Device sync run")


def test_without_a_watchdog_the_next_run_takes_over_a_stale_one_after_the_same_time(world: WatchdogWorld) -> None:
    stale = world.open_sync("monday")
    record_heartbeat(world.dsn, sync_run_id=stale, session_id=None, now=NOW + 10 * MINUTE)
    assert world.run(world.open_sync("tuesday", at=NOW + 54 * MINUTE))["status"] == "refused"
    assert world.run(world.open_sync("wednesday", at=NOW + 56 * MINUTE))["status"] == "running"
    assert (
        "has sent no heartbeat since 2026-11-24 12:10:00 UTC and was taken over by wednesday"
        in world.run(stale)["error"]
    )


def test_heartbeats_keep_a_run_without_progress_and_its_session_alive(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    for minutes in range(0, 180, 30):
        record_heartbeat(world.dsn, sync_run_id=run_id, session_id=None, now=NOW + minutes * MINUTE)
        assert world.watch(NOW + minutes * MINUTE, NOW + (minutes + 29) * MINUTE) == {}
    assert world.run(run_id)["progress_at"] == NOW  # so that the sensor still detects a hanging sync
    assert world.session_of(run_id)["status"] == "running"


def test_a_session_without_an_optimization_run_is_ended_with_its_instance(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
    world.rows("UPDATE amop.device_sync_run SET usage_merged_at = %s WHERE id = %s", NOW, run_id)
    complete_run(world.dsn, run_id, now=NOW + 20 * MINUTE)
    with transaction(world.dsn) as connection:
        advance_session(connection, session_id, 30, now=NOW + 20 * MINUTE)
        connection.execute("INSERT INTO amop.optimization_instance (session_id) VALUES (%(id)s)", {"id": session_id})
    world.rows("UPDATE amop.optimization_session SET heartbeat_at = %s", NOW + 20 * MINUTE)
    ended = world.watch(LONG_BEFORE, NOW + timedelta(hours=3))
    assert list(ended) == [NOW + 70 * MINUTE]
    assert "stopped at 30 % without reporting an error" in ended[NOW + 70 * MINUTE][0]
    (instance,) = world.rows("SELECT * FROM amop.optimization_instance")
    assert instance["run_status"] == "complete_with_errors"
    assert world.run(run_id)["status"] == "complete"


def test_a_session_whose_optimization_is_queued_is_not_stale(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
    world.rows("UPDATE amop.device_sync_run SET usage_merged_at = %s WHERE id = %s", NOW, run_id)
    complete_run(world.dsn, run_id, now=NOW)
    world.rows("UPDATE amop.optimization_session SET heartbeat_at = %s", NOW)
    world.queued = {session_id}
    assert world.watch(LONG_BEFORE, NOW + timedelta(hours=5)) == {}
    world.queued = set()
    begin = NOW + timedelta(hours=5) + EVERY_FIVE_MINUTES
    assert len(world.watch(begin, begin + timedelta(hours=1))) == 1


def test_after_an_outage_of_airflow_all_runs_get_the_full_time_again(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    assert world.watch(LONG_BEFORE, NOW + 10 * MINUTE) == {}
    back = NOW + timedelta(hours=3)  # neither Airflow nor the watchdog ran
    assert world.watch(back, back + 20 * MINUTE) == {}
    record_heartbeat(world.dsn, sync_run_id=run_id, session_id=None, now=back + 20 * MINUTE)  # the retried task
    assert world.watch(back + 25 * MINUTE, back + 60 * MINUTE) == {}
    assert world.run(run_id)["status"] == "running"
    assert list(world.watch(back + 65 * MINUTE, back + 90 * MINUTE)) == [back + 70 * MINUTE]


def test_the_first_check_of_a_watchdog_ends_nothing(world: WatchdogWorld) -> None:
    world.open_sync()
    assert world.check(NOW + timedelta(days=1)) == []


def test_rows_that_are_being_changed_are_not_stale(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    world.watch(LONG_BEFORE, NOW)
    world.watch(NOW + EVERY_FIVE_MINUTES, NOW + 45 * MINUTE)
    with transaction(world.dsn) as connection:
        connection.execute("SELECT 1 FROM amop.device_sync_run WHERE id = %(id)s FOR UPDATE", {"id": run_id})
        connection.execute("SELECT 1 FROM amop.optimization_session FOR UPDATE")
        assert world.check(NOW + 50 * MINUTE) == []
        # A heartbeat does not wait for the lock of the work that it reports either.
        record_heartbeat(
            world.dsn, sync_run_id=run_id, session_id=world.session_of(run_id)["id"], now=NOW + 50 * MINUTE
        )
    assert len(world.check(NOW + 55 * MINUTE)) == 1


def test_a_heartbeat_never_goes_back_and_does_not_change_an_ended_run(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    record_heartbeat(world.dsn, sync_run_id=run_id, session_id=None, now=NOW + 20 * MINUTE)
    record_heartbeat(world.dsn, sync_run_id=run_id, session_id=None, now=NOW + 10 * MINUTE)
    assert world.run(run_id)["heartbeat_at"] == NOW + 20 * MINUTE
    world.watch(LONG_BEFORE, NOW + timedelta(hours=2))
    ended = world.run(run_id), world.session_of(run_id)
    record_heartbeat(world.dsn, sync_run_id=run_id, session_id=ended[1]["id"], now=NOW + timedelta(hours=3))
    assert (world.run(run_id), world.session_of(run_id)) == ended


def test_a_working_task_sends_heartbeats_until_its_work_ends(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    threads = threading.active_count()
    with heartbeat(world.dsn, sync_run_id=run_id, every=timedelta(milliseconds=20)):
        first = _wait_for_heartbeat_after(world, run_id, None)
        assert _wait_for_heartbeat_after(world, run_id, first) > first
    assert threading.active_count() == threads


def test_a_heartbeat_without_a_warehouse_does_not_disturb_the_work(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with heartbeat("host=127.0.0.1 port=1 dbname=x", session_id=1, every=timedelta(milliseconds=5)):
        while caplog.text.count("No heartbeat could be recorded (OperationalError)") < 2:
            assert not done.wait(0.01)


def test_the_limits_exceed_every_pause_of_a_live_task() -> None:
    assert time_limits.STALE_AFTER > 10 * time_limits.HEARTBEAT
    assert time_limits.STALE_AFTER > time_limits.NO_PROGRESS > time_limits.LONGEST_HTTP_CALL
    assert time_limits.WATCHDOG_ABSENCE > 2 * EVERY_FIVE_MINUTES


def _wait_for_heartbeat_after(world: WatchdogWorld, run_id: int, earlier: datetime | None) -> datetime:
    for _ in range(1000):
        with transaction(world.dsn) as connection:
            seen = load_run(connection, run_id).heartbeat_at
        if seen is not None and seen != earlier:
            return seen
    raise AssertionError("the task has sent no heartbeat")
