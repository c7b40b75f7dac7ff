"""The Control Center client against the sandbox carrier over real HTTP: faults, retries, and no leaked secret."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from amop.carriers.account import CarrierAccount
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import (
    CarrierAuthenticationError,
    CarrierError,
    CarrierRequestError,
    CarrierUnavailableError,
    CarrierWriteForbiddenError,
)
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.open_gate import OpenGate, Waiting

CANARY = "canary-7c1e-api-key"
AS_OF = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
SINCE = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(
        devices_per_account=120, as_of=AS_OF, accounts=("jasper",), api_key=CANARY, limits_are_enforced=False
    ) as running:
        yield running


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def client(carrier: RunningCarrier, gate: OpenGate, waiting: Waiting) -> Iterator[ControlCenterClient]:
    with client_of(carrier.base_url, gate, waiting) as made:
        yield made


def client_of(base_url: str, gate: OpenGate, waiting: Waiting, *, may_write: bool = True) -> ControlCenterClient:
    account = CarrierAccount.from_connection_fields(
        connection_id="carrier_jasper", service_provider_name="AT&T Jasper", host=base_url, schema=None, port=None,
        login="api_jasper", password=CANARY, extra={},
    )  # fmt: skip
    return ControlCenterClient(account, gate, may_write=may_write, sleep=waiting.sleep, monotonic=waiting.monotonic)


def first_page(client: ControlCenterClient) -> list[str]:
    return [device["iccid"] for device in client.list_devices_page(modified_since=SINCE, page_number=1).devices]


def full_text(error: BaseException) -> str:
    """Return everything that a log or a failure page can show of an error, including its causes."""
    return repr(error) + "".join(traceback.format_exception(error)) + repr(vars(error))


def test_pages_have_50_sims_each_until_the_last_one_and_contain_all_sims_of_the_carrier(
    client: ControlCenterClient, carrier: RunningCarrier
) -> None:
    pages = [client.list_devices_page(modified_since=SINCE, page_number=number) for number in (1, 2, 3)]
    assert [(page.page_number, len(page.devices), page.is_last_page) for page in pages] == [
        (1, 50, False), (2, 50, False), (3, 20, True),
    ]  # fmt: skip
    listed = {device["iccid"] for page in pages for device in page.devices}
    assert listed == {device["iccid"] for device in carrier.truth()["devices"]}


def test_details_and_cycle_to_date_usage_are_read(client: ControlCenterClient, carrier: RunningCarrier) -> None:
    sim = carrier.truth()["devices"][0]
    assert client.device_details(sim["iccid"])["iccid"] == sim["iccid"]
    assert client.device_ctd_usage(sim["iccid"])["ctdDataUsage"] >= 0


def test_usage_of_a_rate_plan_adds_up_to_the_single_calls(client: ControlCenterClient, carrier: RunningCarrier) -> None:
    truth = carrier.truth()
    for code, version, start in plans_of(truth):
        used: dict[str, int] = {}
        for number in range(1, 10):
            page = client.rate_plan_usage_page(
                rate_plan_code=code, rate_plan_version=version, usage_type="DATA", cycle_start=start,
                page_number=number,
            )  # fmt: skip
            for record in page.records:
                used[record.iccid] = used.get(record.iccid, 0) + record.usage
            if page.is_last_page:
                break
        for iccid in list(used)[:2]:
            assert client.device_ctd_usage(iccid)["ctdDataUsage"] == used[iccid]
        if used:
            return
    pytest.fail("no rate plan with usage")


def plans_of(truth: dict[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Return code, version and cycle start of every plan that can be read in bulk."""
    from sandbox.carrier.catalogue import provider_of
    from sandbox.carrier.fleet import billing_cycle

    provider = provider_of("jasper")
    start = billing_cycle(AS_OF, provider)[0].astimezone(ZoneInfo(provider.time_zone)).date()
    for plan in provider.rate_plans:
        if not plan.is_shared:
            yield plan.rate_plan_code, plan.version, start


def test_changed_rate_plan_is_the_sims_plan_at_the_carrier(
    client: ControlCenterClient, carrier: RunningCarrier
) -> None:
    from sandbox.carrier.catalogue import provider_of

    plan = next(plan for plan in provider_of("jasper").communication_plans if len(set(plan.rate_plans)) > 1)
    listed = client.list_devices_page(modified_since=SINCE, page_number=1).devices
    sim = next(sim for sim in listed if sim["communicationPlan"] == plan.name)
    other = next(code for code in plan.rate_plans if code != sim["ratePlan"])
    client.change_rate_plan(sim["iccid"], other)
    assert client.device_details(sim["iccid"])["ratePlan"] == other
    assert carrier.stats("api_jasper")["calls_by_endpoint"]["PUT /devices/{iccid}"] == 1


