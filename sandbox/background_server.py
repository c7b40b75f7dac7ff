"""An aiohttp application in a thread of its own, for tests, and a JSON client for its admin pages."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from typing import Any

from aiohttp import web

LOOPBACK = "127.0.0.1"


async def start_site(application: web.Application, port: int, host: str = LOOPBACK) -> tuple[web.AppRunner, int]:
    """Serve an application; return its runner and the port (the one asked for, or a free one for port 0)."""
    # A caller that gives up must not leave its call in flight.
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


class BackgroundServer:
    """Serves an application on a free loopback port until it is stopped."""

    def __init__(self, application: web.Application, *, port: int = 0) -> None:
        self._application = application
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox server", daemon=True)
        self._requested_port = port
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        """Address without a trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start serving; return when requests are answered."""
        self._thread.start()
        starting = start_site(self._application, self._requested_port)
        self._runner, self.port = asyncio.run_coroutine_threadsafe(starting, self._loop).result(timeout=30)

    def stop(self) -> None:
        """Stop serving, cut what is still being answered, end the thread."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        self._loop.close()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a JSON request to the server and return the decoded answer; goes through no proxy.

        Raises:
            RuntimeError: the answer's status is 400 or more; the message carries its body.
        """
        return request_json(LOOPBACK, self.port, method, path, body)


def request_json(host: str, port: int, method: str, path: str, body: Any = None) -> Any:
    """Send one JSON request and return the decoded answer.

    Raises:
        RuntimeError: the answer's status is 400 or more; the message carries its body.
    """
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path} answered {answer.status}: {text}")
    return json.loads(text) if text else None
