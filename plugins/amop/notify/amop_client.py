"""AMOP 2.0's callbacks over HTTP: one POST for each message, with its idempotency key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import requests
from urllib3.exceptions import HTTPError

from amop import time_limits
from amop.domain.http_connection import HttpConnectionError, read_http_connection

TIMEOUTS = time_limits.AMOP_CONNECT.total_seconds(), time_limits.AMOP_READ.total_seconds()
TEXT_LENGTH = 300
READ_BYTES = 2048
LONGEST_RETRY_AFTER_SECONDS = 900.0
PASSING_STATUSES = {401, 403, 404, 408, 425, 429}
"""4xx that are a state of AMOP or of our connection, not of the message: tried again until an operator mends it."""

PATH_KEYS = {"progress": "progress_path", "error": "progress_path", "daily_sync": "sync_path"}
"""Kind of message → key of the connection's extra that holds its path."""


class AmopConnectionError(ValueError):
    """Connection ``amop_api`` cannot be used as it is defined; the message says what to do, and no secret."""


class AmopRefusedError(Exception):
    """AMOP will never take this message (4xx); the text is AMOP's."""


class AmopUnavailableError(Exception):
    """AMOP did not take a message now; another try may succeed.

    Args:
        text: what happened.
        retry_after: seconds that AMOP asked to wait, None when it did not.
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
    _session: requests.Session = field(default_factory=requests.Session, repr=False)

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
        """Read an ``http`` connection in either of Airflow's forms: scheme in the host, or schema, host, port apart.

        Raises:
            AmopConnectionError: host or a path is missing, or there is no TLS, or no verification of it, for a host
                that is not loopback.
        """
        try:
            address = read_http_connection(host, schema, port, extra)
        except HttpConnectionError as error:
            raise AmopConnectionError(f"connection amop_api: {error}") from None
        paths = {kind: str(extra.get(key) or "") for kind, key in PATH_KEYS.items()}
        missing = sorted({PATH_KEYS[kind] for kind, path in paths.items() if not path.startswith("/")})
        if missing:
            raise AmopConnectionError(f"connection amop_api: extra needs {', '.join(missing)}, each beginning with /")
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
        """Send one message; returning means that AMOP has it.

        Raises:
            AmopRefusedError: AMOP refuses the message itself.
            AmopUnavailableError: anything that another try may cure.
        """
        headers = {"Idempotency-Key": idempotency_key}
        try:
            with self._session.post(
                f"{self.base_url}{self.paths[kind]}", json=payload, headers=headers, auth=self._authorize,
                allow_redirects=False, stream=True, timeout=TIMEOUTS,
            ) as response:  # fmt: skip
                said = _beginning_of(response)
        except (OSError, HTTPError) as error:
            raise AmopUnavailableError(f"AMOP cannot be reached ({type(error).__name__})") from None
        if response.ok and not response.is_redirect:
            return
        text = f"AMOP answered {response.status_code}: {self._without_token(said)[:TEXT_LENGTH]}"
        if 400 <= response.status_code < 500 and response.status_code not in PASSING_STATUSES:
            raise AmopRefusedError(text)
        raise AmopUnavailableError(text, _retry_after_seconds(response.headers.get("Retry-After")))

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the bearer token; as `requests`' own hook, so that no netrc file replaces it."""
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def _without_token(self, text: str) -> str:
        return text.replace(self.token, "***") if self.token else text


def _beginning_of(response: requests.Response) -> str:
    """Return what AMOP says, as far as it comes within the limits of a call: only its status decides anything."""
    body, deadline = bytearray(), time.monotonic() + time_limits.AMOP_CALL.total_seconds()
    for byte in response.iter_content(1):  # a larger piece would be waited for, however slowly it comes
        body += byte
        if len(body) >= READ_BYTES or time.monotonic() > deadline:
            break
    return body.decode("utf-8", "replace")


def _retry_after_seconds(value: str | None) -> float | None:
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return min(float(value.strip()[:12]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)
