"""A carrier that is dead for ten minutes: a handful of calls, and the sync goes on by itself when it is back."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from amop.carriers.errors import CarrierUnavailableError
from amop.domain.circuit_breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, CircuitOpenError
from amop.warehouse.call_gate import PostgresCallGate
from sandbox.carrier import running_carrier
from tests.reliability import RecordFault
from tests.simulated_clock import SimulatedClock
from tests.sync_world import SyncWorld

PROCESSES = multiprocessing.get_context("spawn")
OUTAGE = timedelta(minutes=10)
DEAD: dict[str, dict[str, Any]] = {"503": {"status": 503}, "connection resets": {"reset": True}}


@pytest.fixture
def world(warehouse_dsn: str, tmp_path: Path) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=120, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier, tmp_path)


def stage(world: SyncWorld, run_id: int, clock: SimulatedClock) -> CarrierUnavailableError | None:
    """Do what group ``sync`` does, with a client of its own; return why the carrier could not give it."""
    try:
        world.stage(run_id, clock=clock)
    except CarrierUnavailableError as error:
        return error
    return None


def fail_a_call(gate: PostgresCallGate, reason: str) -> CircuitOpenError | None:
    """Make a call that fails; return the error that opened the circuit, or that it met."""
    try:
        with gate.call():
            gate.note_failure(reason)
    except CircuitOpenError as error:
        return error
    return None


@pytest.mark.parametrize("name", DEAD)
def test_ten_minutes_dead_cost_six_calls_and_the_day_ends_with_the_same_rows(
    world: SyncWorld, reliability: RecordFault, name: str
) -> None:
    world.sync("undisturbed")
    expected = world.final_state()
    calls_undisturbed = world.carrier.stats("api_jasper")["calls"]
    world.forget_days()
    world.carrier.reset_stats()

    clock = SimulatedClock()
    run_id = world.open("day")
    world.carrier.add_fault(**DEAD[name], nth_call=3, times=None)
    began, ends = clock.now(), clock.now() + OUTAGE
    calls = 0
    while True:  # as Airflow does: a task that meets the open circuit runs again when the next call is due
        if clock.now() >= ends and not calls:
            calls = world.carrier.faults()[0]["applied"]
            world.carrier.clear_faults()
        away = stage(world, run_id, clock)
        if away is None:
            break
        assert away.retry_at is not None
        assert away.retry_at - clock.now() <= LONGEST_PAUSE
        clock.sleep_until(away.retry_at)
    recovery = clock.now() - ends
    world.merge(run_id)
    state = world.final_state()
    assert state == expected
    assert 1 <= calls <= 6
    assert world.carrier.stats("api_jasper")["calls"] == calls_undisturbed + calls
    assert recovery <= LONGEST_PAUSE + timedelta(seconds=30)
    assert world.rows("SELECT failures, open_until FROM amop.carrier_api_user") == [{"failures": 0, "open_until": None}]
    reliability(
        fault=f"carrier dead for 10 minutes: {name}", injected=calls,
        expected="at most 6 calls meanwhile; goes on by itself within 5 minutes of the recovery; 0 tables differ",
        seen=f"{calls} calls in {(ends - began).total_seconds() / 60:.0f} minutes, went on "
        f"{recovery.total_seconds():.0f} s after the recovery, {int(state != expected)} tables differ",
    )  # fmt: skip


def call_in_another_process(conninfo: str, results: Connection) -> None:
    """Body of a process: ask for a call and send what the gate said."""
    gate = PostgresCallGate(conninfo, "dead", 1000)
    try:
        with gate.call():
            results.send("called")
    except CircuitOpenError as error:
        results.send(str(error))
    gate.close()


def test_an_open_circuit_outlives_the_process_that_opened_it(warehouse_dsn: str, reliability: RecordFault) -> None:
    gate = PostgresCallGate(warehouse_dsn, "dead", 1000)
    errors = [fail_a_call(gate, "the carrier answered 503") for _ in range(FAILURES_TO_OPEN)]
    gate.close()
    assert errors[:-1] == [None] * (FAILURES_TO_OPEN - 1)
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=call_in_another_process, args=(warehouse_dsn, theirs))
    process.start()
    assert ours.poll(60)
    said = ours.recv()
    process.join(30)
    assert said == str(errors[-1])
    assert f"{FAILURES_TO_OPEN} calls in a row failed, the last one with: the carrier answered 503" in said
    other = PostgresCallGate(warehouse_dsn, "alive", 1000)
    with other.call():
        other.note_success()
    other.close()
    reliability(
        fault="new process while the circuit is open", injected=1, expected="makes no call; other API users do",
        seen=f"{int(said == 'called')} calls by the new process, 1 by another API user",
    )  # fmt: skip


def test_one_probe_after_the_pause_and_a_failed_one_doubles_it(warehouse_dsn: str) -> None:
    clock = SimulatedClock()
    gate = PostgresCallGate(warehouse_dsn, "dead", 1000, clock=clock.now)
    pauses = []
    for _ in range(FAILURES_TO_OPEN + 3):
        opened = fail_a_call(gate, "no whole answer (ReadTimeout)")
        if opened is not None and opened.circuit.open_until is not None:
            pauses.append(round((opened.circuit.open_until - clock.now()).total_seconds()))
            with pytest.raises(CircuitOpenError), gate.call():
                pytest.fail("nobody may call now")
            clock.sleep_until(opened.circuit.open_until)
    with gate.call():
        gate.note_success()
    with gate.call():
        gate.note_failure("the carrier answered 500")
    gate.close()
    assert pauses == [120, 240, 240, 240]


def test_a_carrier_that_throttles_or_refuses_is_alive(world: SyncWorld) -> None:
    world.carrier.add_fault(status=429, retry_after_seconds=0, times=6)
    run_id = world.open("throttled")
    world.stage(run_id, clock=SimulatedClock())
    assert world.run(run_id)["list_is_complete"]
    assert world.rows("SELECT failures, open_until FROM amop.carrier_api_user") == [{"failures": 0, "open_until": None}]
