"""Test the sandbox AMOP over real HTTP: validation, idempotency keys, scripted failures and the record file."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.amop.running import RunningAmop, running_amop
from sandbox.amop.server import TOKEN_VARIABLE

ROOT = Path(__file__).resolve().parents[3]
GUID = "550e8400-e29b-41d4-a716-446655440000"
ADDITIONAL = {
    "BillPeriodId": 7,
    "SiteId": 0,
    "ServiceProviderId": 1,
    "OptimizationType": 0,
    "OptimizationFrom": "group",
    "BillingPeriodStartDate": "2026-10-18T22:00:00+00:00",
    "BillingPeriodEndDate": "2026-11-18T23:00:00+00:00",
    "DeviceCount": 1200,
    "TenantId": 1,
}


def progress_message(progress: int = 30, guid: str = GUID, **changes: Any) -> dict[str, Any]:
    """Return a valid progress message, with some keys of ``data`` replaced."""
    data = {
        "path": "/get_optimization_progress_bar_data",
        "job_name": "Progress",
        "SessionId": "2365",
        "OptimizationSessionGuid": guid,
        "ErrorMessage": None,
        "Progress": progress,
        "CustomerId": "",
        "AdditionalJson": json.dumps({"data": ADDITIONAL}),
        "DeviceCount": 1200,
    }
    return {"data": data | changes}


def error_message(text: str = "carrier refused the API key", **changes: Any) -> dict[str, Any]:
    """Return a valid error message, with some keys of ``data`` replaced."""
    job = {"path": "/get_optimization_error_details_data", "job_name": "ErrorMessage", "ErrorMessage": text}
    return progress_message(0, **(job | changes))


DAILY_SYNC = {"data": {"key_name": "jasper_devices", "tenant_id": "1", "tenant_name": "Acme IoT"}}


def post(
    amop: RunningAmop,
    body: Any,
    key: str | None = "key-1",
    *,
    path: str | None = None,
    token: str | None = None,
) -> requests.Response:
    """Send one message, bypassing any proxy."""
    headers = {} if key is None else {"Idempotency-Key": key}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with requests.Session() as session:
        session.trust_env = False
        address = f"{amop.base_url}{path or amop.progress_path}"
        return session.post(address, json=body, headers=headers, timeout=10)


@pytest.fixture
def amop() -> Iterator[RunningAmop]:
    """Run an AMOP for one test."""
    with running_amop() as running:
        yield running


def test_messages_are_recorded_in_order_with_key_and_body(amop: RunningAmop) -> None:
    bodies = [progress_message(0), progress_message(20), error_message()]
    for number, body in enumerate(bodies):
        assert post(amop, body, f"session:{number}").json() == {"status": "ok", "is_repeat": False}
    assert post(amop, DAILY_SYNC, "daily_sync:5:1", path=amop.sync_path).status_code == 200
    messages = amop.messages()
    assert [message["body"] for message in messages] == [*bodies, DAILY_SYNC]
    assert [message["number"] for message in messages] == [1, 2, 3, 4]
    assert [message["idempotency_key"] for message in messages][2:] == ["session:2", "daily_sync:5:1"]
    assert [message["kind"] for message in messages] == ["progress"] * 3 + ["daily_sync"]
    assert len(amop.messages("daily_sync")) == 1
    amop.clear_messages()
    assert amop.messages() == []


def test_a_repeated_message_is_stored_once_and_counted(amop: RunningAmop) -> None:
    for expected in (False, True, True):
        assert post(amop, progress_message()).json()["is_repeat"] is expected
    assert [message["repeats"] for message in amop.messages()] == [2]
    stats = amop.stats()
    assert (stats["messages"], stats["repeats"], stats["requests"]) == (1, 2, 3)


def test_the_same_key_with_another_body_is_a_conflict(amop: RunningAmop) -> None:
    assert post(amop, progress_message(20)).status_code == 200
    answer = post(amop, progress_message(30))
    assert answer.status_code == 409
    assert "key-1 was used for another message" in answer.json()["errors"][0]
    assert len(amop.messages()) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Progress": 35}, "Progress is 35, not one of"),
        ({"Progress": "30"}, "Progress is '30'"),
        ({"Progress": True}, "Progress is True"),
        ({"ErrorMessage": ""}, "ErrorMessage of a Progress is '', not null"),
        ({"job_name": "progress"}, "job_name is 'progress'"),
        ({"path": "/get_optimization_error_details_data"}, "path of job Progress is"),
        ({"SessionId": 2365}, "SessionId is 2365, not a string of digits"),
        ({"OptimizationSessionGuid": "2365"}, "OptimizationSessionGuid is '2365', not a GUID"),
        ({"CustomerId": None}, "CustomerId is None"),
        ({"DeviceCount": -1}, "DeviceCount is -1"),
        ({"AdditionalJson": {"data": ADDITIONAL}}, "AdditionalJson is a dict, not a JSON string"),
        ({"AdditionalJson": "{"}, "AdditionalJson is not JSON"),
        ({"Extra": 1}, "data.Extra is not an expected key"),
    ],
)
def test_an_invalid_progress_message_is_refused_with_the_reason(
    amop: RunningAmop, changes: dict[str, Any], reason: str
) -> None:
    answer = post(amop, progress_message(**changes))
    assert answer.status_code == 400
    assert any(reason in error for error in answer.json()["errors"])
    assert amop.messages() == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Progress": 20}, "Progress of an ErrorMessage is 20, not 0"),
        ({"ErrorMessage": None}, "ErrorMessage is empty"),
        ({"ErrorMessage": " "}, "ErrorMessage is empty"),
        ({"path": "/get_optimization_progress_bar_data"}, "path of job ErrorMessage is"),
    ],
)
def test_an_invalid_error_message_is_refused_with_the_reason(
    amop: RunningAmop, changes: dict[str, Any], reason: str
) -> None:
    answer = post(amop, error_message(**changes))
    assert answer.status_code == 400
    assert any(reason in error for error in answer.json()["errors"])


@pytest.mark.parametrize("key", sorted(ADDITIONAL))
def test_additional_json_needs_every_key(amop: RunningAmop, key: str) -> None:
    less = {name: value for name, value in ADDITIONAL.items() if name != key}
    answer = post(amop, progress_message(AdditionalJson=json.dumps({"data": less})))
    assert answer.status_code == 400
    assert f"AdditionalJson.data.{key} is missing" in answer.json()["errors"]


def test_additional_json_values_are_checked(amop: RunningAmop) -> None:
    wrong = ADDITIONAL | {"DeviceCount": 1199, "BillPeriodId": "7", "BillingPeriodEndDate": "soon"}
    answer = post(amop, progress_message(AdditionalJson=json.dumps({"data": wrong})))
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        "AdditionalJson.data.BillPeriodId is '7', not an integer of at least 0",
        "AdditionalJson.data.BillingPeriodEndDate is 'soon', not an ISO 8601 time",
        "DeviceCount is 1200, but 1199 in AdditionalJson",
    ]


@pytest.mark.parametrize("key", sorted(progress_message()["data"]))
def test_a_progress_message_needs_every_key(amop: RunningAmop, key: str) -> None:
    body = progress_message()
    del body["data"][key]
    answer = post(amop, body)
    assert answer.status_code == 400
    assert f"data.{key} is missing" in answer.json()["errors"]


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        (lambda data: data.pop("tenant_name"), "data.tenant_name is missing"),
        (lambda data: data.update(tenant_id=1), "tenant_id is 1, not a string of digits"),
        (lambda data: data.update(key_name="devices"), "key_name is 'devices'"),
        (lambda data: data.update(extra=1), "data.extra is not an expected key"),
    ],
)
def test_an_invalid_daily_sync_notice_is_refused_with_the_reason(
    amop: RunningAmop, corrupt: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    body = copy.deepcopy(DAILY_SYNC)
    corrupt(body["data"])
    answer = post(amop, body, path=amop.sync_path)
    assert answer.status_code == 400
    assert any(reason in error for error in answer.json()["errors"])


def test_malformed_bodies_and_missing_idempotency_keys_are_refused(amop: RunningAmop) -> None:
    assert post(amop, progress_message(), key=None).json()["errors"] == ["the header Idempotency-Key is missing"]
    malformed: list[Any] = [[], {}, {"data": []}, {"data": {}, "more": 1}, None]
    for body in malformed:
        assert post(amop, body).status_code == 400
    assert post(amop, DAILY_SYNC).status_code == 400, "a notice sent to the progress path"
    stats = amop.stats()
    assert stats["responses_by_status"] == {"400": 7}
    assert len(stats["refusals"]) == 7


def test_a_configured_bearer_token_is_required() -> None:
    with running_amop(token="canary-token") as amop:
        assert post(amop, progress_message()).status_code == 401
        assert post(amop, progress_message(), token="wrong").status_code == 401
        assert post(amop, progress_message(), token="canary-token").status_code == 200
        assert len(amop.messages()) == 1
        assert "canary-token" not in json.dumps(amop.stats())


def test_scripted_failures_refuse_the_next_requests_and_record_nothing(amop: RunningAmop) -> None:
    amop.fail(503, times=2, retry_after=7)
    answers = [post(amop, progress_message()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert [message["repeats"] for message in amop.messages()] == [0]


def test_failures_can_last_until_recovery_and_apply_to_one_path(amop: RunningAmop) -> None:
    amop.fail(500, times=None, path=amop.progress_path)
    assert [post(amop, progress_message()).status_code for _ in range(5)] == [500] * 5
    assert post(amop, DAILY_SYNC, "key-2", path=amop.sync_path).status_code == 200
    amop.recover()
    assert post(amop, progress_message()).status_code == 200
    with pytest.raises(RuntimeError, match="answered 400"):
        amop.fail(200)


def test_the_record_file_restores_messages_and_repeats_after_a_restart(tmp_path: Path) -> None:
    record = tmp_path / "amop.jsonl"
    with running_amop(record_file=record) as amop:
        post(amop, progress_message(0), "a")
        post(amop, progress_message(20), "b")
        post(amop, progress_message(20), "b")
        before = amop.messages()
    with running_amop(record_file=record) as amop:
        assert amop.messages() == before
        assert [message["repeats"] for message in before] == [0, 1]
        assert post(amop, progress_message(0), "a").json()["is_repeat"] is True
        assert post(amop, progress_message(30), "c").json()["is_repeat"] is False
        assert [message["number"] for message in amop.messages()] == [1, 2, 3]
    assert len(record.read_text().splitlines()) == 5
    record.write_text("not a record\n")
    with pytest.raises(ValueError, match=r"line 1: not a recorded message"), running_amop(record_file=record):
        pass


def test_sessions_show_progress_errors_and_broken_order(amop: RunningAmop) -> None:
    good, skipping, continuing = (f"550e8400-e29b-41d4-a716-44665544000{digit}" for digit in (1, 2, 3))
    for step in (0, 20, 30, 40, 50, 100):
        post(amop, progress_message(step, good), f"good:{step}")
    for step in (0, 30):
        post(amop, progress_message(step, skipping), f"skipping:{step}")
    post(amop, progress_message(0, continuing), "continuing:0")
    post(amop, error_message("no devices", OptimizationSessionGuid=continuing), "continuing:error")
    post(amop, progress_message(20, continuing), "continuing:20")
    sessions = amop.sessions()
    assert sessions[good] == {
        "session_id": "2365",
        "progress": [0, 20, 30, 40, 50, 100],
        "errors": [],
        "order_errors": [],
    }
    assert "progress was [0, 30]" in sessions[skipping]["order_errors"][0]
    assert sessions[continuing]["errors"] == ["no devices"]
    assert sessions[continuing]["order_errors"] == ["1 messages followed an ErrorMessage"]


def test_paths_are_configurable() -> None:
    with running_amop(progress_path="/p", sync_path="/s") as amop:
        assert post(amop, progress_message(), path="/p").status_code == 200
        assert post(amop, DAILY_SYNC, "key-2", path="/s").status_code == 200
        assert post(amop, progress_message(), path="/api/optimization_progress").status_code == 404


def test_the_command_serves_until_sigterm_and_never_prints_the_token() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.amop", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {TOKEN_VARIABLE: "canary-91ab"},
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert "sandbox AMOP ready: http://127.0.0.1:" in ready
        with requests.Session() as session:
            session.trust_env = False
            address = ready.split("ready: ")[1].strip()
            assert session.post(f"{address}/api/daily_sync", json=DAILY_SYNC, timeout=10).status_code == 401
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "canary-91ab" not in ready + rest
