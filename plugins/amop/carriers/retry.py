"""Which faults of a carrier pass, how long to wait for them, and when to give up."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState

LONGEST_RETRY_AFTER_SECONDS = 900.0
"""A carrier that asks for a longer silence is asked again after this one."""

SECONDS = re.compile(r"[0-9]{1,18}")


class PassingFaultError(Exception):
    """A fault that may be gone at the next try.

    Attributes:
        retry_after: seconds that the carrier asked to wait, None when it did not.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Budget of one call, its tries and waits together. Times in seconds."""

    attempts: int = 7
    budget_seconds: float = 300.0
    """From the first try on; a wait that would pass it is not begun."""
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    """Longest silence of the carrier within an answer."""
    attempt_seconds: float = 120.0
    """Longest whole answer."""

    def wait(self, state: RetryCallState, jitter: Callable[[], float] = random.random) -> float:
        """Return the seconds before the next try: exponential with jitter, never less than the carrier asked for."""
        backoff = min(self.longest_wait_seconds, self.first_wait_seconds * 2 ** min(state.attempt_number - 1, 20))
        backoff *= 0.5 + jitter() / 2
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, PassingFaultError) else None
        return backoff if asked is None else max(backoff, asked)

    def is_spent(self, state: RetryCallState, elapsed: float) -> bool:
        """Return True when no other try fits into the budget; ``elapsed`` is in seconds since the first try."""
        return state.attempt_number >= self.attempts or elapsed + state.upcoming_sleep >= self.budget_seconds


def retry_after_seconds(value: str | None, *, date: str | None, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, in either form of RFC 9110, None for none.

    Args:
        value: the header.
        date: the ``Date`` header of the same answer: the carrier's own clock, which an HTTP date refers to.
        now: the present time, aware, where that header is missing.
    """
    if value is None:
        return None
    text = value.strip()
    if SECONDS.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    until = _http_date(text)
    if until is None:
        return None
    present = _http_date(date) if date is not None else None
    return min(max((until - (present or now)).total_seconds(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
