"""Run the sandbox AMOP in a thread, for tests: ``with running_amop() as amop: amop.base_url``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.amop.server import PROGRESS_PATH, SYNC_PATH, AmopServer
from sandbox.http_server import BackgroundServer


class RunningAmop:
    """Control a sandbox AMOP that runs in a thread, through its admin endpoints."""

    def __init__(self, background: BackgroundServer, progress_path: str, sync_path: str) -> None:
        self._background = background
        self.base_url = background.base_url
        self.port = background.port
        self.progress_path = progress_path
        self.sync_path = sync_path

    def messages(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the messages in order of arrival, without repeats; ``kind`` is ``progress`` or ``daily_sync``."""
        messages: list[dict[str, Any]] = self._background.request("GET", "/sandbox/messages")
        return [message for message in messages if kind in (None, message["kind"])]

    def clear_messages(self) -> None:
        """Delete all messages and reset the counters."""
        self._background.request("DELETE", "/sandbox/messages")

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return ``session_id``, ``progress``, ``errors`` and ``order_errors`` by session GUID."""
        sessions: dict[str, dict[str, Any]] = self._background.request("GET", "/sandbox/sessions")
        return sessions

    def stats(self) -> dict[str, Any]:
        """Return the counters: requests, responses by status, messages, messages by kind, repeats, refusals."""
        stats: dict[str, Any] = self._background.request("GET", "/sandbox/stats")
        return stats

    def fail(
        self,
        status: int,
        *,
        times: int | None = 1,
        path: str | None = None,
        retry_after: int | str | None = None,
    ) -> None:
        """Answer the next ``times`` requests with an error status; None means until `recover` is called."""
        fault = {"status": status, "times": times, "path": path, "retry_after": retry_after}
        self._background.request("POST", "/sandbox/faults", fault)

    def recover(self) -> None:
        """Delete all scripted failures."""
        self._background.request("DELETE", "/sandbox/faults")


@contextmanager
def running_amop(
    *,
    progress_path: str = PROGRESS_PATH,
    sync_path: str = SYNC_PATH,
    record_file: Path | None = None,
    token: str | None = None,
    port: int = 0,
) -> Iterator[RunningAmop]:
    """Run a sandbox AMOP on a loopback port, a free one by default. See `AmopServer` for the other arguments."""
    server = AmopServer(progress_path=progress_path, sync_path=sync_path, record_file=record_file, token=token)
    background = BackgroundServer(server.application(), port=port)
    background.start()
    try:
        yield RunningAmop(background, progress_path, sync_path)
    finally:
        background.stop()
