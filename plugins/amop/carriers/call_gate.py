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
from amop.carriers.store import CallTurn, FailingApiUser
from amop.clock import Clock
from amop.database.connection import WarehouseConnection, open_session, session_settings, transaction

MARGIN_SECONDS = 0.01
"""Added to the window: the fastest call that is known may be a little slower than the fastest possible one."""

CALLS_TO_LEARN = 100
"""Answered calls of an API user before its fastest call counts."""

COUNTED_SHARE = 0.97
"""Share of the fastest call that counts: the way to the carrier of one call and the way back of another may together be
shorter than the fastest whole call so far."""

GROWTH = 1.0002
"""The known fastest call grows by this factor with each call: after some thousand calls it has followed a carrier that
has become slower for good. A faster call replaces it at once."""

MAXIMUM_CALLS = 20
"""Calls that are remembered; a higher limit is kept in shorter windows, which together never exceed it."""


class PostgresCallGate:
    """Allow one call at a time per API user, a limited number of calls per second, and none while its circuit is open.

    The carrier counts a call when it arrives, which is between its start and its end. With a limit of n calls per
    window, a call starts at the earliest one window after the *end* of the n-th call before it, less the duration of
    the API user's fastest call: so much time passes before the arrival of one and after that of the other, whatever
    delays either of them. Only the spread of the response times is lost, and a call that was unusually slow delays the
    next ones by all that it was slower. The advisory lock belongs to the gate's database session, so a killed process
    releases it.

    Args:
        conninfo: libpq connection string of the warehouse.
        key: identifies the API user; not secret.
        calls_per_second: the limit; 0.5 is one call in two seconds, 2.5 is two calls in one second.
        account: provider and connection, as operators know the API user; shown while the carrier fails.
        sleep: waits for a number of seconds; tests inject their own.
        clock: present time for the circuit breaker; None = the database's clock, shared by all machines.
        monotonic: monotonic clock in seconds, for the duration of calls.
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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conninfo = conninfo
        self._sleep = sleep
        self._clock = clock
        self._monotonic = monotonic
        self._circuit = Circuit()
        self._is_answered = False
        self._connection: WarehouseConnection | None = None
        self._api_user = key
        self._account = account
        self._calls, self._window_seconds = window_of(calls_per_second)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Wait for this API user's turn, and hold it while the body makes one call and records its outcome.

        Raises:
            CircuitOpenError: the carrier is failing; no call is allowed before the moment in the error.
        """
        connection = self._begun()
        self._is_answered = False
        began = self._monotonic()
        try:
            yield
        finally:
            seconds = self._monotonic() - began if self._is_answered else None
            with self._unlocked_on_error(connection), connection.pipeline():
                store.end_call(connection, api_user=self._api_user, seconds=seconds, growth=GROWTH)
                store.unlock_api_user(connection, api_user=self._api_user)

    def record_success(self) -> None:
        """Close the circuit: the carrier has responded. Call it within `call`."""
        self._is_answered = True
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
            # A crash of the database may lose the calls of its last moments, but recovery takes longer than a window.
            settings["options"] += " -c synchronous_commit=off"
            self._connection = open_session(self._conninfo, settings, autocommit=True)
        return self._connection

    def _begun(self) -> WarehouseConnection:
        """Take the API user's lock, wait until a call is allowed and begin it; return the gate's session."""
        turn = self._locked_turn()
        connection = self._connected()
        with self._unlocked_on_error(connection):
            while True:
                self._circuit = Circuit(turn.failures, turn.failing_since, turn.open_until, turn.last_failure)
                if is_open(self._circuit, turn.now):
                    raise CircuitOpenError(self._circuit)
                if turn.seconds <= 0:
                    return connection
                self._sleep(turn.seconds)
                turn = self._turn(connection)

    def _locked_turn(self) -> CallTurn:
        """Take the API user's lock and begin the call if it is allowed; replace a session that was lost while idle."""
        try:
            return self._lock(self._connected())
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise
            return self._lock(self._connected())

    def _lock(self, connection: WarehouseConnection) -> CallTurn:
        # One round trip. The lock belongs to the session, not to the transaction of the pipeline.
        with self._unlocked_on_error(connection), connection.pipeline():
            store.lock_api_user(connection, api_user=self._api_user)
            return self._turn(connection)

    @contextmanager
    def _unlocked_on_error(self, connection: WarehouseConnection) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if not connection.closed:
                store.unlock_api_user(connection, api_user=self._api_user)
            raise

    def _turn(self, connection: WarehouseConnection) -> CallTurn:
        return store.begin_call(
            connection,
            api_user=self._api_user,
            calls=self._calls,
            window_seconds=self._window_seconds,
            calls_to_learn=CALLS_TO_LEARN,
            counted_share=COUNTED_SHARE,
            now=self._clock() if self._clock else None,
        )

    def _read_circuit(self, connection: WarehouseConnection) -> tuple[Circuit, datetime]:
        stored = store.read_circuit(connection, api_user=self._api_user, now=self._clock() if self._clock else None)
        circuit = Circuit(stored.failures, stored.failing_since, stored.open_until, stored.last_failure)
        return circuit, stored.now

    def _write_circuit(self, circuit: Circuit) -> None:
        store.write_circuit(self._connected(), api_user=self._api_user, account=self._account, **asdict(circuit))
        self._circuit = circuit


def window_of(calls_per_second: float) -> tuple[int, float]:
    """Return the number of calls of a window, and its length in seconds with the margin.

    A limit of more than `MAXIMUM_CALLS` in a second is kept in equal parts of the second: a second is covered by its
    parts, so no second has more than the limit.
    """
    calls = max(1, math.floor(calls_per_second))
    seconds = max(1.0, calls / calls_per_second) + MARGIN_SECONDS
    parts = max(1, math.ceil(calls / MAXIMUM_CALLS))
    return (calls, seconds) if parts == 1 else (calls // parts, seconds / parts)


def failing_api_users(conninfo: str) -> list[FailingApiUser]:
    """Return the API users whose carrier is failing."""
    with transaction(conninfo, application_name="amop cli") as connection:
        return store.failing_api_users(connection)


def allow_next_call(conninfo: str) -> int:
    """Let the next call probe every failing carrier at once; return the number of API users."""
    with transaction(conninfo, application_name="amop cli") as connection:
        return store.allow_next_call(connection)
