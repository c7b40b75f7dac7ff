"""Test the sandbox carrier over real HTTP: the vendor's calls, limits and errors, restarts and the command."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.carrier.catalogue import provider_of
from sandbox.carrier.client import CarrierClient
from sandbox.carrier.running import RunningCarrier, running_carrier

AS_OF = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
DEVICES = 230
CYCLE_START = "2026-10-18Z"


@pytest.fixture(scope="module")
def unlimited() -> Iterator[RunningCarrier]:
    """Run a carrier with two accounts that counts violations of the limits without enforcing them."""
    with running_carrier(
        devices_per_account=DEVICES, as_of=AS_OF, accounts=("jasper", "rogers"), limits_are_enforced=False
    ) as carrier:
        yield carrier


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


def test_pages_contain_every_sim_once_in_order_of_modification(unlimited: RunningCarrier) -> None:
    client = CarrierClient(unlimited)
    pages = [client.list_page(number).json() for number in range(1, 6)]
    assert [len(page["devices"]) for page in pages] == [50, 50, 50, 50, 30]
    assert [page["lastPage"] for page in pages] == [False] * 4 + [True]
    assert [page["pageNumber"] for page in pages] == [1, 2, 3, 4, 5]
    listed = [device for page in pages for device in page["devices"]]
    assert all(sorted(device) == ["communicationPlan", "iccid", "ratePlan", "status"] for device in listed)
    truth = unlimited.truth("api_jasper")["devices"]
    expected = sorted(truth, key=lambda device: (device["date_updated"], device["iccid"]))
    assert [device["iccid"] for device in listed] == [device["iccid"] for device in expected]
    assert [(d["status"], d["ratePlan"], d["communicationPlan"]) for d in listed] == [
        (d["status"], d["rate_plan"], d["communication_plan"]) for d in expected
    ]


def test_a_page_after_the_last_one_is_empty_and_marked_as_last(unlimited: RunningCarrier) -> None:
    assert CarrierClient(unlimited).list_page(6).json() == {"pageNumber": 6, "devices": [], "lastPage": True}


def test_modified_since_is_inclusive(unlimited: RunningCarrier) -> None:
    truth = sorted(unlimited.truth("api_jasper")["devices"], key=lambda device: device["date_updated"])
    since = truth[100]["date_updated"]
    expected = {device["iccid"] for device in truth if device["date_updated"] >= since}
    listed = CarrierClient(unlimited).whole_list(since.replace("+00:00", "Z"))
    assert {device["iccid"] for device in listed} == expected
    assert truth[100]["iccid"] in expected
    assert len(expected) < DEVICES


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"modifiedSince": "2026-01-01T00:00:00Z", "pageSize": 51}, "pageSize is 51, more than 50"),
        ({"modifiedSince": "2026-01-01T00:00:00Z", "pageNumber": 0}, "pageNumber is '0'"),
        ({"modifiedSince": "2026-01-01T00:00:00Z", "pageNumber": "x"}, "pageNumber is 'x'"),
        ({"modifiedSince": "2026-01-01"}, "modifiedSince is '2026-01-01'"),
        ({}, "modifiedSince is required"),
        ({"modifiedSince": "2026-01-01T00:00:00Z", "pagesize": 50}, "unknown parameters: pagesize"),
    ],
)
def test_an_invalid_list_request_is_refused_with_its_reason(
    unlimited: RunningCarrier, query: dict[str, Any], reason: str
) -> None:
    answer = CarrierClient(unlimited).get("/devices", **query)
    assert answer.status_code == 400
    assert reason in answer.json()["errorMessage"]


def test_wrong_key_unknown_user_and_missing_key_get_401(unlimited: RunningCarrier) -> None:
    for client in (CarrierClient(unlimited, key="wrong"), CarrierClient(unlimited, account="unknown")):
        answer = client.list_page(1)
        assert (answer.status_code, answer.json()["errorCode"]) == (401, "10000001")
    anonymous = CarrierClient(unlimited)
    anonymous.session.auth = None
    assert anonymous.list_page(1).status_code == 401


def test_an_account_sees_only_its_own_sims(unlimited: RunningCarrier) -> None:
    jasper = {device["iccid"] for device in unlimited.truth("api_jasper")["devices"]}
    rogers = {device["iccid"] for device in CarrierClient(unlimited, "api_rogers").whole_list()}
    assert len(jasper) == len(rogers) == DEVICES
    assert jasper.isdisjoint(rogers)
    answer = CarrierClient(unlimited, "api_rogers").get(f"/devices/{min(jasper)}")
    assert answer.status_code == 404
    assert min(jasper) in answer.json()["errorMessage"]


def test_details_and_single_usage_match_the_true_data(unlimited: RunningCarrier) -> None:
    client = CarrierClient(unlimited)
    for device in unlimited.truth("api_jasper")["devices"][:40]:
        details = client.get(f"/devices/{device['iccid']}").json()
        for key, name in (
            ("imsi", "imsi"),
            ("msisdn", "msisdn"),
            ("imei", "imei"),
            ("status", "status"),
            ("eid", "eid"),
        ):
            assert details[key] == device[name]
        if device["date_activated"] is None:
            assert details["dateActivated"] is None
        else:
            activated = datetime.fromisoformat(details["dateActivated"])
            assert activated == datetime.fromisoformat(device["date_activated"])
        usage = client.get(f"/devices/{device['iccid']}/ctdUsages").json()
        assert usage["ctdDataUsage"] == device["data_usage"]
        assert usage["ctdSMSUsage"] == device["sms_usage"]
        assert usage["ctdVoiceUsage"] == device["voice_usage"]
        assert usage["ctdSessionCount"] == device["session_count"]


def test_bulk_usage_of_all_plans_and_versions_sums_to_the_true_data_in_few_pages() -> None:
    with running_carrier(
        devices_per_account=2000, as_of=AS_OF, accounts=("jasper",), limits_are_enforced=False
    ) as carrier:
        client = CarrierClient(carrier)
        on_bulk_plans = [d for d in carrier.truth()["devices"] if "Shared" not in d["rate_plan"]]
        pages: dict[str, int] = {}
        for usage_type, counter in (("DATA", "data_usage"), ("SMS", "sms_usage")):
            used: Counter[str] = Counter()
            in_two_zones = pages[usage_type] = expected_pages = 0
            for plan in provider_of("jasper").rate_plans:
                if plan.is_shared:
                    continue
                for version in range(1, plan.version + 1):
                    found, page_count, split = client.whole_usage(plan.rate_plan_code, version, usage_type, CYCLE_START)
                    assert used.keys().isdisjoint(found)
                    used += found
                    pages[usage_type] += page_count
                    expected_pages += max(1, -(-len(found) // 50))
                    in_two_zones += split
            assert dict(used) == {d["iccid"]: d[counter] for d in on_bulk_plans if d[counter]}
            assert pages[usage_type] == expected_pages
            heavy = sum(d["roaming_data_usage"] > 0 for d in on_bulk_plans) if usage_type == "DATA" else 0
            assert in_two_zones == heavy
        assert 2000 - len(on_bulk_plans) <= 40, "SIMs on the shared plan need one call each"
        assert pages["DATA"] <= 50, "2,000 SIMs fill 40 pages, plus the partial pages of each plan and version"
        assert pages["SMS"] <= 25, "a third of the SIMs send messages"


def test_some_sims_are_on_the_old_version_of_a_plan(unlimited: RunningCarrier) -> None:
    client = CarrierClient(unlimited)
    old, _, _ = client.whole_usage("ATT 5 MB", 1, "DATA", CYCLE_START)
    new, _, _ = client.whole_usage("ATT 5 MB", 2, "DATA", CYCLE_START)
    assert 0 < len(old) < len(new)
    by_default = client.get("/usages", ratePlanName="ATT 5 MB").json()
    assert by_default["ratePlanVersion"] == 2


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ({"ratePlanName": "ATT Shared 2 GB"}, 400, "shared rate plan 'ATT Shared 2 GB'"),
        ({"ratePlanName": "No Such Plan"}, 404, "rate plan 'No Such Plan' does not exist"),
        ({}, 400, "ratePlanName is required"),
        ({"ratePlanName": "ATT 5 MB", "usageType": "MMS"}, 400, "usageType is 'MMS'"),
        ({"ratePlanName": "ATT 5 MB", "ratePlanVersion": 0}, 400, "ratePlanVersion is '0'"),
        ({"ratePlanName": "ATT 5 MB", "cycleStartDate": "18/10/2026"}, 400, "cycleStartDate is '18/10/2026'"),
        (
            {"ratePlanName": "ATT 5 MB", "cycleStartDate": "2026-10-19Z"},
            400,
            "the current one started on 2026-10-18",
        ),
    ],
)
def test_an_invalid_usage_request_is_refused_with_its_reason(
    unlimited: RunningCarrier, query: dict[str, Any], status: int, reason: str
) -> None:
    answer = CarrierClient(unlimited).get("/usages", **query)
    assert answer.status_code == status
    assert reason in answer.json()["errorMessage"]


@pytest.mark.parametrize("query", [{"ratePlanVersion": 3}, {"cycleStartDate": "2026-09-18Z"}, {"usageType": "VOICE"}])
def test_a_usage_query_without_results_is_an_empty_last_page(unlimited: RunningCarrier, query: dict[str, Any]) -> None:
    page = CarrierClient(unlimited).get("/usages", ratePlanName="ATT 5 MB", **query).json()
    assert (page["zones"], page["lastPage"]) == ([], True)


def test_the_sixth_call_in_a_second_gets_429_and_is_counted(enforced: RunningCarrier) -> None:
    client = CarrierClient(enforced)
    answers = [client.list_page(1) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[5].headers["Retry-After"] == "1"
    assert answers[5].json()["errorMessage"] == "more than 5 calls in a second"
    assert CarrierClient(enforced, "api_rogers").list_page(1).status_code == 200, "limits are per API user"
    time.sleep(1.05)
    assert client.list_page(1).status_code == 200
    stats = enforced.stats("api_jasper")
    assert stats["calls_by_endpoint"] == {"GET /devices": 7}
    assert stats["responses_by_status"] == {"200": 6, "429": 1}
    assert stats["violations_by_kind"] == {"rate": 1}
    assert stats["max_calls_in_any_second"] == 6
    assert stats["max_concurrent"] == 1
    assert enforced.stats()["violations"] == 1
    enforced.reset_stats()
    assert enforced.stats()["calls"] == 0


def test_a_second_call_at_the_same_time_gets_429_and_is_counted(enforced: RunningCarrier) -> None:
    enforced.add_fault(account="api_jasper", hang_seconds=3)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(CarrierClient(enforced).list_page, 1)
        while not enforced.stats("api_jasper").get("max_concurrent"):
            time.sleep(0.05)
        second = CarrierClient(enforced).list_page(1)
        other_account = CarrierClient(enforced, "api_rogers").list_page(1)
        assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
        assert other_account.status_code == 200
        assert first.result().status_code == 200
    stats = enforced.stats("api_jasper")
    assert (stats["violations_by_kind"], stats["max_concurrent"]) == ({"concurrent": 1}, 2)


def test_a_disconnected_client_leaves_no_call_in_flight(enforced: RunningCarrier) -> None:
    enforced.add_fault(hang_seconds=30)
    client = CarrierClient(enforced)
    with pytest.raises(requests.Timeout):
        client.get("/devices", timeout=0.3, modifiedSince="2026-01-01T00:00:00Z")
    assert client.list_page(1).status_code == 200
    assert enforced.stats("api_jasper")["violations"] == 0


def test_a_plan_change_moves_the_sim_to_the_end_of_the_list_and_to_the_current_version(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    before = client.whole_list()
    sim = next(d for d in before if d["ratePlan"] == "ATT 25 MB" and d["communicationPlan"] == "Fleet Tracking")
    answer = client.put(sim["iccid"], {"ratePlan": "ATT 5 MB"})
    assert (answer.status_code, answer.json()) == (200, {"iccid": sim["iccid"]})
    after = client.whole_list()
    assert after[-1] == sim | {"ratePlan": "ATT 5 MB"}
    assert after[:-1] == [d for d in before if d["iccid"] != sim["iccid"]]
    truth = {d["iccid"]: d for d in own.truth()["devices"]}
    assert truth[sim["iccid"]]["rate_plan_version"] == 2
    assert own.stats("api_jasper")["calls_by_endpoint"]["PUT /devices/{iccid}"] == 1


def test_an_invalid_plan_change_is_refused_and_changes_nothing(own: RunningCarrier) -> None:
    client = CarrierClient(own)
    sim = next(d for d in client.whole_list() if d["communicationPlan"] == "Telemetry LTE-M")
    truth = own.truth()
    for body, reason in [
        ({"ratePlan": "No Such Plan"}, "does not exist"),
        ({"ratePlan": "ATT 2 GB"}, "'Telemetry LTE-M' does not allow rate plan 'ATT 2 GB'"),
        ({"status": "RETIRED"}, "can only change ratePlan"),
        (["ratePlan"], "not a JSON object"),
    ]:
        answer = client.put(sim["iccid"], body)
        assert answer.status_code == 400
        assert reason in answer.json()["errorMessage"]
    assert client.put("8900000000000000000", {"ratePlan": "ATT 2 GB"}).status_code == 404
    retired = next(d for d in client.whole_list() if d["status"] == "RETIRED")
    answer = client.put(retired["iccid"], {"ratePlan": "ATT 5 MB"})
    assert (answer.status_code, "is retired" in answer.json()["errorMessage"]) == (400, True)
    assert own.truth() == truth


def test_usage_counters_can_be_set_to_the_end_of_the_period_and_back(own: RunningCarrier) -> None:
    before = own.truth()
    start, end = (datetime.fromisoformat(before[name]) for name in ("cycle_start", "cycle_end"))
    own.use_until(end - timedelta(milliseconds=1))
    after = own.truth()
    counters = {"data_usage", "sms_usage", "voice_usage", "session_count", "roaming_data_usage"}
    for old, new in zip(before["devices"], after["devices"], strict=True):
        assert all(old[name] <= new[name] for name in counters), old["iccid"]
        assert all(old[name] == new[name] for name in old.keys() - counters), old["iccid"]
    used = [sum(sim["data_usage"] for sim in truth["devices"]) for truth in (before, after)]
    assert used[0] / used[1] == pytest.approx((AS_OF - start) / (end - start), rel=0.02)
    with pytest.raises(RuntimeError, match="400.*not in the billing period of api_jasper"):
        own.use_until(end)
    own.use_until(AS_OF)
    assert own.truth() == before


def test_added_accounts_have_the_same_sims_and_change_independently(own: RunningCarrier) -> None:
    def add(like: str) -> requests.Response:
        body = {"users": ["api_first", "api_second"], "like": like, "device_count": 20}
        return requests.post(f"{own.base_url}/sandbox/accounts", json=body, timeout=10)

    assert add("api_unknown").status_code == 400
    assert add("api_jasper").status_code == 201
    first, second = (own.truth(user)["devices"] for user in ("api_first", "api_second"))
    assert len(first) == 20 and first == second
    assert own.truth("api_jasper")["devices"] != first
    own.use_until(AS_OF + timedelta(days=2), account="api_second")
    changed = own.truth("api_second")["devices"]
    assert sum(sim["data_usage"] for sim in changed) > sum(sim["data_usage"] for sim in first)
    assert own.truth("api_first")["devices"] == first
