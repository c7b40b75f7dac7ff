"""A carrier's response as it was received: the archive stores it and a back-fill reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


class ReceivedDocument(dict[str, Any]):
    """A JSON object with the bytes that it was parsed from, so that it need not be written as JSON again.

    Args:
        document: the object.
        body: the response body, UTF-8; parsing it again gives the same object. A changed copy of the object is an
            ordinary dict.
    """

    __slots__ = ("body",)

    def __init__(self, document: dict[str, Any], body: bytes) -> None:
        super().__init__(document)
        self.body = body


@dataclass(frozen=True, slots=True)
class CarrierPage:
    """One response with its request."""

    kind: str
    """As in ``device_usage_to_process``: ``device_list``, ``rate_plan_usage``, ``device_usage``, ``device_details``."""
    received_at: datetime
    document: Any
    """The parsed body; for a refusal its status, the carrier's error text and the reason."""
    scan_pass: int = 1
    """Number of the pass over the list or the plan's usage; a later pass replaces an earlier one."""
    page_number: int = 1
    rate_plan_code: str = ""
    rate_plan_version: int = 0
    usage_type: str = ""
    iccid: str = ""
    is_refusal: bool = False
    """True when the carrier refused the request for this SIM with a final error."""

    @property
    def question(self) -> tuple[str, str, int, str, str]:
        """The request, without page number and pass."""
        return self.kind, self.rate_plan_code, self.rate_plan_version, self.usage_type, self.iccid
