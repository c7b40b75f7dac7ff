"""The message that operators receive: one cause, all providers that it concerns, what to do first, a link for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from amop.notifications.rules import KINDS
from amop.notifications.store import PendingNotification

NAMES_IN_SUBJECT = 3
MOST_ENTRIES = 50
"""Providers that a message lists; ``bin/amop status`` shows all."""

_templates = Environment(
    loader=PackageLoader("amop.notifications"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a message says about one provider."""

    provider: str
    lines: list[str]
    """The cause, or the figures of a report."""
    link: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message to operators."""

    kind: str
    subject: str
    title: str
    entries: list[Entry]
    excluded: int
    """Providers beyond `MOST_ENTRIES`."""
    first_step: str

    @property
    def text(self) -> str:
        """The message as plain text."""
        return _templates.get_template("notification.txt.j2").render(message=self)

    @property
    def html(self) -> str:
        """The message as HTML; texts of carriers and AMOP in it are shown as text."""
        return _templates.get_template("notification.html.j2").render(message=self)


def build_message(notifications: Sequence[PendingNotification], *, base_url: str) -> Message:
    """Return the message of notifications of one cause.

    Args:
        notifications: at least one, all of one kind.
        base_url: Airflow's address.
    """
    first, title = notifications[0], KINDS[notifications[0].kind]
    names = list(dict.fromkeys(each.provider for each in notifications if each.provider))
    more = f" and {len(names) - NAMES_IN_SUBJECT} more" if len(names) > NAMES_IN_SUBJECT else ""
    about = f": {', '.join(names[:NAMES_IN_SUBJECT])}{more}" if names else ""
    root = base_url.rstrip("/")
    return Message(
        kind=first.kind,
        subject=" ".join(f"AMOP: {title}{about}".split()),
        title=title,
        entries=[
            Entry(each.provider, each.cause.splitlines(), f"{root}/{each.address}")
            for each in notifications[:MOST_ENTRIES]
        ],
        excluded=max(0, len(notifications) - MOST_ENTRIES),
        first_step=first.first_step,
    )
