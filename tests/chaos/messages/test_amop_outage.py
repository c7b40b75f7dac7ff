"""AMOP is unavailable for an hour, or refuses a message: every other message takes effect once and in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from amop.cli import main as cli
from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.database.connection import transaction
from amop.maintenance.status import read_status
from amop.messages import outbox
from amop.messages.amop_client import AmopClient
from amop.messages.delivery import DeliveryReport, deliver_outbox
from amop.messages.outbox import claim_messages, enqueue_daily_sync_notice, report_refused_messages
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.progress import PROGRESS_STEPS
from amop.runs.sessions import advance_session, complete_session, fail_session, open_session
from sandbox.amop.running import RunningAmop, running_amop
from tests.worlds.reliability import RecordFault
from tests.worlds.sandbox_reference import load_sandbox_reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROVIDERS = (1, 2, 3, 4)
STEPS = list(PROGRESS_STEPS)


class Relay:
    """Sessions of four providers, an AMOP, and `amop_relay` every five minutes by the test's clock."""

    def __init__(self, dsn: str, amop: RunningAmop, client: AmopClient) -> None:
        self.dsn, self.amop, self.client = dsn, amop, client
        self.now = NOW
        self.sessions: dict[int, int] = {}

    def open_sessions(self) -> None:
        with transaction(self.dsn) as connection:
            for provider in PROVIDERS:
                period = ensure_billing_period(connection, provider, NOW)
                session = open_session(
                    connection, service_provider_id=provider, billing_period_id=period.id, opened_by="dag/run"
                )
                self.sessions[provider] = session.id

    def advance(self, step: int) -> None:
        """Bring every session to a step; at the last one the daily notices follow."""
        with transaction(self.dsn) as connection:
            for provider, session_id in self.sessions.items():
                if step < STEPS[-1]:
                    advance_session(connection, session_id, step)
                    continue
                complete_session(connection, session_id)
                enqueue_daily_sync_notice(connection, run_id=provider, service_provider_id=provider)

    def tick(self) -> Any:
        """Run the relay once; five minutes pass."""
        report = deliver_outbox(self.dsn, self.client, now=lambda: self.now)
        self.now += 5 * MINUTE
        return report

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with transaction(self.dsn) as connection:
            return connection.execute(statement).fetchall()

    def states(self) -> dict[str, int]:
        found = self.rows("SELECT state, count(*) AS n FROM amop.amop_outbox GROUP BY state")
        return {row["state"]: row["n"] for row in found}

    def reported(self) -> dict[int, dict[str, Any]]:
        """Return the messages that AMOP received, by session id."""
        return {int(one["session_id"]): one for one in self.amop.sessions().values()}


@pytest.fixture
def relay(warehouse_dsn: str) -> Iterator[Relay]:
    load_sandbox_reference(warehouse_dsn)
    with running_amop() as amop:
        fields = {"progress_path": amop.progress_path, "sync_path": amop.sync_path}
        with AmopClient.from_connection_fields(
            host=amop.base_url, schema=None, port=None, password=None, extra=fields
        ) as client:
            relay = Relay(warehouse_dsn, amop, client)
            relay.open_sessions()
            yield relay


