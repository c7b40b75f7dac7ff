"""SQL of the call gate: pacing, single flight and circuit breaker of each API user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class StoredCircuit:
    """The stored state of an API user's circuit breaker, and the present time; see `amop.carriers.circuit_breaker`."""

    failures: int
    failing_since: datetime | None
    open_until: datetime | None
    last_failure: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class CallTurn:
    """Whether an API user may call now; the call has begun if the circuit is closed and there is nothing to wait."""

    failures: int
    failing_since: datetime | None
    open_until: datetime | None
    last_failure: str | None
    now: datetime
    """Present time of the circuit breaker."""
    seconds: float
    """Seconds until the call is allowed."""


@dataclass(frozen=True, slots=True)
class BegunTurn:
    """Whether an API user may make consecutive calls now, and what the process needs to keep their pace."""

    failures: int
    failing_since: datetime | None
    open_until: datetime | None
    last_failure: str | None
    now: datetime
    """Present time of the circuit breaker."""
    is_begun: bool
    fastest_seconds: float
    """Duration that counts as that of the fastest call; 0 = none is known."""
    ages: list[float]
    """Seconds since the end of each of the latest calls, oldest first."""


@dataclass(frozen=True, slots=True)
class FailingApiUser:
    """An API user whose carrier is failing."""

    account: str
    """Provider and connection; the hash of the API user where no failure has recorded them."""
    api_user: str
    """Hash of the API user."""
    failures: int
    failing_since: datetime | None
    open_until: datetime | None
    """No task calls the carrier before; None = the next call probes it."""
    last_failure: str | None


@statement("carriers/lock_api_user")
def lock_api_user(connection: WarehouseConnection, *, api_user: str) -> None:
    """Take the session-level lock of an API user; wait up to the session's lock timeout."""


@statement("carriers/unlock_api_user")
def unlock_api_user(connection: WarehouseConnection, *, api_user: str) -> None:
    """Release the session-level lock of an API user."""


@statement("carriers/begin_call")
def begin_call(
    connection: WarehouseConnection,
    *,
    api_user: str,
    calls: int,
    window_seconds: float,
    turn_seconds: float,
    calls_to_learn: int,
    counted_share: float,
    now: datetime | None,
) -> CallTurn:
    """Begin a call if it is allowed; return the circuit breaker and the wait. ``now`` None is the database's clock."""


@statement("carriers/end_call")
def end_call(connection: WarehouseConnection, *, api_user: str, seconds: float | None, growth: float) -> None:
    """Record the end of the latest call, and its duration if it was answered."""


@statement("carriers/begin_turn")
def begin_turn(
    connection: WarehouseConnection,
    *,
    api_user: str,
    calls: int,
    turn_seconds: float,
    calls_to_learn: int,
    counted_share: float,
    now: datetime | None,
) -> BegunTurn:
    """Begin a turn of consecutive calls if it is allowed. ``now`` None is the database's clock."""


@statement("carriers/end_turn")
def end_turn(
    connection: WarehouseConnection,
    *,
    api_user: str,
    ages: list[float],
    answered: int,
    fastest: float | None,
    growth: float,
) -> None:
    """Record the ends of the latest calls of a turn, and its fastest answered call."""


@statement("carriers/block_api_user")
def block_api_user(connection: WarehouseConnection, *, api_user: str, seconds: float) -> None:
    """Block all calls of an API user for a number of seconds."""


@statement("carriers/read_circuit")
def read_circuit(connection: WarehouseConnection, *, api_user: str, now: datetime | None) -> StoredCircuit:
    """Return the circuit breaker of an API user; ``now`` None is the database's clock."""


@statement("carriers/write_circuit")
def write_circuit(
    connection: WarehouseConnection,
    *,
    api_user: str,
    account: str | None,
    failures: int,
    failing_since: datetime | None,
    open_until: datetime | None,
    last_failure: str | None,
) -> None:
    """Store the circuit breaker of an API user."""


@statement("carriers/failing_api_users")
def failing_api_users(connection: WarehouseConnection) -> list[FailingApiUser]:
    """Return the API users whose carrier is failing."""


@statement("carriers/allow_next_call")
def allow_next_call(connection: WarehouseConnection) -> RowCount:
    """Let the next call probe failing carriers at once; return the number of API users."""
