"""Every time limit of the package, in one place, from the shortest to the longest.

Each limit is longer than the one inside it, so that the innermost gives up first and says why:

    HTTP call < database statement < task < DAG run

A statement's limit follows from its task's (`longest_statement`); `tests/dags/test_time_limits.py` holds all of it
against the real DAGs and the real database sessions. Not in this order, on purpose: how long a person may take to
approve plan changes, which is days and holds neither a process nor a connection while it lasts.
"""

from __future__ import annotations

from datetime import timedelta

CARRIER_CONNECT = timedelta(seconds=10)
CARRIER_READ = timedelta(seconds=30)
CARRIER_CALL = timedelta(seconds=60)
"""A carrier's call from its first to its last byte, however slowly the bytes come; looked at with every read."""

AMOP_CONNECT = timedelta(seconds=5)
AMOP_READ = timedelta(seconds=20)
AMOP_CALL = timedelta(seconds=60)
"""The same for one callback to AMOP."""

AWS_CONNECT = timedelta(seconds=5)
AWS_READ = timedelta(seconds=20)
AWS_ATTEMPTS = 3
"""Tries of one call by botocore itself; Airflow's retries come after."""

LONGEST_HTTP_CALL = max(CARRIER_CALL + CARRIER_READ, AMOP_CALL + AMOP_READ, AWS_ATTEMPTS * (AWS_CONNECT + AWS_READ))
"""A call that has just passed its last look at the clock may take one more read."""

DATABASE_CONNECT = timedelta(seconds=10)
DEAD_SERVER = timedelta(seconds=60)
"""A database server that is gone without a word (its machine, the network) is noticed within this."""

LOCK = timedelta(seconds=60)
"""Wait for a row, a table or a provider's advisory lock before the statement fails and the task is tried again."""

CALL_GATE_LOCK = timedelta(minutes=5)
"""Wait for an API user whom other tasks call as: a few of their longest calls."""

STATEMENT = timedelta(minutes=15)
"""Longest single statement of any task, and of the command line."""

LOOK = timedelta(seconds=30)
"""A sensor's look at the warehouse."""

MIGRATION = timedelta(hours=1)
"""Longest statement of a migration, and longest wait for another migration."""

BRIEF_TASK = timedelta(minutes=5)
"""Opens, decides or notes something: a few rows."""

TASK = timedelta(minutes=10)
"""Handles groups, or asks something outside."""

REPORT_TASK = timedelta(minutes=30)
"""Writes a file of every SIM."""

BULK_TASK = timedelta(hours=1)
"""Handles every SIM of a provider in the warehouse or in memory."""

SAVINGS_TASK = timedelta(hours=2)
"""Handles every SIM of a provider for every closed period."""

REPLAY_TASK = timedelta(hours=2)
"""Stages and writes every SIM of a provider for every sync of a day."""

MAINTENANCE_TASK = timedelta(hours=2)
"""Deletes what has become too old, in small statements; what it does not manage is left for the next night."""

FETCH_TASK = timedelta(hours=11)
"""Reads a provider at the carrier's pace: 180,000 calls at 4.5 a second."""

WAIT_FOR_STAGING = timedelta(hours=24)
"""A sync's tasks together, with a margin: the sensor outlasts what it waits for."""

CHANGES_TASK = timedelta(hours=24)
"""Changes the rate plans of a provider's SIMs at the carrier's pace: 190,000 of them at 4.5 calls a second."""

APPROVAL = timedelta(days=32)
"""A person's answer: longer than any billing period, whose end ends the wait before."""

DEVICE_SYNC_RUN = timedelta(hours=30)
OPTIMIZATION_RUN = APPROVAL + timedelta(days=3)
"""A run may wait for a person until the billing period is over; what works in it has its own limits."""
OPTIMIZATION_WINDOW_RUN = timedelta(minutes=20)
SAVINGS_RUN = timedelta(hours=6)
MAINTENANCE_RUN = timedelta(hours=18)
"""Its eight tasks run one after another."""
RELAY_RUN = timedelta(minutes=20)

DELIVERY = timedelta(minutes=2)
"""How long one delivery of the outbox begins new messages; the rest is the next one's."""

NO_PROGRESS = timedelta(minutes=30)
"""A sync that stages nothing for so long hangs, however alive its process is."""

CARRIER_OUTAGE = timedelta(minutes=20)
"""How long after a sync's last progress its tasks wait for a carrier that is down; shorter than `NO_PROGRESS`, so that
the failure tells of the carrier."""

HEARTBEAT = timedelta(minutes=2)
"""How often a working task says that it lives."""

SILENCE = timedelta(minutes=45)
"""A run or session without any sign of life for so long has died.

Longer than everything that is silent and alive: Airflow notices a lost worker after 5 minutes and waits up to 10
before the next try, a carrier may be away for `CARRIER_OUTAGE`, and a task may wait for a slot.
"""

WATCHDOG_ABSENCE = timedelta(minutes=15)
"""A watchdog that has not looked for longer than this was away, and gives everybody the whole of `SILENCE` again."""


def longest_statement(task: timedelta | None) -> timedelta:
    """Return the longest statement of a task: half of the task's time, and never more than `STATEMENT`.

    Args:
        task: the task's ``execution_timeout``; None = outside of any task.
    """
    return STATEMENT if task is None else min(STATEMENT, task / 2)
