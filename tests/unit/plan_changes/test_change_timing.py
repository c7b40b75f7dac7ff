"""When doubtful plan changes are sent: at once, or in the last optimization that leaves time; and the measured pace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.plan_changes.pace import rate_of
from amop.plan_changes.rules import RESERVE, time_needed
from amop.plan_changes.store.decisions import TimingFacts
from amop.plan_changes.timing import TIME_TO_ANSWER, UNKNOWN_SESSION, LaterRun, last_fitting_run
from amop.runs.session_window import is_last_day, next_daily_session

ZONE = "America/New_York"
END = datetime(2026, 11, 18, 23, 0, tzinfo=UTC)  # 18:00 in New York
NOW = datetime(2026, 11, 12, 13, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def later_run(
    *,
    now: datetime = NOW,
    setting: str = "wait_if_limited",
    start_hour: int = 6,
    session: timedelta | None = HOUR,
    changes: int = 100,
    doubtful: int = 10,
    pace: float = 5.0,
    may_need_approval: bool = False,
) -> LaterRun | None:
    return last_fitting_run(
        TimingFacts(setting, start_hour, session, changes, doubtful),
        now=now,
        cycle_end=END,
        time_zone=ZONE,
        calls_per_second=pace,
        may_need_approval=may_need_approval,
    )


def test_doubtful_changes_wait_for_the_first_session_of_the_last_day() -> None:
    later = later_run()
    assert later is not None
    # 06:00 in New York is 11:00 UTC; a session takes an hour.
    assert later.decides_at == datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
    assert later.reason == (
        "waits for the optimization of 2026-11-18, the last one that leaves time for all changes: another plan may be "
        "better by the end of the period"
    )


def test_on_the_last_day_nothing_waits() -> None:
    midnight = datetime(2026, 11, 18, 5, 0, tzinfo=UTC)  # of the last day in New York
    assert later_run(now=midnight - timedelta(minutes=1)) is not None
    assert later_run(now=midnight) is None
    assert later_run(now=END) is None
    assert later_run(now=END + timedelta(days=1)) is None


@pytest.mark.parametrize(
    ("settings", "day"),
    [
        ({"changes": 50_000}, 18),  # 20,010 s and 10 minutes after 12:00 UTC end at 17:43
        ({"changes": 100_000}, 17),  # 11 hours do not fit between 12:00 and 23:00 UTC, but do on the day before
        ({"changes": 100_000, "pace": 0.5}, 13),  # 111 hours
        ({"start_hour": 16}, 18),
        ({"start_hour": 17}, 17),  # a session from 17:00 to 18:00 ends with the period
        ({"start_hour": 16, "session": None}, 17),  # two hours are assumed
        ({"start_hour": 8, "may_need_approval": True}, 18),  # 8 hours for the answer from 09:00 to 17:00
        ({"start_hour": 9, "may_need_approval": True}, 17),
    ],
)
def test_the_last_run_is_the_last_that_leaves_time_at_the_real_pace(settings: dict[str, object], day: int) -> None:
    later = later_run(**settings)  # type: ignore[arg-type]
    assert later is not None
    assert f"optimization of 2026-11-{day}," in later.reason


def test_without_time_for_a_later_run_everything_is_sent_now() -> None:
    assert later_run(changes=100_000, pace=0.3) is None  # eight days


def test_with_the_setting_off_or_without_doubt_nothing_waits() -> None:
    assert later_run(setting="at_once") is None
    assert later_run(doubtful=0) is None
    assert later_run(setting="wait") == later_run()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(0, 9 * 24 * 60),
    st.integers(0, 23),
    st.one_of(st.none(), st.integers(1, 600)),
    st.integers(1, 300_000),
    st.floats(0.05, 20.0),
    st.booleans(),
)
def test_the_run_that_changes_wait_for_is_of_a_later_day_and_always_leaves_time_for_all_of_them(
    before: int, start_hour: int, minutes: int | None, changes: int, pace: float, may_need_approval: bool
) -> None:
    now = END - timedelta(minutes=before)
    session = None if minutes is None else timedelta(minutes=minutes)
    later = later_run(
        now=now,
        start_hour=start_hour,
        session=session,
        changes=changes,
        pace=pace,
        may_need_approval=may_need_approval,
    )
    length = session or UNKNOWN_SESSION
    answer = TIME_TO_ANSWER if may_need_approval else timedelta(0)
    first = next_daily_session(now, time_zone=ZONE, optimization_start_hour_local=start_hour)
    if later is None:
        fits = first + length + answer + time_needed(changes, pace) + RESERVE <= END
        assert not fits or is_last_day(now, cycle_end=END, time_zone=ZONE)
    else:
        assert later.decides_at >= first + length
        assert later.decides_at + answer + time_needed(changes, pace) + RESERVE <= END


@pytest.mark.parametrize(
    ("intervals", "seconds", "rate"),
    [
        (0, None, 5.0),
        (19, 1000.0, 5.0),  # too few to say anything
        (20, 10.0, 4.0),  # 2 calls a change, 2 changes a second
        (100, 200.0, 1.0),
        (100, 1.0, 5.0),  # never faster than the account allows
        (100, 0.0, 5.0),
    ],
)
def test_the_pace_is_that_of_the_latest_changes_and_at_most_what_the_account_allows(
    intervals: int, seconds: float | None, rate: float
) -> None:
    assert rate_of(intervals, seconds, 5.0) == rate
