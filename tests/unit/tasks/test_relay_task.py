"""The relay does each of its steps whatever becomes of the others, and ends as the gravest error demands."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from amop.tasks import amop_relay
from amop.tasks.amop_relay import AmopAwayError, watch_and_deliver
from amop.tasks.task_failed import REACHED_WAREHOUSE

STEPS = [
    "end_stale_work",
    "export_gauges",
    "deliver_messages",
    "report_refused_messages",
    "deliver_reports",
    "notify_operators",
]
AWAY = AmopAwayError("AMOP has accepted no message since noon")
SKIP = AirflowSkipException("AMOP has accepted no message since noon")
REFUSED = AirflowFailException("AMOP refused 1 messages")
NO_WAREHOUSE = psycopg.OperationalError("connection refused")
NO_BUCKET = RuntimeError("no such bucket")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were done, and the values that the task pushed."""
    done: list[str] = []
    ti = SimpleNamespace(xcom_push=lambda *, key, value: done.append(f"{key}={value}"))
    monkeypatch.setattr(amop_relay, "get_current_context", lambda: {"ti": ti})
    for name in STEPS:
        monkeypatch.setattr(amop_relay, name, _step(name, done))
    return done


def _step(name: str, done: list[str], error: Exception | None = None) -> Callable[[], int]:
    def step() -> int:
        done.append(name)
        if error is not None:
            raise error
        return 3

    step.__name__ = name
    return step


def test_the_steps_are_done_in_their_order(done: list[str]) -> None:
    assert watch_and_deliver.function() == dict.fromkeys(STEPS, 3)
    assert done == STEPS


@pytest.mark.parametrize(
    ("failing", "gravest"),
    [
        ({"end_stale_work": NO_WAREHOUSE, "deliver_messages": NO_WAREHOUSE}, NO_WAREHOUSE),
        ({"deliver_messages": AWAY}, AWAY),
        ({"deliver_messages": SKIP}, SKIP),
        ({"deliver_messages": AWAY, "report_refused_messages": REFUSED}, REFUSED),
        ({"export_gauges": NO_BUCKET, "report_refused_messages": REFUSED}, REFUSED),
        ({"deliver_messages": SKIP, "deliver_reports": NO_BUCKET}, NO_BUCKET),
    ],
)
def test_no_error_keeps_the_other_steps_from_being_done(
    failing: dict[str, Exception], gravest: Exception, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, error in failing.items():
        monkeypatch.setattr(amop_relay, name, _step(name, done, error))
    with pytest.raises(type(gravest)) as raised:
        watch_and_deliver.function()
    assert raised.value is gravest
    reached = [] if NO_WAREHOUSE in failing.values() else [f"{REACHED_WAREHOUSE}=True"]
    assert done == STEPS + reached
