"""The call gate of one API user on real PostgreSQL, across threads, sessions and processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from amop.carriers import store
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import (
    CALLS_TO_LEARN,
    COUNTED_SHARE,
    GROWTH,
    TURN_SECONDS,
    PostgresCallGate,
    window_of,
)
from amop.carriers.control_center import ControlCenterClient
from amop.database.connection import connect
from sandbox.carrier.running import RunningCarrier, running_carrier

PROCESSES = multiprocessing.get_context("spawn")


def account_of(base_url: str, key: str, connection_id: str = "carrier_jasper") -> CarrierAccount:
    return CarrierAccount.from_connection_fields(
        connection_id=connection_id, service_provider_name="AT&T Jasper", host=base_url, schema=None, port=None,
        login="api_jasper", password=key, extra={},
    )  # fmt: skip


def call_for_a_while(conninfo: str, base_url: str, key: str, seconds: float, results: Connection) -> None:
    """Body of a process: list pages as fast as the gate allows; send the number of calls."""
    account = account_of(base_url, key)
    calls = 0
    gate = PostgresCallGate(conninfo, account.gate_key, account.calls_per_second)
    with ControlCenterClient(account, gate) as client:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            client.device_ctd_usage(known_iccid(base_url))
            calls += 1
    results.send(calls)


def known_iccid(base_url: str) -> str:
    return os.environ["AMOP_TEST_ICCID"]


def hold_a_turn(conninfo: str, held: Connection) -> None:
    """Body of a process that is killed in the middle of a call."""
    with PostgresCallGate(conninfo, "killed", 5).call():
        held.send("held")
        time.sleep(60)


@pytest.fixture
def carrier(monkeypatch: pytest.MonkeyPatch) -> Any:
    with running_carrier(devices_per_account=3, accounts=("jasper",), latency_ms=0) as running:
        monkeypatch.setenv("AMOP_TEST_ICCID", running.truth()["devices"][0]["iccid"])
        yield running


def test_two_processes_together_never_exceed_the_limit_and_use_nearly_all_of_it(
    warehouse_dsn: str, carrier: RunningCarrier
) -> None:
    ours, theirs = PROCESSES.Pipe(duplex=False)
    arguments = (warehouse_dsn, carrier.base_url, carrier.api_key, 6.0, theirs)
    processes = [PROCESSES.Process(target=call_for_a_while, args=arguments) for _ in range(2)]
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
    assert min(calls) >= 8  # they take turns


def test_one_process_makes_at_least_4_6_calls_a_second_of_5(warehouse_dsn: str, carrier: RunningCarrier) -> None:
    account = account_of(carrier.base_url, carrier.api_key)
    gate = PostgresCallGate(warehouse_dsn, account.gate_key, account.calls_per_second)
    with ControlCenterClient(account, gate) as client:
        client.device_ctd_usage(known_iccid(""))
        began = time.monotonic()
        for _ in range(25):
            client.device_ctd_usage(known_iccid(""))
        rate = 25 / (time.monotonic() - began)
    assert 4.6 <= rate <= 5.0
    assert carrier.stats("api_jasper")["violations"] == 0


def test_a_killed_process_releases_its_turn(warehouse_dsn: str) -> None:
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=hold_a_turn, args=(warehouse_dsn, theirs))
    process.start()
    assert ours.poll(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    gate = PostgresCallGate(warehouse_dsn, "killed", 5)
    began = time.monotonic()
    with gate.call():
        waited = time.monotonic() - began
    gate.close()
    assert waited < 10


def test_a_second_call_of_an_api_user_waits_for_the_first_and_other_users_do_not(warehouse_dsn: str) -> None:
    first, second, other = (PostgresCallGate(warehouse_dsn, key, 5) for key in ("a", "a", "b"))
    entered = threading.Event()

    def enter() -> None:
        with second.call():
            entered.set()

    waiting = threading.Thread(target=enter)
    with first.call():
        waiting.start()
        assert not entered.wait(0.5)
        with other.call():
            pass
    assert entered.wait(5)
    waiting.join(5)
    for gate in (first, second, other):
        gate.close()


def test_a_block_delays_every_session_for_the_requested_time(warehouse_dsn: str) -> None:
    one, two = PostgresCallGate(warehouse_dsn, "a", 5), PostgresCallGate(warehouse_dsn, "a", 5)
    with one.call():
        one.block(1.5)
    began = time.monotonic()
    with two.call():
        waited = time.monotonic() - began
    assert 1.4 <= waited < 3
    one.close()
    two.close()


def test_a_failed_call_counts_and_releases_the_turn(warehouse_dsn: str) -> None:
    gate = PostgresCallGate(warehouse_dsn, "a", 1)
    with pytest.raises(ValueError, match="boom"), gate.call():
        raise ValueError("boom")
    began = time.monotonic()
    with gate.call():
        assert 0.9 <= time.monotonic() - began < 2
    gate.close()


def test_the_gate_survives_the_loss_of_its_idle_database_session(warehouse_dsn: str) -> None:
    gate = PostgresCallGate(warehouse_dsn, "a", 5)
    with gate.call():
        pass
    with psycopg.connect(warehouse_dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'amop call gate' AND datname = current_database()"
        )
    with gate.call():
        pass
    gate.close()


def test_a_rate_below_one_is_one_call_in_several_seconds(warehouse_dsn: str) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    gate = PostgresCallGate(warehouse_dsn, "slow", 0.5, sleep=sleep)
    for _ in range(2):
        with gate.call():
            pass
    gate.close()
    assert 1.9 <= sum(waits) <= 2.5


def test_the_key_of_the_account_is_not_in_the_database(
    warehouse_dsn: str, carrier: RunningCarrier, tmp_path: Path
) -> None:
    account = account_of(carrier.base_url, carrier.api_key)
    with ControlCenterClient(account, PostgresCallGate(warehouse_dsn, account.gate_key, 5)) as client:
        client.device_details(known_iccid(""))
    with psycopg.connect(warehouse_dsn) as connection:
        rows = connection.execute("SELECT carrier_api_user::text FROM amop.carrier_api_user").fetchall()
    assert len(rows) == 1
    assert carrier.api_key not in str(rows)


def account_row(dsn: str, **values: Any) -> None:
    """Store an API user whose latest five calls ended half a second ago."""
    row = {"fastest_seconds": 0.15, "timed_calls": CALLS_TO_LEARN} | values
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO amop.carrier_api_user (api_user, recent_calls, fastest_seconds, timed_calls) VALUES"
            " ('a', array_fill(clock_timestamp() - interval '0.5 seconds', ARRAY[5]), %(fastest_seconds)s,"
            " %(timed_calls)s)",
            row,
        )


def seconds_to_wait(dsn: str) -> float:
    with connect(dsn) as connection:
        calls, seconds = window_of(5)
        return store.begin_call(
            connection,
            api_user="a",
            calls=calls,
            window_seconds=seconds,
            turn_seconds=TURN_SECONDS,
            calls_to_learn=CALLS_TO_LEARN,
            counted_share=COUNTED_SHARE,
            now=None,
        ).seconds


def learned(dsn: str) -> tuple[float, int]:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT fastest_seconds, timed_calls FROM amop.carrier_api_user").fetchone()
    assert row is not None
    return row[0], row[1]


def end_call(dsn: str, seconds: float | None) -> None:
    with connect(dsn) as connection:
        store.end_call(connection, api_user="a", seconds=seconds, growth=GROWTH)


def test_a_call_waits_from_the_end_of_the_fifth_call_before_it_less_the_fastest_call(warehouse_dsn: str) -> None:
    began = time.monotonic()
    account_row(warehouse_dsn)
    waits = seconds_to_wait(warehouse_dsn)
    expected = 1.01 - 0.5 - 0.97 * 0.15
    assert expected - (time.monotonic() - began) <= waits <= expected


def test_the_fastest_call_counts_only_when_enough_calls_are_known(warehouse_dsn: str) -> None:
    began = time.monotonic()
    account_row(warehouse_dsn, timed_calls=CALLS_TO_LEARN - 1)
    waits = seconds_to_wait(warehouse_dsn)
    assert 1.01 - 0.5 - (time.monotonic() - began) <= waits <= 1.01 - 0.5


def test_a_call_that_never_ended_counts_from_its_start(warehouse_dsn: str) -> None:
    account_row(warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("UPDATE amop.carrier_api_user SET recent_calls = '{}'")
    began = time.monotonic()
    assert [seconds_to_wait(warehouse_dsn) for _ in range(5)] == [0] * 5
    waits = seconds_to_wait(warehouse_dsn)
    assert 1.01 - (time.monotonic() - began) <= waits <= 1.01


def test_a_clock_that_was_set_back_an_hour_delays_calls_by_one_window(warehouse_dsn: str) -> None:
    account_row(warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute(
            "UPDATE amop.carrier_api_user"
            " SET recent_calls = array_fill(clock_timestamp() + interval '1 hour', ARRAY[5])"
        )
    assert seconds_to_wait(warehouse_dsn) == pytest.approx(1.01 + TURN_SECONDS)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(min(seconds, 3))

    gate = PostgresCallGate(warehouse_dsn, "a", 5, sleep=sleep)
    with gate.consecutive_calls(), gate.call():
        gate.record_success()
    gate.close()
    assert 1.01 < sum(slept) <= 1.01 + TURN_SECONDS


def test_a_faster_call_counts_at_once_and_a_slower_one_raises_the_fastest_slowly(warehouse_dsn: str) -> None:
    account_row(warehouse_dsn)
    end_call(warehouse_dsn, 0.4)
    fastest, timed = learned(warehouse_dsn)
    assert fastest == pytest.approx(0.15 * GROWTH)
    assert timed == CALLS_TO_LEARN + 1
    end_call(warehouse_dsn, 0.02)
    assert learned(warehouse_dsn) == (0.02, CALLS_TO_LEARN + 2)
    end_call(warehouse_dsn, None)  # no answer: a refused connection is not a fast call
    assert learned(warehouse_dsn) == (0.02, CALLS_TO_LEARN + 2)


@pytest.mark.parametrize(
    ("calls_per_second", "calls", "seconds"),
    [(0.5, 1, 2.01), (2.5, 2, 1.01), (5, 5, 1.01), (20, 20, 1.01), (50, 16, 1.01 / 3), (1000, 20, 1.01 / 50)],
)
def test_a_high_limit_is_kept_in_parts_of_a_second(calls_per_second: float, calls: int, seconds: float) -> None:
    found = window_of(calls_per_second)
    assert found[0] == calls
    assert found[1] == pytest.approx(seconds)
