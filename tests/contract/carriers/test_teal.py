"""The Teal client against its sandbox over real HTTP: operations, paging, the end of a list, usage, faults, secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import requests

from amop.carriers import teal
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from amop.carriers.malformed import MalformedPageError
from amop.carriers.protocol import DevicePage
from amop.carriers.teal import TealClient
from amop.carriers.teal_pages import cycle_to_date, device_record
from amop.device_sync.validation import validate_ctd_usage
from amop.families import EID
from sandbox.carrier.rate_limit import FAMILY_LIMITS, CallLimiter
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.family_world import account_at
from tests.worlds.open_gate import OpenGate, Waiting

CANARY = "canary-5d20-api-secret"
AS_OF = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CYCLE_START = date(2026, 11, 12)
SINCE = datetime(2000, 1, 1, tzinfo=UTC)
MOST_PAGES = 50
"""More pages than any list of these tests has."""
USER = "api_teal"
UNKNOWN = "89049010000000000000000000000009"
LIST, END, INFO = "GET /esims", "GET /esims (end of the list)", "GET /esims/info"
USAGE, RESULT = "GET /data-consumption/data", "GET /operation-result"
RESULT_PATH, LIST_PATH = "/api/v1/operation-result", "/api/v1/esims"
READING = 3
"""Calls of a page of the list: the operation, a poll that is answered with 102, the result."""


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(
        devices_per_account=120, as_of=AS_OF, accounts=("teal",), api_key=CANARY, limits_are_enforced=False
    ) as running:
        yield running


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def made(carrier: RunningCarrier, waiting: Waiting, key: str = CANARY, **extra: Any) -> TealClient:
    account = account_at(carrier, "teal", key, **extra)
    return TealClient(account, OpenGate(), sleep=waiting.sleep, monotonic=waiting.monotonic, clock=lambda: AS_OF)


@pytest.fixture
def client(carrier: RunningCarrier, waiting: Waiting) -> Iterator[TealClient]:
    with made(carrier, waiting) as client:
        yield client


def all_pages(client: TealClient) -> list[DevicePage]:
    pages: list[DevicePage] = []
    while not pages or not pages[-1].is_last_page:
        assert len(pages) < MOST_PAGES, "the list has no end"
        after = pages[-1].next_after if pages else None
        pages.append(client.list_devices_page(modified_since=SINCE, page_number=len(pages) + 1, after=after))
    return pages


def calls(carrier: RunningCarrier) -> dict[str, int]:
    found: dict[str, int] = carrier.stats(USER)["calls_by_endpoint"]
    return found


def test_pages_are_read_until_no_esim_follows(client: TealClient, carrier: RunningCarrier) -> None:
    pages = all_pages(client)
    assert [(page.page_number, len(page.devices), page.is_last_page) for page in pages] == [
        (1, 100, False), (2, 20, True),
    ]  # fmt: skip
    truth = {sim["iccid"]: sim for sim in carrier.truth()["devices"]}
    listed = {sim["iccid"]: sim for page in pages for sim in page.devices}
    assert listed.keys() == truth.keys()
    assert all(EID.accepts(eid) and int(eid) % 97 == 1 for eid in listed)
    for eid, sim in truth.items():
        assert (listed[eid]["status"], listed[eid]["ratePlan"]) == (sim["status"], sim["rate_plan"])
        assert listed[eid]["communicationPlan"] is None
    assert {sim["status"] for sim in truth.values()} == {"ACTIVATED", "DEACTIVATED", "SUSPENDED", "ACTIVATION_READY"}
    assert calls(carrier) == {LIST: 2, END: 1, RESULT: 6}


def test_another_process_continues_at_the_next_page(carrier: RunningCarrier, waiting: Waiting) -> None:
    with made(carrier, waiting) as first:
        page = first.list_devices_page(modified_since=SINCE, page_number=1)
    with made(carrier, waiting) as second:
        following = second.list_devices_page(modified_since=SINCE, page_number=2, after=page.next_after)
    assert len({sim["iccid"] for one in (page, following) for sim in one.devices}) == 120


def test_a_list_is_whole_whatever_dates_are_asked_for(client: TealClient) -> None:
    assert client.list_limits.longest.days > 36_000
    page = client.list_devices_page(modified_since=AS_OF, modified_till=AS_OF, page_number=1)
    assert len(page.devices) == 100


def test_the_usage_is_the_sum_of_the_days_of_the_billing_cycle(client: TealClient, carrier: RunningCarrier) -> None:
    used = [sim for sim in carrier.truth()["devices"] if sim["data_usage"]]
    assert len(used) > 50
    for sim in used[:5]:
        usage = client.device_ctd_usage(sim["iccid"], cycle_start=CYCLE_START)
        assert validate_ctd_usage(usage) == {"DATA": sim["data_usage"]}
    later = client.device_ctd_usage(used[0]["iccid"], cycle_start=date(2026, 11, 20))
    assert later["ctdDataUsage"] < used[0]["data_usage"]


def test_usage_of_more_days_than_a_page_has_is_read_page_by_page(
    client: TealClient, carrier: RunningCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teal, "PAGE_SIZE", 5)
    sim = next(sim for sim in carrier.truth()["devices"] if sim["data_usage"])
    usage = client.device_ctd_usage(sim["iccid"], cycle_start=CYCLE_START)
    assert (usage["ctdDataUsage"], len(usage["answers"])) == (sim["data_usage"], 3)  # 13 days
    assert calls(carrier) == {USAGE: 3, RESULT: 3}


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([], {"DATA": 0}),
        ([7, None, 5], {"DATA": 12}),
        ([7, 0.5], "ctdDataUsage: usage is 7.5, not a whole number"),
        ([7, -1], "ctdDataUsage: usage is negative"),
        (["7"], "ctdDataUsage: usage is '7', not a number"),
    ],
)
def test_all_profiles_of_a_day_count_and_a_broken_one_spoils_the_counter(used: list[Any], expected: Any) -> None:
    days = [{"eid": UNKNOWN, "period": "2026-11-20", "operationalImsi": str(n), "usage": u} for n, u in enumerate(used)]
    assert validate_ctd_usage(cycle_to_date(UNKNOWN, days)) == expected


def test_the_usage_of_another_esim_is_refused() -> None:
    with pytest.raises(MalformedPageError, match="the usage is of another eSIM"):
        cycle_to_date(UNKNOWN, [{"eid": UNKNOWN[:-1] + "8", "usage": 1}])


@pytest.mark.parametrize(
    ("entry", "status", "plan"),
    [
        ({"deviceStatus": "ONLINE", "suspended": True, "planName": "A"}, "SUSPENDED", "A"),
        ({"deviceStatus": "online ", "planUuid": "5a3f"}, "ACTIVATED", "5a3f"),
        ({"deviceStatus": "UNACTIVATED", "planName": ""}, "ACTIVATION_READY", None),
        ({"deviceStatus": "ROAMING"}, "ROAMING", None),
        ({}, None, None),
    ],
)
def test_states_and_plans_become_those_of_a_sim(entry: dict[str, Any], status: str | None, plan: str | None) -> None:
    record = device_record({"eid": UNKNOWN} | entry)
    assert (record["iccid"], record["status"], record["ratePlan"]) == (UNKNOWN, status, plan)


def test_details_are_those_of_the_esim(client: TealClient, carrier: RunningCarrier) -> None:
    sim = next(sim for sim in carrier.truth()["devices"] if sim["msisdn"] and sim["imei"])
    details = client.device_details(sim["iccid"])
    assert (details["iccid"], details["imsi"], details["imei"], details["msisdn"]) == (
        sim["iccid"], sim["imsi"], sim["imei"], sim["msisdn"],
    )  # fmt: skip
    with pytest.raises(CarrierNotFoundError, match=rf"SIM {UNKNOWN}.*\[ESIM_NOT_FOUND\]"):
        client.device_details(UNKNOWN)
    assert calls(carrier) == {INFO: 2, RESULT: 2}


def test_an_operation_is_polled_at_growing_intervals_until_it_has_a_result(
    client: TealClient, carrier: RunningCarrier, waiting: Waiting
) -> None:
    carrier.set_polls(6)
    eid = carrier.truth()["devices"][0]["iccid"]
    assert client.device_details(eid)["iccid"] == eid
    assert waiting.waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert calls(carrier) == {INFO: 1, RESULT: 7}


def test_an_operation_without_a_result_after_a_quarter_of_an_hour_is_given_up(
    client: TealClient, carrier: RunningCarrier, waiting: Waiting
) -> None:
    carrier.set_polls(1_000_000)
    with pytest.raises(CarrierUnavailableError, match="no result after 15 minutes"):
        client.device_details(carrier.truth()["devices"][0]["iccid"])
    assert 890 < waiting.seconds <= 900
    assert calls(carrier)[INFO] == 1


@pytest.mark.parametrize("status", [200, 404])
def test_an_operation_that_failed_or_that_the_carrier_forgot_is_queued_again(
    client: TealClient, carrier: RunningCarrier, status: int
) -> None:
    carrier.add_fault(status=status, path=RESULT_PATH)
    eid = carrier.truth()["devices"][0]["iccid"]
    assert client.device_details(eid)["iccid"] == eid
    assert calls(carrier) == {INFO: 2, RESULT: 2}


def test_wrong_keys_are_sent_once_and_the_connection_is_named(carrier: RunningCarrier, waiting: Waiting) -> None:
    with made(carrier, waiting, key="wrong-secret") as client:
        for _ in range(2):
            with pytest.raises(CarrierAuthenticationError, match=r"login of connection carrier_teal \(") as refused:
                client.list_devices_page(modified_since=SINCE, page_number=1)
            assert "wrong-secret" not in str(refused.value) and USER not in str(refused.value)
    assert calls(carrier) == {LIST: 2}
    assert waiting.waits == []


def test_a_key_that_no_header_can_carry_is_refused_before_any_call(carrier: RunningCarrier, waiting: Waiting) -> None:
    for key in ("secret\nwith a line", " spaces ", "sécret-of-umlauts"):
        with pytest.raises(CarrierConnectionError, match="password has characters") as refused:
            made(carrier, waiting, key=key)
        assert key not in str(refused.value)
    with pytest.raises(CarrierConnectionError, match="extra callback_url must be a text"):
        made(carrier, waiting, callback_url=7)


TRANSIENT: dict[str, tuple[dict[str, Any], int]] = {
    "503": ({"status": 503, "times": 2}, 2),
    "429": ({"status": 429, "retry_after_seconds": 7, "times": 2}, 2),
    "reset": ({"reset": True, "times": 2}, 2),
    "truncated": ({"truncate": True, "times": 2}, 2),
    "503 of a poll": ({"status": 503, "times": 2, "path": RESULT_PATH}, 2),
    "reset of a result": ({"reset": True, "times": 2, "path": RESULT_PATH, "nth_call": 2}, 2),
    "empty page": ({"empty_page": True, "times": 2, "path": RESULT_PATH, "page_number": 2}, 2 * (READING + READING)),
    "page sent before": ({"repeat_page": True, "times": 2, "path": RESULT_PATH, "page_number": 2}, 2 * READING),
}
"""Fault, and the extra calls that it costs. A page that ends early is read again, and its end is asked for again."""


@pytest.mark.parametrize("name", TRANSIENT)
def test_each_transient_fault_costs_its_calls_only(
    client: TealClient, carrier: RunningCarrier, waiting: Waiting, name: str
) -> None:
    fault, extra = TRANSIENT[name]
    carrier.add_fault(**fault)
    assert sum(len(page.devices) for page in all_pages(client)) == 120
    assert sum(calls(carrier).values()) == 3 * READING + extra
    assert name != "429" or sum(wait >= 7 for wait in waiting.waits) == 2


def test_a_page_that_always_ends_early_is_refused(client: TealClient, carrier: RunningCarrier) -> None:
    carrier.add_fault(empty_page=True, path=RESULT_PATH, page_number=2, times=None)
    with pytest.raises(CarrierUnavailableError, match="page 2 of the device list ended early in 3 readings"):
        all_pages(client)


def test_a_list_without_end_is_refused_where_it_repeats_itself(client: TealClient, carrier: RunningCarrier) -> None:
    carrier.add_fault(endless_pages=True, path=RESULT_PATH, times=None)
    with pytest.raises(CarrierUnavailableError, match="page 3 was requested, the page has the first eSIM of the page"):
        all_pages(client)


def test_an_account_without_esims_has_one_empty_page(waiting: Waiting) -> None:
    with (
        running_carrier(devices_per_account=0, as_of=AS_OF, accounts=("teal",), api_key=CANARY) as carrier,
        made(carrier, waiting) as client,
    ):
        (page,) = all_pages(client)
    assert (page.devices, page.is_last_page, page.next_after) == ([], True, None)


def test_nothing_is_ever_written(carrier: RunningCarrier) -> None:
    with TealClient(account_at(carrier, "teal", CANARY), OpenGate(), may_write=True) as client:
        with pytest.raises(CarrierWriteForbiddenError, match="nothing was sent"):
            client.change_rate_plan(UNKNOWN, "TEAL 5 MB")
        with pytest.raises(CarrierRequestError, match="no usage by rate plan"):
            client.rate_plan_usage_page(
                rate_plan_code="x", rate_plan_version=1, usage_type="DATA", cycle_start=CYCLE_START, page_number=1
            )
    assert carrier.stats(USER)["calls"] == 0


def test_no_key_is_in_an_error_a_log_an_address_or_a_stored_answer(
    carrier: RunningCarrier, waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    with made(carrier, waiting) as client:
        page = client.list_devices_page(modified_since=SINCE, page_number=1)
        for echoed in (CANARY, USER):
            carrier.add_fault(status=503, error_message=f"no account {echoed} here", times=8)
            with pytest.raises(CarrierUnavailableError) as failed:
                client.list_devices_page(modified_since=SINCE, page_number=1)
            carrier.clear_faults()
            seen += [str(failed.value), repr(vars(failed.value))]
        eid = page.devices[0]["iccid"]
        carrier.change_devices([eid], extra={"note": f"key {USER}, secret {CANARY}"})
        seen.append(json.dumps(client.device_details(eid)))
        seen.append(repr(client))
    assert "/api/v1/esims?limit=100" in caplog.text  # addresses are in the log
    assert "callbackUrl=https%3A%2F%2Fcallback.invalid%2F" in caplog.text
    assert [secret for secret in (CANARY, USER) if secret in "".join(seen) + caplog.text] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"callbackUrl": None}, "callbackUrl must be a URL"),
        ({"requestId": None}, "requestId must be a UUID"),
        ({"limit": 101}, "limit must be between 1 and 100"),
        ({"offset": "x"}, "offset must not be negative"),
        ({}, "requestId must be unique"),
    ],
)
def test_the_sandbox_refuses_what_the_vendor_refuses(
    carrier: RunningCarrier, change: dict[str, Any], message: str
) -> None:
    valid = {"requestId": "0f6f0a52a3de4f0f8a3b2f4d5c6e7f80", "callbackUrl": "https://callback.invalid/"}
    keys = {"ApiKey": USER, "ApiSecret": CANARY}
    with requests.Session() as session:
        session.trust_env = False
        if not change:
            session.get(carrier.base_url + LIST_PATH, params=valid, headers=keys, timeout=10)
        refused = session.get(carrier.base_url + LIST_PATH, params=valid | change, headers=keys, timeout=10)
    assert refused.status_code == 400
    assert refused.json() == {"success": False, "errorCode": "VALIDATION_ERROR", "errorMessage": message}


def test_the_sandbox_admits_a_thousand_calls_in_any_minute_also_at_once() -> None:
    limiter = CallLimiter(FAMILY_LIMITS["teal"])
    assert [limiter.begin("x", 59.0 * n / 1000) for n in range(1000)] == [None] * 1000
    assert limiter.begin("x", 59.5) == "more than 1000 calls in 60 seconds"
    assert limiter.begin("x", 60.5) is None
    assert limiter.stats()["violations_by_kind"] == {"rate": 1}
