"""Read the pages of Control Center's lists: device list and usage by rate plan."""

from __future__ import annotations

import re
from typing import Any

from amop.carriers.malformed import EmptyPageError, MalformedPageError, require_field
from amop.carriers.protocol import ABSENT, DEVICE_KEYS, DevicePage, RawUsage, UsagePage

SHORTEST_ICCID, LONGEST_ICCID = 18, 22
USAGE_KEYS = {"DATA": "dataUsage", "SMS": "smsUsage", "VOICE": "voiceUsage"}


def read_device_page(document: dict[str, Any], *, page_number: int | None, may_be_empty: bool = False) -> DevicePage:
    """Return a page of the device list from a response body.

    Args:
        document: the body.
        page_number: the requested page of the window; None = not known any more, the page was checked before.
        may_be_empty: accept an empty page that is not the last one.

    Raises:
        MalformedPageError: the body is not a complete page.
    """
    devices, is_last = document.get("devices"), document.get("lastPage")
    if not isinstance(devices, list) or not isinstance(is_last, bool):
        raise MalformedPageError("the page has no list of devices or no lastPage flag")
    _require_page(document, page_number)
    if not devices and not is_last and not may_be_empty:
        raise EmptyPageError(document)
    for key in DEVICE_KEYS:
        require_field(devices, key, sum(isinstance(device, dict) and key not in device for device in devices))
    return DevicePage(page_number or 1, devices, is_last, document)


def read_usage_page(document: dict[str, Any], *, usage_type: str, page_number: int) -> UsagePage:
    """Return a page of the usage of a rate plan from a response body; ``usage_type`` is the requested type.

    Raises:
        MalformedPageError: the body is not a complete page.
    """
    zones, is_last = document.get("zones"), document.get("lastPage")
    if not isinstance(zones, list) or not isinstance(is_last, bool):
        raise MalformedPageError("the page has no list of zones or no lastPage flag")
    _require_page(document, page_number)
    records = _usage_records(zones, usage_type)
    if not records and not is_last:
        # If it were accepted, the SIMs missing from it would count as having no usage.
        raise MalformedPageError("the page is empty but not the last page")
    require_field(records, "deviceId", sum("deviceId" not in record.raw for record in records))
    require_field(records, USAGE_KEYS[usage_type], sum(record.usage is ABSENT for record in records))
    return UsagePage(records, is_last, document)


def _require_page(document: dict[str, Any], page_number: int | None) -> None:
    given = document.get("pageNumber")
    if given is not None and page_number is not None and given != page_number:
        raise MalformedPageError(f"page {page_number} was requested, the carrier returned page {given}")


def _usage_records(zones: list[Any], usage_type: str) -> list[RawUsage]:
    """Return the records of all zones; a malformed one is kept, so that validation can quarantine it."""
    records = []
    for zone in zones:
        name = zone.get("zone") if isinstance(zone, dict) else None
        devices = zone.get("devices") if isinstance(zone, dict) else None
        if devices is None and isinstance(zone, dict):
            continue
        for device in devices if isinstance(devices, list) else [zone]:
            raw = device if isinstance(device, dict) else {"record": device}
            records.append(RawUsage(raw.get("deviceId"), usage_of(raw, usage_type), name, raw))
    return records


def usage_of(raw: dict[str, Any], usage_type: str) -> Any:
    """Return the usage of a raw record of ``/usages``, not validated; `ABSENT` where the record has none."""
    usage = raw.get("usage", ABSENT)
    return usage.get(USAGE_KEYS[usage_type], ABSENT) if isinstance(usage, dict) else usage


def is_same_sim(given: object, iccid: str) -> bool:
    """Return True if a carrier's way to write an ICCID means this one.

    Known ways are a JSON number, spaces and hyphens, padding with F to an even length (as on the SIM itself, ETSI
    TS 102 221), and the check digit (ITU-T E.118) given or omitted.
    """
    if isinstance(given, bool) or not isinstance(given, str | int):
        return False
    plain = re.sub(r"[\s-]", "", str(given)[: 2 * LONGEST_ICCID]).upper().rstrip("F")
    longer, shorter = sorted((plain, iccid), key=len, reverse=True)
    return longer == shorter or (
        len(shorter) >= SHORTEST_ICCID and longer[:-1] == shorter and longer.isascii() and longer.isdigit()
    )
