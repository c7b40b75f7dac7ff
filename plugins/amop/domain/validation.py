"""Validation of a carrier's records. Nothing here raises: what cannot be used comes back as a reason."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

ICCID = re.compile(r"[0-9]{18,22}")
LARGEST_BIGINT = 2**63 - 1
LONGEST_TEXT = 256
"""Characters. More than any status, plan or number of a carrier."""
LONGEST_KEY = 64


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be used: which one, and the rule that it broke."""

    record_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A SIM of the device list."""

    iccid: str
    status: str | None
    rate_plan: str | None
    communication_plan: str | None


@dataclass(frozen=True, slots=True)
class DeviceDetails:
    """What the details of a SIM add to the list; ``date_activated`` is aware, in UTC."""

    imsi: str | None
    msisdn: str | None
    imei: str | None
    date_activated: datetime | None


def usable_iccid(value: object) -> str | None:
    """Return an ICCID of 18 to 22 digits as it is, None for anything else."""
    return value if isinstance(value, str) and ICCID.fullmatch(value) else None


def record_key(raw: object) -> str:
    """Return what identifies a listed SIM within a run: its ICCID if it is usable text, else a digest of the record."""
    iccid = raw.get("iccid") if isinstance(raw, Mapping) else None
    if isinstance(iccid, str) and 0 < len(iccid) <= LONGEST_KEY and iccid.isprintable():
        return iccid
    try:
        content = json.dumps(raw, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        content = type(raw).__name__
    return f"sha256:{hashlib.sha256(content.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}"


def validate_listed_device(raw: object) -> ListedDevice | Rejected:
    """Return a SIM of the device list; only its ICCID (18 to 22 digits) is required, the rest may be null."""
    if not isinstance(raw, Mapping):
        return Rejected(record_key(raw), f"a device is a JSON object, not {_kind(raw)}")
    iccid = raw.get("iccid")
    if usable_iccid(iccid) is None:
        return Rejected(record_key(raw), f"iccid is {_shown(iccid)}, not 18 to 22 digits")
    fields = {name: raw.get(name) for name in ("status", "ratePlan", "communicationPlan")}
    for name, value in fields.items():
        reason = _why_unusable_text(value)
        if reason is not None:
            return Rejected(record_key(raw), f"{name} {reason}")
    return ListedDevice(
        str(iccid), _text(fields["status"]), _text(fields["ratePlan"]), _text(fields["communicationPlan"])
    )


def validate_usage(value: object) -> int | str:
    """Return a usage counter (bytes, seconds or messages), or the reason why it is none. Null usage is zero."""
    if value is None:
        return 0
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
"""Usage type → key of the single-SIM usage call."""


def validate_ctd_usage(raw: Mapping[str, object]) -> dict[str, int] | str:
    """Return the counters of the single-SIM usage call by usage type, or the reason why one of them is none."""
    if not any(key in raw for key in CTD_COUNTERS.values()):
        return f"no counter at all, not one of {', '.join(CTD_COUNTERS.values())}"
    counters, wrong = {}, []
    for usage_type, key in CTD_COUNTERS.items():
        usage = validate_usage(raw.get(key))
        if isinstance(usage, str):
            wrong.append(f"{key}: {usage}")
        else:
            counters[usage_type] = usage
    return "; ".join(wrong) or counters


def validate_details(raw: object) -> DeviceDetails | Rejected:
    """Return the details of a SIM; each may be null.

    Control Center writes a date as ``2026-10-20 14:03:11.000+0000``; ISO 8601 is taken too. A date without an
    offset is UTC.
    """
    if not isinstance(raw, Mapping):
        return Rejected(record_key(raw), f"details are a JSON object, not {_kind(raw)}")
    numbers: dict[str, object] = {}
    for name in ("imsi", "msisdn", "imei"):
        value = raw.get(name)
        # A number that the carrier sends as a JSON number is the same number.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**20:
            value = str(value)
        reason = _why_unusable_text(value)
        if reason is not None:
            return Rejected(record_key(raw), f"{name} {reason}")
        numbers[name] = value
    activated = _moment(raw.get("dateActivated"))
    if isinstance(activated, str):
        return Rejected(record_key(raw), f"dateActivated {activated}")
    return DeviceDetails(_text(numbers["imsi"]), _text(numbers["msisdn"]), _text(numbers["imei"]), activated)


def _moment(value: object) -> datetime | str | None:
    """Return an aware moment in UTC, None for null or blank, or why the value is no date."""
    reason = _why_unusable_text(value)
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


def _why_unusable_text(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return f"is {_kind(value)}, not text"
    if len(value) > LONGEST_TEXT:
        return f"has {len(value)} characters, more than {LONGEST_TEXT}"
    if "\x00" in value:
        return "has a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "has half a surrogate pair"
    return None


def _text(value: object) -> str | None:
    """Return text as it is; blank text is the same as null."""
    return value if isinstance(value, str) and value.strip() else None


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
    """Return a value for a message: text in quotes, safe and short; of others only what they are."""
    if not isinstance(value, str):
        return _kind(value)
    short = ascii(value[:LONGEST_KEY])
    return short if len(value) <= LONGEST_KEY else f"{short}…"
