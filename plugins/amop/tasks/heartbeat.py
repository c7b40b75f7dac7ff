"""The heartbeat of a working task, sent by a thread: a long call, solve or file does not look like a dead process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from amop import time_limits
from amop.runs.heartbeat import record_heartbeat

log = logging.getLogger(__name__)


@contextmanager
def heartbeat(
    conninfo: str,
    *,
    sync_run_id: int | None = None,
    session_id: int | None = None,
    every: timedelta = time_limits.HEARTBEAT,
) -> Iterator[None]:
    """Record at once, and then every few minutes, that a run or session is alive, while the body runs.

    A killed process sends no more heartbeats, which the watchdog notices. A heartbeat that cannot be recorded is
    tried again with the next one; the work itself is not disturbed.

    Args:
        conninfo: libpq connection string of the warehouse.
        sync_run_id: a device sync run, or None.
        session_id: an optimization session, or None.
        every: time between two heartbeats.
    """
    stop = threading.Event()

    def send() -> None:
        while True:
            try:
                record_heartbeat(conninfo, sync_run_id=sync_run_id, session_id=session_id)
            except Exception as error:
                log.warning("No heartbeat could be recorded (%s); trying again", type(error).__name__)
            if stop.wait(every.total_seconds()):
                return

    thread = threading.Thread(target=send, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)
