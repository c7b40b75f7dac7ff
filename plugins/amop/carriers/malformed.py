"""Answers that a retry may improve, and the check that the records of a page are complete; for every API family."""

from __future__ import annotations

from typing import Any

FEWEST_INCOMPLETE_RECORDS = 3
"""Fewer records without a required field do not make a page malformed: each is quarantined."""


class TransientError(Exception):
    """A failure that a retry may overcome."""

    def __init__(self, reason: str, retry_after: float | None = None, *, is_throttle: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.is_throttle = is_throttle


class MalformedPageError(TransientError):
    """A response is not a complete page: wrong format, a page other than requested, or empty but not the last."""


class EmptyPageError(MalformedPageError):
    """A page of the device list is empty but not the last one."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__("the page is empty but not the last page")
        self.document = document


class MissingFieldError(MalformedPageError):
    """Most records of a page lack a field that every record has."""


def require_field(records: list[Any], name: str, count: int) -> None:
    """Check that a field is missing from few records of a page.

    Args:
        records: all records of the page.
        name: the field, for the message.
        count: number of records without it.

    Raises:
        MissingFieldError: most records lack it.
    """
    if count >= FEWEST_INCOMPLETE_RECORDS and 2 * count > len(records):
        raise MissingFieldError(f"{count} of {len(records)} records of the page have no {name}")
