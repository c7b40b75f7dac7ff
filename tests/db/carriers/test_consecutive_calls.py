"""Consecutive calls of an API user: one turn for all of them, on real PostgreSQL, across sessions and processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import psycopg
import pytest

from amop.carriers import call_gate
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import CALLS_TO_LEARN, GROWTH, TURN_SECONDS, PostgresCallGate
from amop.carriers.circuit_breaker import CircuitOpenError
from amop.carriers.control_center import ControlCenterClient
from amop.database.statements import Statement
from sandbox.carrier.running import running_carrier

PROCESSES = multiprocessing.get_context("spawn")
LIMIT = 1000.0
IDLE = [f"carriers/{name}" for name in ("lock_api_user", "begin_turn", "end_turn", "unlock_api_user")]
"""The statements of a turn, however many calls it has."""


def gate_of(dsn: str, *, limit: float = LIMIT) -> PostgresCallGate:
    """Return a gate whose API user has called before: a turn begins only then."""
    gate = PostgresCallGate(dsn, "a", limit)
    make_calls(gate, 1)
    return gate


def make_calls(gate: PostgresCallGate, count: int) -> None:
    for _ in range(count):
        with gate.call():
            gate.record_success()


def stored(dsn: str) -> dict[str, Any]:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT fastest_seconds, timed_calls, cardinality(recent_calls),"
            " extract(EPOCH FROM clock_timestamp() - recent_calls[1])::float8,"
            " extract(EPOCH FROM recent_calls[cardinality(recent_calls)] - clock_timestamp())::float8"
            " FROM amop.carrier_api_user"
        ).fetchone()
    assert row is not None
    return dict(zip(("fastest", "timed", "calls", "first_age", "last_ahead"), row, strict=True))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of the statements that run."""
    names: list[str] = []
    run = Statement.__call__

    def noted(self: Statement[..., Any], *args: Any, **kwargs: Any) -> Any:
        names.append(self.name)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(Statement, "__call__", noted)
    return names


def test_a_turn_has_four_statements_whether_it_has_one_call_or_fifty(warehouse_dsn: str, statements: list[str]) -> None:
    gate = gate_of(warehouse_dsn)
    for calls in (1, 15):
        statements.clear()
        with gate.consecutive_calls():
            make_calls(gate, calls)
        assert statements == IDLE
    assert stored(warehouse_dsn)["timed"] == 17
    gate.close()


def test_the_ends_of_a_turn_are_recorded_and_its_fastest_call_is_learned(warehouse_dsn: str) -> None:
    gate = gate_of(warehouse_dsn, limit=4)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("UPDATE amop.carrier_api_user SET fastest_seconds = 9, timed_calls = 0, recent_calls = '{}'")
    began = time.monotonic()
    with gate.consecutive_calls(), gate.call():
        time.sleep(0.02)
        gate.record_success()
    row = stored(warehouse_dsn)
    assert (row["calls"], row["timed"]) == (1, 1)
    assert 0.02 <= row["fastest"] <= time.monotonic() - began
    assert 0 <= row["first_age"] <= time.monotonic() - began - 0.02
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("UPDATE amop.carrier_api_user SET fastest_seconds = 0.001, recent_calls = '{}'")
    with gate.consecutive_calls():
        for _ in range(3):
            with gate.call():
                time.sleep(0.005)
                gate.record_success()
    assert stored(warehouse_dsn)["fastest"] == pytest.approx(0.001 * GROWTH**3)
    gate.close()


def test_a_turn_waits_for_the_calls_before_it_and_ends_where_the_limit_allows_no_more(
    warehouse_dsn: str, statements: list[str]
) -> None:
    gate = gate_of(warehouse_dsn, limit=5)
    began = time.monotonic()
    with gate.consecutive_calls():
        make_calls(gate, 4)  # the fifth call of the window is that of `gate_of`
        assert time.monotonic() - began < TURN_SECONDS
        statements.clear()
        make_calls(gate, 1)
    assert 0.9 <= time.monotonic() - began < 3
    assert statements[:4] == ["carriers/end_turn", "carriers/unlock_api_user", "carriers/lock_api_user",
                              "carriers/begin_call"]  # fmt: skip
    gate.close()


def hold_a_turn(dsn: str, held: Connection) -> None:
    """Body of a process that is killed between two calls of a turn."""
    gate = gate_of(dsn, limit=5)
    with gate.consecutive_calls():
        make_calls(gate, 1)
        held.send("held")
        time.sleep(60)


def test_the_calls_of_a_killed_turn_count_as_a_full_window_at_its_end(warehouse_dsn: str) -> None:
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=hold_a_turn, args=(warehouse_dsn, theirs))
    process.start()
    assert ours.poll(30)
    row = stored(warehouse_dsn)
    assert row["calls"] == 5
    assert row["first_age"] == pytest.approx(-row["last_ahead"], abs=0.001)
    assert row["last_ahead"] <= TURN_SECONDS
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    gate = PostgresCallGate(warehouse_dsn, "a", 5)
    with gate.call():
        assert stored(warehouse_dsn)["calls"] <= 5
    # The next call began a window after the end of the turn, no earlier.
    with psycopg.connect(warehouse_dsn) as connection:
        found = connection.execute(
            "SELECT extract(EPOCH FROM recent_calls[cardinality(recent_calls)] - recent_calls[1])::float8"
            " FROM amop.carrier_api_user"
        ).fetchone()
    assert found is not None
    assert 1.01 <= found[0] < 5
    gate.close()


