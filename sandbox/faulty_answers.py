"""The sandbox carrier's faulty answers: cut, halved, dripping, or of another page than was asked for."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from sandbox.carrier_account import CarrierAccount

DRIP_BYTES = 64
Answer = Callable[[CarrierAccount, web.Request], Awaitable[dict[str, Any]]]
"""What gives the true answer to a call."""


def reset_connection(request: web.Request) -> None:
    """Cut the connection with a TCP reset."""
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
    """Send the body in small pieces, one in so many seconds."""
    response = await _begin(request, body)
    with suppress(ConnectionError):  # whoever is tired of it hangs up
        for begin in range(0, len(body), DRIP_BYTES):
            await response.write(body[begin : begin + DRIP_BYTES])
            await asyncio.sleep(seconds)
        await response.write_eof()
    return response


async def repeated_page(account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
    """Return the page that was asked for, with the entries of the one before."""
    asked = _page_number(request)
    own = await answer(account, request)
    before = await answer(account, _with_page(request, max(1, asked - 1)))
    return before | {"pageNumber": asked, "lastPage": own["lastPage"]}


async def endless_page(account: CarrierAccount, request: web.Request, answer: Answer) -> dict[str, Any]:
    """Return a page that is never the last one; behind the last one that one comes again."""
    asked = number = _page_number(request)
    while True:
        document = await answer(account, _with_page(request, number))
        if number == 1 or document.get("devices") or document.get("zones"):
            return document | {"pageNumber": asked, "lastPage": False}
        number -= 1


async def _begin(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    await response.prepare(request)
    return response


def _page_number(request: web.Request) -> int:
    return int(request.query.get("pageNumber", "1"))


def _with_page(request: web.Request, number: int) -> web.Request:
    return request.clone(rel_url=request.rel_url.update_query(pageNumber=str(number)))
