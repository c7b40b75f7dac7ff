"""Order and age come from ids and the database's clock; a worker whose clock is off says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amop.database import clock as database_clock
from amop.database.clock import WorkerClockError, warehouse_clock
from amop.database.connection import transaction
from amop.runs.heartbeat import record_heartbeat
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.sync_runs import end_run, load_run, newer_merged_run
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("seconds", [-50, 0, 50])
def test_the_clock_of_tasks_is_the_databases_and_not_the_workers(
    warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    passed = [0.0]
    monkeypatch.setattr(database_clock, "monotonic", lambda: passed[0])
    clock = warehouse_clock(warehouse_dsn, worker_clock=lambda: present() + timedelta(seconds=seconds))
    assert abs(clock() - present()) < timedelta(seconds=5)
    begin = clock()
    passed[0] = 90.0
    assert clock() - begin == timedelta(seconds=90)


@pytest.mark.parametrize(("offset", "shown"), [(50, "3000 s ahead of"), (-50, "3000 s behind"), (2, "120 s ahead of")])
def test_a_worker_whose_clock_is_off_by_more_than_a_minute_says_so(warehouse_dsn: str, offset: int, shown: str) -> None:
    with pytest.raises(WorkerClockError, match=r"The clock of worker \S+ is (\d+) s \S+") as error:
        warehouse_clock(warehouse_dsn, worker_clock=lambda: present() + timedelta(minutes=offset))
    minutes = round(int(shown.split()[0]) / 60)
    assert shown.partition(" s ")[2] in str(error.value)
    assert f"{minutes * 60 - 1} s" in str(error.value) or f"{minutes * 60} s" in str(error.value)
    assert "chrony" in str(error.value)


def open_run(dsn: str, name: str, *, ahead: timedelta = timedelta(0)) -> int:
    request = SyncRequest("jasper", "device_sync_jasper", name, optimization="never")
    return open_runs(dsn, request, now=present() + ahead)[0].run_id


def merge(dsn: str, run_id: int) -> None:
    with transaction(dsn) as connection:
        connection.execute(
            "UPDATE amop.device_sync_run SET devices_merged_at = started_at, list_is_exact = is_full WHERE id = %s",
            [run_id],
        )
        end_run(connection, run_id, "complete", None)


def test_a_run_of_a_worker_whose_clock_was_ahead_does_not_refuse_the_later_runs(warehouse_dsn: str) -> None:
    load_sandbox_reference(warehouse_dsn)
    merge(warehouse_dsn, open_run(warehouse_dsn, "ahead", ahead=5 * HOUR))
    later = open_run(warehouse_dsn, "later")
    with transaction(warehouse_dsn) as connection:
        run = load_run(connection, later)
        assert newer_merged_run(connection, run) is None
        # A list since a moment in the future would be empty.
        assert (run.status, run.is_full, run.modified_since) == ("running", True, None)


def test_a_run_of_a_worker_whose_clock_is_behind_is_refused_once_a_later_one_has_merged(warehouse_dsn: str) -> None:
    load_sandbox_reference(warehouse_dsn)
    first = open_run(warehouse_dsn, "first")
    with transaction(warehouse_dsn) as connection:
        end_run(connection, first, "failed", "killed")
    merge(warehouse_dsn, open_run(warehouse_dsn, "second", ahead=-HOUR))
    assert open_run(warehouse_dsn, "first") == first
    with transaction(warehouse_dsn) as connection:
        run = load_run(connection, first)
    assert (run.status, "has merged" in str(run.error)) == ("refused", True)


def test_a_heartbeat_and_an_end_carry_the_databases_time(warehouse_dsn: str) -> None:
    load_sandbox_reference(warehouse_dsn)
    run_id = open_run(warehouse_dsn, "behind", ahead=-HOUR)
    record_heartbeat(warehouse_dsn, sync_run_id=run_id, session_id=None)
    with transaction(warehouse_dsn) as connection:
        end_run(connection, run_id, "failed", "killed")
        run = load_run(connection, run_id)
    assert run.heartbeat_at is not None and run.ended_at is not None
    assert abs(run.heartbeat_at - present()) < timedelta(minutes=1)
    assert abs(run.ended_at - present()) < timedelta(minutes=1)
