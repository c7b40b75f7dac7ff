"""All time limits of the package, from the shortest to the longest.

Each limit is longer than the one inside it, so that the innermost expires first and reports the cause:

    HTTP call < database statement < task < DAG run

The limit of a statement follows from that of its task (`longest_statement`); `tests/dags/test_time_limits.py` compares
all limits with the real DAGs and the real database sessions. One limit is deliberately outside this order: an approval
may take days, but holds neither a process nor a connection meanwhile.
"""

from __future__ import annotations

from datetime import timedelta

CARRIER_CONNECT = timedelta(seconds=10)
CARRIER_READ = timedelta(seconds=30)
CARRIER_CALL = timedelta(seconds=60)
"""Deadline of a call to a carrier from its first to its last byte; checked after every read."""

AMOP_CONNECT = timedelta(seconds=5)
AMOP_READ = timedelta(seconds=20)
AMOP_CALL = timedelta(seconds=60)
"""Deadline of one callback to AMOP; checked after every read."""

AWS_CONNECT = timedelta(seconds=5)
AWS_READ = timedelta(seconds=20)
AWS_ATTEMPTS = 3
"""Attempts of one call by botocore; Airflow's retries come after that."""

LONGEST_HTTP_CALL = max(CARRIER_CALL + CARRIER_READ, AMOP_CALL + AMOP_READ, AWS_ATTEMPTS * (AWS_CONNECT + AWS_READ))
"""A call that has just passed its last check of the clock may take one more read."""

DATABASE_CONNECT = timedelta(seconds=10)
DEAD_SERVER = timedelta(seconds=60)
"""The loss of a database server that does not close its connections is detected within this time."""

LOCK = timedelta(seconds=60)
"""Longest wait for a row, a table or a provider's advisory lock; the statement then fails and the task is retried."""

CALL_GATE_LOCK = timedelta(minutes=5)
"""Longest wait for an API user that other tasks use: a few of their longest calls."""

STATEMENT = timedelta(minutes=15)
"""Longest single statement of a task or of the command line."""

POLL = timedelta(seconds=30)
"""Longest statement of a sensor or a trigger that polls the warehouse."""

PAGE = timedelta(seconds=5)
"""Longest statement of a view of the operators' page."""

PAGE_TURN = timedelta(seconds=2)
"""A view waits this long for its turn to read the warehouse."""

MIGRATION = timedelta(hours=1)
"""Longest statement of a migration, and longest wait for another migration."""

BRIEF_TASK = timedelta(minutes=5)
"""A task that reads or writes a few rows."""

TASK = timedelta(minutes=10)
"""A task that processes groups, or calls an external service."""

RELAY_TASK = timedelta(minutes=15)
"""The task that delivers what others left: two rounds of `DELIVERY`, each with one more call or upload."""

REPORT_TASK = timedelta(minutes=30)
"""A task that writes a file with every SIM."""

BULK_TASK = timedelta(hours=1)
"""A task that processes every SIM of a provider in the warehouse or in memory."""

SAVINGS_TASK = timedelta(hours=2)
"""A task that processes every SIM of a provider for every closed period."""

REPLAY_TASK = timedelta(hours=2)
"""A task that stages and writes every SIM of a provider for every sync of a day."""

MAINTENANCE_TASK = timedelta(hours=2)
"""A task that deletes expired rows in small statements; the next run deletes the rest."""

FETCH_TASK = timedelta(hours=11)
"""A task that reads a provider at the carrier's rate limit: 180,000 calls at 4.5 per second."""

WAIT_FOR_STAGING = timedelta(hours=24)
"""All tasks of a sync together, with a margin: the sensor outlasts the tasks that it waits for."""

CHANGES_TASK = timedelta(hours=24)
"""A task that changes the rate plans of a provider's SIMs at the rate limit: 190,000 SIMs at 4.5 calls per second."""

APPROVAL = timedelta(days=32)
"""Longest wait for an approval: longer than any billing period, whose end ends the wait earlier."""

DEVICE_SYNC_RUN = timedelta(hours=30)
OPTIMIZATION_RUN = APPROVAL + timedelta(days=3)
"""A run may wait for an approval until the end of the billing period; its working tasks have their own limits."""
OPTIMIZATION_WINDOW_RUN = timedelta(minutes=20)
SAVINGS_RUN = timedelta(hours=6)
WHAT_IF_RUN = timedelta(hours=6)
FINDINGS_RUN = timedelta(hours=6)
MAINTENANCE_RUN = timedelta(hours=18)
"""Its eight tasks run one after another."""
RELAY_RUN = timedelta(minutes=20)

DELIVERY = timedelta(minutes=2)
"""Stop starting new deliveries after this long; the next run continues."""

NO_PROGRESS = timedelta(minutes=30)
"""A sync that stages nothing for this long hangs, even if its process sends heartbeats."""

CARRIER_OUTAGE = timedelta(minutes=20)
"""After its last progress, a sync waits this long for a failing carrier; shorter than `NO_PROGRESS`, so that the error
names the carrier."""

HEARTBEAT = timedelta(minutes=2)
"""Interval of the heartbeats of a working task."""

STALE_AFTER = timedelta(minutes=45)
"""A run or session without a heartbeat for this long is stale: its process is gone.

Longer than any pause of a live one: Airflow detects a lost worker after 5 minutes and waits up to 10 minutes before the
retry, a carrier may fail for `CARRIER_OUTAGE`, and a task may wait for a slot.
"""

WATCHDOG_ABSENCE = timedelta(minutes=15)
"""After a gap longer than this, the watchdog ends nothing for the whole of `STALE_AFTER`."""


def longest_statement(task: timedelta | None) -> timedelta:
    """Return the time limit of a task's statements: half of the task's limit, at most `STATEMENT`.

    Args:
        task: the task's ``execution_timeout``; None outside a task.
    """
    return STATEMENT if task is None else min(STATEMENT, task / 2)
