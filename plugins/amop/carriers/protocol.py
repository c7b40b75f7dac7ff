"""The operations of a carrier client, the same for every API family."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Protocol, Self

DEVICE_KEYS = ("iccid", "status", "ratePlan", "communicationPlan")
"""Keys that every record of the device list has; their values may be null."""


class Absent:
    """The value of a key that a record does not have; null is a value."""

    def __repr__(self) -> str:
        """Return the word that messages use."""
        return "absent"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class ListLimits:
    """What a device list may ask for."""

    earliest: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    """A full list asks for the SIMs modified since this moment."""
    longest: timedelta = timedelta(days=365)
    """The longest span of modification dates of one list, if the carrier limits it."""


@dataclass(frozen=True, slots=True)
class DevicePage:
    """One page of the device list: the carrier's raw records."""

    page_number: int
    devices: list[Any]
    is_last_page: bool
    document: dict[str, Any]
    """The whole response body, for the archive."""
    next_after: str | None = None
    """``after`` of the next page, for a carrier whose pages have no numbers."""


@dataclass(frozen=True, slots=True)
class RawUsage:
    """One SIM's usage in one zone, as the carrier reported it; not validated."""

    iccid: Any
    usage: Any
    """Bytes, messages or seconds, depending on the requested usage type."""
    zone: Any
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UsagePage:
    """One page of the usage of a rate plan; a SIM that is on no page has no usage."""

    records: list[RawUsage]
    is_last_page: bool
    document: dict[str, Any]
    """The whole response body, for the archive."""


class CarrierClient(Protocol):
    """A client of one carrier account: paged reads, single reads and one write. Every method raises `CarrierError`."""

    def __enter__(self) -> Self:
        """Return the client; leaving the context closes its connections."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client's connections."""
        ...

    @property
    def list_limits(self) -> ListLimits:
        """Return the limits of the account's device lists."""
        ...

    def consecutive_calls(self) -> AbstractContextManager[None]:
        """Return a context whose calls follow one another at once: the client may reserve its turn for all of them.

        Its body calls the carrier and does nothing else, and ends after a fraction of a second.
        """
        ...

    def list_devices_page(
        self,
        *,
        modified_since: datetime,
        modified_till: datetime | None = None,
        page_number: int,
        page_size: int | None = None,
        after: str | None = None,
    ) -> DevicePage:
        """Return one page of the SIMs modified within a window, in order of modification; pages count from 1.

        A carrier that cannot list by modification returns all SIMs, in an order of its own.

        Args:
            modified_since: start of the window.
            modified_till: end of the window; None = open.
            page_number: from 1.
            page_size: SIMs on each page; None = the most that the carrier allows. Without meaning where pages have no
                numbers.
            after: ``next_after`` of the page before; None for the first page.

        Raises:
            CarrierEmptyPageError: the page stays empty although it is not the last one.
        """
        ...

    def device_details(self, iccid: str) -> dict[str, Any]:
        """Return all details of one SIM.

        Raises:
            CarrierNotFoundError: the carrier does not have the SIM.
        """
        ...

    def device_ctd_usage(self, iccid: str, *, cycle_start: date) -> dict[str, Any]:
        """Return the cycle-to-date usage of one SIM: data in bytes, voice in seconds.

        Args:
            iccid: the SIM.
            cycle_start: local date on which the billing period began.
        """
        ...

    def rate_plan_usage_page(
        self, *, rate_plan_code: str, rate_plan_version: int, usage_type: str, cycle_start: date, page_number: int
    ) -> UsagePage:
        """Return one page of the cycle-to-date usage of the SIMs on a rate plan version.

        Args:
            rate_plan_code: the plan's name at the carrier.
            rate_plan_version: from 1.
            usage_type: ``DATA`` (bytes), ``SMS`` (messages) or ``VOICE`` (seconds).
            cycle_start: local date on which the billing period began.
            page_number: from 1.
        """
        ...

    def change_rate_plan(self, iccid: str, rate_plan_code: str) -> None:
        """Move one SIM to another rate plan: send one request, and return only if the carrier has confirmed it.

        Raises:
            CarrierWriteForbiddenError: this client is read-only; nothing was sent.
            CarrierUnavailableError: the carrier is failing; nothing was sent.
            CarrierRequestError: the carrier refused this change.
            CarrierWriteInDoubtError: the request was sent; whether the carrier did it is not known.
        """
        ...
