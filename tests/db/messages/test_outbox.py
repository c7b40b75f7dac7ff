"""The outbox on a real database: keys, claims, back-off, order and dead-lettering, without HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from amop.database.connection import WarehouseConnection, connect, transaction
from amop.messages import outbox
from amop.messages.store import OutboxMessage
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.sessions import advance_session, fail_session, open_session
from sandbox.amop.message_checks import daily_sync_errors
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def dsn(warehouse_dsn: str) -> str:
    """Return a warehouse with the sandbox's providers."""
    load_sandbox_reference(warehouse_dsn)
    return warehouse_dsn


def session_at(connection: WarehouseConnection, progress: int, provider: int = 1) -> int:
    """Open a session of a provider and bring it to a step; return its id."""
    period = ensure_billing_period(connection, provider, NOW)
    session = open_session(connection, service_provider_id=provider, billing_period_id=period.id, opened_by="dag/run")
    advance_session(connection, session.id, progress)
    return session.id


def claim(connection: WarehouseConnection, at: datetime = NOW, **scope: Any) -> OutboxMessage | None:
    """Claim the next message of all, of a session, or of a key."""
    return next(iter(outbox.claim_messages(connection, **scope, now=at)), None)


def key_of(message: OutboxMessage | None) -> str | None:
    return message.dedupe_key if message else None


def states(connection: WarehouseConnection) -> list[str]:
    return [row["state"] for row in connection.execute("SELECT state FROM amop.amop_outbox ORDER BY id").fetchall()]


def test_the_daily_notice_of_a_run_is_written_once_under_its_key(dsn: str) -> None:
    with transaction(dsn) as connection:
        for _ in range(2):
            key = outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=1)
        rows = connection.execute("SELECT kind, session_id, dedupe_key, payload FROM amop.amop_outbox").fetchall()
        with pytest.raises(LookupError, match="service provider 4711 does not exist"):
            outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=4711)
    assert key == "daily_sync:5:1"
    assert [(row["kind"], row["session_id"], row["dedupe_key"]) for row in rows] == [("daily_sync", None, key)]
    assert daily_sync_errors(rows[0]["payload"]) == []


def test_the_keys_of_a_session_name_it_and_the_step(dsn: str) -> None:
    with transaction(dsn) as connection:
        session_id = session_at(connection, 20)
        fail_session(connection, session_id, "no")
        keys = connection.execute("SELECT dedupe_key FROM amop.amop_outbox ORDER BY id").fetchall()
    expected = [f"session:{session_id}:{end}" for end in ("progress:0", "progress:20", "error")]
    assert [row["dedupe_key"] for row in keys] == expected


def test_a_later_message_of_a_session_cannot_be_claimed_before_the_earlier_is_sent(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        session_id = session_at(connection, 20)
        first = claim(connection)
        assert key_of(first) == f"session:{session_id}:progress:0"
        assert claim(connection) is None
        assert claim(connection, dedupe_key=f"session:{session_id}:progress:20") is None
        assert first is not None
        assert outbox.mark_sent(connection, first, now=NOW)
        assert not outbox.mark_sent(connection, first, now=NOW)
        assert key_of(claim(connection)) == f"session:{session_id}:progress:20"


def test_one_session_does_not_hold_up_another_or_the_daily_notices(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        one, two = session_at(connection, 20, 1), session_at(connection, 20, 2)
        outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=1)
        claimed = [key_of(claim(connection)) for _ in range(4)]
        assert claimed == [f"session:{one}:progress:0", f"session:{two}:progress:0", "daily_sync:5:1", None]
        assert key_of(claim(connection, NOW + timedelta(seconds=31), session_id=two)) == f"session:{two}:progress:0"


def test_attempts_back_off_from_30_seconds_doubling_to_15_minutes(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=1)
        at, delays = NOW, []
        for attempt in range(1, 9):
            message = claim(connection, at)
            assert message is not None
            assert message.attempts == attempt
            outbox.schedule_retry(connection, message, "AMOP returned 503", now=at)
            row = connection.execute("SELECT next_attempt_at FROM amop.amop_outbox").fetchone()
            assert row is not None
            delays.append((row["next_attempt_at"] - at).total_seconds())
            assert claim(connection, row["next_attempt_at"] - timedelta(microseconds=1)) is None
            at = row["next_attempt_at"]
    assert delays == [30, 60, 120, 240, 480, 900, 900, 900]


def test_amop_can_request_a_longer_delay_but_not_a_shorter_one(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=1)
        message = claim(connection)
        assert message is not None
        outbox.schedule_retry(connection, message, "503", delay_seconds=100, now=NOW)
        assert claim(connection, NOW + timedelta(seconds=99)) is None
        message = claim(connection, NOW + timedelta(seconds=100))
        assert message is not None
        outbox.schedule_retry(connection, message, "503", delay_seconds=1, now=NOW + timedelta(seconds=100))
        assert claim(connection, NOW + timedelta(seconds=159)) is None


def test_a_new_message_is_due_immediately_even_if_the_clocks_differ(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=1)
        assert claim(connection, datetime(2020, 1, 1, tzinfo=UTC)) is not None


def test_eight_concurrent_claims_get_one_message_of_each_session(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        sessions = [session_at(connection, 50, provider) for provider in (1, 2, 3)]

    def claim_one(_: int) -> str | None:
        with transaction(dsn) as connection:
            return key_of(claim(connection))

    with ThreadPoolExecutor(8) as pool:
        claimed = sorted(key for key in pool.map(claim_one, range(8)) if key)
    with transaction(dsn) as connection:
        claimed += [key for key in (key_of(claim(connection)) for _ in range(3)) if key]
    assert sorted(claimed) == [f"session:{session_id}:progress:0" for session_id in sorted(sessions)]


def test_a_refused_step_dead_letters_the_later_steps_but_the_error_is_still_sent(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        session_id = session_at(connection, 40)
        first = claim(connection)
        assert first is not None
        outbox.mark_sent(connection, first, now=NOW)
        second = claim(connection)
        assert second is not None
        assert outbox.dead_letter(connection, second, "AMOP returned 422") == 3
        advance_session(connection, session_id, 50)
        assert claim(connection) is None
        fail_session(connection, session_id, "no")
        assert states(connection) == ["sent", "dead", "dead", "dead", "pending", "pending"]
        assert outbox.dead_letter_followers(connection) == 1
        last = claim(connection)
        assert key_of(last) == f"session:{session_id}:error"
        reasons = connection.execute("SELECT last_error FROM amop.amop_outbox WHERE state = 'dead'").fetchall()
    assert sorted(row["last_error"] for row in reasons) == [
        "AMOP returned 422",
        *[f"not sent, because AMOP refused session:{session_id}:progress:20 before it"] * 3,
    ]


def test_pending_messages_are_counted_with_the_last_error(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        session_id = session_at(connection, 30)
        outbox.enqueue_daily_sync_notice(connection, run_id=5, service_provider_id=1)
        message = claim(connection)
        assert message is not None
        outbox.schedule_retry(connection, message, "AMOP returned 503", now=NOW)
        every = outbox.undelivered_messages(connection)
        own = outbox.undelivered_messages(connection, session_id=session_id)
        notice = outbox.undelivered_messages(connection, dedupe_key="daily_sync:5:1")
    assert (every.pending, every.last_error) == (4, "AMOP returned 503")
    assert (own.pending, notice.pending, notice.last_error) == (3, 1, None)
