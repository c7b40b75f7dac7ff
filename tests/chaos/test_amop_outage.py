"""AMOP is away for an hour, or refuses a message for good: everything else arrives, in order, effective once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from amop import cli
from amop.domain.progress import PROGRESS_STEPS
from amop.notify.amop_client import AmopClient
from amop.pipeline.outbox_delivery import deliver_outbox
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import transaction
from amop.warehouse.outbox import claim_message, enqueue_daily_sync_notice, report_refused
from amop.warehouse.reference import load_reference
from amop.warehouse.sessions import advance_session, complete_session, fail_session, open_session
from amop.warehouse.status import read_status
from sandbox.amop import RunningAmop, running_amop
from sandbox.fleet import write_reference
from tests.reliability import RecordFault

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
                    connection, service_provider_id=provider, billing_period_id=period["id"], opened_by="dag/run"
                )
                self.sessions[provider] = session["id"]

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

    def told(self) -> dict[int, dict[str, Any]]:
        """Return what AMOP was told, by session id."""
        return {int(one["session_id"]): one for one in self.amop.sessions().values()}


@pytest.fixture
def relay(warehouse_dsn: str, tmp_path: Path) -> Iterator[Relay]:
    write_reference(tmp_path / "reference.yaml")
    load_reference(warehouse_dsn, tmp_path / "reference.yaml")
    with running_amop() as amop:
        fields = {"progress_path": amop.progress_path, "sync_path": amop.sync_path}
        with AmopClient.from_connection_fields(
            host=amop.base_url, schema=None, port=None, password=None, extra=fields
        ) as client:
            relay = Relay(warehouse_dsn, amop, client)
            relay.open_sessions()
            yield relay


def test_amop_is_dead_for_an_hour_and_then_everything_arrives_once_and_in_order(
    relay: Relay, reliability: RecordFault
) -> None:
    relay.amop.fail(503, times=None)
    for number in range(12):  # an hour: the sessions go on meanwhile
        if number < len(STEPS):
            relay.advance(STEPS[number])
        assert relay.tick().sent == 0
    refused = relay.amop.stats()["requests"]
    messages = len(PROVIDERS) * (len(STEPS) + 1)
    assert relay.states() == {"pending": messages}
    assert relay.amop.messages() == []
    # Only the oldest message of each session is tried, at most three a tick while AMOP is away, and ever more rarely.
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
    told = relay.told()
    assert {session: one["progress"] for session, one in told.items()} == dict.fromkeys(relay.sessions.values(), STEPS)
    assert all(one["order_errors"] == [] and one["errors"] == [] for one in told.values())
    stats = relay.amop.stats()
    assert (stats["messages"], stats["repeats"], stats["messages_by_kind"]) == (
        messages, 1, {"progress": 4 * len(STEPS), "daily_sync": 4},
    )  # fmt: skip
    reliability(
        fault="AMOP dead for an hour (503), sessions going on",
        injected=refused,
        expected=f"{messages} messages, each effective once, in order, within 15 minutes of its return",
        seen=f"{stats['messages']} messages ({stats['repeats']} sent twice, effective once), "
        f"{sum(len(one['order_errors']) for one in told.values())} out of order, {waited / MINUTE:.0f} minutes, "
        f"{refused} tries in vain",
    )


def _killed_after_sending(relay: Relay) -> None:
    """Send one message as a process does that is killed before it can note that AMOP has it."""
    relay.now += 15 * MINUTE
    with transaction(relay.dsn) as connection:
        message = claim_message(connection, session_id=None, dedupe_key=None, now=relay.now)
    assert message is not None
    relay.client.post(message.kind, message.payload, message.dedupe_key)
    relay.now += 15 * MINUTE


def test_an_address_where_nobody_listens_is_amop_away_and_not_a_refusal(relay: Relay) -> None:
    with AmopClient.from_connection_fields(
        host="http://127.0.0.1:1", schema=None, port=None, password=None,
        extra={"progress_path": "/p", "sync_path": "/s"},
    ) as nobody:  # fmt: skip
        report = deliver_outbox(relay.dsn, nobody, now=lambda: relay.now)
    assert (report.sent, report.dead, report.pending) == (0, 0, 4)
    assert report.last_error == "AMOP cannot be reached (ConnectionError)"
    relay.now += MINUTE
    assert relay.tick().sent == 4


def test_a_refused_message_is_set_aside_visibly_and_holds_up_no_other_session(
    relay: Relay,
    reliability: RecordFault,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poisoned = relay.sessions[2]
    relay.advance(20)
    _poison(relay, f"session:{poisoned}:progress:20")
    relay.advance(50)
    assert relay.tick().dead == 4  # 20 is refused; 30, 40 and 50 must not arrive without it
    relay.advance(100)
    relay.tick()
    told = relay.told()
    whole = [session for session, one in told.items() if one["progress"] == STEPS]
    assert sorted(whole) == sorted(set(relay.sessions.values()) - {poisoned})
    assert told[poisoned]["progress"] == [0]
    assert all(one["order_errors"] == [] for one in told.values())
    assert len(relay.amop.messages("daily_sync")) == 4
    assert relay.states() == {"sent": 3 * 6 + 1 + 4, "dead": 5}

    key = f"session:{poisoned}:progress:20"
    assert f"AMOP refused {key} for good" in caplog.text
    (shown,) = read_status(relay.dsn)["dead_messages"]
    assert (shown["dedupe_key"], shown["attempts"], shown["given_up_behind"]) == (key, 1, 4)
    assert shown["last_error"].startswith("AMOP answered 400: ")
    monkeypatch.setenv(cli.WAREHOUSE_VARIABLE, _airflow_form(relay.dsn))
    with pytest.raises(SystemExit) as ended:
        cli.main(["status"])
    listed = capsys.readouterr().out.partition("Messages that AMOP refused (docs/runbook.md)")[2]
    assert (ended.value.code, key in listed, "AMOP answered 400" in listed) == (0, True, True)
    reliability(
        fault="poison message: AMOP refuses a step for good (400)",
        injected=1,
        expected="3 other sessions whole, 4 notices, 1 message set aside and listed, 4 steps behind it not sent",
        seen=f"{len(whole)} other sessions whole, {len(relay.amop.messages('daily_sync'))} notices, "
        f"{len(read_status(relay.dsn)['dead_messages'])} message listed, {shown['given_up_behind']} steps not sent",
    )


def test_a_refusal_is_reported_by_one_run_of_the_relay_and_by_its_retry(relay: Relay) -> None:
    poisoned = relay.sessions[3]
    relay.advance(40)
    _poison(relay, f"session:{poisoned}:progress:30")
    relay.tick()

    def reported(run_id: str) -> list[str]:
        with transaction(relay.dsn) as connection:
            return [message["dedupe_key"] for message in report_refused(connection, reported_in=run_id)]

    key = f"session:{poisoned}:progress:30"
    assert reported("run 1") == [key]
    assert reported("run 1") == [key]
    assert reported("run 2") == []
    relay.advance(50)  # buried behind it, and nothing new to say
    relay.tick()
    assert reported("run 3") == []


def test_a_refused_step_does_not_keep_the_error_message_back(relay: Relay) -> None:
    poisoned = relay.sessions[1]
    relay.advance(20)
    _poison(relay, f"session:{poisoned}:progress:20")
    relay.tick()
    with transaction(relay.dsn) as connection:
        fail_session(connection, poisoned, "the carrier said no")
    relay.tick()
    assert relay.told()[poisoned]["errors"] == ["the carrier said no"]


def test_a_mended_message_that_is_set_to_pending_goes_out_with_what_was_given_up_behind_it(relay: Relay) -> None:
    poisoned = relay.sessions[4]
    relay.advance(50)
    key = f"session:{poisoned}:progress:20"
    payload = relay.rows(f"SELECT payload FROM amop.amop_outbox WHERE dedupe_key = '{key}'")[0]["payload"]
    _poison(relay, key)
    relay.tick()
    runbook = (Path(__file__).resolve().parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
    statement = runbook.partition("```sql\nUPDATE amop.amop_outbox")[2].partition("```")[0]
    with psycopg.connect(relay.dsn) as connection:
        connection.execute(
            "UPDATE amop.amop_outbox SET payload = %s WHERE dedupe_key = %s", [psycopg.types.json.Jsonb(payload), key]
        )
        connection.execute(f"UPDATE amop.amop_outbox{statement}".replace("SESSION", str(poisoned)))  # type: ignore[arg-type]
    relay.tick()
    assert relay.told()[poisoned] == {
        "session_id": str(poisoned), "progress": STEPS[:-1], "errors": [], "order_errors": [],
    }  # fmt: skip


def test_a_delivery_that_has_taken_long_leaves_the_rest_to_the_next(relay: Relay) -> None:
    relay.advance(100)
    now = NOW

    def slow_clock() -> datetime:
        nonlocal now
        now += 10 * timedelta(seconds=1)
        return now

    first = deliver_outbox(relay.dsn, relay.client, now=slow_clock)
    assert 0 < first.sent < 28
    assert first.sent + first.pending == 28
    while relay.states().get("pending"):
        deliver_outbox(relay.dsn, relay.client, now=slow_clock)
    assert all(one["progress"] == STEPS and one["order_errors"] == [] for one in relay.told().values())


def _airflow_form(dsn: str) -> str:
    parts = conninfo_to_dict(dsn)
    return json.dumps(
        {"conn_type": "postgres", "host": parts["host"], "port": parts["port"], "login": parts["user"],
         "password": parts["password"], "schema": parts["dbname"]}
    )  # fmt: skip


def _poison(relay: Relay, key: str) -> None:
    """Make a message one that AMOP refuses: without its session's guid."""
    with psycopg.connect(relay.dsn) as connection:
        connection.execute(
            "UPDATE amop.amop_outbox SET payload = payload #- '{data,OptimizationSessionGuid}' WHERE dedupe_key = %s",
            [key],
        )
