"""The report of an optimization as an e-mail: plain text and HTML of one content, for whoever reads which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

SESSION_HEADER = "X-AMOP-Optimization-Session"
"""Names the session, so that a mail can be found and filtered by it."""

templates = Environment(
    loader=PackageLoader("amop.notify"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class MailAddressError(ValueError):
    """A sender or recipient is no e-mail address; the message names it."""


Line = tuple[str, str]
"""A label and what stands beside it."""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What the mail says, in words and formatted figures."""

    title: str
    period: str
    figures: Sequence[Line]
    left_out: Sequence[Line]
    warnings: Sequence[str]
    dates: Sequence[Line]
    links: Sequence[Line]
    """Labels and http addresses."""


def addresses(text: str) -> list[str]:
    """Return the addresses of a list separated by ``;``.

    Raises:
        MailAddressError: there is none, or one of them is no e-mail address.
    """
    found = [address.strip() for address in text.split(";") if address.strip()]
    if not found:
        raise MailAddressError(f"{text!r} holds no e-mail address")
    for address in found:
        name, _, domain = parseaddr(address)[1].partition("@")
        if not name or not domain or any(character in address for character in "\r\n"):
            raise MailAddressError(f"{address!r} is no e-mail address")
    return found


def report_mail(sender: str, recipients: Sequence[str], session_id: int, content: ReportContent) -> EmailMessage:
    """Return the mail: multipart/alternative, plain text first."""
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
