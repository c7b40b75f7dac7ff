"""The report e-mail: both parts say the same, nothing of a name becomes markup or a header, addresses are addresses."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest

from amop.reports.report_mail import MailAddressError, ReportContent, addresses, report_mail

CONTENT = ReportContent(
    title="Rate plan optimization: AT&T, 2026-11, saves USD 85.00 (88.5%)",
    period="Acme IoT, billing period 2026-10-18 18:00 to 2026-11-18 18:00",
    figures=[("Savings", "85.00"), ("SIMs placed, of SIMs expected", "3 of 4")],
    exclusions=[("Its communication plan is not mapped to any rate plan", "1 SIM")],
    notes=["The plan changes are capped by maximum_changes = 3"],
    warnings=["Only 3 of 4 expected SIMs were placed"],
    dates=[("Last complete device sync", "2026-11-03 05:30 America/New_York")],
    links=[("Workbook", "https://s3.example/b/k.xlsx?a=1&b=2"), ("Run in Airflow", "https://airflow.example/dags/d")],
)


def parts(content: ReportContent) -> tuple[str, str]:
    """Return plain text and HTML as a reader's mail program decodes them."""
    mail = message_from_bytes(
        report_mail("from@amop.example", ["to@amop.example"], 7, content).as_bytes(), policy=default
    )
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return text.get_content(), html.get_content()


def test_both_parts_say_everything() -> None:
    text, html = parts(CONTENT)
    for said in (
        "85.00",
        "3 of 4",
        "is not mapped to any rate plan",
        "Only 3 of 4 expected",
        "maximum_changes = 3",
        "2026-11-03 05:30",
    ):
        assert said in text and said in html, said
    assert "https://s3.example/b/k.xlsx?a=1&b=2" in text
    assert '<a href="https://s3.example/b/k.xlsx?a=1&amp;b=2">Workbook</a>' in html


def test_without_warnings_and_exclusions_there_is_no_heading_for_them() -> None:
    text, html = parts(replace(CONTENT, warnings=[], exclusions=[]))
    for part in (text, html):
        assert "Warning" not in part and "Excluded SIMs" not in part


def test_markup_in_a_name_is_text_in_the_html() -> None:
    text, html = parts(replace(CONTENT, warnings=['<script>alert("1")</script>'], title="A <b>& B"))
    assert "<script>" not in html and "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in html
    assert '<script>alert("1")</script>' in text
    assert "A &lt;b&gt;&amp; B" in html


def test_a_line_break_in_a_name_is_no_header() -> None:
    content = replace(CONTENT, title="Provider\r\nBcc: everyone@evil.example")
    mail = message_from_bytes(report_mail("a@b.example", ["c@d.example", "Ops <e@f.example>"], 7, content).as_bytes())
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Provider Bcc: everyone@evil.example"
    assert (mail["To"], mail["Auto-Submitted"]) == ("c@d.example, Ops <e@f.example>", "auto-generated")
    assert mail["X-AMOP-Optimization-Session"] == "7"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@b.example", ["a@b.example"]),
        (" a@b.example ;c@d.example; ", ["a@b.example", "c@d.example"]),
        ("Billing <a@b.example>", ["Billing <a@b.example>"]),
    ],
)
def test_addresses_are_separated_by_semicolons(text: str, found: list[str]) -> None:
    assert addresses(text) == found


@pytest.mark.parametrize(
    "text", ["", " ; ", "operations", "a@", "@b.example", "a@b.example;ops", "a@b.example\r\nBcc: c@d.e"]
)
def test_what_is_no_address_is_refused_and_named(text: str) -> None:
    with pytest.raises(MailAddressError, match="e-mail address"):
        addresses(text)
