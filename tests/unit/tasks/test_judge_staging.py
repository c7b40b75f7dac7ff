"""When a run's staging is ready, when it is waited for, and when it has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from amop.device_sync.rows import StagingProgress
from amop.tasks.staging_sensor import StagingState, judge_staging

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMIT = timedelta(minutes=30)
COMPLETE = StagingProgress("running", None, 7, True, NOW, 0, NOW)


def state(progress: StagingProgress | None) -> StagingState:
    return judge_staging(progress, run_id=5, limit=LIMIT)


def test_a_complete_list_without_work_rows_is_ready() -> None:
    assert state(COMPLETE) == StagingState("ready", "0 work rows left after 7 pages")


def test_a_run_that_has_ended_as_complete_is_ready_however_long_ago() -> None:
    long_ago = replace(COMPLETE, status="complete", progress_at=NOW - timedelta(days=3))
    assert state(long_ago).name == "ready"


@pytest.mark.parametrize(
    "progress",
    [
        replace(COMPLETE, work_rows_left=1),
        replace(COMPLETE, list_is_complete=False),
        replace(COMPLETE, list_is_complete=False, work_rows_left=3),
        replace(COMPLETE, work_rows_left=1, progress_at=NOW - LIMIT),
    ],
)
def test_rows_that_are_left_and_a_list_that_is_not_complete_are_waited_for(progress: StagingProgress) -> None:
    assert state(progress).name == "waiting"


@pytest.mark.parametrize("change", [{"work_rows_left": 1}, {"list_is_complete": False}])
def test_a_sync_without_progress_for_longer_than_the_limit_has_failed(change: dict[str, object]) -> None:
    stale = replace(COMPLETE, progress_at=NOW - LIMIT - timedelta(seconds=1), **change)  # type: ignore[arg-type]
    failed = state(stale)
    assert failed.name == "failed"
    assert failed.reason.startswith("the sync of run 5 has made no progress for 30 minutes (")


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_sync_that_has_failed_is_never_ready_and_gives_its_reason(status: str) -> None:
    assert state(replace(COMPLETE, status=status, error="no key")) == StagingState(
        "failed", f"the sync of run 5 {status}: no key"
    )


def test_a_run_that_does_not_exist_has_failed() -> None:
    assert state(None) == StagingState("failed", "device_sync_run 5 does not exist")
