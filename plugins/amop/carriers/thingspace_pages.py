"""Read the answers of Verizon ThingSpace: devices and daily usage, as records with the keys that all families share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from amop.carriers.malformed import MalformedPageError, require_field
from amop.carriers.protocol import DevicePage

STATUSES = {
    "active": "ACTIVATED",
    "deactive": "DEACTIVATED",
    "suspend": "SUSPENDED",
    "pre-active": "ACTIVATION_READY",
}
"""State of a device at ThingSpace → status of a SIM; another state is kept as it is."""

DEVICE_ID = "DeviceId"
"""Extended attribute with the number that the list is ordered by."""


def read_device_list(document: dict[str, Any], *, page_number: int, after: int) -> DevicePage:
    """Return a page of the device list.

    Args:
        document: the response body.
        page_number: number of the page, which the carrier does not know.
        after: the largest device id of the page before; 0 for the first page.

    Raises:
        MalformedPageError: the body is not a complete page, or not the one that follows ``after``.
    """
    devices, has_more = document.get("devices", []), document.get("hasMoreData")
    if not isinstance(devices, list) or not isinstance(has_more, bool):
        raise MalformedPageError("the page has no list of devices or no hasMoreData flag")
    if has_more and not devices:
        raise MalformedPageError("the page is empty although more data is announced")
    numbers = [number for device in devices if (number := device_id(device)) is not None]
    if any(number <= after for number in numbers):
        raise MalformedPageError(f"devices after id {after} were requested, the page begins with id {min(numbers)}")
    if has_more and not numbers:
        raise MalformedPageError(f"more data is announced, but no device of the page has its {DEVICE_ID}")
    records = [device_record(device) for device in devices]
    require_field(records, "iccid", sum(not record.get("iccid") for record in records))
    return DevicePage(
        page_number,
        records,
        not has_more,
        {"pageNumber": page_number, "devices": records, "lastPage": not has_more, "answer": document},
        next_after=str(max(numbers)) if has_more else None,
    )


def device_id(device: Any) -> int | None:
    """Return the number of a device in the list, None without one."""
    value = _pairs(device.get("extendedAttributes"), "key").get(DEVICE_ID.lower()) if _is_object(device) else None
    return int(value) if isinstance(value, str | int) and str(value).isascii() and str(value).isdigit() else None


def device_record(device: Any) -> dict[str, Any]:
    """Return a device as a record of the device list and of the details.

    The rate plan is the service plan. ThingSpace has no communication plans.
    A device that is no JSON object becomes a record without an ICCID, which validation quarantines.
    """
    if not _is_object(device):
        return {"record": device}
    names = _pairs(device.get("deviceIds"), "kind", value="id")
    carriers = device.get("carrierInformations")
    carrier = carriers[0] if isinstance(carriers, list) and carriers and _is_object(carriers[0]) else {}
    state = carrier.get("state")
    return {
        "iccid": names.get("iccid"),
        "status": STATUSES.get(state.strip().lower(), state) if isinstance(state, str) else state,
        "ratePlan": carrier.get("servicePlan"),
        "communicationPlan": None,
        "imsi": names.get("imsi"),
        "msisdn": names.get("msisdn") or names.get("mdn"),
        "imei": names.get("imei"),
        "dateActivated": device.get("lastActivationDate"),
    }


@dataclass(frozen=True, slots=True)
class UsageDays:
    """A page of a device's daily usage."""

    days: list[dict[str, Any]]
    has_more: bool

    @property
    def last_moment(self) -> str:
        """The latest day, as the carrier writes it; empty without days."""
        return max((day["timestamp"] for day in self.days), default="")


def read_usage_days(document: dict[str, Any]) -> UsageDays:
    """Return the daily usage of a device.

    Raises:
        MalformedPageError: the body is not such a page.
    """
    days, has_more = document.get("usageHistory", []), document.get("hasMoreData", False)
    if not isinstance(days, list) or not isinstance(has_more, bool):
        raise MalformedPageError("the answer has no list usageHistory or no hasMoreData flag")
    if not all(_is_object(day) and isinstance(day.get("timestamp"), str) for day in days):
        raise MalformedPageError("a day of usageHistory has no timestamp")
    return UsageDays(days, has_more)


def cycle_to_date(iccid: str, days: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counters of a SIM: the sums of its days.

    A day may come from several sources, near real time and rated: its largest value counts. A value that is no counter
    is returned itself, and validation quarantines it.
    """
    listed = list(days)
    return {
        "iccid": iccid,
        "ctdDataUsage": _sum_of_days(listed, "bytesUsed"),
        "ctdSMSUsage": _sum_of_days(listed, "smsUsed"),
    }


def _sum_of_days(days: list[Mapping[str, Any]], key: str) -> Any:
    largest: dict[str, int | float] = {}
    for day in days:
        value = day.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            return value
        largest[day["timestamp"]] = max(value, largest.get(day["timestamp"], 0))
    return sum(largest.values())


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _pairs(entries: Any, name: str, *, value: str = "value") -> dict[str, Any]:
    """Return a list of name and value as a dict, names in lower case: ThingSpace writes ``iccid`` and ``iccId``."""
    return {
        str(entry[name]).lower(): entry.get(value)
        for entry in (entries if isinstance(entries, list) else [])
        if _is_object(entry) and name in entry
    }
