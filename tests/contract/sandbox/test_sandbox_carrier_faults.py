"""Test the scripted faults of the sandbox carrier and changes of its data, over real HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from sandbox.carrier.client import CarrierClient
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.moments import present

AS_OF = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
DEVICES = 230


@pytest.fixture
def own() -> Iterator[RunningCarrier]:
    """Run a carrier with one account for one test, without enforcing the limits."""
    with running_carrier(
        devices_per_account=DEVICES, as_of=AS_OF, accounts=("jasper",), limits_are_enforced=False
    ) as carrier:
        yield carrier


@pytest.fixture
def enforced() -> Iterator[RunningCarrier]:
    """Run a carrier with two accounts that enforces the vendor's limits."""
    with running_carrier(devices_per_account=60, as_of=AS_OF, accounts=("jasper", "rogers")) as carrier:
        yield carrier


@pytest.mark.parametrize("form", ["seconds", "http_date"])
def test_a_scripted_status_sends_retry_after_in_both_forms(own: RunningCarrier, form: str) -> None:
    own.add_fault(status=503, times=2, retry_after_seconds=3, retry_after_form=form, path="/rws/api/v1/devices")
    client = CarrierClient(own)
    answers = [client.list_page(1) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    value = answers[0].headers["Retry-After"]
    if form == "seconds":
        assert value == "3"
    else:
        assert 2 < (parsedate_to_datetime(value) - present()).total_seconds() <= 4
    assert own.faults()[0]["applied"] == 2


def test_faults_match_page_call_number_method_and_account(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    own.add_fault(status=500, page_number=3, account="api_jasper")
    assert [client.list_page(number).status_code for number in (1, 2, 3, 3)] == [200, 200, 500, 200]
    own.clear_faults()
    own.add_fault(status=502, nth_call=2, times=2)
    assert [client.list_page(1).status_code for _ in range(4)] == [200, 502, 502, 200]
    own.clear_faults()
    own.add_fault(status=504, method="PUT", times=None)
    iccid = own.truth()["devices"][0]["iccid"]
    assert [client.put(iccid, {}).status_code for _ in range(3)] == [504] * 3
    assert client.list_page(1).status_code == 200
    own.clear_faults()
    assert own.faults() == []


def test_a_forgotten_write_is_confirmed_but_changes_nothing(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    sim = next(d for d in client.whole_list() if d["ratePlan"] == "ATT 25 MB" and d["status"] == "ACTIVATED")
    truth = own.truth()
    own.add_fault(forget_write=True, path=f"/rws/api/v1/devices/{sim['iccid']}", method="PUT")
    answer = client.put(sim["iccid"], {"ratePlan": "ATT 5 MB"})
    assert (answer.status_code, answer.json()) == (200, {"iccid": sim["iccid"]})
    assert own.truth() == truth
    assert client.put(sim["iccid"], {"ratePlan": "ATT 5 MB"}).status_code == 200
    assert own.truth() != truth


def test_writes_count_towards_the_rate_limit(enforced: RunningCarrier) -> None:
    client = CarrierClient(enforced)
    iccid = client.list_page(1).json()["devices"][0]["iccid"]
    statuses = [client.put(iccid, {}).status_code for _ in range(6)]
    assert statuses.count(429) >= 1
    assert enforced.stats("api_jasper")["violations_by_kind"]["rate"] == statuses.count(429)


def test_reset_truncation_and_empty_page_reach_the_client(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    own.add_fault(reset=True)
    with pytest.raises(requests.ConnectionError) as reset:
        client.list_page(1)
    assert "Connection reset" in str(reset.value) or "Connection aborted" in str(reset.value)
    own.add_fault(truncate=True)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        client.list_page(1)
    own.add_fault(empty_page=True, page_number=2)
    page = client.list_page(2).json()
    assert (page["devices"], page["lastPage"]) == ([], False)
    assert len(client.list_page(2).json()["devices"]) == 50


def test_sims_touched_during_a_scan_shift_the_pages(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    before = [d["iccid"] for d in client.whole_list()]
    own.reset_stats()
    own.add_fault(touch=before[:10], nth_call=2, path="/rws/api/v1/devices")
    seen = [d["iccid"] for d in client.whole_list()]
    assert len(seen) == DEVICES
    twice = {iccid for iccid, count in Counter(seen).items() if count == 2}
    assert twice == set(before[:10]), "read on page 1 and again at the end"
    assert set(before) - set(seen) == set(before[100:110]), "they moved to a page that was already read"


def test_an_invalid_fault_is_refused(own: RunningCarrier) -> None:
    invalid: list[tuple[dict[str, Any], str]] = [
        ({}, "exactly one of"),
        ({"status": 500, "reset": True}, "exactly one of"),
        ({"status": 500, "pages": 3}, "unknown keys pages"),
        ({"status": 500, "times": 0}, "must be at least 1"),
        ({"status": 500, "account": "unknown"}, "no account 'unknown'"),
    ]
    for fault, reason in invalid:
        with pytest.raises(RuntimeError, match=f"answered 400.*{reason}"):
            own.add_fault(**fault)


def test_a_key_can_be_rejected_and_accepted_again(enforced: RunningCarrier) -> None:
    enforced.reject_api_key("api_jasper")
    assert CarrierClient(enforced).list_page(1).status_code == 401
    assert CarrierClient(enforced, "api_rogers").list_page(1).status_code == 200
    enforced.accept_api_key("api_jasper")
    assert CarrierClient(enforced).list_page(1).status_code == 200


def test_sims_can_be_removed_and_return_invalid_values(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    gone, bad, *_ = [d["iccid"] for d in own.truth()["devices"] if d["rate_plan"] == "ATT 2 GB"]
    own.remove_devices([gone])
    own.change_devices([bad], extra={"dataUsage": "many", "ctdDataUsage": -1, "ratePlan": None})
    listed = {d["iccid"]: d for d in client.whole_list()}
    assert len(listed) == DEVICES - 1
    assert gone not in listed
    assert listed[bad]["ratePlan"] is None
    assert client.get(f"/devices/{bad}/ctdUsages").json()["ctdDataUsage"] == -1
    records = client.get("/usages", ratePlanName="ATT 2 GB").json()["zones"][0]["devices"]
    assert {"deviceId": bad, "usage": {"dataUsage": "many"}} in records
    with pytest.raises(RuntimeError, match="unknown fields colour"):
        own.change_devices([bad], colour="red")
