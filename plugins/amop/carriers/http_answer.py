"""Reading an HTTP answer whole, within a deadline and a size, and its ``Retry-After`` in both forms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

MAXIMUM_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
LONGEST_RETRY_AFTER_SECONDS = 900.0


class AnswerError(Exception):
    """An answer is too slow, too large, or not JSON."""


def read_json(response: requests.Response, *, deadline: float, monotonic: Callable[[], float]) -> Any:
    """Return the JSON document of a streamed answer, None for an empty body or an error page that is not JSON.

    Args:
        response: an answer whose body is not read yet.
        deadline: reading of ``monotonic`` (seconds) at which the whole body must be here.
        monotonic: seconds that never go back.

    Raises:
        AnswerError: too slow, too large, or a success whose body is not JSON.
        urllib3.exceptions.HTTPError: the connection broke, or a pause between two bytes was too long.
    """
    body = bytearray()
    # `read1` returns with what has arrived; `iter_content` waits until its chunk is full, however slowly that goes.
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > MAXIMUM_BYTES:
            raise AnswerError(f"the body is larger than {MAXIMUM_BYTES} bytes")
        if monotonic() > deadline:
            raise AnswerError("the body came too slowly")
    try:
        return json.loads(body, parse_constant=str, parse_float=_finite) if body else None
    except (ValueError, RecursionError):
        if response.ok:
            raise AnswerError("the body is not JSON") from None
        return None


def _finite(text: str) -> float | str:
    """Return a number, or its text if it is beyond a double: PostgreSQL's jsonb has no infinity either."""
    number = float(text)
    return number if math.isfinite(number) else text


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110, 10.2.3).

    More than 15 minutes counts as 15 minutes: a carrier's slip must not silence an account for a year.

    Args:
        value: the header, None when there is none.
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
