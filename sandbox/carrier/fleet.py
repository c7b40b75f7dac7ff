"""Generate the fleets of the sandbox carriers from a seed.

A fleet is determined by seed, account, number of SIMs and ``as_of``: the same values give the same SIMs on every
machine. Usage counters are cycle to date at ``as_of``: the usage of a month times the elapsed share of the billing
period.
"""

from __future__ import annotations

import calendar
import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.carrier.catalogue import CommunicationPlan, ServiceProvider, provider_of

BYTES_PER_MB = 1_048_576
EID_DIGITS = 32
LONGEST_SERIAL = 12
"""Digits of the serial number that differ; the others of a longer one are zeros."""
MODIFIED_WITHIN_DAYS = 120
ACTIVATED_IN_PERIOD_SHARE = 0.05
LARGEST_MONTHLY_MB = 60_000.0
STATUS_SHARES = (("ACTIVATED", 0.89), ("DEACTIVATED", 0.05), ("RETIRED", 0.03), ("TEST_READY", 0.03))
OLD_VERSION_SHARE = 0.2
"""Share of the SIMs that are still on version 1 of a plan that has a version 2."""
CUSTOMERS = ("Acme Metering", "Blue Ridge Logistics", "Cobalt Vending", "Delta Farms", None)


@dataclass(slots=True)
class Sim:
    """One SIM with all data that the carrier has. Data in bytes, voice in seconds, times in UTC."""

    iccid: str
    """What identifies it at the carrier: its ICCID, or its EID at Teal."""
    imsi: str
    msisdn: str | None
    imei: str | None
    eid: str | None
    status: str
    rate_plan: str | None
    rate_plan_version: int
    communication_plan: str | None
    customer: str | None
    date_activated: datetime | None
    date_added: datetime
    date_updated: datetime
    data_usage: int = 0
    roaming_data_usage: int = 0
    """The part of ``data_usage`` that occurred in the roaming zone."""
    sms_usage: int = 0
    voice_usage: int = 0
    session_count: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    """Raw JSON values to send instead of the correct ones, for tests."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """All SIMs of one account, and the billing period of their usage counters."""

    account: str
    provider: ServiceProvider
    as_of: datetime
    cycle_start: datetime
    cycle_end: datetime
    sims: list[Sim]
    seeded_as: str
    """The account whose SIMs these are; an account that was added as a copy has the SIMs of another one."""


def billing_cycle(as_of: datetime, provider: ServiceProvider) -> tuple[datetime, datetime]:
    """Return start (inclusive) and end (exclusive) in UTC of the provider's billing period that contains ``as_of``."""
    zone = ZoneInfo(provider.time_zone)
    local = as_of.astimezone(zone)
    end = _period_end(local.year, local.month, provider, zone)
    if as_of >= end:
        following = local.month % 12 + 1
        return end, _period_end(local.year + (following == 1), following, provider, zone)
    previous = (local.month - 2) % 12 + 1
    return _period_end(local.year - (previous == 12), previous, provider, zone), end


def _period_end(year: int, month: int, provider: ServiceProvider, zone: ZoneInfo) -> datetime:
    day = min(provider.bill_period_end_day, calendar.monthrange(year, month)[1])
    return datetime(year, month, day, provider.bill_period_end_hour, tzinfo=zone).astimezone(UTC)


