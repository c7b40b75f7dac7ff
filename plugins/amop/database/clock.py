"""The database's clock: one clock for all machines, whatever the clocks of the workers show.

Ages and deadlines that another process compares (a heartbeat, the start of a run, a claim) come from this clock. A
worker whose own clock is wrong is reported: Airflow schedules, expires tokens and checks certificates by it.
"""

from __future__ import annotations

import socket
from datetime import timedelta
from time import monotonic

from amop.clock import Clock, utc_now
from amop.database import store
from amop.database.connection import connect

LARGEST_DIFFERENCE = timedelta(minutes=1)
"""Between the clocks of a worker and of the database."""


class WorkerClockError(RuntimeError):
    """The clock of this machine differs from the database's; the message names the machine and the difference."""


def warehouse_clock(conninfo: str, *, worker_clock: Clock = utc_now) -> Clock:
    """Return a clock that shows the database's time; it is read once, and then runs by this machine's monotonic clock.

    Args:
        conninfo: libpq connection string of the warehouse.
        worker_clock: this machine's clock.

    Raises:
        WorkerClockError: this machine's clock differs by more than `LARGEST_DIFFERENCE`.
    """
    with connect(conninfo, application_name="amop clock", autocommit=True) as connection:
        before = worker_clock()
        begin = store.present_time(connection)
        begun = monotonic()
        after = worker_clock()
    if not before - LARGEST_DIFFERENCE <= begin <= after + LARGEST_DIFFERENCE:
        seconds = (after - begin).total_seconds()
        direction = "ahead of" if seconds > 0 else "behind"
        raise WorkerClockError(
            f"The clock of worker {socket.gethostname()} is {abs(seconds):.0f} s {direction} the warehouse's "
            f"({after:%Y-%m-%d %H:%M:%S} UTC here, {begin:%Y-%m-%d %H:%M:%S} UTC there). Set it, for instance with "
            "chrony; nothing was done here. The task is tried again, on any worker"
        )
    return lambda: begin + timedelta(seconds=monotonic() - begun)
