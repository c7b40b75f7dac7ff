"""SQL of plan changes: decisions, requests sent to the carrier, and the plans that the carrier shows afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from psycopg.types.json import Jsonb

from amop.database.connection import WarehouseConnection
from amop.database.statements import RowCount, statement
from amop.runs.errors import PipelineError

SYSTEM_ACTOR = "amop"
"""``decided_by`` of a decision by the settings, without an approval request."""


@dataclass(frozen=True, slots=True)
class InstanceChanges:
    """The plan changes of an instance: their number and amount, what allows them, and the decision so far."""

    instance_id: int
    session_id: int
    run_status: str
    apply_changes: str
    """``provider_setting`` or ``never``."""
    current_cost: Decimal
    savings: Decimal
    """Of the changes that do not wait."""
    change_cap: int | None
    """Limit on the number of plan changes (maximum_changes); None = no limit."""
    uncapped_changes: int | None
    """Further plan changes without the limit; None where it was not reached."""
    uncapped_saving: Decimal | None
    changes_status: str | None
    """A `amop.plan_changes.rules.ChangesStatus`; None until the changes are planned."""
    changes_reason: str | None
    changes_deadline: datetime | None
    """The last moment at which there is time to apply all of them."""
    service_provider_id: int
    service_provider_name: str
    connection_id: str
    integration: str
    currency: str
    time_zone: str
    is_active: bool
    """False: the provider is switched off."""
    write_is_enabled: bool
    can_auto_update_rate_plans: bool
    approval_above_changes: int | None
    approval_above_amount: Decimal | None
    upgrade_effect: str
    """When an upgrade counts: ``whole_cycle``, ``from_change`` or ``next_cycle``."""
    downgrade_effect: str
    cycle_start: datetime
    cycle_end: datetime
    newer_instance_id: int | None
    """A newer instance of the provider that supersedes these changes."""
    change_count: int
    """Changes that do not wait for a later instance."""
    amount: Decimal
    """Sum of |cost on the new plan - cost on the present plan| of these changes."""
    waiting_count: int
    """Changes that wait for a later instance."""
    waiting_amount: Decimal
    """Sum of |cost on the new plan - cost on the present plan| of the changes that wait."""
    waits_reason: str | None


@dataclass(frozen=True, slots=True)
class TimingFacts:
    """What decides whether doubtful changes of an instance wait for a later one."""

    doubtful_changes: str
    """An `amop.plan_changes.timing.DoubtfulChanges`."""
    optimization_start_hour_local: int
    longest_session: timedelta | None
    """Of the provider's latest complete sessions, from the start of the device sync to the results; None = none."""
    change_count: int
    """Proposed changes, the doubtful ones included."""
    doubtful_count: int


@dataclass(frozen=True, slots=True)
class ChangePace:
    """How fast the latest changes of a provider followed each other."""

    interval_count: int
    seconds: float | None
    """Sum of the intervals; None without any."""


@dataclass(frozen=True, slots=True)
class OlderInstance:
    """An instance whose open changes a newer one has superseded."""

    id: int
    changes_status: str | None


@dataclass(frozen=True, slots=True)
class EndedWaits:
    """The changes of an instance that waited until their billing period had closed."""

    instance_id: int
    service_provider_name: str
    change_count: int


@dataclass(frozen=True, slots=True)
class Move:
    """The changes of an instance from one rate plan to another."""

    from_rate_plan: str | None
    to_rate_plan: str
    change_count: int
    from_cost: Decimal
    to_cost: Decimal


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


@dataclass(frozen=True, slots=True)
class StateCount:
    """The number of changes of an instance in one state."""

    state: str
    change_count: int


@dataclass(frozen=True, slots=True)
class ApprovalState:
    """The state of an approval request."""

    withdrawal_reason: str | None
    """None while the request is current."""


# --- Decisions --------------------------------------------------------------------------------------------------------


@statement("plan_changes/instance_changes")
def find_instance_changes(connection: WarehouseConnection, *, instance_id: int) -> InstanceChanges | None:
    """Return what decides on the changes of an instance, None if there is no such instance."""


@statement("plan_changes/timing_facts")
def timing_facts(connection: WarehouseConnection, *, instance_id: int, sessions: int) -> TimingFacts | None:
    """Return what decides whether doubtful changes of an instance wait, None if there is no such instance."""


@statement("plan_changes/set_waiting")
def set_waiting(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    reason: str | None,
    only_limited: bool,
    last_decision_at: datetime | None,
    now: datetime,
    monthly_limits: Jsonb,
) -> None:
    """Let doubtful proposed changes of an instance wait for a later one; a reason of None lets none wait."""


@statement("plan_changes/end_waiting")
def end_waiting(connection: WarehouseConnection, *, reason: str, decided_by: str, now: datetime) -> list[EndedWaits]:
    """Reject the changes that wait within a closed billing period; return their instances."""


@statement("plan_changes/change_pace")
def change_pace(
    connection: WarehouseConnection,
    *,
    service_provider_id: int,
    since: datetime,
    longest_interval: timedelta,
    times_usual: int,
    maximum: int,
) -> ChangePace:
    """Return how fast the latest changes of a provider followed each other."""


@statement("plan_changes/moves")
def moves(connection: WarehouseConnection, *, instance_id: int) -> list[Move]:
    """Return the changes of an instance that do not wait, summed up by plan, the largest savings first."""


@statement("plan_changes/set_status")
def set_status(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    status: str,
    reason: str,
    now: datetime | None,
    decided_by: str | None = None,
    deadline: datetime | None = None,
    planned_by: str | None = None,
) -> None:
    """Store the decision on the changes of an instance; a value of None keeps the stored one."""


@statement("plan_changes/approve")
def approve(connection: WarehouseConnection, *, instance_id: int, decided_by: str, now: datetime) -> RowCount:
    """Approve the proposed changes of an instance that do not wait."""


@statement("plan_changes/reject")
def reject(
    connection: WarehouseConnection, *, instance_id: int, reason: str, decided_by: str, now: datetime
) -> RowCount:
    """Reject the proposed and approved changes of an instance that are not in doubt."""


@statement("plan_changes/superseded_instances")
def superseded_instances(connection: WarehouseConnection, *, instance_id: int) -> list[OlderInstance]:
    """Return the older instances whose open changes this one has superseded, and lock them."""


@statement("plan_changes/approval_state")
def approval_state(connection: WarehouseConnection, *, instance_id: int, now: datetime | None) -> ApprovalState | None:
    """Return whether the approval request of an instance is withdrawn, None if there is no such instance."""


# --- At the carrier ---------------------------------------------------------------------------------------------------


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


@statement("plan_changes/count_states")
def count_states(connection: WarehouseConnection, *, instance_id: int) -> list[StateCount]:
    """Return the number of changes of an instance by state; proposed ones that wait are ``waiting``."""


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


# --- Wrappers ---------------------------------------------------------------------------------------------------------


def load_instance_changes(connection: WarehouseConnection, instance_id: int) -> InstanceChanges:
    """Return what decides on the changes of an instance.

    Raises:
        PipelineError: there is no such instance.
    """
    changes = find_instance_changes(connection, instance_id=instance_id)
    if changes is None:
        raise PipelineError(f"optimization instance {instance_id} does not exist")
    return changes


def changes_by_state(connection: WarehouseConnection, instance_id: int) -> dict[str, int]:
    """Return the number of changes of an instance by state."""
    return {count.state: count.change_count for count in count_states(connection, instance_id=instance_id)}
