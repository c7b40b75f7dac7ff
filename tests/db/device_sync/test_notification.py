"""The message on the device notification queue: the existing system's clean-up can read it."""

from __future__ import annotations

import json
import logging

import psycopg
import pytest

from amop.device_sync.notification import mark_notification_sent, notification_to_send
from amop.runs.opening import SyncRequest, open_runs
from tests.worlds.moments import present
from tests.worlds.old_cleanup import OldMessage, parse_as_old_cleanup
from tests.worlds.sandbox_reference import load_sandbox_reference


def open_run(dsn: str, optimization: str) -> tuple[int, int, int | None]:
    """Return run, provider and session of a run of jasper."""
    request = SyncRequest("jasper", "device_sync_jasper", "monday", optimization=optimization)
    (run,) = open_runs(dsn, request, now=present())
    return run.run_id, run.service_provider_id, run.optimization_session_id


@pytest.mark.parametrize("optimization", ["always", "never"])
def test_the_existing_clean_up_accepts_the_message_with_session_and_without(
    warehouse_dsn: str, optimization: str
) -> None:
    load_sandbox_reference(warehouse_dsn)
    run_id, provider_id, session_id = open_run(warehouse_dsn, optimization)
    with psycopg.connect(warehouse_dsn) as connection:
        row = "INSERT INTO amop.device_usage_to_process (run_id, kind) VALUES (%s, 'device_list')"
        connection.execute(row, [run_id])
    notification = notification_to_send(warehouse_dsn, run_id)
    assert notification is not None
    assert parse_as_old_cleanup(notification.attributes) == OldMessage(
        integration_type=2,
        service_provider_id=provider_id,
        retry_count=0,
        max_retries=14,
        delay_between_retries=300,
        remaining_rows=1,
        should_queue_carrier_optimization=optimization == "always",
        optimization_session_id=session_id or 0,
    )
    own = {name: notification.attributes[name] for name in ("RunId", "Source")}
    assert own == {
        "RunId": {"DataType": "String", "StringValue": str(run_id)},
        "Source": {"DataType": "String", "StringValue": "airflow"},
    }
    assert len(notification.attributes) == 10  # SQS accepts ten at most
    assert json.loads(notification.body)["run_id"] == run_id
    mark_notification_sent(warehouse_dsn, run_id, now=present())
    assert notification_to_send(warehouse_dsn, run_id) is None


def test_without_the_number_of_the_integration_no_message_is_sent_and_the_log_says_what_to_do(
    warehouse_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    load_sandbox_reference(warehouse_dsn)
    run_id, _, _ = open_run(warehouse_dsn, "never")
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("UPDATE amop.integration SET integration_type = NULL WHERE name = 'jasper'")
    with caplog.at_level(logging.WARNING, logger="amop.device_sync.notification"):
        assert notification_to_send(warehouse_dsn, run_id) is None
    assert "integration jasper has no integration_type. Set its number" in caplog.text
