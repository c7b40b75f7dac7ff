"""DAG `device_notification` on a real queue: messages of a plain AWS client start the clean-up of the daily DAG."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg
import pytest
from airflow.sdk import Asset

from amop import ids
from amop.tasks.lineage import ANY_DEVICES
from amop.tasks.notification_queue import NotificationQueueTrigger, messages_of_events, notifications_asset
from sandbox.world.aws_resources import QUEUE
from tests.worlds.dag_world import Day
from tests.worlds.moments import machine_time

SIMS = [f"890117000000000000{number:02}" for number in range(3)]
MESSAGE = {
    "IntegrationType": "2", "ServiceProviderId": "1", "RetryCount": "0", "MaxRetries": "14",
    "DelayBetweenRetries": "300", "RemainingRowsToProcess": "0", "ShouldQueueCarrierOptimization": "false",
    "OptimizationSessionId": "0",
}  # fmt: skip
STAGE = """
INSERT INTO amop.device_staging
(run_id, scan_pass, page_number, row_number, iccid, status, rate_plan, communication_plan)
VALUES (%(run)s, 1, 1, %(number)s, %(iccid)s, 'ACTIVATED', 'IoT 10 MB', 'Data LTE');
INSERT INTO amop.device_usage_staging
(run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number, row_number, usage, received_at)
VALUES (%(run)s, %(iccid)s, 'DATA', '', 0, 1, 1, 1048576, now());
"""
COMPLETE = """
INSERT INTO amop.device_sync_page (run_id, scan_pass, page_number, device_count, is_last_page, received_at)
VALUES (%(run)s, 1, 1, 3, true, now());
UPDATE amop.device_sync_run
SET list_is_complete = true, usage_as_of = now(), devices_seen = 3, pages = 1 WHERE id = %(run)s
"""


class ExistingSystem:
    """What the existing system does: open a run, stage, and send its message by a plain AWS client."""

    def __init__(self, day: Day) -> None:
        self.day = day
        self.sqs = boto3.client(
            "sqs", endpoint_url=day.aws, region_name="us-east-1",
            aws_access_key_id="x", aws_secret_access_key="x",
        )  # fmt: skip
        self.url = self.sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]

    def execute(self, statement: str, **values: Any) -> Any:
        with psycopg.connect(self.day.dsn) as connection:
            if not values:
                return connection.execute(statement).fetchall()  # type: ignore[arg-type]
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(statement, values)  # type: ignore[arg-type]
            return None

    def stage(self) -> int:
        ((run_id,),) = self.execute(
            "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, billing_period_id, is_full)"
            " SELECT 1, 'device_notification', 'sync of monday', period.id, true FROM amop.billing_period AS period"
            " WHERE period.service_provider_id = 1 AND period.cycle_start <= now() AND period.cycle_end > now()"
            " RETURNING id"
        )
        for number, iccid in enumerate(SIMS):
            self.execute(STAGE, run=run_id, number=number, iccid=iccid)
        self.execute(COMPLETE, run=run_id)
        return int(run_id)

    def send(self, *, body: str = "{}", **attributes: str) -> None:
        self.sqs.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": text} for name, text in (MESSAGE | attributes).items()
            },
        )

    def left(self, url: str | None = None) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(
            QueueUrl=url or self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        return list(found.get("Messages", []))


@pytest.fixture
def existing(day: Day) -> ExistingSystem:
    return ExistingSystem(day)


def test_a_message_starts_one_clean_up_that_merges_notifies_and_deletes_it(day: Day, existing: ExistingSystem) -> None:
    run_id = existing.stage()
    for _ in range(5):
        existing.send()
    assert day.run(ids.DEVICE_NOTIFICATION_DAG).state == "success"
    (run,) = day.rows("SELECT id, status, devices_inserted, usage_updated FROM amop.device_sync_run")
    assert (run["id"], run["status"], run["devices_inserted"], run["usage_updated"]) == (run_id, "complete", 3, 3)
    outcomes = [row["outcome"] for row in day.rows("SELECT outcome FROM amop.queue_message ORDER BY 1")]
    assert outcomes == ["ignored"] * 4 + ["started"]
    (notice,) = day.rows("SELECT state, payload FROM amop.amop_outbox WHERE kind = 'daily_sync'")
    assert (notice["state"], notice["payload"]["data"]["key_name"]) == ("sent", "jasper_devices")
    assert existing.left() == []
    assert day.rows("SELECT * FROM amop.queue_message WHERE removed_at IS NULL") == []
    assert day.run(ids.DEVICE_NOTIFICATION_DAG).state == "success"  # nothing is left, nothing is repeated
    assert len(day.amop.messages("daily_sync")) == 1


def test_a_message_that_asks_for_it_starts_one_optimization(day: Day, existing: ExistingSystem) -> None:
    existing.stage()
    existing.send(ShouldQueueCarrierOptimization="true")
    run = day.run(ids.DEVICE_NOTIFICATION_DAG)
    assert run.state == "success"
    (session,) = day.rows("SELECT id, progress FROM amop.optimization_session")
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as airflow:
        found = airflow.scalars(select(DagRun.dag_id).where(DagRun.run_id == f"session_{session['id']}")).all()
    assert (list(found), session["progress"]) == (["carrier_optimization_jasper"], 20)


def test_tries_that_run_out_end_the_run_with_an_error_message_and_leave_the_rows(
    day: Day, existing: ExistingSystem
) -> None:
    run_id = existing.stage()
    existing.execute(
        "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid) VALUES (%(run)s, 'device_usage', '1')",
        run=run_id,
    )
    existing.send(MaxRetries="1", DelayBetweenRetries="1", ShouldQueueCarrierOptimization="true")
    assert day.run(ids.DEVICE_NOTIFICATION_DAG).state == "failed"
    (run,) = day.rows("SELECT status, error FROM amop.device_sync_run")
    assert run["status"] == "failed" and "not complete after 1 try, 1 second apart (1 work row left" in run["error"]
    assert len(day.rows("SELECT * FROM amop.device_usage_to_process")) == 1
    (error,) = day.rows("SELECT state, payload FROM amop.amop_outbox WHERE kind = 'error'")
    assert error["state"] == "sent" and "after 1 try" in error["payload"]["data"]["ErrorMessage"]


def test_a_poison_message_goes_to_the_dead_letter_queue_with_its_reason_and_fails_one_task(
    day: Day, existing: ExistingSystem
) -> None:
    dead = existing.sqs.create_queue(QueueName="DeviceNotificationQueue-dead")["QueueUrl"]
    arn = existing.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"})
    existing.sqs.set_queue_attributes(QueueUrl=existing.url, Attributes={"RedrivePolicy": policy})
    existing.stage()
    existing.send(IntegrationType="77", body="poison")
    existing.send()
    run = day.run(ids.DEVICE_NOTIFICATION_DAG)
    failed = {task.task_id for task in run.get_task_instances() if task.state == "failed"}
    assert (run.state, failed) == ("failed", {"report_rejected"})
    (message,) = existing.left(dead)
    assert message["Body"] == "poison"
    reason = message["MessageAttributes"]["Reason"]["StringValue"]
    assert "IntegrationType 77 is the integration_type of no integration" in reason
    assert message["MessageAttributes"]["IntegrationType"]["StringValue"] == "77"
    assert existing.left() == []
    (status,) = day.rows("SELECT status FROM amop.device_sync_run")
    assert status == {"status": "complete"}  # the other message is not held up


def test_the_watcher_receives_attributes_and_leaves_the_message_on_the_queue(
    day: Day, existing: ExistingSystem
) -> None:
    existing.send()
    (watcher,) = notifications_asset().watchers
    path, arguments = watcher.trigger.serialize()
    assert path == "amop.tasks.notification_queue.NotificationQueueTrigger"
    trigger = NotificationQueueTrigger(**json.loads(json.dumps(arguments | {"visibility_timeout": 0})))

    async def first() -> Any:
        return await asyncio.wait_for(anext(trigger.run()), 30)

    payload = json.loads(json.dumps(asyncio.run(first()).payload))
    events = {Asset(ids.NOTIFICATIONS_ASSET): [SimpleNamespace(extra={"from_trigger": True, "payload": payload})] * 2}
    (message,) = messages_of_events({"triggering_asset_events": events})
    assert message.attributes == MESSAGE
    assert message.sent_at is not None and message.sent_at.tzinfo is UTC
    assert abs((machine_time() - message.sent_at).total_seconds()) < 60, "the emulator has the machine's clock"
    assert len(existing.left()) == 1


def test_without_the_variable_nothing_is_watched(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_DEVICE_NOTIFICATION_QUEUE")
    assert notifications_asset().watchers == []
    assert day.run(ids.DEVICE_NOTIFICATION_DAG).state == "success"


def test_the_clean_up_is_that_of_the_daily_dag(dags: dict[str, Any]) -> None:
    daily, started = dags["device_sync_jasper"], dags[ids.DEVICE_NOTIFICATION_DAG]
    names = {task.task_id for task in daily.tasks if task.task_id.startswith("cleanup.")}
    assert {task.task_id for task in started.tasks} == names | {"receive_messages", "report_rejected"}
    for name in names - {"cleanup.wait_for_staging"}:
        own = started.get_task(name).upstream_task_ids - {"receive_messages"}
        assert own == daily.get_task(name).upstream_task_ids - {"select_providers"}
    assert started.get_task("cleanup.notify_amop").outlets == [ANY_DEVICES]
    assert {name: started.params[name] for name in started.params} == {
        "max_tries": 14,
        "delay": 300,
        "no_progress_limit": None,
    }
