"""An answer of a carrier as it came: what the archive keeps and a back-fill reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class CarrierPage:
    """One answer, and what was asked."""

    kind: str
    """As in ``device_usage_to_process``: ``device_list``, ``rate_plan_usage``, ``device_usage``, ``device_details``."""
    received_at: datetime
    document: Any
    """The body, parsed; of a refusal its status, the carrier's words and the reason given."""
    scan_pass: int = 1
    """Which reading of the list, or of the plan's usage: one that was read again replaces the one before."""
    page_number: int = 1
    rate_plan_code: str = ""
    rate_plan_version: int = 0
    usage_type: str = ""
    iccid: str = ""
    is_refusal: bool = False
    """True when the carrier refused this one SIM with a final error."""

    @classmethod
    def answer_to(cls, work: Mapping[str, Any], document: Any, now: datetime, *, is_refusal: bool = False) -> Self:
        """Return the answer to a row of ``device_usage_to_process``."""
        names = ("page_number", "rate_plan_code", "rate_plan_version", "usage_type", "iccid")
        asked = {name: work[name] for name in names}
        return cls(work["kind"], now, document, scan_pass=work.get("scan_pass", 1), is_refusal=is_refusal, **asked)

    @property
    def question(self) -> tuple[str, str, int, str, str]:
        """What was asked, whatever the page and the reading."""
        return self.kind, self.rate_plan_code, self.rate_plan_version, self.usage_type, self.iccid
