"""Connections to the warehouse, with the time limits that every session must have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row

from amop import time_limits

WarehouseConnection = Connection[DictRow]

KEEPALIVES = {"idle": 30, "interval": 10, "count": 3}
"""Seconds of silence, seconds between probes, probes: the other side of a dead connection is missed in a minute."""


def connect(conninfo: str, *, application_name: str = "amop", autocommit: bool = False) -> WarehouseConnection:
    """Open a connection whose rows are dictionaries and whose statements cannot run for ever.

    Args:
        conninfo: libpq connection string or URI; its own ``options`` win over the limits set here.
        application_name: shown in ``pg_stat_activity``.
        autocommit: True for sessions that hold an advisory lock for longer than one transaction.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the role.
    """
    settings = session_settings(conninfo, application_name=application_name)
    return psycopg.connect(conninfo, row_factory=dict_row, autocommit=autocommit, **settings)


@contextmanager
def transaction(conninfo: str, *, application_name: str = "amop") -> Iterator[WarehouseConnection]:
    """Open a connection for one transaction: committed at the end, rolled back on any error."""
    with connect(conninfo, application_name=application_name) as connection:
        yield connection


def session_settings(
    conninfo: str,
    *,
    application_name: str,
    statement: timedelta = time_limits.STATEMENT,
    lock: timedelta = time_limits.LOCK,
) -> dict[str, Any]:
    """Return libpq's parameters of a session that cannot hang: on a dead server, a statement, a lock or its client.

    The server is told to look after its client too: the locks of a machine that is gone are free within a minute.

    Args:
        conninfo: libpq connection string or URI; its own ``options`` win over the limits given here.
        application_name: shown in ``pg_stat_activity``.
        statement: longest statement; also how long a transaction may stand idle.
        lock: longest wait for a lock, if that is shorter.
    """
    limits = " ".join(
        (
            _options({"lock_timeout": min(lock, statement), "timezone": "UTC"}),
            _options({f"tcp_keepalives_{name}": str(value) for name, value in KEEPALIVES.items()}),
            _statement_options(statement),
        )
    )
    return {
        "application_name": application_name,
        "connect_timeout": round(time_limits.DATABASE_CONNECT.total_seconds()),
        **{f"keepalives_{name}": value for name, value in KEEPALIVES.items()},
        "tcp_user_timeout": _milliseconds(time_limits.DEAD_SERVER),
        "options": f"{limits} {_own_options(conninfo)}".rstrip(),
    }


def with_statement_limit(conninfo: str, statement: timedelta) -> str:
    """Return a connection string whose sessions have this limit on a statement, whatever it said before."""
    options = f"{_own_options(conninfo)} {_statement_options(statement)}".lstrip()
    return make_conninfo(conninfo, options=options)


def _own_options(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo).get("options") or "")


def _statement_options(statement: timedelta) -> str:
    return _options({"statement_timeout": statement, "idle_in_transaction_session_timeout": statement})


def _options(settings: dict[str, timedelta | str]) -> str:
    texts = {name: f"{_milliseconds(value)}ms" if isinstance(value, timedelta) else value
             for name, value in settings.items()}  # fmt: skip
    return " ".join(f"-c {name}={text}" for name, text in texts.items())


def _milliseconds(limit: timedelta) -> int:
    return round(limit / timedelta(milliseconds=1))
