"""One connection to the warehouse for all staging sensors that wait in a triggerer.

Each trigger asks for its own run. The poller answers all that ask at the same time with one query, so that the cost
does not grow with the number of providers that wait. The connection is closed when no sensor has asked for a while.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from amop.device_sync.progress import staging_progress_of_runs
from amop.device_sync.rows import StagingProgress
from amop.tasks.polling import polling_connection

GATHER_SECONDS = 0.5
"""Requests within this time are answered by one query."""

IDLE_SECONDS = 90.0
"""The connection is closed after this long without a request; longer than the longest pause between two polls."""

_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, StagingPoller]] = WeakKeyDictionary()


class StagingPoller:
    """Answers the polls of all sensors of one warehouse; use `poller_of`, which returns one for each event loop."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._asked: dict[int, list[asyncio.Future[StagingProgress | None]]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def progress(self, run_id: int) -> StagingProgress | None:
        """Return the progress of a run's staging, None if there is no such run.

        Raises:
            psycopg.OperationalError: the warehouse cannot be reached; ask again later.
        """
        answer: asyncio.Future[StagingProgress | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(run_id, []).append(answer)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._answer_all())
        return await answer

    async def _answer_all(self) -> None:
        while self._asked:
            try:
                async with polling_connection(self._conninfo, application_name="amop wait_for_staging") as connection:
                    await self._answer_until_idle(connection)
            except Exception as error:
                asked, self._asked = self._asked, {}
                _settle(asked, error)

    async def _answer_until_idle(self, connection: Any) -> None:
        """Answer the requests in batches; return when none has come for a while."""
        idle = 0.0
        while idle < IDLE_SECONDS:
            await asyncio.sleep(GATHER_SECONDS)
            if not self._asked:
                idle += GATHER_SECONDS
                continue
            idle, asked, self._asked = 0.0, self._asked, {}
            try:
                found = await staging_progress_of_runs(connection, list(asked))
            except Exception as error:
                _settle(asked, error)
                raise
            _settle(asked, found)


def _settle(
    asked: dict[int, list[asyncio.Future[StagingProgress | None]]], result: dict[int, StagingProgress] | Exception
) -> None:
    for run_id, answers in asked.items():
        for answer in answers:
            if answer.done():  # the trigger was cancelled meanwhile
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result.get(run_id))


def poller_of(conninfo: str) -> StagingPoller:
    """Return the poller of a warehouse for the running event loop."""
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    return pollers.setdefault(conninfo, StagingPoller(conninfo))
