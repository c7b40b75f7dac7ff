"""SQL of the views of optimization sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.plan_changes.store.decisions import Move

ChangeSort = Literal[
    "iccid",
    "from_rate_plan",
    "to_rate_plan",
    "projected_usage_mb",
    "from_cost",
    "to_cost",
    "certainty",
    "saving",
    "state",
    "decided_by",
    "applied_at",
]
"""Columns by which plan changes are sorted."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """An optimization session in a list."""

    id: int
    service_provider_id: int
    provider: str
    currency: str
    cycle_end: datetime
    status: str
    progress: int
    started_at: datetime
    ended_at: datetime | None
    error: str | None
    device_count: int | None
    current_cost: Decimal | None
    total_cost: Decimal | None
    savings: Decimal | None
    changes_status: str | None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session with its provider, billing period and instance; the instance's fields are None until it is opened."""

    id: int
    service_provider_id: int
    provider: str
    currency: str
    time_zone: str
    integration: str
    cycle_start: datetime
    cycle_end: datetime
    status: str
    progress: int
    error: str | None
    opened_by: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    instance_id: int | None
    run_status: str | None
    usage_as_of: datetime | None
    device_count: int | None
    kept_device_count: int | None
    unknown_plan_count: int | None
    unknown_activation_count: int | None
    unknown_activation_cost: Decimal | None
    applied_plan_count: int | None
    change_in_doubt_count: int | None
    current_cost: Decimal | None
    base_cost: Decimal | None
    total_cost: Decimal | None
    lower_bound: Decimal | None
    savings: Decimal | None
    saving_to_approve: Decimal | None
    """Of the changes that wait for an approval; None without a request."""
    change_cap: int | None
    """Limit on the number of plan changes (maximum_changes); None = no limit."""
    uncapped_changes: int | None
    """Further plan changes without the limit; None where it was not reached."""
    uncapped_saving: Decimal | None
    """What they would save."""
    capped_rest: Decimal | None
    """What could still be saved at most within the limit; None without one, and where changes have a minimum saving."""
    gap: Decimal | None
    expected_cost: Decimal | None
    """Mean of the bills over scenarios; None where no scenarios chose the plans."""
    cost_5_percent: Decimal | None
    cost_95_percent: Decimal | None
    worst_tenth_cost: Decimal | None
    risk_weight: str | None
    risk_adjusted_gap: Decimal | None
    """Of the bill with the risk weight; None without one, and in sessions of a version before it was stored."""
    expected_pools: list[dict[str, Any]] | None
    """Probability of overage and expected overage of each pool."""
    warning: str | None
    instance_error: str | None
    report_uri: str | None
    changes_status: str | None
    changes_reason: str | None
    changes_decided_by: str | None
    changes_decided_at: datetime | None
    changes_deadline: datetime | None
    changes_planned_by: str | None
    run_is_deleted: bool
    approval_is_lost: bool
    """True if the run has ended in Airflow without an answer to its request."""
    applying_is_lost: bool
    """True if the run has ended in Airflow before it had sent all approved changes."""
    devices_removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Step:
    """A message of a session to AMOP."""

    kind: str
    progress: int | None
    state: str
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ExcludedRow:
    """The SIMs that were excluded for one reason, and the monthly charges of their present rate plans."""

    reason: str
    device_count: int
    monthly_charges: Decimal


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The saving that the first changes bring, in the order of sending."""

    change_count: int
    saving: Decimal


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A plan change of a SIM; costs are None where retention has deleted the results of the SIMs."""

    id: int
    device_id: int
    iccid: str
    from_rate_plan: str | None
    to_rate_plan: str
    projected_usage_mb: Decimal | None
    from_cost: Decimal | None
    to_cost: Decimal | None
    saving: Decimal | None
    state: str
    decided_by: str | None
    decided_at: datetime | None
    applied_at: datetime | None
    remark: str | None
    certainty: Decimal | None
    """Share of the scenarios in which no plan is cheaper for the SIM; None without scenarios."""
    reason: str | None


@statement("page/sessions")
def sessions(
    connection: WarehouseConnection, *, integrations: list[str], service_provider_id: int | None, maximum: int
) -> list[SessionRow]:
    """Return the latest sessions, newest first."""


@statement("page/session")
def find_session(connection: WarehouseConnection, *, session_id: int, integrations: list[str]) -> StoredSession | None:
    """Return a session, None where there is none that the user may see."""


@statement("page/session_steps")
def session_steps(connection: WarehouseConnection, *, session_id: int) -> list[Step]:
    """Return the messages of a session to AMOP in order."""


@statement("page/exclusions")
def exclusions(connection: WarehouseConnection, *, instance_id: int, service_provider_id: int) -> list[ExcludedRow]:
    """Return the excluded SIMs by reason, the most frequent reason first."""


@statement("page/saving_curve")
def saving_curve(connection: WarehouseConnection, *, instance_id: int) -> list[CurvePoint]:
    """Return the saving of the first changes at a number of places, the last one with all changes."""


@statement("page/applied_saving")
def applied_saving(connection: WarehouseConnection, *, instance_id: int) -> Decimal | None:
    """Return the bill before any change less the bill with the applied ones, None if it is not known."""


@statement("page/moves")
def moves(connection: WarehouseConnection, *, instance_id: int) -> list[Move]:
    """Return the plan changes summed up by plan, the largest savings first."""


@statement("page/count_changes")
def count_changes(connection: WarehouseConnection, *, instance_id: int, state: str | None, search: str | None) -> int:
    """Return the number of plan changes of an instance that match a filter."""


@statement("page/changes")
def changes(
    connection: WarehouseConnection,
    *,
    instance_id: int,
    state: str | None,
    search: str | None,
    sort: ChangeSort,
    descending: bool,
    maximum: int,
    skipped: int,
) -> list[ChangeRow]:
    """Return a page of the plan changes of an instance."""
