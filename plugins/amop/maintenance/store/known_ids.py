"""SQL of the check of the ids that a command names."""

from __future__ import annotations

from dataclasses import dataclass

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class KnownIds:
    """Whether the warehouse has the rows that a command names; True for what it does not name."""

    has_provider: bool
    has_run: bool
    has_session: bool
    has_message: bool
    record_ids: list[int]
    """Those of the named quarantined records that there are."""


@statement("maintenance/known_ids")
def known_ids(
    connection: WarehouseConnection,
    *,
    service_provider_id: int | None,
    run_id: int | None,
    session_id: int | None,
    record_ids: list[int],
    dedupe_key: str | None,
) -> KnownIds:
    """Return which of the named rows there are; None and an empty list name nothing."""
