"""Build the report e-mail: plain text and HTML of the same content, and check its addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

SESSION_HEADER = "X-AMOP-Optimization-Session"
"""Header with the session's id, by which the e-mail can be found and filtered."""

templates = Environment(
    loader=PackageLoader("amop.reports"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class MailAddressError(ValueError):
    """A sender or recipient is not an e-mail address; the message names it."""


Line = tuple[str, str]
"""A label and its value."""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """The content of the e-mail, in words and formatted figures."""

    title: str
    period: str
    figures: Sequence[Line]
    exclusions: Sequence[Line]
    notes: Sequence[str]
    """What to know of the figures, in sentences."""
    warnings: Sequence[str]
    dates: Sequence[Line]
    links: Sequence[Line]
    """Labels and http addresses."""


def addresses(text: str) -> list[str]:
    """Return the addresses of a list separated by ``;``.

    Raises:
        MailAddressError: the list is empty, or one of them is not an e-mail address.
    """
    found = [address.strip() for address in text.split(";") if address.strip()]
    if not found:
        raise MailAddressError(f"{text!r} has no e-mail address")
    for address in found:
        name, _, domain = parseaddr(address)[1].partition("@")
        if not name or not domain or any(character in address for character in "\r\n"):
            raise MailAddressError(f"{address!r} is not an e-mail address")
    return found


def report_mail(sender: str, recipients: Sequence[str], session_id: int, content: ReportContent) -> EmailMessage:
    """Return the e-mail: multipart/alternative, plain text first."""
    values = asdict(content)
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = " ".join(content.title.split())
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Auto-Submitted"] = "auto-generated"
    mail[SESSION_HEADER] = str(session_id)
    mail.set_content(templates.get_template("optimization_report.txt.j2").render(values))
    mail.add_alternative(templates.get_template("optimization_report.html.j2").render(values), subtype="html")
    return mail
