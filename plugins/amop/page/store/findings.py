"""SQL of the view Findings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding."""

    id: int
    service_provider_id: int
    provider: str
    currency: str
    integration: str
    kind: str
    subject: str
    """ICCID of the SIM, or name of the pool."""
    device_id: int | None
    amount: Decimal
    facts: dict[str, Any]
    first_found_at: datetime
    dismissed_at: datetime | None
    dismissed_by: str | None
    approval_session_id: int | None
    """The provider's session whose plan changes wait for an approval."""


@dataclass(frozen=True, slots=True)
class FindingTotal:
    """Number and money of everything of a kind at a provider."""

    service_provider_id: int
    provider: str
    currency: str
    checked_at: datetime
    kind: str
    found: int
    amount: Decimal


@statement("page/findings")
def findings(
    connection: WarehouseConnection, *, integrations: list[str], service_provider_id: int | None, dismissed: bool
) -> list[FindingRow]:
    """Return the findings of the latest checks, or the dismissed ones, the most money first."""


@statement("page/last_finding_check")
def last_finding_check(
    connection: WarehouseConnection, *, integrations: list[str], service_provider_id: int | None
) -> datetime | None:
    """Return when one of the providers was last checked, None where none was."""


@statement("page/finding_totals")
def finding_totals(
    connection: WarehouseConnection, *, integrations: list[str], service_provider_id: int | None
) -> list[FindingTotal]:
    """Return number and money of everything that the latest checks found, by provider and kind."""
