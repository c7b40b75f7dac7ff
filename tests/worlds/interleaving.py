"""Two or more workers at once, in an order that a seed decides: one database statement after another; for tests.

Every worker is a thread with its own database sessions. It stops before each statement and each commit until it is
its turn; whose turn it is comes from the seed, in bursts of random length. A worker whose statement waits for another
one's lock is seen as waiting in PostgreSQL itself (`pg_blocking_pids`) and passed over until the lock is free. So the
same seed gives the same interleaving, and luck has no part in it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

POLL_SECONDS = 0.003
"""Seconds without a report of a worker before PostgreSQL is asked whether it waits for another one."""

SECONDS_TO_END = 60
BURSTS = (1, 2, 5, 12, 20)
"""Mean lengths of the bursts of statements of one worker, of which a seed takes one."""

READY, RUNNING, BLOCKED, DONE = "ready", "running", "blocked", "done"


@dataclass(slots=True, eq=False)
class Worker:
    """One of those that meet."""

    number: int
    work: Callable[[], Any]
    state: str = RUNNING
    backends: set[int] = field(default_factory=set)
    """Process ids of its database sessions."""
    waited: int = 0
    """How often it had to wait for another one's lock."""
    result: Any = None
    error: Exception | None = None
    turn: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Race:
    """What became of an interleaving."""

    workers: Sequence[Worker]
    order: str
    """Whose statement ran, one character each."""

    @property
    def switches(self) -> int:
        """How often another worker came to its turn."""
        return sum(one != other for one, other in zip(self.order, self.order[1:], strict=False))

    @property
    def waits(self) -> int:
        """How often a worker waited for another one's lock."""
        return sum(worker.waited for worker in self.workers)

    @property
    def errors(self) -> list[Exception]:
        """What the workers ended with, where that is an error."""
        return [worker.error for worker in self.workers if worker.error is not None]

    @property
    def results(self) -> list[Any]:
        """What the workers returned, where that is no error."""
        return [worker.result for worker in self.workers if worker.error is None]


def interleave(dsn: str, seed: int, works: Sequence[Callable[[], Any]]) -> Race:
    """Let the works run at once, interleaved as the seed says, and return what became of each.

    Raises:
        AssertionError: they have not ended after a minute.
    """
    return _Referee(seed, [Worker(number, work) for number, work in enumerate(works)]).run(dsn)


class _Referee:
    def __init__(self, seed: int, workers: Sequence[Worker]) -> None:
        self._dice = random.Random(seed)
        self._workers = workers
        self._changed = threading.Condition()
        self._by_thread: dict[int, Worker] = {}

    def run(self, dsn: str) -> Race:
        order: list[str] = []
        burst = self._dice.choice(BURSTS)
        deadline = time.monotonic() + SECONDS_TO_END
        threads = [threading.Thread(target=self._do, args=(worker,), daemon=True) for worker in self._workers]
        with psycopg.connect(dsn, autocommit=True) as monitor, self._stops_before_statements():
            for thread in threads:
                thread.start()
            present: Worker | None = None
            while True:
                self._settle(monitor, deadline)
                ready = [worker for worker in self._workers if worker.state == READY]
                if not ready and all(worker.state == DONE for worker in self._workers):
                    break
                if not ready:  # they wait for each other: PostgreSQL ends a deadlock
                    assert time.monotonic() < deadline, [worker.state for worker in self._workers]
                    time.sleep(POLL_SECONDS)
                    continue
                if present not in ready or self._dice.random() < 1 / burst:
                    present = self._dice.choice(ready)
                order.append(str(present.number))
                with self._changed:
                    present.state = RUNNING
                    present.turn.set()
            for thread in threads:
                thread.join()
        return Race(self._workers, "".join(order))

    def _do(self, worker: Worker) -> None:
        self._by_thread[threading.get_ident()] = worker
        try:
            worker.result = worker.work()
        except Exception as error:
            worker.error = error
        finally:
            with self._changed:
                worker.state = DONE
                self._changed.notify()

    def _before_statement(self, connection: psycopg.Connection[Any]) -> None:
        worker = self._by_thread.get(threading.get_ident())
        if worker is None:
            return
        with self._changed:
            worker.backends.add(connection.info.backend_pid)
            worker.turn.clear()
            worker.state = READY
            self._changed.notify()
        worker.turn.wait()

    def _settle(self, monitor: psycopg.Connection[Any], deadline: float) -> None:
        """Wait until every worker stands before a statement, waits for a lock, or has ended."""
        while True:
            with self._changed:
                moving = [worker for worker in self._workers if worker.state in {RUNNING, BLOCKED}]
                if not any(worker.state == RUNNING for worker in moving) and not self._is_freed(monitor, moving):
                    return
                self._changed.wait(POLL_SECONDS)
                running = [worker for worker in self._workers if worker.state == RUNNING]
                for worker in running:
                    if self._waits(monitor, worker):
                        worker.state = BLOCKED
                        worker.waited += 1
            assert time.monotonic() < deadline, [(worker.number, worker.state) for worker in self._workers]

    def _is_freed(self, monitor: psycopg.Connection[Any], workers: Sequence[Worker]) -> bool:
        """Say whether one that waited for a lock has it now; it runs again, and is waited for."""
        freed = [worker for worker in workers if worker.state == BLOCKED and not self._waits(monitor, worker)]
        for worker in freed:
            worker.state = RUNNING
        return bool(freed)

    @staticmethod
    def _waits(monitor: psycopg.Connection[Any], worker: Worker) -> bool:
        found = monitor.execute(
            "SELECT count(*) FROM unnest(%s::integer[]) AS pid WHERE cardinality(pg_blocking_pids(pid)) > 0",
            (list(worker.backends),),
        ).fetchone()
        return bool(found and found[0])

    @contextmanager
    def _stops_before_statements(self) -> Iterator[None]:
        """Stop every worker's connection before its statements and commits, but no other connection."""
        execute, commit = psycopg.Cursor.execute, psycopg.Connection.commit
        before = self._before_statement

        def stopping_execute(cursor: Any, *arguments: Any, **named: Any) -> Any:
            before(cursor.connection)
            return execute(cursor, *arguments, **named)

        def stopping_commit(connection: Any) -> None:
            before(connection)
            commit(connection)

        psycopg.Cursor.execute = stopping_execute  # type: ignore[method-assign, assignment]
        psycopg.Connection.commit = stopping_commit  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            psycopg.Cursor.execute = execute  # type: ignore[method-assign]
            psycopg.Connection.commit = commit  # type: ignore[method-assign]
