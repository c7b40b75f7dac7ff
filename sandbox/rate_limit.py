"""The vendor's limits of one API user: five calls in any second, one call at a time. Enforced and counted."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

WINDOW_SECONDS = 1.0
CALLS_PER_WINDOW = 5


class CallLimiter:
    """Admits or refuses the calls of one API user and keeps the figures.

    The window slides: a call is refused when five calls were admitted within the second before it, or while
    another one is being answered. Refused calls do not fill the window, so that a caller who stops can go on.
    """

    def __init__(self, *, is_enforced: bool = True) -> None:
        self.is_enforced = is_enforced
        self._admitted: deque[float] = deque()
        self._arrived: deque[float] = deque()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Set the figures to zero; the window and the calls in flight stay."""
        self.calls = 0
        self.violations: Counter[str] = Counter()
        self.calls_by_endpoint: Counter[str] = Counter()
        self.answers_by_status: Counter[int] = Counter()
        self.max_concurrent = 0
        self.max_calls_in_any_second = 0

    def begin(self, endpoint: str, now: float) -> str | None:
        """Count a call that arrived at ``now`` (monotonic seconds); return why it is refused, or None.

        Every call that was begun must be ended with `end`, refused ones too.
        """
        self.calls += 1
        self.calls_by_endpoint[endpoint] += 1
        self._in_flight += 1
        self._forget_before(now - WINDOW_SECONDS)
        self._arrived.append(now)
        self.max_concurrent = max(self.max_concurrent, self._in_flight)
        self.max_calls_in_any_second = max(self.max_calls_in_any_second, len(self._arrived))
        refusal = None
        if self._in_flight > 1:
            self.violations["concurrent"] += 1
            refusal = "another call of this API user is being answered; one active call at a time is allowed"
        elif len(self._admitted) >= CALLS_PER_WINDOW:
            self.violations["rate"] += 1
            refusal = f"more than {CALLS_PER_WINDOW} calls in a second"
        if refusal is None or not self.is_enforced:
            self._admitted.append(now)
            return None
        return refusal

    def end(self, status: int | None) -> None:
        """Count the end of a call; status None = the connection was cut before an answer."""
        self._in_flight -= 1
        self.answers_by_status[status or 0] += 1

    def stats(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        return {
            "calls": self.calls,
            "calls_by_endpoint": dict(sorted(self.calls_by_endpoint.items())),
            "answers_by_status": {str(status): count for status, count in sorted(self.answers_by_status.items())},
            "violations": sum(self.violations.values()),
            "violations_by_kind": dict(sorted(self.violations.items())),
            "max_concurrent": self.max_concurrent,
            "max_calls_in_any_second": self.max_calls_in_any_second,
        }

    def _forget_before(self, moment: float) -> None:
        for calls in (self._admitted, self._arrived):
            while calls and calls[0] <= moment:
                calls.popleft()
