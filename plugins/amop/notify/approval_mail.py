"""The e-mail that an approval waits: what the question says in Airflow, as HTML, and where to answer it."""

from __future__ import annotations

from markdown_it import MarkdownIt

from amop.notify.report_mail import templates

APPROVAL_HEADER = "X-AMOP-Approval-Of-Instance"
"""Names the optimization instance, so that a mail can be found and filtered by it."""


def approval_html(subject: str, body: str, *, address: str, run: str) -> str:
    """Return the mail's HTML.

    Args:
        subject: headline of the question.
        body: the question in Markdown; HTML in it is shown as text.
        address: of the question in Airflow's UI.
        run: ``<dag id>/<run id>``, as ``bin/amop approvals`` takes it.
    """
    question = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    return templates.get_template("approval.html.j2").render(
        subject=subject, question=question, address=address, run=run
    )
