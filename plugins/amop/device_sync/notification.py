"""Build the message on the device notification queue (SQS): this provider's sync is staged."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime

from amop.database.connection import transaction
from amop.device_sync.store import reports
from amop.messages.queue_message import StagedMessage
from amop.runs.sync_runs import load_run, require_running

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notification:
    """An SQS message: its JSON body and its attributes."""

    body: str
    attributes: dict[str, dict[str, str]]
    """Name → ``DataType`` and ``StringValue``."""
    group_id: str
    """Group of a FIFO queue: the messages of one provider stay in order."""
    deduplication_id: str
    """The same on every repetition of the message; a FIFO queue drops the second one."""

    def queue_arguments(self, queue_url: str) -> dict[str, str]:
        """Return the further arguments of ``send_message``: those of a FIFO queue, none for a standard queue."""
        if not queue_url.endswith(".fifo"):
            return {}
        return {"MessageGroupId": self.group_id, "MessageDeduplicationId": self.deduplication_id}


def notification_to_send(conninfo: str, run_id: int) -> Notification | None:
    """Return the notification of a staged run, None if it has been sent or cannot be sent.

    It cannot be sent while the reference file gives no ``integration_type``: the clean-up of the existing system
    rejects a message without it.

    Raises:
        SyncRunEndedError: the run has failed or was refused.
    """
    with transaction(conninfo, application_name="amop publish_notification") as connection:
        run = load_run(connection, run_id)
        facts = reports.notification_facts(connection, run_id=run_id)
        if run.notification_sent_at is not None or facts is None:
            return None
        if not run.is_complete:
            require_running(run)
        if facts.integration_type is None:
            log.warning(
                "%s: no message is sent to the device notification queue: integration %s has no integration_type. Set "
                "its number in the existing system in the reference file (integrations), and load the file",
                run.label,
                facts.integration,
            )
            return None
    message = StagedMessage(
        integration_type=facts.integration_type,
        service_provider_id=run.service_provider_id,
        run_id=run_id,
        remaining_rows=facts.work_rows_left,
        optimization_session_id=run.optimization_session_id,
    )
    body = {
        "run_id": run_id,
        "integration": run.integration,
        "service_provider_id": run.service_provider_id,
        "optimization_session_id": run.optimization_session_id,
        "devices_seen": run.devices_seen,
    }
    return Notification(
        json.dumps(body),
        message.attributes(),
        group_id=f"service_provider_{run.service_provider_id}",
        deduplication_id=f"device_sync_run_{run_id}",
    )


def mark_notification_sent(conninfo: str, run_id: int, *, now: datetime) -> None:
    """Record that the notification was sent, so that a repeated task does not send it again."""
    with transaction(conninfo, application_name="amop publish_notification") as connection:
        reports.mark_notification_sent(connection, run_id=run_id, now=now)
