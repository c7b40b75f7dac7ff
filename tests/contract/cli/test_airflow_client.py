"""The client of Airflow's REST API over real HTTP: what it sends to clear task instances, and what it understands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from amop.cli.airflow_client import AirflowClient, AirflowError

RUN = "manual__2026-11-10T12:00:00+00:00"
QUOTED = "/api/v2/dags/device_sync_jasper/dagRuns/manual__2026-11-10T12%3A00%3A00%2B00%3A00"


class Server:
    """What Airflow answers, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []


@pytest.fixture
def server() -> Iterator[Server]:
    played = Server()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            played.asked.append((self.command, self.path, json.loads(self.rfile.read(length)) if length else None))
            status, document = played.answers.pop(0)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    played.address = f"http://127.0.0.1:{http.server_port}"
    yield played
    http.shutdown()
    thread.join()
    http.server_close()


def test_exactly_the_named_instances_of_one_run_are_cleared(server: Server) -> None:
    instances = [("sync.fetch_usage", 1), ("cleanup.wait_for_staging", 1)]
    cleared = [{"task_id": task_id, "map_index": index} for task_id, index in instances]
    server.answers = [(200, {"task_instances": cleared, "total_entries": 2})]
    assert AirflowClient(server.address, token="t").clear("device_sync_jasper", RUN, instances) == instances
    ((method, path, body),) = server.asked
    assert (method, path) == ("POST", "/api/v2/dags/device_sync_jasper/clearTaskInstances")
    assert body == {
        "dry_run": False, "dag_run_id": RUN, "task_ids": [["sync.fetch_usage", 1], ["cleanup.wait_for_staging", 1]],
        "only_failed": False, "reset_dag_runs": True,
    }  # fmt: skip


def test_a_run_that_was_deleted_is_told_from_one_that_may_not_be_read(server: Server) -> None:
    server.answers = [(200, {"dag_run_id": RUN}), (404, {"detail": "gone"}), (403, {"detail": "no"})]
    client = AirflowClient(server.address, token="t")
    assert client.has_run("device_sync_jasper", RUN)
    assert not client.has_run("device_sync_jasper", RUN)
    with pytest.raises(AirflowError, match=r"may not do that \(403\)"):
        client.has_run("device_sync_jasper", RUN)
    assert server.asked == [("GET", QUOTED, None)] * 3


@pytest.mark.parametrize("value", [[{"run_id": 7}], '[{"run_id": 7}]'], ids=["as JSON", "as text"])
def test_what_a_task_returned_is_read(server: Server, value: Any) -> None:
    server.answers = [(200, {"key": "return_value", "value": value})]
    client = AirflowClient(server.address, token="t")
    assert client.returned_value("device_sync_jasper", RUN, "select_providers") == [{"run_id": 7}]
    path = f"{QUOTED}/taskInstances/select_providers/xcomEntries/return_value?stringify=false"
    assert server.asked == [("GET", path, None)]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "Airflow has no such run or task (404): gone"),
        (403, "this user may not do that (403): gone"),
        (401, "Airflow refused the token (401): set a new AMOP_AIRFLOW_TOKEN"),
        (500, "Airflow returned 500: gone"),
    ],
)
def test_a_refusal_says_why_and_what_to_set(server: Server, status: int, text: str) -> None:
    server.answers = [(status, {"detail": "gone"})]
    with pytest.raises(AirflowError) as error:
        AirflowClient(server.address, token="t").clear("device_sync_jasper", RUN, [])
    assert str(error.value) == text
