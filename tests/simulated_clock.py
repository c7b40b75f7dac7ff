"""A clock that a sleep moves on, so that no test waits for an outage or a back-off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic


class SimulatedClock:
    """The present time, running on by itself and jumping over every sleep."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._start = datetime.now(UTC)
        self.slept = 0.0
        """Seconds that were slept through in no time."""

    def now(self) -> datetime:
        """Return the present time, aware."""
        return self._start + timedelta(seconds=self.monotonic() - self._began)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        """Jump."""
        self.slept += seconds

    def sleep_until(self, moment: datetime) -> None:
        """Jump to a moment; one that has passed changes nothing."""
        self.sleep(max(0.0, (moment - self.now()).total_seconds()))
