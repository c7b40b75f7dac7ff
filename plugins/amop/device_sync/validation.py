"""Validate a carrier's records. No function raises: an unusable record is returned with the reason."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from amop.carriers.protocol import ABSENT, DEVICE_KEYS
from amop.families import ICCID, IdentifierRule
from amop.foreign_text import LONGEST_NAME, text_fault

LARGEST_BIGINT = 2**63 - 1
LONGEST_TEXT = LONGEST_NAME
"""Longest text in characters; longer than any status, plan or number of a carrier."""
LONGEST_KEY = 64

REMEMBERED_ATTRIBUTES = 4096
"""Combinations of status and plans that are judged once; a fleet has far fewer than SIMs."""

KNOWN_STATUSES = frozenset(
    {
        "INVENTORY", "TEST_READY", "ACTIVATION_READY", "ACTIVATED", "DEACTIVATED", "RETIRED", "PURGED", "REPLACED",
        "TRIAL", "START", "SUSPENDED",
    }
)  # fmt: skip
"""Statuses of a SIM: those of Control Center, and SUSPENDED of the other API families."""

FINAL_STATUSES = frozenset({"RETIRED", "PURGED", "REPLACED"})
"""Control Center's final ones: the carrier may still answer a read of such a SIM although no list contains it."""


Attributes = tuple[str | None, str | None, str | None]
"""Status, rate plan and communication plan of a SIM."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The key of an unusable record, and the rule that it broke."""

    record_key: str
    reason: str


class ListedDevice(NamedTuple):
    """A SIM of the device list."""

    iccid: str
    status: str | None
    rate_plan: str | None
    communication_plan: str | None


@dataclass(frozen=True, slots=True)
class FieldFault:
    """An unreadable field of a record, and the rule that it broke."""

    field: str
    """Key of the field at the carrier."""
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceDetails:
    """The fields that the details of a SIM add to the list; those that are unreadable are None and have a fault."""

    imsi: str | None = None
    msisdn: str | None = None
    imei: str | None = None
    date_activated: datetime | None = None
    """Aware, in UTC."""
    faults: tuple[FieldFault, ...] = ()


def usable_iccid(value: object, identifier: IdentifierRule = ICCID) -> str | None:
    """Return an identifier of the form that the carrier's API family has unchanged, None for any other value."""
    return value if isinstance(value, str) and identifier.accepts(value) else None


