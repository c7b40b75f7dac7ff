"""The circuit breaker's rules, over any outage: few calls while the carrier is away, soon back when it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from amop.domain.circuit_breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, Circuit, after_failure, is_open

START = datetime(2026, 11, 10, 4, 0, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)
SECONDS = st.lists(st.floats(min_value=0.1, max_value=30), min_size=1, max_size=8)


@given(outage=st.integers(min_value=1, max_value=4 * 3600), answers_take=SECONDS)
def test_an_outage_of_any_length_costs_a_handful_of_calls_in_any_ten_minutes(
    outage: int, answers_take: list[float]
) -> None:
    now, circuit, calls = START, Circuit(), []
    while now < START + timedelta(seconds=outage):
        if is_open(circuit, now):
            assert circuit.open_until is not None
            now = circuit.open_until
            continue
        calls.append(now)
        now += timedelta(seconds=answers_take[len(calls) % len(answers_take)])
        circuit = after_failure(circuit, "no whole answer", now)
    for call in calls:
        assert sum(call <= other < call + TEN_MINUTES for other in calls) <= FAILURES_TO_OPEN + 2
    if circuit.open_until is not None:
        assert circuit.open_until - now <= LONGEST_PAUSE, "the first call after the recovery is soon"
        assert circuit.unwell_since is not None and circuit.unwell_since >= START


@given(failures=st.integers(min_value=0, max_value=10**6))
def test_the_pause_is_never_longer_than_its_limit(failures: int) -> None:
    opened = after_failure(Circuit(failures=failures), "no whole answer", START)
    assert (opened.open_until is None) == (failures + 1 < FAILURES_TO_OPEN)
    assert opened.open_until is None or opened.open_until - START <= LONGEST_PAUSE