def generate_fleet(
    *,
    integration: str,
    device_count: int,
    seed: int,
    as_of: datetime,
    account: str | None = None,
    seeded_as: str | None = None,
) -> Fleet:
    """Return the fleet of one account.

    Args:
        integration: integration whose rate plans and number ranges the fleet uses.
        device_count: number of SIMs, at most 1,000,000.
        seed: seed of the random generator.
        as_of: aware time of the usage counters; no date of a SIM is later.
        account: API user name; None means the integration's default account.
        seeded_as: account whose SIMs it has; None means its own.

    Raises:
        ValueError: ``as_of`` has no time zone, or ``device_count`` is out of range.
        KeyError: the integration is unknown.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of needs a time zone")
    if not 0 <= device_count <= 1_000_000:
        raise ValueError(f"device_count is {device_count}, not between 0 and 1,000,000")
    provider = provider_of(integration)
    account = account or provider.api_user
    seeded_as = seeded_as or account
    as_of = as_of.astimezone(UTC).replace(microsecond=as_of.microsecond // 1000 * 1000)
    cycle_start, cycle_end = billing_cycle(as_of, provider)
    # Python hashes a string seed with SHA-512, so the stream is the same on every machine and Python version.
    rng = random.Random(f"{seed}/{seeded_as}/{device_count}")
    iccids = _identifiers(rng, provider, seeded_as, device_count)
    maker = _SimMaker(provider, rng, as_of, cycle_start, cycle_end)
    sims = [maker.make(iccid, index) for index, iccid in enumerate(iccids)]
    if provider.family in REDUCTIONS:
        for sim in sims:
            REDUCTIONS[provider.family](sim)
    return Fleet(account, provider, as_of, cycle_start, cycle_end, sims, seeded_as)


def _reduce_to_thingspace(sim: Sim) -> None:
    """Remove what ThingSpace does not have: communication plans, versions, sessions, calls, and some statuses."""
    sim.status = {"RETIRED": "SUSPENDED", "TEST_READY": "ACTIVATION_READY"}.get(sim.status, sim.status)
    sim.communication_plan, sim.rate_plan_version = None, 1
    sim.roaming_data_usage = sim.voice_usage = sim.session_count = 0


def _reduce_to_teal(sim: Sim) -> None:
    """Remove what Teal does not have: communication plans, versions, dates of activation, all counters but data."""
    sim.eid = sim.iccid
    sim.status = {"RETIRED": "SUSPENDED", "TEST_READY": "ACTIVATION_READY"}.get(sim.status, sim.status)
    sim.communication_plan, sim.rate_plan_version, sim.date_activated = None, 1, None
    sim.roaming_data_usage = sim.sms_usage = sim.voice_usage = sim.session_count = 0


REDUCTIONS: dict[str, Callable[[Sim], None]] = {"thingspace": _reduce_to_thingspace, "teal": _reduce_to_teal}
"""Family → the function that removes what it does not have."""


def _identifiers(rng: random.Random, provider: ServiceProvider, account: str, count: int) -> list[str]:
    """Return distinct ICCIDs, or EIDs: issuer, four digits of the account, serial number, check digits."""
    account_digits = int(hashlib.sha256(account.encode()).hexdigest(), 16) % 10_000
    is_eid = provider.iccid_digits == EID_DIGITS
    serial_digits = provider.iccid_digits - len(provider.iccid_prefix) - 4 - (2 if is_eid else 1)
    serials = rng.sample(range(10 ** min(serial_digits, LONGEST_SERIAL)), count)
    bodies = (f"{provider.iccid_prefix}{account_digits:04d}{serial:0{serial_digits}d}" for serial in serials)
    check = eid_check_digits if is_eid else luhn_check_digit
    return [body + check(body) for body in bodies]


def eid_check_digits(digits: str) -> str:
    """Return the two check digits of an EID (GSMA SGP.02): the whole number leaves the remainder 1 by 97."""
    return f"{98 - int(digits) * 100 % 97:02d}"


def luhn_check_digit(digits: str) -> str:
    """Return the check digit of ISO/IEC 7812 (Luhn) for a string of digits."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 - position % 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


