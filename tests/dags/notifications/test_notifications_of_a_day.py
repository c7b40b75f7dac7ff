"""A day that fails, and the relay: one mail with the cause, or one call of a webhook; no secret, nothing twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from amop import ids
from sandbox.world.aws_resources import MAIL_FROM, MAIL_TO, sent_mails
from tests.worlds.dag_world import CANARY, TOKEN, Day

HOOK_TOKEN = "canary-hook-token-4711"


def mails(day: Day, kind: str) -> list[EmailMessage]:
    """Return the notifications of a kind that were mailed."""
    found = [message_from_string(mail["raw_data"], policy=default) for mail in sent_mails(day.aws)]
    return [mail for mail in found if mail["X-AMOP-Notification"] == kind]


def body(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def test_a_wrong_key_is_one_mail_that_says_what_to_do(day: Day) -> None:
    day.carrier.reject_api_key("api_jasper")
    run = day.run("device_sync_jasper", optimization="always")
    assert [day.run(ids.AMOP_RELAY_DAG).state for _ in range(2)] == ["success", "success"]
    (mail,) = mails(day, "sync_failed")
    assert mail["Subject"] == "AMOP: The sync failed: AT&T Control Center"
    assert (mail["From"], mail["To"]) == (MAIL_FROM, MAIL_TO.replace(";", ", "))
    content = body(mail)
    assert "connection carrier_jasper" in content
    assert "correct login and password of the connection that the error names" in content
    assert f"/dags/device_sync_jasper/runs/{run.run_id.replace(':', '%3A').replace('+', '%2B')}" in content
    assert CANARY not in str(mail) and TOKEN not in str(mail)
    (failed,) = day.rows("SELECT error FROM amop.device_sync_run")
    assert "the carrier refused the login of connection carrier_jasper (" in failed["error"]
    assert "api_jasper" not in failed["error"]  # docs/security.md: the warehouse has no name of an API user
    assert mails(day, "task_failed") == mails(day, "optimization_failed") == []
    assert CANARY not in str(day.rows("SELECT * FROM amop.notification"))


def test_a_good_day_is_a_summary_and_can_be_switched_off(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    assert day.run("device_sync_jasper").state == "success"
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFICATIONS_OFF", "sync_late; new_communication_plans")
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    (mail,) = mails(day, "sync_summary")
    assert "Device count: 60" in body(mail)
    assert mails(day, "sync_late") == []
    states = {row["kind"]: row["state"] for row in day.rows("SELECT kind, state FROM amop.notification")}
    assert states["sync_summary"] == "sent"
    assert states.get("sync_late", "off") == "off"


def test_a_task_without_a_run_of_its_own_is_told_of_once(day: Day) -> None:
    day.amop.fail(422, times=1, path=day.amop.sync_path)
    assert day.run("device_sync_jasper").state == "success"
    assert [day.run(ids.AMOP_RELAY_DAG).state for _ in range(3)] == ["failed", "success", "success"]
    (mail,) = mails(day, "task_failed")
    assert mail["Subject"] == "AMOP: A task failed"
    assert "amop_relay, task watch_and_deliver: messages that AMOP refused for good: 1;" in body(mail)


class Hook(BaseHTTPRequestHandler):
    """Keep what a webhook receives; answer with the status that is set."""

    received: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        """Receive a message."""
        length = int(self.headers["Content-Length"])
        type(self).received.append({"path": self.path, "json": json.loads(self.rfile.read(length))})
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    handler = type("OneHook", (Hook,), {"received": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_one_setting_sends_them_to_a_webhook_instead(
    day: Day, monkeypatch: pytest.MonkeyPatch, hook: tuple[type[Hook], str], caplog: pytest.LogCaptureFixture
) -> None:
    handler, address = hook
    alerts = {"conn_type": "http", "host": f"{address}/services/{HOOK_TOKEN}"}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps(alerts))
    setting = {
        "notifier": "airflow.providers.http.notifications.http.HttpNotifier",
        "arguments": {"http_conn_id": "alerts", "json": {"text": "{{ subject }}\n{{ first_step }}\n{{ link }}"}},
    }
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFIER", json.dumps(setting))
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFICATIONS_OFF", "sync_late")
    day.carrier.reject_api_key("api_jasper")
    day.run("device_sync_jasper")

    handler.status = 500
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    (row,) = day.rows("SELECT * FROM amop.notification WHERE kind = 'sync_failed'")
    assert (row["state"], row["attempts"]) == ("pending", 1)
    assert "500" in row["last_error"]
    assert HOOK_TOKEN not in row["last_error"]

    handler.status = 200
    day.rows("UPDATE amop.notification SET next_attempt_at = now() - interval '1 minute' RETURNING id")
    for _ in range(2):
        assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    first, second = handler.received
    assert first == second
    assert first["path"].startswith(f"/services/{HOOK_TOKEN}")
    subject, first_step, link = first["json"]["text"].splitlines()
    assert subject == "AMOP: The sync failed: AT&T Control Center"
    assert first_step.startswith("correct login and password of the connection")
    assert "/dags/device_sync_jasper/runs/" in link
    assert sent_mails(day.aws) == []
    assert CANARY not in caplog.text
