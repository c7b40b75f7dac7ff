"""A call gate without a limit and a clock that only a sleep advances, for tests of a carrier's client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class OpenGate:
    """A gate without a limit that remembers its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.blocked: list[float] = []
        self.outcomes: list[str] = []
        self.is_closed = False

    @contextmanager
    def call(self) -> Iterator[None]:
        self.calls += 1
        yield

    @contextmanager
    def consecutive_calls(self) -> Iterator[None]:
        yield

    def end_turn(self) -> None:
        """Nothing is held."""

    def record_success(self) -> None:
        self.outcomes.append("success")

    def record_failure(self, reason: str) -> None:
        self.outcomes.append(reason)

    def block(self, seconds: float) -> None:
        self.blocked.append(seconds)

    def close(self) -> None:
        self.is_closed = True


class Waiting:
    """A clock that a sleep advances, so that no test waits for a back-off."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds
