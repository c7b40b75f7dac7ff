"""SQL of the view What if."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement
from amop.what_if.plan_table import PlanLine


@dataclass(frozen=True, slots=True)
class ProviderToAsk:
    """A provider that a what-if can be about."""

    id: int
    name: str
    integration: str


@dataclass(frozen=True, slots=True)
class StoredWhatIf:
    """A what-if; money is for a whole billing period."""

    id: int
    service_provider_id: int
    provider: str
    currency: str
    dag_id: str
    dag_run_id: str
    rate_plans: str
    """The table as CSV."""
    ladder_size: int | None
    status: str
    error: str | None
    session_id: int | None
    """The optimization whose SIMs it is about."""
    device_count: int | None
    present_cost: Decimal | None
    today_cost: Decimal | None
    today_bound: Decimal | None
    new_present_cost: Decimal | None
    new_cost: Decimal | None
    new_bound: Decimal | None
    changes: int | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class WhatIfMove:
    """SIMs by present plan and plan in the result."""

    from_rate_plan: str
    to_rate_plan: str
    sims: int


@dataclass(frozen=True, slots=True)
class WhatIfLadder:
    """A choice of new plans with its bill."""

    rate_plans: list[str]
    cost: Decimal
    bound: Decimal
    changes: int


@statement("page/what_if_providers")
def what_if_providers(connection: WarehouseConnection, *, integrations: list[str]) -> list[ProviderToAsk]:
    """Return the active providers that can be optimized."""


@statement("page/present_plans")
def present_plans(connection: WarehouseConnection, *, service_provider_id: int) -> list[PlanLine]:
    """Return the rate plans of a provider that are not retired."""


@statement("page/what_ifs")
def what_ifs(connection: WarehouseConnection, *, integrations: list[str], maximum: int) -> list[StoredWhatIf]:
    """Return the latest what-ifs."""


@statement("page/what_if")
def what_if(connection: WarehouseConnection, *, what_if_id: int, integrations: list[str]) -> StoredWhatIf | None:
    """Return a what-if, None where there is none that the user may see."""


@statement("page/what_if_moves")
def what_if_moves(connection: WarehouseConnection, *, what_if_id: int) -> list[WhatIfMove]:
    """Return the moves of a what-if."""


@statement("page/what_if_ladders")
def what_if_ladders(connection: WarehouseConnection, *, what_if_id: int) -> list[WhatIfLadder]:
    """Return the choices of new plans of a what-if."""
