"""SQL of the views of a SIM."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class FoundSim:
    """A SIM that a search found."""

    id: int
    provider: str
    iccid: str
    imsi: str | None
    msisdn: str | None
    imei: str | None
    status: str | None
    rate_plan: str | None
    communication_plan: str | None
    ctd_data_usage: int
    is_active: bool


@dataclass(frozen=True, slots=True)
class StoredSim:
    """A SIM with its provider and the billing period of its counters; data in bytes, voice in seconds."""

    id: int
    service_provider_id: int
    provider: str
    currency: str
    time_zone: str
    iccid: str
    imsi: str | None
    msisdn: str | None
    imei: str | None
    status: str | None
    rate_plan: str | None
    communication_plan: str | None
    ctd_data_usage: int
    ctd_sms_usage: int | None
    """None where messages were not read."""
    ctd_voice_usage: int | None
    ctd_session_count: int | None
    date_activated: datetime | None
    last_usage_date: datetime | None
    is_active: bool
    modified_at: datetime
    usage_is_unconfirmed: bool
    billing_period_id: int | None
    cycle_start: datetime | None
    cycle_end: datetime | None


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A SIM as the carrier listed it from a day on."""

    valid_from: date
    status: str | None
    rate_plan: str | None
    communication_plan: str | None


@dataclass(frozen=True, slots=True)
class DayRow:
    """Usage of a day in the provider's time zone: bytes and messages."""

    usage_date: date
    data_usage: int
    sms_usage: int | None
    """None where messages were not read."""


@dataclass(frozen=True, slots=True)
class CycleRow:
    """Usage of a billing period: bytes and messages."""

    cycle_start: datetime
    cycle_end: datetime
    data_usage: Decimal
    sms_usage: Decimal | None
    day_count: int


@dataclass(frozen=True, slots=True)
class SimResult:
    """Inputs and result of a SIM in an optimization; the result is None for a SIM that is not billed."""

    instance_id: int
    session_id: int
    usage_as_of: datetime | None
    cycle_end: datetime
    certificate: dict[str, Any] | None
    group_number: int
    rate_plan_ids: list[int]
    usage_mb: Decimal
    projected_usage_mb: Decimal
    sms_usage: int
    sms_is_read: bool
    days_activated: int
    is_prorated: bool
    history_days: int
    current_rate_plan: str | None
    current_rate_plan_id: int | None
    kept_reason: str | None
    counts_for_whole_cycle: bool
    """False where a plan change counts from its day or from the next cycle."""
    likely_usage_mb: list[Decimal] | None
    """Ten equally likely usages of the billing period, ascending; None where no scenarios chose the plans."""
    value_at_stake: Decimal | None
    certainty: Decimal | None
    """Share of the scenarios in which no plan is cheaper for the SIM; None where no scenarios chose the plans."""
    waits_reason: str | None
    """Why the proposed change of its plan waits for a later optimization; None where it does not."""
    """What knowing the usage would save on the mean."""
    to_rate_plan: str | None
    from_cost: Decimal | None
    to_cost: Decimal | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class SimExclusion:
    """The latest optimization that excluded a SIM."""

    session_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """The prices of a rate plan."""

    id: int
    rate_plan_code: str
    rate_charge: Decimal
    base_rate: Decimal
    plan_mb: Decimal
    overage_rate: Decimal
    data_per_overage_charge: Decimal
    sms_rate: Decimal
    allows_sim_pooling: bool
    pool: str | None
    is_retired: bool


@dataclass(frozen=True, slots=True)
class SimChange:
    """A plan change that was proposed for a SIM."""

    id: int
    session_id: int
    from_rate_plan: str | None
    to_rate_plan: str
    state: str
    decided_by: str | None
    decided_at: datetime | None
    applied_at: datetime | None
    remark: str | None


@dataclass(frozen=True, slots=True)
class SimQuarantine:
    """A quarantined record of a SIM."""

    id: int
    kind: str
    reason: str
    quarantined_at: datetime
    resolution: str | None


@statement("page/sims")
def find_sims(connection: WarehouseConnection, *, integrations: list[str], first: str, maximum: int) -> list[FoundSim]:
    """Return the SIMs with a number that begins with ``first``, which has no wildcards."""


@statement("page/sim")
def find_sim(connection: WarehouseConnection, *, device_id: int, integrations: list[str]) -> StoredSim | None:
    """Return a SIM, None where there is none that the user may see."""


@statement("page/sim_history")
def sim_history(connection: WarehouseConnection, *, device_id: int, maximum: int) -> list[HistoryRow]:
    """Return the status and plans of a SIM over time, newest first."""


@statement("page/sim_days")
def sim_days(connection: WarehouseConnection, *, device_id: int, billing_period_id: int) -> list[DayRow]:
    """Return the usage of a SIM by day in a billing period."""


@statement("page/sim_cycles")
def sim_cycles(connection: WarehouseConnection, *, device_id: int, maximum: int) -> list[CycleRow]:
    """Return the usage of a SIM by billing period, newest first."""


@statement("page/sim_result")
def sim_result(connection: WarehouseConnection, *, device_id: int, service_provider_id: int) -> SimResult | None:
    """Return the latest complete optimization of a SIM, None where none has covered it."""


@statement("page/sim_exclusion")
def sim_exclusion(connection: WarehouseConnection, *, device_id: int, service_provider_id: int) -> SimExclusion | None:
    """Return the latest complete optimization that excluded a SIM, None where none has."""


@statement("page/plan_terms")
def plan_terms(connection: WarehouseConnection, *, rate_plan_ids: list[int], instance_id: int) -> list[PlanTerms]:
    """Return the prices of rate plans in an optimization."""


@statement("page/sim_changes")
def sim_changes(connection: WarehouseConnection, *, device_id: int, maximum: int) -> list[SimChange]:
    """Return the plan changes proposed for a SIM, newest first."""


@statement("page/sim_quarantine")
def sim_quarantine(
    connection: WarehouseConnection, *, iccid: str, service_provider_id: int, maximum: int
) -> list[SimQuarantine]:
    """Return the quarantined records of a SIM, newest first."""
