"""The circuit breaker over outages of any length: few calls during the outage, and a prompt recovery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from amop.carriers.circuit_breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, Circuit, after_failure, is_open

START = datetime(2026, 11, 10, 4, 0, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)
SECONDS = st.lists(st.floats(min_value=0.1, max_value=30), min_size=1, max_size=8)


@given(outage=st.integers(min_value=1, max_value=4 * 3600), call_seconds=SECONDS)
def test_an_outage_of_any_length_costs_a_handful_of_calls_in_any_ten_minutes(
    outage: int, call_seconds: list[float]
) -> None:
    now, circuit, calls = START, Circuit(), []
    while now < START + timedelta(seconds=outage):
        if is_open(circuit, now):
            assert circuit.open_until is not None
            now = circuit.open_until
            continue
        calls.append(now)
        now += timedelta(seconds=call_seconds[len(calls) % len(call_seconds)])
        circuit = after_failure(circuit, "no complete response", now)
    for call in calls:
        assert sum(call <= other < call + TEN_MINUTES for other in calls) <= FAILURES_TO_OPEN + 2
    if circuit.open_until is not None:
        assert circuit.open_until - now <= LONGEST_PAUSE, "the first call after the recovery follows soon"
        assert circuit.failing_since is not None and circuit.failing_since >= START


@given(failures=st.integers(min_value=0, max_value=10**6))
def test_the_pause_is_never_longer_than_its_limit(failures: int) -> None:
    opened = after_failure(Circuit(failures=failures), "no complete response", START)
    assert (opened.open_until is None) == (failures + 1 < FAILURES_TO_OPEN)
    assert opened.open_until is None or opened.open_until - START <= LONGEST_PAUSE
