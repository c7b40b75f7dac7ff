"""A clock that a sleep moves on, so that no test waits for an outage or a back-off."""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic

from tests.worlds.moments import present


class SimulatedClock:
    """The present time, or that after a given start; a sleep moves it forward at once."""

    def __init__(self, start: datetime | None = None) -> None:
        self._began = monotonic()
        self._start = start or present()
        self.slept = 0.0
        """Seconds of all sleeps; no test waited for them."""

    def now(self) -> datetime:
        """Return the present time, aware."""
        return self._start + timedelta(seconds=self.monotonic() - self._began)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        """Move the clock forward."""
        self.slept += seconds

    def sleep_until(self, moment: datetime) -> None:
        """Move the clock to a moment; a past moment changes nothing."""
        self.sleep(max(0.0, (moment - self.now()).total_seconds()))
