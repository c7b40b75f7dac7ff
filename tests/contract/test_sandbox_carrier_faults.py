"""Scripted faults of the sandbox carrier, seen over real HTTP, and changes of what it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests

from sandbox.carrier import RunningCarrier, running_carrier
from sandbox.carrier_caller import Caller

AS_OF = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
DEVICES = 230


@pytest.fixture
def own() -> Iterator[RunningCarrier]:
    """One account of this test alone, whose limits only count."""
    with running_carrier(
        devices_per_account=DEVICES, as_of=AS_OF, accounts=("jasper",), limits_are_enforced=False
    ) as carrier:
        yield carrier


@pytest.fixture
def enforced() -> Iterator[RunningCarrier]:
    """Two accounts with the vendor's limits enforced."""
    with running_carrier(devices_per_account=60, as_of=AS_OF, accounts=("jasper", "rogers")) as carrier:
        yield carrier


@pytest.mark.parametrize("form", ["seconds", "http_date"])
def test_scripted_status_carries_retry_after_in_both_forms(own: RunningCarrier, form: str) -> None:
    own.add_fault(status=503, times=2, retry_after_seconds=3, retry_after_form=form, path="/rws/api/v1/devices")
    caller = Caller(own)
    answers = [caller.list_page(1) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    value = answers[0].headers["Retry-After"]
    if form == "seconds":
        assert value == "3"
    else:
        assert 2 < (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds() <= 4
    assert own.faults()[0]["applied"] == 2


def test_faults_match_page_call_number_method_and_account(own: RunningCarrier) -> None:
    caller = Caller(own)
    own.add_fault(status=500, page_number=3, account="api_jasper")
    assert [caller.list_page(number).status_code for number in (1, 2, 3, 3)] == [200, 200, 500, 200]
    own.clear_faults()
    own.add_fault(status=502, nth_call=2, times=2)
    assert [caller.list_page(1).status_code for _ in range(4)] == [200, 502, 502, 200]
    own.clear_faults()
    own.add_fault(status=504, method="PUT", times=None)
    iccid = own.truth()["devices"][0]["iccid"]
    assert [caller.put(iccid, {}).status_code for _ in range(3)] == [504] * 3
    assert caller.list_page(1).status_code == 200
    own.clear_faults()
    assert own.faults() == []


def test_a_forgotten_write_is_answered_as_done_and_changes_nothing(own: RunningCarrier) -> None:
    caller = Caller(own)
    sim = next(d for d in caller.whole_list() if d["ratePlan"] == "ATT 25 MB" and d["status"] == "ACTIVATED")
    truth = own.truth()
    own.add_fault(forget_write=True, path=f"/rws/api/v1/devices/{sim['iccid']}", method="PUT")
    answer = caller.put(sim["iccid"], {"ratePlan": "ATT 5 MB"})
    assert (answer.status_code, answer.json()) == (200, {"iccid": sim["iccid"]})
    assert own.truth() == truth
    assert caller.put(sim["iccid"], {"ratePlan": "ATT 5 MB"}).status_code == 200
    assert own.truth() != truth


def test_writes_count_against_the_limit_like_reads(enforced: RunningCarrier) -> None:
    caller = Caller(enforced)
    iccid = caller.list_page(1).json()["devices"][0]["iccid"]
    statuses = [caller.put(iccid, {}).status_code for _ in range(6)]
    assert statuses.count(429) >= 1
    assert enforced.stats("api_jasper")["violations_by_kind"]["rate"] == statuses.count(429)


def test_reset_truncation_and_empty_page_are_seen_as_such(own: RunningCarrier) -> None:
    caller = Caller(own)
    own.add_fault(reset=True)
    with pytest.raises(requests.ConnectionError) as reset:
        caller.list_page(1)
    assert "Connection reset" in str(reset.value) or "Connection aborted" in str(reset.value)
    own.add_fault(truncate=True)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        caller.list_page(1)
    own.add_fault(empty_page=True, page_number=2)
    page = caller.list_page(2).json()
    assert (page["devices"], page["lastPage"]) == ([], False)
    assert len(caller.list_page(2).json()["devices"]) == 50


def test_sims_touched_during_a_scan_shift_the_pages(own: RunningCarrier) -> None:
    caller = Caller(own)
    before = [d["iccid"] for d in caller.whole_list()]
    own.reset_stats()
    own.add_fault(touch=before[:10], nth_call=2, path="/rws/api/v1/devices")
    seen = [d["iccid"] for d in caller.whole_list()]
    assert len(seen) == DEVICES
    twice = {iccid for iccid, count in Counter(seen).items() if count == 2}
    assert twice == set(before[:10]), "read on page 1, and again at the end"
    assert set(before) - set(seen) == set(before[100:110]), "they moved up past the reader"


def test_a_fault_that_would_do_nothing_is_refused(own: RunningCarrier) -> None:
    for fault, reason in [
        ({}, "exactly one of"),
        ({"status": 500, "reset": True}, "exactly one of"),
        ({"status": 500, "pages": 3}, "unknown keys pages"),
        ({"status": 500, "times": 0}, "count from 1"),
        ({"status": 500, "account": "nobody"}, "no account 'nobody'"),
    ]:
        with pytest.raises(RuntimeError, match=f"answered 400.*{reason}"):
            own.add_fault(**fault)


def test_a_key_can_be_made_wrong_and_right_again(enforced: RunningCarrier) -> None:
    enforced.make_key_wrong("api_jasper")
    assert Caller(enforced).list_page(1).status_code == 401
    assert Caller(enforced, "api_rogers").list_page(1).status_code == 200
    enforced.make_key_wrong("api_jasper", is_wrong=False)
    assert Caller(enforced).list_page(1).status_code == 200


def test_sims_can_vanish_and_carry_bad_values(own: RunningCarrier) -> None:
    caller = Caller(own)
    gone, bad, *_ = [d["iccid"] for d in own.truth()["devices"] if d["rate_plan"] == "ATT 2 GB"]
    own.remove_devices([gone])
    own.change_devices([bad], extra={"dataUsage": "many", "ctdDataUsage": -1, "ratePlan": None})
    listed = {d["iccid"]: d for d in caller.whole_list()}
    assert len(listed) == DEVICES - 1
    assert gone not in listed
    assert listed[bad]["ratePlan"] is None
    assert caller.get(f"/devices/{bad}/ctdUsages").json()["ctdDataUsage"] == -1
    records = caller.get("/usages", ratePlanName="ATT 2 GB").json()["zones"][0]["devices"]
    assert {"deviceId": bad, "usage": {"dataUsage": "many"}} in records
    with pytest.raises(RuntimeError, match="unknown fields colour"):
        own.change_devices([bad], colour="red")
