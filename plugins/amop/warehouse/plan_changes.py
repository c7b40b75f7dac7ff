"""Plan changes of optimization instances in the warehouse: decisions, what was sent, what the carrier showed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

US = "amop"
"""``decided_by`` where the settings decided and nobody was asked."""


def facts(connection: WarehouseConnection, instance_id: int) -> dict[str, Any] | None:
    """Return what decides on the changes of an instance, None where there is no such instance."""
    return connection.execute(sql.load("changes/facts"), {"instance_id": instance_id}).fetchone()


def moves(connection: WarehouseConnection, instance_id: int) -> list[dict[str, Any]]:
    """Return how many SIMs go from which plan to which, and the money of each move."""
    return connection.execute(sql.load("changes/moves"), {"instance_id": instance_id}).fetchall()


def set_status(
    connection: WarehouseConnection,
    instance_id: int,
    status: str,
    reason: str,
    *,
    now: datetime,
    decided_by: str | None = None,
    deadline: datetime | None = None,
    planned_by: str | None = None,
) -> None:
    """Write what was decided on the changes of an instance; what is None is kept as it is."""
    values = {"status": status, "reason": reason, "decided_by": decided_by, "deadline": deadline}
    connection.execute(
        sql.load("changes/set_status"),
        values | {"instance_id": instance_id, "planned_by": planned_by, "now": now},
    )


def approve(connection: WarehouseConnection, instance_id: int, *, decided_by: str, now: datetime) -> int:
    """Approve what is proposed; return how many rows were."""
    values = {"instance_id": instance_id, "decided_by": decided_by, "now": now}
    return connection.execute(sql.load("changes/approve"), values).rowcount


def reject(connection: WarehouseConnection, instance_id: int, reason: str, *, decided_by: str, now: datetime) -> int:
    """Reject what is proposed or approved and not in doubt; return how many rows were."""
    values = {"instance_id": instance_id, "reason": reason, "decided_by": decided_by, "now": now}
    return connection.execute(sql.load("changes/reject"), values).rowcount


def superseded_instances(connection: WarehouseConnection, instance_id: int) -> list[int]:
    """Return the older instances whose open changes this one has made stale, and lock them."""
    found = connection.execute(sql.load("changes/superseded_instances"), {"instance_id": instance_id}).fetchall()
    return [row["id"] for row in found]


def lock_provider(connection: WarehouseConnection, service_provider_id: int) -> None:
    """Wait until nobody else applies changes of this provider; the lock is the session's.

    Raises:
        psycopg.errors.LockNotAvailable: another process holds it for longer than a minute.
    """
    connection.execute(sql.load("changes/lock_provider"), {"service_provider_id": service_provider_id})


def next_batch(
    connection: WarehouseConnection, instance_id: int, *, in_doubt: bool, batch_size: int
) -> list[dict[str, Any]]:
    """Return the next approved changes, the largest savings first: those in doubt, or those never sent."""
    values = {"instance_id": instance_id, "in_doubt": in_doubt, "batch_size": batch_size}
    return connection.execute(sql.load("changes/next_batch"), values).fetchall()


def mark_sent(connection: WarehouseConnection, change_id: int, now: datetime) -> bool:
    """Note that the write request goes out now; False where the change was taken back or is stale."""
    return connection.execute(sql.load("changes/mark_sent"), {"change_id": change_id, "now": now}).rowcount == 1


def mark_not_sent(connection: WarehouseConnection, change_id: int) -> None:
    """Note that a change in doubt has not reached the carrier."""
    connection.execute(sql.load("changes/not_sent"), {"change_id": change_id})


def set_outcome(
    connection: WarehouseConnection, change_id: int, state: str, error: str | None, *, now: datetime
) -> None:
    """Write what became of an approved change: ``applied``, ``conflict`` or ``failed``."""
    values = {"change_id": change_id, "state": state, "error": error, "now": now}
    connection.execute(sql.load("changes/set_outcome"), values)


def count_states(connection: WarehouseConnection, instance_id: int) -> dict[str, int]:
    """Return how many changes of an instance are in which state."""
    found = connection.execute(sql.load("changes/count_states"), {"instance_id": instance_id}).fetchall()
    return {row["state"]: row["changes"] for row in found}


def sample(connection: WarehouseConnection, instance_id: int, sample_size: int) -> list[dict[str, Any]]:
    """Return the applied changes that are still to be read back from the carrier."""
    values = {"instance_id": instance_id, "sample_size": sample_size}
    return connection.execute(sql.load("changes/sample"), values).fetchall()


def set_verified(
    connection: WarehouseConnection, change_id: int, rate_plan: str | None, error: str | None, *, now: datetime
) -> None:
    """Write which plan the carrier shows for an applied change; an error makes it a conflict."""
    values = {"change_id": change_id, "rate_plan": rate_plan, "error": error, "now": now}
    connection.execute(sql.load("changes/set_verified"), values)
