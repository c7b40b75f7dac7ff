"""What the sandbox carriers sell: tenants, service providers, rate plans, communication plans.

Prices are invented but shaped like an IoT carrier's: a ladder of per-SIM plans of growing allowance, pooled
plans of which some share a named pool, one *shared* plan, and overage that costs more than the next plan
up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

PLAN_MB_OF_GB = 1024


@dataclass(frozen=True, slots=True)
class RatePlan:
    """A rate plan as AMOP's reference data knows it. Money in the carrier's currency, data in megabytes."""

    rate_plan_code: str
    rate_charge: Decimal
    """Monthly charge, prorated where the provider prorates."""
    plan_mb: Decimal
    """Data included a month."""
    overage_rate: Decimal
    """Price of one overage block."""
    data_per_overage_charge: Decimal
    """Size of one overage block, MB."""
    base_rate: Decimal = Decimal("0")
    """Monthly charge that is never prorated."""
    sms_rate: Decimal = Decimal("0")
    allows_sim_pooling: bool = False
    pool: str | None = None
    """Name of the pool that several plans share; None for a pooled plan = a pool of its own."""
    is_shared: bool = False
    """A plan type of its own: the bulk usage call refuses it."""
    version: int = 1
    """The current version; SIMs may still be on older ones."""

    def cost_alone(self, usage_mb: float, sms_usage: int = 0) -> float:
        """Return what a SIM costs for a whole month on this plan if it pooled with nobody."""
        over = max(0.0, usage_mb - float(self.plan_mb))
        blocks = -(-over // float(self.data_per_overage_charge))
        fixed = float(self.rate_charge + self.base_rate + sms_usage * self.sms_rate)
        return fixed + blocks * float(self.overage_rate)


@dataclass(frozen=True, slots=True)
class CommunicationPlan:
    """A communication plan, the rate plans it allows, and how the SIMs on it behave."""

    name: str
    rate_plans: tuple[str, ...]
    default_rate_plan: str
    """Where SIMs are put when nobody thinks about it."""
    share: float
    """Share of the account's SIMs."""
    median_mb: float
    """Median data usage of a SIM a month, of those that use any."""
    spread: float
    """Sigma of the lognormal usage."""
    tail_share: float = 0.0
    """Share of SIMs whose usage is Pareto-tailed instead."""
    zero_share: float = 0.15
    """Share of SIMs that use nothing."""


@dataclass(frozen=True, slots=True)
class ServiceProvider:
    """One carrier account of the sandbox world and its billing settings."""

    id: int
    tenant_id: int
    integration: str
    name: str
    time_zone: str
    bill_period_end_day: int
    bill_period_end_hour: int
    uses_proration: bool
    write_is_enabled: bool
    iccid_prefix: str
    """``89``, country code and issuer: 7 digits."""
    iccid_digits: int
    """Length of this carrier's ICCIDs, the Luhn check digit included: 19 or 20."""
    imsi_prefix: str
    """Mobile country and network code."""
    rate_plans: tuple[RatePlan, ...]
    communication_plans: tuple[CommunicationPlan, ...]
    currency: str = "USD"
    can_auto_update_rate_plans: bool = False
    """In the default world optimizations only propose."""
    approval_above_changes: int | None = 500
    maximum_changes: int | None = None

    @property
    def connection_id(self) -> str:
        """Airflow connection of this account."""
        return f"carrier_{self.integration}"

    @property
    def api_user(self) -> str:
        """API user name of this account at the sandbox carrier, which is the account's name there."""
        return f"api_{self.integration}"

    def rate_plan(self, rate_plan_code: str) -> RatePlan:
        """Return a rate plan by its code; KeyError when this carrier does not sell it."""
        for plan in self.rate_plans:
            if plan.rate_plan_code == rate_plan_code:
                return plan
        raise KeyError(rate_plan_code)


