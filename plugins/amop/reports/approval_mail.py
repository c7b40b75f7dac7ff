"""The "approval required" e-mail: the approval request as HTML, with a link to answer it in Airflow."""

from __future__ import annotations

from markdown_it import MarkdownIt

from amop.reports.report_mail import templates

APPROVAL_HEADER = "X-AMOP-Approval-Of-Instance"
"""Header with the instance's id, by which the e-mail can be found and filtered."""


def approval_html(subject: str, body: str, *, address: str, run: str) -> str:
    """Return the HTML of the e-mail.

    Args:
        subject: headline of the approval request.
        body: the approval request in Markdown; HTML in it is shown as text.
        address: address of the approval request in Airflow's UI.
        run: ``<dag id>/<run id>``, as ``bin/amop approvals`` takes it.
    """
    request = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    return templates.get_template("approval.html.j2").render(subject=subject, request=request, address=address, run=run)
