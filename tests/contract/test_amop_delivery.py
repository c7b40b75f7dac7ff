"""The outbox against the sandbox AMOP: every message once, in order, whatever happens on the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from amop import time_limits
from amop.notify.amop_client import AmopClient, AmopConnectionError, AmopUnavailableError
from amop.pipeline.outbox_delivery import DeliveryReport, deliver_outbox
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import transaction
from amop.warehouse.outbox import claim_message
from amop.warehouse.reference import load_reference
from amop.warehouse.sessions import advance_session, complete_session, fail_session, open_session
from sandbox.amop import RunningAmop, running_amop
from sandbox.fleet import write_reference

TOKEN = "canary-token-4711"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STEPS = [0, 20, 30, 40, 50, 100]


@pytest.fixture
def amop() -> Iterator[RunningAmop]:
    with running_amop(token=TOKEN) as server:
        yield server


@pytest.fixture
def client(amop: RunningAmop) -> Iterator[AmopClient]:
    with AmopClient.from_connection_fields(
        host=amop.base_url,
        schema=None,
        port=None,
        password=TOKEN,
        extra={"progress_path": amop.progress_path, "sync_path": amop.sync_path},
    ) as client:
        yield client


@pytest.fixture
def session_id(warehouse_dsn: str, tmp_path: Path) -> int:
    write_reference(tmp_path / "reference.yaml")
    load_reference(warehouse_dsn, tmp_path / "reference.yaml")
    with transaction(warehouse_dsn) as connection:
        period = ensure_billing_period(connection, 1, NOW)
        session = open_session(connection, service_provider_id=1, billing_period_id=period["id"], opened_by="test")
    return int(session["id"])


def deliver(dsn: str, client: AmopClient, *, at: datetime = NOW) -> DeliveryReport:
    return deliver_outbox(dsn, client, now=lambda: at)


def progress(amop: RunningAmop) -> list[int]:
    (session,) = amop.sessions().values()
    assert session["order_errors"] == []
    return list(session["progress"])


def walk(dsn: str, session_id: int) -> None:
    with transaction(dsn) as connection:
        for step in STEPS[1:-1]:
            advance_session(connection, session_id, step)
        complete_session(connection, session_id)


def test_a_sessions_six_steps_arrive_once_each_and_in_order(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    walk(warehouse_dsn, session_id)
    assert deliver(warehouse_dsn, client).sent == 6
    assert deliver(warehouse_dsn, client).sent == 0
    assert progress(amop) == STEPS
    assert amop.stats()["repeats"] == 0


def test_while_amop_is_down_messages_wait_and_are_backed_off_and_then_arrive_in_order(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    walk(warehouse_dsn, session_id)
    amop.fail(503, times=None)
    first = deliver(warehouse_dsn, client)
    assert (first.sent, first.pending) == (0, 6)
    assert deliver(warehouse_dsn, client, at=NOW + timedelta(seconds=29)).sent == 0
    # Only the oldest message of the session is tried: the others must not overtake it.
    assert amop.stats()["requests"] == 1
    amop.recover()
    assert deliver(warehouse_dsn, client, at=NOW + timedelta(seconds=31)).sent == 6
    assert progress(amop) == STEPS


def test_a_message_whose_sender_was_killed_after_sending_is_sent_again_with_the_same_key(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    with transaction(warehouse_dsn) as connection:
        message = claim_message(connection, session_id=None, dedupe_key=None, now=NOW)
    assert message is not None
    client.post(message.kind, message.payload, message.dedupe_key)  # and here the process dies
    walk(warehouse_dsn, session_id)
    assert deliver(warehouse_dsn, client).sent == 0
    assert deliver(warehouse_dsn, client, at=NOW + timedelta(seconds=31)).sent == 6
    assert progress(amop) == STEPS
    assert amop.stats()["repeats"] == 1


def test_two_deliverers_at_once_keep_the_order(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    walk(warehouse_dsn, session_id)
    with ThreadPoolExecutor(4) as pool:
        sent = sum(report.sent for report in pool.map(lambda _: deliver(warehouse_dsn, client), range(4)))
    sent += deliver(warehouse_dsn, client).sent
    assert sent == 6
    assert progress(amop) == STEPS


def test_after_an_error_nothing_of_the_session_follows(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    with transaction(warehouse_dsn) as connection:
        advance_session(connection, session_id, 20)
        assert fail_session(connection, session_id, "the carrier said no")
        assert not fail_session(connection, session_id, "again")
    deliver(warehouse_dsn, client)
    (session,) = amop.sessions().values()
    assert (session["progress"], session["errors"]) == ([0, 20], ["the carrier said no"])
    assert session["order_errors"] == []


def test_a_message_that_amop_refuses_is_dead_and_takes_the_steps_behind_it_along(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    walk(warehouse_dsn, session_id)
    amop.fail(422, times=1)
    report = deliver(warehouse_dsn, client)
    assert (report.sent, report.dead, report.pending) == (0, 6, 0)


def test_the_token_is_in_no_message_log_or_repr(
    warehouse_dsn: str,
    amop: RunningAmop,
    client: AmopClient,
    session_id: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    amop.fail(500, times=1)
    report = deliver(warehouse_dsn, client)
    assert TOKEN not in caplog.text + repr(client) + str(report)
    assert TOKEN not in str(amop.messages())


class Dripping(BaseHTTPRequestHandler):
    """Answers at once with a status, and then lets its body drip for ever."""

    status = 200

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x")
                threading.Event().wait(0.02)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("status", [200, 503])
def test_a_body_that_drips_does_not_hold_up_the_delivery_and_the_status_counts(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "AMOP_CALL", timedelta(seconds=0.3))
    handler = type("Handler", (Dripping,), {"status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    begun = time.monotonic()
    with AmopClient(f"http://127.0.0.1:{server.server_port}", {"progress": "/p"}) as client:
        if status == 200:
            client.post("progress", {}, "key")
        else:
            with pytest.raises(AmopUnavailableError, match="AMOP answered 503: x+"):
                client.post("progress", {}, "key")
    assert time.monotonic() - begun < 10
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": "http://amop.example.com"}, "has no TLS"),
        ({"host": None}, "has no host"),
        ({"host": "https://user:secret@amop.example.com"}, "the host must be a name"),
        ({"host": "https://amop.example.com", "extra": {"sync_path": "/s"}}, "extra needs progress_path"),
    ],
)
def test_a_connection_that_cannot_be_used_says_what_to_do(fields: dict, message: str) -> None:
    good = {"schema": None, "port": None, "password": TOKEN, "extra": {"progress_path": "/p", "sync_path": "/s"}}
    with pytest.raises(AmopConnectionError, match=message) as caught:
        AmopClient.from_connection_fields(**(good | fields))
    assert TOKEN not in str(caught.value)
    assert "secret" not in str(caught.value)
