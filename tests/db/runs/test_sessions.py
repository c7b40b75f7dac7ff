"""Optimization sessions on a real database: one per provider, and every step and the end reported once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amop.database.connection import WarehouseConnection, connect, transaction
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.progress import PROGRESS_STEPS
from amop.runs.sessions import (
    SessionAlreadyRunningError,
    SessionEndedError,
    SessionNotFoundError,
    advance_session,
    complete_session,
    fail_session,
    load_session,
    open_session,
    touch_session,
)
from amop.runs.store.sessions import Session
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PROVIDER = 1
SIX_HOURS = timedelta(hours=6)


@pytest.fixture
def dsn(warehouse_dsn: str) -> str:
    """Return a warehouse with the sandbox's providers and the current billing period of the first."""
    load_sandbox_reference(warehouse_dsn)
    with transaction(warehouse_dsn) as connection:
        ensure_billing_period(connection, PROVIDER, NOW)
    return warehouse_dsn


def start(connection: WarehouseConnection, opened_by: str = "dag/run", provider: int = PROVIDER) -> Session:
    """Open a session in the provider's current billing period."""
    period = ensure_billing_period(connection, provider, NOW)
    return open_session(
        connection, service_provider_id=provider, billing_period_id=period.id, opened_by=opened_by, now=NOW
    )


def messages(connection: WarehouseConnection, session_id: int) -> list[Any]:
    """Return a session's progress steps and, for an error, its text, in the order of the outbox."""
    rows = connection.execute(
        "SELECT kind, payload->'data' AS data FROM amop.amop_outbox WHERE session_id = %(id)s ORDER BY id",
        {"id": session_id},
    ).fetchall()
    return [row["data"]["Progress"] if row["kind"] == "progress" else row["data"]["ErrorMessage"] for row in rows]


def test_opening_a_session_writes_the_0_percent_message_in_the_same_transaction(dsn: str) -> None:
    with connect(dsn) as connection:
        session = start(connection)
        assert messages(connection, session.id) == [0]
        connection.rollback()
    with transaction(dsn) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM amop.optimization_session) AS sessions, count(*) AS messages "
            "FROM amop.amop_outbox"
        ).fetchone()
    assert found == {"sessions": 0, "messages": 0}


def test_the_same_opener_gets_the_same_session_even_when_it_has_ended(dsn: str) -> None:
    with transaction(dsn) as connection:
        first = start(connection)
        assert start(connection).id == first.id
        fail_session(connection, first.id, "no")
        again = start(connection)
        assert (again.id, again.status) == (first.id, "failed")
        assert messages(connection, first.id) == [0, "no"]


def test_a_second_session_is_refused_and_the_error_names_the_running_one(dsn: str) -> None:
    with transaction(dsn) as connection:
        first = start(connection, "device_sync_jasper/monday")
        with pytest.raises(SessionAlreadyRunningError) as caught:
            start(connection, "device_sync_jasper/tuesday")
        # The caller's transaction is still usable: no rollback is needed.
        complete_session(connection, first.id)
        second = start(connection, "device_sync_jasper/tuesday")
    text = str(caught.value)
    for part in (f"session {first.id}", "(1)", "2026-11-24 12:00:00 UTC", "device_sync_jasper/monday"):
        assert part in text
    assert second.id != first.id


def test_eight_concurrent_openers_get_exactly_one_session(dsn: str) -> None:
    def attempt(number: int) -> bool:
        try:
            with transaction(dsn) as connection:
                start(connection, f"run {number}")
        except SessionAlreadyRunningError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    with transaction(dsn) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM amop.optimization_session) AS sessions, count(*) AS messages "
            "FROM amop.amop_outbox"
        ).fetchone()
    assert counts == {"sessions": 1, "messages": 1}


def test_eight_concurrent_calls_of_one_opener_get_one_session(dsn: str) -> None:
    def attempt(_: int) -> int:
        with transaction(dsn) as connection:
            return int(start(connection).id)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(attempt, range(8)))) == 1


def test_a_billing_period_of_another_provider_is_refused(dsn: str) -> None:
    with transaction(dsn) as connection:
        foreign = ensure_billing_period(connection, 2, NOW)
        with pytest.raises(ValueError, match="billing period"):
            open_session(connection, service_provider_id=PROVIDER, billing_period_id=foreign.id, opened_by="dag/run")


