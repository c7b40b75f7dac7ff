"""What the sync and the optimization ask of a carrier, whatever its API family."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any, Protocol, Self


@dataclass(frozen=True, slots=True)
class DevicePage:
    """One page of the device list: the carrier's raw records, at most 50."""

    page_number: int
    devices: list[Any]
    is_last_page: bool
    document: dict[str, Any]
    """The whole answer, for the archive."""


@dataclass(frozen=True, slots=True)
class RawUsage:
    """One SIM's usage in one zone, as the carrier said it; not validated."""

    iccid: Any
    usage: Any
    """Bytes, messages or seconds, by the usage type that was asked for."""
    zone: Any
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UsagePage:
    """One page of the usage of a rate plan; a SIM that no page names has used nothing."""

    records: list[RawUsage]
    is_last_page: bool
    document: dict[str, Any]
    """The whole answer, for the archive."""


class CarrierClient(Protocol):
    """A carrier account: paged reads, single reads, and the one write. Every method raises `CarrierError`."""

    def __enter__(self) -> Self:
        """Return the client; leaving the context closes its connections."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client's connections."""
        ...

    def list_devices_page(self, *, modified_since: datetime, page_number: int) -> DevicePage:
        """Return one page of the SIMs modified since a moment, in order of modification; pages count from 1."""
        ...

    def device_details(self, iccid: str) -> dict[str, Any]:
        """Return everything the carrier says about one SIM."""
        ...

    def device_ctd_usage(self, iccid: str) -> dict[str, Any]:
        """Return the cycle-to-date usage of one SIM: data in bytes, voice in seconds."""
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
        """Put one SIM on another rate plan; repeating it changes nothing.

        Raises:
            CarrierWriteForbiddenError: this client may only read; nothing was sent.
        """
        ...
