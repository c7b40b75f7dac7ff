"""Reads of a session: query, headers, authentication, cookies and settings of each, prepared once."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from amop.carriers.http_reads import ReadSender

ADDRESS = "https://carrier.example/rws/api/v1/devices"
TIMEOUT = (5.0, 30.0)


class Recorder(BaseAdapter):
    """An adapter that answers at once and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.cookie = ""

    def send(self, request: requests.PreparedRequest, *args: Any, **settings: Any) -> requests.Response:
        self.sent.append((str(request.url), dict(request.headers), settings))
        response = requests.Response()
        response.status_code = 200
        if self.cookie:
            response.headers["Set-Cookie"] = self.cookie
        return response

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def session(recorder: Recorder) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.auth = ("user", "key-of-no-value")
    session.verify = "/etc/ca.pem"
    session.mount("https://", recorder)
    return session


def test_a_read_is_what_requests_would_send(session: requests.Session, recorder: Recorder) -> None:
    parameters: dict[str, str | int] = {
        "modifiedSince": "2026-10-20T00:00:00Z",
        "ratePlanName": "Zürich & 5 %",
        "pageSize": 50,
    }
    reads = ReadSender(session)
    reads.get(ADDRESS, parameters, {}, timeout=TIMEOUT)
    reads.get(ADDRESS, None, {}, timeout=TIMEOUT)
    session.get(ADDRESS, params=parameters, stream=True, allow_redirects=False, timeout=TIMEOUT)
    (url, headers, settings), (plain, _, _), (wanted_url, wanted_headers, wanted_settings) = recorder.sent
    assert (url, headers) == (wanted_url, wanted_headers)
    assert plain == ADDRESS
    assert headers["Authorization"].startswith("Basic ")
    assert settings == wanted_settings | {"proxies": settings["proxies"]}
    assert settings["verify"] == "/etc/ca.pem"


def test_the_headers_of_a_request_count_for_it_alone(session: requests.Session, recorder: Recorder) -> None:
    session.auth = None
    reads = ReadSender(session)
    for headers in ({"X-Token": "one"}, {"X-Token": "one"}, {"X-Token": "two"}, {}):
        reads.get(ADDRESS, {"page": 1}, headers, timeout=TIMEOUT)
    assert [headers.get("X-Token") for _, headers, _ in recorder.sent] == ["one", "one", "two", None]


def test_the_common_part_is_prepared_once(
    session: requests.Session, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    prepare = session.prepare_request

    def noted(request: requests.Request) -> requests.PreparedRequest:
        prepared.append(request)
        return prepare(request)

    monkeypatch.setattr(session, "prepare_request", noted)
    reads = ReadSender(session)
    for page in range(1, 6):
        reads.get(ADDRESS, {"page": page}, {}, timeout=TIMEOUT)
    assert len(prepared) == 1
    assert [url.rpartition("=")[2] for url, _, _ in recorder.sent] == ["1", "2", "3", "4", "5"]
