"""Break one part of a sandbox world in the way of a row of the runbook, and repair it: ``make break``, ``make fix``.

Each breakage lasts until `repair`. None of them touches the package: a key is revoked, a server answers 503, a bucket
is deleted, a record is malformed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox.carrier.catalogue import provider_of
from sandbox.http_server import LOOPBACK, request_json
from sandbox.world.aws_resources import BUCKET, aws_client, create_aws_resources

ACCOUNT = provider_of("jasper").api_user
"""API user whose carrier account is broken."""
OUTAGE = {"status": 503, "times": None}


class Breakage(StrEnum):
    """What can be broken."""

    KEY = "key"
    CARRIER = "carrier"
    AMOP = "amop"
    BUCKET = "bucket"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a world listen, on the loopback address."""

    carrier_port: int
    amop_port: int
    aws_address: str

    def ask_carrier(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to an admin endpoint of the carrier and return its answer."""
        return request_json(LOOPBACK, self.carrier_port, method, path, body)

    def ask_amop(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to an admin endpoint of AMOP and return its answer."""
        return request_json(LOOPBACK, self.amop_port, method, path, body)


def break_part(what: Breakage, parts: Parts) -> str:
    """Break one part and return in a sentence what to do now and what will be seen."""
    return BREAKERS[what](parts)


def repair(parts: Parts) -> None:
    """Repair everything that `break_part` breaks; what is not broken stays as it is."""
    parts.ask_carrier("POST", "/sandbox/password", {"account": ACCOUNT, "is_wrong": False})
    parts.ask_carrier("DELETE", "/sandbox/faults")
    parts.ask_amop("DELETE", "/sandbox/faults")
    create_aws_resources(parts.aws_address)
    broken = [sim["iccid"] for sim in _sims(parts) if sim["extra"]]
    if broken:
        parts.ask_carrier(
            "POST",
            "/sandbox/devices",
            {"account": ACCOUNT, "iccids": broken, "set": {"extra": {}}},
        )


def _sims(parts: Parts) -> list[dict[str, Any]]:
    sims: list[dict[str, Any]] = parts.ask_carrier("GET", f"/sandbox/truth/{ACCOUNT}")["devices"]
    return sims


def _break_key(parts: Parts) -> str:
    parts.ask_carrier("POST", "/sandbox/password", {"account": ACCOUNT, "is_wrong": True})
    return "The carrier refuses the API key of AT&T Control Center. Trigger device_sync_jasper: its fetch task fails."


def _break_carrier(parts: Parts) -> str:
    parts.ask_carrier("POST", "/sandbox/faults", {"account": ACCOUNT, **OUTAGE})
    return (
        "The carrier answers 503 to AT&T Control Center. Trigger device_sync_jasper: its fetch task gives its slot "
        "back and waits."
    )


def _break_amop(parts: Parts) -> str:
    parts.ask_amop("POST", "/sandbox/faults", OUTAGE)
    return "AMOP answers 503. Trigger device_sync_jasper: the sync succeeds, and its messages wait in the outbox."


def _break_bucket(parts: Parts) -> str:
    s3 = aws_client("s3", parts.aws_address)
    for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    s3.delete_bucket(Bucket=BUCKET)
    return "The reports bucket is gone. Trigger device_sync_jasper: its sync log cannot be written."


def _break_row(parts: Parts) -> str:
    iccid = sorted(str(sim["iccid"]) for sim in _sims(parts) if sim["status"] == "ACTIVATED")[0]
    parts.ask_carrier(
        "POST",
        "/sandbox/devices",
        {"account": ACCOUNT, "iccids": [iccid], "set": {"extra": {"status": 7}}},
    )
    return f"The carrier's record of SIM {iccid} has the status 7. Trigger device_sync_jasper: the SIM is quarantined."


BREAKERS: dict[Breakage, Callable[[Parts], str]] = {
    Breakage.KEY: _break_key,
    Breakage.CARRIER: _break_carrier,
    Breakage.AMOP: _break_amop,
    Breakage.BUCKET: _break_bucket,
    Breakage.ROW: _break_row,
}
"""Part → the function that breaks it."""
