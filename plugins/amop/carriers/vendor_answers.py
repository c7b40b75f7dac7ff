"""Classify the answers of the carriers: by HTTP status, by the vendor's error code and by the body.

Control Center's error body (developer.cisco.com/docs/control-center, "Error codes") is
``{"errorMessage": "…", "errorCode": "10000001"}``; it may come with any status, 200 included. ThingSpace has the same
one, ``{"fault": {"code": "900901", "message": "…"}}`` from its gateway, and OAuth's ``{"error": "…"}`` (RFC 6749, 5.2).
Teal's is ``{"success": false, "errorCode": "ESIM_NOT_FOUND", "errorMessage": "…"}``, also with status 200.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from amop.foreign_text import SecretScrubber, clean_text

TEXT_LENGTH = 300
"""Longest text of the carrier in a message, in characters."""
LONGEST_CODE = 80


class AnswerKind(Enum):
    """What an answer means for the next call."""

    SUCCESS = "success"
    THROTTLED = "throttled"
    """Too many calls: the carrier works, and the call is to be repeated after a pause."""
    FAILING = "failing"
    """The carrier reports a failure of its own; the call is to be repeated."""
    UNREADABLE = "unreadable"
    """A 2xx answer that is not a JSON object, or that reports an error; the call is to be repeated."""
    WRONG_CREDENTIALS = "wrong credentials"
    REFUSED = "refused"
    """Final for the request."""


ERROR_CODES = {
    "40000029": AnswerKind.THROTTLED,
    "GENERIC_ERROR": AnswerKind.FAILING,
    "UNAUTHORIZED": AnswerKind.WRONG_CREDENTIALS,
    "ESIM_NOT_FOUND": AnswerKind.REFUSED,
    "VALIDATION_ERROR": AnswerKind.REFUSED,
    "FLOW_RESTRICTED_ERROR": AnswerKind.REFUSED,
}
"""Vendor error code → meaning, whatever the status is; all other codes mean what their status means."""

NOT_FOUND = 404
NOT_FOUND_CODES = frozenset({"ESIM_NOT_FOUND", "UnifiedWebService.REQUEST_FAILED.DeviceNotFound"})
"""Vendor error codes of a SIM that the carrier does not have, with any status: Teal's has 200, ThingSpace's 400."""

_STATUSES = {401: AnswerKind.WRONG_CREDENTIALS, 408: AnswerKind.FAILING, 425: AnswerKind.THROTTLED,
             429: AnswerKind.THROTTLED}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the carrier."""

    status: int
    retry_after: str | None
    """The ``Retry-After`` header."""
    document: Any
    """The parsed body without secrets; None for an empty body, and for an error page that is not JSON."""

    @property
    def has_error_body(self) -> bool:
        """True where the body reports an error, whatever the status is."""
        return any(self._error())

    @property
    def error_code(self) -> str:
        """The vendor's error code, empty without one."""
        return str(self._error()[1]).strip()

    def _error(self) -> tuple[Any, Any]:
        """Return message and code of an error body; both are empty or None for another one."""
        document = self.document
        if not isinstance(document, dict):
            return "", ""
        fault = document.get("fault")
        if isinstance(fault, dict):
            return fault.get("message"), fault.get("code") or ""
        if document.get("errorMessage") or document.get("errorCode"):
            return document.get("errorMessage"), document.get("errorCode") or ""
        if document.get("success") is False:
            return document.get("message") or "success is false", ""
        return document.get("error_description"), document.get("error") or ""

    @property
    def kind(self) -> AnswerKind:
        """What the answer means for the next call."""
        if self.has_error_body and (kind := ERROR_CODES.get(self.error_code)):
            return kind
        if 200 <= self.status < 300:
            is_readable = isinstance(self.document, dict) and not self.has_error_body
            return AnswerKind.SUCCESS if is_readable else AnswerKind.UNREADABLE
        return _STATUSES.get(self.status) or (AnswerKind.FAILING if self.status >= 500 else AnswerKind.REFUSED)

    @property
    def is_not_found(self) -> bool:
        """True where the carrier does not have what the request asks for."""
        is_refused = self.kind is AnswerKind.REFUSED
        return is_refused and (self.status == NOT_FOUND or self.error_code in NOT_FOUND_CODES)

    def error_text(self, scrubber: SecretScrubber) -> str:
        """Return the carrier's words for a message, such as ``plan is sold out [10000024]``; empty without any."""
        if not self.has_error_body:
            return ""
        message, given = self._error()
        words = clean_text(message or "", scrubber=scrubber, maximum=TEXT_LENGTH)
        code = clean_text(given, scrubber=scrubber, maximum=LONGEST_CODE)
        return clean_text(f"{words}{f' [{code}]' if code else ''}", scrubber=scrubber, maximum=TEXT_LENGTH)

    def describe(self, scrubber: SecretScrubber) -> str:
        """Return the status and the carrier's words, such as ``400: plan is sold out [10000024]``."""
        text = self.error_text(scrubber)
        return f"{self.status}: {text}" if text else str(self.status)
