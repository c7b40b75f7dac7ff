"""Rows of an optimization: the instance, its comm groups, rate plans, exclusions, totals and bill items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Instance:
    """An optimization instance with its session, provider and billing period; times are UTC, money is currency."""

    id: int
    session_id: int
    usage_as_of: datetime
    """The moment from which usage is projected."""
    inputs_read_at: datetime | None
    """None until the SIMs are read."""
    device_count: int
    """Placed SIMs."""
    expected_device_count: int
    kept_device_count: int
    """SIMs that are billed on their present plan and may not be moved."""
    applied_plan_count: int
    """Billed SIMs whose present plan was applied after the last list of devices."""
    change_in_doubt_count: int
    unknown_plan_count: int
    unknown_activation_count: int
    current_cost: Decimal | None
    base_cost: Decimal | None
    total_cost: Decimal | None
    lower_bound: Decimal | None
    savings: Decimal | None
    """None until the results are written."""
    cost_5_percent: Decimal | None
    """The interval of the bill; None where no scenarios chose the plans."""
    cost_95_percent: Decimal | None
    certificate: dict[str, Any] | None
    projection: dict[str, Any] | None
    """Method of the projection and its usage days; None until the SIMs are read."""
    warning: str | None
    report_uri: str | None
    run_status: str
    """``running``, ``complete_with_success`` or ``complete_with_errors``."""
    error: str | None
    session_status: str
    progress: int
    """Percent of the session: 0, 20, 30, 40, 50 or 100."""
    session_error: str | None
    service_provider_id: int
    billing_period_id: int
    service_provider_name: str
    family: str
    """The carrier's API family."""
    currency: str
    time_zone: str
    uses_proration: bool
    prorates_allowance: bool
    pool_scope: str
    minimum_saving_per_change: Decimal
    maximum_changes: int | None
    rate_plan_limit: int | None
    projection_method: str
    risk_weight: Decimal
    """Weight of the mean of the worst tenth of the bills beside the expected bill."""
    upgrade_effect: str
    """``whole_cycle``, ``from_change`` or ``next_cycle``."""
    downgrade_effect: str
    maximum_changes_per_sim: int | None
    """None = no limit."""
    minimum_days_on_plan: int
    cycle_start: datetime
    cycle_end: datetime

    @property
    def label(self) -> str:
        """The provider's name and id and the instance's id, for messages."""
        return f"{self.service_provider_name} ({self.service_provider_id}), instance {self.id}"

    @property
    def is_running(self) -> bool:
        """True while the instance and its session are running."""
        return self.run_status == "running" and self.session_status == "running"

    @property
    def is_complete(self) -> bool:
        """True once the results are published."""
        return self.run_status == "complete_with_success"


@dataclass(frozen=True, slots=True)
class IntervalRecord:
    """How often the interval of a provider's bill came true."""

    periods: int
    """Closed billing periods that were measured."""
    held: int
    """Those whose bill was within the interval."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A service provider as the check of a request needs it."""

    id: int
    name: str
    integration: str


@dataclass(frozen=True, slots=True)
class BillingPeriodEnd:
    """A billing period and its end."""

    id: int
    cycle_end: datetime


@dataclass(frozen=True, slots=True)
class SyncRunOfSession:
    """The device sync run that opened a session."""

    id: int
    status: str


@dataclass(frozen=True, slots=True)
class StoredCommGroup:
    """A comm group of an instance."""

    id: int
    group_key: str
    rate_plan_ids: list[int]
    communication_plans: list[str]
    outcome: str | None
    """None until the groups are validated."""
    device_count: int


@dataclass(frozen=True, slots=True)
class CommGroupCounts:
    """The SIMs of a comm group, as they were read."""

    id: int
    outcome: str | None
    communication_plans: list[str]
    device_count: int
    """SIMs that should be placed."""
    placed_count: int
    kept_count: int
    """SIMs that are billed on their present plan and may not be moved."""
    sms_kept_count: int
    """SIMs that are kept because their messages were not read."""
    unknown_plan_count: int
    """Placed SIMs whose present rate plan is not in the reference data."""
    unknown_activation_count: int
    unknown_activation_charge: Decimal
    """Rate charges of the present plans of placed SIMs whose activation date is unknown."""
    sms_unread_count: int
    """Placed SIMs to which no plan with a price for messages was offered, because their messages were not read."""
    applied_plan_count: int
    """Billed SIMs whose present plan was applied after the last list of devices."""
    change_in_doubt_count: int
    """Placed SIMs that keep their plan because the outcome of a change of it is not known."""


@dataclass(frozen=True, slots=True)
class RatePlan:
    """A rate plan with its prices."""

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
class ExclusionCount:
    """The number of SIMs that an instance excluded for one reason."""

    reason: str
    """A key of `amop.optimization.exclusions.EXCLUSION_REASONS`."""
    device_count: int


@dataclass(frozen=True, slots=True)
class ResultTotals:
    """The sums of the result rows of an instance."""

    device_count: int
    current_cost: Decimal
    total_cost: Decimal
    changes: int
    """SIMs whose solved rate plan is not their present one."""


@dataclass(frozen=True, slots=True)
class RatePlanItem:
    """The part of one rate plan in a bill, with the prices that it was computed with."""

    instance_id: int
    assignment: str
    """``current`` or ``solved``."""
    rate_plan_code: str
    pool_name: str | None
    rate_charge: Decimal
    base_rate: Decimal
    plan_mb: Decimal
    overage_rate: Decimal
    data_per_overage_charge: Decimal
    sms_rate: Decimal
    device_count: int
    usage_mb: Decimal
    included_mb: Decimal
    overage_mb: Decimal | None
    """None for a pooled plan."""
    overage_blocks: int | None
    """None for a pooled plan."""
    charges: Decimal
    """Rate charges, prorated, and base rates."""
    overage_cost: Decimal
    sms_cost: Decimal
    total_cost: Decimal


@dataclass(frozen=True, slots=True)
class PoolItem:
    """The part of one pool in a bill."""

    instance_id: int
    assignment: str
    """``current`` or ``solved``."""
    pool_number: int
    """The cost model's index of the pool."""
    pool_name: str
    comm_group_key: str | None
    """None for a pool of the whole provider."""
    overage_rate: Decimal
    data_per_overage_charge: Decimal
    device_count: int
    usage_mb: Decimal
    included_mb: Decimal
    overage_mb: Decimal
    overage_blocks: int
    overage_cost: Decimal


@dataclass(frozen=True, slots=True)
class BillItems:
    """A bill by rate plan and by pool; the rate plans add up to the bill."""

    rate_plans: Sequence[RatePlanItem] = ()
    pools: Sequence[PoolItem] = ()


@dataclass(frozen=True, slots=True)
class SavingPoint:
    """The forecast saving of the first changes of an instance, in the order of sending."""

    instance_id: int
    change_count: int
    saving: Decimal