def test_a_read_only_client_sends_no_write(carrier: RunningCarrier, gate: OpenGate, waiting: Waiting) -> None:
    with client_of(carrier.base_url, gate, waiting, may_write=False) as reader:
        iccid = first_page(reader)[0]
        with pytest.raises(CarrierWriteForbiddenError, match=r"carrier_jasper.*write_is_enabled is off"):
            reader.change_rate_plan(iccid, "ATT 5 MB")
    assert carrier.stats("api_jasper")["calls_by_endpoint"] == {"GET /devices": 1}
    assert gate.calls == 1


def test_a_client_is_read_only_by_default(carrier: RunningCarrier, gate: OpenGate) -> None:
    account = CarrierAccount("carrier_jasper", "AT&T Jasper", carrier.base_url, "api_jasper", CANARY)
    with ControlCenterClient(account, gate) as reader, pytest.raises(CarrierWriteForbiddenError):
        reader.change_rate_plan("8901170000000000001", "ATT 5 MB")
    assert carrier.stats("api_jasper")["calls"] == 0


FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503},
    "504": {"status": 504},
    "reset": {"reset": True},
    "truncated": {"truncate": True},
    "empty page that is not the last": {"empty_page": True},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_transient_fault_is_retried_and_the_page_is_complete(
    client: ControlCenterClient, carrier: RunningCarrier, waiting: Waiting, fault: dict[str, Any]
) -> None:
    carrier.add_fault(**fault, times=2)
    assert len(first_page(client)) == 50
    assert carrier.stats("api_jasper")["calls"] == 3
    assert len(waiting.waits) == 2


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_lasting_fault_spends_the_budget_and_the_error_names_provider_request_and_page(
    client: ControlCenterClient, carrier: RunningCarrier, waiting: Waiting, fault: dict[str, Any]
) -> None:
    carrier.add_fault(**fault, times=None)
    with pytest.raises(CarrierUnavailableError) as failed:
        client.list_devices_page(modified_since=SINCE, page_number=2)
    for part in ("AT&T Jasper", "carrier_jasper", "GET /rws/api/v1/devices", "page 2"):
        assert part in str(failed.value)
    assert 2 <= carrier.stats("api_jasper")["calls"] <= 10
    assert sum(waiting.waits) <= 300


def test_an_empty_usage_page_that_is_not_the_last_is_requested_again(
    client: ControlCenterClient, carrier: RunningCarrier
) -> None:
    """Accepting it would count 50 SIMs as having no usage."""
    code, version, start = next(plans_of(carrier.truth()))
    carrier.add_fault(empty_page=True, path="/rws/api/v1/usages")
    client.rate_plan_usage_page(
        rate_plan_code=code, rate_plan_version=version, usage_type="DATA", cycle_start=start, page_number=1
    )
    assert carrier.stats("api_jasper")["calls_by_endpoint"]["GET /usages"] == 2


def test_wrong_key_is_final_after_one_call(
    client: ControlCenterClient, carrier: RunningCarrier, waiting: Waiting
) -> None:
    carrier.reject_api_key()
    with pytest.raises(CarrierAuthenticationError) as refused:
        first_page(client)
    assert carrier.stats("api_jasper")["calls"] == 1
    assert waiting.waits == []
    assert "AT&T Jasper" in str(refused.value)
    assert "the carrier refused the login of connection carrier_jasper (" in str(refused.value)
    assert "api_jasper" not in str(refused.value)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_another_refusal_is_final_after_one_call_and_contains_the_carriers_error(
    client: ControlCenterClient, carrier: RunningCarrier, status: int
) -> None:
    carrier.add_fault(status=status, error_message="no such thing", times=None)
    with pytest.raises(CarrierRequestError) as refused:
        client.list_devices_page(modified_since=SINCE, page_number=3)
    assert refused.value.status == status
    assert "no such thing" in refused.value.error_message
    assert "page 3" in str(refused.value)
    assert carrier.stats("api_jasper")["calls"] == 1


