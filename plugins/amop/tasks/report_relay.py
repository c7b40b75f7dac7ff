"""How ``amop_relay`` delivers a report that its task could not deliver, by kind of report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from amop import ids
from amop.messages.store import ClaimedReport
from amop.messages.undelivered_reports import ReportGoneError, ReportKind
from amop.reports.mail import MailSettingsError, reason_not_mailed
from amop.runs.errors import PipelineError
from amop.tasks.connections import optional_variable, warehouse_conninfo, warehouse_now
from amop.tasks.optimization_report import mail_settings, send_report, upload_workbook
from amop.tasks.sync_reports import send_notification, send_sync_log, write_archive


def _deliver_archive(report: ClaimedReport) -> None:
    write_archive(warehouse_conninfo(), _run_of(report))


def _deliver_workbook(report: ClaimedReport) -> None:
    bucket = optional_variable(ids.REPORTS_BUCKET_VARIABLE, "the workbook in S3")
    if bucket is None:
        raise ReportGoneError(f"Variable {ids.REPORTS_BUCKET_VARIABLE} is not set any more")
    with _gone_if_impossible():
        upload_workbook(_instance_of(report), bucket)


def _deliver_mail(report: ClaimedReport) -> None:
    settings = mail_settings()
    if settings is None:
        raise ReportGoneError("the sender or the recipients are not set any more")
    instance_id = _instance_of(report)
    try:
        with _gone_if_impossible():
            reason = reason_not_mailed(warehouse_conninfo(), instance_id, now=warehouse_now())
            if reason is not None:
                raise ReportGoneError(reason)
            send_report(instance_id, *settings, address=report.address)
    except MailSettingsError as error:  # an operator corrects the Variable
        raise RuntimeError(str(error)) from None


@contextmanager
def _gone_if_impossible() -> Iterator[None]:
    """Turn the error of an instance that has no report any more into `ReportGoneError`."""
    try:
        yield
    except MailSettingsError:
        raise
    except PipelineError as error:
        raise ReportGoneError(str(error)) from None


def _run_of(report: ClaimedReport) -> int:
    assert report.run_id is not None, report  # noqa: S101 a constraint of the table
    return report.run_id


def _instance_of(report: ClaimedReport) -> int:
    assert report.instance_id is not None, report  # noqa: S101 a constraint of the table
    return report.instance_id


DELIVERIES: Mapping[ReportKind, Callable[[ClaimedReport], None]] = {
    ReportKind.SYNC_LOG: lambda report: send_sync_log(warehouse_conninfo(), _run_of(report)),
    ReportKind.NOTIFICATION: lambda report: send_notification(warehouse_conninfo(), _run_of(report)),
    ReportKind.ARCHIVE: _deliver_archive,
    ReportKind.WORKBOOK: _deliver_workbook,
    ReportKind.MAIL: _deliver_mail,
}
"""Kind of report → the function that delivers it, for the relay."""
