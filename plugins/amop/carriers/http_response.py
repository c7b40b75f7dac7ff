"""Read the body of an HTTP response within a deadline and a size limit, and its ``Retry-After`` header."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from amop.carriers.page import ReceivedDocument
from amop.foreign_text import cut_nesting

MAXIMUM_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
LONGEST_INTEGER = 4300
"""Digits of the longest integer that Python converts; a longer one stays a text."""
LONGEST_RETRY_AFTER_SECONDS = 900.0


class ResponseBodyError(Exception):
    """The body of a response is too slow, too large, or not JSON."""


def read_json_body(response: requests.Response, *, deadline: float, monotonic: Callable[[], float]) -> Any:
    """Return the JSON document of a streamed response, None for an empty body or an error page that is not JSON.

    Args:
        response: a response whose body has not been read.
        deadline: value of ``monotonic`` (seconds) by which the whole body must have arrived.
        monotonic: monotonic clock in seconds.

    Raises:
        ResponseBodyError: too slow, too large, or a 2xx response whose body is not JSON.
        urllib3.exceptions.HTTPError: the connection broke, or the server paused for too long.
    """
    body = bytearray()
    # `read1` returns what has arrived; `iter_content` blocks until its chunk is full, however slow the server is.
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > MAXIMUM_BYTES:
            raise ResponseBodyError(f"the body is larger than {MAXIMUM_BYTES} bytes")
        if monotonic() > deadline:
            raise ResponseBodyError("the body arrived too slowly")
    try:
        return _parse(bytes(body)) if body else None
    except (ValueError, RecursionError):
        if response.ok:
            raise ResponseBodyError("the body is not JSON") from None
        return None


def _parse(body: bytes) -> Any:
    """Return a JSON document; a value that is nested too deeply, or a number that is too long, becomes a text.

    An object that no value of was replaced remembers its body.
    """
    encoding = json.detect_encoding(body)
    text = body.decode(encoding, "surrogatepass")
    text = text.removeprefix("\ufeff")
    numbers = _Numbers()
    try:
        document = numbers.parse(text)
    except RecursionError:
        return numbers.parse(cut_nesting(text))
    if isinstance(document, dict) and encoding == "utf-8" and not numbers.are_replaced:
        return ReceivedDocument(document, body)
    return document


class _Numbers:
    """Parses JSON; numbers that PostgreSQL or Python cannot hold become texts."""

    def __init__(self) -> None:
        self.are_replaced = False
        """True after the first such number."""

    def parse(self, text: str) -> Any:
        """Return the document of a text."""
        return json.loads(text, parse_constant=self._constant, parse_float=self._finite, parse_int=self._integer)

    def _constant(self, text: str) -> str:
        """Return NaN or infinity as a text."""
        self.are_replaced = True
        return text

    def _integer(self, text: str) -> int | str:
        """Return an integer, or its text if it is too long to be converted; no counter is that long."""
        return int(text) if len(text.lstrip("-")) <= LONGEST_INTEGER else self._constant(text)

    def _finite(self, text: str) -> float | str:
        """Return a number, or its text if it exceeds a double: PostgreSQL's jsonb has no infinity."""
        number = float(text)
        return number if math.isfinite(number) else self._constant(text)


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Return the delay in seconds of a ``Retry-After`` header: a number or an HTTP date (RFC 9110, 10.2.3).

    More than 15 minutes counts as 15 minutes: a wrong header must not block an account for a year.

    Args:
        value: the header, None without one.
        now: present time, aware.
    """
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)
