"""Which providers are due, on a real warehouse, given their sessions and syncs; the daily sync uses the same rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from amop.runs.open_windows import find_due_providers
from amop.runs.opening import SyncRequest, open_runs
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, OptimizationWorld

NEW_YORK = ZoneInfo("America/New_York")
INSIDE = datetime(2026, 11, 14, 12, 5, tzinfo=NEW_YORK).astimezone(UTC)
LAST_DAY = datetime(2026, 11, 18, 12, 5, tzinfo=NEW_YORK).astimezone(UTC)
MIDNIGHT = timedelta(hours=12, minutes=5)
"""Time between the start of the local day and `INSIDE` or `LAST_DAY`."""
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Case:
    """Sessions and syncs of a provider, and whether another session is started then."""

    name: str
    sessions: tuple[tuple[str, timedelta, timedelta], ...] = ()
    """Status, age and duration of each session, in order."""
    sync_progress: timedelta | None = None
    """Time since the last progress of a running sync; None = no sync is running."""
    dag_run_id: str = "earlier"
    """Its DAG run."""
    inside: tuple[bool, bool] = (True, True)
    """Inside the window: is the provider due at the hourly check, does the daily sync open a session (``auto``)."""
    last_day: tuple[bool, bool] = (True, True)
    """The same on the last day."""


TEN_MINUTES = timedelta(minutes=10)
NO, YES = False, True
CASES = [
    Case("nothing yet"),
    Case("completed today", (("complete", 3 * HOUR, TEN_MINUTES),), inside=(NO, NO)),
    Case("completed today, opened at the first instant", (("complete", MIDNIGHT, TEN_MINUTES),), inside=(NO, NO)),
    Case("opened before midnight, completed after it", (("complete", MIDNIGHT + TEN_MINUTES, HOUR),)),
    Case("completed yesterday", (("complete", 20 * HOUR, TEN_MINUTES),)),
    Case("completed a moment ago", (("complete", 2 * TEN_MINUTES, 2 * TEN_MINUTES),), inside=(NO, NO)),
    # A session of the provider is running: a manual sync would only sync, it opens no second session.
    Case("a session is running", (("running", HOUR, HOUR),), inside=(NO, NO), last_day=(NO, NO)),
    Case("a session of yesterday is running", (("running", 20 * HOUR, HOUR),), inside=(NO, NO), last_day=(NO, NO)),
    Case(
        "completed, and the next one is running",
        (("complete", 3 * HOUR, TEN_MINUTES), ("running", HOUR, HOUR)),
        inside=(NO, NO),
        last_day=(NO, NO),
    ),
    # Failures: the hourly check waits and counts them, a manual or daily sync does not.
    Case("failed ten minutes ago", (("failed", 2 * TEN_MINUTES, TEN_MINUTES),), inside=(NO, YES), last_day=(NO, YES)),
    Case("failed an hour ago", (("failed", 2 * HOUR, HOUR),)),
    Case("failed twice", (("failed", 4 * HOUR, HOUR), ("failed", 2 * HOUR, HOUR))),
    Case(
        "failed three times",
        (("failed", 6 * HOUR, HOUR), ("failed", 4 * HOUR, HOUR), ("failed", 2 * HOUR, HOUR)),
        inside=(NO, YES),
    ),
    Case("failed three times yesterday", tuple(("failed", n * HOUR, HOUR) for n in (20, 18, 16))),
    Case(
        "failed, then completed",
        (("failed", 6 * HOUR, HOUR), ("complete", 4 * HOUR, TEN_MINUTES)),
        inside=(NO, NO),
    ),
    Case(
        "completed, then failed",
        (("complete", 6 * HOUR, TEN_MINUTES), ("failed", 2 * HOUR, HOUR)),
        inside=(NO, NO),
    ),
    Case("cancelled", (("cancelled", 6 * HOUR, HOUR),), inside=(NO, YES), last_day=(NO, YES)),
    Case("cancelled yesterday", (("cancelled", 20 * HOUR, HOUR),)),
    Case(
        "cancelled, then completed",
        (("cancelled", 6 * HOUR, HOUR), ("complete", HOUR, TEN_MINUTES)),
        inside=(NO, NO),
    ),
    # The daily sync would be refused beside another sync; a stale one is taken over.
    Case("a sync is running", sync_progress=TEN_MINUTES, inside=(NO, NO), last_day=(NO, NO)),
    Case("a trial of one task is left", sync_progress=TEN_MINUTES, dag_run_id="__airflow_temporary_run_1"),
    Case("a sync was killed", sync_progress=HOUR + TEN_MINUTES),
]


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    return OptimizationWorld(warehouse_dsn)


def add_sessions(world: OptimizationWorld, case: Case, now: datetime, billing_period_id: int | None = None) -> None:
    for number, (status, before, duration) in enumerate(case.sessions):
        world.insert(
            "optimization_session",
            service_provider_id=1,
            billing_period_id=billing_period_id or world.billing_period_id,
            status=status,
            opened_by=f"case/{number}",
            started_at=now - before,
            heartbeat_at=now,
            ended_at=None if status == "running" else now - before + duration,
        )
    if case.sync_progress is not None:
        world.insert(
            "device_sync_run",
            service_provider_id=1,
            dag_id="device_sync_jasper",
            dag_run_id=case.dag_run_id,
            is_full=True,
            billing_period_id=world.billing_period_id,
            started_at=now - 3 * HOUR,
            progress_at=now - case.sync_progress,
        )


def due(world: OptimizationWorld, now: datetime, integration: str = "jasper") -> list[tuple[int, bool]]:
    """Return the ids of the due providers, each with whether this is its last day."""
    found = find_due_providers(world.dsn, integration, now=now)
    return [(provider.service_provider_id, provider.is_last_day) for provider in found.due]


def opens_by_auto(world: OptimizationWorld, now: datetime) -> bool:
    """Return whether the daily sync opens a session at a moment."""
    (run,) = open_runs(world.dsn, SyncRequest("jasper", "device_sync_jasper", "daily"), now=now)
    row = world.execute("SELECT optimization_session_id FROM amop.device_sync_run WHERE id = %s", run.run_id)[0]
    return row["optimization_session_id"] is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_which_providers_are_due_and_which_daily_syncs_optimize(world: OptimizationWorld, case: Case) -> None:
    for now, is_last_day, expected in ((INSIDE, False, case.inside), (LAST_DAY, True, case.last_day)):
        add_sessions(world, case, now)
        assert due(world, now) == ([(1, is_last_day)] if expected[0] else []), f"last day: {is_last_day}"
        assert opens_by_auto(world, now) == expected[1], f"last day: {is_last_day}"
        world.execute("TRUNCATE amop.optimization_session, amop.device_sync_run CASCADE")


@pytest.mark.parametrize(
    ("changes_status", "before", "is_due"),
    [
        (None, timedelta(minutes=1), NO),  # undecided
        ("nothing_to_change", timedelta(minutes=1), YES),
        ("proposed_only", timedelta(minutes=1), YES),
        ("no_go", timedelta(minutes=1), YES),
        ("waiting", timedelta(minutes=1), NO),
        ("waiting", timedelta(hours=2) - timedelta(microseconds=1), NO),
        ("waiting", timedelta(hours=2), YES),  # no answer: the next session supersedes them
        ("approved", timedelta(minutes=90), NO),
        ("approved", timedelta(hours=2), YES),
        ("rejected", timedelta(minutes=1), YES),
        ("superseded", timedelta(minutes=1), YES),
        ("stopped", timedelta(minutes=1), YES),
        ("applied", timedelta(minutes=1), YES),
        (None, timedelta(hours=2), YES),  # never decided
    ],
)
def test_on_the_last_day_the_next_session_waits_for_the_plan_changes_of_the_previous_one_up_to_a_limit(
    world: OptimizationWorld, changes_status: str | None, before: timedelta, is_due: bool
) -> None:
    add_sessions(world, Case("completed", (("complete", 4 * HOUR, TEN_MINUTES),)), LAST_DAY)
    world.insert(
        "optimization_instance",
        session_id=world.execute("SELECT id FROM amop.optimization_session")[0]["id"],
        run_status="complete_with_success",
        ended_at=LAST_DAY - before,
        changes_status=changes_status,
        changes_decided_at=None if changes_status is None else LAST_DAY - before,
    )
    assert due(world, LAST_DAY) == ([(1, True)] if is_due else [])


@pytest.mark.parametrize(
    ("changes_status", "column"),
    [("waiting", "approval_lost_at"), ("waiting", "dag_run_deleted_at"), ("approved", "applying_lost_at")],
)
def test_on_the_last_day_no_session_waits_for_plan_changes_that_no_task_works_on(
    world: OptimizationWorld, changes_status: str, column: str
) -> None:
    add_sessions(world, Case("completed", (("complete", 4 * HOUR, TEN_MINUTES),)), LAST_DAY)
    world.insert(
        "optimization_instance",
        session_id=world.execute("SELECT id FROM amop.optimization_session")[0]["id"],
        run_status="complete_with_success",
        ended_at=LAST_DAY - timedelta(minutes=1),
        changes_status=changes_status,
    )
    assert due(world, LAST_DAY) == []
    world.execute(f"UPDATE amop.optimization_session SET {column} = %s", LAST_DAY)
    assert due(world, LAST_DAY) == [(1, True)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 10, 23, 59, tzinfo=NEW_YORK), []),
        (datetime(2026, 11, 11, 0, 0, tzinfo=NEW_YORK), [(1, False)]),
        (CYCLE_END - timedelta(microseconds=1), [(1, True)]),
        (CYCLE_END, []),
    ],
)
def test_outside_the_window_no_provider_is_due(
    world: OptimizationWorld, now: datetime, expected: list[tuple[int, bool]]
) -> None:
    assert due(world, now) == expected


def test_the_start_hour_is_that_of_the_provider(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn, optimization_start_hour_local=13)
    assert due(world, INSIDE) == []
    assert due(world, INSIDE + HOUR) == [(1, False)]


def test_a_completed_session_of_another_billing_period_does_not_count(world: OptimizationWorld) -> None:
    earlier = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=10,
        cycle_start=CYCLE_START - timedelta(days=30),
        cycle_end=CYCLE_START,
    )
    add_sessions(world, Case("manual", (("complete", HOUR, TEN_MINUTES),)), INSIDE, earlier)
    assert due(world, INSIDE) == [(1, False)]


def test_a_running_session_of_another_billing_period_holds_the_provider(world: OptimizationWorld) -> None:
    earlier = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=10,
        cycle_start=CYCLE_START - timedelta(days=30),
        cycle_end=CYCLE_START,
    )
    add_sessions(world, Case("manual", (("running", HOUR, HOUR),)), INSIDE, earlier)
    assert due(world, INSIDE) == []


def test_every_provider_is_checked_independently(world: OptimizationWorld) -> None:
    columns: dict[str, Any] = {"tenant_id": 1, "connection_id": "c", "time_zone": "America/New_York"}
    world.insert("service_provider", id=2, integration_id=1, name="Inactive", is_active=False, **columns)
    world.insert("service_provider", id=3, integration_id=1, name="Ends tomorrow", bill_period_end_day=15, **columns)
    world.insert("service_provider", id=4, integration_id=1, name="Has just begun", bill_period_end_day=13, **columns)
    world.insert(
        "service_provider",
        id=5,
        integration_id=1,
        name="Ends in Tokyo",
        bill_period_end_day=15,
        **columns | {"time_zone": "Asia/Tokyo"},
    )
    world.insert("service_provider", id=6, integration_id=4, name="Another carrier", **columns)
    add_sessions(world, Case("done", (("complete", HOUR, TEN_MINUTES),)), INSIDE)
    # For provider 5 it is the 15th, 02:05: its last day, which does not affect the others.
    assert due(world, INSIDE) == [(3, False), (5, True)]
    assert due(world, INSIDE, "rogers") == [(6, False)]


def test_an_integration_without_optimization_has_no_due_provider(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.integration SET supports_optimization = false WHERE name = 'jasper'")
    assert due(world, INSIDE) == []


def test_a_check_writes_a_missing_billing_period_and_nothing_else(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    world.execute("DELETE FROM amop.billing_period")
    assert due(world, INSIDE) == due(world, INSIDE) == [(1, False)]
    (period,) = world.execute("SELECT cycle_start, cycle_end FROM amop.billing_period")
    assert (period["cycle_start"], period["cycle_end"]) == (CYCLE_START, CYCLE_END)
    for table in ("optimization_session", "device_sync_run", "amop_outbox"):
        assert world.execute(f"SELECT 1 FROM amop.{table}") == []


def test_on_the_last_day_sessions_are_opened_continuously_until_the_period_ends(world: OptimizationWorld) -> None:
    """The rule over a running clock: check, sync, complete, check …; the day before has only one session."""
    now, opened = datetime(2026, 11, 17, 0, 5, tzinfo=NEW_YORK).astimezone(UTC), []
    while now < CYCLE_END + 2 * HOUR:
        if due(world, now):
            opened.append(now.astimezone(NEW_YORK).strftime("%d %H"))
            add_sessions(world, Case("automatic", (("complete", timedelta(0), TEN_MINUTES),)), now)
            world.execute("UPDATE amop.optimization_session SET opened_by = 'session ' || id")
        now += HOUR
    assert opened == ["17 00", *(f"18 {hour:02d}" for hour in range(18))]
