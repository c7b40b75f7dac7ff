"""Every event that operators must know of leads to one message, once, whatever sends it and however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from amop.maintenance.retention import delete_expired_messages
from amop.notifications.collect import amop_outage, collect
from amop.notifications.deliver import FIRST_DELAY, MOST_ATTEMPTS, unsent
from tests.worlds.notifications_world import MIDNIGHT_HOUR, NO_KIND, NotificationsWorld
from tests.worlds.optimization_world import NOW


def test_a_failed_sync_is_reported_once_with_cause_first_step_and_link(world: NotificationsWorld) -> None:
    session_id = world.add_session(status="failed", error="refused", ended_at=NOW)
    world.add_run(error="AT&T: the carrier refused the login of connection c (401)", optimization_session_id=session_id)
    ((kind, text),) = world.send_all()
    assert kind == "sync_failed"
    assert "AT&T: the carrier refused the login of connection c (401)" in text
    assert "https://airflow/dags/device_sync_jasper/runs/run%201" in text
    assert "What to do first: correct login and password of the connection that the error names" in text


def test_a_trial_of_one_task_that_was_taken_over_is_no_failed_sync(world: NotificationsWorld) -> None:
    world.add_run(dag_run_id="__airflow_temporary_run_1", error="is a trial of one task and was taken over by monday")
    assert world.send_all() == []


def test_a_sync_that_fails_again_after_it_was_resumed_is_no_failed_optimization(world: NotificationsWorld) -> None:
    """Each try of the sync has a session of its own, and each of these fails with it."""
    first, second, third = (
        world.add_session(status="failed", error="refused", opened_by=f"device_sync_jasper/run 1{number}", ended_at=NOW)
        for number in ("", "#2", "#3")
    )
    run_id = world.add_run(error="refused", optimization_session_id=third)
    assert [kind for kind, _ in world.send_all()] == ["sync_failed"]
    world.execute("UPDATE amop.device_sync_run SET status = 'running', ended_at = NULL WHERE id = %s", run_id)
    assert len(world.send_all()) == 1  # it was resumed again
    complete = "UPDATE amop.device_sync_run SET status = 'complete', ended_at = %s WHERE id = %s"
    world.execute(complete, NOW + timedelta(minutes=5), run_id)
    assert len(world.send_all()) == 1
    world.execute(complete, NOW - timedelta(minutes=5), run_id)  # these sessions failed on their own, after it
    assert [kind for kind, _ in world.send_all()] == ["sync_failed", "optimization_failed"]
    assert len({first, second, third}) == 3


def test_a_failed_sync_whose_dag_run_was_deleted_is_answered_by_a_new_run(world: NotificationsWorld) -> None:
    world.add_run(1, error="AT&T: disk full", dag_run_deleted_at=NOW)
    world.add_run(2, error="POD19: disk full", dag_id="device_sync_pod19")
    texts = [text for _, text in world.send_all()]
    assert len(texts) == 2
    command = "airflow dags trigger device_sync_jasper --conf '{\"service_provider_ids\": [1]}'"
    assert f"What to do first: remove the cause that the error names, then trigger a new run: {command}." in texts[0]
    assert "then clear that task with its downstream tasks" in texts[1]
    world.execute("UPDATE amop.optimization_session SET dag_run_deleted_at = %s", NOW)
    world.add_session(status="failed", error="no proof", ended_at=NOW, dag_run_deleted_at=NOW)
    command = "airflow dags trigger carrier_optimization_jasper --conf '{\"service_provider_id\": 1}'"
    assert f"then trigger a new run: {command}." in world.send_all()[-1][1]


def test_two_providers_with_one_cause_are_one_message(world: NotificationsWorld) -> None:
    world.add_run(1, error="AT&T (1), run 7: the device list is empty")
    world.add_run(2, error="POD19 (2), run 8: the device list is empty", status="refused")
    ((_, text),) = world.send_all()
    assert "AT&T" in text and "POD19" in text
    assert world.inbox[0].subject == "AMOP: The sync failed: AT&T, POD19"


def test_a_failed_session_is_reported_where_no_sync_failed_with_it(world: NotificationsWorld) -> None:
    session_id = world.add_session(status="failed", error="One or more Rate Plans are invalid", ended_at=NOW)
    ((kind, text),) = world.send_all()
    assert kind == "optimization_failed"
    assert f"https://airflow/amop/session/{session_id}" in text


def test_events_of_more_than_a_day_ago_replays_and_cleared_runs_are_not_reported(world: NotificationsWorld) -> None:
    old = world.add_run(ended_at=NOW - timedelta(hours=25))
    world.add_run(dag_run_id="replay", replayed_run_id=old)
    world.add_run(dag_run_id="cleared", status="running", ended_at=None)
    assert world.send_all() == []


def test_new_communication_plans_are_one_message_with_their_names(world: NotificationsWorld) -> None:
    for name in ("Meters", "Cameras"):
        world.insert("communication_plan", service_provider_id=1, name=name, added_at=NOW)
    world.add_rate_plan("Small", "1", "1")
    world.add_communication_plan("Mapped", ["Small"])
    ((kind, text),) = world.send_all()
    assert kind == "new_communication_plans"
    assert (
        "2 new communication plans need to be associated to rate plans in order to optimize or deactivate devices: "
        "Cameras, Meters" in text
    )


def test_the_sync_summary_has_the_figures_of_the_replaced_system(world: NotificationsWorld) -> None:
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
    ((kind, text),) = world.send_all()
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


def test_missing_sims_and_an_exceeded_limit_are_two_messages(world: NotificationsWorld) -> None:
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
    told = dict(world.send_all())
    assert set(told) == {"sims_not_placed", "rate_plan_limit_exceeded"}
    assert "Only 7 of 10 expected SIMs were placed: 3 are on Meters" in told["sims_not_placed"]
    assert (
        "1 comm group has more rate plans (up to 3) than the provider's limit of 2"
        in (told["rate_plan_limit_exceeded"])
    )


def test_conflicts_of_plan_changes_are_reported_when_the_changes_have_ended(world: NotificationsWorld) -> None:
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
    assert world.send_all() == []
    world.execute("UPDATE amop.optimization_instance SET changes_status = 'applied'")
    ((kind, text),) = world.send_all()
    assert kind == "plan_change_conflicts"
    assert "2 plan changes met another plan at the carrier and were not sent, 1 failed; for example: SIM is on" in text


def test_a_sync_that_is_not_complete_by_the_local_hour_is_reported_once(world: NotificationsWorld) -> None:
    world.add_run(1, status="complete", started_at=NOW - timedelta(hours=9), summary=None)
    at_nine = datetime(2026, 11, 3, 15, 0, tzinfo=UTC)  # 09:00 in Chicago
    assert world.collect(now=at_nine - timedelta(minutes=1), due_hour=9) == 0
    for minutes in (0, 5, 300):
        world.collect(now=at_nine + timedelta(minutes=minutes), due_hour=9)
        world.deliver(now=at_nine + timedelta(minutes=minutes))
    (message,) = world.inbox
    assert (message.kind, [entry.provider for entry in message.entries]) == ("sync_late", ["POD19"])
    assert "see whether device_sync_pod19 is paused" in message.text


def test_amop_that_is_away_for_15_minutes_is_reported_once(world: NotificationsWorld) -> None:
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
    ((kind, text),) = world.send_all()
    assert kind == "amop_away"
    assert "AMOP has accepted no message since 2026-11-03" in text


def test_messages_that_were_never_tried_are_no_outage(world: NotificationsWorld) -> None:
    created_at = NOW - timedelta(hours=1)
    world.insert("amop_outbox", kind="daily_sync", dedupe_key="k", payload=Jsonb({}), created_at=created_at)
    assert world.send_all() == []


def test_a_carrier_that_is_away_for_15_minutes_is_reported_once_in_each_outage(world: NotificationsWorld) -> None:
    world.execute(
        "INSERT INTO amop.carrier_api_user (api_user, account, failures, failing_since, last_failure) "
        "VALUES ('hash', 'POD19 (connection pod19)', 9, %s, 'the carrier returned 503')",
        NOW - timedelta(minutes=15),
    )
    ((kind, text),) = world.send_all()
    assert kind == "carrier_away"
    assert "POD19 (connection pod19)" in text and "The last one: the carrier returned 503" in text
    world.execute("UPDATE amop.carrier_api_user SET failing_since = failing_since - interval '1 hour'")
    assert len(world.send_all()) == 2


@pytest.mark.parametrize("kind", ["sync_failed", "amop_away"])
def test_a_kind_that_is_switched_off_is_recorded_and_never_sent(world: NotificationsWorld, kind: str) -> None:
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
    assert len(world.send_all()) == 1  # switched on again, nothing old is sent


def test_where_nothing_is_set_up_nothing_waits(world: NotificationsWorld) -> None:
    world.add_run(error="no")
    assert collect(world.dsn, now=NOW, off=NO_KIND, due_hour=MIDNIGHT_HOUR, can_send=False) == 1
    assert world.send_all() == []


def test_what_could_not_be_sent_is_tried_again_later_and_given_up_after_a_day(world: NotificationsWorld) -> None:
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


def test_notifications_are_deleted_after_half_a_year_and_waiting_ones_kept(world: NotificationsWorld) -> None:
    world.add_run(error="no")
    world.add_run(2, error="another")
    world.collect()
    world.execute("UPDATE amop.notification SET state = 'sent' WHERE provider = 'POD19'")
    ages = {"sent_message_days": 30, "dead_message_days": 180}
    assert delete_expired_messages(world.dsn, now=NOW + timedelta(days=179), **ages) == 0
    assert delete_expired_messages(world.dsn, now=NOW + timedelta(days=181), **ages) == 1
    assert [row["provider"] for row in world.execute("SELECT provider FROM amop.notification")] == ["AT&T"]
