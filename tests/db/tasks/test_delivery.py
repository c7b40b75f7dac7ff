"""AMOP never fails a task: not by an error, not by the task's time limit, and not by the number of providers."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from amop.messages import delivery
from amop.messages.delivery import DeliveryReport
from amop.tasks import connections
from amop.tasks.connections import deliver_message, deliver_session_messages


class Client:
    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Outbox:
    """Stands for the delivery: remembers its calls and ends each as it is told."""

    def __init__(self, *outcomes: BaseException | int) -> None:
        self.outcomes, self.calls = list(outcomes), []  # type: ignore[var-annotated]

    def deliver(self, _conninfo: str, _client: Client, **which: Any) -> DeliveryReport:
        self.calls.append(which)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return DeliveryReport(1, 0, outcome, None)


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Outbox:
    outbox = Outbox(*request.param)
    monkeypatch.setattr(connections, "amop_client", Client)
    monkeypatch.setattr(connections, "warehouse_conninfo", lambda: "")
    monkeypatch.setattr(delivery, "deliver_outbox", outbox.deliver)
    return outbox


@pytest.mark.parametrize("outbox", [[AirflowTaskTimeout("time is up")], [OSError("reset")]], indirect=True)
def test_neither_an_error_nor_the_time_limit_of_a_delivery_fails_the_task(outbox: Outbox) -> None:
    deliver_message("daily_sync:1:1")
    assert outbox.calls == [{"dedupe_key": "daily_sync:1:1"}]


@pytest.mark.parametrize(
    "outbox", [[0, 1, 0], [0, AirflowTaskTimeout("time is up"), 0], [0, OSError("reset"), 0]], indirect=True
)
def test_while_amop_is_away_the_messages_of_further_sessions_are_left_to_the_relay(outbox: Outbox) -> None:
    deliver_session_messages(1, None, 2, 3)
    assert outbox.calls == [{"session_id": 1}, {"session_id": 2}]
