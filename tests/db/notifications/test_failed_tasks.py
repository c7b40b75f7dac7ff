"""Failed tasks and rejected queue messages: one notification for each cause."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amop.notifications import rules
from amop.notifications.collect import add_failed_task
from tests.worlds.notifications_world import NotificationsWorld
from tests.worlds.optimization_world import NOW


def test_a_task_whose_failure_is_in_its_run_or_session_is_not_reported_again(world: NotificationsWorld) -> None:
    run_id = world.add_run(error="the key was refused", dag_run_id="today")
    session_id = world.add_session(status="failed", error="no plans", ended_at=NOW)

    def failed(error: str, run: int | None = None, session: int | None = None, dag_run_id: str = "today") -> bool:
        return add_failed_task(
            world.dsn,
            rules.of_failed_task("device_sync_jasper", dag_run_id, "archive_pages", "AT&T", error, NOW.date()),
            error=error,
            run_id=run,
            session_id=session,
            dag_run=("device_sync_jasper", dag_run_id),
            now=NOW,
            is_off=False,
        )

    assert not failed("run 1 is failed: the key was refused", run=run_id)
    assert not failed("the key was refused")
    assert not failed("instance ended", session=session_id)
    assert not failed("no plans", dag_run_id="other")
    assert failed("the archive cannot be written: disk 1 is full")
    assert not failed("the archive cannot be written: disk 2 is full", dag_run_id="other")  # the same cause, once a day
    world.deliver()
    ((kind, text),) = [(message.kind, message.text) for message in world.inbox]
    assert kind == "task_failed"
    assert "device_sync_jasper, task archive_pages: the archive cannot be written: disk 1 is full" in text


@pytest.mark.parametrize("work", ["run", "session"])
def test_a_failed_task_that_does_not_know_its_provider_is_reported_with_the_provider_of_its_work(
    world: NotificationsWorld, work: str
) -> None:
    found = {"run": None, "session": None} | {
        work: world.add_run(dag_run_id="today", status="running") if work == "run" else world.add_session()
    }
    assert add_failed_task(
        world.dsn,
        rules.of_failed_task("carrier_optimization_jasper", "today", "write_workbook", "", "no disk", NOW.date()),
        error="no disk",
        run_id=found["run"],
        session_id=found["session"],
        dag_run=("carrier_optimization_jasper", "today"),
        now=NOW,
        is_off=False,
    )
    (row,) = world.execute("SELECT provider FROM amop.notification")
    (provider,) = world.execute("SELECT name FROM amop.service_provider WHERE id = 1")
    assert row["provider"] == provider["name"]


def reject(world: NotificationsWorld, message_id: str, reason: str, *, hours_ago: float = 1) -> None:
    world.execute(
        "INSERT INTO amop.queue_message"
        " (message_id, dag_run_id, outcome, reason, attributes, body, received_at, last_received_at)"
        " VALUES (%s, 'asset_triggered', 'rejected', %s, '{}', '{}', %s, %s)",
        message_id,
        reason,
        *[NOW - timedelta(hours=hours_ago)] * 2,
    )


def test_many_rejected_queue_messages_of_one_cause_are_one_message_a_day(world: NotificationsWorld) -> None:
    for number in range(30):
        reason = f"message attribute IntegrationType is 'typo {number}'; allowed: a number of up to 9 digits"
        reject(world, f"m{number:02}", reason)
    ((kind, text),) = world.send_all()
    assert kind == "queue_messages_rejected"
    assert "message attribute IntegrationType is 'typo 0'; allowed: a number of up to 9 digits" in text
    assert "Rejected so far: 30 (m00, m01, " in text and "m19 and 10 more)" in text
    assert "https://airflow/dags/device_notification/runs/asset_triggered" in text
    reject(world, "m30", "message attribute IntegrationType is 'another'; allowed: a number of up to 9 digits")
    assert len(world.send_all()) == 1
    reject(world, "m31", "message attribute ServiceProviderId is missing")
    assert len(world.send_all()) == 2  # another cause
    reject(world, "m32", "message attribute IntegrationType is 'x'; allowed: a number of up to 9 digits", hours_ago=15)
    assert len(world.send_all()) == 3  # the same cause, on another day


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("provider 5 is not one of Jasper", "provider 88 is not one of Jasper", True),
        ("providers 5, 6 do not exist", "providers 7 do not exist", True),
        ("line 2: 'Larg' is no rate plan", "line 3: 'Smal' is no rate plan", True),
        ('"a" and "b" are no plans', '"c" are no plans', True),
        (
            "messages that AMOP refused for good: 1; see `bin/amop status`; daily_sync:7:1: AMOP answered 422: no",
            "messages that AMOP refused for good: 1,200; see `bin/amop status`; daily_sync:8:1: AMOP answered 422: no; "
            "daily_sync:9:2: AMOP answered 422: no",
            True,
        ),
        ("the carrier's key is refused, it's wrong", "the carrier's list is empty, it's wrong", False),
    ],
)
def test_typos_in_a_form_are_one_message_a_day_whatever_was_typed(
    world: NotificationsWorld, first: str, second: str, is_one: bool
) -> None:
    keys = {
        rules.of_failed_task("what_if_jasper", "run", "compute_what_if", "", error, NOW.date()).dedupe_key
        for error in (first, second)
    }
    assert len(keys) == (1 if is_one else 2)
