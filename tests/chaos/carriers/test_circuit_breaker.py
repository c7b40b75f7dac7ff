"""A carrier is down for ten minutes: a few calls, and the sync resumes on its own after the recovery."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest

from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.circuit_breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, CircuitOpenError
from amop.carriers.errors import CarrierUnavailableError
from sandbox.carrier.running import running_carrier
from tests.worlds.reliability import RecordFault
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld

PROCESSES = multiprocessing.get_context("spawn")
OUTAGE = timedelta(minutes=10)
DOWN: dict[str, dict[str, Any]] = {"503": {"status": 503}, "connection resets": {"reset": True}}


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=120, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier)


def stage(world: SyncWorld, run_id: int, clock: SimulatedClock) -> CarrierUnavailableError | None:
    """Run the work of group ``sync`` with its own client; return the carrier's error, if any."""
    try:
        world.stage(run_id, clock=clock)
    except CarrierUnavailableError as error:
        return error
    return None


def fail_a_call(gate: PostgresCallGate, reason: str) -> CircuitOpenError | None:
    """Make a call that fails; return the error of the open circuit, if any."""
    try:
        with gate.call():
            gate.record_failure(reason)
    except CircuitOpenError as error:
        return error
    return None


@pytest.mark.parametrize("name", DOWN)
def test_an_outage_of_ten_minutes_costs_six_calls_and_the_day_ends_with_the_same_rows(
    world: SyncWorld, reliability: RecordFault, name: str
) -> None:
    world.sync("undisturbed")
    expected = world.final_state()
    calls_undisturbed = world.carrier.stats("api_jasper")["calls"]
    world.delete_days()
    world.carrier.reset_stats()

    clock = SimulatedClock()
    run_id = world.open("day")
    world.carrier.add_fault(**DOWN[name], nth_call=3, times=None)
    began, ends = clock.now(), clock.now() + OUTAGE
    calls = 0
    while True:  # like Airflow: a task with an open circuit runs again when the next call is due
        if clock.now() >= ends and not calls:
            calls = world.carrier.faults()[0]["applied"]
            world.carrier.clear_faults()
        error = stage(world, run_id, clock)
        if error is None:
            break
        assert error.retry_at is not None
        assert error.retry_at - clock.now() <= LONGEST_PAUSE
        clock.sleep_until(error.retry_at)
    recovery = clock.now() - ends
    world.merge(run_id)
    state = world.final_state()
    assert state == expected
    assert 1 <= calls <= 6
    assert world.carrier.stats("api_jasper")["calls"] == calls_undisturbed + calls
    assert recovery <= LONGEST_PAUSE + timedelta(seconds=30)
    assert world.rows("SELECT failures, open_until FROM amop.carrier_api_user") == [{"failures": 0, "open_until": None}]
    reliability(
        fault=f"carrier down for 10 minutes: {name}", injected=calls,
        expected="at most 6 calls meanwhile; resumes on its own within 5 minutes of the recovery; 0 tables differ",
        seen=f"{calls} calls in {(ends - began).total_seconds() / 60:.0f} minutes, resumed "
        f"{recovery.total_seconds():.0f} s after the recovery, {int(state != expected)} tables differ",
    )  # fmt: skip


def call_in_another_process(conninfo: str, results: Connection) -> None:
    """Body of a process: request a call and send the gate's answer."""
    gate = PostgresCallGate(conninfo, "dead", 1000)
    try:
        with gate.call():
            results.send("called")
    except CircuitOpenError as error:
        results.send(str(error))
    gate.close()


def test_an_open_circuit_outlives_the_process_that_opened_it(warehouse_dsn: str, reliability: RecordFault) -> None:
    gate = PostgresCallGate(warehouse_dsn, "dead", 1000)
    errors = [fail_a_call(gate, "the carrier returned 503") for _ in range(FAILURES_TO_OPEN)]
    gate.close()
    assert errors[:-1] == [None] * (FAILURES_TO_OPEN - 1)
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=call_in_another_process, args=(warehouse_dsn, theirs))
    process.start()
    assert ours.poll(60)
    said = ours.recv()
    process.join(30)
    assert said == str(errors[-1])
    assert f"{FAILURES_TO_OPEN} consecutive calls failed, the last one with: the carrier returned 503" in said
    other = PostgresCallGate(warehouse_dsn, "alive", 1000)
    with other.call():
        other.record_success()
    other.close()
    reliability(
        fault="new process while the circuit is open", injected=1, expected="makes no call; other API users do",
        seen=f"{int(said == 'called')} calls by the new process, 1 by another API user",
    )  # fmt: skip


def test_one_probe_follows_the_pause_and_a_failed_probe_doubles_it(warehouse_dsn: str) -> None:
    clock = SimulatedClock()
    gate = PostgresCallGate(warehouse_dsn, "dead", 1000, clock=clock.now)
    pauses = []
    for _ in range(FAILURES_TO_OPEN + 3):
        opened = fail_a_call(gate, "no complete response (ReadTimeout)")
        if opened is not None and opened.circuit.open_until is not None:
            pauses.append(round((opened.circuit.open_until - clock.now()).total_seconds()))
            with pytest.raises(CircuitOpenError), gate.call():
                pytest.fail("no call is allowed now")
            clock.sleep_until(opened.circuit.open_until)
    with gate.call():
        gate.record_success()
    with gate.call():
        gate.record_failure("the carrier returned 500")
    gate.close()
    assert pauses == [120, 240, 240, 240]


def test_a_throttling_carrier_does_not_open_the_circuit(world: SyncWorld) -> None:
    world.carrier.add_fault(status=429, retry_after_seconds=0, times=6)
    run_id = world.open("throttled")
    world.stage(run_id, clock=SimulatedClock())
    assert world.run(run_id)["list_is_complete"]
    assert world.rows("SELECT failures, open_until FROM amop.carrier_api_user") == [{"failures": 0, "open_until": None}]
