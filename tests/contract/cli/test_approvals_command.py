"""``bin/amop approvals`` over real HTTP against a stand-in for Airflow's API; the real one answers in tests/e2e."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from amop import ids
from amop.cli.approvals import AirflowApprovals, ApprovalError, app

TOKEN, PASSWORD = "canary-token-91", "canary-password-91"
DETAILS = "/api/v2/dags/~/dagRuns/~/hitlDetails"


def question(dag: str, run: str) -> dict[str, Any]:
    """Return a question as Airflow 3.3 shows it."""
    return {
        "subject": f"{dag}: apply 3 rate plan changes that save USD 6.00?",
        "body": f"Body of {run}",
        "created_at": "2026-11-10T12:00:00Z",
        "task_instance": {
            "dag_id": f"carrier_optimization_{dag}",
            "dag_run_id": run,
            "task_id": "approve_changes",
            "map_index": -1,
        },
    }


class Airflow:
    """What the stand-in answers, and what it was asked."""

    def __init__(self) -> None:
        self.questions = [question("jasper", "session_1"), question("rogers", "manual__2026-11-10T12:00:00+00:00")]
        self.failures: dict[str, tuple[int, Any]] = {}
        self.seen: list[tuple[str, str, dict[str, list[str]], Any, str]] = []

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method in self.failures and path.startswith("/api"):
            return self.failures[method]
        if path == "/auth/token":
            is_known = method == "GET" or body == {"username": "anna", "password": PASSWORD}
            return (201, {"access_token": TOKEN}) if is_known else (401, {"detail": "Invalid credentials"})
        if path == DETAILS:
            offset = int(query["offset"][0])
            page = self.questions[offset : offset + 1]  # one a page, whatever the limit
            return 200, {"hitl_details": page, "total_entries": len(self.questions)}
        return 200, {"responded_by": {"id": "1", "name": "anna"}, "chosen_options": body["chosen_options"]}


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    stand_in = Airflow()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            stand_in.seen.append((self.command, parts.path, query, body, self.headers.get("Authorization", "")))
            status, document = stand_in.answer(self.command, parts.path, query, body)
            content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in (ids.AIRFLOW_USER_SETTING, ids.AIRFLOW_PASSWORD_SETTING, "AIRFLOW__API__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(ids.AIRFLOW_URL_SETTING, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv(ids.AIRFLOW_TOKEN_SETTING, TOKEN)
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_approval_that_waits_is_listed_page_after_page(airflow: Airflow) -> None:
    assert run("list").splitlines() == [
        "carrier_optimization_jasper/session_1  since 2026-11-10 12:00 UTC  "
        "jasper: apply 3 rate plan changes that save USD 6.00?",
        "carrier_optimization_rogers/manual__2026-11-10T12:00:00+00:00  since 2026-11-10 12:00 UTC  "
        "rogers: apply 3 rate plan changes that save USD 6.00?",
    ]
    query = airflow.seen[0][2]
    assert query["response_received"] == ["false"]
    assert query["state"] == ["awaiting_input", "deferred"]
    assert (query["dag_id_prefix_pattern"], query["task_id"]) == (["carrier_optimization_"], ["approve_changes"])
    listed = json.loads(run("list", "--json"))
    assert [one["run_id"] for one in listed] == ["session_1", "manual__2026-11-10T12:00:00+00:00"]
    airflow.questions = []
    assert run("list") == "no approval request is pending\n"


def test_the_text_of_an_approval_is_shown_without_its_markdown(airflow: Airflow) -> None:
    airflow.questions[0]["body"] = (
        "Optimization of **AT\\&T\\_1** (1). Approval is required.\n\n| from | SIMs |\n|---|---:|\n| Large | 3 |\n\n"
        "**Approve** sends the changes."
    )
    shown = run("show", "session_1")
    assert "Optimization of AT&T_1 (1). Approval is required." in shown
    assert "Approve sends the changes." in shown
    assert [line.split() for line in shown.splitlines() if line.split()[:1] in (["from"], ["Large"])] == [
        ["from", "SIMs"],
        ["Large", "3"],
    ]
    assert not set("*|\\") & set(shown)


@pytest.mark.parametrize("name", ["session_1", "carrier_optimization_jasper/session_1"])
def test_an_approval_is_shown_and_answered_by_its_runs_name(airflow: Airflow, name: str) -> None:
    assert run("show", name) == "jasper: apply 3 rate plan changes that save USD 6.00?\n\nBody of session_1\n"
    assert run("approve", name, "--comment", "fine") == f"{name}: approve by anna\n"
    method, path, _, body, authorization = airflow.seen[-1]
    assert (method, authorization) == ("PATCH", f"Bearer {TOKEN}")
    assert path == (
        "/api/v2/dags/carrier_optimization_jasper/dagRuns/session_1/taskInstances/approve_changes/-1/hitlDetails"
    )
    assert body == {"chosen_options": ["Approve"], "params_input": {"comment": "fine"}}
    run("reject", name)
    assert airflow.seen[-1][3] == {"chosen_options": ["Reject"], "params_input": {"comment": ""}}


def test_a_run_id_is_quoted_in_the_address(airflow: Airflow) -> None:
    run("approve", "manual__2026-11-10T12:00:00+00:00")
    assert "/dagRuns/manual__2026-11-10T12%3A00%3A00%2B00%3A00/" in airflow.seen[-1][1]


def refused(airflow_call: Any) -> str:
    with pytest.raises(ApprovalError) as error:
        airflow_call()
    assert TOKEN not in str(error.value) and PASSWORD not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("status", "document", "text"),
    [
        (401, {"detail": "Invalid JWT"}, "Airflow refused the token (401): set a new AMOP_AIRFLOW_TOKEN"),
        (403, {"detail": "not a respondent"}, "this user may not answer (403): not a respondent"),
        (404, {"detail": "gone"}, "there is no such approval request (404): gone"),
        (409, {"detail": "already"}, "the request was answered already (409)"),
        (500, "<html>broken</html>", "Airflow returned 500: Internal Server Error"),
        (200, "<html>a portal</html>", "is not Airflow's API: set AMOP_AIRFLOW_URL"),
    ],
)
def test_an_answer_that_airflow_does_not_take_says_why(airflow: Airflow, status: int, document: Any, text: str) -> None:
    airflow.failures["PATCH"] = (status, document)
    assert text in refused(lambda: run("approve", "session_1"))


def test_a_run_that_does_not_wait_is_named_with_those_that_do(airflow: Airflow) -> None:
    text = refused(lambda: run("approve", "session_99"))
    assert "no approval request of run 'session_99' is pending" in text
    assert "Pending: carrier_optimization_jasper/session_1, carrier_optimization_rogers/manual" in text
    assert [method for method, *_ in airflow.seen] == ["GET", "GET"]


def test_one_run_id_in_two_dags_is_not_guessed(airflow: Airflow) -> None:
    airflow.questions.append(question("pod19", "session_1"))
    text = refused(lambda: run("reject", "session_1"))
    assert "carrier_optimization_jasper/session_1, carrier_optimization_pod19/session_1" in text
    run("reject", "carrier_optimization_pod19/session_1")


def test_a_token_is_asked_for_with_user_and_password_or_without(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ids.AIRFLOW_TOKEN_SETTING)
    run("list")
    assert airflow.seen[0][:2] == ("GET", "/auth/token")
    assert airflow.seen[-1][4] == f"Bearer {TOKEN}"
    monkeypatch.setenv(ids.AIRFLOW_USER_SETTING, "anna")
    monkeypatch.setenv(ids.AIRFLOW_PASSWORD_SETTING, "wrong")
    assert "gives no token (401); set AMOP_AIRFLOW_TOKEN" in refused(lambda: run("list"))
    monkeypatch.setenv(ids.AIRFLOW_PASSWORD_SETTING, PASSWORD)
    assert "session_1" in run("list")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://127.0.0.1:1", "Airflow cannot be reached at http://127.0.0.1:1"),
        ("http://airflow.example.com", "AMOP_AIRFLOW_URL: it has no TLS"),
        ("https://user:secret@airflow.example.com", "credentials belong in"),
    ],
)
def test_an_address_that_is_no_use_is_refused_before_a_token_leaves(address: str, text: str) -> None:
    assert text in refused(lambda: AirflowApprovals(address, token=TOKEN).pending())


def test_without_an_address_the_setting_is_named(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ids.AIRFLOW_URL_SETTING)
    assert "set AMOP_AIRFLOW_URL" in refused(lambda: run("list"))
