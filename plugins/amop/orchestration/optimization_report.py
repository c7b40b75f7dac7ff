"""The tasks that hand out the result of an optimization: the workbook to S3, the e-mail by SES.

Neither may cost the optimization itself: when the last try has failed, the task is skipped, says why in its log, and
the instance carries a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperator, BaseOperatorLink, Context, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from amop import ids
from amop.orchestration.connections import aws_hook, optional_variable, warehouse_conninfo
from amop.orchestration.dag_runs import run_address
from amop.orchestration.failures import FINAL_ERRORS, is_last_try
from amop.orchestration.heartbeat import heartbeat

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)

WORKBOOK_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
WORKBOOK_ADDRESS = "workbook_address"
"""XCom key of the link to the workbook."""


class WorkbookLink(BaseOperatorLink):
    """The button on the task in Airflow's UI that opens the workbook."""

    name = "Workbook"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the workbook's address; empty where none was written."""
        from airflow.sdk.execution_time.xcom import XCom

        return XCom.get_value(ti_key=ti_key, key=WORKBOOK_ADDRESS) or ""


class WriteWorkbookOperator(BaseOperator):
    """Write the workbook of an instance to S3, where a bucket is set, and show a link to it.

    Args:
        instance: ids of instance and session.
    """

    template_fields = ("instance",)
    operator_extra_links = (WorkbookLink(),)

    def __init__(self, *, instance: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.instance = instance

    def execute(self, context: Context) -> None:
        """Write, upload, note the address.

        Raises:
            AirflowSkipException: no bucket is set, or the last try has failed.
        """
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        from amop.pipeline.optimization_report import note_workbook
        from amop.pipeline.optimization_workbook import write_workbook

        bucket = optional_variable(ids.REPORTS_BUCKET_VARIABLE, "the workbook in S3")
        if bucket is None:
            raise AirflowSkipException(f"Variable {ids.REPORTS_BUCKET_VARIABLE} is not set")
        instance_id, session_id = self.instance["instance_id"], self.instance["session_id"]
        with (
            _warned_failure(instance_id, "The workbook was not written to S3"),
            heartbeat(warehouse_conninfo(), session_id=session_id),
        ):
            hook = aws_hook(S3Hook, extra_args={"ContentType": WORKBOOK_TYPE})
            with write_workbook(warehouse_conninfo(), instance_id) as workbook:
                hook.load_file(workbook.path, workbook.key, bucket_name=bucket, replace=True)
            note_workbook(warehouse_conninfo(), instance_id, f"s3://{bucket}/{workbook.key}")
            log.info("Workbook: s3://%s/%s", bucket, workbook.key)
            context["ti"].xcom_push(WORKBOOK_ADDRESS, object_address(hook, bucket, workbook.key))


@task
def mail_report(instance: dict[str, int]) -> None:
    """Mail the report by SES, once, where sender and recipients are set and it says something new.

    Raises:
        AirflowSkipException: it is not mailed; the message says why.
    """
    from amop.pipeline.optimization_mail import why_not_mailed

    sender = optional_variable(ids.MAIL_FROM_VARIABLE, "the report by e-mail")
    recipients = optional_variable(ids.MAIL_TO_VARIABLE, "the report by e-mail")
    if sender is None or recipients is None:
        raise AirflowSkipException(f"Variables {ids.MAIL_FROM_VARIABLE} and {ids.MAIL_TO_VARIABLE} are not both set")
    instance_id = instance["instance_id"]
    with _warned_failure(instance_id, "The report was not mailed"):
        reason = why_not_mailed(warehouse_conninfo(), instance_id, now=datetime.now(UTC))
        if reason is None:
            _send_report(instance_id, sender, recipients)
    if reason is not None:
        raise AirflowSkipException(f"The report is not mailed: {reason}")


def _send_report(instance_id: int, sender: str, recipients: str) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.amazon.aws.hooks.ses import SesHook

    from amop.pipeline.optimization_mail import mail_to_send
    from amop.pipeline.optimization_report import note_mailed, report_uri_of

    conninfo = warehouse_conninfo()
    links = {"Run in Airflow": run_address(get_current_context()["dag_run"])}
    uri = report_uri_of(conninfo, instance_id)
    if uri is not None:
        hook = aws_hook(S3Hook)
        links = {"Workbook": object_address(hook, *hook.parse_s3_url(uri))} | links
    mail = mail_to_send(conninfo, instance_id, sender=sender, recipients=recipients, links=links)
    to = [address.addr_spec for address in mail["To"].addresses]
    aws_hook(SesHook).get_conn().send_raw_email(
        Source=mail["From"].addresses[0].addr_spec, Destinations=to, RawMessage={"Data": mail.as_bytes()}
    )
    note_mailed(conninfo, instance_id, now=datetime.now(UTC))
    log.info("Report mailed to %s", ", ".join(to))


def object_address(hook: S3Hook, bucket: str, key: str) -> str:
    """Return where a person opens an object: the AWS console, or the S3 endpoint that the connection names instead.

    Neither carries a signature: who opens it needs access of their own.
    """
    endpoint = hook.conn_config.get_service_endpoint_url("s3")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{quote(key)}"
    from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink

    domain = BaseAwsLink.get_aws_domain(hook.conn_partition)
    return f"https://console.{domain}/s3/object/{bucket}?{urlencode({'region': hook.conn_region_name, 'prefix': key})}"


@contextmanager
def _warned_failure(instance_id: int, what: str) -> Iterator[None]:
    """Let a task be tried again; when no try is left, add a warning to the instance and skip the task.

    Raises:
        AirflowSkipException: no try is left, or the error is of a kind that trying again does not cure.
    """
    from amop.pipeline.optimization_report import warn

    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        if not isinstance(error, FINAL_ERRORS) and not is_last_try():
            raise
        log.exception("%s", what)
        text = f"{what}: {str(error) or type(error).__name__}"
        try:
            warn(warehouse_conninfo(), instance_id, text)
        except Exception:
            log.exception("The warning could not be written to the instance")
        raise AirflowSkipException(text) from error
