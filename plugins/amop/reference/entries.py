"""Models of the entries of a reference file: fields, defaults and allowed values.

Money and megabytes are text (``"2.50"``) or whole numbers: a YAML number with a fraction is a binary float and is
accepted only where it is exact.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from amop.config import KNOWN_INTEGRATIONS
from amop.foreign_text import LONGEST_NAME
from amop.reference.time_zone import load_time_zone

INTEGER_MAX = 2**31 - 1
BIGINT_MAX = 2**63 - 1
LONGEST_DAYS_ON_PLAN = 366


def _text(value: str) -> str:
    value = value.strip()
    if not value:
        raise ValueError("must not be empty")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"has {len(value)} characters; allowed: at most {LONGEST_NAME}")
    if any(
        ord(character) < 32 or 0x7F <= ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000 for character in value
    ):
        raise ValueError("must be printable text on one line")
    return value


def exact_decimal(value: object) -> Decimal:
    """Return money, megabytes or a share as an exact decimal; text is always exact."""
    allowed = 'allowed: text such as "2.50", up to 12 digits before and 6 after the point, or a whole number'
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(allowed)
        exact = format(Decimal(value), "f")
        if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", exact):
            raise ValueError(f'is not an exact number; write it in quotes: "{value}"')
        return Decimal(exact)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(allowed)
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", str(value)):
        raise ValueError(allowed)
    return Decimal(str(value))


def _time_zone(value: str) -> str:
    try:
        load_time_zone(value)
    except ValueError:
        raise ValueError("is not a time zone; allowed: an IANA name such as 'America/New_York' or 'UTC'") from None
    return value


def _integration(value: str) -> str:
    if value not in KNOWN_INTEGRATIONS:
        raise ValueError(f"is not an integration; allowed: {', '.join(KNOWN_INTEGRATIONS)}")
    return value


def _currency(value: str) -> str:
    if not re.fullmatch("[A-Z]{3}", value):
        raise ValueError("is not a currency; allowed: an ISO 4217 code such as 'USD' or 'CAD'")
    return value


Text = Annotated[str, AfterValidator(_text)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
IntegrationName = Annotated[str, AfterValidator(_integration)]
Money = Annotated[Decimal, BeforeValidator(exact_decimal)]
PositiveMoney = Annotated[Decimal, BeforeValidator(exact_decimal), Field(ge=0)]
Currency = Annotated[str, AfterValidator(_currency)]
Share = Annotated[Decimal, BeforeValidator(exact_decimal), Field(ge=0, le=1)]
RiskWeight = Annotated[Decimal, BeforeValidator(exact_decimal), Field(ge=0, le=10, decimal_places=3)]
Factor = Annotated[Decimal, BeforeValidator(exact_decimal), Field(ge=1)]
ChangeEffect = Literal["whole_cycle", "from_change", "next_cycle"]
# An advisory lock's key is a 32-bit number, and a provider's id is one.
ProviderId = Annotated[int, Field(ge=1, le=INTEGER_MAX)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TenantEntry(_Entry):
    """A tenant; ``id`` is AMOP's id."""

    id: int = Field(ge=1, le=BIGINT_MAX)
    name: Text
    time_zone: TimeZone


class IntegrationEntry(_Entry):
    """The number of an integration in the existing system: ``IntegrationType`` of its queue messages."""

    name: IntegrationName
    integration_type: int = Field(ge=0, le=INTEGER_MAX)


class RatePlanEntry(_Entry):
    """The charges of a rate plan: money in the carrier's currency, data in megabytes of 1,048,576 bytes.

    ``overage_rate`` and ``data_per_overage_charge`` may be zero or less: such a plan is stored, and the optimization
    rejects it by name.
    """

    rate_plan_code: Text
    version: int = Field(default=1, ge=1, le=INTEGER_MAX)
    rate_charge: PositiveMoney
    base_rate: PositiveMoney = Decimal(0)
    plan_mb: PositiveMoney
    overage_rate: Money
    data_per_overage_charge: Money
    sms_rate: PositiveMoney = Decimal(0)
    allows_sim_pooling: bool = False
    pool: Text | None = None
    is_shared: bool = False
    is_retired: bool = False


class CommunicationPlanEntry(_Entry):
    """A communication plan and the rate plans that its SIMs may use."""

    name: Text
    rate_plans: list[Text]


class ServiceProviderEntry(_Entry):
    """One account on an integration. A field that is missing in the file has the database's default.

    Without ``communication_plans`` the stored mapping is not changed; an empty list removes it.
    """

    id: ProviderId
    tenant_id: int = Field(ge=1, le=BIGINT_MAX)
    integration: IntegrationName
    name: Text
    connection_id: Text
    time_zone: TimeZone
    currency: Currency = "USD"
    is_active: bool = True
    bill_period_end_day: int = Field(default=18, ge=1, le=31)
    bill_period_end_hour: int = Field(default=18, ge=0, le=23)
    optimization_start_hour_local: int = Field(default=0, ge=0, le=23)
    uses_proration: bool = True
    prorates_allowance: bool = False
    pool_scope: Literal["service_provider", "comm_group"] = "service_provider"
    rate_plan_limit: int | None = Field(default=None, ge=1, le=INTEGER_MAX)
    write_is_enabled: bool = False
    can_auto_update_rate_plans: bool = False
    detail_calls_per_run: int = Field(default=500, ge=0, le=INTEGER_MAX)
    usage_calls_per_run: int = Field(default=500, ge=0, le=INTEGER_MAX)
    maximum_bad_share: Share = Decimal("0.01")
    maximum_vanished_share: Share = Decimal("0.10")
    maximum_unlisted_share: Share = Decimal("0.20")
    warning_unlisted_share: Share = Decimal("0.05")
    maximum_usage_loss_share: Share = Decimal("0.10")
    warning_usage_loss_share: Share = Decimal("0.02")
    maximum_value_loss_share: Share = Decimal("0.10")
    warning_value_loss_share: Share = Decimal("0.02")
    maximum_usage_factor: Factor = Decimal(4)
    warning_usage_factor: Factor = Decimal(2)
    maximum_price_factor: Factor = Decimal(2)
    minimum_saving_per_change: PositiveMoney = Decimal(0)
    maximum_changes: int | None = Field(default=None, ge=0, le=INTEGER_MAX)
    upgrade_effect: ChangeEffect = "whole_cycle"
    downgrade_effect: ChangeEffect = "whole_cycle"
    maximum_changes_per_sim: int | None = Field(default=None, ge=0, le=INTEGER_MAX)
    minimum_days_on_plan: int = Field(default=0, ge=0, le=LONGEST_DAYS_ON_PLAN)
    approval_above_changes: int | None = Field(default=500, ge=0, le=INTEGER_MAX)
    approval_above_amount: PositiveMoney | None = None
    projection_method: Literal["daily_history", "elapsed_time", "scenarios"] = "daily_history"
    risk_weight: RiskWeight = Decimal(0)
    doubtful_changes: Literal["wait_if_limited", "wait", "at_once"] = "at_once"
    rate_plans: list[RatePlanEntry] = Field(default_factory=list)
    communication_plans: list[CommunicationPlanEntry] | None = None


class ReferenceFile(_Entry):
    """A whole reference file."""

    tenants: list[TenantEntry] = Field(default_factory=list)
    integrations: list[IntegrationEntry] = Field(default_factory=list)
    service_providers: list[ServiceProviderEntry] = Field(default_factory=list)
