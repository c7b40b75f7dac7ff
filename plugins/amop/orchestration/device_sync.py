"""The tasks and task groups of ``device_sync_<integration>``: the use cases, given to Airflow."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, get_current_context, task, task_group
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from amop import ids, time_limits
from amop.config import Integration
from amop.orchestration.back_fill import is_back_fill
from amop.orchestration.connections import (
    archive_folder,
    aws_hook,
    carrier_client,
    deliver_message,
    deliver_session_messages,
    optional_variable,
    warehouse_conninfo,
)
from amop.orchestration.dag_runs import START_ONCE, asked_at
from amop.orchestration.failures import may_reopen_run, patience_with_carrier, recorded_failure
from amop.orchestration.staging_sensor import StagingReadySensor

log = logging.getLogger(__name__)

MAP_LABEL = "{{ task.op_kwargs['run']['service_provider_name'] }}"
"""What a mapped task is called in the grid: its provider's name."""

SECONDS_BETWEEN_LOOKS = 5


@task(
    execution_timeout=time_limits.BRIEF_TASK,
)
def select_providers(integration: str) -> list[dict[str, Any]]:
    """Read the active providers and the params; open one run each and, where due, its session (AMOP 0 %)."""
    from amop.pipeline.sync_runs import SyncRequest, load_run, open_runs
    from amop.warehouse.connection import transaction

    context = get_current_context()
    if is_back_fill(context):
        log.info("A back-fill run: the carrier is not called, see replay_archive")
        return []
    params, dag_run = context["params"], context["dag_run"]
    modified_since = params["modified_since"]
    conninfo, now = warehouse_conninfo(), datetime.now(UTC)
    with recorded_failure():
        runs = open_runs(
            conninfo,
            SyncRequest(
                integration=integration,
                dag_id=dag_run.dag_id,
                dag_run_id=dag_run.run_id,
                service_provider_ids=params["service_provider_ids"],
                full_sync=params["full_sync"],
                modified_since=_aware(modified_since) if modified_since else None,
                optimization=params["optimization"],
                asked_at=asked_at(dag_run, now),
                allow_mass_deactivation=params["allow_mass_deactivation"],
            ),
            now=now,
        )
    for run in runs:
        with transaction(conninfo) as connection:
            session_id = load_run(connection, run["run_id"])["optimization_session_id"]
        deliver_session_messages(session_id)
    return runs


def _aware(text: str) -> datetime:
    """Return an ISO 8601 moment as an aware one; a moment without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


PROVIDER_TASK: dict[str, Any] = {
    "map_index_template": MAP_LABEL,
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
}
"""What the tasks of a provider have in common: its name in the grid, and patience with passing faults."""


@task(
    task_id="queue_sync",
    execution_timeout=time_limits.BRIEF_TASK,
    **PROVIDER_TASK,
)
def queue_sync_task(run: dict[str, Any]) -> None:
    """Create the run's first work row (AMOP 20 %): from here on the clean-up has something to wait for."""
    from amop.pipeline.device_sync import queue_sync

    with recorded_failure(sync_run_id=run["run_id"]):
        queue_sync(warehouse_conninfo(), run["run_id"], may_reopen=may_reopen_run())
    deliver_session_messages(_session_of(run))


@task(
    task_id="fetch_devices",
    execution_timeout=time_limits.FETCH_TASK,
    **PROVIDER_TASK,
)
def fetch_devices_task(run: dict[str, Any]) -> int:
    """Page the carrier's device list into staging; goes on after the last page in the ledger."""
    from amop.pipeline.device_sync import fetch_devices

    with (
        recorded_failure(sync_run_id=run["run_id"]),
        patience_with_carrier(run["run_id"]),
        carrier_client(run["connection_id"], run["service_provider_name"]) as client,
    ):
        return fetch_devices(warehouse_conninfo(), run["run_id"], client, may_reopen=may_reopen_run())


@task(
    task_id="fetch_usage",
    execution_timeout=time_limits.FETCH_TASK,
    **PROVIDER_TASK,
)
def fetch_usage_task(run: dict[str, Any]) -> int:
    """Empty the work rows: bulk usage per rate plan, single SIMs, details."""
    from amop.pipeline.device_sync import fetch_usage

    with (
        recorded_failure(sync_run_id=run["run_id"]),
        patience_with_carrier(run["run_id"]),
        carrier_client(run["connection_id"], run["service_provider_name"]) as client,
    ):
        return fetch_usage(warehouse_conninfo(), run["run_id"], client, may_reopen=may_reopen_run())


