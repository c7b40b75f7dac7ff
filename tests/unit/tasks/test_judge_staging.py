"""When a run's staging is ready, when it is waited for, and when it has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from amop.device_sync.rows import StagingProgress
from amop.tasks.staging_sensor import StagingState, WaitLimits, judge_staging, pause_after

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMIT = timedelta(minutes=30)
LONG_AGO = NOW - timedelta(days=2)
COMPLETE = StagingProgress(5, "running", None, 7, True, NOW, 0, 0, NOW)


def state(progress: StagingProgress | None) -> StagingState:
    return judge_staging(progress, run_id=5, limits=WaitLimits(no_progress=LIMIT), waiting_since=LONG_AGO)


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


def test_tries_that_run_out_fail_the_wait_and_say_that_the_rows_are_left() -> None:
    waiting = replace(COMPLETE, work_rows_left=3, progress_at=LONG_AGO)
    limits = WaitLimits(max_tries=14, delay=timedelta(seconds=300), no_progress=None)
    began = NOW - timedelta(seconds=14 * 300)
    assert judge_staging(waiting, run_id=5, limits=limits, waiting_since=began).name == "waiting"
    assert judge_staging(waiting, run_id=5, limits=limits, waiting_since=began - timedelta(seconds=1)) == StagingState(
        "failed",
        "the staging of run 5 is not complete after 14 tries, 300 seconds apart (3 work rows left after 7 pages); the "
        "rows are left as they are",
    )


def test_a_staging_that_is_ready_with_the_last_try_is_ready() -> None:
    limits = WaitLimits(max_tries=1, no_progress=None)
    assert judge_staging(COMPLETE, run_id=5, limits=limits, waiting_since=LONG_AGO).name == "ready"


def test_rows_that_the_sync_has_given_up_are_not_waited_for_but_named() -> None:
    assert state(replace(COMPLETE, work_rows_given_up=2)) == StagingState(
        "ready", "0 work rows left after 7 pages, 2 more abandoned by the sync after their retries"
    )


def test_the_pause_between_two_polls_grows_from_a_second_to_a_minute() -> None:
    assert [pause_after(waited, 1.0) for waited in (0, 5, 10, 100, 600, 86_400)] == [1, 1, 1, 10, 60, 60]
