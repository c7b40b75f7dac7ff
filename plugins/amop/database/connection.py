"""Open connections to the warehouse, each with time limits on connecting, statements and locks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
"""Seconds of idleness, seconds between probes, number of probes: a dead peer is detected within a minute."""


_CHECKED: set[str] = set()
"""Connection strings whose sessions have been checked by this process."""


class SettingsIgnoredError(psycopg.NotSupportedError):
    """A pooler between this process and PostgreSQL ignores the session's settings; the message says which."""


def connect(
    conninfo: str, *, application_name: str = "amop", autocommit: bool = False, lock: timedelta = time_limits.LOCK
) -> WarehouseConnection:
    """Open a connection whose rows are dictionaries and whose statements and locks have time limits.

    Args:
        conninfo: libpq connection string or URI; its own ``options`` override the limits set here.
        application_name: shown in ``pg_stat_activity``.
        autocommit: True for sessions that hold an advisory lock for longer than one transaction.
        lock: longest wait for a lock.

    Raises:
        SettingsIgnoredError: a connection pooler ignores the limits.
        psycopg.OperationalError: the server cannot be reached or refuses the role.
    """
    settings = session_settings(conninfo, application_name=application_name, lock=lock)
    return open_session(conninfo, settings, autocommit=autocommit)


def open_session(conninfo: str, settings: Mapping[str, Any], *, autocommit: bool = False) -> WarehouseConnection:
    """Open a connection with the settings of `session_settings`; check once a process that they hold.

    Raises:
        SettingsIgnoredError: a connection pooler ignores the settings.
        psycopg.OperationalError: the server cannot be reached or refuses the role.
    """
    connection = psycopg.connect(conninfo, row_factory=dict_row, autocommit=autocommit, **settings)
    if conninfo not in _CHECKED:
        try:
            _require_settings(connection, str(settings["options"]))
            if not autocommit:
                connection.rollback()
        except BaseException:
            connection.close()
            raise
        _CHECKED.add(conninfo)
    return connection


@contextmanager
def transaction(
    conninfo: str, *, application_name: str = "amop", lock: timedelta = time_limits.LOCK
) -> Iterator[WarehouseConnection]:
    """Open a connection for one transaction: committed at the end, rolled back on any error; see `connect`."""
    connection = connect(conninfo, application_name=application_name, lock=lock)
    try:
        with connection:
            yield connection
    finally:
        connection.close()  # psycopg leaves it open where the commit fails, as by a deferred constraint


def is_of_one_row(error: Exception) -> bool:
    """Return False for an error that has nothing to do with what was read or written, such as a lost connection."""
    return not isinstance(error, psycopg.OperationalError) or isinstance(error, psycopg.errors.LockNotAvailable)


def session_settings(
    conninfo: str,
    *,
    application_name: str,
    statement: timedelta = time_limits.STATEMENT,
    lock: timedelta = time_limits.LOCK,
) -> dict[str, Any]:
    """Return libpq's parameters of a session with limits on connecting, statements, locks and idle transactions.

    Also enables server-side keepalives, so locks held by a lost client are released within a minute.

    Args:
        conninfo: libpq connection string or URI; its own ``options`` override the limits given here.
        application_name: shown in ``pg_stat_activity``.
        statement: limit on a statement, and on idle time inside a transaction.
        lock: limit on the wait for a lock, where it is shorter than that of the statement.
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


def _require_settings(connection: WarehouseConnection, options: str) -> None:
    """Compare the limits that were asked for with those that hold in the session."""
    asked = dict(re.findall(r"-c\s*(\w+)=(\d+)ms\b", options)) | dict.fromkeys(_other_units(options))
    query = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = any(%(names)s)"
    held = {row["name"]: row["setting"] for row in connection.execute(query, {"names": list(asked)})}
    wrong = [
        f"{name} is {held.get(name)} ms instead of {value} ms"
        for name, value in asked.items()
        if value is not None and held.get(name) != value
    ]
    if wrong:
        raise SettingsIgnoredError(
            f"the warehouse's sessions do not have the limits that were asked for ({'; '.join(wrong)}): a connection "
            "pooler such as PgBouncer ignores them (ignore_startup_parameters = options). Without them a statement may "
            "hang for ever, and with transaction pooling locks are lost. Connect to PostgreSQL itself, see "
            "docs/security.md"
        )


def _other_units(options: str) -> list[str]:
    """Return the names of limits that the connection's own options set last, in another unit than milliseconds."""
    last = dict(re.findall(r"-c\s*(\w+)=(\S*)", options))
    return [name for name, value in last.items() if not re.fullmatch(r"\d+ms", value)]


def with_statement_limit(conninfo: str, statement: timedelta) -> str:
    """Return the connection string with this limit on statements instead of its own."""
    options = f"{_own_options(conninfo)} {_statement_options(statement)}".lstrip()
    return make_conninfo(conninfo, options=options)


def _own_options(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo).get("options") or "")


def _statement_options(statement: timedelta) -> str:
    return _options({"statement_timeout": statement, "idle_in_transaction_session_timeout": statement})


def _options(settings: dict[str, timedelta | str]) -> str:
    texts = {
        name: f"{_milliseconds(value)}ms" if isinstance(value, timedelta) else value for name, value in settings.items()
    }
    return " ".join(f"-c {name}={text}" for name, text in texts.items())


def _milliseconds(limit: timedelta) -> int:
    return round(limit / timedelta(milliseconds=1))
