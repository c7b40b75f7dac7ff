"""Every event that operators must know of leads to one message, once, whatever sends it and however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from amop.maintenance.retention import delete_expired_messages
from amop.notifications import rules
from amop.notifications.collect import add_failed_task, amop_outage, collect
from amop.notifications.deliver import FIRST_DELAY, MOST_ATTEMPTS, deliver, unsent
from amop.notifications.message import Message
from tests.worlds.optimization_world import NOW, OptimizationWorld

NOBODY: frozenset[str] = frozenset()
MIDNIGHT_HOUR = 23
"""A due hour that `NOW` has not reached: no sync is late unless a test says so."""


class World(OptimizationWorld):
    """Two providers, and an inbox."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, currency="USD")
        self.insert(
            "service_provider",
            id=2,
            tenant_id=1,
            integration_id=2,
            name="POD19",
            connection_id="pod19",
            time_zone="America/Chicago",
        )
        self.inbox: list[Message] = []

    def collect(self, *, now: datetime = NOW, off: frozenset[str] = NOBODY, due_hour: int = MIDNIGHT_HOUR) -> int:
        return collect(self.dsn, now=now, off=off, due_hour=due_hour)

    def deliver(self, *, now: datetime = NOW, error: Exception | None = None) -> None:
        def send(message: Message) -> None:
            if error is not None:
                raise error
            self.inbox.append(message)

        deliver(self.dsn, send, base_url="https://airflow", now=now)

    def tell(self) -> list[tuple[str, str]]:
        """Collect and deliver twice; return kinds and texts of what arrived."""
        for _ in range(2):
            self.collect()
            self.deliver()
        return [(message.kind, message.text) for message in self.inbox]

    def add_run(self, provider_id: int = 1, **values: Any) -> int:
        usual: dict[str, Any] = {
            "service_provider_id": provider_id,
            "dag_id": "device_sync_jasper",
            "dag_run_id": f"run {provider_id}",
            "is_full": True,
            "status": "failed",
            "billing_period_id": self.billing_period_id,
            "started_at": NOW - timedelta(hours=2),
            "ended_at": NOW - timedelta(hours=1),
        }
        return int(self.insert("device_sync_run", **(usual | values)))

    def add_session(self, **values: Any) -> int:
        usual = {
            "service_provider_id": 1,
            "billing_period_id": self.billing_period_id,
            "opened_by": f"test {len(values)} {values.get('status')}",
        }
        return int(self.insert("optimization_session", **(usual | values)))


@pytest.fixture
def world(warehouse_dsn: str) -> World:
    return World(warehouse_dsn)


def test_a_failed_sync_is_told_of_once_with_cause_first_step_and_link(world: World) -> None:
    session_id = world.add_session(status="failed", error="refused", ended_at=NOW)
    world.add_run(error="AT&T: the carrier refused the login of connection c (401)", optimization_session_id=session_id)
    ((kind, text),) = world.tell()
    assert kind == "sync_failed"
    assert "AT&T: the carrier refused the login of connection c (401)" in text
    assert "https://airflow/dags/device_sync_jasper/runs/run%201" in text
    assert "What to do first: correct login and password of the connection that the error names" in text


def test_a_trial_of_one_task_that_was_taken_over_is_no_failed_sync(world: World) -> None:
    world.add_run(dag_run_id="__airflow_temporary_run_1", error="is a trial of one task and was taken over by monday")
    assert world.tell() == []


def test_a_sync_that_fails_again_after_it_was_resumed_is_no_failed_optimization(world: World) -> None:
    """Each try of the sync has a session of its own, and each of these fails with it."""
    first, second, third = (
        world.add_session(status="failed", error="refused", opened_by=f"device_sync_jasper/run 1{number}", ended_at=NOW)
        for number in ("", "#2", "#3")
    )
    run_id = world.add_run(error="refused", optimization_session_id=third)
    assert [kind for kind, _ in world.tell()] == ["sync_failed"]
    world.execute("UPDATE amop.device_sync_run SET status = 'running', ended_at = NULL WHERE id = %s", run_id)
    assert len(world.tell()) == 1  # it was resumed again
    complete = "UPDATE amop.device_sync_run SET status = 'complete', ended_at = %s WHERE id = %s"
    world.execute(complete, NOW + timedelta(minutes=5), run_id)
    assert len(world.tell()) == 1
    world.execute(complete, NOW - timedelta(minutes=5), run_id)  # these sessions failed on their own, after it
    assert [kind for kind, _ in world.tell()] == ["sync_failed", "optimization_failed"]
    assert len({first, second, third}) == 3


