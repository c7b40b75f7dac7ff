"""Transactions of the page: views read only, as a role of their own where one is configured; buttons write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.exceptions import AirflowNotFoundException
from airflow.models.connection import Connection
from psycopg import IsolationLevel

from amop import ids, time_limits
from amop.database.connection import WarehouseConnection, connect, transaction, with_statement_limit
from amop.database.conninfo import conninfo_from_fields

AT_ONCE = 4
"""Transactions of one API server process at a time; the others wait, so that no view can crowd out a sync."""

_writer = threading.BoundedSemaphore(1)
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


@contextmanager
def writing() -> Iterator[WarehouseConnection]:
    """Open a transaction that writes what a button of the page does, as the role of the DAGs; brief, and one at a time.

    Raises:
        BusyError: another one is at work.
        WarehouseNotDefinedError: Airflow has no connection to the warehouse.
        psycopg.Error: the warehouse cannot be reached, or a statement or the wait for a row took too long.
    """
    if not _writer.acquire(timeout=time_limits.PAGE_TURN.total_seconds()):
        raise BusyError
    try:
        conninfo = with_statement_limit(_conninfo_of(ids.WAREHOUSE_CONNECTION), time_limits.PAGE)
        with transaction(conninfo, application_name="amop page", lock=time_limits.PAGE_TURN) as connection:
            yield connection
    finally:
        _writer.release()


def page_conninfo() -> str:
    """Return the connection string of connection ``amop_page``, or of the warehouse's own where that is not defined.

    Raises:
        WarehouseNotDefinedError: neither is defined.
        ConnectionFormError: the connection is malformed; the message holds nothing of it.
    """
    return _conninfo_of(ids.PAGE_CONNECTION, ids.WAREHOUSE_CONNECTION)


def _conninfo_of(*connection_ids: str) -> str:
    """Return the connection string of the first of these connections that is defined."""
    for connection_id in connection_ids:
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
