"""SQL of the view of realised savings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class SavingRow:
    """The measured saving of an optimization in its closed billing period."""

    session_id: int
    service_provider_id: int
    provider: str
    currency: str
    bill_year: int
    bill_month: int
    cycle_end: datetime
    applied_changes: int
    unsent_changes: int
    """Changes that waited for a later optimization until the period had ended."""
    forecast_saving: Decimal
    realised_saving: Decimal
    old_plans_cost: Decimal
    applied_plans_cost: Decimal
    is_within_interval: bool | None
    """Whether the bill of the solved plans was within the stated interval; None where none was stated."""
    projection_error: Decimal | None
    """(projected - real) / real usage of all SIMs together."""
    weighted_error: Decimal | None


@statement("page/savings")
def savings(connection: WarehouseConnection, *, integrations: list[str]) -> list[SavingRow]:
    """Return the measured savings of closed billing periods, oldest first."""
