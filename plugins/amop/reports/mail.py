"""The report e-mail of an optimization: whether to send it, and its content; it is sent once."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage

from amop import ids
from amop.database.connection import transaction
from amop.reports import store
from amop.reports.report import Report, load_report
from amop.reports.report_mail import Line, MailAddressError, ReportContent, addresses, report_mail
from amop.runs.errors import PipelineError
from amop.runs.session_window import reason_not_to_mail, start_of_local_day
from amop.wording import money, several


class MailSettingsError(PipelineError):
    """The sender or a recipient is not an e-mail address; the message names it."""


def reason_not_mailed(conninfo: str, instance_id: int, *, now: datetime) -> str | None:
    """Return why the report of an instance is not to be mailed, None if it is.

    Only reports of sessions that ``optimization_window`` started may be omitted. The report of a session that an
    operator or the daily sync started is always mailed, once.
    """
    with transaction(conninfo, application_name="amop mail_report") as connection:
        report = load_report(connection, instance_id).stored
        if report.report_mailed_at is not None:
            return "it was mailed before"
        if f"/{ids.window_run_id('')}" not in report.opened_by:
            return None
        day_start = start_of_local_day(now, report.time_zone)
        last = store.last_mailed(connection, instance_id=instance_id, day_start=day_start)
    if last is None:
        return None
    return reason_not_to_mail(now, last_mailed_at=last.report_mailed_at, proposes_the_same=last.proposes_the_same)


def mail_to_send(
    conninfo: str, instance_id: int, *, sender: str, recipients: str, links: dict[str, str]
) -> EmailMessage:
    """Return the report e-mail of an instance.

    Args:
        conninfo: the warehouse.
        instance_id: the instance.
        sender: one address.
        recipients: addresses separated by ``;``.
        links: http addresses by their labels.

    Raises:
        MailSettingsError: an address is invalid.
        InstanceEndedError: the instance ended with errors.
        PipelineError: its results are not written.
    """
    with transaction(conninfo, application_name="amop mail_report") as connection:
        report = load_report(connection, instance_id)
    try:
        (sender,) = addresses(sender)
        content = _content(report, list(links.items()))
        return report_mail(sender, addresses(recipients), report.stored.session_id, content)
    except MailAddressError as error:
        raise MailSettingsError(f"The report is not mailed: {error}") from None
    except ValueError:
        raise MailSettingsError(f"The report is not mailed: the sender {sender!r} is not one address") from None


def _content(report: Report, links: list[Line]) -> ReportContent:
    stored, current, total = report.stored, report.current_cost, report.total_cost
    share = f" ({report.savings_share:.1%})" if current else ""
    more = money(total - current, stored.currency)
    outcome = f"saves {money(report.savings, stored.currency)}" if total <= current else f"costs {more} more"
    return ReportContent(
        title=(
            f"Rate plan optimization: {stored.service_provider_name}, {stored.bill_year}-{stored.bill_month:02}, "
            f"{outcome}{share}"
        ),
        period=(
            f"{stored.tenant_name}, billing period {report.local_time(stored.cycle_start)} to "
            f"{report.local_time(stored.cycle_end)}"
        ),
        figures=[
            ("Cost of the present rate plans", money(current, stored.currency)),
            ("Cost of the optimized rate plans", money(total, stored.currency)),
            ("Savings", money(report.savings, stored.currency) + share),
            ("Proven lower bound of the cost", money(report.lower_bound, stored.currency)),
            ("Gap to the lower bound", f"{report.gap:.4%}"),
            ("Plan changes proposed", f"{stored.change_count:,}"),
            ("SIMs placed, of SIMs expected", f"{stored.device_count:,} of {stored.expected_device_count:,}"),
        ],
        exclusions=[(each.reason.words, several(each.device_count, "SIM")) for each in report.exclusions],
        notes=report.notes,
        warnings=report.warnings,
        dates=[
            ("Last complete device sync", report.local_time(stored.synced_at)),
            ("Usage last read from the carrier", report.local_time(stored.sync_usage_as_of)),
            ("Usage of this optimization as of", report.local_time(stored.usage_as_of)),
        ],
        links=links,
    )
