"""The catalogue of the sandbox carriers: tenants, service providers, rate plans and communication plans.

The prices are invented, but have the structure of an IoT carrier's price list: per-SIM plans of growing allowance,
pooled plans of which some share a named pool, one *shared* plan, and overage that costs more than the next larger plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

MB_PER_GB = 1024


@dataclass(frozen=True, slots=True)
class RatePlan:
    """A rate plan with the fields of AMOP's reference data. Money in the carrier's currency, data in megabytes."""

    rate_plan_code: str
    rate_charge: Decimal
    """Monthly charge; prorated if the provider uses proration."""
    plan_mb: Decimal
    """Data included in a month."""
    overage_rate: Decimal
    """Price of one overage block."""
    data_per_overage_charge: Decimal
    """Size of one overage block, MB."""
    base_rate: Decimal = Decimal("0")
    """Monthly charge that is never prorated."""
    sms_rate: Decimal = Decimal("0")
    allows_sim_pooling: bool = False
    pool: str | None = None
    """Name of a pool shared by several plans; a pooled plan without a name has a pool of its own."""
    is_shared: bool = False
    """Whether this is a *shared* plan, a plan type that the bulk usage call refuses."""
    version: int = 1
    """Current version; SIMs may still be on older versions."""

    def cost_alone(self, usage_mb: float, sms_usage: int = 0) -> float:
        """Return the cost of a SIM for a whole month on this plan without pooling."""
        over = max(0.0, usage_mb - float(self.plan_mb))
        blocks = -(-over // float(self.data_per_overage_charge))
        fixed = float(self.rate_charge + self.base_rate + sms_usage * self.sms_rate)
        return fixed + blocks * float(self.overage_rate)


@dataclass(frozen=True, slots=True)
class CommunicationPlan:
    """A communication plan with the rate plans that it allows and the usage distribution of its SIMs."""

    name: str
    rate_plans: tuple[str, ...]
    default_rate_plan: str
    """Rate plan of SIMs that were never optimized."""
    share: float
    """Share of the account's SIMs."""
    median_mb: float
    """Median monthly data usage of the SIMs that use any."""
    spread: float
    """Sigma of the lognormal usage distribution."""
    tail_share: float = 0.0
    """Share of SIMs whose usage follows a Pareto distribution instead."""
    zero_share: float = 0.15
    """Share of SIMs without usage."""


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
    """``89``, country code and issuer; 7 digits in total."""
    iccid_digits: int
    """Length of this carrier's ICCIDs including the Luhn check digit, 19 or 20; 32 for EIDs."""
    imsi_prefix: str
    """Mobile country and network code."""
    rate_plans: tuple[RatePlan, ...]
    communication_plans: tuple[CommunicationPlan, ...]
    currency: str = "USD"
    can_auto_update_rate_plans: bool = False
    """False in the default world: optimizations only propose changes."""
    approval_above_changes: int | None = 500
    maximum_changes: int | None = None
    family: str = "control_center"
    """The carrier's API."""

    @property
    def connection_id(self) -> str:
        """Return the id of this account's Airflow connection."""
        return f"carrier_{self.integration}"

    @property
    def api_user(self) -> str:
        """Return the API user name of this account, which is also its account name at the sandbox carrier."""
        return f"api_{self.integration}"

    def rate_plan(self, rate_plan_code: str) -> RatePlan:
        """Return a rate plan by its code.

        Raises:
            KeyError: this carrier does not sell the plan.
        """
        for plan in self.rate_plans:
            if plan.rate_plan_code == rate_plan_code:
                return plan
        raise KeyError(rate_plan_code)


TENANTS: tuple[dict[str, Any], ...] = (
    {"id": 1, "name": "Acme IoT", "time_zone": "America/New_York"},
    {"id": 2, "name": "Northern Fleet Services", "time_zone": "America/Toronto"},
)

INTEGRATION_TYPES = {"jasper": 2, "pod19": 10, "tmobile_jasper": 8, "rogers": 12, "thingspace": 3, "teal": 14}
"""Numbers of the integrations in the existing system; invented, like the prices."""


def _plan(code: str, charge: str, plan_mb: int, overage_rate: str, block_mb: int, **more: Any) -> RatePlan:
    return RatePlan(code, Decimal(charge), Decimal(plan_mb), Decimal(overage_rate), Decimal(block_mb), **more)


TELEMETRY_POOL = {"allows_sim_pooling": True, "pool": "Fleet Pool"}

PRICE_LIST: tuple[RatePlan, ...] = (
    _plan("1 MB", "0.90", 1, "0.55", 1),
    _plan("5 MB", "1.60", 5, "0.32", 1, sms_rate=Decimal("0.01"), version=2),
    _plan("25 MB", "2.90", 25, "0.75", 5),
    _plan("100 MB", "4.80", 100, "0.90", 10),
    _plan("500 MB", "9.00", 500, "1.75", 50),
    _plan("2 GB", "18.50", 2 * MB_PER_GB, "6.50", 512),
    _plan("10 GB", "46.00", 10 * MB_PER_GB, "6.00", MB_PER_GB),
    _plan("Pooled 50 MB", "3.20", 50, "0.60", 10, sms_rate=Decimal("0.005"), **TELEMETRY_POOL),
    _plan("Pooled 250 MB", "6.10", 250, "0.60", 10, version=2, **TELEMETRY_POOL),
    _plan("Pooled 1 GB", "13.00", MB_PER_GB, "0.60", 10, **TELEMETRY_POOL),
    _plan(
        "Pooled 5 GB",
        "31.00",
        5 * MB_PER_GB,
        "4.20",
        512,
        base_rate=Decimal("0.50"),
        allows_sim_pooling=True,
    ),
    _plan("Shared 2 GB", "24.00", 2 * MB_PER_GB, "9.00", 512, is_shared=True),
)
"""All plans. Each carrier sells a subset of them under its own names and at its own price level."""

