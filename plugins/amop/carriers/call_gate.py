"""Enforce the carrier's rate limit and the circuit breaker across processes and machines, through the warehouse."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

import psycopg

from amop import time_limits
from amop.carriers import store
from amop.carriers.circuit_breaker import Circuit, CircuitOpenError, after_failure, is_open
from amop.carriers.held_turn import HeldTurn
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

TURN_SECONDS = 0.2
"""Longest turn of consecutive calls. Other processes of the API user wait for it, and a killed process delays the next
call by no more."""

MAXIMUM_CALLS = 20
"""Calls that are remembered; a higher limit is kept in shorter windows, which together never exceed it."""

Begun = TypeVar("Begun")


class PostgresCallGate:
    """Allow one call at a time per API user, a limited number of calls per second, and none while its circuit is open.

    The carrier counts a call when it arrives, which is between its start and its end. With a limit of n calls per
    window, a call starts at the earliest one window after the *end* of the n-th call before it, less the duration of
    the API user's fastest call: so much time passes before the arrival of one and after that of the other, whatever
    delays either of them. Only the spread of the response times is lost, and a call that was unusually slow delays the
    next ones by all that it was slower. The advisory lock belongs to the gate's database session, so a killed process
    releases it.

    Consecutive calls (`consecutive_calls`) need no statement each: the process holds the lock and keeps the pace itself
    for a moment. What a killed process has called in that moment counts as a full window of calls at its end.

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
        self._held: HeldTurn | None = None
        self._held_session: WarehouseConnection | None = None
        self._api_user = key
        self._account = account
        self._calls, self._window_seconds = window_of(calls_per_second)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Wait for this API user's turn, and hold it while the body makes one call and records its outcome.

        Raises:
            CircuitOpenError: the carrier is failing; no call is allowed before the moment in the error.
        """
        held = self._waited_turn()
        connection = self._begun() if held is None else self._connected()
        self._is_answered = False
        began = self._monotonic()
        try:
            yield
        finally:
            ended = self._monotonic()
            seconds = ended - began if self._is_answered else None
            if held is None:
                with self._unlocked_on_error(connection), connection.pipeline():
                    store.end_call(connection, api_user=self._api_user, seconds=seconds, growth=GROWTH)
                    store.unlock_api_user(connection, api_user=self._api_user)
            else:
                held.end_call(ended, seconds)
                if seconds is None:  # the carrier is failing or throttles: the next call asks the warehouse again
                    self.end_turn()

    @contextmanager
    def consecutive_calls(self) -> Iterator[None]:
        """Hold this API user's turn for the calls of the body: one round trip before and after all of them.

        The turn lasts `TURN_SECONDS`; later calls of the body ask the warehouse one by one, and so do all of them while
        the circuit is open or the carrier asked for a pause.
        """
        self._on_live_session(self._begin_turn)
        try:
            yield
        finally:
            self.end_turn()

    def end_turn(self) -> None:
        """Record the calls of the turn that this process holds, and let others call; do nothing without one."""
        held, self._held = self._held, None
        connection, self._held_session = self._held_session, None
        if held is None or connection is None:
            return
        with self._unlocked_on_error(connection), connection.pipeline():
            store.end_turn(
                connection,
                api_user=self._api_user,
                ages=held.ages(self._monotonic()),
                answered=held.answered,
                fastest=held.fastest,
                growth=GROWTH,
            )
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
        """Take the API user's lock and begin the call if it is allowed."""

        def begin(connection: WarehouseConnection) -> CallTurn:
            # One round trip. The lock belongs to the session, not to the transaction of the pipeline.
            with self._unlocked_on_error(connection), connection.pipeline():
                store.lock_api_user(connection, api_user=self._api_user)
                return self._turn(connection)

        return self._on_live_session(begin)

    def _on_live_session(self, begin: Callable[[WarehouseConnection], Begun]) -> Begun:
        """Begin something on the gate's session; replace a session that was lost while idle."""
        try:
            return begin(self._connected())
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise
            return begin(self._connected())

    def _begin_turn(self, connection: WarehouseConnection) -> None:
        """Take the API user's lock for consecutive calls, and keep it if they are allowed now."""
        with self._unlocked_on_error(connection):
            store.lock_api_user(connection, api_user=self._api_user)
            sent = self._monotonic()
            turn = store.begin_turn(
                connection,
                api_user=self._api_user,
                calls=self._calls,
                turn_seconds=TURN_SECONDS,
                calls_to_learn=CALLS_TO_LEARN,
                counted_share=COUNTED_SHARE,
                now=self._clock() if self._clock else None,
            )
            received = self._monotonic()
            self._circuit = Circuit(turn.failures, turn.failing_since, turn.open_until, turn.last_failure)
            if not turn.is_begun:
                store.unlock_api_user(connection, api_user=self._api_user)
                return
        self._held_session = connection
        self._held = HeldTurn(
            turn.ages,
            turn.fastest_seconds,
            calls=self._calls,
            window_seconds=self._window_seconds,
            counted_share=COUNTED_SHARE,
            sent=sent,
            received=received,
            seconds=TURN_SECONDS,
        )

    def _waited_turn(self) -> HeldTurn | None:
        """Wait for the next call of the turn that this process holds; return the turn, None without one any more."""
        while self._held is not None:
            seconds = self._held.seconds_to_wait(self._monotonic())
            if seconds is None:
                self.end_turn()
            elif seconds <= 0:
                break
            else:
                self._sleep(seconds)
        return self._held

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
            turn_seconds=TURN_SECONDS,
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
