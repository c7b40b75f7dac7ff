"""The system clock and the type of a clock that a test can replace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Return the present time, aware."""


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)
