"""Errors of carrier calls, one class per way to handle them."""

from __future__ import annotations

from datetime import datetime
from typing import Any


class CarrierError(Exception):
    """A carrier call failed; the message names provider, request, cause and remedy, and contains no secret."""


class CarrierConnectionError(CarrierError):
    """The Airflow connection of a carrier account is not usable as defined. Final."""


class CarrierAuthenticationError(CarrierError):
    """The carrier refused the API user or its key (401). Final: a retry would be refused as well."""


class CarrierWriteForbiddenError(CarrierError):
    """A read-only client was asked to write; nothing was sent. Final."""


class CarrierWriteInDoubtError(CarrierError):
    """A write was sent, and the answer does not say whether the carrier did it; only a read settles that.

    Args:
        message: full text.
        is_denied: the answer was 2xx with an error body: if the read shows no change, the carrier has refused it.
    """

    def __init__(self, message: str, *, is_denied: bool = False) -> None:
        super().__init__(message)
        self.is_denied = is_denied


class CarrierRequestError(CarrierError):
    """The carrier refused this request (any other 4xx, or a redirect). Final for the request.

    Args:
        message: full text.
        status: HTTP status.
        error_message: the carrier's own error text.
    """

    def __init__(self, message: str, *, status: int, error_message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_message = error_message


class CarrierNotFoundError(CarrierRequestError):
    """The carrier does not have the SIM of the request: 404, or the vendor's own code with any status."""


class CarrierFormatError(CarrierError):
    """Most records of a page lack a required field, in every try: the carrier's format has changed. Final."""


class CarrierUnavailableError(CarrierError):
    """The retry budget of a call is spent, or the circuit is open: 429, 5xx, timeouts, resets, malformed responses.

    Args:
        message: full text.
        retry_at: when the circuit allows the next call, or the end of the carrier's ``Retry-After``; None where
            neither is known.
        cause: the last response or failure alone, with the carrier's words; empty while the circuit is open.
    """

    def __init__(self, message: str, *, retry_at: datetime | None = None, cause: str = "") -> None:
        super().__init__(message)
        self.retry_at = retry_at
        self.cause = cause


class CarrierEmptyPageError(CarrierUnavailableError):
    """A page stays empty in every try although it is not the last one."""

    def __init__(self, message: str, *, document: dict[str, Any]) -> None:
        super().__init__(message)
        self.document = document
