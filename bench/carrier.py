"""Serve the device list of one account as fast as Python can, in a process of its own: for the sync benchmarks.

The pages are built before the server is ready, so that the carrier's own work is small beside that of its clients. The
calls are counted by the sandbox's limiter, which also enforces the vendor's limit where asked to.

python -m bench.carrier 100000 --page-size 50
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from bench.account import PLANS
from sandbox.carrier.rate_limit import CallLimiter
from sandbox.http_server import LOOPBACK, request_json

STATS = "/sandbox/stats"
JITTER = 0.25
"""Largest deviation of a response time from the mean, as a share of it."""
OUTLIER_SECONDS = 2.0
FIRST_ICCID = 8901_0000_0000_0000_000
READY_SECONDS = 60


def iccid_of(number: int) -> str:
    """Return the ICCID of the n-th SIM."""
    return str(FIRST_ICCID + number)


def entry_of(number: int) -> dict[str, str]:
    """Return the n-th SIM as an entry of the device list."""
    return {
        "iccid": iccid_of(number),
        "status": "ACTIVATED" if number % 10 else "DEACTIVATED",
        "ratePlan": PLANS[number % len(PLANS)],
        "communicationPlan": f"Comm {number % 4}",
    }


def build_pages(count: int, page_size: int) -> list[bytes]:
    """Return the bodies of all pages of the device list."""
    pages = -(-count // page_size)
    return [
        json.dumps(
            {
                "pageNumber": page + 1,
                "devices": [entry_of(number) for number in range(page * page_size, min(count, (page + 1) * page_size))],
                "lastPage": page + 1 == pages,
            }
        ).encode()
        for page in range(pages)
    ]


class _Connection(asyncio.Protocol):
    """One connection of a client; answers GET requests one after another."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            self._server.answer(target, self._transport)


class _Server:
    def __init__(self, pages: list[bytes], latency: float, outliers: float, *, is_limited: bool) -> None:
        self._pages = pages
        self._latency = latency
        self._outliers = outliers
        self._limiter = CallLimiter(is_enforced=is_limited)
        self._dice = random.Random("latency")
        self._seconds: list[float] = []
        self._arrived: list[float] = []

    def answer(self, target: str, transport: Any) -> None:
        """Answer a request after the response time that the dice give."""
        if target == STATS:
            own = {"seconds": self._seconds, "arrived": self._arrived}
            transport.write(_response(200, json.dumps(self._limiter.stats() | own).encode()))
            return
        now = time.monotonic()
        refusal = self._limiter.begin("GET /devices", now)
        self._arrived.append(now)
        if refusal is not None:
            self._limiter.end(429)
            transport.write(_response(429, json.dumps({"errorMessage": refusal}).encode()))
            return
        body = self._pages[_page_number(target) - 1]
        is_outlier = self._outliers > 0 and self._dice.random() < self._outliers
        seconds = OUTLIER_SECONDS if is_outlier else self._latency * self._dice.uniform(1 - JITTER, 1 + JITTER)
        self._seconds.append(seconds)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._send, transport, body)
        else:
            self._send(transport, body)

    def _send(self, transport: Any, body: bytes) -> None:
        self._limiter.end(200)
        transport.write(_response(200, body))


def _page_number(target: str) -> int:
    """Return the page that a request asks for; the names of the parameter are those of the vendor and of the peers."""
    for part in target.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if name == "pageNumber":
            return int(value)
    return 1


def _response(status: int, body: bytes) -> bytes:
    extra = "" if status == 200 else "Retry-After: 1\r\n"
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main(
    count: Annotated[int, typer.Argument(help="Number of SIMs.")],
    page_size: Annotated[int, typer.Option(help="SIMs on a page, whatever is asked for.")] = 50,
    latency_ms: Annotated[float, typer.Option(help="Mean response time; single ones vary by 25 %.")] = 0.0,
    outliers: Annotated[float, typer.Option(help="Share of the calls that take two seconds.")] = 0.0,
    limited: Annotated[bool, typer.Option(help="Refuse calls over the vendor's limit.")] = False,
) -> None:
    """Serve until the process is ended."""

    async def serve() -> None:
        served = _Server(build_pages(count, page_size), latency_ms / 1000, outliers, is_limited=limited)
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(served), LOOPBACK, 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(serve())


class BenchCarrier:
    """A carrier that runs in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.base_url = f"http://{LOOPBACK}:{port}"

    def stats(self) -> dict[str, Any]:
        """Return the call counters, the response time of each admitted call, and when each call arrived (seconds)."""
        stats: dict[str, Any] = request_json(LOOPBACK, self.port, "GET", STATS)
        return stats


@contextmanager
def bench_carrier(count: int, **options: float) -> Iterator[BenchCarrier]:
    """Run a carrier until the end of the ``with`` block; the options are those of the command."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if name != "limited"]
    arguments += ["--limited"] if options.get("limited") else []
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.carrier", str(count), *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield BenchCarrier(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(READY_SECONDS)


if __name__ == "__main__":
    typer.run(main)
