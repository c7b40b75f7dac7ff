"""The e-mail that an approval waits, by Airflow's own SES notifier."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.notifications.ses import SesNotifier
from airflow.sdk import Context

from amop import ids
from amop.orchestration.connections import aws_hook, optional_variable, warehouse_conninfo
from amop.orchestration.dag_runs import run_address

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.ses import SesHook

log = logging.getLogger(__name__)

FEATURE = "the e-mail that an approval waits"


class ApprovalMail(SesNotifier):
    """Mail a question that waits to the recipients of the report, where sender and recipients are set.

    A mail that cannot be sent never costs the question itself: it becomes a warning of the instance.
    """

    def __init__(self) -> None:
        super().__init__(aws_conn_id=ids.AWS_CONNECTION, mail_from="", to=[], subject="", html_content="")

    @cached_property
    def hook(self) -> SesHook:
        """Airflow's hook, whose calls end in time."""
        from airflow.providers.amazon.aws.hooks.ses import SesHook

        return aws_hook(SesHook)

    def notify(self, context: Context) -> None:
        """Send the mail of the question that the context's task asks; without recipients there is none."""
        from amop.notify.approval_mail import APPROVAL_HEADER, approval_html
        from amop.notify.report_mail import addresses
        from amop.pipeline.optimization_report import warn

        sender = optional_variable(ids.MAIL_FROM_VARIABLE, FEATURE)
        recipients = optional_variable(ids.MAIL_TO_VARIABLE, FEATURE)
        if sender is None or recipients is None:
            return
        question, dag_run = context["task"], context["dag_run"]
        instance_id = question.instance["instance_id"]
        try:
            (self.mail_from,), self.to = addresses(sender), addresses(recipients)
            self.subject = " ".join(question.subject.split())
            self.html_content = approval_html(
                question.subject,
                question.body,
                address=f"{run_address(dag_run)}/tasks/{question.task_id}/required_actions",
                run=f"{dag_run.dag_id}/{dag_run.run_id}",
            )
            self.custom_headers = {APPROVAL_HEADER: str(instance_id), "Auto-Submitted": "auto-generated"}
            super().notify(context)
        except Exception as error:
            log.exception("Nobody was mailed that an approval waits")
            text = f"Nobody was mailed that an approval waits: {str(error) or type(error).__name__}"
            try:
                warn(warehouse_conninfo(), instance_id, text)
            except Exception:
                log.exception("The warning could not be written to the instance")
        else:
            log.info("Mailed to %s that an approval waits", ", ".join(self.to))
