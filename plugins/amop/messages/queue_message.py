"""The message on the device notification queue (SQS), with the attributes of the clean-up of the existing system.

All attributes have the data type ``String``, numbers and flags included, as that clean-up reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from amop.foreign_text import storable_error

SOURCE = "airflow"
"""Attribute ``Source`` of this package's own messages; they start no clean-up here."""

MAX_TRIES = 14
"""Polls of a clean-up that a queue message starts, unless the message gives a number."""

DELAY = timedelta(seconds=300)
"""Time between two polls, unless the message gives one."""

LONGEST_WAIT = timedelta(hours=23)
"""Longest wait that a message may ask for; the sensor's own limit is a day."""

FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}

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


class UnusableMessageError(ValueError):
    """A queue message cannot start a clean-up; the message says why, by the name of the attribute."""


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message as it was received from the queue; strings only, fit for XCom and JSON."""

    message_id: str
    receipt_handle: str
    """Deletes this delivery of the message."""
    body: str
    attributes: dict[str, str]
    """Attributes of type String or Number, as text."""
    sent_at: datetime | None
    """When it was put on the queue; None = not known."""

    @classmethod
    def from_sqs(cls, raw: Mapping[str, Any]) -> QueueMessage:
        """Read a message of ``receive_message``; binary attributes are dropped."""
        sent = (raw.get("Attributes") or {}).get("SentTimestamp")
        return cls(
            message_id=str(raw["MessageId"]),
            receipt_handle=str(raw["ReceiptHandle"]),
            body=storable_error(str(raw.get("Body", ""))),
            attributes={
                str(name): storable_error(str(value["StringValue"]))
                for name, value in (raw.get("MessageAttributes") or {}).items()
                if value.get("StringValue") is not None
            },
            sent_at=datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None,
        )

    @property
    def is_own(self) -> bool:
        """True for a message that this package sent itself."""
        return self.attributes.get("Source", "").strip().lower() == SOURCE


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a message of another system asks for."""

    integration_type: int
    service_provider_id: int
    max_tries: int
    """Tries that are left: ``MaxRetries`` less ``RetryCount``."""
    delay: timedelta
    should_optimize: bool
    optimization_session_id: int | None


def read_start_request(message: QueueMessage) -> StartRequest:
    """Return what a message asks for.

    Raises:
        UnusableMessageError: an attribute is missing or has no usable value; the error names it.
    """
    given = message.attributes
    most, done = _number(given, "MaxRetries", MAX_TRIES), _number(given, "RetryCount", 0)
    delay = timedelta(seconds=_number(given, "DelayBetweenRetries", round(DELAY.total_seconds())))
    tries = max(1, most - done)
    if not timedelta(0) < tries * delay <= LONGEST_WAIT:
        raise UnusableMessageError(
            f"MaxRetries {most} and DelayBetweenRetries {delay.total_seconds():.0f} are a wait of "
            f"{tries * delay}; allowed: more than 0, at most {LONGEST_WAIT}"
        )
    session_id = _number(given, "OptimizationSessionId", NO_SESSION)
    return StartRequest(
        integration_type=_number(given, "IntegrationType"),
        service_provider_id=_number(given, "ServiceProviderId"),
        max_tries=tries,
        delay=delay,
        should_optimize=_flag(given, "ShouldQueueCarrierOptimization"),
        optimization_session_id=None if session_id == NO_SESSION else session_id,
    )


def _number(given: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = given.get(name, "").strip()
    if not text and default is not None:
        return default
    if not text:
        raise UnusableMessageError(f"message attribute {name} is missing")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UnusableMessageError(f"message attribute {name} is {text[:40]!r}; allowed: a number of up to 9 digits")
    return int(text)


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false").strip().lower()
    if text not in FLAGS:
        raise UnusableMessageError(f"message attribute {name} is {text[:40]!r}; allowed: true or false")
    return FLAGS[text]
