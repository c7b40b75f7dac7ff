"""The rule of the pace in simulated time: no carrier that counts arrivals ever sees a call too many.

The rule is that of ``carriers/begin_call.sql`` and ``carriers/end_call.sql``, which ``tests/db/carriers`` checks by
figures; here it meets ten thousand calls whose time before and after the arrival an adversary chooses.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amop.carriers.call_gate import CALLS_TO_LEARN, COUNTED_SHARE, GROWTH, MARGIN_SECONDS, window_of
from amop.carriers.held_turn import HeldTurn

LIMIT = 5
Delays = Callable[[random.Random], tuple[float, float]]
"""Returns the seconds of a call before its arrival at the carrier and after it."""


class Pace:
    """The row of an API user, in simulated time.

    Args:
        is_proved: count no fastest call and no margin: a window after the end of the fifth call before.
    """

    def __init__(self, *, is_proved: bool = False) -> None:
        self.calls, self.window = (LIMIT, 1.0) if is_proved else window_of(LIMIT)
        self.share = 0.0 if is_proved else COUNTED_SHARE
        self.recent: list[float] = []
        self.fastest = float("inf")
        self.timed = 0
        self.largest_known = 0.0
        """Longest duration that has ever counted as that of the fastest call."""

    def earliest(self, now: float) -> float:
        """Return when the next call may start."""
        if len(self.recent) < self.calls:
            return now
        known = self.share * self.fastest if self.timed >= CALLS_TO_LEARN else 0.0
        self.largest_known = max(self.largest_known, known)
        return max(now, self.recent[-self.calls] + self.window - known)

    def end(self, now: float, seconds: float) -> None:
        self.recent = [*self.recent, now][-self.calls :]
        self.fastest = min(seconds, self.fastest * GROWTH)
        self.timed += 1


def arrivals(calls: int, delays: Delays, seed: int, *, is_proved: bool = False) -> tuple[list[float], float, float]:
    """Return when each call arrives, the mean response time, and what ever counted as the fastest call."""
    dice, pace, now, found, spent = random.Random(seed), Pace(is_proved=is_proved), 0.0, [], 0.0
    for _ in range(calls):
        now = pace.earliest(now)
        before, after = delays(dice)
        found.append(now + before)
        now += before + after
        spent += before + after
        pace.end(now, before + after)
    return found, spent / calls, pace.largest_known


def shortest_window(found: list[float]) -> float:
    """Return the shortest time between a call and the fifth one before it; below a second it is one call too many."""
    return min(later - earlier for earlier, later in zip(found, found[LIMIT:], strict=False))


def adversary(fastest: float, spread: float, outlier_share: float) -> Delays:
    """Return delays that an adversary puts before or after the arrival, as it likes, beside a fixed way there and back.

    Args:
        fastest: seconds of the fastest possible call, a third of it before the arrival.
        spread: longest delay beyond it.
        outlier_share: share of the calls that are two seconds late.
    """

    def delays(dice: random.Random) -> tuple[float, float]:
        extra = 2.0 if dice.random() < outlier_share else spread * dice.random() ** 2
        before = extra if dice.random() < 0.5 else 0.0
        return fastest / 3 + before, fastest * 2 / 3 + extra - before

    return delays


@pytest.mark.parametrize("mean", [0.02, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("outlier_share", [0.0, 0.01])
def test_ten_thousand_calls_have_no_violation_wherever_their_delays_lie(mean: float, outlier_share: float) -> None:
    found, _, _ = arrivals(10_000, adversary(0.75 * mean, 0.5 * mean, outlier_share), seed=1)
    assert shortest_window(found) >= 1.0


def test_no_call_is_too_many_where_both_ways_vary_by_a_quarter_each() -> None:
    """The way there of one call and the way back of another are then shorter together than any call that was seen."""
    found = [
        arrivals(5_000, lambda dice: (dice.uniform(0.075, 0.125), dice.uniform(0.075, 0.125)), n) for n in range(40)
    ]
    assert min(shortest_window(each) for each, _, _ in found) >= 1.0


@given(
    fastest=st.floats(0.001, 0.5), share=st.floats(0.0, 3.0), outlier_share=st.sampled_from([0.0, 0.02]),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_only_the_error_of_the_known_fastest_call_can_be_missing(
    fastest: float, share: float, outlier_share: float, seed: int
) -> None:
    found, _, known = arrivals(500, adversary(fastest, share * fastest, outlier_share), seed)
    assert shortest_window(found) >= 1.0 + MARGIN_SECONDS - max(0.0, known - fastest) - 1e-6


@pytest.mark.parametrize(("mean", "times_the_floor"), [(0.02, 1.03), (0.1, 1.06), (0.2, 1.09), (0.4, 1.06)])
def test_the_pace_stays_near_the_floor(mean: float, times_the_floor: float) -> None:
    found, spent, _ = arrivals(5_000, lambda dice: (0.0, mean * dice.uniform(0.75, 1.25)), seed=2)
    floor = len(found) / min(LIMIT, 1 / spent)
    assert found[-1] - found[0] <= times_the_floor * floor


def arrivals_in_turns(calls: int, delays: Delays, limit: float, turn_seconds: float, seed: int) -> list[float]:
    """Return when each call arrives if all are made in turns, between which the process does something else."""
    dice, now, known, timed = random.Random(seed), 100.0, float("inf"), 0
    window = window_of(limit)
    found: list[float] = []
    ends: list[float] = []
    while len(found) < calls:
        counted = COUNTED_SHARE * known if timed >= CALLS_TO_LEARN else 0.0
        turn = HeldTurn(
            [now - end for end in ends], counted, calls=window[0], window_seconds=window[1],
            counted_share=COUNTED_SHARE, sent=now, received=now, seconds=turn_seconds,
        )  # fmt: skip
        while (wait := turn.seconds_to_wait(now)) is not None:
            now += wait
            before, after = delays(dice)
            found.append(now + before)
            now += before + after
            turn.end_call(now, before + after)
        ends = [now - age for age in turn.ages(now)]
        if turn.fastest is not None:
            known = min(turn.fastest, known * GROWTH**turn.answered)
        timed += turn.answered
        now += dice.uniform(0, 0.05)
    return found


@pytest.mark.parametrize("limit", [LIMIT, 16, 200])
@pytest.mark.parametrize("outlier_share", [0.0, 0.01])
def test_calls_in_turns_keep_the_limit_wherever_their_delays_lie(limit: float, outlier_share: float) -> None:
    found = arrivals_in_turns(5_000, adversary(0.004, 0.01, outlier_share), limit, 0.2, seed=3)
    spans = [later - earlier for earlier, later in zip(found, found[int(limit) :], strict=False)]
    assert min(spans) >= 1.0


# The response time drops


SLOW, FAST = 0.150, 0.010
"""Mean seconds of a call before and after the drop."""
SEEDS = range(500)


def dropping(way_there: float, slow_calls: int) -> Delays:
    """Return delays that drop from `SLOW` to `FAST` after a number of calls, each of them within 25 %.

    Args:
        way_there: share of the response time before the arrival at the carrier.
        slow_calls: calls before the drop.
    """
    left = [slow_calls]

    def delays(dice: random.Random) -> tuple[float, float]:
        seconds = (SLOW if left[0] > 0 else FAST) * dice.uniform(0.75, 1.25)
        left[0] -= 1
        return way_there * seconds, (1 - way_there) * seconds

    return delays


def early_calls(way_there: float, seed: int, *, is_proved: bool = False) -> list[float]:
    """Return by how many seconds calls arrive too early around a drop."""
    slow_calls = CALLS_TO_LEARN + 50 + seed % 50
    found, _, _ = arrivals(slow_calls + 100, dropping(way_there, slow_calls), seed, is_proved=is_proved)
    return [
        1.0 - (later - earlier) for earlier, later in zip(found, found[LIMIT:], strict=False) if later - earlier < 1
    ]


@pytest.mark.parametrize("way_there", [0.0, 0.02, 0.05])
def test_a_drop_after_the_arrival_lets_no_call_through_too_early(way_there: float) -> None:
    """The carrier answers faster: the way there is the same, or shorter by less than the margin and 3 % of a call."""
    assert not any(early_calls(way_there, seed) for seed in SEEDS)


@pytest.mark.parametrize("way_there", [0.2, 0.33, 0.5, 1.0])
def test_a_drop_on_the_way_there_lets_at_most_one_call_through_by_what_it_became_shorter(way_there: float) -> None:
    found = [early_calls(way_there, seed) for seed in SEEDS]
    assert any(found)
    assert max(len(each) for each in found) == 1, "a fast call counts at once"
    shorter = 1.25 * way_there * SLOW - 0.75 * way_there * FAST
    counted = 0.75 * SLOW * (1 - COUNTED_SHARE)
    assert max(each[0] for each in found if each) <= shorter - MARGIN_SECONDS - counted


@pytest.mark.parametrize("way_there", [0.0, 0.05, 0.2, 0.33, 0.5, 1.0])
def test_a_window_after_the_end_of_calls_alone_is_safe_whatever_drops(way_there: float) -> None:
    assert not any(early_calls(way_there, seed, is_proved=True) for seed in SEEDS)


@pytest.mark.parametrize(
    ("mean", "paced", "proved"), [(0.02, 1.02, 1.02), (0.1, 1.04, 1.11), (0.2, 1.09, 1.22), (0.4, 1.0, 1.0)]
)
def test_what_the_proof_against_any_drop_would_cost(mean: float, paced: float, proved: float) -> None:
    """The figures of ADR 3, in times the floor, rounded up to hundredths."""
    for is_proved, expected in ((False, paced), (True, proved)):
        found, spent, _ = arrivals(
            5_000, lambda dice: (0.0, mean * dice.uniform(0.75, 1.25)), seed=2, is_proved=is_proved
        )
        found = found[500:]
        floor = (len(found) - 1) / min(LIMIT, 1 / spent)
        assert expected - 0.01 < (found[-1] - found[0]) / floor <= expected
