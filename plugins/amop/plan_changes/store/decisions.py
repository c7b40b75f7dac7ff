"""SQL of decisions: the plan changes of an instance, what decides on them, and what was decided."""

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
    decision: str
    """On the changes that do not wait; empty without one."""


@dataclass(frozen=True, slots=True)
class EndedWaits:
    """The changes of an instance that waited until their billing period had closed."""

    instance_id: int
    service_provider_name: str
    change_count: int
    changes_status: str | None
    decision: str
    """On the other changes, empty where all of them waited."""
    has_proposed: bool
    """Whether other changes of the instance are still proposed."""


@dataclass(frozen=True, slots=True)
class Move:
    """The changes of an instance from one rate plan to another."""

    from_rate_plan: str | None
    to_rate_plan: str
    change_count: int
    from_cost: Decimal
    to_cost: Decimal


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


@statement("plan_changes/set_ended")
def set_ended(connection: WarehouseConnection, *, instance_id: int, status: str | None, reason: str) -> None:
    """Store what became of the changes of an instance that waited until their billing period closed."""


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
    decision: str,
    reason: str,
    now: datetime | None,
    decided_by: str | None = None,
    deadline: datetime | None = None,
    planned_by: str | None = None,
) -> None:
    """Store the decision on the changes of an instance; a value of None keeps the stored one.

    Args:
        connection: the warehouse.
        instance_id: the instance.
        status: an `amop.plan_changes.rules.ChangesStatus`.
        decision: the decision alone.
        reason: the decision, and what becomes of the changes that wait.
        now: the present time; None is the database's clock.
        decided_by: the user who decided.
        deadline: the last moment at which there is time to apply all changes.
        planned_by: ``<dag id>/<run id>``.
    """


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


@statement("plan_changes/count_states")
def count_states(connection: WarehouseConnection, *, instance_id: int) -> list[StateCount]:
    """Return the number of changes of an instance by state; proposed ones that wait are ``waiting``."""


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