def test_amop_is_down_for_an_hour_and_then_every_message_arrives_once_and_in_order(
    relay: Relay, reliability: RecordFault
) -> None:
    relay.amop.fail(503, times=None)
    for number in range(12):  # an hour: the sessions continue meanwhile
        if number < len(STEPS):
            relay.advance(STEPS[number])
        assert relay.tick().sent == 0
    refused = relay.amop.stats()["requests"]
    messages = len(PROVIDERS) * (len(STEPS) + 1)
    assert relay.states() == {"pending": messages}
    assert relay.amop.messages() == []
    # Only the oldest message of each session is attempted, at most three per run, and less and less often.
    assert refused <= 12 * 3
    tried = relay.rows("SELECT attempts FROM amop.amop_outbox WHERE attempts > 0")
    assert sum(row["attempts"] for row in tried) == refused
    assert len(tried) <= 2 * len(PROVIDERS)

    relay.amop.recover()
    _killed_after_sending(relay)
    back_at, ticks = relay.now, 0
    while relay.states().get("pending"):
        relay.tick()
        ticks += 1
        assert ticks <= 5
    waited = relay.now - 5 * MINUTE - back_at
    assert waited <= 15 * MINUTE  # the longest back-off
    assert relay.states() == {"sent": messages}
    told = relay.reported()
    assert {session: one["progress"] for session, one in told.items()} == dict.fromkeys(relay.sessions.values(), STEPS)
    assert all(one["order_errors"] == [] and one["errors"] == [] for one in told.values())
    stats = relay.amop.stats()
    assert (stats["messages"], stats["repeats"], stats["messages_by_kind"]) == (
        messages,
        1,
        {"progress": 4 * len(STEPS), "daily_sync": 4},
    )
    reliability(
        fault="AMOP down for an hour (503), sessions continue",
        injected=refused,
        expected=f"{messages} messages, each effective once, in order, within 15 minutes of the recovery",
        seen=f"{stats['messages']} messages ({stats['repeats']} sent twice, effective once), "
        f"{sum(len(one['order_errors']) for one in told.values())} out of order, {waited / MINUTE:.0f} minutes, "
        f"{refused} failed attempts",
    )


def _killed_after_sending(relay: Relay) -> None:
    """Send one message like a process that is killed before it can mark the message as sent."""
    relay.now += 15 * MINUTE
    with transaction(relay.dsn) as connection:
        (message,) = claim_messages(connection, now=relay.now)
    relay.client.post(message.kind, message.payload, message.dedupe_key)
    relay.now += 15 * MINUTE


def test_a_refused_connection_is_an_outage_and_not_a_refusal(relay: Relay) -> None:
    with AmopClient.from_connection_fields(
        host="http://127.0.0.1:1",
        schema=None,
        port=None,
        password=None,
        extra={"progress_path": "/p", "sync_path": "/s"},
    ) as client:
        report = deliver_outbox(relay.dsn, client, now=lambda: relay.now)
    assert (report.sent, report.dead, report.pending) == (0, 0, 4)
    assert report.last_error == "AMOP cannot be reached (ConnectionError)"
    relay.now += MINUTE
    assert relay.tick().sent == 4


