"""Enforce and count the limits of one API user: by default five calls in any second, one at a time."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

WINDOW_SECONDS = 1.0
CALLS_PER_WINDOW = 5


@dataclass(frozen=True, slots=True)
class CallLimit:
    """A carrier's published limit of the calls of one API user."""

    calls: int
    """Admitted calls in any window."""
    window_seconds: float
    is_one_at_a_time: bool


FAMILY_LIMITS = {"teal": CallLimit(calls=1000, window_seconds=60.0, is_one_at_a_time=False)}
"""Family → its limit, where it is not the one of the world's API users."""


class CallLimiter:
    """Admit or refuse the calls of one API user, and count them.

    The limit is a sliding window: a call is refused if all its calls were admitted within the window before it, or, if
    the limit is one call at a time, while another call is in flight. Refused calls do not count towards the window.

    Args:
        limit: the limit; None = five calls in any second, one at a time.
        is_enforced: False counts violations without refusing the calls.
    """

    def __init__(self, limit: CallLimit | None = None, *, is_enforced: bool = True) -> None:
        self.limit = limit or CallLimit(CALLS_PER_WINDOW, WINDOW_SECONDS, is_one_at_a_time=True)
        self.is_enforced = is_enforced
        self._admitted: deque[float] = deque()
        self._arrived: deque[float] = deque()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Reset the counters to zero, but keep the window and the calls in flight."""
        self.calls = 0
        self.violations: Counter[str] = Counter()
        self.calls_by_endpoint: Counter[str] = Counter()
        self.responses_by_status: Counter[int] = Counter()
        self.max_concurrent = 0
        self.max_calls_in_any_second = 0

    def begin(self, endpoint: str, now: float) -> str | None:
        """Count an arriving call and return the reason for refusing it, or None to admit it.

        Call `end` for every call, including refused ones.

        Args:
            endpoint: method and path template, for the counters.
            now: monotonic time of arrival in seconds.
        """
        self.calls += 1
        self.calls_by_endpoint[endpoint] += 1
        self._in_flight += 1
        _drop_before(self._admitted, now - self.limit.window_seconds)
        _drop_before(self._arrived, now - WINDOW_SECONDS)
        self._arrived.append(now)
        self.max_concurrent = max(self.max_concurrent, self._in_flight)
        self.max_calls_in_any_second = max(self.max_calls_in_any_second, len(self._arrived))
        refusal = None
        if self._in_flight > 1 and self.limit.is_one_at_a_time:
            self.violations["concurrent"] += 1
            refusal = "another call of this API user is in flight; only one call at a time is allowed"
        elif len(self._admitted) >= self.limit.calls:
            self.violations["rate"] += 1
            window = "a second" if self.limit.window_seconds == 1 else f"{self.limit.window_seconds:g} seconds"
            refusal = f"more than {self.limit.calls} calls in {window}"
        if refusal is None or not self.is_enforced:
            self._admitted.append(now)
            return None
        return refusal

    def end(self, status: int | None) -> None:
        """Count the end of a call; status None means that the connection was closed without a response."""
        self._in_flight -= 1
        self.responses_by_status[status or 0] += 1

    def stats(self) -> dict[str, Any]:
        """Return the counters as JSON values."""
        return {
            "calls": self.calls,
            "calls_by_endpoint": dict(sorted(self.calls_by_endpoint.items())),
            "responses_by_status": {str(status): count for status, count in sorted(self.responses_by_status.items())},
            "violations": sum(self.violations.values()),
            "violations_by_kind": dict(sorted(self.violations.items())),
            "max_concurrent": self.max_concurrent,
            "max_calls_in_any_second": self.max_calls_in_any_second,
        }


def _drop_before(calls: deque[float], limit: float) -> None:
    while calls and calls[0] <= limit:
        calls.popleft()
