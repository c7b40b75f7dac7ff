"""The ThingSpace client against its sandbox over real HTTP: tokens, paging by device id, usage, faults, secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierConnectionError,
    CarrierNotFoundError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from amop.carriers.protocol import DevicePage
from amop.carriers.thingspace import ThingSpaceClient
from amop.carriers.thingspace_pages import cycle_to_date
from amop.device_sync.validation import validate_ctd_usage
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.family_world import account_at
from tests.worlds.open_gate import OpenGate, Waiting

CANARY = "canary-91b7-uws-password"
APP_CANARY = "canary-44fa-app-secret"
AS_OF = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CYCLE_START = date(2026, 11, 9)
SINCE = datetime(2000, 1, 1, tzinfo=UTC)
MOST_PAGES = 50
"""More pages than any list of these tests has."""
USER = "api_thingspace"
LIST, USAGE = "POST /devices/actions/list", "POST /devices/usage/actions/list"
TOKEN, LOGIN = "POST /oauth2/token", "POST /session/login"
SIGN_IN = {TOKEN: 1, LOGIN: 1}


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(
        devices_per_account=120, as_of=AS_OF, accounts=("thingspace",), api_key=CANARY, limits_are_enforced=False
    ) as running:
        yield running


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def made(carrier: RunningCarrier, waiting: Waiting, key: str = CANARY, **extra: Any) -> ThingSpaceClient:
    account = account_at(carrier, "thingspace", key, **extra)
    return ThingSpaceClient(account, OpenGate(), sleep=waiting.sleep, monotonic=waiting.monotonic, clock=lambda: AS_OF)


@pytest.fixture
def client(carrier: RunningCarrier, waiting: Waiting) -> Iterator[ThingSpaceClient]:
    with made(carrier, waiting) as client:
        yield client


def all_pages(client: ThingSpaceClient) -> list[DevicePage]:
    pages: list[DevicePage] = []
    while not pages or not pages[-1].is_last_page:
        assert len(pages) < MOST_PAGES, "the list has no end"
        after = pages[-1].next_after if pages else None
        pages.append(client.list_devices_page(modified_since=SINCE, page_number=len(pages) + 1, after=after))
    return pages


def calls(carrier: RunningCarrier) -> dict[str, int]:
    found: dict[str, int] = carrier.stats(USER)["calls_by_endpoint"]
    return found


def test_pages_follow_the_last_device_id_until_all_sims_are_listed(
    client: ThingSpaceClient, carrier: RunningCarrier
) -> None:
    pages = all_pages(client)
    assert [(page.page_number, len(page.devices), page.is_last_page) for page in pages] == [
        (1, 50, False), (2, 50, False), (3, 20, True),
    ]  # fmt: skip
    truth = {sim["iccid"]: sim for sim in carrier.truth()["devices"]}
    listed = {sim["iccid"]: sim for page in pages for sim in page.devices}
    assert listed.keys() == truth.keys()
    for iccid, sim in truth.items():
        assert (listed[iccid]["status"], listed[iccid]["ratePlan"]) == (sim["status"], sim["rate_plan"])
        assert listed[iccid]["communicationPlan"] is None
    assert {sim["status"] for sim in truth.values()} == {"ACTIVATED", "DEACTIVATED", "SUSPENDED", "ACTIVATION_READY"}
    assert calls(carrier) == {LIST: 3} | SIGN_IN


def test_another_process_continues_after_the_stored_device_id(carrier: RunningCarrier, waiting: Waiting) -> None:
    with made(carrier, waiting) as first:
        page = first.list_devices_page(modified_since=SINCE, page_number=1)
    with made(carrier, waiting) as second:
        following = second.list_devices_page(modified_since=SINCE, page_number=2, after=page.next_after)
        with pytest.raises(ValueError, match="needs the last device id"):
            second.list_devices_page(modified_since=SINCE, page_number=2)
    both = {sim["iccid"] for one in (page, following) for sim in one.devices}
    assert len(both) == 100


def test_a_list_is_whole_whatever_dates_are_asked_for(client: ThingSpaceClient) -> None:
    assert client.list_limits.longest.days > 36_000
    page = client.list_devices_page(modified_since=AS_OF, modified_till=AS_OF, page_number=1)
    assert len(page.devices) == 50


def test_the_usage_is_the_sum_of_the_days_of_the_billing_cycle(
    client: ThingSpaceClient, carrier: RunningCarrier
) -> None:
    used = [sim for sim in carrier.truth()["devices"] if sim["data_usage"] and sim["sms_usage"]]
    assert len(used) > 5
    for sim in used[:5]:
        usage = client.device_ctd_usage(sim["iccid"], cycle_start=CYCLE_START)
        assert (usage["ctdDataUsage"], usage["ctdSMSUsage"]) == (sim["data_usage"], sim["sms_usage"])
        assert validate_ctd_usage(usage) == {"DATA": sim["data_usage"], "SMS": sim["sms_usage"]}
    later = client.device_ctd_usage(used[0]["iccid"], cycle_start=date(2026, 11, 20))
    assert later["ctdDataUsage"] < used[0]["data_usage"]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([], {"DATA": 0, "SMS": 0}),
        ([("2026-11-20", "Raw Usage", 7, 0), ("2026-11-20", "Usage Feed", 9, 2)], {"DATA": 9, "SMS": 2}),
        ([("2026-11-20", "Raw Usage", 7, 1), ("2026-11-21", "Raw Usage", 5, None)], {"DATA": 12, "SMS": 1}),
        ([("2026-11-20", "Raw Usage", -7, 1)], "ctdDataUsage: usage is negative"),
        ([("2026-11-20", "Raw Usage", "7", 1)], "ctdDataUsage: usage is '7', not a number"),
    ],
)
def test_a_day_of_several_sources_counts_once_and_a_broken_one_spoils_the_counter(
    days: list[tuple[Any, ...]], expected: Any
) -> None:
    history = [
        {"timestamp": f"{day}T00:00:00Z", "source": source, "bytesUsed": data, "smsUsed": messages}
        for day, source, data, messages in days
    ]
    assert validate_ctd_usage(cycle_to_date("x", history)) == expected


def test_details_are_those_of_the_sim(client: ThingSpaceClient, carrier: RunningCarrier) -> None:
    sim = next(sim for sim in carrier.truth()["devices"] if sim["date_activated"] and sim["imei"])
    details = client.device_details(sim["iccid"])
    assert (details["iccid"], details["imsi"], details["imei"], details["msisdn"]) == (
        sim["iccid"], sim["imsi"], sim["imei"], sim["msisdn"],
    )  # fmt: skip
    assert datetime.fromisoformat(details["dateActivated"]) == datetime.fromisoformat(sim["date_activated"])
    with pytest.raises(CarrierNotFoundError, match="DeviceNotFound") as refused:
        client.device_details("89148000000000000000")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("ended", "renewed"),
    [
        (("session",), {TOKEN: 1, LOGIN: 2}),
        (("access",), {TOKEN: 2, LOGIN: 1}),
        (("access", "session"), {TOKEN: 2, LOGIN: 2}),
    ],
)
def test_a_token_that_has_ended_is_renewed_within_the_call(
    client: ThingSpaceClient, carrier: RunningCarrier, waiting: Waiting, ended: tuple[str, ...], renewed: dict[str, int]
) -> None:
    pages = [client.list_devices_page(modified_since=SINCE, page_number=1)]
    carrier.end_tokens(*ended)
    pages.append(client.list_devices_page(modified_since=SINCE, page_number=2, after=pages[0].next_after))
    assert len(pages[1].devices) == 50
    assert waiting.waits == []
    found = calls(carrier)
    assert {name: found[name] for name in renewed} == renewed


def test_an_access_token_is_renewed_before_it_ends_and_one_that_the_carrier_repeats_is_read(
    client: ThingSpaceClient, carrier: RunningCarrier, waiting: Waiting
) -> None:
    first = client.list_devices_page(modified_since=SINCE, page_number=1)
    waiting.seconds += 3600 - 61
    client.list_devices_page(modified_since=SINCE, page_number=2, after=first.next_after)
    assert calls(carrier)[TOKEN] == 1
    waiting.seconds += 2
    # The sandbox's own clock has not moved: like the carrier it answers with the token that is still valid.
    client.list_devices_page(modified_since=SINCE, page_number=2, after=first.next_after)
    assert calls(carrier) == {LIST: 3, TOKEN: 2, LOGIN: 1}


def test_a_wrong_password_is_sent_once_and_names_the_connection(carrier: RunningCarrier, waiting: Waiting) -> None:
    with made(carrier, waiting, key="wrong", client_secret=CANARY) as client:
        for _ in range(2):
            with pytest.raises(
                CarrierAuthenticationError, match=r"login of connection carrier_thingspace \("
            ) as refused:
                client.list_devices_page(modified_since=SINCE, page_number=1)
            assert "api_thingspace" not in str(refused.value)
    assert calls(carrier) == {TOKEN: 1, LOGIN: 2}
    assert waiting.waits == []


def test_a_wrong_application_is_final(carrier: RunningCarrier, waiting: Waiting) -> None:
    with (
        made(carrier, waiting, client_secret="wrong") as client,
        pytest.raises(CarrierAuthenticationError, match="Client Authentication failed"),
    ):
        client.list_devices_page(modified_since=SINCE, page_number=1)
    assert calls(carrier) == {TOKEN: 1}


def test_a_token_that_is_refused_as_soon_as_it_is_issued_is_final(
    client: ThingSpaceClient, carrier: RunningCarrier
) -> None:
    carrier.add_fault(status=401, path="/api/m2m/v1/devices", times=None)
    with pytest.raises(CarrierAuthenticationError, match="refused the login"):
        client.list_devices_page(modified_since=SINCE, page_number=1)
    assert calls(carrier) == {LIST: 2, TOKEN: 2, LOGIN: 1}


def test_a_connection_without_its_application_is_refused_before_any_call(
    carrier: RunningCarrier, waiting: Waiting
) -> None:
    with pytest.raises(CarrierConnectionError, match="set client_secret, account_name in the extra"):
        made(carrier, waiting, client_secret=None, account_name=None)
    with pytest.raises(CarrierConnectionError, match="extra client_id must be a text"):
        made(carrier, waiting, client_id=7)


TRANSIENT: dict[str, dict[str, Any]] = {
    "503": {"status": 503, "times": 2},
    "429": {"status": 429, "retry_after_seconds": 7, "times": 2},
    "reset": {"reset": True, "times": 2},
    "truncated": {"truncate": True, "times": 2},
    "empty page that announces more": {"empty_page": True, "times": 2, "path": "/api/m2m/v1/devices", "page_number": 2},
    "page sent before": {"repeat_page": True, "times": 2, "path": "/api/m2m/v1/devices", "page_number": 2},
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_each_transient_fault_costs_its_calls_only(
    client: ThingSpaceClient, carrier: RunningCarrier, waiting: Waiting, name: str
) -> None:
    carrier.add_fault(**TRANSIENT[name])
    assert sum(len(page.devices) for page in all_pages(client)) == 120
    assert sum(calls(carrier).values()) == 3 + 2 + 2
    assert len(waiting.waits) == 2
    assert name != "429" or min(waiting.waits) >= 7


def test_a_list_without_end_is_refused_where_it_repeats_itself(
    client: ThingSpaceClient, carrier: RunningCarrier
) -> None:
    carrier.add_fault(endless_pages=True, path="/api/m2m/v1/devices", times=None)
    with pytest.raises(CarrierUnavailableError, match=r"devices after id \d+ were requested, the page begins with id"):
        all_pages(client)


def test_nothing_is_ever_written(carrier: RunningCarrier, waiting: Waiting) -> None:
    account = account_at(carrier, "thingspace", CANARY)
    with ThingSpaceClient(account, OpenGate(), may_write=True) as client:
        with pytest.raises(CarrierWriteForbiddenError, match="nothing was sent"):
            client.change_rate_plan("89148000000000000000", "VZW 5 MB")
        with pytest.raises(CarrierRequestError, match="no usage by rate plan"):
            client.rate_plan_usage_page(
                rate_plan_code="x", rate_plan_version=1, usage_type="DATA", cycle_start=CYCLE_START, page_number=1
            )
    assert carrier.stats(USER)["calls"] == 0


def test_no_secret_and_no_token_is_in_an_error_a_log_or_a_stored_answer(
    carrier: RunningCarrier, waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    with made(carrier, waiting) as client:
        page = client.list_devices_page(modified_since=SINCE, page_number=1)
        tokens = [client._access_token, client._session_token]
        assert all(len(token) == 32 for token in tokens)
        for echoed in (*tokens, CANARY):
            carrier.add_fault(status=503, error_message=f"no session {echoed} here", times=8)
            with pytest.raises(CarrierUnavailableError) as failed:
                client.list_devices_page(modified_since=SINCE, page_number=1)
            carrier.clear_faults()
            seen += [str(failed.value), repr(vars(failed.value))]
        iccid = page.devices[0]["iccid"]
        carrier.change_devices([iccid], extra={"note": f"token {tokens[0]}, session {tokens[1]}"})
        seen.append(json.dumps(client.device_details(iccid)))
        seen += [repr(client), repr(vars(client)["_account"])]
    with made(carrier, waiting, key="wrong", client_secret=APP_CANARY) as client:
        with pytest.raises(CarrierAuthenticationError) as refused:
            client.list_devices_page(modified_since=SINCE, page_number=1)
        seen.append(str(refused.value))
    text = "".join(seen) + caplog.text
    assert [secret for secret in (*tokens, CANARY, APP_CANARY) if secret in text] == []
