"""Queries of the warehouse from a trigger: one short asynchronous session each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection

from amop import time_limits
from amop.database.connection import session_settings


@asynccontextmanager
async def polling_connection(conninfo: str, *, application_name: str) -> AsyncIterator[AsyncConnection[Any]]:
    """Yield a connection for one query of a trigger, with the time limits of a poll.

    Args:
        conninfo: libpq connection string of the warehouse.
        application_name: shown in ``pg_stat_activity``.

    Raises:
        psycopg.OperationalError: the warehouse cannot be reached; poll again later.
    """
    settings = session_settings(conninfo, application_name=application_name, statement=time_limits.POLL)
    async with await AsyncConnection.connect(conninfo, autocommit=True, **settings) as connection:
        yield connection