@task(
    task_id="archive_pages",
    execution_timeout=time_limits.BULK_TASK,
    **PROVIDER_TASK,
)
def archive_pages_task(run: dict[str, Any]) -> int:
    """Bring what the carrier answered to the archive, in one object; its failure stops nobody, nothing is lost."""
    from amop.pipeline.archive import archive_run

    return archive_run(warehouse_conninfo(), run["run_id"], archive_folder(), now=datetime.now(UTC))


@task(
    task_id="publish_notification",
    execution_timeout=time_limits.TASK,
    **PROVIDER_TASK,
)
def publish_notification_task(run: dict[str, Any]) -> None:
    """Tell the device notification queue (SQS) that this provider is staged."""
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook

    from amop.pipeline.notification import mark_notified, notification_to_send

    with recorded_failure(sync_run_id=run["run_id"]):
        queue = optional_variable(ids.NOTIFICATION_QUEUE_VARIABLE, "the device notification queue")
        notification = notification_to_send(warehouse_conninfo(), run["run_id"])
        if queue is None or notification is None:
            return
        client = aws_hook(SqsHook).get_conn()
        url = queue if "://" in queue else client.get_queue_url(QueueName=queue)["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=notification.body, MessageAttributes=notification.attributes)
        mark_notified(warehouse_conninfo(), run["run_id"], now=datetime.now(UTC))


@task(
    task_id="merge_devices",
    execution_timeout=time_limits.BULK_TASK,
    **PROVIDER_TASK,
)
def merge_devices_task(run: dict[str, Any]) -> dict[str, int]:
    """Staged SIMs into `amop.device`: only what changed is written; refused when the list is not complete."""
    from amop.pipeline.cleanup import merge_devices

    with recorded_failure(sync_run_id=run["run_id"]):
        return merge_devices(warehouse_conninfo(), run["run_id"], now=datetime.now(UTC))


@task(
    task_id="merge_usage",
    execution_timeout=time_limits.BULK_TASK,
    **PROVIDER_TASK,
)
def merge_usage_task(run: dict[str, Any]) -> int:
    """Staged usage into the cycle-to-date columns and the daily delta rows."""
    from amop.pipeline.cleanup import merge_usage

    with recorded_failure(sync_run_id=run["run_id"]):
        return merge_usage(warehouse_conninfo(), run["run_id"], now=datetime.now(UTC))


@task(
    task_id="update_communication_plans",
    execution_timeout=time_limits.TASK,
    **PROVIDER_TASK,
)
def update_communication_plans_task(run: dict[str, Any]) -> list[str]:
    """Add communication plans that the carrier names for the first time, and report them."""
    from amop.pipeline.cleanup import update_communication_plans

    with recorded_failure(sync_run_id=run["run_id"]):
        return update_communication_plans(warehouse_conninfo(), run["run_id"], now=datetime.now(UTC))


@task(
    task_id="check_quality",
    execution_timeout=time_limits.TASK,
    **PROVIDER_TASK,
)
def check_quality_task(run: dict[str, Any]) -> dict[str, int]:
    """Prove that SIMs listed = SIMs merged + SIMs quarantined."""
    from amop.pipeline.cleanup import check_quality

    with recorded_failure(sync_run_id=run["run_id"]):
        return check_quality(warehouse_conninfo(), run["run_id"])


@task(
    task_id="publish_summary",
    execution_timeout=time_limits.REPORT_TASK,
    **PROVIDER_TASK,
)
def publish_summary_task(run: dict[str, Any], integration: str) -> None:
    """Store the sync summary; write the sync log file to S3 where a bucket is set."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from amop.pipeline.cleanup import summarize
    from amop.pipeline.sync_log import sync_log_key, write_sync_log

    with recorded_failure(sync_run_id=run["run_id"]):
        summary = summarize(warehouse_conninfo(), run["run_id"])
        log.info("%s: %s", run["service_provider_name"], summary)
        bucket = optional_variable(ids.REPORTS_BUCKET_VARIABLE, "the sync log file in S3")
        if bucket is not None:
            key = sync_log_key(integration, run["service_provider_id"], run["run_id"])
            with write_sync_log(warehouse_conninfo(), run["run_id"]) as path:
                aws_hook(S3Hook).load_file(path, key, bucket_name=bucket, replace=True)
            log.info("Sync log: s3://%s/%s", bucket, key)


@task(
    task_id="notify_amop",
    execution_timeout=time_limits.TASK,
    **PROVIDER_TASK,
)
def notify_amop_task(run: dict[str, Any]) -> None:
    """End the run as complete and send AMOP the daily-sync notice, after the merge has committed."""
    from amop.pipeline.cleanup import complete_run

    with recorded_failure(sync_run_id=run["run_id"]):
        dedupe_key = complete_run(warehouse_conninfo(), run["run_id"], now=datetime.now(UTC))
    if dedupe_key is not None:
        deliver_message(dedupe_key)


@task(
    task_id="should_optimize",
    execution_timeout=time_limits.BRIEF_TASK,
    multiple_outputs=True,
    **PROVIDER_TASK,
)
def should_optimize_task(run: dict[str, Any]) -> dict[str, Any]:
    """Go on only if the integration is optimized and a session was opened for this run."""
    from amop.pipeline.cleanup import session_to_optimize

    with recorded_failure(sync_run_id=run["run_id"]):
        conf_of_run = session_to_optimize(warehouse_conninfo(), run["run_id"])
    if conf_of_run is None:
        raise AirflowSkipException("No optimization session runs for this sync")
    return {
        "conf": conf_of_run,
        "trigger_run_id": ids.optimization_run_id(conf_of_run["optimization_session_id"]),
    }


def _session_of(run: dict[str, Any]) -> int | None:
    from amop.pipeline.sync_runs import load_run
    from amop.warehouse.connection import transaction

    with transaction(warehouse_conninfo()) as connection:
        session_id = load_run(connection, run["run_id"])["optimization_session_id"]
    return None if session_id is None else int(session_id)


@task_group(group_id="sync", tooltip="The carrier's device list and usage into staging")
def sync(run: Any, integration: Integration) -> None:
    """The main pipeline of one provider: queue, list, usage, notification and archive."""
    pool = ids.carrier_pool(integration.name)
    (
        queue_sync_task(run=run)
        >> fetch_devices_task.override(pool=pool)(run=run)
        >> fetch_usage_task.override(pool=pool)(run=run)
        >> [publish_notification_task(run=run), archive_pages_task(run=run)]
    )


@task_group(group_id="cleanup", tooltip="Waits beside the sync, then staging to the main tables, notice, optimization")
def cleanup(run: Any, integration: Integration) -> None:
    """The monitor of one provider: starts with the sync, waits for its rows, merges, tells AMOP, triggers."""
    wait = StagingReadySensor(
        task_id="wait_for_staging",
        run=run,
        poke_interval=SECONDS_BETWEEN_LOOKS,
        timeout=time_limits.WAIT_FOR_STAGING.total_seconds(),
        execution_timeout=time_limits.WAIT_FOR_STAGING,
        deferrable=conf.getboolean("operators", "default_deferrable", fallback=False),
        doc_md="Wait until this provider's list is complete and 0 work rows are left; fails when the sync has failed.",
        **PROVIDER_TASK | {"map_index_template": "{{ task.run['service_provider_name'] }}"},
    )
    notified = notify_amop_task.override(outlets=[Asset(ids.devices_asset(integration.name))])(run=run)
    (
        wait
        >> merge_devices_task(run=run)
        >> merge_usage_task(run=run)
        >> update_communication_plans_task(run=run)
        >> check_quality_task(run=run)
        >> publish_summary_task(run=run, integration=integration.name)
        >> notified
    )
    if integration.supports_optimization:
        decision = should_optimize_task(run=run)
        notified >> decision
        TriggerDagRunOperator(
            task_id="trigger_optimization",
            trigger_dag_id=ids.carrier_optimization_dag(integration.name),
            trigger_run_id=decision["trigger_run_id"],
            conf=decision["conf"],
            doc_md="Start the optimization of this session, exactly once: its run id is `session_<session id>`.",
            **PROVIDER_TASK | START_ONCE | {"map_index_template": "{{ task.trigger_run_id }}"},
        )
