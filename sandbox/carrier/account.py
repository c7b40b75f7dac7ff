"""One account of the sandbox carrier: reads and changes its SIMs and renders them as the vendor's JSON."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.carrier.fleet import Fleet, Sim, billing_cycle, generate_fleet

HOME_ZONE = "Domestic"
ROAMING_ZONE = "North America Roaming"
MILLISECOND = timedelta(milliseconds=1)
LIST_YEAR = timedelta(days=366)
"""Longest span of modification dates that the vendor lists."""


class ListLimit(StrEnum):
    """How the vendor limits the modification dates of a device list to a year."""

    NONE = "none"
    AGE = "age"
    """Refuse a list that begins more than a year ago."""
    SPAN = "span"
    """Refuse a list whose dates span more than a year."""
    END = "end"
    """End a list one year after its beginning, without saying so."""


class UsageAttribution(StrEnum):
    """Which rate plan bulk usage is given for after a SIM's plan changed; the vendor's pages do not say."""

    PRESENT_PLAN = "present-plan"
    PLAN_OF_USE = "plan-of-use"


USAGE_FIELDS = {
    "DATA": ("dataUsage", "data_usage"),
    "SMS": ("smsUsage", "sms_usage"),
    "VOICE": ("voiceUsage", "voice_usage"),
}
"""JSON key and field of `Sim` by usage type."""
COUNTERS = ("data_usage", "roaming_data_usage", "sms_usage", "voice_usage", "session_count")
"""Fields of `Sim` that grow during a billing period."""


PlanVersion = tuple[str | None, int]
"""Code and version of a rate plan."""


class RequestRefusedError(Exception):
    """A request that the carrier refuses, with HTTP status, message and the vendor's error code."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def format_time(time: datetime | None) -> str | None:
    """Format a time as Control Center does: ``2026-10-20 14:03:11.000+0000``. None stays None."""
    if time is None:
        return None
    utc = time.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}+0000"