@pytest.mark.parametrize("form", ["seconds", "http_date"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_in_both_forms(
    client: ControlCenterClient, carrier: RunningCarrier, gate: OpenGate, waiting: Waiting, form: str, status: int
) -> None:
    carrier.add_fault(status=status, retry_after_seconds=40, retry_after_form=form)
    assert len(first_page(client)) == 50
    assert len(waiting.waits) == 1
    assert 39 <= waiting.waits[0] <= 42
    assert len(gate.blocked) == (status == 429)
    assert all(39 <= seconds <= 42 for seconds in gate.blocked)


def test_a_retry_after_beyond_the_budget_fails_at_once(
    client: ControlCenterClient, carrier: RunningCarrier, waiting: Waiting
) -> None:
    carrier.add_fault(status=503, retry_after_seconds=3600, times=None)
    with pytest.raises(CarrierUnavailableError):
        first_page(client)
    assert waiting.waits == []
    assert carrier.stats("api_jasper")["calls"] == 1


def test_a_redirect_is_not_followed_because_it_would_forward_the_key(
    client: ControlCenterClient, carrier: RunningCarrier
) -> None:
    carrier.add_fault(status=302, times=None)
    with pytest.raises(CarrierRequestError) as refused:
        first_page(client)
    assert refused.value.status == 302
    assert carrier.stats("api_jasper")["calls"] == 1


def test_carrier_that_cannot_be_reached_is_unavailable(gate: OpenGate, waiting: Waiting) -> None:
    with client_of("http://127.0.0.1:1", gate, waiting) as client, pytest.raises(CarrierUnavailableError):
        first_page(client)
    assert gate.is_closed
    assert gate.calls == len(waiting.waits) + 1


def test_proxy_of_the_environment_does_not_break_the_loopback(
    client: ControlCenterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(first_page(client)) == 50


def test_an_iccid_is_quoted_and_stays_one_segment_of_the_path(
    client: ControlCenterClient, carrier: RunningCarrier
) -> None:
    with pytest.raises(CarrierError):
        client.device_details("../usages?x=1#y")
    endpoints = carrier.stats("api_jasper")["calls_by_endpoint"]
    assert set(endpoints) <= {"GET /devices/{iccid}", "unknown"}


def echo(carrier: RunningCarrier, **fault: Any) -> None:
    """Let the carrier echo the API key, as some servers do."""
    carrier.add_fault(error_message=f"you sent {CANARY} as your key", times=None, **fault)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda carrier: carrier.reject_api_key(),
        lambda carrier: echo(carrier, status=401),
        lambda carrier: echo(carrier, status=400),
        lambda carrier: echo(carrier, status=503),
        lambda carrier: carrier.add_fault(reset=True, times=None),
        lambda carrier: carrier.add_fault(truncate=True, times=None),
    ],
    ids=["wrong key", "echo 401", "echo 400", "echo 503", "reset", "truncated"],
)
def test_key_is_in_no_exception_log_or_repr(
    client: ControlCenterClient,
    carrier: RunningCarrier,
    caplog: pytest.LogCaptureFixture,
    prepare: Callable[[RunningCarrier], None],
) -> None:
    caplog.set_level(logging.DEBUG)
    prepare(carrier)
    with pytest.raises(CarrierError) as failed:
        first_page(client)
    text = full_text(failed.value) + caplog.text + repr(client)
    assert CANARY not in text
    assert "Basic " not in text


def test_a_key_at_the_length_limit_of_a_message_is_not_shown_in_part(
    client: ControlCenterClient, carrier: RunningCarrier
) -> None:
    for padding in range(280, 305, 3):
        carrier.clear_faults()
        carrier.add_fault(status=400, error_message="x" * padding + CANARY)
        with pytest.raises(CarrierRequestError) as refused:
            first_page(client)
        assert "canary-" not in str(refused.value) + refused.value.error_message


@pytest.mark.parametrize("path", ["/rws/api/v1", "/rws/api/v1/", "/RWS/api/v1", "/rws/api", "/"])
def test_the_vendors_documented_base_url_works_as_host(
    carrier: RunningCarrier, gate: OpenGate, waiting: Waiting, path: str
) -> None:
    account = CarrierAccount.from_connection_fields(
        connection_id="c", service_provider_name="X", host=carrier.base_url + path, schema=None, port=None,
        login=carrier.accounts[0], password=CANARY, extra={},
    )  # fmt: skip
    with ControlCenterClient(account, gate, sleep=waiting.sleep, monotonic=waiting.monotonic) as client:
        assert len(client.list_devices_page(modified_since=SINCE, page_number=1).devices) == 50
