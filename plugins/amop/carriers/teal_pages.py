"""Read the answers of Teal: eSIMs and their usage, as records with the keys that all families share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amop.carriers.malformed import MalformedPageError, require_field
from amop.carriers.protocol import DevicePage

STATUSES = {
    "ONLINE": "ACTIVATED",
    "ACTIVATED": "ACTIVATED",
    "WAITING": "ACTIVATION_READY",
    "UNACTIVATED": "ACTIVATION_READY",
    "STOPPED": "SUSPENDED",
    "SUSPENDED": "SUSPENDED",
    "DEACTIVATED": "DEACTIVATED",
}
"""Status of a device at Teal → status of a SIM; another status is kept as it is."""


def read_entries(document: Mapping[str, Any]) -> list[Any]:
    """Return the entries of an operation's result.

    Raises:
        MalformedPageError: the result has no list of entries.
    """
    entries = document.get("entries")
    if not isinstance(entries, list):
        raise MalformedPageError("the result of the operation has no list of entries")
    return entries


def read_device_list(document: dict[str, Any], *, page_number: int, page_size: int, after: str | None) -> DevicePage:
    """Return a page of the device list.

    Teal gives neither a total nor a flag of the last page: a page with fewer eSIMs than were asked for is the last one,
    and the client confirms it. ``next_after`` is the first EID of the page, which the next page must not have.

    Args:
        document: the result of the operation.
        page_number: number of the page, which the carrier does not know.
        page_size: number of eSIMs that were asked for.
        after: ``next_after`` of the page before; None for the first page.

    Raises:
        MalformedPageError: the result is not a page of eSIMs, or it is the page before.
    """
    entries = read_entries(document)
    if len(entries) > page_size:
        raise MalformedPageError(f"{page_size} eSIMs were requested, the page has {len(entries)}")
    records = [device_record(entry) for entry in entries]
    require_field(records, "eid", sum(not record.get("iccid") for record in records))
    if after is not None and any(record.get("iccid") == after for record in records):
        raise MalformedPageError(f"page {page_number} was requested, the page has the first eSIM of the page before")
    is_last = len(entries) < page_size
    return DevicePage(
        page_number,
        records,
        is_last,
        {"pageNumber": page_number, "devices": records, "lastPage": is_last, "answer": document},
        next_after=None if is_last else _first_eid(records),
    )


def _first_eid(records: Iterable[Mapping[str, Any]]) -> str | None:
    return next((eid for record in records if isinstance(eid := record.get("iccid"), str) and eid), None)


def device_record(entry: Any) -> dict[str, Any]:
    """Return an eSIM as a record of the device list and of the details.

    Its identifier is the EID. The rate plan is the name of the plan, or its UUID where it has no name. Teal has no
    communication plans. An eSIM that is no JSON object becomes a record without an identifier, which validation
    quarantines.
    """
    if not isinstance(entry, dict):
        return {"record": entry}
    status = entry.get("deviceStatus")
    if entry.get("suspended") is True:
        status = "SUSPENDED"
    return {
        "iccid": entry.get("eid"),
        "status": STATUSES.get(status.strip().upper(), status) if isinstance(status, str) else status,
        "ratePlan": entry.get("planName") or entry.get("planUuid"),
        "communicationPlan": None,
        "imsi": entry.get("imsi"),
        "msisdn": entry.get("msisdn"),
        "imei": entry.get("imei"),
    }


def cycle_to_date(eid: str, days: Iterable[Any]) -> dict[str, Any]:
    """Return the counter of an eSIM: the sum of its days, in bytes.

    A day has an entry for each profile (IMSI) that was in use. A value that is no counter is returned itself, and
    validation quarantines it.

    Raises:
        MalformedPageError: an entry is of another eSIM.
    """
    total: int | float = 0
    for day in days:
        if not isinstance(day, dict) or day.get("eid") != eid:
            raise MalformedPageError("the usage is of another eSIM")
        used = day.get("usage")
        if used is None:
            continue
        if isinstance(used, bool) or not isinstance(used, int | float) or used < 0:
            return {"iccid": eid, "ctdDataUsage": used}
        total += used
    return {"iccid": eid, "ctdDataUsage": total}