class CarrierAccount:
    """The SIMs of one API user. Not thread-safe: only the server's event loop may use it."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        list_limit: ListLimit = ListLimit.NONE,
        usage_attribution: UsageAttribution = UsageAttribution.PRESENT_PLAN,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Serve a fleet; ``clock`` gives the present time, which dates modifications."""
        self.name = fleet.account
        self._clock = clock
        self.list_limit = list_limit
        self.usage_attribution = usage_attribution
        self.fleet = fleet
        self.provider = fleet.provider
        self.sims: dict[str, Sim] = {sim.iccid: sim for sim in fleet.sims}
        self._used_before: dict[str, dict[PlanVersion, dict[str, int]]] = {}
        """ICCID → plan that it left → what it had used on that plan, by counter."""
        self._order: list[tuple[datetime, str]] | None = None
        self._by_plan: dict[PlanVersion, list[Sim]] | None = None
        self._latest = max((sim.date_updated for sim in fleet.sims), default=fleet.as_of)

    # Reads

    def sim(self, iccid: str) -> Sim:
        """Return a SIM by ICCID.

        Raises:
            RequestRefusedError: 404, the account has no such SIM.
        """
        try:
            return self.sims[iccid]
        except KeyError:
            raise RequestRefusedError(404, f"no device with ICCID {iccid} in this account") from None

    def rate_plan(self, rate_plan_code: str) -> tuple[int, bool]:
        """Return the current version of a rate plan and whether it is shared.

        A plan that is not in the catalogue but is set on a SIM has version 1.

        Raises:
            RequestRefusedError: 404, neither the catalogue nor any SIM has the plan.
        """
        try:
            plan = self.provider.rate_plan(rate_plan_code)
        except KeyError:
            if all(sim.rate_plan != rate_plan_code for sim in self.sims.values()):
                raise RequestRefusedError(404, f"rate plan {rate_plan_code!r} does not exist") from None
            return 1, False
        return plan.version, plan.is_shared

    def modified_between(self, since: datetime, till: datetime | None) -> list[str]:
        """Return the ICCIDs modified within a window, oldest modification first, ties by ICCID.

        Raises:
            RequestRefusedError: 400 with the vendor's code, the window exceeds the account's limit.
        """
        now = self._clock()
        begin, end = (since, till or now) if self.list_limit is ListLimit.SPAN else (since, now)
        if self.list_limit in (ListLimit.AGE, ListLimit.SPAN) and end - begin > LIST_YEAR:
            raise RequestRefusedError(400, "The modification dates must be within one year.", "10000045")
        if self.list_limit is ListLimit.END:
            # Not cut off at the present time: SIMs touched together are dated a millisecond apart, into the future.
            till = min(till or since + LIST_YEAR, since + LIST_YEAR)
        if self._order is None:
            self._order = sorted((sim.date_updated, sim.iccid) for sim in self.sims.values())
        first = bisect.bisect_left(self._order, (since, ""))
        last = len(self._order) if till is None else bisect.bisect_right(self._order, (till, "~"))
        return [iccid for _, iccid in self._order[first:last]]

    def sims_with_usage(self, rate_plan_code: str, version: int, usage_type: str) -> list[Sim]:
        """Return the SIMs with usage of the given type on one version of a rate plan, ordered by ICCID."""
        if self._by_plan is None:
            self._by_plan = {}
            for sim in sorted(self.sims.values(), key=lambda sim: sim.iccid):
                for plan in {_present_plan(sim), *self._used_before.get(sim.iccid, {})}:
                    self._by_plan.setdefault(plan, []).append(sim)
        plan = (rate_plan_code, version)
        key, counter = USAGE_FIELDS[usage_type]
        return [
            sim
            for sim in self._by_plan.get(plan, [])
            if self._used_on(sim, plan, counter) or (key in sim.extra and plan == _present_plan(sim))
        ]

    def _used_on(self, sim: Sim, plan: PlanVersion, counter: str) -> int:
        """Return the part of a SIM's counter that bulk usage gives for a plan that it is or was on."""
        before = self._used_before.get(sim.iccid, {})
        if plan != _present_plan(sim):
            return before.get(plan, {}).get(counter, 0)
        elsewhere = sum(used[counter] for other, used in before.items() if other != plan)
        return max(0, int(getattr(sim, counter)) - elsewhere)

    def _leave_plan(self, sim: Sim) -> None:
        """Remember what a SIM has used on its plan, which it is about to leave."""
        if self.usage_attribution is UsageAttribution.PLAN_OF_USE:
            plan = _present_plan(sim)
            used = {counter: self._used_on(sim, plan, counter) for counter in COUNTERS}
            self._used_before.setdefault(sim.iccid, {})[plan] = used

    def is_current_cycle(self, start: date) -> bool:
        """Return whether the date is the start of the current billing period (True) or of another one (False).

        Raises:
            RequestRefusedError: 400, no billing period of this account starts on that date.
        """
        zone = ZoneInfo(self.provider.time_zone)
        current = self.fleet.cycle_start.astimezone(zone).date()
        if start == current:
            return True
        last_moment = datetime(start.year, start.month, start.day, 23, 59, 59, tzinfo=zone)
        if billing_cycle(last_moment, self.provider)[0].astimezone(zone).date() == start:
            return False
        raise RequestRefusedError(400, f"no billing cycle starts on {start}; the current one started on {current}")

    # Changes

    def change_rate_plan(self, iccid: str, rate_plan_code: Any) -> None:
        """Move a SIM to the current version of a rate plan that its communication plan allows.

        Raises:
            RequestRefusedError: 404 for an unknown SIM; 400 for a retired SIM, an unknown plan or a plan that the
                communication plan does not allow.
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
        self._leave_plan(sim)
        sim.rate_plan, sim.rate_plan_version = plan.rate_plan_code, plan.version
        self.touch([iccid])

    def restore_rate_plan(self, iccid: str, rate_plan_code: str, version: int, updated: datetime) -> None:
        """Set the plan and modification time that a SIM had before a restart."""
        sim = self.sims[iccid]
        sim.rate_plan, sim.rate_plan_version, sim.date_updated = rate_plan_code, version, updated
        self._latest = max(self._latest, updated)
        self._clear_indexes()

    def touch(self, iccids: Iterable[str]) -> None:
        """Mark SIMs as modified now, which moves each of them to the end of the list."""
        for iccid in iccids:
            sim = self.sim(iccid)
            now = self._clock()
            self._latest = max(self._latest + MILLISECOND, now.replace(microsecond=now.microsecond // 1000 * 1000))
            if self._order is not None:
                del self._order[bisect.bisect_left(self._order, (sim.date_updated, iccid))]
                self._order.append((self._latest, iccid))
            sim.date_updated = self._latest
        self._by_plan = None

    def change(self, iccid: str, values: dict[str, Any]) -> None:
        """Set fields of a SIM by their names in `Sim` and mark it as modified; ``extra`` sets raw JSON values.

        Raises:
            RequestRefusedError: 404 for an unknown SIM, 400 for an unknown field.
        """
        sim = self.sim(iccid)
        known = {field.name for field in fields(Sim)} - {"iccid", "date_updated"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise RequestRefusedError(400, f"unknown fields {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if values.get("rate_plan", sim.rate_plan) != sim.rate_plan:
            self._leave_plan(sim)
        for name, value in values.items():
            is_time = name in ("date_activated", "date_added") and value is not None
            setattr(sim, name, datetime.fromisoformat(value) if is_time else value)
        self.touch([iccid])

    def use_until(self, moment: datetime, *, seed: int) -> None:
        """Set the usage counters to their values at a time within the current billing period.

        Args:
            moment: aware time; an earlier time than that of the counters lowers them.
            seed: the seed that the fleet was generated with.

        Raises:
            RequestRefusedError: 400, the time is in another billing period.
        """
        if billing_cycle(moment, self.provider) != (self.fleet.cycle_start, self.fleet.cycle_end):
            raise RequestRefusedError(400, f"{moment} is not in the billing period of {self.name}")
        later = generate_fleet(
            integration=self.provider.integration,
            account=self.name,
            seeded_as=self.fleet.seeded_as,
            device_count=len(self.fleet.sims),
            seed=seed,
            as_of=moment,
        )
        for used in later.sims:
            if used.iccid in self.sims:
                for counter in COUNTERS:
                    setattr(self.sims[used.iccid], counter, getattr(used, counter))

    def remove(self, iccid: str) -> None:
        """Remove a SIM from the account, so that the list no longer names it."""
        del self.sims[self.sim(iccid).iccid]
        self._clear_indexes()

    def _clear_indexes(self) -> None:
        self._order = None
        self._by_plan = None

    # JSON responses

    def list_entry(self, iccid: str) -> dict[str, Any]:
        """Return a SIM as an entry of the device list."""
        sim = self.sims[iccid]
        entry = {
            "iccid": sim.iccid,
            "status": sim.status,
            "ratePlan": sim.rate_plan,
            "communicationPlan": sim.communication_plan,
        }
        return entry | {key: value for key, value in sim.extra.items() if key in entry}

    def details(self, iccid: str) -> dict[str, Any]:
        """Return the response of ``/devices/{iccid}``."""
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
            "dateActivated": format_time(sim.date_activated),
            "dateAdded": format_time(sim.date_added),
            "dateUpdated": format_time(sim.date_updated),
            "dateShipped": format_time(sim.date_added),
            "accountId": str(100_000 + self.provider.id),
            "fixedIPAddress": None,
            "simNotes": None,
            "deviceID": None,
            "modemID": None,
            "globalSimType": None,
            "eid": sim.eid,
        } | sim.extra

    def ctd_usage(self, iccid: str) -> dict[str, Any]:
        """Return the response of ``/devices/{iccid}/ctdUsages``; data in bytes, voice in seconds."""
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

    def zones(self, sims: Sequence[Sim], usage_type: str, plan: PlanVersion) -> list[dict[str, Any]]:
        """Return the ``zones`` of a ``/usages`` response: the usage of SIMs on a plan by the zone it occurred in."""
        key, counter = USAGE_FIELDS[usage_type]
        home, roaming = [], []
        for sim in sims:
            total = sim.extra.get(key, self._used_on(sim, plan, counter))
            is_split = usage_type == "DATA" and key not in sim.extra
            away = self._used_on(sim, plan, "roaming_data_usage") if is_split else 0
            home.append({"deviceId": sim.iccid, "usage": {key: total - away if away else total}})
            if away:
                roaming.append({"deviceId": sim.iccid, "usage": {key: away}})
        zones = [{"zone": HOME_ZONE, "devices": home}, {"zone": ROAMING_ZONE, "devices": roaming}]
        return [zone for zone in zones if zone["devices"]]

    def truth(self) -> dict[str, Any]:
        """Return the true data of the account for checks, with times in ISO 8601 form."""
        return {
            "account": self.name,
            "integration": self.provider.integration,
            "as_of": self.fleet.as_of.isoformat(),
            "cycle_start": self.fleet.cycle_start.isoformat(),
            "cycle_end": self.fleet.cycle_end.isoformat(),
            "device_count": len(self.sims),
            "devices": [_sim_document(self.sims[iccid]) for iccid in sorted(self.sims)],
        }


def _present_plan(sim: Sim) -> PlanVersion:
    return sim.rate_plan, sim.rate_plan_version


def _sim_document(sim: Sim) -> dict[str, Any]:
    document = {field.name: getattr(sim, field.name) for field in fields(Sim)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in document.items()}