TENANTS: tuple[dict[str, Any], ...] = (
    {"id": 1, "name": "Acme IoT", "time_zone": "America/New_York"},
    {"id": 2, "name": "Northern Fleet Services", "time_zone": "America/Toronto"},
)


def _plan(code: str, charge: str, plan_mb: int, overage_rate: str, block_mb: int, **more: Any) -> RatePlan:
    return RatePlan(code, Decimal(charge), Decimal(plan_mb), Decimal(overage_rate), Decimal(block_mb), **more)


TELEMETRY_POOL = {"allows_sim_pooling": True, "pool": "Fleet Pool"}

LADDER: tuple[RatePlan, ...] = (
    _plan("1 MB", "0.90", 1, "0.55", 1),
    _plan("5 MB", "1.60", 5, "0.32", 1, sms_rate=Decimal("0.01"), version=2),
    _plan("25 MB", "2.90", 25, "0.75", 5),
    _plan("100 MB", "4.80", 100, "0.90", 10),
    _plan("500 MB", "9.00", 500, "1.75", 50),
    _plan("2 GB", "18.50", 2 * PLAN_MB_OF_GB, "6.50", 512),
    _plan("10 GB", "46.00", 10 * PLAN_MB_OF_GB, "6.00", PLAN_MB_OF_GB),
    _plan("Pooled 50 MB", "3.20", 50, "0.60", 10, sms_rate=Decimal("0.005"), **TELEMETRY_POOL),
    _plan("Pooled 250 MB", "6.10", 250, "0.60", 10, version=2, **TELEMETRY_POOL),
    _plan("Pooled 1 GB", "13.00", PLAN_MB_OF_GB, "0.60", 10, **TELEMETRY_POOL),
    _plan(
        "Pooled 5 GB",
        "31.00",
        5 * PLAN_MB_OF_GB,
        "4.20",
        512,
        base_rate=Decimal("0.50"),
        allows_sim_pooling=True,
    ),
    _plan("Shared 2 GB", "24.00", 2 * PLAN_MB_OF_GB, "9.00", 512, is_shared=True),
)
"""Every kind of plan there is; a carrier sells some of them under its own name and at its own price level."""

SMALL = ("1 MB", "5 MB", "25 MB", "100 MB")
TRACKING = ("5 MB", "25 MB", "100 MB", "500 MB", "Pooled 50 MB", "Pooled 250 MB", "Pooled 1 GB")
LARGE = ("500 MB", "2 GB", "10 GB", "Pooled 5 GB")
SHARED = ("500 MB", "2 GB", "10 GB", "Shared 2 GB")

COMMUNICATION: tuple[CommunicationPlan, ...] = (
    CommunicationPlan("Telemetry LTE-M", SMALL, "25 MB", 0.50, median_mb=2.2, spread=1.5, zero_share=0.22),
    CommunicationPlan("Fleet Tracking", TRACKING, "Pooled 50 MB", 0.28, median_mb=38, spread=1.0, zero_share=0.08),
    # The same set of rate plans as Fleet Tracking: both belong to one comm group.
    CommunicationPlan("Mixed M2M", TRACKING, "100 MB", 0.12, median_mb=60, spread=1.2, zero_share=0.12),
    CommunicationPlan(
        "Routers and Video",
        LARGE,
        "2 GB",
        0.088,
        median_mb=1300,
        spread=1.0,
        tail_share=0.08,
        zero_share=0.04,
    ),
    CommunicationPlan("Shared Data", SHARED, "Shared 2 GB", 0.012, median_mb=1100, spread=0.7, zero_share=0.05),
)


