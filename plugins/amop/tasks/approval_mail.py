"""The "approval required" e-mail, by Airflow's own SES notifier."""

from __future__ import annotations

import logging

from airflow.sdk import Context

from amop import ids
from amop.tasks.connections import optional_variable, warehouse_conninfo
from amop.tasks.dag_runs import run_address
from amop.tasks.ses_notifier import LimitedSesNotifier

log = logging.getLogger(__name__)

FEATURE = "the approval required e-mail"


class ApprovalMail(LimitedSesNotifier):
    """Mail an approval request to the recipients of the report, where sender and recipients are set.

    A mail that cannot be sent never fails the request: it becomes a warning on the instance.
    """

    def __init__(self) -> None:
        super().__init__(aws_conn_id=ids.AWS_CONNECTION, mail_from="", to=[], subject="", html_content="")

    def notify(self, context: Context) -> None:
        """Send the mail of the request of the context's task; send none without recipients."""
        from amop.optimization.instances import add_warning
        from amop.reports.approval_mail import APPROVAL_HEADER, approval_html
        from amop.reports.report_mail import addresses

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
            text = f"The approval required e-mail was not sent: {str(error) or type(error).__name__}"
            log.warning("%s", text)
            try:
                add_warning(warehouse_conninfo(), instance_id, text)
            except Exception:
                log.exception("The warning could not be recorded on the instance")
        else:
            log.info("Approval required e-mail sent to %s", ", ".join(self.to))
