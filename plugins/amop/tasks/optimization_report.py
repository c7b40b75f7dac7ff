"""The tasks that publish the result of an optimization: the workbook to S3, the e-mail by SES.

Neither can fail or delay the optimization itself: if a delivery fails, the task is skipped at once, its log says why,
the instance carries a warning, and ``amop_relay`` delivers the report in the background.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperator, BaseOperatorLink, Context, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from amop import ids
from amop.foreign_text import storable_error
from amop.messages.undelivered_reports import ReportKind, record_undelivered
from amop.tasks.connections import aws_hook, optional_variable, warehouse_conninfo, warehouse_now
from amop.tasks.dag_runs import run_address
from amop.tasks.failures import is_final
from amop.tasks.frames import InstanceOfSession
from amop.tasks.heartbeat import heartbeat

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)

WORKBOOK_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
WORKBOOK_ADDRESS = "workbook_address"
"""XCom key of the link to the workbook."""


class WorkbookLink(BaseOperatorLink):
    """The link on the task in Airflow's UI that opens the workbook."""

    name = "Workbook"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the workbook's address; empty where none was written."""
        from airflow.sdk.execution_time.xcom import XCom

        return XCom.get_value(ti_key=ti_key, key=WORKBOOK_ADDRESS) or ""


class WriteWorkbookOperator(BaseOperator):
    """Write the workbook of an instance to S3, where a bucket is set, and link to it.

    Args:
        instance: ids of instance and session.
    """

    template_fields = ("instance",)
    operator_extra_links = (WorkbookLink(),)

    def __init__(self, *, instance: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.instance = instance

    def execute(self, context: Context) -> None:
        """Write and upload the workbook and record its address.

        Raises:
            AirflowSkipException: no bucket is set, or the delivery has failed.
        """
        bucket = optional_variable(ids.REPORTS_BUCKET_VARIABLE, "the workbook in S3")
        if bucket is None:
            raise AirflowSkipException(f"Variable {ids.REPORTS_BUCKET_VARIABLE} is not set")
        instance_id, session_id = self.instance["instance_id"], self.instance["session_id"]
        with (
            _failure_as_warning(instance_id, ReportKind.WORKBOOK, "The workbook was not written to S3"),
            heartbeat(warehouse_conninfo(), session_id=session_id),
        ):
            context["ti"].xcom_push(WORKBOOK_ADDRESS, upload_workbook(instance_id, bucket))


def upload_workbook(instance_id: int, bucket: str) -> str:
    """Write the workbook of an instance, upload it and store where it is; return its address for people."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from amop.reports.report import set_report_uri
    from amop.reports.workbook import write_workbook

    hook = aws_hook(S3Hook, extra_args={"ContentType": WORKBOOK_TYPE})
    with write_workbook(warehouse_conninfo(), instance_id) as workbook:
        hook.load_file(workbook.path, workbook.key, bucket_name=bucket, replace=True)
    set_report_uri(warehouse_conninfo(), instance_id, f"s3://{bucket}/{workbook.key}")
    log.info("Workbook: s3://%s/%s", bucket, workbook.key)
    return object_address(hook, bucket, workbook.key)


@task
def mail_report(instance: InstanceOfSession) -> None:
    """Mail the report by SES, once, where sender and recipients are set and it contains news.

    Raises:
        AirflowSkipException: it is not mailed; the message says why.
    """
    from amop.reports.mail import reason_not_mailed

    settings = mail_settings()
    if settings is None:
        raise AirflowSkipException(f"Variables {ids.MAIL_FROM_VARIABLE} and {ids.MAIL_TO_VARIABLE} are not both set")
    instance_id = instance["instance_id"]
    with _failure_as_warning(instance_id, ReportKind.MAIL, "The report was not mailed"):
        reason = reason_not_mailed(warehouse_conninfo(), instance_id, now=warehouse_now())
        if reason is None:
            send_report(instance_id, *settings, address=run_address(get_current_context()["dag_run"]))
    if reason is not None:
        raise AirflowSkipException(f"The report is not mailed: {reason}")


def mail_settings() -> tuple[str, str] | None:
    """Return sender and recipients of the report, None where they are not both set."""
    sender = optional_variable(ids.MAIL_FROM_VARIABLE, "the report by e-mail")
    recipients = optional_variable(ids.MAIL_TO_VARIABLE, "the report by e-mail")
    return None if sender is None or recipients is None else (sender, recipients)


def send_report(instance_id: int, sender: str, recipients: str, *, address: str | None) -> None:
    """Mail the report of an instance and record that it was mailed.

    Args:
        instance_id: the instance.
        sender: one address.
        recipients: addresses separated by ``;``.
        address: address of the DAG run in Airflow, None for a mail without this link.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.amazon.aws.hooks.ses import SesHook

    from amop.reports.mail import mail_to_send
    from amop.reports.report import report_uri_of, set_mailed

    conninfo, now = warehouse_conninfo(), warehouse_now()
    links = {"Run in Airflow": address} if address else {}
    uri = report_uri_of(conninfo, instance_id)
    if uri is not None:
        hook = aws_hook(S3Hook)
        links = {"Workbook": object_address(hook, *hook.parse_s3_url(uri))} | links
    mail = mail_to_send(conninfo, instance_id, sender=sender, recipients=recipients, links=links)
    to = [address.addr_spec for address in mail["To"].addresses]
    aws_hook(SesHook).get_conn().send_raw_email(
        Source=mail["From"].addresses[0].addr_spec, Destinations=to, RawMessage={"Data": mail.as_bytes()}
    )
    set_mailed(conninfo, instance_id, now=now)
    log.info("Report mailed to %s", ", ".join(to))


def object_address(hook: S3Hook, bucket: str, key: str) -> str:
    """Return the address of an object for people: the AWS console, or the S3 endpoint that the connection names.

    It carries no signature: opening it requires one's own access.
    """
    endpoint = hook.conn_config.get_service_endpoint_url("s3")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{quote(key)}"
    from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink

    domain = BaseAwsLink.get_aws_domain(hook.conn_partition)
    return f"https://console.{domain}/s3/object/{bucket}?{urlencode({'region': hook.conn_region_name, 'prefix': key})}"


@contextmanager
def _failure_as_warning(instance_id: int, kind: ReportKind, what: str) -> Iterator[None]:
    """If the delivery fails, leave the report to the relay, warn on the instance and skip the task.

    The rest of the run waits for this task, so it is not tried again while the relay can do it. The error itself is
    raised, and the task tried again, only where not even this can be recorded.

    Raises:
        AirflowSkipException: the report was left to the relay, or could not be in the last try either.
    """
    from amop.optimization.instances import add_warning

    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        text = f"{what}: {storable_error(error) or type(error).__name__}"
        try:
            address = run_address(get_current_context()["dag_run"])
            record_undelivered(warehouse_conninfo(), kind, error, instance_id=instance_id, address=address)
            add_warning(warehouse_conninfo(), instance_id, text)
        except Exception:
            if not is_final(error):
                raise error from None
            log.exception("The undelivered report could not be recorded")
        raise AirflowSkipException(f"{text}. amop_relay delivers it later") from None
