"""A call ends at its deadline however slowly the server answers: connect, headers and body, at carrier and AMOP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from urllib3.exceptions import ConnectTimeoutError

from amop import time_limits
from amop.carriers import http_client, http_deadline
from amop.carriers.account import CarrierAccount
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import CarrierUnavailableError, CarrierWriteInDoubtError
from amop.carriers.http_deadline import CallDeadline, limited_session
from amop.messages.amop_client import AmopClient, AmopUnavailableError
from tests.worlds.open_gate import OpenGate

ICCID = "8901410300000000001"
DEADLINE_SECONDS = 0.4
SLOW_SECONDS = 4.0
"""How long the server would go on; a call without a deadline lasts as long."""

STATUS_LINE = b"HTTP/1.1 200 OK\r\n"
HEADERS = STATUS_LINE + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
SLOW_ANSWERS = {
    "nothing": (b"", b""),
    "dripping status line": (b"", b"HTTP/1.1"),
    "dripping headers": (STATUS_LINE, b"X-Header: 1\r\n"),
    "dripping byte of a header": (STATUS_LINE + b"X-Header: ", b"1"),
    "endless 100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "dripping body": (HEADERS, b" "),
}


class SlowServer:
    """A server that answers each connection with a start, and then with drops until it gives up."""

    def __init__(self, start: bytes, drop: bytes) -> None:
        self.start, self.drop, self.connections = start, drop, 0
        self.is_over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(self.start)
            for _ in range(int(SLOW_SECONDS / 0.05)):
                if self.is_over.wait(0.05):
                    return
                connection.sendall(self.drop)


@contextmanager
def slow_server(name: str) -> Iterator[SlowServer]:
    server = SlowServer(*SLOW_ANSWERS[name])
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.is_over.set()
        server.listener.close()


@contextmanager
def carrier_client(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlCenterClient]:
    monkeypatch.setattr(http_client, "CALL_DEADLINE_SECONDS", DEADLINE_SECONDS)
    account = CarrierAccount("c", "X", url, "api", "a-key-of-the-carrier", is_loopback=True)
    with ControlCenterClient(account, OpenGate(), may_write=True, sleep=lambda _: None) as client:
        yield client


@pytest.mark.parametrize("name", SLOW_ANSWERS)
def test_a_write_to_a_slow_carrier_ends_at_its_deadline_and_is_in_doubt(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_server(name) as server, carrier_client(server.url, monkeypatch) as client:
        begun = time.monotonic()
        with pytest.raises(CarrierWriteInDoubtError, match=r"no complete response \((ReadTimeout|the body arrived)"):
            client.change_rate_plan(ICCID, "B")
        assert time.monotonic() - begun < SLOW_SECONDS / 2
    assert server.connections == 1


def test_a_read_of_a_slow_carrier_is_tried_again_within_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    with slow_server("dripping headers") as server, carrier_client(server.url, monkeypatch) as client:
        begun = time.monotonic()
        with pytest.raises(CarrierUnavailableError, match="no complete response"):
            client.device_details(ICCID)
        assert time.monotonic() - begun < SLOW_SECONDS
    assert server.connections == 3


@pytest.mark.parametrize("name", [name for name in SLOW_ANSWERS if name != "dripping body"])
def test_a_callback_to_a_slow_amop_ends_at_its_deadline(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "AMOP_CALL", timedelta(seconds=DEADLINE_SECONDS))
    with slow_server(name) as server, AmopClient(server.url, {"progress": "/p"}) as client:
        begun = time.monotonic()
        with pytest.raises(AmopUnavailableError, match="AMOP cannot be reached"):
            client.post("progress", {}, "key")
        assert time.monotonic() - begun < SLOW_SECONDS / 2


def test_connecting_to_many_silent_addresses_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    passed, timeouts = [0.0], []

    def silent(_address: tuple[str, int], timeout: float, *_: object) -> socket.socket:
        timeouts.append(timeout)
        passed[0] += timeout
        raise TimeoutError

    monkeypatch.setattr(http_deadline, "create_connection", silent)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", (f"192.0.2.{number}", 443)) for number in range(1, 100)]
    )
    session, _ = limited_session(lambda: 35.0, lambda: passed[0])
    session.trust_env = False
    with pytest.raises(Exception, match="timed out") as error:
        session.get("https://carrier.example.com", timeout=(10, 30))
    assert isinstance(error.value.args[0].reason, ConnectTimeoutError)
    assert timeouts == [10, 10, 10, 5]


def test_a_deadline_counts_from_the_start_of_each_call() -> None:
    now = [100.0]
    deadline = CallDeadline(lambda: 60.0, lambda: now[0])
    deadline.start()
    now[0] = 159.0
    assert (deadline.seconds_left(), deadline.seconds_left(30.0)) == (1.0, 1.0)
    now[0] = 160.0
    with pytest.raises(TimeoutError):
        deadline.seconds_left()
    deadline.start()
    assert deadline.seconds_left(30.0) == 30.0
