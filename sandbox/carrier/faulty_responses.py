"""Send the faulty responses of the sandbox carrier: reset, truncated or slow."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from aiohttp import web

DRIP_BYTES = 64


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


async def _begin(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    await response.prepare(request)
    return response
