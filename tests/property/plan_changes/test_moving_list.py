"""The list of modified SIMs while SIMs are modified and removed between its pages: complete, or known not to be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amop.carriers.protocol import DevicePage
from amop.families import ICCID
from amop.plan_changes.list_check import SimsMovedError, read_modified

NOW = datetime(2026, 11, 10, 4, 0, tzinfo=UTC)
FIRST = 8901_0000_0000_0000_000
PAGE_SIZE = 6
"""A small one: many SIMs are at the end of some page."""


class MovingList:
    """A carrier whose list has the oldest modification first; SIMs are modified or removed after each of its pages.

    Args:
        sims: number of SIMs at the start.
        modified: after each page, numbers of SIMs that are modified one after another; those from ``sims`` on were not
            listed before.
        removed: after each page, numbers of SIMs that are removed before these modifications.
        plans_change: whether the modified SIMs have another rate plan then.
    """

    def __init__(
        self,
        sims: int,
        modified: Sequence[Sequence[int]] = (),
        removed: Sequence[Sequence[int]] = (),
        *,
        plans_change: bool = True,
    ) -> None:
        self._modified, self._removed = list(modified), list(removed)
        self._plans_change = plans_change
        self._gone: set[int] = set()
        self.pages = 0
        self.plans = dict.fromkeys(range(sims), "first")
        """Number of a SIM → its rate plan, in order of modification."""

    def list_devices_page(self, *, modified_since: datetime, page_number: int, page_size: int) -> DevicePage:
        """Return a page; then SIMs are removed and modified, unless it was the last one."""
        first, end = (page_number - 1) * page_size, page_number * page_size
        shown = [{"iccid": iccid(number), "ratePlan": plan} for number, plan in self.plans.items()][first:end]
        is_last = end >= len(self.plans)
        self.pages += 1
        if not is_last:
            self._change(f"modified after page {self.pages}")
        return DevicePage(page_number, shown, is_last, {})

    def _change(self, plan: str) -> None:
        for number in self._removed.pop(0) if self._removed else ():
            self.plans.pop(number, None)
            self._gone.add(number)
        for number in self._modified.pop(0) if self._modified else ():
            if number not in self._gone:
                before = self.plans.pop(number, "first")
                self.plans[number] = plan if self._plans_change else before


def iccid(number: int) -> str:
    return str(FIRST + number)


def missed(carrier: MovingList, page_size: int = PAGE_SIZE) -> set[int] | None:
    """Return the SIMs whose last modification a complete reading does not have; None if it saw that SIMs moved."""
    client: Any = carrier
    try:
        listed = read_modified(
            client, since=NOW, most_pages=100, page_size=page_size, identifier=ICCID, clock=lambda: NOW
        )
    except SimsMovedError:
        return None
    assert listed.pages == carrier.pages
    return {number for number, plan in carrier.plans.items() if listed.rate_plans.get(iccid(number)) != plan}


SIMS = st.integers(min_value=0, max_value=24)
NUMBERS = st.integers(min_value=0, max_value=26)
CHANGES = st.lists(st.lists(NUMBERS, max_size=4), max_size=4)


@given(sims=SIMS, modified=CHANGES, plans_change=st.booleans())
@example(sims=7, modified=[[5]], plans_change=True)
@example(sims=7, modified=[[4, 5]], plans_change=True)
@example(sims=7, modified=[[0, 1, 2, 3, 4, 5]], plans_change=False)
@example(sims=11, modified=[[], [8, 9]], plans_change=False)
@settings(max_examples=400)
def test_whatever_is_modified_between_two_pages_no_sim_is_missed_unseen(
    sims: int, modified: list[list[int]], plans_change: bool
) -> None:
    assert not missed(MovingList(sims, modified, plans_change=plans_change))


@given(sims=SIMS, removed=CHANGES)
@example(sims=7, removed=[[0]])
@example(sims=16, removed=[[8], [0]])
@settings(max_examples=400)
def test_whatever_is_removed_between_two_pages_no_sim_is_missed_unseen(sims: int, removed: list[list[int]]) -> None:
    assert not missed(MovingList(sims, removed=removed))


@given(sims=SIMS, modified=CHANGES, removed=CHANGES, plans_change=st.booleans())
@example(sims=16, modified=[[], [9]], removed=[[0]], plans_change=False)
@settings(max_examples=400)
def test_removals_and_modifications_in_different_pauses_hide_no_sim_unseen(
    sims: int, modified: list[list[int]], removed: list[list[int]], plans_change: bool
) -> None:
    apart = [[] if index < len(modified) and modified[index] else gone for index, gone in enumerate(removed)]
    assert not missed(MovingList(sims, modified, apart, plans_change=plans_change))


@pytest.mark.parametrize("sims", [51, 60, 98, 99, 120, 165])
def test_each_single_modification_between_two_pages_of_fifty_is_seen_or_hides_nothing(sims: int) -> None:
    carrier = MovingList(sims)
    assert missed(carrier, 50) == set()
    for after in range(carrier.pages - 1):
        for number in range(sims + 1):
            assert not missed(MovingList(sims, [[]] * after + [[number]]), 50), (after, number)


def test_sims_that_do_not_move_are_read_at_once() -> None:
    for sims in range(60):
        assert missed(MovingList(sims)) == set()


def test_a_modification_of_a_sim_that_was_not_read_moves_nothing_that_was() -> None:
    assert missed(MovingList(60, [[50, 59, 60]]), 50) == set()


def test_the_coincidence_that_hides_a_sim_is_a_removal_and_a_modification_without_another_plan_in_one_pause() -> None:
    # The last SIM of page 1 moves behind the SIM not read, and its place is the same because an earlier SIM is removed.
    assert missed(MovingList(51, [[49]], [[0]], plans_change=False), 50) == {50}
    assert missed(MovingList(51, [[49]], [[0]]), 50) is None
    assert missed(MovingList(51, [[49]], plans_change=False), 50) is None