def call_in_turns(dsn: str, base_url: str, key: str, iccid: str, results: Connection) -> None:
    """Body of a process: read as fast as turns of three calls allow for six seconds; send the number of calls."""
    account = CarrierAccount.from_connection_fields(
        connection_id="carrier_jasper", service_provider_name="AT&T Jasper", host=base_url, schema=None, port=None,
        login="api_jasper", password=key, extra={},
    )  # fmt: skip
    calls, ends_at = 0, time.monotonic() + 6
    with ControlCenterClient(account, PostgresCallGate(dsn, account.gate_key, account.calls_per_second)) as client:
        while time.monotonic() < ends_at:
            with client.consecutive_calls():
                for _ in range(3):
                    client.device_ctd_usage(iccid)
                    calls += 1
    results.send(calls)


def test_two_processes_with_turns_never_exceed_the_limit_and_both_call(warehouse_dsn: str) -> None:
    ours, theirs = PROCESSES.Pipe(duplex=False)
    with running_carrier(devices_per_account=3, accounts=("jasper",), latency_ms=0) as carrier:
        known = carrier.truth()["devices"][0]["iccid"]
        arguments = (warehouse_dsn, carrier.base_url, carrier.api_key, known, theirs)
        processes = [PROCESSES.Process(target=call_in_turns, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        calls = []
        for process in processes:
            assert ours.poll(60)
            calls.append(ours.recv())
            process.join(30)
        stats = carrier.stats("api_jasper")
    assert stats["violations"] == 0
    assert stats["max_concurrent"] == 1
    assert stats["max_calls_in_any_second"] <= 5
    assert stats["calls"] == sum(calls)
    assert min(calls) >= 6


def can_call(gate: PostgresCallGate) -> threading.Thread:
    """Start a call of another session, which ends as soon as it is allowed."""
    thread = threading.Thread(target=make_calls, args=(gate, 1))
    thread.start()
    return thread


def test_others_wait_for_a_turn_and_call_as_soon_as_one_of_its_calls_has_failed(warehouse_dsn: str) -> None:
    gate, other = gate_of(warehouse_dsn), PostgresCallGate(warehouse_dsn, "a", LIMIT)
    with gate.consecutive_calls():
        make_calls(gate, 1)
        waiting = can_call(other)
        waiting.join(0.1)
        assert waiting.is_alive()
        with gate.call():
            gate.record_failure("no complete response")
        waiting.join(10)
        assert not waiting.is_alive()
    gate.close()
    other.close()


def test_others_call_while_a_turn_pauses(warehouse_dsn: str) -> None:
    gate, other = gate_of(warehouse_dsn), PostgresCallGate(warehouse_dsn, "a", LIMIT)
    with gate.consecutive_calls():
        gate.end_turn()
        can_call(other).join(10)
        make_calls(gate, 1)
    assert stored(warehouse_dsn)["timed"] == 3
    gate.close()
    other.close()


def test_no_turn_begins_while_the_carrier_asked_for_a_pause(warehouse_dsn: str, statements: list[str]) -> None:
    gate = gate_of(warehouse_dsn)
    gate.block(0.5)
    began = time.monotonic()
    with gate.consecutive_calls():
        assert statements[-1] == "carriers/unlock_api_user"
        make_calls(gate, 1)
    assert 0.4 <= time.monotonic() - began < 3
    gate.close()


def test_no_turn_begins_while_the_circuit_is_open(warehouse_dsn: str) -> None:
    gate = gate_of(warehouse_dsn)
    for _ in range(3):
        with gate.call():
            gate.record_failure("no complete response")
    with pytest.raises(CircuitOpenError), gate.call():
        gate.record_failure("no complete response")
    with pytest.raises(CircuitOpenError), gate.consecutive_calls():
        make_calls(gate, 1)
    gate.close()


def test_a_call_after_the_end_of_a_turn_asks_the_warehouse(
    warehouse_dsn: str, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_gate, "TURN_SECONDS", 0.0)
    gate = gate_of(warehouse_dsn)
    statements.clear()
    with gate.consecutive_calls():
        make_calls(gate, 1)
    assert statements == [f"carriers/{name}" for name in (
        "lock_api_user", "begin_turn", "end_turn", "unlock_api_user",
        "lock_api_user", "begin_call", "end_call", "unlock_api_user",
    )]  # fmt: skip
    gate.close()


def test_an_account_that_never_called_has_no_turn_yet(warehouse_dsn: str, statements: list[str]) -> None:
    gate = PostgresCallGate(warehouse_dsn, "new", LIMIT)
    with gate.consecutive_calls():
        make_calls(gate, 1)
    assert statements.count("carriers/begin_call") == 1
    assert "carriers/end_turn" not in statements
    assert CALLS_TO_LEARN > 1
    gate.close()
