"""Send the faulty responses of the sandbox carrier: reset, truncated, slow, or with the wrong page."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from sandbox.carrier.account import CarrierAccount

DRIP_BYTES = 64
Answer = Callable[[CarrierAccount, web.Request], Awaitable[dict[str, Any]]]
"""A function that returns the correct response of a call."""


def reset_connection(request: web.Request) -> None:
    """Close the connection with a TCP reset."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # Linger 0: closing sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def send_half(request: web.Request, body: bytes) -> web.StreamResponse:
    """Announce the whole body, send half of it and close the connection."""
    response = await _begin(request, body)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def send_slowly(request: web.Request, body: bytes, seconds: float) -> web.StreamResponse:
    """Send the body in small pieces with a pause in seconds between them."""
    response = await _begin(request, body)
    with suppress(ConnectionError):  # the client may disconnect before the end
        for begin in range(0, len(body), DRIP_BYTES):
            await response.write(body[begin : begin + DRIP_BYTES])
            await asyncio.sleep(seconds)
        await response.write_eof()
    return response


async def repeated_page(account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
    """Return the requested page with the entries of the previous page."""
    requested = _page_number(request)
    own = await answer(account, request)
    before = await answer(account, _with_page(request, max(1, requested - 1)))
    return before | {"pageNumber": requested, "lastPage": own["lastPage"]}


async def endless_page(account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
    """Return the requested page, never marked as the last one; beyond the end return the last page again."""
    requested = number = _page_number(request)
    while True:
        document = await answer(account, _with_page(request, number))
        if number == 1 or document.get("devices") or document.get("zones"):
            return document | {"pageNumber": requested, "lastPage": False}
        number -= 1


async def _begin(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    await response.prepare(request)
    return response


def _page_number(request: web.Request) -> int:
    return int(request.query.get("pageNumber", "1"))


def _with_page(request: web.Request, number: int) -> web.Request:
    return request.clone(rel_url=request.rel_url.update_query(pageNumber=str(number)))
