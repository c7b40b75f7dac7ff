"""Reading transactions of the page: read-only, brief, few at a time, as a role of their own where one is configured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.exceptions import AirflowNotFoundException
from airflow.models.connection import Connection
from psycopg import IsolationLevel

from amop import ids, time_limits
from amop.database.connection import WarehouseConnection, connect, with_statement_limit
from amop.database.conninfo import conninfo_from_fields

AT_ONCE = 4
"""Transactions of one API server process at a time; the others wait, so that no view can crowd out a sync."""

_turns = threading.BoundedSemaphore(AT_ONCE)


class BusyError(RuntimeError):
    """Too many views are being read; the caller may try again."""


class WarehouseNotDefinedError(RuntimeError):
    """Airflow has no connection to the warehouse."""


@contextmanager
def reading() -> Iterator[WarehouseConnection]:
    """Open a transaction that sees one state of the warehouse and cannot write.

    Raises:
        BusyError: no turn became free in time.
        WarehouseNotDefinedError: Airflow has no connection to the warehouse.
        psycopg.Error: the warehouse cannot be reached or read, or a statement took too long.
    """
    if not _turns.acquire(timeout=time_limits.PAGE_TURN.total_seconds()):
        raise BusyError
    try:
        conninfo = with_statement_limit(page_conninfo(), time_limits.PAGE)
        with connect(conninfo, application_name="amop page") as connection:
            connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
            yield connection
    finally:
        _turns.release()


def page_conninfo() -> str:
    """Return the connection string of connection ``amop_page``, or of the warehouse's own where that is not defined.

    Raises:
        WarehouseNotDefinedError: neither is defined.
        ConnectionFormError: the connection is malformed; the message holds nothing of it.
    """
    for connection_id in (ids.PAGE_CONNECTION, ids.WAREHOUSE_CONNECTION):
        try:
            found = Connection.get_connection_from_secrets(connection_id)
        except AirflowNotFoundException:
            continue
        return conninfo_from_fields(
            host=found.host,
            port=found.port,
            login=found.login,
            password=found.password,
            schema=found.schema,
            extra=found.extra_dejson,
        )
    raise WarehouseNotDefinedError
