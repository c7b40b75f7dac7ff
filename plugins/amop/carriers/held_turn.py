"""Pace of an API user in this process, while the process holds the API user's turn. Pure, apart from its clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class HeldTurn:
    """The rule of `amop.carriers.call_gate` for consecutive calls that no other process can interrupt.

    All moments are values of one monotonic clock, in seconds.

    Args:
        ages: seconds since the end of each of the latest calls when the turn was taken, oldest first.
        fastest_seconds: duration that counts as that of the fastest call; 0 = none is known.
        calls: calls of a window.
        window_seconds: length of a window with its margin.
        counted_share: share of the fastest call that counts.
        sent: moment at which the request for the turn was sent: the turn began later.
        received: moment at which the turn had been taken: the latest calls have ended earlier.
        seconds: how long the turn lasts.
    """

    def __init__(
        self,
        ages: Sequence[float],
        fastest_seconds: float,
        *,
        calls: int,
        window_seconds: float,
        counted_share: float,
        sent: float,
        received: float,
        seconds: float,
    ) -> None:
        self._ends = deque((received - age for age in ages), maxlen=calls)
        self._counted = fastest_seconds
        self._calls = calls
        self._window_seconds = window_seconds
        self._counted_share = counted_share
        self._until = sent + seconds
        self.answered = 0
        """Answered calls of the turn."""
        self.fastest: float | None = None
        """Duration of the fastest of them in seconds."""

    def seconds_to_wait(self, now: float) -> float | None:
        """Return the seconds until the next call is allowed; None if the turn is over before."""
        start = now
        if len(self._ends) == self._calls:
            start = max(now, self._ends[0] + self._window_seconds - self._counted)
        return start - now if start < self._until else None

    def end_call(self, now: float, seconds: float | None) -> None:
        """Count a call that has ended; ``seconds`` is its duration if it was answered."""
        self._ends.append(now)
        if seconds is not None:
            self.answered += 1
            self.fastest = seconds if self.fastest is None else min(seconds, self.fastest)
            self._counted = min(self._counted, self._counted_share * seconds)

    def ages(self, now: float) -> list[float]:
        """Return the seconds since the end of each of the latest calls, oldest first."""
        return [now - end for end in self._ends]
