"""A message of a plain AWS client starts one clean-up under the real watcher, also when all of Airflow is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from amop import ids
from sandbox.carrier.catalogue import INTEGRATION_TYPES
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.aws_resources import QUEUE, aws_client
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.worlds.e2e_world import ON_THE_WORLD, airflow_rows, rows, wait_until

pytestmark = ON_THE_WORLD

DAG = ids.DEVICE_NOTIFICATION_DAG
PROVIDER = 3
"""Provider of integration ``tmobile_jasper``, whose sync no other module runs at the same time."""
DAEMONS = ("api-server", "scheduler", "dag-processor", "triggerer")
SIM = "8901170000000000777"
OPEN_RUN = """
INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, billing_period_id, is_full)
SELECT %s, 'device_notification', 'existing system', period.id, false
FROM amop.billing_period AS period
WHERE period.service_provider_id = %s AND period.cycle_start <= now() AND period.cycle_end > now()
RETURNING id
"""
STAGING = (
    "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid) VALUES (%s, 'device_usage', '1')",
    "INSERT INTO amop.device_staging (run_id, scan_pass, page_number, row_number, iccid, status)"
    f" VALUES (%s, 1, 1, 1, '{SIM}', 'ACTIVATED')",
    "INSERT INTO amop.device_usage_staging (run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number,"
    f" row_number, usage, received_at) VALUES (%s, '{SIM}', 'DATA', '', 0, 1, 1, 2048, now())",
    "INSERT INTO amop.device_sync_page (run_id, scan_pass, page_number, device_count, is_last_page, received_at)"
    " VALUES (%s, 1, 1, 1, true, now())",
    "UPDATE amop.device_sync_run SET list_is_complete = true, usage_as_of = now(), devices_seen = 1, pages = 1"
    " WHERE id = %s",
)


@pytest.fixture
def watched(api: AirflowApi) -> Iterator[None]:
    """The DAG, not paused during the test: otherwise it would take the messages that other tests count."""
    api.wait_for_dags({DAG})
    yield
    api.pause(DAG, is_paused=True)


def send(world: World, **attributes: str) -> None:
    sqs = aws_client("sqs", world.aws_address)
    given = {
        "IntegrationType": str(INTEGRATION_TYPES["tmobile_jasper"]),
        "ServiceProviderId": str(PROVIDER),
        "MaxRetries": "14",
        "DelayBetweenRetries": "300",
        "ShouldQueueCarrierOptimization": "false",
    }
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"],
        MessageBody="{}",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": text} for name, text in (given | attributes).items()
        },
    )


def sensor_states(world: World) -> list[str]:
    found = airflow_rows(
        world,
        "SELECT state FROM task_instance WHERE dag_id = %s AND task_id = 'cleanup.wait_for_staging' AND map_index >= 0",
        DAG,
    )
    return [str(row["state"]) for row in found]


def restart_airflow(world: World) -> None:
    """Kill every process of Airflow at once, and wait until supervisord has started them again and they work."""
    supervisor = Supervisor(world)
    groups = {name: supervisor.process_group(name) for name in DAEMONS}
    for group in groups.values():
        assert group is not None
        os.killpg(group, signal.SIGKILL)
    wait_until(
        lambda: all(supervisor.process_group(name) not in {None, group} for name, group in groups.items()),
        "the new processes of Airflow",
    )
    assert sorted(supervisor.wait_until_healthy()) == sorted({"carrier", "amop", "aws", *DAEMONS})


def test_five_messages_start_one_clean_up_which_survives_a_restart_of_airflow(world: World, watched: None) -> None:
    (opened,) = rows(world, OPEN_RUN, PROVIDER, PROVIDER)
    for statement in STAGING:
        rows(world, statement, opened["id"])
    for _ in range(5):
        send(world)

    def outcomes() -> dict[str, int]:
        """Count the outcomes of the messages that this test has sent and that are deleted from the queue."""
        statement = (
            "SELECT outcome, count(*) AS n FROM amop.queue_message WHERE attributes ->> 'ServiceProviderId' = %s"
            " AND NOT attributes ? 'Source' AND removed_at IS NOT NULL GROUP BY outcome"
        )
        return {row["outcome"]: row["n"] for row in rows(world, statement, str(PROVIDER))}

    # Before the kill: messages that are in the triggerer's hands when it dies come back after the visibility time-out.
    wait_until(lambda: sum(outcomes().values()) >= 5, "the deletion of all messages", seconds=120)
    assert outcomes() == {"ignored": 4, "started": 1}
    wait_until(lambda: sensor_states(world) == ["deferred"], "the one sensor that waits", seconds=120)
    restart_airflow(world)
    rows(world, "DELETE FROM amop.device_usage_to_process WHERE run_id = %s", opened["id"])

    def run() -> dict[str, Any]:
        statement = "SELECT status, error, usage_updated FROM amop.device_sync_run WHERE id = %s"
        return rows(world, statement, opened["id"])[0]

    wait_until(lambda: run()["status"] != "running", "the end of the clean-up", seconds=240)
    assert run() == {"status": "complete", "error": None, "usage_updated": 1}
    key = f"daily_sync:{opened['id']}:{PROVIDER}"
    assert len(rows(world, "SELECT 1 FROM amop.amop_outbox WHERE dedupe_key = %s", key)) == 1
