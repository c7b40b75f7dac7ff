"""Enforce the carrier's rate limit and the circuit breaker across processes and machines, through the warehouse."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime

import psycopg

from amop import time_limits
from amop.carriers import store
from amop.carriers.circuit_breaker import Circuit, CircuitOpenError, after_failure, is_open
from amop.carriers.store import FailingApiUser
from amop.clock import Clock
from amop.database.connection import WarehouseConnection, open_session, session_settings, transaction

MARGIN_SECONDS = 0.02
"""Added to the window, because the carrier counts a call when it arrives, not when it was sent or ended."""


class PostgresCallGate:
    """Allow one call at a time per API user, a limited number of calls per second, and none while its circuit is open.

    With a limit of n calls per window, a call starts at the earliest one window after the *end* of the n-th call before
    it. This never exceeds the limit of a carrier that counts arrivals; pacing by the starts of calls exceeds it when
    latency varies. The advisory lock belongs to the gate's database session, so a killed process releases it.

    Args:
        conninfo: libpq connection string of the warehouse.
        key: identifies the API user; not secret.
        calls_per_second: the limit; 0.5 is one call in two seconds, 2.5 is two calls in one second.
        account: provider and connection, as operators know the API user; shown while the carrier fails.
        sleep: waits for a number of seconds; tests inject their own.
        clock: present time for the circuit breaker; None = the database's clock, shared by all machines.
    """

    def __init__(
        self,
        conninfo: str,
        key: str,
        calls_per_second: float,
        *,
        account: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._sleep = sleep
        self._clock = clock
        self._circuit = Circuit()
        self._connection: WarehouseConnection | None = None
        self._api_user = key
        self._account = account
        self._calls = max(1, math.floor(calls_per_second))
        self._window_seconds = max(1.0, self._calls / calls_per_second) + MARGIN_SECONDS

    @contextmanager
    def call(self) -> Iterator[None]:
        """Wait for this API user's turn, and hold it while the body makes one call and records its outcome.

        Raises:
            CircuitOpenError: the carrier is failing; no call is allowed before the moment in the error.
        """
        connection = self._locked()
        try:
            self._circuit, now = self._read_circuit(connection)
            if is_open(self._circuit, now):
                raise CircuitOpenError(self._circuit)
            while (seconds := self._seconds_to_wait(connection)) > 0:
                self._sleep(seconds)
            # Recorded before and after: the start remains when the process is killed during the call.
            store.record_call_start(connection, api_user=self._api_user, calls=self._calls)
            try:
                yield
            finally:
                store.record_call_end(connection, api_user=self._api_user)
        finally:
            if not connection.closed:
                store.unlock_api_user(connection, api_user=self._api_user)

    def record_success(self) -> None:
        """Close the circuit: the carrier has responded. Call it within `call`."""
        if self._circuit != Circuit():
            self._write_circuit(Circuit())

    def record_failure(self, reason: str) -> None:
        """Record that the carrier did not respond, or responded with a server error. Call it within `call`.

        Raises:
            CircuitOpenError: this failure opened the circuit.
        """
        _, now = self._read_circuit(self._connected())
        self._write_circuit(after_failure(self._circuit, reason, now))
        if is_open(self._circuit, now):
            raise CircuitOpenError(self._circuit)

    def block(self, seconds: float) -> None:
        """Block all calls as this API user for a number of seconds: the carrier's ``Retry-After``."""
        store.block_api_user(self._connected(), api_user=self._api_user, seconds=seconds)

    def close(self) -> None:
        """Close the gate's database session."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> WarehouseConnection:
        if self._connection is None or self._connection.closed:
            settings = session_settings(
                self._conninfo, application_name="amop call gate", lock=time_limits.CALL_GATE_LOCK
            )
            self._connection = open_session(self._conninfo, settings, autocommit=True)
        return self._connection

    def _locked(self) -> WarehouseConnection:
        """Return the gate's session with the API user's lock; replace a session that was lost while idle."""
        try:
            connection = self._connected()
            store.lock_api_user(connection, api_user=self._api_user)
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise
            connection = self._connected()
            store.lock_api_user(connection, api_user=self._api_user)
        return connection

    def _read_circuit(self, connection: WarehouseConnection) -> tuple[Circuit, datetime]:
        stored = store.read_circuit(connection, api_user=self._api_user, now=self._clock() if self._clock else None)
        circuit = Circuit(stored.failures, stored.failing_since, stored.open_until, stored.last_failure)
        return circuit, stored.now

    def _write_circuit(self, circuit: Circuit) -> None:
        store.write_circuit(self._connected(), api_user=self._api_user, account=self._account, **asdict(circuit))
        self._circuit = circuit

    def _seconds_to_wait(self, connection: WarehouseConnection) -> float:
        seconds = store.seconds_to_wait(
            connection, api_user=self._api_user, calls=self._calls, window_seconds=self._window_seconds
        )
        return seconds or 0.0


def failing_api_users(conninfo: str) -> list[FailingApiUser]:
    """Return the API users whose carrier is failing."""
    with transaction(conninfo, application_name="amop cli") as connection:
        return store.failing_api_users(connection)


def allow_next_call(conninfo: str) -> int:
    """Let the next call probe every failing carrier at once; return the number of API users."""
    with transaction(conninfo, application_name="amop cli") as connection:
        return store.allow_next_call(connection)