def test_skipped_steps_are_reported_in_order_and_repeated_ones_are_not(dsn: str) -> None:
    with transaction(dsn) as connection:
        session_id = start(connection).id
        assert advance_session(connection, session_id, 40)
        assert not advance_session(connection, session_id, 40)
        assert not advance_session(connection, session_id, 20)
        assert messages(connection, session_id) == [0, 20, 30, 40]
        assert load_session(connection, session_id).progress == 40


def test_completion_is_reported_once_and_ends_the_session(dsn: str) -> None:
    with transaction(dsn) as connection:
        session_id = start(connection).id
        assert complete_session(connection, session_id, now=NOW)
        assert not complete_session(connection, session_id)
        assert not fail_session(connection, session_id, "too late")
        with pytest.raises(SessionEndedError, match="is complete since 2026-11-24 12:00:00 UTC"):
            advance_session(connection, session_id, 50)
        row = load_session(connection, session_id)
        assert (row.status, row.progress, row.ended_at) == ("complete", 100, NOW)
        assert messages(connection, session_id) == list(PROGRESS_STEPS)


def test_a_failed_session_takes_no_step_and_the_error_says_why_it_failed(dsn: str) -> None:
    with transaction(dsn) as connection:
        session_id = start(connection).id
        assert fail_session(connection, session_id, "no rate plans")
        assert not fail_session(connection, session_id, "another reason")
        for step in (advance_session, complete_session):
            with pytest.raises(SessionEndedError, match="is failed since .*: no rate plans"):
                step(connection, session_id, *([30] if step is advance_session else []))
        assert not touch_session(connection, session_id)
        assert messages(connection, session_id) == [0, "no rate plans"]
        with pytest.raises(SessionNotFoundError, match="4711 does not exist"):
            advance_session(connection, 4711, 20)


def test_advancing_and_failing_at_once_never_puts_a_step_behind_the_error(dsn: str) -> None:
    with transaction(dsn) as connection:
        session_id = start(connection).id

    def work(number: int) -> None:
        with transaction(dsn) as connection:
            if number == 4:
                fail_session(connection, session_id, "stop")
                return
            with suppress(SessionEndedError):
                advance_session(connection, session_id, PROGRESS_STEPS[1 + number % 4])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    with transaction(dsn) as connection:
        *steps, last = messages(connection, session_id)
    assert last == "stop"
    assert steps == list(PROGRESS_STEPS[: len(steps)])


def test_the_device_count_is_the_fleets_and_later_the_instances(dsn: str) -> None:
    with transaction(dsn) as connection:
        connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid, is_active) VALUES "
            "(1, '890100000000000001', true), (1, '890100000000000002', true), (1, '890100000000000003', false), "
            "(2, '890100000000000004', true)"
        )
        session_id = start(connection).id
        connection.execute(
            "INSERT INTO amop.optimization_instance (session_id, device_count) VALUES (%(id)s, 1)", {"id": session_id}
        )
        advance_session(connection, session_id, 20)
        counts = connection.execute(
            "SELECT (payload->'data'->>'DeviceCount')::int AS device_count FROM amop.amop_outbox ORDER BY id"
        ).fetchall()
    assert [row["device_count"] for row in counts] == [2, 1]


def test_a_heartbeat_never_goes_back(dsn: str) -> None:
    with transaction(dsn) as connection:
        session_id = start(connection).id
        touch_session(connection, session_id, now=NOW + SIX_HOURS)
        touch_session(connection, session_id, now=NOW)
        assert load_session(connection, session_id).heartbeat_at == NOW + SIX_HOURS


ACTIONS = st.lists(st.sampled_from([*PROGRESS_STEPS, "complete", "fail"]), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_any_sequence_of_calls_reports_the_first_steps_and_at_most_one_error(dsn: str, actions: list[Any]) -> None:
    with connect(dsn) as connection:
        session_id = start(connection).id
        for action in actions:
            try:
                if action == "complete":
                    complete_session(connection, session_id)
                elif action == "fail":
                    fail_session(connection, session_id, "stop")
                else:
                    advance_session(connection, session_id, action)
            except SessionEndedError:
                assert load_session(connection, session_id).status != "running"
        reported, row = messages(connection, session_id), load_session(connection, session_id)
        connection.rollback()
    steps = reported[:-1] if reported[-1] == "stop" else reported
    assert steps == list(PROGRESS_STEPS[: len(steps)])
    assert row.progress == steps[-1]
    assert row.status == ("failed" if reported[-1] == "stop" else "complete" if steps[-1] == 100 else "running")
