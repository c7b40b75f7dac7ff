"""SQL of sending: requests to the carrier, their outcomes, and the plans that the carrier shows afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement


@dataclass(frozen=True, slots=True)
class PlanChange:
    """An approved change of one SIM's rate plan."""

    id: int
    iccid: str
    from_rate_plan: str | None
    to_rate_plan: str
    is_read_first: bool
    """True: the SIM is read individually before the change is sent."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The device list that the changes of an instance are built on, and the lists of modified SIMs read since."""

    began_at: datetime | None
    """None: no sync of the provider was merged before the inputs of the instance were read."""
    is_certain: bool
    """True: every modification at the carrier before ``began_at`` is in the warehouse."""
    device_count: int
    """Active SIMs of the provider."""
    daily_modified_count: int | None
    """SIMs modified in a day, by the latest incremental list; None without one."""
    listed_at: datetime | None
    """``sent_at`` of the newest change that a list of modified SIMs has shown; None: none was read."""
    refusal: str | None
    """Why the list of modified SIMs is not used any more; None: it may be."""


@dataclass(frozen=True, slots=True)
class RecentWrite:
    """A change whose write request the carrier confirmed."""

    iccid: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """What limits a plan change at the moment of sending it."""

    change_count: int
    """Changes of the SIM's plan in the billing period."""
    month_change_count: int
    """Those in this month of the provider's time zone."""
    last_changed_at: datetime | None
    maximum_changes_per_sim: int | None
    """None = no limit."""
    maximum_changes_per_month: int | None
    """What the carrier accepts; None = no limit."""
    minimum_days_on_plan: int
    effect: str
    """When the change would count: ``whole_cycle``, ``from_change`` or ``next_cycle``."""


@dataclass(frozen=True, slots=True)
class DoubtfulChange:
    """An approved change whose write request was sent and whose outcome is not known."""

    id: int
    iccid: str
    from_rate_plan: str | None
    to_rate_plan: str
    doubt_since: datetime
    doubt: str | None
    """The answer that left the outcome open; None where a process ended before it recorded one."""
    doubt_count: int
    """Number of write requests of this change with such an answer."""
    is_denied: bool
    """True where that answer was a success status with an error body."""


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """An applied change to read back from the carrier."""

    id: int
    iccid: str
    to_rate_plan: str
    sent_at: datetime | None
    """None: the SIM was on the target plan already."""


@statement("plan_changes/lock_provider")
def lock_provider(connection: WarehouseConnection, *, service_provider_id: int) -> None:
    """Take the session-level lock of a provider's plan changes; waits up to the session's lock timeout."""


@statement("plan_changes/next_batch")
def next_batch(connection: WarehouseConnection, *, instance_id: int, batch_size: int) -> list[PlanChange]:
    """Return the next approved changes that were not sent, in the order of sending."""


@statement("plan_changes/device_list")
def device_list(connection: WarehouseConnection, *, instance_id: int) -> DeviceList:
    """Return the device list that the changes of an instance are built on."""


@statement("plan_changes/mark_uncertain")
def mark_uncertain(connection: WarehouseConnection, *, instance_id: int, final_statuses: list[str]) -> RowCount:
    """Mark the unsent changes of SIMs whose plan the device list does not say for certain: they are read first."""


@statement("plan_changes/recent_writes")
def recent_writes(connection: WarehouseConnection, *, instance_id: int, batch_size: int) -> list[RecentWrite]:
    """Return the latest changes whose write request was confirmed at once, the newest first."""


@statement("plan_changes/record_modified")
def record_modified(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    iccids: list[str],
    rate_plans: list[str | None],
    now: datetime,
) -> RowCount:
    """Record what a list of modified SIMs shows: which unsent changes are read first, which applied ones are kept."""


@statement("plan_changes/set_listed")
def set_listed(
    connection: WarehouseConnection, *, instance_id: int, listed_at: datetime | None, refusal: str | None
) -> None:
    """Record how far the list of modified SIMs was read, or why it is not used; None keeps the stored value."""


@statement("plan_changes/change_limits")
def change_limits(
    connection: WarehouseConnection, *, change_id: int, now: datetime, monthly_limits: Jsonb
) -> ChangeLimits | None:
    """Return what limits a plan change at this moment, None if there is no such change."""


@statement("plan_changes/session_that_applied")
def session_that_applied(connection: WarehouseConnection, *, change_id: int) -> int | None:
    """Return the session that has applied the same change of the SIM since the inputs of this one were read."""


@statement("plan_changes/next_doubts")
def next_doubts(connection: WarehouseConnection, *, instance_id: int, batch_size: int) -> list[DoubtfulChange]:
    """Return the next changes in doubt, the oldest doubt first."""


@statement("plan_changes/find_lost_answers")
def find_lost_answers(connection: WarehouseConnection, *, instance_id: int, now: datetime) -> None:
    """Put the changes in doubt that were sent by a process that ended before it recorded the answer."""


@statement("plan_changes/set_in_doubt")
def set_in_doubt(
    connection: WarehouseConnection, *, change_id: int, doubt: str, is_denied: bool, now: datetime
) -> None:
    """Record that the answer to a write request left the outcome open."""


@statement("plan_changes/set_sent")
def set_sent(connection: WarehouseConnection, *, change_id: int, now: datetime) -> RowCount:
    """Record that the write request is about to be sent; no row if the change must not be sent any more."""


@statement("plan_changes/set_not_sent")
def set_not_sent(connection: WarehouseConnection, *, change_id: int) -> None:
    """Record that a change in doubt has not reached the carrier."""


@statement("plan_changes/set_outcome")
def set_outcome(
    connection: WarehouseConnection, *, change_id: int, state: str, error: str | None, now: datetime
) -> None:
    """Store the outcome of an approved change: ``applied``, ``conflict``, ``failed`` or ``rejected``."""


@statement("plan_changes/sample")
def sample(connection: WarehouseConnection, *, instance_id: int, sample_size: int) -> list[AppliedChange]:
    """Return the applied changes of a sample that are not read back yet."""


@statement("plan_changes/set_verified")
def set_verified(
    connection: WarehouseConnection, *, change_id: int, rate_plan: str | None, error: str | None, now: datetime
) -> None:
    """Store which plan the carrier shows for an applied change; an error makes it a conflict."""


@statement("plan_changes/add_reads")
def add_reads(connection: WarehouseConnection, *, instance_id: int, read_count: int) -> None:
    """Count reads at the carrier that checked changes or read them back."""


@statement("plan_changes/unverified")
def unverified(connection: WarehouseConnection, *, instance_id: int) -> list[AppliedChange]:
    """Return the applied changes that were not read back yet."""
