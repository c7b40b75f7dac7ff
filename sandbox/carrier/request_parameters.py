"""Read and validate the parameters and bodies of requests to the sandbox carrier.

Every function raises `RequestRefusedError` (400), which names the parameter, its value and the expected form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any, TypeVar

from aiohttp import web

from sandbox.carrier.account import RequestRefusedError

LARGEST_PAGE = 50
CYCLE_START = re.compile(r"(\d{4}-\d{2}-\d{2})Z?")
"""The contract says ``yyyy-MM-ddZ``, the vendor's page of this call ``yyyy-MM-dd``: both are accepted."""

Entry = TypeVar("Entry")


def refuse_unknown(request: web.Request, known: set[str]) -> None:
    """Refuse query parameters other than the known ones."""
    unknown = sorted(set(request.query) - known)
    if unknown:
        raise RequestRefusedError(400, f"unknown parameters: {', '.join(unknown)}")


def read_time(text: str | None, name: str = "modifiedSince") -> datetime:
    """Return a required ISO 8601 time with an offset."""
    if text is None:
        raise RequestRefusedError(400, f"{name} is required")
    # The + of an offset arrives as a space if it was not escaped.
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time
    raise RequestRefusedError(400, f"{name} is {text!r}, not like 2026-10-20T00:00:00Z")


def read_cycle_start(text: str) -> date:
    """Return the start date of a billing cycle."""
    found = CYCLE_START.fullmatch(text)
    if found:
        with suppress(ValueError):
            return date.fromisoformat(found.group(1))
    raise RequestRefusedError(400, f"cycleStartDate is {text!r}, not like 2026-10-19Z")


def read_positive_integer(text: str, name: str) -> int:
    """Return an integer of at least 1."""
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise RequestRefusedError(400, f"{name} is {text!r}, not an integer of at least 1")
    return int(text)


def page_of(entries: Sequence[Entry], request: web.Request) -> tuple[int, Sequence[Entry], bool]:
    """Return the requested page number, the entries of that page, and whether it is the last one."""
    number = read_positive_integer(request.query.get("pageNumber", "1"), "pageNumber")
    size = read_positive_integer(request.query.get("pageSize", str(LARGEST_PAGE)), "pageSize")
    if size > LARGEST_PAGE:
        raise RequestRefusedError(400, f"pageSize is {size}, more than {LARGEST_PAGE}")
    return number, entries[(number - 1) * size : number * size], number * size >= len(entries)


async def read_json_object(request: web.Request) -> dict[str, Any]:
    """Return the body of a request."""
    try:
        document = await request.json()
    except ValueError:
        raise RequestRefusedError(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise RequestRefusedError(400, "the body is not a JSON object")
    return document