def test_a_failed_sync_whose_dag_run_was_deleted_is_answered_by_a_new_run(world: World) -> None:
    world.add_run(1, error="AT&T: disk full", dag_run_deleted_at=NOW)
    world.add_run(2, error="POD19: disk full", dag_id="device_sync_pod19")
    texts = [text for _, text in world.tell()]
    assert len(texts) == 2
    command = "airflow dags trigger device_sync_jasper --conf '{\"service_provider_ids\": [1]}'"
    assert f"What to do first: remove the cause that the error names, then trigger a new run: {command}." in texts[0]
    assert "then clear that task with its downstream tasks" in texts[1]
    world.execute("UPDATE amop.optimization_session SET dag_run_deleted_at = %s", NOW)
    world.add_session(status="failed", error="no proof", ended_at=NOW, dag_run_deleted_at=NOW)
    command = "airflow dags trigger carrier_optimization_jasper --conf '{\"service_provider_id\": 1}'"
    assert f"then trigger a new run: {command}." in world.tell()[-1][1]


def test_two_providers_with_one_cause_are_one_message(world: World) -> None:
    world.add_run(1, error="AT&T (1), run 7: the device list is empty")
    world.add_run(2, error="POD19 (2), run 8: the device list is empty", status="refused")
    ((_, text),) = world.tell()
    assert "AT&T" in text and "POD19" in text
    assert world.inbox[0].subject == "AMOP: The sync failed: AT&T, POD19"


def test_a_failed_session_is_told_of_where_no_sync_failed_with_it(world: World) -> None:
    session_id = world.add_session(status="failed", error="One or more Rate Plans are invalid", ended_at=NOW)
    ((kind, text),) = world.tell()
    assert kind == "optimization_failed"
    assert f"https://airflow/amop/session/{session_id}" in text


def test_events_of_more_than_a_day_ago_replays_and_cleared_runs_are_not_told_of(world: World) -> None:
    old = world.add_run(ended_at=NOW - timedelta(hours=25))
    world.add_run(dag_run_id="replay", replayed_run_id=old)
    world.add_run(dag_run_id="cleared", status="running", ended_at=None)
    assert world.tell() == []


def test_new_communication_plans_are_one_message_with_their_names(world: World) -> None:
    for name in ("Meters", "Cameras"):
        world.insert("communication_plan", service_provider_id=1, name=name, added_at=NOW)
    world.add_rate_plan("Small", "1", "1")
    world.add_communication_plan("Mapped", ["Small"])
    ((kind, text),) = world.tell()
    assert kind == "new_communication_plans"
    assert (
        "2 new communication plans need to be associated to rate plans in order to optimize or deactivate devices: "
        "Cameras, Meters" in text
    )


def test_the_sync_summary_has_the_figures_of_the_replaced_system(world: World) -> None:
    world.add_run(
        status="complete",
        summary=Jsonb(
            {
                "detail_last_sync_date": "2026-11-03T08:30:00+00:00",
                "detail_queue_count": 1200,
                "detail_updated_count": 34,
                "usage_last_sync_date": "2026-11-03T08:30:00+00:00",
                "usage_queue_count": 5,
                "usage_updated_count": 900,
                "device_count": 1199,
                "devices_quarantined": 1,
                "usage_quarantined": 0,
                "warnings": ["usage fell"],
            }
        ),
    )
    ((kind, text),) = world.tell()
    assert kind == "sync_summary"
    assert [line.strip() for line in text.splitlines() if ": " in line][:9] == [
        "Device detail last sync date: 2026-11-03 08:30 UTC",
        "Device detail queue count: 1,200",
        "Device detail updated count: 34",
        "Device usage last sync date: 2026-11-03 08:30 UTC",
        "Device usage queue count: 5",
        "Device usage updated count: 900",
        "Device count: 1,199",
        "Quarantined SIMs: 1",
        "Warning: usage fell",
    ]


