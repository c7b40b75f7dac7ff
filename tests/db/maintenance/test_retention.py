"""Retention: expired rows are deleted, rows that are still needed are kept regardless of their age."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from amop.config import RETENTION
from amop.database import sql
from amop.device_sync import fetch
from amop.maintenance import retention
from amop.runs.errors import SyncRunEndedError
from amop.runs.reopening import resume_run
from tests.worlds.archive_world import ArchiveWorld, archive_world
from tests.worlds.reliability import RecordFault

SIMS = 60
DAY = datetime(2026, 11, 2, 15, tzinfo=UTC)
DAYS = {name: period.days for name, period in RETENTION.items()}


@pytest.fixture
def world(warehouse_dsn: str, tmp_path: Path) -> Iterator[ArchiveWorld]:
    with archive_world(warehouse_dsn, tmp_path, as_of=DAY - timedelta(hours=3), sims=SIMS) as world:
        yield world


def days(*names: str) -> dict[str, int]:
    return {name: DAYS[name] for name in names}


def after(number: float) -> datetime:
    return DAY + timedelta(days=number)


def execute(world: ArchiveWorld, statement: str, *values: Any) -> None:
    world.rows(f"{statement} RETURNING 1", *values)


def delete_staging(world: ArchiveWorld, now: datetime) -> int:
    return retention.delete_expired_staging(world.dsn, now=now, **days("staging_days"))


def delete_ledger(world: ArchiveWorld, now: datetime) -> int:
    return retention.delete_expired_ledger(world.dsn, now=now, **days("ledger_days", "run_days"))


def staged(world: ArchiveWorld) -> int:
    return sum(world.count(table.removeprefix("amop.")) for table in retention.STAGING_TABLES)


def test_staging_is_deleted_a_week_after_the_end_of_its_run_and_not_before(world: ArchiveWorld) -> None:
    world.live(DAY)
    rows = staged(world)
    assert rows > 2 * SIMS
    assert delete_staging(world, after(DAYS["staging_days"])) == 0
    assert staged(world) == rows
    assert delete_staging(world, after(DAYS["staging_days"] + 1)) == rows
    assert delete_staging(world, after(DAYS["staging_days"] + 1)) == staged(world) == 0
    assert world.count("device") == SIMS


def test_a_running_run_keeps_everything_regardless_of_its_age(world: ArchiveWorld, reliability: RecordFault) -> None:
    run_id = world.stage_at(DAY)
    rows = staged(world)
    assert delete_staging(world, after(1000)) == delete_ledger(world, after(1000)) == 0
    assert retention.archive_pending_responses(world.dsn, world.archive, now=after(1000), **days("staging_days")) == 0
    assert staged(world) == rows
    world.merge(run_id, now=after(1000))
    assert world.run(run_id)["status"] == "complete"
    reliability(
        fault="maintenance meets a run that has been running for 1000 days",
        injected=1,
        expected=f"{rows} staged rows kept; the run then ends complete",
        seen=f"{staged(world)} staged rows kept; the run is {world.run(run_id)['status']}",
    )


def test_a_failed_run_without_staging_cannot_resume_and_its_error_says_why(world: ArchiveWorld) -> None:
    run_id = world.live(DAY, merges=False)
    execute(world, "UPDATE amop.device_sync_run SET ended_at = %s, error = 'carrier down'", DAY)
    delete_staging(world, after(8))
    with pytest.raises(SyncRunEndedError, match="carrier down. Its staging was removed by maintenance: start a new"):
        resume_run(world.dsn, run_id, clear_number=1, now=after(8))
    again = world.open(world.run(run_id)["dag_run_id"], now=after(8))
    assert (again, world.run(again)["status"]) == (run_id, "failed")


def test_a_run_that_was_reopened_meanwhile_keeps_its_staging(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    run_id = world.live(DAY, merges=False)
    execute(world, "UPDATE amop.device_sync_run SET ended_at = %s", DAY)
    rows = staged(world)
    original = sql.load

    def load(name: str) -> str:
        if name == "maintenance/expire_staging":  # between the query for expired runs and the deletion
            world.clear(run_id)
        return original(name)

    monkeypatch.setattr(sql, "load", load)
    assert delete_staging(world, after(8)) == 0
    assert (staged(world), world.run(run_id)["status"]) == (rows, "running")
    reliability(
        fault="a failed run is reopened while maintenance deletes its staging",
        injected=1,
        expected=f"{rows} staged rows kept",
        seen=f"{staged(world)} staged rows kept",
    )


def test_a_killed_deletion_is_completed_by_the_next_one(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    class Killed(BaseException):
        pass

    world.live(DAY)
    rows = staged(world)
    monkeypatch.setattr(retention, "BATCH_ROWS", 25)
    batches = kills = 0
    original = sql.load

    def load(name: str) -> str:
        nonlocal batches
        batches += name == "maintenance/delete_rows_of_run"
        if batches == 4:
            raise Killed
        return original(name)

    with monkeypatch.context() as patch:
        patch.setattr(sql, "load", load)
        while staged(world):
            batches = 0
            with suppress(Killed):
                delete_staging(world, after(8))
            kills += batches == 4
    assert kills > rows / 100
    assert (staged(world), delete_staging(world, after(8))) == (0, 0)
    reliability(
        fault="maintenance killed after every third batch",
        injected=kills,
        expected=f"{rows} expired rows deleted, {SIMS} SIMs left",
        seen=f"{rows - staged(world)} expired rows deleted, {world.count('device')} SIMs left",
    )


def test_responses_that_are_not_archived_keep_the_staging_until_they_are(world: ArchiveWorld) -> None:
    run_id = world.stage_at(DAY)
    world.merge(run_id, now=DAY)
    responses = world.count("carrier_page")
    assert delete_staging(world, after(8)) == 0
    archived = retention.archive_pending_responses(world.dsn, world.archive, now=after(8), **days("staging_days"))
    assert (archived, world.count("carrier_page")) == (responses, 0)
    assert len(list(world.archive.rglob(f"*_run_{run_id}.jsonl.gz"))) == 1
    assert delete_staging(world, after(8)) > 0
    assert [run.replayed_run_id for run in world.replay(DAY.date())] == [run_id]


def test_a_failed_run_keeps_its_responses_while_it_can_resume_and_is_then_archived_as_incomplete(
    world: ArchiveWorld,
) -> None:
    run_id = world.open("cut", now=DAY)
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=lambda: DAY)
    execute(world, "UPDATE amop.device_sync_run SET status = 'failed', ended_at = %s", DAY)
    responses = world.count("carrier_page")
    assert responses == 2
    assert retention.archive_pending_responses(world.dsn, world.archive, now=after(6), **days("staging_days")) == 0
    assert (
        retention.archive_pending_responses(world.dsn, world.archive, now=after(8), **days("staging_days")) == responses
    )
    assert len(list(world.archive.rglob(f"*_run_{run_id}.incomplete.jsonl.gz"))) == 1
    assert delete_staging(world, after(8)) == SIMS


def test_the_staging_of_a_replay_is_deleted_like_that_of_a_live_run(world: ArchiveWorld) -> None:
    world.live(DAY)
    delete_staging(world, after(8))
    (replayed,) = world.replay(DAY.date())
    assert staged(world) > SIMS
    execute(world, "UPDATE amop.device_sync_run SET ended_at = %s WHERE id = %s", after(20), replayed.run_id)
    assert delete_staging(world, after(26)) == 0
    assert delete_staging(world, after(28)) > SIMS
    assert staged(world) == 0


def test_the_ledger_is_deleted_after_its_staging_and_runs_much_later(world: ArchiveWorld) -> None:
    for number in range(3):
        world.live(after(number), full_sync=True)
    pages = sum(world.count(table.removeprefix("amop.")) for table in retention.LEDGER_TABLES)
    assert delete_ledger(world, after(DAYS["ledger_days"] + 3)) == 0, "its staging is still there"
    delete_staging(world, after(20))
    assert delete_ledger(world, after(DAYS["ledger_days"])) == 0
    assert delete_ledger(world, after(DAYS["ledger_days"] + 3)) == pages
    assert world.count("device_sync_run") == 3
    assert delete_ledger(world, after(DAYS["run_days"] + 3)) == 2


def test_the_latest_complete_run_and_full_list_of_a_provider_are_always_kept(world: ArchiveWorld) -> None:
    full = world.live(DAY)
    old = world.live(after(1))
    latest = world.live(after(2))
    failed = world.live(after(3), merges=False)
    execute(world, "UPDATE amop.device_sync_run SET ended_at = %s WHERE id = %s", after(3), failed)
    delete_staging(world, after(100))
    delete_ledger(world, after(5000))
    kept = {row["id"] for row in world.rows("SELECT id FROM amop.device_sync_run")}
    assert kept == {full, latest}
    assert old not in kept
    following = world.run(world.open("next", now=after(3)))
    assert (following["is_full"], following["modified_since"]) == (False, after(2) - timedelta(days=1))


def test_a_run_is_kept_while_its_session_is_running_or_a_record_of_it_is_quarantined(world: ArchiveWorld) -> None:
    first = world.live(DAY, optimization="always")
    second = world.live(after(1))
    world.live(after(2), full_sync=True)
    execute(
        world,
        "INSERT INTO amop.device_quarantine (run_id, kind, record_key, raw, reason, quarantined_at)"
        " VALUES (%s, 'device', 'x', '{}', 'bad', %s)",
        second,
        after(4000),
    )
    delete_staging(world, after(100))
    execute(world, "UPDATE amop.optimization_session SET status = 'running'")
    delete_ledger(world, after(4000))
    assert {row["id"] for row in world.rows("SELECT id FROM amop.device_sync_run")} >= {first, second}
    execute(world, "UPDATE amop.optimization_session SET status = 'complete'")
    execute(world, "DELETE FROM amop.device_quarantine")
    assert delete_ledger(world, after(4000)) == 2


MESSAGES = {
    # key: (state, age in days, session, is deleted)
    "sent long ago": ("sent", 31, None, True),
    "sent recently": ("sent", 29, None, False),
    "dead-lettered long ago": ("dead", 181, None, True),
    "dead-lettered recently": ("dead", 179, None, False),
    "pending": ("pending", 5000, None, False),
    "of a running session": ("sent", 5000, "running", False),
    "of a session with a pending message": ("sent", 5000, "failed", False),
    "pending of that session": ("pending", 5000, "failed", False),
    "of an ended session": ("sent", 31, "complete", True),
}


def test_messages_are_deleted_by_age_unless_pending_or_needed_by_their_session(world: ArchiveWorld) -> None:
    world.live(DAY)
    now = after(6000)
    sessions = {
        status: world.rows(
            "INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, status, opened_by)"
            " SELECT 1, max(id), %s, %s FROM amop.billing_period RETURNING id",
            status,
            status,
        )[0]["id"]
        for status in ("running", "failed", "complete")
    }
    execute(world, "DELETE FROM amop.amop_outbox")
    for key, (state, age, session, _) in MESSAGES.items():
        moment = now - timedelta(days=age)
        execute(
            world,
            "INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload, state, created_at, sent_at)"
            " VALUES ('progress', %s, %s, '{}', %s, %s, %s)",
            sessions.get(session or ""),
            key,
            state,
            moment,
            moment if state == "sent" else None,
        )
    removed = retention.delete_expired_messages(world.dsn, now=now, **days("sent_message_days", "dead_message_days"))
    left = {row["dedupe_key"] for row in world.rows("SELECT dedupe_key FROM amop.amop_outbox")}
    assert left == {key for key, (*_, is_deleted) in MESSAGES.items() if not is_deleted}
    assert removed == len(MESSAGES) - len(left) == 3


RECORDS = {
    # key: (days since it was quarantined, days since it was resolved, is deleted)
    "resolved long ago": (100, 31, True),
    "resolved recently": (100, 29, False),
    "open": (179, None, False),
    "open for long": (181, None, True),
}


def test_quarantined_records_are_deleted_by_age_unless_their_run_is_running(world: ArchiveWorld) -> None:
    complete = world.live(DAY)
    running = world.stage_at(after(1))
    now = after(1000)
    for run_id in (complete, running):
        for key, (age, resolved, _) in RECORDS.items():
            execute(
                world,
                "INSERT INTO amop.device_quarantine"
                " (run_id, kind, record_key, raw, reason, quarantined_at, resolved_at)"
                " VALUES (%s, 'device', %s, '{}', 'bad', %s, %s)",
                run_id,
                key,
                now - timedelta(days=age),
                None if resolved is None else now - timedelta(days=resolved),
            )
    removed = retention.delete_expired_quarantine(
        world.dsn, now=now, **days("resolved_quarantine_days", "open_quarantine_days")
    )
    left = world.rows("SELECT run_id, record_key FROM amop.device_quarantine")
    assert removed == 2
    assert {row["record_key"] for row in left if row["run_id"] == complete} == {
        key for key, (*_, is_deleted) in RECORDS.items() if not is_deleted
    }
    assert sum(row["run_id"] == running for row in left) == len(RECORDS)


def test_the_archive_keeps_its_days_for_the_retention_period(world: ArchiveWorld) -> None:
    for number in range(3):
        world.live(after(number))
    foreign = world.archive / "jasper" / "1" / "2026-11-01" / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("not ours")
    now = after(DAYS["archive_days"] + 1)
    assert retention.delete_expired_archive(world.archive, now=now, **days("archive_days")) == 1
    assert sorted(path.parent.name for path in world.archive.rglob("*.gz")) == ["2026-11-03", "2026-11-04"]
    assert foreign.exists()
    assert world.replay(DAY.date()) == []
    assert len(world.replay(after(1).date())) == 1


def test_usage_is_deleted_by_whole_billing_periods_and_the_state_of_the_oldest_day_is_kept(world: ArchiveWorld) -> None:
    iccid = min(iccid for iccid, sim in world.truth().items() if sim["data_usage"])
    plans = ["ATT 25 MB", "ATT 100 MB", "ATT 500 MB"]
    for number, plan in enumerate(plans):
        world.carrier.change_devices([iccid], rate_plan=plan, data_usage=100 * (number + 1), roaming_data_usage=0)
        world.live(after(number))
    usage, history = world.count("device_usage"), world.count("device_history")
    (period,) = world.rows(
        "SELECT DISTINCT cycle_end FROM amop.billing_period JOIN amop.device_usage ON"
        " billing_period.id = billing_period_id"
    )
    last = period["cycle_end"] + timedelta(days=DAYS["history_days"])
    assert retention.delete_expired_history(world.dsn, now=last, **days("history_days")) == 2
    assert (world.count("device_usage"), world.count("device_history")) == (usage, history - 2)
    assert world.plans_of(iccid, date(2030, 1, 1)) == [plans[-1]]
    removed = retention.delete_expired_history(world.dsn, now=last + timedelta(hours=1), **days("history_days"))
    assert (removed, world.count("device_usage"), world.count("device_history")) == (usage, 0, history - 2)


@pytest.mark.parametrize("state", ["proposed", "approved"])
def test_the_usage_of_a_period_with_undecided_plan_changes_is_kept(world: ArchiveWorld, state: str) -> None:
    world.live(DAY, optimization="always")
    execute(world, "UPDATE amop.optimization_session SET status = 'complete'")
    execute(world, "INSERT INTO amop.optimization_instance (session_id) SELECT id FROM amop.optimization_session")
    execute(
        world,
        "INSERT INTO amop.rate_plan_change (instance_id, device_id, to_rate_plan, state)"
        " SELECT max(instance.id), min(device.id), 'x', %s"
        " FROM amop.optimization_instance AS instance CROSS JOIN amop.device AS device",
        state,
    )
    usage = world.count("device_usage")
    assert usage > 0
    assert retention.delete_expired_history(world.dsn, now=after(5000), **days("history_days")) == 0
    assert world.count("device_usage") == usage
    execute(world, "UPDATE amop.rate_plan_change SET state = 'rejected'")
    assert retention.delete_expired_history(world.dsn, now=after(5000), **days("history_days")) == usage


def test_usage_that_a_back_fill_restores_is_deleted_again(world: ArchiveWorld) -> None:
    world.live(DAY)
    usage = world.count("device_usage")
    assert retention.delete_expired_history(world.dsn, now=after(5000), **days("history_days")) == usage
    world.replay(DAY.date())
    assert world.count("device_usage") == usage
    assert retention.delete_expired_history(world.dsn, now=after(5001), **days("history_days")) == usage


def test_every_period_is_at_least_its_minimum_and_a_ledger_outlives_its_staging() -> None:
    assert all(each.days >= each.minimum_days >= 1 and each.description for each in RETENTION.values())
    assert DAYS["staging_days"] < DAYS["ledger_days"] < DAYS["run_days"]
    # Two billing periods of 31 days and a month to measure what they saved.
    assert RETENTION["history_days"].minimum_days >= 93