def _provider(*, prefix: str, price_level: str, leaves_out: tuple[str, ...] = (), **settings: Any) -> ServiceProvider:
    """Return a provider that sells the ladder, less some plans, under its own names and prices."""
    sold = {plan.rate_plan_code: f"{prefix} {plan.rate_plan_code}" for plan in LADDER
            if plan.rate_plan_code not in leaves_out}  # fmt: skip
    level = Decimal(price_level)
    cent = Decimal("0.01")
    plans = tuple(
        replace(
            plan,
            rate_plan_code=sold[plan.rate_plan_code],
            rate_charge=(plan.rate_charge * level).quantize(cent),
            overage_rate=(plan.overage_rate * level).quantize(cent),
            pool=plan.pool and f"{prefix} {plan.pool}",
        )
        for plan in LADDER
        if plan.rate_plan_code in sold
    )
    communication = tuple(
        replace(
            plan,
            rate_plans=tuple(sold[code] for code in plan.rate_plans if code in sold),
            default_rate_plan=sold[plan.default_rate_plan],
        )
        for plan in COMMUNICATION
    )
    return ServiceProvider(rate_plans=plans, communication_plans=communication, **settings)


SERVICE_PROVIDERS: tuple[ServiceProvider, ...] = (
    _provider(
        id=1, tenant_id=1, integration="jasper", name="AT&T Control Center", prefix="ATT",
        price_level="1.00", time_zone="America/New_York", bill_period_end_day=18,
        bill_period_end_hour=18, uses_proration=True, write_is_enabled=True, iccid_prefix="8901170",
        iccid_digits=20, imsi_prefix="310170",
    ),
    _provider(
        id=2, tenant_id=1, integration="pod19", name="AT&T Control Center POD19", prefix="POD19",
        price_level="0.95", leaves_out=("10 GB", "Pooled 1 GB"), time_zone="America/Chicago",
        bill_period_end_day=27, bill_period_end_hour=0, uses_proration=True, write_is_enabled=False,
        iccid_prefix="8901410", iccid_digits=20, imsi_prefix="310410",
    ),
    _provider(
        id=3, tenant_id=2, integration="tmobile_jasper", name="T-Mobile Control Center", prefix="TMO",
        price_level="1.05", leaves_out=("1 MB",), time_zone="America/Los_Angeles",
        bill_period_end_day=5, bill_period_end_hour=12, uses_proration=True, write_is_enabled=False,
        iccid_prefix="8901260", iccid_digits=19, imsi_prefix="310260",
    ),
    _provider(
        id=4, tenant_id=2, integration="rogers", name="Rogers Control Center", prefix="RGS",
        price_level="1.25", leaves_out=("500 MB",), time_zone="America/Toronto", bill_period_end_day=31,
        bill_period_end_hour=23, uses_proration=False, write_is_enabled=True, iccid_prefix="8930272",
        iccid_digits=20, imsi_prefix="302720", currency="CAD",
    ),
)  # fmt: skip
"""The default world: one provider for each integration."""


_APPLIED: dict[str, Any] = {"can_auto_update_rate_plans": True, "write_is_enabled": True, "maximum_changes": 40}
"""So few changes that the carrier takes them in half a minute at 5 calls a second."""
_SETTINGS_THAT_APPLY: dict[str, dict[str, Any]] = {
    "jasper": _APPLIED | {"approval_above_changes": 0},
    "rogers": _APPLIED | {"approval_above_changes": 0},
    "tmobile_jasper": _APPLIED | {"approval_above_changes": None},
    "pod19": {"can_auto_update_rate_plans": True, "write_is_enabled": False, "approval_above_changes": None},
}

PROVIDERS_THAT_APPLY: tuple[ServiceProvider, ...] = tuple(
    replace(provider, **_SETTINGS_THAT_APPLY[provider.integration]) for provider in SERVICE_PROVIDERS
)
"""The same world with plan changes applied: two providers ask a person, one goes on by itself, one may not write."""


def provider_of(integration: str) -> ServiceProvider:
    """Return the provider of an integration; KeyError names the ones there are."""
    for provider in SERVICE_PROVIDERS:
        if provider.integration == integration:
            return provider
    known = ", ".join(provider.integration for provider in SERVICE_PROVIDERS)
    raise KeyError(f"no sandbox provider for integration {integration!r}; there are {known}")