def test_missing_sims_and_an_exceeded_limit_are_two_messages(world: World) -> None:
    session_id = world.add_session(status="complete", progress=100, ended_at=NOW)
    instance_id = world.insert(
        "optimization_instance",
        session_id=session_id,
        run_status="complete_with_success",
        device_count=7,
        expected_device_count=10,
        ended_at=NOW,
        warning="Something else\nOnly 7 of 10 expected SIMs were placed: 3 are on Meters",
    )
    world.execute("UPDATE amop.service_provider SET rate_plan_limit = 2 WHERE id = 1")
    world.insert(
        "optimization_comm_group",
        instance_id=instance_id,
        group_key="1,2,3",
        rate_plan_ids=[1, 2, 3],
        communication_plans=["Meters"],
        outcome="limit_exceeded",
    )
    told = dict(world.tell())
    assert set(told) == {"sims_not_placed", "rate_plan_limit_exceeded"}
    assert "Only 7 of 10 expected SIMs were placed: 3 are on Meters" in told["sims_not_placed"]
    assert (
        "1 comm group has more rate plans (up to 3) than the provider's limit of 2"
        in (told["rate_plan_limit_exceeded"])
    )


def test_conflicts_of_plan_changes_are_told_of_when_the_changes_have_ended(world: World) -> None:
    session_id = world.add_session(status="complete", progress=100, ended_at=NOW)
    instance_id = world.insert(
        "optimization_instance",
        session_id=session_id,
        run_status="complete_with_success",
        changes_status="approved",
        changes_decided_at=NOW,
        ended_at=NOW,
    )
    for number, state in enumerate(("conflict", "conflict", "failed", "applied")):
        sim = world.insert("device", service_provider_id=1, iccid=f"8901170000000000{number:04}", status="ACTIVATED")
        error = "SIM is on plan Other" if state == "conflict" else None
        world.insert(
            "rate_plan_change", instance_id=instance_id, device_id=sim, to_rate_plan="B", state=state, error=error
        )
    assert world.tell() == []
    world.execute("UPDATE amop.optimization_instance SET changes_status = 'applied'")
    ((kind, text),) = world.tell()
    assert kind == "plan_change_conflicts"
    assert "2 plan changes met another plan at the carrier and were not sent, 1 failed; for example: SIM is on" in text


def test_a_sync_that_is_not_complete_by_the_local_hour_is_told_of_once(world: World) -> None:
    world.add_run(1, status="complete", started_at=NOW - timedelta(hours=9), summary=None)
    at_nine = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)  # 09:00 in Chicago
    assert world.collect(now=at_nine - timedelta(minutes=1), due_hour=9) == 0
    for minutes in (0, 5, 300):
        world.collect(now=at_nine + timedelta(minutes=minutes), due_hour=9)
        world.deliver(now=at_nine + timedelta(minutes=minutes))
    (message,) = world.inbox
    assert (message.kind, [entry.provider for entry in message.entries]) == ("sync_late", ["POD19"])
    assert "see whether device_sync_pod19 is paused" in message.text


def test_amop_that_is_away_for_15_minutes_is_told_of_once(world: World) -> None:
    world.insert(
        "amop_outbox",
        kind="daily_sync",
        dedupe_key="k",
        payload=Jsonb({}),
        attempts=4,
        last_error="AMOP answered 503",
        created_at=NOW - timedelta(minutes=15),
    )
    before = NOW - timedelta(seconds=1)
    assert (world.collect(now=before), amop_outage(world.dsn, now=before)) == (0, None)
    assert "Last error: AMOP answered 503" in str(amop_outage(world.dsn, now=NOW))
    ((kind, text),) = world.tell()
    assert kind == "amop_away"
    assert "AMOP has accepted no message since 2026-11-03" in text


def test_messages_that_were_never_tried_are_no_outage(world: World) -> None:
    created_at = NOW - timedelta(hours=1)
    world.insert("amop_outbox", kind="daily_sync", dedupe_key="k", payload=Jsonb({}), created_at=created_at)
    assert world.tell() == []


def test_a_carrier_that_is_away_for_15_minutes_is_told_of_once_in_each_outage(world: World) -> None:
    world.execute(
        "INSERT INTO amop.carrier_api_user (api_user, account, failures, failing_since, last_failure) "
        "VALUES ('hash', 'POD19 (connection pod19)', 9, %s, 'the carrier returned 503')",
        NOW - timedelta(minutes=15),
    )
    ((kind, text),) = world.tell()
    assert kind == "carrier_away"
    assert "POD19 (connection pod19)" in text and "The last one: the carrier returned 503" in text
    world.execute("UPDATE amop.carrier_api_user SET failing_since = failing_since - interval '1 hour'")
    assert len(world.tell()) == 2


