"""Runs and sessions whose DAG run has ended in Airflow: they are ended at once, the others are left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from amop.database.connection import transaction
from amop.maintenance.orphans import end_orphans, record_deleted_dag_runs, record_lost_changes
from amop.runs.sync_runs import end_run
from tests.worlds.watchdog_world import NOW, WatchdogWorld

SYNC = "device_sync_jasper"


class Airflow:
    """The DAG runs that Airflow has."""

    def __init__(self, *active: tuple[str, str]) -> None:
        self.active = set(active)
        self.asked: list[tuple[str, str]] = []

    def is_active(self, dag_id: str, dag_run_id: str) -> bool:
        """Answer whether a DAG run is active."""
        self.asked.append((dag_id, dag_run_id))
        return (dag_id, dag_run_id) in self.active


@pytest.fixture
def world(warehouse_dsn: str) -> WatchdogWorld:
    return WatchdogWorld(warehouse_dsn)


def check(world: WatchdogWorld, airflow: Airflow, now: datetime = NOW) -> list[str]:
    """Run the check once."""
    return end_orphans(world.dsn, now=now, is_active=airflow.is_active)


def test_a_run_whose_dag_run_was_marked_or_deleted_ends_at_once_with_its_session(world: WatchdogWorld) -> None:
    orphan, other = world.open_sync(), world.open_sync("monday", integration="rogers")
    (error,) = check(world, Airflow(("device_sync_rogers", "monday")), NOW + timedelta(seconds=45))
    assert f"`bin/amop runs resume {orphan}` resumes it where its ledger stands" in error
    assert (world.run(orphan)["status"], world.run(orphan)["error"]) == ("failed", error)
    assert world.run(other)["status"] == "running"
    session = world.session_of(orphan)
    assert (session["status"], world.reported(session["id"])) == ("failed", [0, error])
    assert check(world, Airflow(("device_sync_rogers", "monday"))) == []


def test_a_run_of_an_active_dag_run_is_left_alone_and_so_is_its_session(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    assert check(world, Airflow((SYNC, "monday"))) == []
    assert (world.run(run_id)["status"], world.session_of(run_id)["status"]) == ("running", "running")


@pytest.mark.parametrize(
    "column",
    ["is_one_process = true", "dag_run_id = '__airflow_temporary_run_x'", "dag_id = 'device_notification'"],
)
def test_airflow_is_not_asked_about_a_run_that_it_does_not_schedule(world: WatchdogWorld, column: str) -> None:
    run_id = world.open_sync()
    world.rows(f"UPDATE amop.device_sync_run SET {column} WHERE id = %s", run_id)
    airflow = Airflow()
    assert check(world, airflow) == []
    assert (airflow.asked, world.run(run_id)["status"]) == ([], "running")


def test_a_run_that_was_resumed_while_airflow_was_asked_is_left_alone(world: WatchdogWorld) -> None:
    run_id = world.open_sync()

    def is_active(_dag_id: str, _dag_run_id: str) -> bool:
        world.rows("UPDATE amop.device_sync_run SET attempt = attempt + 1 WHERE id = %s", run_id)
        return False

    assert end_orphans(world.dsn, now=NOW, is_active=is_active) == []
    assert world.run(run_id)["status"] == "running"


@pytest.mark.parametrize(
    ("active", "status"),
    [
        ((SYNC, "monday"), "running"),
        (("carrier_optimization_jasper", "session_{id}"), "running"),
        (("carrier_optimization_jasper", "another"), "failed"),
    ],
    ids=["its sync has not triggered it yet", "its optimization runs", "its optimization was deleted"],
)
def test_a_session_ends_when_neither_its_sync_nor_its_optimization_is_active(
    world: WatchdogWorld, active: tuple[str, str], status: str
) -> None:
    run_id = world.open_sync()
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "complete", None, now=NOW)
    session = world.session_of(run_id)
    dag_id, dag_run_id = active
    errors = check(world, Airflow((dag_id, dag_run_id.format(id=session["id"]))))
    assert world.session_of(run_id)["status"] == status
    assert len(errors) == (status == "failed")
    assert len(world.reported(session["id"])) == 1 + len(errors)


def test_a_session_that_no_dag_opened_is_left_alone(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    world.rows("UPDATE amop.optimization_session SET opened_by = 'portal/7'")
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "complete", None, now=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert check(world, Airflow()) == []
    assert world.session_of(run_id)["status"] == "running"


def record(world: WatchdogWorld, airflow: Airflow, now: datetime = NOW) -> int:
    """Look for deleted DAG runs once."""
    return record_deleted_dag_runs(world.dsn, now=now, exists=airflow.is_active)


def test_a_dag_run_that_was_deleted_is_remembered_with_its_failed_run_and_session(world: WatchdogWorld) -> None:
    deleted, kept = world.open_sync(), world.open_sync("monday", integration="rogers")
    airflow = Airflow(("device_sync_rogers", "monday"))
    assert record(world, airflow) == 0  # both run
    for run_id in (deleted, kept):
        with transaction(world.dsn) as connection:
            end_run(connection, run_id, "failed", "no key", now=NOW)
    assert record(world, airflow, NOW + timedelta(minutes=1)) == 2
    assert world.run(deleted)["dag_run_deleted_at"] == NOW + timedelta(minutes=1)
    assert world.session_of(deleted)["dag_run_deleted_at"] == NOW + timedelta(minutes=1)
    assert (world.run(kept)["dag_run_deleted_at"], world.session_of(kept)["dag_run_deleted_at"]) == (None, None)
    airflow.asked.clear()
    assert record(world, airflow) == 0
    assert set(airflow.asked) == {
        ("device_sync_rogers", "monday"),
        ("carrier_optimization_rogers", f"session_{world.session_of(kept)['id']}"),
    }


def test_the_error_of_a_deleted_dag_run_gives_no_advice_to_resume_or_to_clear_it(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    (error,) = check(world, Airflow(), NOW)
    assert "bin/amop runs resume" in error
    assert record(world, Airflow(), NOW) == 2
    kept = (
        f"Device sync run {run_id} of {error.split(' of ')[1].split(' was ')[0]} was not complete when run monday of "
        "device_sync_jasper ended in Airflow: it was marked, deleted, or cleared in part."
    )
    assert (world.run(run_id)["error"], world.session_of(run_id)["error"]) == (kept, kept)
    lost = "Session 1 was at 20 % when its DAG run ended in Airflow. It was opened by a/b; clear that run, or start"
    world.rows(
        "UPDATE amop.optimization_session SET dag_run_deleted_at = NULL, error = %s", f"{lost} the provider again"
    )
    assert record(world, Airflow(), NOW) == 1
    assert world.session_of(run_id)["error"].endswith("opened by a/b; start the provider again")


@pytest.mark.parametrize("changes_status", ["waiting", "approved", "stopped"])
def test_plan_changes_whose_optimization_was_deleted_are_remembered_though_their_sync_is_kept(
    world: WatchdogWorld, changes_status: str
) -> None:
    run_id = world.open_sync()
    session = world.session_of(run_id)
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "complete", None, now=NOW)
    world.rows("UPDATE amop.optimization_session SET status = 'complete', progress = 100, ended_at = %s", NOW)
    world.rows(
        "INSERT INTO amop.optimization_instance (session_id, run_status, changes_status, started_at, ended_at)"
        " VALUES (%s, 'complete_with_success', %s, %s, %s)",
        session["id"], changes_status, NOW, NOW,
    )  # fmt: skip
    kept = Airflow(("device_sync_jasper", "monday"), ("carrier_optimization_jasper", f"session_{session['id']}"))
    assert record(world, kept) == 0
    assert record(world, Airflow(("device_sync_jasper", "monday"))) == 1
    assert world.session_of(run_id)["dag_run_deleted_at"] == NOW


@pytest.mark.parametrize(
    ("changes_status", "column"), [("waiting", "approval_lost_at"), ("approved", "applying_lost_at")]
)
def test_plan_changes_are_lost_while_their_run_has_ended_and_are_at_work_again_once_it_is_cleared(
    world: WatchdogWorld, changes_status: str, column: str
) -> None:
    run_id = world.open_sync()
    session_id = world.session_of(run_id)["id"]
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "complete", None, now=NOW)
    world.rows("UPDATE amop.optimization_session SET status = 'complete', progress = 100, ended_at = %s", NOW)
    world.rows(
        "INSERT INTO amop.optimization_instance (session_id, run_status, changes_status, started_at, ended_at)"
        " VALUES (%s, 'complete_with_success', %s, %s, %s)",
        session_id, changes_status, NOW, NOW,
    )  # fmt: skip
    world.rows(
        "INSERT INTO amop.device (service_provider_id, iccid)"
        " SELECT service_provider_id, '8901' FROM amop.optimization_session"
    )
    world.rows(
        "INSERT INTO amop.rate_plan_change (instance_id, device_id, to_rate_plan, state)"
        " SELECT instance.id, device.id, 'Small', 'approved' FROM amop.optimization_instance AS instance, amop.device"
    )
    active = Airflow(("carrier_optimization_jasper", f"session_{session_id}"))
    ended = Airflow(("device_sync_jasper", "monday"))
    for airflow, lost_at in ((active, None), (ended, NOW), (ended, NOW), (active, None)):
        record_lost_changes(world.dsn, now=NOW, is_active=airflow.is_active)
        assert world.session_of(run_id)[column] == lost_at
    world.rows("UPDATE amop.optimization_session SET opened_by = 'portal/7'")
    assert record_lost_changes(world.dsn, now=NOW, is_active=ended.is_active) == 0


def test_a_run_that_fails_again_in_another_dag_run_is_asked_about_again(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    for end in (NOW, NOW + timedelta(hours=1)):
        with transaction(world.dsn) as connection:
            end_run(connection, run_id, "failed", "no key", now=end)
        assert record(world, Airflow(("carrier_optimization_jasper", "session_1")), end) == 1
        assert world.run(run_id)["dag_run_deleted_at"] == end
        world.rows("UPDATE amop.device_sync_run SET status = 'running', ended_at = NULL WHERE id = %s", run_id)


@pytest.mark.parametrize(
    "column",
    ["is_one_process = true", "dag_run_id = '__airflow_temporary_run_x'", "dag_id = 'device_notification'"],
)
def test_airflow_is_not_asked_whether_it_has_a_run_that_it_does_not_schedule(world: WatchdogWorld, column: str) -> None:
    run_id = world.open_sync()
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "failed", "no key", now=NOW)
    world.rows(f"UPDATE amop.device_sync_run SET {column} WHERE id = %s", run_id)
    world.rows("UPDATE amop.optimization_session SET opened_by = 'portal/7'")
    airflow = Airflow()
    assert record(world, airflow) == 0
    assert airflow.asked == []


def test_approved_plan_changes_that_were_all_sent_are_not_lost(world: WatchdogWorld) -> None:
    run_id = world.open_sync()
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, "complete", None, now=NOW)
    world.rows("UPDATE amop.optimization_session SET status = 'complete', progress = 100, ended_at = %s", NOW)
    world.rows(
        "INSERT INTO amop.optimization_instance (session_id, run_status, changes_status, started_at, ended_at)"
        " SELECT id, 'complete_with_success', 'approved', %s, %s FROM amop.optimization_session", NOW, NOW,
    )  # fmt: skip
    assert record_lost_changes(world.dsn, now=NOW, is_active=Airflow().is_active) == 0
    assert world.session_of(run_id)["applying_lost_at"] is None
