"""Serve an aiohttp application: in a thread (tests) or in the foreground (``python -m sandbox.carrier``).

Also holds `request_json`, the JSON client of the sandbox's admin endpoints.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

LOOPBACK = "127.0.0.1"
TIMEOUT_SECONDS = 30
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
"""Files of a folder that a server's TLS certificate is read from; `sandbox.world.certificates` writes them."""


async def start_site(
    application: web.Application, port: int, host: str = LOOPBACK, *, tls: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, int]:
    """Start serving an application on this event loop.

    Args:
        application: the application to serve.
        port: TCP port; 0 picks a free one.
        host: address to listen on.
        tls: the server's certificate; None serves HTTP.

    Returns:
        The runner, whose ``cleanup()`` stops the server, and the actual port.
    """
    # Cancel the handler when its client disconnects, so that no abandoned call stays in flight.
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


def server_tls(folder: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server from the certificate and the key in a folder.

    Raises:
        OSError: a file is missing.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / CERTIFICATE_FILE, folder / KEY_FILE)
    return context


def serve_until_stopped(
    application: web.Application,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    *,
    certificates: Path | None = None,
) -> None:
    """Serve an application in the foreground until SIGINT or SIGTERM.

    Args:
        application: the application to serve.
        host: address to listen on.
        port: TCP port; 0 picks a free one.
        on_ready: called with the server's address as soon as requests are accepted.
        certificates: folder with the server's certificate and key; None serves HTTP.
    """
    tls = server_tls(certificates) if certificates else None

    async def serve() -> None:
        stop = asyncio.Event()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        runner, actual_port = await start_site(application, port, host, tls=tls)
        on_ready(f"{'https' if tls else 'http'}://{host}:{actual_port}")
        await stop.wait()
        await runner.cleanup()

    asyncio.run(serve())


class BackgroundServer:
    """Serve an application in a thread of its own until `stop` is called."""

    def __init__(self, application: web.Application, *, port: int = 0) -> None:
        self._application = application
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox server", daemon=True)
        self._requested_port = port
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        """Return the server's address without a trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start serving. Returns when requests are accepted."""
        self._thread.start()
        starting = start_site(self._application, self._requested_port)
        self._runner, self.port = asyncio.run_coroutine_threadsafe(starting, self._loop).result(TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Stop serving, cancel the requests in flight and end the thread."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(TIMEOUT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_SECONDS)
        self._loop.close()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send one JSON request to this server and return the decoded response.

        Raises:
            RuntimeError: the response has status 400 or above; the message contains its body.
        """
        return request_json(LOOPBACK, self.port, method, path, body)


def request_json(host: str, port: int, method: str, path: str, body: Any = None) -> Any:
    """Send one JSON request, bypassing any proxy, and return the decoded response.

    Raises:
        RuntimeError: the response has status 400 or above; the message contains its body.
    """
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status >= 400:
        raise RuntimeError(f"{method} {path} answered {response.status}: {text}")
    return json.loads(text) if text else None
