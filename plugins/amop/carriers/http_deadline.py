"""Limit the whole duration of an HTTP call: connect, headers and body.

A timeout of `requests` limits one read from the socket: a server that sends one byte now and then, or endless
``100 Continue`` responses, holds a call for ever. `DeadlineAdapter` also limits the sum of all reads of a call.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

CONNECT_TIMEOUT_SECONDS = 10.0
"""Longest attempt to connect to one address, where the caller of `requests` gives no timeout."""


class CallDeadline:
    """The moment by which the current call of a session must have ended.

    Args:
        seconds: returns the longest duration of a call.
        monotonic: monotonic clock in seconds.
    """

    def __init__(self, seconds: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self.moment = float("inf")
        """Value of ``monotonic``."""

    def start(self) -> None:
        """Begin a call."""
        self.moment = self._monotonic() + self._seconds()

    def seconds_left(self, limit: float | None = None) -> float:
        """Return the seconds that are left for the call, at most ``limit``.

        Raises:
            TimeoutError: none are left.
        """
        left = self.moment - self._monotonic()
        if left <= 0:
            raise TimeoutError("the call took too long")
        return left if limit is None else min(left, limit)


class DeadlineAdapter(HTTPAdapter):
    """A transport adapter of `requests` for one thread that ends each call at its deadline.

    Args:
        deadline: started by every call that the adapter sends.
    """

    def __init__(self, deadline: CallDeadline) -> None:
        self._deadline = deadline
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, **kwargs)
        self._limit_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """See `HTTPAdapter`."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._limit_connections(manager)
        return manager

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Start the deadline and send the request; see `HTTPAdapter`."""
        self._deadline.start()
        return super().send(*args, **kwargs)

    def _limit_connections(self, manager: PoolManager) -> None:
        of_call = {"deadline": self._deadline}
        plain = type("LimitedConnection", (_LimitedConnection, HTTPConnection), of_call)
        secure = type("LimitedSecureConnection", (_LimitedConnection, HTTPSConnection), of_call)
        manager.pool_classes_by_scheme = {
            "http": type("LimitedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("LimitedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }


def limited_session(
    seconds: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
) -> tuple[requests.Session, CallDeadline]:
    """Return a session of `requests` whose calls end after a number of seconds, and the deadline of its latest call."""
    session, deadline = requests.Session(), CallDeadline(seconds, monotonic)
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter(deadline))
    return session, deadline


class _LimitedConnection:
    """Mix-in of an HTTP connection: connecting and reading, a proxy's answer included, end at the call's deadline."""

    deadline: CallDeadline
    host: str
    port: int
    timeout: float | None
    source_address: tuple[str, int] | None
    socket_options: Any
    _dns_host: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.response_class = partial(_LimitedResponse, self.deadline)

    def _new_conn(self) -> socket.socket:
        """Try the addresses of the host one after another, as urllib3 does, but no longer than the call may take."""
        here: Any = self
        limit = self.timeout if isinstance(self.timeout, int | float) else CONNECT_TIMEOUT_SECONDS
        host, last = self._dns_host.strip("[]"), OSError("the host has no address")
        try:
            found = socket.getaddrinfo(host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, here, error) from error
        for address in dict.fromkeys(str(info[4][0]) for info in found):
            try:
                return create_connection(
                    (address, self.port), self.deadline.seconds_left(limit), self.source_address, self.socket_options
                )
            except OSError as error:
                last = error
        if isinstance(last, TimeoutError):
            raise ConnectTimeoutError(here, f"connection to {self.host} timed out") from last
        raise NewConnectionError(here, f"failed to establish a connection: {last}") from last


class _LimitedResponse(HTTPResponse):
    """A response whose status line, headers and body are read until the call's deadline only."""

    def __init__(self, deadline: CallDeadline, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_LimitedReader(deadline, sock, self.fp.detach()))


class _LimitedReader(io.RawIOBase):
    """Reads from a socket that end at the call's deadline."""

    def __init__(self, deadline: CallDeadline, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._deadline, self._socket, self._raw = deadline, sock, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        limit = self._socket.gettimeout()
        self._socket.settimeout(self._deadline.seconds_left(limit))
        try:
            return self._raw.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        finally:
            self._socket.settimeout(limit)

    def close(self) -> None:
        self._raw.close()
        super().close()
