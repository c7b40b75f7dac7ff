"""What can go wrong between us and a carrier, by what to do about it."""

from __future__ import annotations

from datetime import datetime


class CarrierError(Exception):
    """A carrier could not give what was asked; the message says who, what, where and what to do, and no secret."""


class CarrierConnectionError(CarrierError):
    """The Airflow connection of a carrier account cannot be used as it is defined. Final."""


class CarrierAuthenticationError(CarrierError):
    """The carrier refused the API user or its key (401). Final: another try would be refused as well."""


class CarrierWriteForbiddenError(CarrierError):
    """A client that may only read was asked to write; nothing was sent. Final."""


class CarrierRequestError(CarrierError):
    """The carrier refused this call (any other 4xx, a redirect). Final for the call.

    Args:
        message: the whole sentence.
        status: HTTP status.
        error_message: the carrier's own words.
    """

    def __init__(self, message: str, *, status: int, error_message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_message = error_message


class CarrierUnavailableError(CarrierError):
    """The retry budget of a call is spent or the circuit is open: 429, 5xx, time-outs, resets, malformed answers.

    Args:
        message: the whole sentence.
        retry_at: when the circuit lets the next call through, or the carrier asked to be called again; None where
            neither says.
    """

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at
