"""Answers of Control Center that mean something else than their status, and writes without a clear answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from amop.carriers.account import CarrierAccount
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import CarrierRequestError, CarrierUnavailableError, CarrierWriteInDoubtError
from sandbox.http_server import BackgroundServer
from tests.worlds.open_gate import OpenGate, Waiting

CANARY = "canary-7c1e-api-key"
AS_OF = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
SINCE = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


class Scripted:
    """A carrier whose answers are a list of status, headers and body; the last one repeats."""

    def __init__(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        self.answers, self.requests = list(answers), 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.requests += 1
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(
            status=status, headers=headers, text=body if isinstance(body, str) else json.dumps(body),
            content_type="text/html" if isinstance(body, str) else "application/json",
        )  # fmt: skip


@contextmanager
def scripted_client(scripted: Scripted, gate: OpenGate, waiting: Waiting) -> Iterator[ControlCenterClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", scripted.answer)
    background = BackgroundServer(application)
    background.start()
    try:
        account = CarrierAccount.from_connection_fields(
            connection_id="c", service_provider_name="X", host=background.base_url, schema=None, port=None,
            login="api", password=CANARY, extra={},
        )  # fmt: skip
        with ControlCenterClient(
            account, gate, may_write=True, sleep=waiting.sleep, clock=lambda: AS_OF, monotonic=waiting.monotonic
        ) as client:
            yield client
    finally:
        background.stop()


ICCID = "8901410300000000001"
THROTTLE = {"errorMessage": "Rate limit exceeded", "errorCode": "40000029"}


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500])
def test_the_vendors_throttle_code_is_a_throttle_whatever_the_status_is(
    gate: OpenGate, waiting: Waiting, status: int
) -> None:
    scripted = Scripted((status, {}, THROTTLE), (200, {}, {"iccid": ICCID, "ratePlan": "A"}))
    with scripted_client(scripted, gate, waiting) as client:
        assert client.device_details(ICCID)["ratePlan"] == "A"
    assert (gate.blocked, gate.outcomes, scripted.requests) == ([1.0], ["success"], 2)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"Retry-After": "0"}])
def test_a_lasting_throttle_without_a_usable_retry_after_names_the_moment_of_the_next_attempt(
    gate: OpenGate, waiting: Waiting, headers: dict[str, str]
) -> None:
    with (
        scripted_client(Scripted((429, headers, THROTTLE)), gate, waiting) as client,
        pytest.raises(CarrierUnavailableError, match="Rate limit exceeded") as error,
    ):
        client.device_details(ICCID)
    assert error.value.retry_at == AS_OF + timedelta(minutes=2)
    assert "success" not in gate.outcomes


def test_a_read_with_200_and_an_error_body_shows_the_carriers_words(gate: OpenGate, waiting: Waiting) -> None:
    body = {"errorMessage": "Account \x00 is being \ud800 migrated", "errorCode": "30000001"}
    with (
        scripted_client(Scripted((200, {}, body)), gate, waiting) as client,
        pytest.raises(CarrierUnavailableError) as error,
    ):
        client.list_devices_page(modified_since=SINCE, page_number=1)
    assert r"200: Account \x00 is being \ud800 migrated [30000001]" in str(error.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"errorMessage": "Invalid rate plan", "errorCode": "10000024"}),
        (200, {}), (200, {"iccid": "8901410300000000999"}), (200, {"iccid": int(ICCID)}), (200, []), (200, ""),
        (200, "<html>maintenance</html>"), (204, ""), (302, ""), (400, ""), (400, "<html>proxy</html>"), (408, {}),
        (429, THROTTLE), (400, THROTTLE), (500, {"errorMessage": "oops"}), (503, ""),
    ],
)  # fmt: skip
def test_a_write_without_a_clear_answer_is_in_doubt_and_was_sent_once(
    gate: OpenGate, waiting: Waiting, status: int, body: Any
) -> None:
    scripted = Scripted((status, {}, body))
    with scripted_client(scripted, gate, waiting) as client, pytest.raises(CarrierWriteInDoubtError):
        client.change_rate_plan(ICCID, "B")
    assert (scripted.requests, waiting.waits) == (1, [])


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_write_refused_with_an_error_body_is_final(gate: OpenGate, waiting: Waiting, status: int) -> None:
    scripted = Scripted((status, {}, {"errorMessage": "plan is sold out"}))
    with (
        scripted_client(scripted, gate, waiting) as client,
        pytest.raises(CarrierRequestError, match="plan is sold out") as error,
    ):
        client.change_rate_plan(ICCID, "B")
    assert (error.value.status, scripted.requests) == (status, 1)


@pytest.mark.parametrize("status", [200, 202])
def test_a_write_is_done_when_the_answer_names_the_same_sim(gate: OpenGate, waiting: Waiting, status: int) -> None:
    with scripted_client(Scripted((status, {}, {"iccid": ICCID})), gate, waiting) as client:
        client.change_rate_plan(ICCID, "B")


def test_an_echoed_authorization_header_is_in_no_error_and_no_document(gate: OpenGate, waiting: Waiting) -> None:
    basic = base64.b64encode(f"api:{CANARY}".encode()).decode()
    echo = f"you sent Authorization: Basic {basic} for {quote(CANARY, safe='')} {CANARY[:-3]}"
    with (
        scripted_client(Scripted((404, {}, {"errorMessage": echo})), gate, waiting) as client,
        pytest.raises(CarrierRequestError) as error,
    ):
        client.device_details(ICCID)
    shown = str(error.value) + error.value.error_message
    assert basic not in shown and CANARY[:8] not in shown and "you sent Authorization: Basic ***" in shown
    page = {"devices": [{"iccid": ICCID, "note": echo}], "lastPage": True}
    with scripted_client(Scripted((200, {}, page)), gate, waiting) as client:
        document = json.dumps(client.list_devices_page(modified_since=SINCE, page_number=1).document)
    assert basic not in document and CANARY not in document


def test_a_record_that_is_nested_too_deeply_or_an_endless_number_does_not_spoil_the_page(
    gate: OpenGate, waiting: Waiting
) -> None:
    deep, number = "[" * 5000 + "]" * 5000, "9" * 5000
    body = f'{{"devices": [{{"iccid": {number}}}, {{"iccid": "{ICCID}", "x": {deep}}}], "lastPage": true}}'
    with scripted_client(Scripted((200, {}, body)), gate, waiting) as client:
        page = client.list_devices_page(modified_since=SINCE, page_number=1)
    assert [device["iccid"] for device in page.devices] == [number, ICCID]
