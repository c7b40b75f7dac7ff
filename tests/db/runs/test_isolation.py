"""One provider that cannot be opened or checked stops no other: it gets a refused run with a reason and an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from amop.database.connection import transaction
from amop.runs import open_windows, opening
from amop.runs.errors import PipelineError, SyncRunEndedError
from amop.runs.open_windows import find_due_providers
from amop.runs.opening import ProviderRun, SyncRequest, open_runs
from amop.runs.sync_runs import NO_RUN, load_run, running_run
from tests.worlds.moments import present
from tests.worlds.optimization_world import OptimizationWorld

INSIDE = datetime(2026, 11, 14, 17, 5, tzinfo=UTC)
FIRST, BROKEN, LAST = 1, 7, 8


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> OptimizationWorld:
    """Return three providers of one integration; waits for locks are short."""
    monkeypatch.setattr(opening, "OPENING_LOCK", timedelta(seconds=0.2))
    monkeypatch.setattr(open_windows, "CHECK_LOCK", timedelta(seconds=0.2))
    world = OptimizationWorld(warehouse_dsn)
    settings = world.execute("SELECT bill_period_end_day, bill_period_end_hour FROM amop.service_provider WHERE id = 1")
    for provider in (BROKEN, LAST):
        world.insert(
            "service_provider", id=provider, tenant_id=1, integration_id=1, name=f"Provider {provider}",
            connection_id=f"c{provider}", time_zone="America/New_York", **settings[0],
        )  # fmt: skip
    return world


@contextmanager
def locked(world: OptimizationWorld, statement: str) -> Iterator[None]:
    """Hold the locks of a statement, as a forgotten transaction does."""
    with psycopg.connect(world.dsn) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
        yield
        connection.rollback()


def open_all(world: OptimizationWorld, name: str = "monday", now: datetime = INSIDE) -> list[ProviderRun]:
    return open_runs(world.dsn, SyncRequest("jasper", "device_sync_jasper", name, optimization="always"), now=now)


def runs(world: OptimizationWorld) -> dict[int, dict[str, Any]]:
    found = world.execute(
        "SELECT service_provider_id, status, error, ended_at, billing_period_id, optimization_session_id,"
        " is_full"
        " FROM amop.device_sync_run ORDER BY id"
    )
    return {row["service_provider_id"]: row for row in found}


def test_a_provider_with_a_wrong_zone_gets_a_refused_run_and_the_others_run(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET time_zone = 'Mars/Olympus' WHERE id = %s", BROKEN)
    opened = open_all(world)
    assert [run.service_provider_id for run in opened] == [FIRST, BROKEN, LAST]
    found = runs(world)
    assert {provider: row["status"] for provider, row in found.items()} == {
        FIRST: "running", BROKEN: "refused", LAST: "running",
    }  # fmt: skip
    assert found[BROKEN]["ended_at"] == INSIDE
    assert found[BROKEN]["error"].startswith(
        "The run of Provider 7 (7) cannot be opened: 'Mars/Olympus' is not an IANA time zone"
    )
    with transaction(world.dsn) as connection, pytest.raises(SyncRunEndedError, match=r"is refused: The run of"):
        running_run(connection, opened[1].run_id)


def test_the_refused_run_is_opened_by_a_repeated_call_once_the_cause_is_gone(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET time_zone = 'Mars/Olympus' WHERE id = %s", BROKEN)
    first = open_all(world)
    world.execute("UPDATE amop.service_provider SET time_zone = 'America/New_York' WHERE id = %s", BROKEN)
    second = open_all(world)
    assert [run.run_id for run in second] == [run.run_id for run in first]
    row = runs(world)[BROKEN]
    assert (row["status"], row["error"], row["ended_at"]) == ("running", None, None)
    assert row["is_full"]
    assert row["billing_period_id"] is not None and second[1].optimization_session_id is not None


def test_a_held_provider_is_refused_with_an_end(world: OptimizationWorld) -> None:
    open_all(world)
    open_all(world, "tuesday")
    refused = world.execute("SELECT ended_at, error FROM amop.device_sync_run WHERE status = 'refused'")
    assert [row["ended_at"] for row in refused] == [INSIDE] * 3
    assert all("is held by run" in row["error"] for row in refused)


def test_a_locked_run_of_one_provider_refuses_this_one_only(world: OptimizationWorld) -> None:
    open_all(world, now=INSIDE - timedelta(hours=2))  # stale by now: it is taken over
    with locked(world, f"SELECT 1 FROM amop.device_sync_run WHERE service_provider_id = {BROKEN} FOR UPDATE"):
        opened = open_all(world, "tuesday")
    with transaction(world.dsn) as connection:
        states = [load_run(connection, run.run_id) for run in opened]
    assert [run.status for run in states] == ["running", "refused", "running"]
    assert "lock" in str(states[1].error) and states[1].ended_at == INSIDE


def test_a_provider_that_cannot_even_be_refused_fails_its_own_tasks_only(world: OptimizationWorld) -> None:
    with locked(world, f"SELECT 1 FROM amop.service_provider WHERE id = {BROKEN} FOR UPDATE"):
        opened = open_all(world)
    assert [run.run_id == NO_RUN for run in opened] == [False, True, False]
    assert sorted(runs(world)) == [FIRST, LAST]
    with transaction(world.dsn) as connection, pytest.raises(PipelineError, match="the log of select_providers"):
        running_run(connection, NO_RUN)


def test_an_own_running_run_that_cannot_be_opened_again_ends_with_its_session(world: OptimizationWorld) -> None:
    open_all(world)
    world.execute("DELETE FROM amop.amop_outbox")
    world.execute("UPDATE amop.service_provider SET time_zone = 'Mars/Olympus' WHERE id = %s", BROKEN)
    open_all(world, now=INSIDE + timedelta(days=40))
    row = runs(world)[BROKEN]
    session = world.execute(
        "SELECT status FROM amop.optimization_session WHERE id = %s", row["optimization_session_id"]
    )
    assert (row["status"], session[0]["status"]) == ("refused", "failed")
    assert [one["kind"] for one in world.execute("SELECT kind FROM amop.amop_outbox WHERE kind = 'error'")] == ["error"]


def test_a_provider_that_cannot_be_checked_stops_no_other(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET time_zone = 'Mars/Olympus' WHERE id = %s", BROKEN)
    check = find_due_providers(world.dsn, "jasper", now=INSIDE)
    assert [due.service_provider_id for due in check.due] == [FIRST, LAST]
    assert len(check.errors) == 1 and check.errors[0].startswith("Provider 7 (7): 'Mars/Olympus' is not an IANA")


def test_a_warehouse_that_is_away_refuses_no_provider(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(opening, "_open_provider_run", lost)
    with pytest.raises(psycopg.OperationalError, match="is lost"):
        open_all(world, now=present())
    assert runs(world) == {}