def record_key(raw: object) -> str:
    """Return the key of a listed SIM within a run: its ICCID if that is usable text, else a digest of the record."""
    iccid = raw.get("iccid") if isinstance(raw, Mapping) else None
    if isinstance(iccid, str) and 0 < len(iccid) <= LONGEST_KEY and iccid.isprintable():
        return iccid
    try:
        content = json.dumps(raw, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        content = type(raw).__name__
    return f"sha256:{hashlib.sha256(content.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}"


@functools.lru_cache(maxsize=256)
def canonical_status(status: str | None) -> str | None:
    """Return a status in the spelling of Control Center if it is a known one in another case, else unchanged."""
    if status is None:
        return None
    name = re.sub(r"[\s-]+", "_", status.strip()).upper()
    return name if name in KNOWN_STATUSES else status


def validate_listed_device(raw: object, identifier: IdentifierRule = ICCID) -> ListedDevice | Rejected:
    """Return a SIM of the device list: its identifier is usable; the other fields may be null, but not absent.

    Args:
        raw: the record; its key ``iccid`` has the identifier of every family.
        identifier: the family's rule.
    """
    if not isinstance(raw, Mapping):
        return Rejected(record_key(raw), f"a device is a JSON object, not {_kind(raw)}")
    iccid = raw.get("iccid")
    usable = usable_iccid(iccid, identifier)
    try:
        known = usable_attributes(raw["status"], raw["ratePlan"], raw["communicationPlan"])
    except (KeyError, TypeError):  # absent, or a list or an object
        known = None
    if usable is not None and known is not None:
        return ListedDevice(usable, *known)
    return _rejected_device(raw, iccid, identifier)


@functools.lru_cache(maxsize=REMEMBERED_ATTRIBUTES)
def usable_attributes(status: object, rate_plan: object, communication_plan: object) -> Attributes | None:
    """Return status, rate plan and communication plan as they are staged, None if one of them is unusable."""
    if any(_text_fault(value) is not None for value in (status, rate_plan, communication_plan)):
        return None
    return canonical_status(_text(status)), _text(rate_plan), _text(communication_plan)


def _rejected_device(raw: Mapping[str, object], iccid: object, identifier: IdentifierRule) -> Rejected:
    """Return why a listed SIM is unusable."""
    if usable_iccid(iccid, identifier) is None:
        return Rejected(record_key(raw), f"{identifier.name} is {_shown(iccid)}, not {identifier.form}")
    absent = [name for name in DEVICE_KEYS if name not in raw]
    if absent:
        return Rejected(record_key(raw), f"{' and '.join(absent)} absent; a SIM without one has null")
    faults = ((name, _text_fault(raw[name])) for name in DEVICE_KEYS if name != "iccid")
    name, reason = next((name, reason) for name, reason in faults if reason is not None)
    return Rejected(record_key(raw), f"{name} {reason}")


def validate_usage(value: object) -> int | str:
    """Return a usage counter (bytes, seconds or messages), or why the value is not a counter.

    Null usage is zero; absent usage (`ABSENT`) is not.
    """
    if value is None:
        return 0
    if value is ABSENT:
        return "usage is absent"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"usage is {_shown(value)}, not a number"
    if isinstance(value, float) and (not math.isfinite(value) or not value.is_integer()):
        return f"usage is {value!r}, not a whole number"
    if value < 0:
        return "usage is negative"
    if value > LARGEST_BIGINT:
        return "usage is beyond bigint"
    return int(value)


CTD_COUNTERS = {
    "DATA": "ctdDataUsage",
    "SMS": "ctdSMSUsage",
    "VOICE": "ctdVoiceUsage",
    "SESSIONS": "ctdSessionCount",
}
"""Usage type → key in the answer of the single-SIM usage call."""


def validate_ctd_usage(raw: Mapping[str, object]) -> dict[str, int] | str:
    """Return the counters of the single-SIM usage call by usage type, or why they are unusable.

    A null counter is 0; one whose key is absent was not given and is not returned.
    """
    if not any(key in raw for key in CTD_COUNTERS.values()):
        return f"no counter at all, not one of {', '.join(CTD_COUNTERS.values())}"
    if CTD_COUNTERS["DATA"] not in raw:
        return f"{CTD_COUNTERS['DATA']} is absent"
    counters, wrong = {}, []
    for usage_type, key in CTD_COUNTERS.items():
        if key not in raw:
            continue
        usage = validate_usage(raw[key])
        if isinstance(usage, str):
            wrong.append(f"{key}: {usage}")
        else:
            counters[usage_type] = usage
    return "; ".join(wrong) or counters


def validate_details(raw: object) -> DeviceDetails:
    """Return the details of a SIM, each of which may be null or absent; one unreadable field does not spoil the others.

    Control Center writes a date as ``2026-10-20 14:03:11.000+0000``; ISO 8601 is accepted too. A date without an
    offset is UTC.
    """
    if not isinstance(raw, Mapping) or raw.get("iccid") is None:
        return DeviceDetails(faults=(FieldFault("iccid", "is absent: the answer is of no SIM"),))
    faults = []
    numbers: dict[str, str | None] = {}
    for name in ("imsi", "msisdn", "imei"):
        value = raw.get(name)
        # The carrier may send a number as text or as a JSON number.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**20:
            value = str(value)
        reason = _text_fault(value)
        if reason is not None:
            faults.append(FieldFault(name, reason))
        numbers[name] = None if reason else _text(value)
    activated = _moment(raw.get("dateActivated"))
    if isinstance(activated, str):
        faults.append(FieldFault("dateActivated", activated))
        activated = None
    return DeviceDetails(**numbers, date_activated=activated, faults=tuple(faults))


def _moment(value: object) -> datetime | str | None:
    """Return an aware moment in UTC, None for null or blank text, or why the value is not a date."""
    reason = _text_fault(value)
    if reason is not None:
        return reason
    text = _text(value)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return f"is {_shown(value)}, not a date like 2026-10-20 14:03:11.000+0000"


def _text_fault(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return f"is {_kind(value)}, not text"
    return text_fault(value, longest=LONGEST_TEXT)


def _text(value: object) -> str | None:
    """Return text without spaces at its ends, as in the reference file; blank text counts as null."""
    return value.strip() or None if isinstance(value, str) else None


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        type(None): "null",
    }
    return names.get(type(value), "an object")


def _shown(value: object) -> str:
    """Return a value for a message: text quoted, escaped and shortened; of other values only the kind."""
    if not isinstance(value, str):
        return _kind(value)
    short = ascii(value[:LONGEST_KEY])
    return short if len(value) <= LONGEST_KEY else f"{short}…"
