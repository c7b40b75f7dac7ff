"""SQL of the plan changes that an optimization proposes."""

from __future__ import annotations

from amop.database.connection import WarehouseConnection
from amop.database.copy import CopyInto
from amop.database.statements import statement
from amop.optimization.rows import SavingPoint

copy_saving_points = CopyInto("amop.saving_curve", SavingPoint)


@statement("optimization/delete_proposals")
def delete_proposals(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Delete the undecided plan changes of an instance."""


@statement("optimization/create_change_order")
def create_change_order(connection: WarehouseConnection) -> None:
    """Create the temporary table ``change_order``, in 1e-6 of the currency and of a MB."""


@statement("optimization/add_changes", needs=["optimization/create_change_order"])
def add_changes(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Propose a plan change for every SIM whose solved rate plan is not its present one, in its order of sending."""


@statement("optimization/add_moves")
def add_moves(connection: WarehouseConnection, *, instance_id: int) -> None:
    """Store the plan changes of an instance summed up by plan."""
