"""The message on the device notification queue (SQS), with the attributes of the clean-up of the existing system.

All attributes have the data type ``String``, numbers and flags included, as that clean-up reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

SOURCE = "airflow"
"""Attribute ``Source`` of this package's own messages; they start no clean-up here."""

MAX_TRIES = 14
"""Polls of a clean-up that a queue message starts, unless the message gives a number."""

DELAY = timedelta(seconds=300)
"""Time between two polls, unless the message gives one."""

NO_SESSION = 0
"""``OptimizationSessionId`` of a message without a session: SQS does not accept an empty text."""


@dataclass(frozen=True, slots=True)
class StagedMessage:
    """A provider whose staging a clean-up is to wait for and to merge."""

    integration_type: int
    """Number of the integration in the existing system."""
    service_provider_id: int
    run_id: int
    remaining_rows: int
    """Work rows that are left when the message is sent."""
    optimization_session_id: int | None
    """The session that the clean-up is to continue, None where it is not to optimize."""

    def attributes(self) -> dict[str, dict[str, str]]:
        """Return the message attributes: name → ``DataType`` and ``StringValue``."""
        session_id = self.optimization_session_id
        texts = {
            "IntegrationType": str(self.integration_type),
            "ServiceProviderId": str(self.service_provider_id),
            "RetryCount": "0",
            "MaxRetries": str(MAX_TRIES),
            "DelayBetweenRetries": str(round(DELAY.total_seconds())),
            "RemainingRowsToProcess": str(self.remaining_rows),
            "ShouldQueueCarrierOptimization": "false" if session_id is None else "true",
            "OptimizationSessionId": str(NO_SESSION if session_id is None else session_id),
            "RunId": str(self.run_id),
            "Source": SOURCE,
        }
        return {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
