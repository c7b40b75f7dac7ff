"""Rules of the list of modified SIMs, case by case: the cheaper way, and what a list proves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from amop.families import FAMILIES
from amop.plan_changes.list_rules import (
    OVERLAP_CALLS,
    ExpectedReads,
    covers,
    expected_reads,
    newest_shown,
    overlapping_page,
    reason_to_read_each,
    writes_until_next_list,
)
from amop.plan_changes.store.sending import DeviceList, RecentWrite

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
NO_AGE = timedelta(0)
CERTAIN = DeviceList(
    began_at=NOW,
    is_certain=True,
    device_count=100_000,
    daily_modified_count=1_000,
    listed_at=None,
    refusal=None,
)


def writes(*iccids: str) -> list[RecentWrite]:
    """Return writes a second apart, the first one the newest."""
    return [RecentWrite(iccid, NOW - timedelta(seconds=number)) for number, iccid in enumerate(iccids)]


@pytest.mark.parametrize(
    ("changes", "by_list", "one_by_one"),
    [
        # A list of 1,000 SIMs in 24 overlapping pages and one more, a page for each 20 changes, one read, and 1 SIM in
        # 100 read first.
        (1, 25 + 1 + 2, 2),
        (20, 25 + 1 + 2, 40),
        (500, 25 + 25 + 6, 550),
        (20_000, 25 + 1_000 + 201, 20_050),
    ],
)
def test_the_calls_of_both_ways_are_expected_from_the_modifications_of_a_day(
    changes: int, by_list: int, one_by_one: int
) -> None:
    reads = expected_reads(CERTAIN, changes, 50, NO_AGE)
    assert (reads.by_list, reads.one_by_one) == (by_list, one_by_one)


def test_an_older_device_list_has_a_longer_list_of_modified_sims() -> None:
    assert expected_reads(CERTAIN, 20_000, 50, timedelta(days=1)).by_list == 49 + 1_000 + 401


def test_without_an_incremental_list_a_tenth_of_the_sims_a_day_is_assumed() -> None:
    reads = expected_reads(replace(CERTAIN, daily_modified_count=None), 20_000, 50, NO_AGE)
    assert reads == ExpectedReads(by_list=241 + 1_000 + 2_001, one_by_one=20_050, most_pages=492)


def test_no_list_is_longer_than_the_fleet() -> None:
    reads = expected_reads(replace(CERTAIN, device_count=100, daily_modified_count=5_000), 50, 50, NO_AGE)
    assert reads.by_list == 4 + 3 + 51


def test_the_first_list_is_read_only_as_far_as_it_may_save_calls() -> None:
    assert expected_reads(replace(CERTAIN, daily_modified_count=10_000), 100, 50, NO_AGE).most_pages == 144


@pytest.mark.parametrize(
    ("device_list", "age", "words"),
    [
        (replace(CERTAIN, is_certain=False), NO_AGE, "does not say the plan of every SIM for certain"),
        (CERTAIN, timedelta(days=2, seconds=1), "is older than 2 days"),
        (replace(CERTAIN, refusal="400: no list today"), NO_AGE, "400: no list today"),
    ],
)
def test_each_sim_is_read_where_the_device_list_is_not_certain_and_recent(
    device_list: DeviceList, age: timedelta, words: str
) -> None:
    assert words in (reason_to_read_each(device_list, NOW, NOW + age) or "")


def test_a_certain_device_list_of_two_days_may_be_used() -> None:
    assert reason_to_read_each(CERTAIN, NOW, NOW + timedelta(days=2)) is None


@pytest.mark.parametrize(("sims", "calls"), [(50, 1), (98, 2), (99, 3), (141, 3), (250, 6), (1_000, 24), (5_000, 121)])
def test_each_page_has_the_last_sim_of_the_page_before_again_and_reaches_farthest(sims: int, calls: int) -> None:
    read, made = 50, 1
    while read < sims:
        number, size = overlapping_page(read, 50)
        first = (number - 1) * size
        assert first < read < number * size and size <= 50
        read, made = number * size, made + 1
    assert made == calls
    assert made <= 1 + OVERLAP_CALLS * sims / 50


@pytest.mark.parametrize(("pages", "changes"), [(1, 50), (2, 50), (3, 60), (40, 800)])
def test_the_lists_cost_at_most_a_twentieth_of_the_writes_from_three_pages_on(pages: int, changes: int) -> None:
    assert writes_until_next_list(pages) == changes


def test_the_newest_change_that_is_shown_says_how_current_a_list_is() -> None:
    made = writes("d", "c", "b", "a")
    assert newest_shown(["a", "x", "c"], made) == made[1]
    assert newest_shown(["x"], made) is None


def test_a_list_that_shows_only_what_the_previous_one_showed_is_not_current() -> None:
    made = writes("d", "c", "b", "a")
    assert newest_shown(["a", "b"], made, since=made[2].sent_at) is None
    assert newest_shown(["a", "b", "c"], made, since=made[2].sent_at) == made[1]
    assert newest_shown(["a", "b"], made[2:], since=made[2].sent_at) == made[2]


def test_a_list_covers_what_follows_its_first_own_change() -> None:
    made = writes("d", "c", "b", "a")
    assert covers(["x", "b", "c", "d"], made, made[2].sent_at)
    assert covers(["a", "b", "c", "d"], made, made[2].sent_at)
    assert not covers(["c", "d"], made, made[2].sent_at)
    assert not covers(["x"], made, made[2].sent_at)


def test_a_change_that_another_party_touched_again_proves_nothing() -> None:
    made = writes("d", "c", "b", "a")
    assert not covers(["c", "d", "b"], made, made[2].sent_at)


def test_only_control_center_has_a_list_of_modified_sims() -> None:
    assert [name for name, family in FAMILIES.items() if family.capabilities.modified_list] == ["control_center"]
