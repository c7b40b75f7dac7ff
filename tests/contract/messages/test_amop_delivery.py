"""The outbox against the sandbox AMOP: every message takes effect once and in order, whatever fails in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from amop import time_limits
from amop.database.connection import transaction
from amop.messages.amop_client import AmopClient, AmopConnectionError, AmopRefusedError, AmopUnavailableError
from amop.messages.delivery import DeliveryReport, deliver_outbox
from amop.messages.outbox import claim_messages
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.sessions import advance_session, complete_session, fail_session, open_session
from sandbox.amop.running import RunningAmop, running_amop
from tests.worlds.sandbox_reference import load_sandbox_reference

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
def session_id(warehouse_dsn: str) -> int:
    load_sandbox_reference(warehouse_dsn)
    with transaction(warehouse_dsn) as connection:
        period = ensure_billing_period(connection, 1, NOW)
        session = open_session(connection, service_provider_id=1, billing_period_id=period.id, opened_by="test")
    return session.id


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


def test_while_amop_is_down_messages_are_pending_with_back_off_and_then_arrive_in_order(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    walk(warehouse_dsn, session_id)
    amop.fail(503, times=None)
    first = deliver(warehouse_dsn, client)
    assert (first.sent, first.pending) == (0, 6)
    assert deliver(warehouse_dsn, client, at=NOW + timedelta(seconds=29)).sent == 0
    # Only the oldest message of the session is attempted: the others must not overtake it.
    assert amop.stats()["requests"] == 1
    amop.recover()
    assert deliver(warehouse_dsn, client, at=NOW + timedelta(seconds=31)).sent == 6
    assert progress(amop) == STEPS


def test_a_message_whose_sender_was_killed_after_sending_is_sent_again_with_the_same_key(
    warehouse_dsn: str, amop: RunningAmop, client: AmopClient, session_id: int
) -> None:
    with transaction(warehouse_dsn) as connection:
        (message,) = claim_messages(connection, now=NOW)
    client.post(message.kind, message.payload, message.dedupe_key)  # the process is killed here
    walk(warehouse_dsn, session_id)
    assert deliver(warehouse_dsn, client).sent == 0
    assert deliver(warehouse_dsn, client, at=NOW + timedelta(seconds=31)).sent == 6
    assert progress(amop) == STEPS
    assert amop.stats()["repeats"] == 1


def test_concurrent_deliveries_keep_the_order(
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


def test_a_refused_message_is_dead_lettered_with_the_steps_after_it(
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


class SlowBody(BaseHTTPRequestHandler):
    """A server that sends its status at once and its body endlessly, byte by byte."""

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
def test_a_slow_body_does_not_delay_the_delivery_and_the_status_is_decisive(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "AMOP_CALL", timedelta(seconds=0.3))
    handler = type("Handler", (SlowBody,), {"status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    begun = time.monotonic()
    with AmopClient(f"http://127.0.0.1:{server.server_port}", {"progress": "/p"}) as client:
        if status == 200:
            client.post("progress", {}, "key")
        else:
            with pytest.raises(AmopUnavailableError, match="AMOP returned 503: x+"):
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


class Fixed(BaseHTTPRequestHandler):
    """Answers every POST with the status and body of its server."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.server.reply  # type: ignore[attr-defined]
        self.send_response(status)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status not in {204, 304}:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def post_to(status: int, body: bytes) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fixed)
    server.reply = (status, body)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with AmopClient.from_connection_fields(
            host=f"http://127.0.0.1:{server.server_port}", schema=None, port=None, password=TOKEN,
            extra={"progress_path": "/p", "sync_path": "/s"},
        ) as client:  # fmt: skip
            client.post("progress", {}, "key")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_status_of_200_to_299_is_success(status: int) -> None:
    post_to(status, b"")


@pytest.mark.parametrize("status", [300, 302, 304, 307, 500])
def test_any_other_status_than_200_to_299_and_a_refusal_is_tried_again(status: int) -> None:
    with pytest.raises(AmopUnavailableError, match=f"AMOP returned {status}"):
        post_to(status, b"elsewhere")


def test_a_refusal_is_storable_and_holds_no_form_of_the_token() -> None:
    with pytest.raises(AmopRefusedError) as refused:
        post_to(400, f"no \0 field; you sent Bearer {TOKEN} ".encode() + b"\x1b[2J " * 400 + TOKEN[:9].encode())
    text = str(refused.value)
    assert text.startswith(r"AMOP returned 400: no \x00 field; you sent Bearer *** \x1b[2J") and text.isprintable()
    assert TOKEN[:8] not in text
