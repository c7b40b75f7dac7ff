"""The settings of the notifications, the yellow relay, and the failure of a task that nothing records."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from amop.messages import delivery
from amop.messages.delivery import DeliveryReport
from amop.notifications import collect
from amop.notifications.message import Message, build_message
from amop.notifications.store import PendingNotification
from amop.tasks import amop_relay, notifiers, task_failed
from amop.tasks.amop_relay import AmopAwayError, deliver_messages
from amop.tasks.notifiers import NotifierSettingError, kinds_off, sender, sync_due_hour

MESSAGE = build_message(
    [PendingNotification(1, "sync_failed", "P", "evil {{ 7 * 7 }}", "wait", "x", 0)], base_url="https://airflow"
)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("no json", "JSONDecodeError"),
        ("{}", "KeyError"),
        ("[]", "TypeError"),
        ('{"notifier": "no.such.module.Notifier"}', "ModuleNotFoundError"),
        ('{"notifier": "json.loads"}', "json.loads is not a notifier"),
    ],
)
def test_a_wrong_notifier_is_refused_by_name(setting: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFIER", setting)
    with pytest.raises(NotifierSettingError, match=reason):
        sender()


def test_a_webhook_without_tls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"http_conn_id": "alerts", "json": {"text": "{{ text }}"}}
    setting = {"notifier": "airflow.providers.http.notifications.http.HttpNotifier", "arguments": arguments}
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFIER", json.dumps(setting))
    send = sender()
    assert send is not None
    for host in ("http://chat.example/hook", "chat.example"):  # Airflow's hook would call the second by http, too
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps({"conn_type": "http", "host": host}))
        with pytest.raises(ValueError, match="it has no TLS"):
            send(MESSAGE)


def test_words_of_a_carrier_are_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "airflow.providers.http.notifications.http.HttpNotifier.notify", lambda self, context: seen.append(self.json)
    )
    arguments = {"json": {"text": "{{ text }}"}}
    setting = {"notifier": "airflow.providers.http.notifications.http.HttpNotifier", "arguments": arguments}
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFIER", json.dumps(setting))
    send = sender()
    assert send is not None
    send(MESSAGE)
    assert "evil {{ 7 * 7 }}" in seen[0]["text"]


def test_without_addresses_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_NOTIFIER", raising=False)
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_MAIL_TO", raising=False)
    assert sender() is None


@pytest.mark.parametrize("hour", ["24", "-1", "eight", "8.5", ""])
def test_a_wrong_hour_is_refused(hour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_SYNC_DUE_HOUR_LOCAL", hour)
    with pytest.raises(NotifierSettingError, match="must be an hour from 0 to 23"):
        sync_due_hour()


def test_a_wrong_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_NOTIFICATIONS_OFF", "sync_summary;nonsense")
    with pytest.raises(NotifierSettingError, match="'nonsense' is not a kind of notification"):
        kinds_off()


@pytest.mark.parametrize(("is_last", "error"), [(False, AmopAwayError), (True, AirflowSkipException)])
def test_the_relay_is_yellow_while_amop_is_away_and_does_not_fail(
    is_last: bool, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(amop_relay, "amop_client", Client)
    monkeypatch.setattr(amop_relay, "warehouse_conninfo", lambda: "")
    monkeypatch.setattr(amop_relay, "warehouse_now", lambda: datetime(2026, 11, 24, tzinfo=UTC))
    monkeypatch.setattr(amop_relay, "is_last_try", lambda: is_last)
    monkeypatch.setattr(delivery, "deliver_outbox", lambda *_: DeliveryReport(0, 0, 3, "503"))
    outages = ["AMOP has accepted no message since noon", None]
    monkeypatch.setattr(collect, "amop_outage", lambda *_, **__: outages.pop(0))
    with pytest.raises(error, match="AMOP has accepted no message since noon"):
        deliver_messages()
    assert deliver_messages() == 0  # AMOP is back


@pytest.mark.parametrize(
    ("dag_id", "task_id", "previous", "reached", "messages"),
    [
        ("amop_relay", "watch_and_deliver", None, False, 1),
        ("amop_relay", "watch_and_deliver", "success", False, 1),
        ("amop_relay", "watch_and_deliver", "failed", False, 0),  # operators were told in that run
        ("amop_relay", "watch_and_deliver", "failed", True, 1),  # that run failed because of a refused message
        ("device_sync_jasper", "select_providers", None, False, 0),  # the relay tells
    ],
)
def test_a_warehouse_that_is_away_is_told_of_once_by_the_relay(
    dag_id: str, task_id: str, previous: str | None, reached: bool, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Message] = []

    def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(task_failed, "_write", away)
    monkeypatch.setattr(notifiers, "sender", lambda: sent.append)
    before = None if previous is None else SimpleNamespace(state=previous, run_id="before")
    pushed = {(task_id, task_failed.REACHED_WAREHOUSE, "before"): True} if reached else {}
    ti = SimpleNamespace(
        dag_id=dag_id,
        run_id="r",
        task_id=task_id,
        get_previous_ti=lambda: before,
        xcom_pull=lambda *, task_ids, key, run_id: pushed.get((task_ids, key, run_id)),
    )
    context: Any = {"ti": ti, "task": SimpleNamespace(), "exception": psycopg.OperationalError("connection refused")}
    task_failed.TaskFailed().notify(context)
    assert len(sent) == messages
    assert all("amop_relay, task watch_and_deliver: connection refused" in message.text for message in sent)
