"""The sign of life of a working task, in a thread beside it: a long call, solve or file is not silence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from amop import time_limits
from amop.pipeline.watchdog import beat

log = logging.getLogger(__name__)


@contextmanager
def heartbeat(
    conninfo: str,
    *,
    sync_run_id: int | None = None,
    session_id: int | None = None,
    every: timedelta = time_limits.HEARTBEAT,
) -> Iterator[None]:
    """Say at once and every few minutes that a run or session is alive, while the body runs and no longer.

    A killed process beats no more; the watchdog notices. A beat that fails is tried again with the next one: the
    work itself is not disturbed.

    Args:
        conninfo: libpq connection string of the warehouse.
        sync_run_id: a device sync run, or None.
        session_id: an optimization session, or None.
        every: time between two beats.
    """
    stop = threading.Event()

    def work() -> None:
        while True:
            try:
                beat(conninfo, sync_run_id=sync_run_id, session_id=session_id, now=datetime.now(UTC))
            except Exception as error:
                log.warning("No heartbeat could be written (%s); trying again", type(error).__name__)
            if stop.wait(every.total_seconds()):
                return

    thread = threading.Thread(target=work, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)
