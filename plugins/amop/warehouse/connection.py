"""Connections to the warehouse, with the time limits that every session must have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

STATEMENT_TIMEOUT_SECONDS = 900
"""Longest single statement. Longer than an HTTP call's budget, shorter than any task."""

LOCK_TIMEOUT_SECONDS = 60
"""Longest wait for a row or table lock before the statement fails and the task is tried again."""

WarehouseConnection = Connection[DictRow]


def connect(conninfo: str, *, application_name: str = "amop", autocommit: bool = False) -> WarehouseConnection:
    """Open a connection whose rows are dictionaries and whose statements cannot run for ever.

    Args:
        conninfo: libpq connection string or URI.
        application_name: shown in ``pg_stat_activity``.
        autocommit: True for sessions that hold an advisory lock for longer than one transaction.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the role.
    """
    return psycopg.connect(
        conninfo,
        row_factory=dict_row,
        autocommit=autocommit,
        application_name=application_name,
        connect_timeout=10,
        keepalives_idle=30,
        options=(
            f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c lock_timeout={LOCK_TIMEOUT_SECONDS}s "
            "-c idle_in_transaction_session_timeout=600s -c timezone=UTC"
        ),
    )


@contextmanager
def transaction(conninfo: str, *, application_name: str = "amop") -> Iterator[WarehouseConnection]:
    """Open a connection for one transaction: committed at the end, rolled back on any error."""
    with connect(conninfo, application_name=application_name) as connection:
        yield connection
