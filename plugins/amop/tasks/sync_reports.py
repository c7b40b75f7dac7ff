"""Reports of a device sync: what cannot be delivered at once is a warning, and ``amop_relay`` delivers it.

A report only informs, so it never fails a run: `or_undelivered` records a failed delivery in the place of an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowTaskTimeout

from amop import ids
from amop.database.connection import transaction
from amop.messages.undelivered_reports import ReportGoneError, ReportKind, record_undelivered
from amop.runs.errors import SyncRunEndedError
from amop.runs.store.sync_runs import SyncRun
from amop.runs.sync_runs import load_run
from amop.tasks.connections import archive_folder, aws_hook, optional_variable, warehouse_conninfo, warehouse_now

log = logging.getLogger(__name__)


@contextmanager
def or_undelivered(kind: ReportKind, run_id: int) -> Iterator[None]:
    """Deliver a report of a sync run in the body; if that fails, record it for the relay and let the task succeed.

    The error is raised only where not even this can be recorded.
    """
    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        try:
            warning = record_undelivered(warehouse_conninfo(), kind, error, run_id=run_id)
        except Exception:
            log.exception("The undelivered report could not be recorded")
            raise error from None
        log.warning("Run %s: %s", run_id, warning)


def send_sync_log(conninfo: str, run_id: int) -> None:
    """Write the sync log file and the device history file of a run to S3, where a bucket is set.

    Raises:
        ReportGoneError: the staging of the run has expired.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from amop.device_sync.sync_log import historian_key, sync_log_key, write_historian_file, write_sync_log

    bucket = optional_variable(ids.REPORTS_BUCKET_VARIABLE, "the files of the sync in S3")
    if bucket is None:
        return
    run = _run(conninfo, run_id)
    if run.staging_removed_at is not None:
        raise ReportGoneError("its staging has expired")
    key = sync_log_key(run.integration, run.service_provider_id, run_id)
    with write_sync_log(conninfo, run_id) as path:
        aws_hook(S3Hook).load_file(path, key, bucket_name=bucket, replace=True)
    log.info("Sync log: s3://%s/%s", bucket, key)
    history_key = historian_key(run)
    if history_key is not None:
        with write_historian_file(conninfo, run_id) as path:
            aws_hook(S3Hook).load_file(path, history_key, bucket_name=bucket, replace=True)
        log.info("Device history: s3://%s/%s", bucket, history_key)


def send_notification(conninfo: str, run_id: int) -> None:
    """Send the queue message of a staged run, once, where a queue is set; nothing for a run that has failed."""
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook

    from amop.device_sync.notification import mark_notification_sent, notification_to_send

    queue = optional_variable(ids.NOTIFICATION_QUEUE_VARIABLE, "the device notification queue")
    if queue is None:
        return
    try:
        notification = notification_to_send(conninfo, run_id)
    except SyncRunEndedError as error:
        log.warning("No message is sent: %s", error)
        return
    if notification is None:
        return
    client = aws_hook(SqsHook).get_conn()
    url = queue if "://" in queue else client.get_queue_url(QueueName=queue)["QueueUrl"]
    client.send_message(
        QueueUrl=url,
        MessageBody=notification.body,
        MessageAttributes=notification.attributes,
        **notification.queue_arguments(url),
    )
    mark_notification_sent(conninfo, run_id, now=warehouse_now())


def write_archive(conninfo: str, run_id: int) -> int:
    """Write the carrier's responses of a run to the archive, as one object; return their number.

    Those of a run that may still be resumed are left to its next try, or to ``maintenance``.
    """
    from amop.archive.archive_run import archive_run

    return archive_run(conninfo, run_id, archive_folder(), only_complete=True, now=warehouse_now())


def _run(conninfo: str, run_id: int) -> SyncRun:
    with transaction(conninfo, application_name="amop reports") as connection:
        return load_run(connection, run_id)
