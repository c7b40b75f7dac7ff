"""The vendor's limit on calls and the circuit breaker, kept across processes and machines by the warehouse."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from amop import time_limits
from amop.domain.circuit_breaker import Circuit, CircuitOpenError, after_failure, is_open
from amop.warehouse import sql
from amop.warehouse.connection import session_settings

MARGIN_SECONDS = 0.02
"""Added to the window, because the carrier counts a call when it arrives, not when we sent or ended it."""


class PostgresCallGate:
    """One call at a time for each API user, never more than so many in any second, and none while its circuit is open.

    A call starts at the earliest one window after the *end* of the call that many before it: measured against a
    carrier that counts arrivals, that never breaks the limit, while pacing by starts does when latency varies. The
    advisory lock belongs to this gate's database session: a killed process frees it.

    Args:
        conninfo: libpq connection string of the warehouse.
        key: names the API user; no secret.
        calls_per_second: the limit in any second; 0.5 is one call in two seconds, 2.5 is two in one.
        sleep: waits for seconds; tests inject their own.
        clock: present time for the circuit breaker; None = the database's clock, one for all machines.
    """

    def __init__(
        self,
        conninfo: str,
        key: str,
        calls_per_second: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._sleep = sleep
        self._clock = clock
        self._circuit = Circuit()
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        calls = max(1, math.floor(calls_per_second))
        self._values = {
            "api_user": key,
            "calls": calls,
            "window_seconds": max(1.0, calls / calls_per_second) + MARGIN_SECONDS,
        }

    @contextmanager
    def call(self) -> Iterator[None]:
        """Wait for this API user's turn, and hold it while the body makes one call and says how it went.

        Raises:
            CircuitOpenError: the carrier is not well; nobody calls before the moment that it tells.
        """
        connection = self._locked()
        try:
            self._circuit, now = self._read_circuit(connection)
            if is_open(self._circuit, now):
                raise CircuitOpenError(self._circuit)
            while (seconds := self._seconds_to_wait(connection)) > 0:
                self._sleep(seconds)
            # Noted before and after: a process killed within its call leaves the call's start behind.
            connection.execute(sql.load("calls/note_call"), self._values)
            try:
                yield
            finally:
                connection.execute(sql.load("calls/note_end_of_call"), self._values)
        finally:
            if not connection.closed:
                connection.execute(sql.load("calls/unlock_api_user"), self._values)

    def note_success(self) -> None:
        """Say, within `call`, that the carrier answered: the circuit is closed."""
        if self._circuit != Circuit():
            self._keep_circuit(Circuit())

    def note_failure(self, reason: str) -> None:
        """Say, within `call`, that the carrier did not answer, or with a fault of its own.

        Raises:
            CircuitOpenError: this failure opened the circuit.
        """
        _, now = self._read_circuit(self._connected())
        self._keep_circuit(after_failure(self._circuit, reason, now))
        if is_open(self._circuit, now):
            raise CircuitOpenError(self._circuit)

    def block(self, seconds: float) -> None:
        """Let nobody call as this API user for so many seconds: the carrier's ``Retry-After``."""
        self._connected().execute(sql.load("calls/block_api_user"), self._values | {"seconds": seconds})

    def close(self) -> None:
        """Close the gate's database session."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            settings = session_settings(
                self._conninfo, application_name="amop call gate", lock=time_limits.CALL_GATE_LOCK
            )
            self._connection = psycopg.connect(self._conninfo, autocommit=True, row_factory=dict_row, **settings)
        return self._connection

    def _locked(self) -> psycopg.Connection[dict[str, Any]]:
        """Return the gate's session with the API user's lock; a session that was lost while idle is replaced."""
        try:
            connection = self._connected()
            connection.execute(sql.load("calls/lock_api_user"), self._values)
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise
            connection = self._connected()
            connection.execute(sql.load("calls/lock_api_user"), self._values)
        return connection

    def _read_circuit(self, connection: psycopg.Connection[dict[str, Any]]) -> tuple[Circuit, datetime]:
        values = self._values | {"now": self._clock() if self._clock else None}
        row = connection.execute(sql.load("calls/circuit"), values).fetchone() or {}
        now = row.pop("now")
        return Circuit(**row), now

    def _keep_circuit(self, circuit: Circuit) -> None:
        self._connected().execute(sql.load("calls/set_circuit"), self._values | asdict(circuit))
        self._circuit = circuit

    def _seconds_to_wait(self, connection: psycopg.Connection[dict[str, Any]]) -> float:
        row = connection.execute(sql.load("calls/seconds_to_wait"), self._values).fetchone()
        return float(row["seconds"]) if row else 0.0
