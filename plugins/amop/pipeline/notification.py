"""The message on the device notification queue: this provider's sync is staged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from amop.pipeline.sync_runs import load_run, running_run
from amop.warehouse import sql
from amop.warehouse.connection import transaction


@dataclass(frozen=True, slots=True)
class Notification:
    """An SQS message: its JSON body and its attributes."""

    body: str
    attributes: dict[str, Any]


def notification_to_send(conninfo: str, run_id: int) -> Notification | None:
    """Return the notification of a run whose sync is staged, or None when it was sent before.

    Raises:
        SyncRunEndedError: the run has failed or was refused.
    """
    with transaction(conninfo, application_name="amop publish_notification") as connection:
        run = load_run(connection, run_id)
        if run["notification_sent_at"] is not None:
            return None
        if run["status"] != "complete":
            running_run(connection, run_id)
    body = {
        "run_id": run_id,
        "integration": run["integration"],
        "service_provider_id": run["service_provider_id"],
        "optimization_session_id": run["optimization_session_id"],
        "devices_seen": run["devices_seen"],
    }
    attributes = {
        "RunId": {"DataType": "Number", "StringValue": str(run_id)},
        "ServiceProviderId": {"DataType": "Number", "StringValue": str(run["service_provider_id"])},
    }
    return Notification(json.dumps(body), attributes)


def mark_notified(conninfo: str, run_id: int, *, now: datetime) -> None:
    """Note that the notification was sent, so that a repeated task does not send it again."""
    with transaction(conninfo, application_name="amop publish_notification") as connection:
        connection.execute(sql.load("sync/mark_notified"), {"run_id": run_id, "now": now})