@pytest.mark.parametrize("kind", ["sync_failed", "amop_away"])
def test_a_kind_that_is_switched_off_is_recorded_and_never_sent(world: World, kind: str) -> None:
    world.add_run(error="no")
    world.insert(
        "amop_outbox",
        kind="daily_sync",
        dedupe_key="k",
        payload=Jsonb({}),
        attempts=1,
        created_at=NOW - timedelta(hours=1),
    )
    assert world.collect(off=frozenset({kind})) == 2
    world.deliver()
    assert [message.kind for message in world.inbox] == [{"sync_failed": "amop_away"}.get(kind, "sync_failed")]
    assert len(world.tell()) == 1  # switched on again, nothing old is sent


def test_where_nothing_is_set_up_nothing_waits(world: World) -> None:
    world.add_run(error="no")
    assert collect(world.dsn, now=NOW, off=NOBODY, due_hour=MIDNIGHT_HOUR, can_send=False) == 1
    assert world.tell() == []


def test_what_could_not_be_sent_is_tried_again_later_and_given_up_after_a_day(world: World) -> None:
    world.add_run(error="no")
    world.collect()
    world.deliver(error=OSError("SES refused Basic Y2FuYXJ5LWFwaS1rZXk="))
    waiting = unsent(world.dsn)
    assert (waiting.pending, waiting.failed, waiting.last_error) == (1, 0, "SES refused Basic ***")
    world.deliver(now=NOW + FIRST_DELAY - timedelta(seconds=1))
    assert world.inbox == []
    world.deliver(now=NOW + FIRST_DELAY)
    assert len(world.inbox) == 1

    world.add_run(2, error="another cause")
    world.collect()
    for hours in range(2 * MOST_ATTEMPTS):
        world.deliver(now=NOW + timedelta(hours=hours), error=OSError("away"))
    assert (unsent(world.dsn).pending, unsent(world.dsn).failed) == (0, 1)


def test_notifications_are_deleted_after_half_a_year_and_waiting_ones_kept(world: World) -> None:
    world.add_run(error="no")
    world.add_run(2, error="another")
    world.collect()
    world.execute("UPDATE amop.notification SET state = 'sent' WHERE provider = 'POD19'")
    ages = {"sent_message_days": 30, "dead_message_days": 180}
    assert delete_expired_messages(world.dsn, now=NOW + timedelta(days=179), **ages) == 0
    assert delete_expired_messages(world.dsn, now=NOW + timedelta(days=181), **ages) == 1
    assert [row["provider"] for row in world.execute("SELECT provider FROM amop.notification")] == ["AT&T"]


def test_a_task_whose_failure_is_in_its_run_or_session_is_not_told_of_again(world: World) -> None:
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
def test_a_failed_task_that_does_not_know_its_provider_is_told_of_with_the_provider_of_its_work(
    world: World, work: str
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


def reject(world: World, message_id: str, reason: str, *, hours_ago: float = 1) -> None:
    world.execute(
        "INSERT INTO amop.queue_message"
        " (message_id, dag_run_id, outcome, reason, attributes, body, received_at, last_received_at)"
        " VALUES (%s, 'asset_triggered', 'rejected', %s, '{}', '{}', %s, %s)",
        message_id,
        reason,
        *[NOW - timedelta(hours=hours_ago)] * 2,
    )


def test_many_rejected_queue_messages_of_one_cause_are_one_message_a_day(world: World) -> None:
    for number in range(30):
        reason = f"message attribute IntegrationType is 'typo {number}'; allowed: a number of up to 9 digits"
        reject(world, f"m{number:02}", reason)
    ((kind, text),) = world.tell()
    assert kind == "queue_messages_rejected"
    assert "message attribute IntegrationType is 'typo 0'; allowed: a number of up to 9 digits" in text
    assert "Rejected so far: 30 (m00, m01, " in text and "m19 and 10 more)" in text
    assert "https://airflow/dags/device_notification/runs/asset_triggered" in text
    reject(world, "m30", "message attribute IntegrationType is 'another'; allowed: a number of up to 9 digits")
    assert len(world.tell()) == 1
    reject(world, "m31", "message attribute ServiceProviderId is missing")
    assert len(world.tell()) == 2  # another cause
    reject(world, "m32", "message attribute IntegrationType is 'x'; allowed: a number of up to 9 digits", hours_ago=15)
    assert len(world.tell()) == 3  # the same cause, on another day


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
    world: World, first: str, second: str, is_one: bool
) -> None:
    keys = {
        rules.of_failed_task("what_if_jasper", "run", "compute_what_if", "", error, NOW.date()).dedupe_key
        for error in (first, second)
    }
    assert len(keys) == (1 if is_one else 2)
