"""Client of AMOP 2.0's callbacks over HTTP: one POST per message, with its idempotency key."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import requests
from urllib3.exceptions import HTTPError

from amop import time_limits
from amop.carriers.http_connection import HttpConnectionError, read_http_connection
from amop.carriers.http_deadline import limited_session
from amop.carriers.http_response import retry_after_seconds
from amop.clock import utc_now
from amop.foreign_text import SecretScrubber, clean_text

TIMEOUTS = time_limits.AMOP_CONNECT.total_seconds(), time_limits.AMOP_READ.total_seconds()
TEXT_LENGTH = 300
READ_BYTES = 2048
RETRIED_STATUSES = {401, 403, 404, 408, 425, 429}
"""4xx statuses caused by AMOP's state or by the connection, not by the message: retried until an operator fixes it."""

PATH_KEYS = {"progress": "progress_path", "error": "progress_path", "daily_sync": "sync_path"}
"""Kind of message → key of the connection's extra that holds its path."""


class AmopConnectionError(ValueError):
    """Connection ``amop_api`` is not usable as defined; the message says what to change and contains no secret."""


class AmopRefusedError(Exception):
    """AMOP refused this message (4xx), and will refuse it again; the text contains AMOP's response."""


class AmopUnavailableError(Exception):
    """AMOP did not accept a message; another attempt may succeed.

    Args:
        text: what happened.
        retry_after: delay in seconds that AMOP requested, None without a ``Retry-After``.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class AmopClient:
    """A client of AMOP's callback API; use it as a context manager."""

    base_url: str
    paths: Mapping[str, str]
    """Kind of message → path."""
    token: str | None = field(default=None, repr=False)
    _session: requests.Session = field(default_factory=lambda: _limited_session(), repr=False)

    @classmethod
    def from_connection_fields(
        cls,
        *,
        host: str | None,
        schema: str | None,
        port: int | None,
        password: str | None,
        extra: Mapping[str, Any],
    ) -> AmopClient:
        """Read an ``http`` connection in either of Airflow's forms: a URL as host, or separate schema, host and port.

        Raises:
            AmopConnectionError: host or a path is missing, or TLS or its verification is missing for a host that is
                not loopback.
        """
        try:
            address = read_http_connection(host, schema, port, extra)
        except HttpConnectionError as error:
            raise AmopConnectionError(f"connection amop_api: {error}") from None
        paths = {kind: str(extra.get(key) or "") for kind, key in PATH_KEYS.items()}
        missing = sorted({PATH_KEYS[kind] for kind, path in paths.items() if not path.startswith("/")})
        if missing:
            raise AmopConnectionError(f"connection amop_api: extra needs {', '.join(missing)}, each starting with /")
        client = cls(address.base_url, paths, password or None)
        client._session.trust_env = not address.is_loopback
        client._session.verify = address.verify
        return client

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._session.close()

    def post(self, kind: str, payload: Mapping[str, Any], idempotency_key: str) -> None:
        """Send one message; returning means that AMOP has accepted it.

        Raises:
            AmopRefusedError: AMOP refused the message itself.
            AmopUnavailableError: any failure that another attempt may overcome.
        """
        headers = {"Idempotency-Key": idempotency_key}
        try:
            with self._session.post(
                f"{self.base_url}{self.paths[kind]}",
                json=payload,
                headers=headers,
                auth=self._authorize,
                allow_redirects=False,
                stream=True,
                timeout=TIMEOUTS,
            ) as response:
                body = _start_of_body(response)
        except (OSError, HTTPError) as error:
            raise AmopUnavailableError(f"AMOP cannot be reached ({type(error).__name__})") from None
        if 200 <= response.status_code < 300:
            return
        words = clean_text(body, scrubber=SecretScrubber(self.token), maximum=TEXT_LENGTH)
        text = f"AMOP returned {response.status_code}: {words}"
        if 400 <= response.status_code < 500 and response.status_code not in RETRIED_STATUSES:
            raise AmopRefusedError(text)
        raise AmopUnavailableError(text, retry_after_seconds(response.headers.get("Retry-After"), now=utc_now()))

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the bearer token; an auth hook of `requests`, so that no netrc file replaces the token."""
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _limited_session() -> requests.Session:
    """Return a session whose calls end at their deadline, headers and body included."""
    session, _ = limited_session(lambda: time_limits.AMOP_CALL.total_seconds())
    return session


def _start_of_body(response: requests.Response) -> str:
    """Return the start of the body, as much as arrives within the call's deadline; only the status is decisive."""
    body = bytearray()
    with suppress(OSError, HTTPError):
        for byte in response.iter_content(1):  # a larger chunk would block until it is full, however slow the server is
            body += byte
            if len(body) >= READ_BYTES:
                break
    return body.decode("utf-8", "replace")
