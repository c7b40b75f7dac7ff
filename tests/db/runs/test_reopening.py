"""Runs that an operator clears: they resume where their ledger stands, with a new session, or say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from amop.database.connection import transaction
from amop.device_sync import fetch
from amop.device_sync.complete_run import complete_run, session_to_optimize
from amop.device_sync.merge import merge_devices, merge_usage
from amop.device_sync.notification import mark_notification_sent
from amop.messages.undelivered_reports import ReportKind, deliver_reports
from amop.runs.errors import StepMissingError, SyncRunEndedError
from amop.runs.reopening import replace_session_of_complete_run, resume_run
from amop.runs.sessions import fail_session
from amop.runs.sync_runs import end_run
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.moments import present
from tests.worlds.sync_world import SyncWorld

SIMS = 30


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield carrier


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> SyncWorld:
    return SyncWorld(warehouse_dsn, carrier)


def end(world: SyncWorld, run_id: int, status: str = "failed", error: str = "no key") -> None:
    """End a run as its last try does."""
    with transaction(world.dsn) as connection:
        end_run(connection, run_id, status, error, now=present())


def sessions(world: SyncWorld) -> list[tuple[str, str, int]]:
    """Return opener, status and progress of all sessions, oldest first."""
    found = world.rows("SELECT opened_by, status, progress FROM amop.optimization_session ORDER BY id")
    return [(row["opened_by"], row["status"], row["progress"]) for row in found]


@pytest.mark.parametrize("staged", [False, True], ids=["before anything was read", "after everything was staged"])
def test_a_cleared_run_ends_with_the_rows_of_an_undisturbed_one(world: SyncWorld, *, staged: bool) -> None:
    world.sync("undisturbed", full_sync=True)
    expected = world.final_state()
    calls = world.carrier.stats("api_jasper")["calls"]
    world.delete_days()
    run_id = world.open("monday", full_sync=True)
    if staged:
        world.stage(run_id)
    end(world, run_id)
    assert world.clear(run_id) is True
    world.stage(run_id)
    world.merge(run_id)
    assert {**world.final_state(), "notices": []} == {**expected, "notices": []}
    assert world.carrier.stats("api_jasper")["calls"] == 2 * calls
    assert (world.run(run_id)["attempt"], world.count("amop_outbox")) == (2, 1)


def test_a_cleared_run_gets_a_new_session_because_the_failed_one_is_over_for_amop(world: SyncWorld) -> None:
    run_id = world.open("monday", optimization="always")
    world.stage(run_id)
    end(world, run_id)
    assert world.clear(run_id) is True
    opener = "device_sync_jasper/monday"
    assert sessions(world) == [(opener, "failed", 20), (f"{opener}#2", "running", 20)]
    world.merge(run_id)
    session = session_to_optimize(world.dsn, run_id)
    assert session is not None
    told = world.rows("SELECT kind, payload FROM amop.amop_outbox WHERE session_id = %s ORDER BY id",
                      session.optimization_session_id)  # fmt: skip
    assert [message["payload"]["data"]["Progress"] for message in told] == [0, 20]


def replace_session(world: SyncWorld, run_id: int, clear_number: int = 1) -> None:
    replace_session_of_complete_run(world.dsn, run_id, clear_number=clear_number, now=present())


def fail_latest_session(world: SyncWorld) -> None:
    """Fail the session as the watchdog does."""
    (row,) = world.rows("SELECT max(id) AS id FROM amop.optimization_session")
    with transaction(world.dsn) as connection:
        fail_session(connection, row["id"], "its DAG run ended in Airflow")


def test_a_complete_run_whose_session_the_watchdog_ended_is_optimized_when_it_is_cleared(world: SyncWorld) -> None:
    run_id = world.sync("monday", optimization="always")["id"]
    replace_session(world, run_id)  # nothing changes while its session runs
    fail_latest_session(world)
    assert session_to_optimize(world.dsn, run_id) is None
    opener = "device_sync_jasper/monday"
    for number in (1, 2):
        replace_session(world, run_id, number)
        assert session_to_optimize(world.dsn, run_id) is not None
        fail_latest_session(world)
    assert [opened_by for opened_by, _, _ in sessions(world)] == [opener, f"{opener}#2", f"{opener}#3"]


def test_a_session_is_not_replaced_where_the_provider_has_newer_data_or_a_later_session(world: SyncWorld) -> None:
    run_id = world.sync("monday", optimization="always")["id"]
    fail_latest_session(world)
    later = world.sync("tuesday", optimization="never")["id"]
    replace_session(world, run_id)
    assert len(sessions(world)) == 1
    replace_session(world, later)  # it has no session: none was to be opened
    assert len(sessions(world)) == 1
    world.open("wednesday", optimization="always")
    replace_session(world, run_id)
    assert len(sessions(world)) == 2


def test_a_cancelled_session_stays_cancelled(world: SyncWorld) -> None:
    run_id = world.open("monday", optimization="always")
    world.rows("UPDATE amop.optimization_session SET status = 'cancelled', ended_at = now() RETURNING id")
    end(world, run_id)
    assert world.clear(run_id) is True
    assert [status for _, status, _ in sessions(world)] == ["cancelled"]


def test_one_clear_reopens_a_run_once(world: SyncWorld) -> None:
    run_id = world.open("monday")
    end(world, run_id)
    for task in ("wait_for_staging", "fetch_devices"):
        assert resume_run(world.dsn, run_id, clear_number=1, now=present()) is not None, task
    assert world.run(run_id)["attempt"] == 2
    end(world, run_id, error="no key again")
    with pytest.raises(SyncRunEndedError, match="no key again"):
        resume_run(world.dsn, run_id, clear_number=1, now=present())


def test_a_complete_run_has_nothing_to_do_however_often_it_is_cleared(
    world: SyncWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run_id = world.sync("monday")["id"]
    before = world.final_state()
    assert [world.clear(run_id) for _ in range(2)] == [False, False]
    assert caplog.text.count("is already complete, nothing to do") == 2
    assert world.final_state() == before


def test_a_run_that_a_guard_refused_is_judged_again(world: SyncWorld) -> None:
    run_id = world.open("monday")
    world.stage(run_id)
    end(world, run_id, "refused", "3 of 30 SIMs have bad records")
    assert world.clear(run_id) is True  # the operator has raised the limit
    world.merge(run_id)
    assert world.run(run_id)["status"] == "complete"


def test_a_run_that_was_refused_at_its_start_says_what_to_clear(world: SyncWorld) -> None:
    world.open("first")
    second = world.open("second")
    with pytest.raises(SyncRunEndedError, match=r"is held by run \d+ .*clear select_providers with downstream tasks"):
        world.clear(second)


def test_a_run_is_not_reopened_while_another_one_holds_its_provider(world: SyncWorld) -> None:
    first = world.open("first")
    end(world, first)
    second = world.open("second")
    with pytest.raises(SyncRunEndedError, match=rf"is held by run {second} of device_sync_jasper \(second"):
        world.clear(first)
    assert world.run(first)["status"] == "failed"


def test_a_step_that_was_marked_as_success_without_its_work_is_named_by_the_next_one(world: SyncWorld) -> None:
    run_id = world.open("monday")
    world.stage(run_id)
    with pytest.raises(StepMissingError, match="Clear merge_devices with downstream tasks"):
        merge_usage(world.dsn, run_id, now=present())
    merge_devices(world.dsn, run_id, now=present())
    with pytest.raises(StepMissingError, match="Clear merge_usage with downstream tasks"):
        complete_run(world.dsn, run_id, now=present())
    assert world.count("amop_outbox") == 0


def test_a_fetch_of_a_failed_run_stops_before_its_first_call(world: SyncWorld) -> None:
    run_id = world.open("monday")
    end(world, run_id)
    with world.client() as client, pytest.raises(SyncRunEndedError, match="no key"):
        fetch.fetch_devices(world.dsn, run_id, client)
    assert world.carrier.stats("api_jasper")["calls"] == 0


def test_the_notification_of_a_run_that_failed_before_it_was_sent_is_sent_by_the_relay_once_it_is_resumed(
    world: SyncWorld,
) -> None:
    def waiting() -> list[tuple[str, str]]:
        rows = world.rows("SELECT kind, error FROM amop.undelivered_report")
        return [(row["kind"], row["error"]) for row in rows]

    run_id = world.open("monday", full_sync=True)
    end(world, run_id)
    assert world.clear(run_id) is True
    assert waiting() == [], "nothing is staged: its task has not run"
    world.stage(run_id)
    end(world, run_id)
    assert world.clear(run_id) is True
    assert waiting() == [("notification", "the run had failed before it was sent")]
    sent: list[int | None] = []
    deliveries = {ReportKind.NOTIFICATION: lambda report: sent.append(report.run_id)}
    for minutes in (0, 1, 2):
        moment = present() + timedelta(minutes=minutes, seconds=1)
        deliver_reports(world.dsn, deliveries, now=lambda moment=moment: moment, limit=timedelta(hours=1))  # type: ignore[misc]
    assert (sent, waiting()) == ([run_id], [])


def test_a_notification_that_was_sent_is_not_sent_again_when_its_run_is_resumed(world: SyncWorld) -> None:
    run_id = world.open("monday", full_sync=True)
    world.stage(run_id)
    mark_notification_sent(world.dsn, run_id, now=present())
    end(world, run_id)
    assert world.clear(run_id) is True
    assert world.rows("SELECT 1 FROM amop.undelivered_report") == []
