"""The watchdog on a real database: who is silent is ended and told, who lives or waits is left alone."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from amop import time_limits
from amop.orchestration.heartbeat import heartbeat
from amop.pipeline.cleanup import complete_run
from amop.pipeline.sync_runs import load_run
from amop.pipeline.watchdog import beat
from amop.warehouse.connection import transaction
from amop.warehouse.sessions import advance_session
from tests.watchdog_world import EVERY_FIVE_MINUTES, NOW, WatchdogWorld

MINUTE = timedelta(minutes=1)
LONG_BEFORE = NOW - timedelta(hours=2)


@pytest.fixture
def world(warehouse_dsn: str, tmp_path: Path) -> WatchdogWorld:
    return WatchdogWorld(warehouse_dsn, tmp_path)


def test_a_silent_sync_run_and_its_session_are_ended_with_one_error_message(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    session = world.session_of(run_id)
    ended = world.watch(LONG_BEFORE, NOW + timedelta(hours=2))
    assert list(ended) == [NOW + 50 * MINUTE]  # silent for more than 45 minutes, seen by the look after that
    ((text,),) = ended.values()
    assert "stopped after 0 pages without reporting an error: no sign of life since 2026-11-24 12:00:00 UTC" in text
    assert "device_sync_jasper, run monday" in text
    assert (world.run(run_id)["status"], world.run(run_id)["error"]) == ("failed", text)
    assert world.session_of(run_id)["status"] == "failed"
    assert world.told(session["id"]) == [0, text]


def test_the_provider_of_a_run_that_was_ended_is_free(world: WatchdogWorld) -> None:
    dead = world.open_sync("monday")
    refused = world.open_sync("tuesday", at=NOW + 40 * MINUTE)
    assert world.run(refused)["status"] == "refused"
    assert f"is held by run {dead}" in world.run(refused)["error"]
    world.watch(LONG_BEFORE, NOW + timedelta(hours=1))
    next_run = world.open_sync("wednesday", at=NOW + timedelta(hours=1))
    assert world.run(next_run)["status"] == "running"
    assert world.session_of(next_run)["status"] == "running"
    assert world.run(dead)["error"].startswith("Device sync run")


def test_without_a_watchdog_the_next_run_takes_a_dead_one_over_after_the_same_time(world: WatchdogWorld) -> None:
    dead = world.open_sync("monday")
    beat(world.dsn, sync_run_id=dead, session_id=None, now=NOW + 10 * MINUTE)
    assert world.run(world.open_sync("tuesday", at=NOW + 54 * MINUTE))["status"] == "refused"
    assert world.run(world.open_sync("wednesday", at=NOW + 56 * MINUTE))["status"] == "running"
    assert "no sign of life since 2026-11-24 12:10:00 UTC and was taken over by wednesday" in world.run(dead)["error"]


def test_a_run_that_stages_nothing_but_beats_is_alive_and_keeps_its_session_alive(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    for minutes in range(0, 180, 30):
        beat(world.dsn, sync_run_id=run_id, session_id=None, now=NOW + minutes * MINUTE)
        assert world.watch(NOW + minutes * MINUTE, NOW + (minutes + 29) * MINUTE) == {}
    assert world.run(run_id)["progress_at"] == NOW  # so that the sensor still notices a sync that hangs
    assert world.session_of(run_id)["status"] == "running"


def test_a_session_whose_optimization_never_came_is_ended_with_its_instance(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
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


def test_a_session_whose_optimization_waits_in_the_queue_is_not_dead(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
    complete_run(world.dsn, run_id, now=NOW)
    world.rows("UPDATE amop.optimization_session SET heartbeat_at = %s", NOW)
    world.queued = {session_id}
    assert world.watch(LONG_BEFORE, NOW + timedelta(hours=5)) == {}
    world.queued = set()
    begin = NOW + timedelta(hours=5) + EVERY_FIVE_MINUTES
    assert len(world.watch(begin, begin + timedelta(hours=1))) == 1


def test_after_an_outage_of_airflow_everybody_gets_the_whole_time_again(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    assert world.watch(LONG_BEFORE, NOW + 10 * MINUTE) == {}
    back = NOW + timedelta(hours=3)  # nothing of Airflow ran, nor did the watchdog
    assert world.watch(back, back + 20 * MINUTE) == {}
    beat(world.dsn, sync_run_id=run_id, session_id=None, now=back + 20 * MINUTE)  # the task that was tried again
    assert world.watch(back + 25 * MINUTE, back + 60 * MINUTE) == {}
    assert world.run(run_id)["status"] == "running"
    assert list(world.watch(back + 65 * MINUTE, back + 90 * MINUTE)) == [back + 70 * MINUTE]


def test_a_watchdog_that_has_never_looked_judges_nobody(world: WatchdogWorld) -> None:
    world.open_sync()
    assert world.look(NOW + timedelta(days=1)) == []


def test_who_is_being_changed_at_this_moment_is_alive(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    world.watch(LONG_BEFORE, NOW)
    world.watch(NOW + EVERY_FIVE_MINUTES, NOW + 45 * MINUTE)
    with transaction(world.dsn) as connection:
        connection.execute("SELECT 1 FROM amop.device_sync_run WHERE id = %(id)s FOR UPDATE", {"id": run_id})
        connection.execute("SELECT 1 FROM amop.optimization_session FOR UPDATE")
        assert world.look(NOW + 50 * MINUTE) == []
        # Nor does a heartbeat wait for the lock of the work that it stands for.
        beat(world.dsn, sync_run_id=run_id, session_id=world.session_of(run_id)["id"], now=NOW + 50 * MINUTE)
    assert len(world.look(NOW + 55 * MINUTE)) == 1


def test_a_beat_never_goes_back_and_wakes_nobody_who_has_ended(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    beat(world.dsn, sync_run_id=run_id, session_id=None, now=NOW + 20 * MINUTE)
    beat(world.dsn, sync_run_id=run_id, session_id=None, now=NOW + 10 * MINUTE)
    assert world.run(run_id)["heartbeat_at"] == NOW + 20 * MINUTE
    world.watch(LONG_BEFORE, NOW + timedelta(hours=2))
    ended = world.run(run_id), world.session_of(run_id)
    beat(world.dsn, sync_run_id=run_id, session_id=ended[1]["id"], now=NOW + timedelta(hours=3))
    assert (world.run(run_id), world.session_of(run_id)) == ended


def test_a_working_step_beats_beside_its_work_and_stops_with_it(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    threads = threading.active_count()
    with heartbeat(world.dsn, sync_run_id=run_id, every=timedelta(milliseconds=20)):
        first = _wait_for_beat_after(world, run_id, None)
        assert _wait_for_beat_after(world, run_id, first) > first
    assert threading.active_count() == threads


def test_a_heartbeat_whose_warehouse_is_away_does_not_disturb_the_work(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with heartbeat("host=127.0.0.1 port=1 dbname=x", session_id=1, every=timedelta(milliseconds=5)):
        while caplog.text.count("No heartbeat could be written (OperationalError)") < 2:
            assert not done.wait(0.01)


def test_the_limits_leave_room_for_everything_that_is_silent_and_alive() -> None:
    assert time_limits.SILENCE > 10 * time_limits.HEARTBEAT
    assert time_limits.SILENCE > time_limits.NO_PROGRESS > time_limits.LONGEST_HTTP_CALL
    assert time_limits.WATCHDOG_ABSENCE > 2 * EVERY_FIVE_MINUTES


def _wait_for_beat_after(world: WatchdogWorld, run_id: int, earlier: object) -> object:
    for _ in range(1000):
        with transaction(world.dsn) as connection:
            seen = load_run(connection, run_id)["heartbeat_at"]
        if seen is not None and seen != earlier:
            return seen
    raise AssertionError("the step has not beaten")