def test_a_refused_message_is_dead_lettered_visibly_and_delays_no_other_session(
    relay: Relay,
    reliability: RecordFault,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused_session = relay.sessions[2]
    relay.advance(20)
    _make_refused(relay, f"session:{refused_session}:progress:20")
    relay.advance(50)
    assert relay.tick().dead == 4  # 20 is refused; 30, 40 and 50 must not arrive without it
    relay.advance(100)
    relay.tick()
    told = relay.reported()
    whole = [session for session, one in told.items() if one["progress"] == STEPS]
    assert sorted(whole) == sorted(set(relay.sessions.values()) - {refused_session})
    assert told[refused_session]["progress"] == [0]
    assert all(one["order_errors"] == [] for one in told.values())
    assert len(relay.amop.messages("daily_sync")) == 4
    assert relay.states() == {"sent": 3 * 6 + 1 + 4, "dead": 5}

    key = f"session:{refused_session}:progress:20"
    assert f"AMOP refused message {key}" in caplog.text
    (shown,) = read_status(relay.dsn).dead_messages
    assert (shown.dedupe_key, shown.attempts, shown.followers) == (key, 1, 4)
    assert (shown.last_error or "").startswith("AMOP returned 400: ")
    monkeypatch.setenv(WAREHOUSE_VARIABLE, _airflow_form(relay.dsn))
    with pytest.raises(SystemExit) as ended:
        cli.main(["status"])
    listed = capsys.readouterr().out.partition("Messages that AMOP refused (docs/runbook.md)")[2]
    assert (ended.value.code, key in listed, "AMOP returned 400" in listed) == (0, True, True)
    reliability(
        fault="AMOP refuses a message (400)",
        injected=1,
        expected="3 other sessions complete, 4 notices, 1 message dead-lettered and listed, 4 steps after it not sent",
        seen=f"{len(whole)} other sessions complete, {len(relay.amop.messages('daily_sync'))} notices, "
        f"{len(read_status(relay.dsn).dead_messages)} message listed, {shown.followers} steps not sent",
    )


def test_a_refusal_is_reported_by_one_run_of_the_relay_and_by_its_retry(relay: Relay) -> None:
    refused_session = relay.sessions[3]
    relay.advance(40)
    _make_refused(relay, f"session:{refused_session}:progress:30")
    relay.tick()

    def reported(run_id: str) -> list[str]:
        with transaction(relay.dsn) as connection:
            return [message.dedupe_key for message in report_refused_messages(connection, reported_in=run_id)]

    key = f"session:{refused_session}:progress:30"
    assert reported("run 1") == [key]
    assert reported("run 1") == [key]
    assert reported("run 2") == []
    relay.advance(50)  # dead-lettered after it: not reported
    relay.tick()
    assert reported("run 3") == []


def test_a_refused_step_does_not_hold_back_the_error_message(relay: Relay) -> None:
    refused_session = relay.sessions[1]
    relay.advance(20)
    _make_refused(relay, f"session:{refused_session}:progress:20")
    relay.tick()
    with transaction(relay.dsn) as connection:
        fail_session(connection, refused_session, "the carrier said no")
    relay.tick()
    assert relay.reported()[refused_session]["errors"] == ["the carrier said no"]


def test_a_fixed_message_that_is_set_to_pending_is_sent_with_its_followers(relay: Relay) -> None:
    refused_session = relay.sessions[4]
    relay.advance(50)
    key = f"session:{refused_session}:progress:20"
    payload = relay.rows(f"SELECT payload FROM amop.amop_outbox WHERE dedupe_key = '{key}'")[0]["payload"]
    _make_refused(relay, key)
    relay.tick()
    with psycopg.connect(relay.dsn) as connection:
        connection.execute(
            "UPDATE amop.amop_outbox SET payload = %s WHERE dedupe_key = %s", [psycopg.types.json.Jsonb(payload), key]
        )
    assert outbox.resend_messages(relay.dsn, session_id=refused_session, dedupe_key=None) == 4  # and what follows it
    relay.tick()
    assert relay.reported()[refused_session] == {
        "session_id": str(refused_session),
        "progress": STEPS[:-1],
        "errors": [],
        "order_errors": [],
    }


def test_a_long_delivery_leaves_the_rest_to_the_next_one(relay: Relay) -> None:
    relay.advance(100)
    seconds = count(0, 4)

    def deliver() -> DeliveryReport:
        return deliver_outbox(relay.dsn, relay.client, now=lambda: NOW, monotonic=lambda: next(seconds))

    first = deliver()
    assert 0 < first.sent < 28
    assert first.sent + first.pending == 28
    while relay.states().get("pending"):
        deliver()
    assert all(one["progress"] == STEPS and one["order_errors"] == [] for one in relay.reported().values())
    assert relay.rows("SELECT DISTINCT attempts FROM amop.amop_outbox") == [{"attempts": 1}]


def _airflow_form(dsn: str) -> str:
    parts = conninfo_to_dict(dsn)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts["host"],
            "port": parts["port"],
            "login": parts["user"],
            "password": parts["password"],
            "schema": parts["dbname"],
        }
    )


def _make_refused(relay: Relay, key: str) -> None:
    """Remove the session's guid from a message, so that AMOP refuses it."""
    with psycopg.connect(relay.dsn) as connection:
        connection.execute(
            "UPDATE amop.amop_outbox SET payload = payload #- '{data,OptimizationSessionGuid}' WHERE dedupe_key = %s",
            [key],
        )
