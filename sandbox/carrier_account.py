"""One account of the sandbox carrier: its SIMs, their order, and the changes made to them."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.fleet import Fleet, Sim, billing_cycle, generate_fleet

HOME_ZONE = "Domestic"
ROAMING_ZONE = "North America Roaming"
MILLISECOND = timedelta(milliseconds=1)
USAGE_FIELDS = {
    "DATA": ("dataUsage", "data_usage"),
    "SMS": ("smsUsage", "sms_usage"),
    "VOICE": ("voiceUsage", "voice_usage"),
}
"""Usage type → key on the wire and field of `Sim`."""
COUNTERS = ("data_usage", "roaming_data_usage", "sms_usage", "voice_usage", "session_count")
"""Fields of `Sim` that grow in a billing period."""


class RequestRefusedError(Exception):
    """The carrier's answer to a request that it does not take: HTTP status, message and the vendor's code."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def to_wire_time(moment: datetime | None) -> str | None:
    """Return a time as Control Center writes it: ``2026-10-20 14:03:11.000+0000``; None stays None."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}+0000"


class CarrierAccount:
    """The SIMs of one API user. Not thread-safe: the server's event loop is its only user."""

    def __init__(self, fleet: Fleet) -> None:
        self.name = fleet.account
        self.fleet = fleet
        self.provider = fleet.provider
        self.sims: dict[str, Sim] = {sim.iccid: sim for sim in fleet.sims}
        self._order: list[tuple[datetime, str]] | None = None
        self._by_plan: dict[tuple[str | None, int], list[Sim]] | None = None
        self._latest = max((sim.date_updated for sim in fleet.sims), default=fleet.as_of)

    # What the carrier's API reads

    def sim(self, iccid: str) -> Sim:
        """Return a SIM; refuses with 404 when the account has none of that ICCID."""
        try:
            return self.sims[iccid]
        except KeyError:
            raise RequestRefusedError(404, f"no device with ICCID {iccid} in this account") from None

    def rate_plan(self, rate_plan_code: str) -> tuple[int, bool]:
        """Return the current version of a plan and whether it is shared; a plan that only SIMs name has version 1.

        Raises:
            RequestRefusedError: 404, neither the catalogue nor a SIM knows it.
        """
        try:
            plan = self.provider.rate_plan(rate_plan_code)
        except KeyError:
            if all(sim.rate_plan != rate_plan_code for sim in self.sims.values()):
                raise RequestRefusedError(404, f"rate plan {rate_plan_code!r} does not exist") from None
            return 1, False
        return plan.version, plan.is_shared

    def modified_since(self, moment: datetime) -> list[str]:
        """Return the ICCIDs modified at or after a moment, oldest modification first, ties by ICCID."""
        if self._order is None:
            self._order = sorted((sim.date_updated, sim.iccid) for sim in self.sims.values())
        first = bisect.bisect_left(self._order, (moment, ""))
        return [iccid for _, iccid in self._order[first:]]

    def sims_with_usage(self, rate_plan_code: str, version: int, usage_type: str) -> list[Sim]:
        """Return the SIMs on one version of a plan that have used anything of the type, by ICCID."""
        if self._by_plan is None:
            self._by_plan = {}
            for sim in sorted(self.sims.values(), key=lambda sim: sim.iccid):
                self._by_plan.setdefault((sim.rate_plan, sim.rate_plan_version), []).append(sim)
        counter = USAGE_FIELDS[usage_type][1]
        on_plan = self._by_plan.get((rate_plan_code, version), [])
        return [sim for sim in on_plan if getattr(sim, counter) or USAGE_FIELDS[usage_type][0] in sim.extra]

    def is_present_cycle(self, start: date) -> bool:
        """Return True for the start date of the fleet's billing period, False for that of another one.

        Raises:
            RequestRefusedError: 400, no billing period of this account starts on that date.
        """
        zone = ZoneInfo(self.provider.time_zone)
        present = self.fleet.cycle_start.astimezone(zone).date()
        if start == present:
            return True
        last_moment = datetime(start.year, start.month, start.day, 23, 59, 59, tzinfo=zone)
        if billing_cycle(last_moment, self.provider)[0].astimezone(zone).date() == start:
            return False
        raise RequestRefusedError(400, f"no billing cycle starts on {start}; the present one started on {present}")

    # What changes it

    def change_rate_plan(self, iccid: str, rate_plan_code: Any) -> None:
        """Move a SIM to the current version of a rate plan that its communication plan allows.

        Raises:
            RequestRefusedError: 404 unknown SIM, 400 retired SIM, unknown plan or one that its communication plan
                forbids.
        """
        sim = self.sim(iccid)
        if sim.status == "RETIRED":
            raise RequestRefusedError(400, f"device {iccid} is retired")
        try:
            plan = self.provider.rate_plan(rate_plan_code)
        except KeyError:
            raise RequestRefusedError(400, f"rate plan {rate_plan_code!r} does not exist") from None
        allowed = {c.name: c.rate_plans for c in self.provider.communication_plans}.get(sim.communication_plan or "")
        if allowed is not None and rate_plan_code not in allowed:
            raise RequestRefusedError(
                400,
                f"communication plan {sim.communication_plan!r} does not allow rate plan {rate_plan_code!r}",
            )
        sim.rate_plan, sim.rate_plan_version = plan.rate_plan_code, plan.version
        self.touch([iccid])

    def restore_rate_plan(self, iccid: str, rate_plan_code: str, version: int, updated: datetime) -> None:
        """Put a SIM on the plan that it had before a restart, modified when it was."""
        sim = self.sims[iccid]
        sim.rate_plan, sim.rate_plan_version, sim.date_updated = rate_plan_code, version, updated
        self._latest = max(self._latest, updated)
        self._forget_order()

    def touch(self, iccids: Iterable[str]) -> None:
        """Mark SIMs as modified now: each moves behind every other one."""
        for iccid in iccids:
            sim = self.sim(iccid)
            now = datetime.now(UTC)
            self._latest = max(self._latest + MILLISECOND, now.replace(microsecond=now.microsecond // 1000 * 1000))
            sim.date_updated = self._latest
        self._forget_order()

    def change(self, iccid: str, values: dict[str, Any]) -> None:
        """Set fields of a SIM (names of `Sim`; raw keys of the wire under ``extra``), mark it as modified.

        Raises:
            RequestRefusedError: 404 unknown SIM, 400 unknown field.
        """
        sim = self.sim(iccid)
        known = {field.name for field in fields(Sim)} - {"iccid", "date_updated"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise RequestRefusedError(400, f"unknown fields {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        for name, value in values.items():
            is_time = name in ("date_activated", "date_added") and value is not None
            setattr(sim, name, datetime.fromisoformat(value) if is_time else value)
        self.touch([iccid])

    def use_until(self, moment: datetime, *, seed: int) -> None:
        """Let the generated SIMs have used what they use until a moment of the present billing period.

        Args:
            moment: aware; one before the present counters' takes them back.
            seed: the one that the fleet was generated with.

        Raises:
            RequestRefusedError: 400, the moment lies in another billing period.
        """
        if billing_cycle(moment, self.provider) != (self.fleet.cycle_start, self.fleet.cycle_end):
            raise RequestRefusedError(400, f"{moment} is not in the billing period of {self.name}")
        later = generate_fleet(
            integration=self.provider.integration,
            account=self.name,
            device_count=len(self.fleet.sims),
            seed=seed,
            as_of=moment,
        )
        for used in later.sims:
            if used.iccid in self.sims:
                for counter in COUNTERS:
                    setattr(self.sims[used.iccid], counter, getattr(used, counter))

    def remove(self, iccid: str) -> None:
        """Take a SIM out of the account: it vanishes from the list."""
        del self.sims[self.sim(iccid).iccid]
        self._forget_order()

    def _forget_order(self) -> None:
        self._order = None
        self._by_plan = None

    # How it looks on the wire

    def list_entry(self, iccid: str) -> dict[str, Any]:
        """Return a SIM as the device list shows it."""
        sim = self.sims[iccid]
        entry = {
            "iccid": sim.iccid,
            "status": sim.status,
            "ratePlan": sim.rate_plan,
            "communicationPlan": sim.communication_plan,
        }
        return entry | {key: value for key, value in sim.extra.items() if key in entry}

    def details(self, iccid: str) -> dict[str, Any]:
        """Return a SIM as ``/devices/{iccid}`` shows it."""
        sim = self.sim(iccid)
        return {
            "iccid": sim.iccid,
            "imsi": sim.imsi,
            "msisdn": sim.msisdn,
            "imei": sim.imei,
            "status": sim.status,
            "ratePlan": sim.rate_plan,
            "communicationPlan": sim.communication_plan,
            "customer": sim.customer,
            "endConsumerId": None,
            "dateActivated": to_wire_time(sim.date_activated),
            "dateAdded": to_wire_time(sim.date_added),
            "dateUpdated": to_wire_time(sim.date_updated),
            "dateShipped": to_wire_time(sim.date_added),
            "accountId": str(100_000 + self.provider.id),
            "fixedIPAddress": None,
            "simNotes": None,
            "deviceID": None,
            "modemID": None,
            "globalSimType": None,
            "eid": sim.eid,
        } | sim.extra

    def ctd_usage(self, iccid: str) -> dict[str, Any]:
        """Return a SIM as ``/devices/{iccid}/ctdUsages`` shows it; data in bytes, voice in seconds."""
        sim = self.sim(iccid)
        return {
            "iccid": sim.iccid,
            "imsi": sim.imsi,
            "msisdn": sim.msisdn,
            "imei": sim.imei,
            "status": sim.status,
            "ratePlan": sim.rate_plan,
            "communicationPlan": sim.communication_plan,
            "ctdDataUsage": sim.data_usage,
            "ctdSMSUsage": sim.sms_usage,
            "ctdVoiceUsage": sim.voice_usage,
            "ctdSessionCount": sim.session_count,
            "overageLimitReached": False,
            "overageLimitOverride": "DEFAULT",
        } | sim.extra

    def zones(self, sims: Sequence[Sim], usage_type: str) -> list[dict[str, Any]]:
        """Return the usage of SIMs split over the zones it happened in, as ``/usages`` shows it."""
        key, counter = USAGE_FIELDS[usage_type]
        home, roaming = [], []
        for sim in sims:
            total = sim.extra.get(key, getattr(sim, counter))
            away = sim.roaming_data_usage if usage_type == "DATA" and key not in sim.extra else 0
            home.append({"deviceId": sim.iccid, "usage": {key: total - away if away else total}})
            if away:
                roaming.append({"deviceId": sim.iccid, "usage": {key: away}})
        zones = [{"zone": HOME_ZONE, "devices": home}, {"zone": ROAMING_ZONE, "devices": roaming}]
        return [zone for zone in zones if zone["devices"]]

    def truth(self) -> dict[str, Any]:
        """Return everything there is to know about the account, for checks; times in ISO form."""
        return {
            "account": self.name,
            "integration": self.provider.integration,
            "as_of": self.fleet.as_of.isoformat(),
            "cycle_start": self.fleet.cycle_start.isoformat(),
            "cycle_end": self.fleet.cycle_end.isoformat(),
            "device_count": len(self.sims),
            "devices": [_sim_document(self.sims[iccid]) for iccid in sorted(self.sims)],
        }


def _sim_document(sim: Sim) -> dict[str, Any]:
    document = {field.name: getattr(sim, field.name) for field in fields(Sim)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in document.items()}


class StateFile:
    """Keeps plan changes across restarts: a JSON file, replaced whole so that a crash leaves the old one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def as_of(self, world: dict[str, Any]) -> datetime | None:
        """Return the moment of the kept world, or None when there is none or it was another one."""
        kept = self.document.get("world", {})
        if {key: kept.get(key) for key in world} != world or "as_of" not in kept:
            return None
        return datetime.fromisoformat(kept["as_of"])

    def begin(self, world: dict[str, Any], as_of: datetime) -> None:
        """Keep this world from now on; the changes of another seed or fleet size are dropped."""
        kept = self.document.get("world", {})
        if {key: kept.get(key) for key in world} != world:
            self.document = {"rate_plans": {}}
        self.document["world"] = world | {"as_of": as_of.isoformat()}
        self._write()

    def restore(self, account: CarrierAccount) -> int:
        """Bring an account's SIMs to the plans that were set before; return how many."""
        changes = self.document["rate_plans"].get(account.name, {})
        for iccid, change in changes.items():
            if iccid in account.sims:
                moment = datetime.fromisoformat(change["date_updated"])
                account.restore_rate_plan(iccid, change["rate_plan"], change["rate_plan_version"], moment)
        return len(changes)

    def keep(self, account: CarrierAccount, iccid: str) -> None:
        """Write the present plan of a SIM; returns after it is on disk."""
        sim = account.sims[iccid]
        self.document["rate_plans"].setdefault(account.name, {})[iccid] = {
            "rate_plan": sim.rate_plan,
            "rate_plan_version": sim.rate_plan_version,
            "date_updated": sim.date_updated.isoformat(),
        }
        self._write()

    def _write(self) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(self.document))
        draft.replace(self.path)
