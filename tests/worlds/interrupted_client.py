"""A client of the carrier that a test interrupts: by a call of its own, or by the death of the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amop.carriers.control_center import ControlCenterClient


class CallOnAppend(list[float]):
    """A list that calls a function when something is appended to it."""

    def __init__(self, do: Callable[[], None]) -> None:
        super().__init__()
        self._do = do

    def append(self, item: float) -> None:
        super().append(item)
        self._do()


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class Interrupted:
    """The real client; a callback runs after a number of calls of a method."""

    def __init__(self, client: ControlCenterClient, *, after: int, method: str, do: Callable[[], None]) -> None:
        self._client, self._left, self._method, self._do = client, after, method, do

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name != self._method:
            return call

        def and_then(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            self._left -= 1
            if self._left == 0:
                self._do()
            return result

        return and_then


class Dying:
    """The real client; the process dies before or after its call number ``at``, counted from 0."""

    def __init__(self, client: ControlCenterClient, *, at: int, before: bool) -> None:
        self._client, self._at, self._before = client, at, before

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def die_or_call(*arguments: Any, **named: Any) -> Any:
            is_here, self._at = self._at == 0, self._at - 1
            if is_here and self._before:
                raise Killed
            result = call(*arguments, **named)
            if is_here:
                raise Killed
            return result

        return die_or_call
