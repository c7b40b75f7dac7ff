"""SQL of the views Outbox and Quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement

MessageSort = Literal[
    "id", "provider", "kind", "progress", "state", "attempts", "created_at", "sent_at", "next_attempt_at"
]
"""Columns by which messages are sorted."""

QuarantineSort = Literal["id", "provider", "kind", "iccid", "source", "reason", "quarantined_at", "resolution"]
"""Columns by which quarantined records are sorted."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message to AMOP."""

    id: int
    kind: str
    progress: int | None
    provider: str
    session_id: int | None
    state: str
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str | None
    matches: int
    """Number of all messages that match the filter."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A quarantined record."""

    id: int
    provider: str
    run_id: int
    kind: str
    iccid: str | None
    device_id: int | None
    source: str | None
    reason: str
    raw: str
    """The first characters of the record as received."""
    integration: str
    quarantined_at: datetime
    resolution: str | None
    matches: int
    """Number of all records that match the filter."""


@statement("page/messages")
def messages(
    connection: WarehouseConnection,
    *,
    integrations: list[str],
    state: str | None,
    search: str | None,
    sort: MessageSort,
    descending: bool,
    maximum: int,
    skipped: int,
) -> list[MessageRow]:
    """Return a page of the messages to AMOP."""


@statement("page/quarantine")
def quarantine(
    connection: WarehouseConnection,
    *,
    integrations: list[str],
    with_resolved: bool,
    search: str | None,
    sort: QuarantineSort,
    descending: bool,
    maximum: int,
    skipped: int,
) -> list[QuarantineRow]:
    """Return a page of the quarantined records."""
