"""A process that is killed, cut off or refused at a statement, a commit or a call; in this process, for tests.

`installed` wraps psycopg and requests once. Within `FaultyProcess.running` everything that the package sends to
PostgreSQL or by HTTP is counted, and a fault happens where it is due. A killed process does nothing more: every later
statement and commit of its clean-up code is refused, and its transactions are rolled back, as PostgreSQL does for a
client that is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import requests

from tests.worlds.seeded_faults import Fault, Kind

STATEMENT, COMMIT, CALL = "statement", "commit", "call"


class Killed(BaseException):
    """The process is gone: no ``except Exception`` of the package may see it."""


class FaultyProcess:
    """What happens to the process of one step.

    Args:
        faults: of this step; each happens once.
        crash: crashes the server of the warehouse and starts it again.
    """

    def __init__(self, faults: Sequence[Fault] = (), crash: Callable[[], None] | None = None) -> None:
        self._crash = crash
        self.counts: Counter[str] = Counter()
        """Statements, commits and calls so far."""
        self.happened: list[Fault] = []
        self._faults = list(faults)
        self._is_dead = False
        self._connections: list[psycopg.Connection[Any]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let everything that this process sends count, until the body ends."""
        global _present
        _present, before = self, _present
        self.counts.clear()
        self._is_dead = False
        try:
            yield
        finally:
            _present = before
            if self.happened:
                for connection in self._connections:
                    connection.close()  # as the system does for a process that is gone
            self._connections.clear()

    def does(self, place: str, connection: psycopg.Connection[Any] | None, work: Callable[[], Any]) -> Any:
        """Do something that counts, and let happen what is due before and after it.

        Raises:
            Killed: the process is killed here, or was killed before.
        """
        self._stop_if_dead()
        if connection is not None and connection not in self._connections:
            self._connections.append(connection)
        self.counts[place] += 1
        here = [fault for fault in self._faults if (fault.place, fault.nth) == (place, self.counts[place])]
        for fault in here:
            if not fault.is_after:
                self._let_happen(fault, connection)
        result = work()
        for fault in here:
            if fault.is_after:
                self._let_happen(fault, connection)
        return result

    def _stop_if_dead(self) -> None:
        if self._is_dead:
            raise Killed

    def _let_happen(self, fault: Fault, connection: psycopg.Connection[Any] | None) -> None:
        self._faults.remove(fault)
        self.happened.append(fault)
        if fault.kind == Kind.KILL:
            self._is_dead = True
            raise Killed
        if fault.kind == Kind.CRASH:
            assert self._crash is not None, "this world has no server of its own"
            self._crash()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        if fault.kind == Kind.CUT:
            if connection is not None:
                connection.close()
            raise psycopg.OperationalError("the connection is closed (simulated)")
        if fault.place == COMMIT and connection is not None:
            connection.rollback()  # a commit that fails ends its transaction
        raise psycopg.errors.DiskFull("could not extend file: No space left on device (simulated)")


_present: FaultyProcess | None = None


@contextmanager
def installed() -> Iterator[None]:
    """Wrap psycopg's statements and commits and requests' calls; without a running process nothing changes."""
    targets: list[tuple[Any, str, str, Callable[..., psycopg.Connection[Any] | None]]] = [
        (psycopg.Cursor, "execute", STATEMENT, lambda cursor: cursor.connection),
        (psycopg.Cursor, "executemany", STATEMENT, lambda cursor: cursor.connection),
        (psycopg.Cursor, "copy", STATEMENT, lambda cursor: cursor.connection),
        (psycopg.Connection, "commit", COMMIT, lambda connection: connection),
        (requests.Session, "send", CALL, lambda _session: None),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, *_ in targets]
    for owner, name, place, connection_of in targets:
        setattr(owner, name, _wrapped(getattr(owner, name), place, connection_of))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _wrapped(original: Callable[..., Any], place: str, connection_of: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(this: Any, *arguments: Any, **named: Any) -> Any:
        if _present is None:
            return original(this, *arguments, **named)
        return _present.does(place, connection_of(this), lambda: original(this, *arguments, **named))

    return wrapped