class _SimMaker:
    """Generate SIMs one after another from one random stream."""

    def __init__(
        self,
        provider: ServiceProvider,
        rng: random.Random,
        as_of: datetime,
        cycle_start: datetime,
        cycle_end: datetime,
    ) -> None:
        self.provider = provider
        self.rng = rng
        self.as_of = as_of
        self.cycle_start = cycle_start
        self.elapsed = as_of - cycle_start
        self.period = cycle_end - cycle_start
        self.plans = {plan.rate_plan_code: plan for plan in provider.rate_plans}
        self.communication_shares = [plan.share for plan in provider.communication_plans]
        # A bulk edit gives many SIMs the same modification date; the list then orders them by ICCID.
        self.bulk_edits = [as_of - timedelta(days=rng.uniform(1, MODIFIED_WITHIN_DAYS)) for _ in range(3)]

    def make(self, iccid: str, index: int) -> Sim:
        """Return the next SIM."""
        rng = self.rng
        communication = rng.choices(self.provider.communication_plans, self.communication_shares)[0]
        status = rng.choices([name for name, _ in STATUS_SHARES], [share for _, share in STATUS_SHARES])[0]
        added, activated, updated = self._dates(status)
        monthly_mb = self._monthly_mb(communication)
        code = self._current_plan(communication, monthly_mb)
        plan = self.plans[code]
        sim = Sim(
            iccid=iccid,
            imsi=f"{self.provider.imsi_prefix}{rng.randrange(10**9):09d}",
            msisdn=None if status == "TEST_READY" else f"1{rng.randrange(2 * 10**9, 10**10)}",
            imei=None if rng.random() < 0.05 else f"35{rng.randrange(10**13):013d}",
            eid=f"8904{rng.randrange(10**28):028d}" if rng.random() < 0.3 else None,
            status=status,
            rate_plan=code,
            rate_plan_version=1 if plan.version > 1 and rng.random() < OLD_VERSION_SHARE else plan.version,
            communication_plan=communication.name,
            customer=CUSTOMERS[index % len(CUSTOMERS)],
            date_activated=activated,
            date_added=added,
            date_updated=updated,
        )
        self._use(sim, monthly_mb, is_shared=plan.is_shared)
        return sim

    def _dates(self, status: str) -> tuple[datetime, datetime | None, datetime]:
        """Return the dates added, activated (None if never) and updated."""
        rng = self.rng
        updated = self.as_of - timedelta(days=rng.uniform(0, MODIFIED_WITHIN_DAYS))
        if rng.random() < 0.05:
            updated = rng.choice(self.bulk_edits)
        age = timedelta(days=rng.uniform(40, 1500))
        if status == "ACTIVATED" and rng.random() < ACTIVATED_IN_PERIOD_SHARE / STATUS_SHARES[0][1]:
            activated = self.cycle_start + self.elapsed * rng.random()
            updated = activated + (self.as_of - activated) * rng.random() ** 3
            return _truncate_to_ms(activated - age / 10), _truncate_to_ms(activated), _truncate_to_ms(updated)
        before = min(self.cycle_start, updated) - age
        if status == "TEST_READY":
            return _truncate_to_ms(before), None, _truncate_to_ms(updated)
        return _truncate_to_ms(before - age / 10), _truncate_to_ms(before), _truncate_to_ms(updated)

    def _monthly_mb(self, communication: CommunicationPlan) -> float:
        """Return the data usage of the SIM in a month: often zero, usually small, sometimes very large."""
        rng = self.rng
        chance, size, tail = rng.random(), rng.lognormvariate(0, communication.spread), rng.paretovariate(1.4)
        if chance < communication.zero_share:
            return 0.0
        if chance > 1 - communication.tail_share:
            return min(communication.median_mb * 3 * tail, LARGEST_MONTHLY_MB)
        return min(communication.median_mb * size, LARGEST_MONTHLY_MB)

    def _current_plan(self, communication: CommunicationPlan, monthly_mb: float) -> str:
        """Return a plausible rate plan: the cheapest, the cheapest of another month, or the default."""
        rng = self.rng
        habit, last_month = rng.random(), monthly_mb * rng.lognormvariate(0, 0.8)
        default = communication.default_rate_plan
        if self.plans[default].is_shared:
            return default if habit < 0.85 else self._cheapest(communication, monthly_mb)
        best = self._cheapest(communication, monthly_mb)
        if habit < 0.45:
            return best
        choice = self._cheapest(communication, last_month) if habit < 0.75 else default
        # The customer would have noticed a charge several times higher than necessary.
        limit = 2.5 * self.plans[best].cost_alone(monthly_mb) + 1
        return choice if self.plans[choice].cost_alone(monthly_mb) <= limit else best

    def _cheapest(self, communication: CommunicationPlan, monthly_mb: float) -> str:
        allowed = [code for code in communication.rate_plans if not self.plans[code].is_shared]
        return min(allowed, key=lambda code: self.plans[code].cost_alone(monthly_mb))

    def _use(self, sim: Sim, monthly_mb: float, *, is_shared: bool) -> None:
        """Set the cycle-to-date counters to the usage since the SIM became active in this period."""
        rng = self.rng
        roams, home, texts, talks, early = (rng.random() for _ in range(5))
        since = self.cycle_start
        if sim.date_activated is not None and sim.date_activated > since:
            since = sim.date_activated
        share = (self.as_of - since) / self.period
        if sim.status == "DEACTIVATED":
            # Four of five were deactivated before this period began.
            share = share * early if early > 0.8 else 0.0
        if sim.status == "RETIRED":
            # One of five was retired within this period; the carrier bills it to the period's end.
            share = share * early if early > 0.8 else 0.0
        if sim.status == "TEST_READY":
            share = 0.0
        sim.data_usage = int(monthly_mb * share * BYTES_PER_MB)
        if monthly_mb > 300 and roams < 0.5:
            sim.roaming_data_usage = int(sim.data_usage * (0.05 + 0.35 * home))
        if texts < 0.3 and sim.status == "ACTIVATED":  # whatever its plan charges for messages
            sim.sms_usage = int((1 + texts * 200) * share)
        if is_shared and talks < 0.3 and sim.status == "ACTIVATED":
            sim.voice_usage = int(talks * 6000 * share)
        sim.session_count = math.ceil(sim.data_usage / (2 * BYTES_PER_MB)) if sim.data_usage else 0


def _truncate_to_ms(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