SMALL = ("1 MB", "5 MB", "25 MB", "100 MB")
TRACKING = ("5 MB", "25 MB", "100 MB", "500 MB", "Pooled 50 MB", "Pooled 250 MB", "Pooled 1 GB")
LARGE = ("500 MB", "2 GB", "10 GB", "Pooled 5 GB")
SHARED = ("500 MB", "2 GB", "10 GB", "Shared 2 GB")

COMMUNICATION: tuple[CommunicationPlan, ...] = (
    CommunicationPlan("Telemetry LTE-M", SMALL, "25 MB", 0.50, median_mb=2.2, spread=1.5, zero_share=0.22),
    CommunicationPlan("Fleet Tracking", TRACKING, "Pooled 50 MB", 0.28, median_mb=38, spread=1.0, zero_share=0.08),
    # Allows the same rate plans as Fleet Tracking, so both belong to one comm group.
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


def _provider(*, prefix: str, price_level: str, excluded: tuple[str, ...] = (), **settings: Any) -> ServiceProvider:
    """Return a provider that sells all but the excluded plans, under its own names and prices."""
    codes = [plan.rate_plan_code for plan in PRICE_LIST if plan.rate_plan_code not in excluded]
    sold = {code: f"{prefix} {code}" for code in codes}
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
        for plan in PRICE_LIST
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
        price_level="0.95", excluded=("10 GB", "Pooled 1 GB"), time_zone="America/Chicago",
        bill_period_end_day=27, bill_period_end_hour=0, uses_proration=True, write_is_enabled=False,
        iccid_prefix="8901410", iccid_digits=20, imsi_prefix="310410",
    ),
    _provider(
        id=3, tenant_id=2, integration="tmobile_jasper", name="T-Mobile Control Center", prefix="TMO",
        price_level="1.05", excluded=("1 MB",), time_zone="America/Los_Angeles",
        bill_period_end_day=5, bill_period_end_hour=12, uses_proration=True, write_is_enabled=False,
        iccid_prefix="8901260", iccid_digits=19, imsi_prefix="310260",
    ),
    _provider(
        id=4, tenant_id=2, integration="rogers", name="Rogers Control Center", prefix="RGS",
        price_level="1.25", excluded=("500 MB",), time_zone="America/Toronto", bill_period_end_day=31,
        bill_period_end_hour=23, uses_proration=False, write_is_enabled=True, iccid_prefix="8930272",
        iccid_digits=20, imsi_prefix="302720", currency="CAD",
    ),
)  # fmt: skip
"""One provider for each integration that is optimized."""

SYNC_ONLY_PROVIDERS: tuple[ServiceProvider, ...] = (
    _provider(
        id=5, tenant_id=1, integration="thingspace", name="Verizon ThingSpace", prefix="VZW", family="thingspace",
        price_level="1.10", time_zone="America/New_York", bill_period_end_day=9, bill_period_end_hour=0,
        uses_proration=True, write_is_enabled=False, iccid_prefix="8914800", iccid_digits=20, imsi_prefix="311480",
    ),
    _provider(
        id=6, tenant_id=2, integration="teal", name="Teal", prefix="TEAL", family="teal",
        price_level="0.90", time_zone="Europe/London", bill_period_end_day=12, bill_period_end_hour=0,
        uses_proration=False, write_is_enabled=False, iccid_prefix="8904901", iccid_digits=32, imsi_prefix="234500",
    ),
)  # fmt: skip
"""One provider for each other integration that is synced."""

ALL_PROVIDERS = SERVICE_PROVIDERS + SYNC_ONLY_PROVIDERS
"""The default world."""


_APPLIED: dict[str, Any] = {"can_auto_update_rate_plans": True, "write_is_enabled": True, "maximum_changes": 40}
"""At most 40 changes, which take half a minute at 5 calls a second."""
_APPLYING_SETTINGS: dict[str, dict[str, Any]] = {
    "jasper": _APPLIED | {"approval_above_changes": 0},
    "rogers": _APPLIED | {"approval_above_changes": 0},
    "tmobile_jasper": _APPLIED | {"approval_above_changes": None},
    "pod19": {"can_auto_update_rate_plans": True, "write_is_enabled": False, "approval_above_changes": None},
}

PROVIDERS_APPLYING_CHANGES: tuple[ServiceProvider, ...] = tuple(
    replace(provider, **_APPLYING_SETTINGS[provider.integration]) for provider in SERVICE_PROVIDERS
)
"""The same providers with plan changes applied: two request approval, one applies its changes without it, and one has
writes disabled."""


def provider_of(integration: str) -> ServiceProvider:
    """Return the provider of an integration.

    Raises:
        KeyError: the integration is unknown; the message lists the known ones.
    """
    for provider in ALL_PROVIDERS:
        if provider.integration == integration:
            return provider
    known = ", ".join(provider.integration for provider in ALL_PROVIDERS)
    raise KeyError(f"no sandbox provider for integration {integration!r}; known are {known}")
