"""SQL of the plan changes that an optimization proposes."""

from __future__ import annotations

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@statement("optimization/delete_proposals")
def delete_proposals(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Delete the undecided plan changes of an instance."""


@statement("optimization/add_changes")
def add_changes(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Propose a plan change for every SIM whose solved rate plan is not its present one."""


@statement("optimization/add_moves")
def add_moves(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Store the plan changes of an instance summed up by plan."""


@statement("optimization/add_saving_curve")
def add_saving_curve(connection: WarehouseConnection, *, instance_id: int, points: int) -> None:
    """Store the forecast saving of the first changes, the largest saving first, at up to `points` points."""
