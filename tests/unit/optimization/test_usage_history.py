"""Projection from the daily history: weights that can be worked out by hand, and the laws that they keep."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop.optimization.forecast import MEGABYTE
from amop.optimization.usage_history import FEWEST_DAYS, WEIGHT_SCALE, UsageDay, UsageHistory, usage_history

ONE_DAY = timedelta(days=1)
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
CYCLE_END = MONDAY + timedelta(days=40)
THIS, LAST = 2, 1
"""Billing periods."""
MB = 1_000_000


def days_until(as_of: datetime, count: int, *, this_period: int | None = None) -> list[UsageDay]:
    """Return whole days that end at a midnight, the latest ones in the present billing period."""
    begin = as_of - count * ONE_DAY
    in_period = count if this_period is None else this_period
    return [
        UsageDay(
            (begin + number * ONE_DAY).date(),
            THIS if number >= count - in_period else LAST,
            begin + number * ONE_DAY,
            begin + (number + 1) * ONE_DAY,
        )
        for number in range(count)
    ]


def history_of(days: Sequence[UsageDay], cycle_end: datetime, time_zone: str = "UTC") -> UsageHistory:
    found = usage_history(
        days, billing_period_id=THIS, usage_as_of=days[-1].ends_at, cycle_end=cycle_end, time_zone=time_zone
    )
    assert found is not None
    return found


def project(history: UsageHistory, megabytes: Sequence[float], *, first_day: int = 0) -> int:
    """Return the projection of a SIM that used these megabytes on the usage days."""
    used = {
        (day.usage_date, day.billing_period_id): round(mb * MEGABYTE)
        for day, mb in zip(history.days, megabytes, strict=True)
    }
    in_cycle = sum(mb for day, mb in zip(history.days, megabytes, strict=True) if day.billing_period_id == THIS)
    return history.project(round(in_cycle * MB), first_day=first_day, bytes_by_day=used)


def test_a_sim_that_uses_the_same_every_day_goes_on_like_that_and_one_percent() -> None:
    as_of = MONDAY + timedelta(days=14)
    history = history_of(days_until(as_of, 14), as_of + timedelta(days=5))
    assert project(history, [3.0] * 14) == pytest.approx(1.01 * (14 + 5) * 3 * MB, rel=1e-5)


def test_weights_of_three_days_are_those_worked_out_by_hand() -> None:
    # Monday to Wednesday are known; Thursday and half of Friday are left, of which nothing was seen: both go on at
    # the overall rate, a third of the usage of three days each day, and 1 % on all.
    as_of = MONDAY + timedelta(days=3)
    history = history_of(days_until(as_of, 3), as_of + timedelta(days=1, hours=12))
    assert history.weights[0] == (500_000,) * 3
    assert history.counts == (3, 2, 1, 0)
    assert project(history, [1, 2, 6]) == 1.01 * (9 * MB + 4_500_000)


def test_a_weekday_is_mixed_with_one_day_of_double_weight_at_the_overall_rate() -> None:
    # Two weeks are known, the rest is one Monday. Mondays have 2 days of double weight, κ is one of double weight:
    # rate = (2·(u1 + u8) + 2·overall) / (4 + 2), overall = Σ / 14: Mondays weigh (1 + 1/14) / 3, other days 1/14 / 3.
    as_of = MONDAY + timedelta(days=14)
    history = history_of(days_until(as_of, 14), as_of + ONE_DAY)
    monday, other = Fraction(15, 14) / 3, Fraction(1, 14) / 3
    expected = [monday if day.begins_at.weekday() == 0 else other for day in history.days]
    assert history.weights[0] == tuple(round(weight * WEIGHT_SCALE) for weight in expected)
    # It reports on Mondays only: 7 MB on each. The formula would add a seventh of that for any day left.
    assert project(history, [7, *[0] * 6, 7, *[0] * 6]) == pytest.approx(
        1.01 * float(14 * MB + 14 * MB * monday), rel=1e-5
    )


def test_days_of_the_last_two_weeks_count_twice_and_after_four_weeks_not_at_all() -> None:
    as_of = MONDAY + timedelta(days=35)
    history = history_of(days_until(as_of, 35, this_period=20), as_of + timedelta(days=7))
    weights = history.weights[0]
    assert weights[:7] == (0,) * 7
    assert all(recent == pytest.approx(2 * old, abs=1) for old, recent in zip(weights[7:14], weights[28:], strict=True))
    assert history.counts[:9] == (28,) * 8 + (27,)
    # Whole weeks are known and a whole week is left: 1 MB a day is 7 MB more.
    assert sum(weights) == pytest.approx(7 * WEIGHT_SCALE, abs=35)


def test_a_row_of_several_days_is_spread_over_them() -> None:
    as_of = MONDAY + timedelta(days=14)
    whole = days_until(as_of, 14)
    missed = [*whole[:4], UsageDay(whole[8].usage_date, THIS, whole[4].begins_at, whole[8].ends_at), *whole[9:]]
    history = history_of(missed, as_of + timedelta(days=5))
    used = [2.0] * 4 + [10.0] + [2.0] * 5
    assert project(history, used) == pytest.approx(1.01 * (14 + 5) * 2 * MB, rel=1e-5)


def test_a_sim_counts_from_the_first_day_that_began_after_its_activation() -> None:
    as_of = MONDAY + timedelta(days=14)
    history = history_of(days_until(as_of, 14), as_of + timedelta(days=7))
    activated = as_of - timedelta(days=5) + timedelta(hours=6)
    first_day = history.first_day_of(activated)
    assert (first_day, history.counts[first_day]) == (10, 4)
    # 4 MB in each of the last four days and 3 on the day of the activation: 28 MB more, not a share of two weeks.
    assert project(history, [0] * 9 + [3] + [4] * 4, first_day=first_day) == pytest.approx(
        1.01 * (19 + 28) * MB, rel=1e-5
    )
    assert history.first_day_of(None) == 0
    assert history.first_day_of(history.days[3].begins_at) == 3
    assert history.first_day_of(as_of) == 14


def test_the_last_day_is_what_the_others_leave_of_the_usage_so_far() -> None:
    as_of = MONDAY + timedelta(days=4)
    days = days_until(as_of, 4, this_period=2)
    history = history_of(days, as_of + ONE_DAY)
    used = {(day.usage_date, day.billing_period_id): MEGABYTE for day in days}
    # A later sync added to the row of today, which is not read.
    later = used | {(days[-1].usage_date, THIS): 999 * MEGABYTE}
    first, again = (history.project(3 * MB, first_day=0, bytes_by_day=rows) for rows in (used, later))
    assert first == again == 1.01 * (3 * MB + 1_250_000)
    # A counter that went down leaves less than the rows: the last day is then nothing, never less.
    assert history.project(MB // 2, first_day=0, bytes_by_day=used) == 1.01 * (MB // 2 + 750_000)


@pytest.mark.parametrize(
    ("days", "as_of"),
    [
        ([], MONDAY),
        (days_until(MONDAY, FEWEST_DAYS - 1), MONDAY),
        (days_until(MONDAY, 9), MONDAY + timedelta(seconds=1)),
        (days_until(MONDAY, 9, this_period=0), MONDAY),
        (days_until(CYCLE_END, 9), CYCLE_END),
        (days_until(MONDAY, 40, this_period=1)[:10] + days_until(MONDAY, 2), MONDAY),
    ],
    ids=["no sync", "two days", "usage of another moment", "another period", "period over", "too old"],
)
def test_there_is_no_history_to_speak_of(days: list[UsageDay], as_of: datetime) -> None:
    assert usage_history(days, billing_period_id=THIS, usage_as_of=as_of, cycle_end=CYCLE_END, time_zone="UTC") is None


def test_weekdays_are_those_of_the_provider() -> None:
    # Sunday 23:00 in New York is Monday 04:00 in UTC. Each usage day runs from 04:00 to 04:00, so it is one local day.
    as_of = datetime(2026, 10, 19, 4, tzinfo=UTC)
    history = history_of(days_until(as_of, 14), as_of + ONE_DAY, "America/New_York")
    heaviest = max(history.weights[0])
    of_the_heaviest = [day.usage_date for day, w in zip(history.days, history.weights[0], strict=True) if w == heaviest]
    assert of_the_heaviest == [date(2026, 10, 5), date(2026, 10, 12)]
    assert history_of(days_until(as_of, 14), as_of + ONE_DAY).weights != history.weights


def test_a_day_of_25_hours_is_longer() -> None:
    # New York's clocks go back on 1 November 2026: local midnights are 25 hours apart.
    midnights = [datetime(2026, 10, day, 4, tzinfo=UTC) for day in (29, 30, 31)] + [
        datetime(2026, 11, 1, 4, tzinfo=UTC),
        datetime(2026, 11, 2, 5, tzinfo=UTC),
    ]
    days = [UsageDay(begin.date(), THIS, begin, end) for begin, end in itertools.pairwise(midnights)]
    history = history_of(days, midnights[-1] + timedelta(hours=97), "America/New_York")
    # 97 hours are known and 97 hours are left, none on a weekday that was seen but Thursday's 24 and an hour of Friday.
    assert project(history, [24, 24, 24, 25]) == pytest.approx(1.01 * 2 * 97 * MB, rel=1e-5)


def test_a_usage_day_needs_time_zones_and_a_duration() -> None:
    naive = MONDAY.replace(tzinfo=None)
    for begins_at, ends_at in ((naive, MONDAY), (MONDAY, naive), (MONDAY, MONDAY)):
        with pytest.raises(ValueError, match="is invalid"):
            UsageDay(date(2026, 11, 2), THIS, begins_at, ends_at)
    with pytest.raises(ValueError, match="need a time zone"):
        usage_history([], billing_period_id=THIS, usage_as_of=naive, cycle_end=CYCLE_END, time_zone="UTC")


def test_a_usage_day_is_the_same_after_a_way_through_json() -> None:
    day = days_until(MONDAY, 1)[0]
    assert UsageDay.from_json(day.as_json()) == day


MEGABYTES = st.lists(st.integers(0, 10**6), min_size=20, max_size=20)


@given(megabytes=MEGABYTES, hours_left=st.integers(1, 600), first_day=st.integers(0, 17))
def test_a_projection_is_never_below_the_usage_so_far(megabytes: list[int], hours_left: int, first_day: int) -> None:
    as_of = MONDAY + timedelta(days=20)
    history = history_of(days_until(as_of, 20, this_period=12), as_of + timedelta(hours=hours_left))
    assert project(history, megabytes, first_day=first_day) >= sum(megabytes[8:]) * MB


@given(megabytes=MEGABYTES, factor=st.integers(2, 50))
def test_a_sim_that_uses_n_times_as_much_is_projected_to_n_times_as_much(megabytes: list[int], factor: int) -> None:
    as_of = MONDAY + timedelta(days=20)
    history = history_of(days_until(as_of, 20, this_period=12), as_of + timedelta(days=6))
    once, often = project(history, megabytes), project(history, [factor * mb for mb in megabytes])
    assert abs(often - factor * once) <= factor  # each of the two is rounded once, to 1e-6 MB


@given(hours_left=st.integers(1, 700))
def test_more_time_left_is_never_less_usage(hours_left: int) -> None:
    as_of = MONDAY + timedelta(days=20)
    days = days_until(as_of, 20, this_period=12)
    soon, later = (history_of(days, as_of + timedelta(hours=hours)) for hours in (hours_left, hours_left + 5))
    assert all(a <= b for a, b in zip(soon.weights[0], later.weights[0], strict=True))
