"""How operators are notified: by SES mail, or by any of Airflow's notifiers that Variable ``amop_notifier`` names.

The Variable is a JSON document: ``notifier`` is the path of the notifier's class, ``arguments`` are its arguments. In
them ``{{ subject }}``, ``{{ text }}``, ``{{ html }}``, ``{{ kind }}``, ``{{ providers }}``, ``{{ first_step }}`` and
``{{ link }}`` stand for the parts of the message. A webhook, for example::

    {"notifier": "airflow.providers.http.notifications.http.HttpNotifier",
     "arguments": {"http_conn_id": "alerts", "json": {"text": "{{ subject }}\\n{{ text }}"}}}

Secrets belong in the connection that the notifier uses, never in the Variable.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from airflow.sdk import BaseNotifier, Variable

from amop import ids, time_limits
from amop.notifications import rules
from amop.notifications.message import Message
from amop.tasks.connections import notifier_connection, optional_variable

log = logging.getLogger(__name__)

FEATURE = "the notification of operators"
DEFAULT_DUE_HOUR = 8
LAST_HOUR = 23

Send = Callable[[Message], None]


class NotifierSettingError(ValueError):
    """A Variable of the notifications is wrong; the message names it and says what it must be."""


def sender() -> Send | None:
    """Return what sends a message; None, with a line in the log, where nothing is set up.

    Raises:
        NotifierSettingError: Variable ``amop_notifier`` is wrong.
        MailAddressError: a mail address is wrong; the message names it.
    """
    setting = Variable.get(ids.NOTIFIER_VARIABLE, default=None)
    return _by_setting(str(setting)) if setting else _by_mail()


def kinds_off() -> frozenset[str]:
    """Return the kinds that Variable ``amop_notifications_off`` names.

    Raises:
        NotifierSettingError: one of them is no kind of notification.
    """
    try:
        return rules.switched_off(Variable.get(ids.NOTIFICATIONS_OFF_VARIABLE, default=None))
    except ValueError as error:
        raise NotifierSettingError(f"Variable {ids.NOTIFICATIONS_OFF_VARIABLE}: {error}") from None


def sync_due_hour() -> int:
    """Return the local hour at which a daily sync must be complete.

    Raises:
        NotifierSettingError: Variable ``amop_sync_due_hour_local`` is not an hour.
    """
    text = str(Variable.get(ids.SYNC_DUE_HOUR_VARIABLE, default=DEFAULT_DUE_HOUR)).strip()
    if not text.isascii() or not text.isdigit() or int(text) > LAST_HOUR:
        raise NotifierSettingError(f"Variable {ids.SYNC_DUE_HOUR_VARIABLE} must be an hour from 0 to {LAST_HOUR}")
    return int(text)


def _by_mail() -> Send | None:
    from amop.reports.report_mail import addresses
    from amop.tasks.ses_notifier import LimitedSesNotifier

    mail_from = optional_variable(ids.MAIL_FROM_VARIABLE, FEATURE)
    mail_to = optional_variable(ids.MAIL_TO_VARIABLE, FEATURE)
    if mail_from is None or mail_to is None:
        return None
    notifier = LimitedSesNotifier(
        aws_conn_id=ids.AWS_CONNECTION,
        mail_from=addresses(mail_from)[0],
        to=addresses(mail_to),
        subject="",
        html_content="",
    )

    def send(message: Message) -> None:
        # Set here and not rendered: a carrier's words in it must not be taken for a template.
        notifier.subject, notifier.html_content = message.subject, message.html
        notifier.custom_headers = {"Auto-Submitted": "auto-generated", "X-AMOP-Notification": message.kind}
        notifier.notify({})

    return send


def _by_setting(text: str) -> Send:
    must = f"Variable {ids.NOTIFIER_VARIABLE} must be JSON with notifier (the path of a class) and arguments"
    try:
        setting = json.loads(text)
        path, arguments = setting["notifier"], setting.get("arguments", {})
        notifier_class = resolve_name(path)
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise NotifierSettingError(f"{must}: {type(error).__name__}") from None
    if not isinstance(notifier_class, type) or not issubclass(notifier_class, BaseNotifier):
        raise NotifierSettingError(f"{must}: {path} is not a notifier")

    def send(message: Message) -> None:
        _check_webhook(arguments)
        notifier = notifier_class(**_with_time_limit(path, arguments))
        context: Any = {
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "kind": message.kind,
            "providers": ", ".join(entry.provider for entry in message.entries if entry.provider),
            "first_step": message.first_step,
            "link": message.entries[0].link,
        }
        notifier.render_template_fields(context)
        notifier.notify(context)

    return send


def _check_webhook(arguments: dict[str, Any]) -> None:
    """Check the connection of a webhook and keep its secrets out of logs and tables."""
    connection_id = arguments.get("http_conn_id")
    if connection_id:
        notifier_connection(str(connection_id))


def _with_time_limit(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with a time limit for the notifier that would wait for ever without one."""
    if not path.endswith(".HttpNotifier"):
        return arguments
    limit = {"timeout": time_limits.AWS_READ.total_seconds()}
    return arguments | {"extra_options": limit | (arguments.get("extra_options") or {})}
