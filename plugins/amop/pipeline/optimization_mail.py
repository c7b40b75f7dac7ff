"""The report e-mail of an optimization: totals, savings, last sync dates, links; mailed once."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from email.message import EmailMessage

from amop import ids
from amop.domain.session_window import reason_not_to_mail, start_of_local_day
from amop.notify.report_mail import Line, MailAddressError, ReportContent, addresses, report_mail
from amop.pipeline.errors import PipelineError
from amop.pipeline.optimization_report import Facts, local_time, report_facts
from amop.warehouse import sql
from amop.warehouse.connection import transaction


class MailSettingsError(PipelineError):
    """Sender or recipients cannot be mailed to; the message names the address."""


def why_not_mailed(conninfo: str, instance_id: int, *, now: datetime) -> str | None:
    """Return why the report of an instance is not mailed, None when it is.

    Only sessions that ``optimization_window`` has started may be passed over; what a person or the daily sync has
    started is mailed always, once.
    """
    with transaction(conninfo, application_name="amop mail_report") as connection:
        facts = report_facts(connection, instance_id)
        if facts["report_mailed_at"] is not None:
            return "it was mailed before"
        if f"/{ids.window_run_id('')}" not in facts["opened_by"]:
            return None
        values = {"instance_id": instance_id, "day_start": start_of_local_day(now, facts["time_zone"])}
        last = connection.execute(sql.load("reports/last_mailed"), values).fetchone()
    if last is None:
        return None
    return reason_not_to_mail(now, last_mailed_at=last["report_mailed_at"], proposes_the_same=last["proposes_the_same"])


def mail_to_send(
    conninfo: str, instance_id: int, *, sender: str, recipients: str, links: dict[str, str]
) -> EmailMessage:
    """Return the report e-mail of an instance.

    Args:
        conninfo: the warehouse.
        instance_id: whose report.
        sender: one address.
        recipients: addresses separated by ``;``.
        links: http addresses by what stands for them.

    Raises:
        MailSettingsError: an address is none.
        InstanceEndedError: the instance ended with errors.
        PipelineError: its results are not written.
    """
    with transaction(conninfo, application_name="amop mail_report") as connection:
        facts = report_facts(connection, instance_id)
    try:
        (sender,) = addresses(sender)
        return report_mail(sender, addresses(recipients), facts["session_id"], _content(facts, list(links.items())))
    except MailAddressError as error:
        raise MailSettingsError(f"The report is not mailed: {error}") from None
    except ValueError:
        raise MailSettingsError(f"The report is not mailed: the sender {sender!r} is not one address") from None


def _content(facts: Facts, links: list[Line]) -> ReportContent:
    current, total = facts["current_cost"], facts["total_cost"]
    share = f" ({facts['savings'] / current:.1%})" if current else ""
    outcome = f"saves {_money(facts['savings'])}" if total <= current else f"costs {_money(total - current)} more"
    return ReportContent(
        title=(
            f"Rate plan optimization: {facts['service_provider_name']}, {facts['bill_year']}-{facts['bill_month']:02}, "
            f"{outcome}{share}"
        ),
        period=(
            f"{facts['tenant_name']}, billing period {local_time(facts, facts['cycle_start'])} to "
            f"{local_time(facts, facts['cycle_end'])}"
        ),
        figures=[
            ("Cost of the present rate plans", _money(current)),
            ("Cost of the optimized rate plans", _money(total)),
            ("Savings", _money(facts["savings"]) + share),
            ("Proved: no assignment costs less than", _money(facts["lower_bound"])),
            ("Gap to that bound", f"{facts['gap']:.4%}"),
            ("Plan changes proposed", f"{facts['change_count']:,}"),
            ("SIMs placed, of SIMs expected", f"{facts['device_count']:,} of {facts['expected_device_count']:,}"),
        ],
        left_out=[(reason["words"], f"{reason['device_count']:,}") for reason in facts["left_out"]],
        warnings=(facts["warning"] or "").splitlines(),
        dates=[
            ("Last complete device sync", local_time(facts, facts["synced_at"])),
            ("Usage last read from the carrier", local_time(facts, facts["sync_usage_as_of"])),
            ("Usage of this optimization as of", local_time(facts, facts["usage_as_of"])),
        ],
        links=links,
    )


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"
