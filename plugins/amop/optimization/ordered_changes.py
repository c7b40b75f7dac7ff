"""The plan changes of an instance in the order in which they are sent, with the saving of the first ones of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from amop.database.columns import write_numbers
from amop.database.connection import WarehouseConnection
from amop.optimization import store
from amop.optimization.arrays import InstanceInputs
from amop.optimization.rows import SavingPoint
from amop.solver import CostModel
from amop.solver.change_effects import ChangeEffects
from amop.solver.change_order import curve_points, order_changes
from amop.solver.mid_cycle import PartedFleet
from amop.solver.model import NONE, Integers, from_micro

COPY_CHANGE_ORDER = (
    "COPY change_order (device_id, send_order, own_saving, from_pool, from_excess, to_pool, to_excess) "
    "FROM STDIN (FORMAT binary)"
)
"""``change_order`` is the table of `create_change_order`."""

CURVE_INTERVALS = 40
"""Intervals of the curve "forecast saving by number of changes"."""


@dataclass(frozen=True, slots=True)
class OrderedChanges:
    """Plan changes in columns of one length n, in the order of sending."""

    device_ids: Integers
    effects: ChangeEffects
    saving: Integers
    """Bill before any change less the bill after the first k of them, shape (n + 1,), 1e-6 currency."""

    @property
    def whole_saving(self) -> Decimal:
        """Return the saving of all changes."""
        return from_micro(int(self.saving[-1]))


def order_of_changes(
    inputs: InstanceInputs, fleet: PartedFleet, model: CostModel, current: Integers, certificate: Mapping[str, Any]
) -> OrderedChanges:
    """Return the plan changes of the solved plans, in the order of sending.

    Args:
        inputs: the SIMs with their solved plans.
        fleet: the rows that are billed.
        model: their costs.
        current: present plan of each row, the base assignment where it is unknown.
        certificate: the stored proof of the solved plans.
    """
    solved = inputs.solved_assignment
    is_change = np.zeros(len(current), dtype=np.bool_)
    is_change[: fleet.sim_count] = (solved != NONE) & (solved != inputs.devices.current_rate_plan)
    effects = ChangeEffects.of(model, current, fleet.of_rows(solved), is_change)
    found = order_changes(model, effects, current, _prices(certificate))
    ordered = effects.of_changes(found.order)
    return OrderedChanges(inputs.device_ids[ordered.row], ordered, found.saving)


def write_changes(connection: WarehouseConnection, instance_id: int, changes: OrderedChanges | None) -> None:
    """Replace the proposed changes of an instance, their sums by plan and their saving curve.

    Args:
        connection: the caller's transaction; the results of the SIMs are written.
        instance_id: the instance.
        changes: its changes; None where no SIM is billed.
    """
    store.changes.delete_proposals(connection, instance_id=instance_id)
    store.instances.delete_rows(connection, instance_id=instance_id, table="amop.rate_plan_move")
    store.instances.delete_rows(connection, instance_id=instance_id, table="amop.saving_curve")
    if changes is None:
        return
    _write_change_order(connection, changes)
    store.changes.add_changes(connection, instance_id=instance_id)
    store.changes.add_moves(connection, instance_id=instance_id)
    places = curve_points(changes.saving, CURVE_INTERVALS).tolist()
    points = [SavingPoint(instance_id, place, from_micro(int(changes.saving[place]))) for place in places]
    store.changes.copy_saving_points.write(connection, points)


def _write_change_order(connection: WarehouseConnection, changes: OrderedChanges) -> None:
    store.changes.create_change_order(connection)
    effects, places = changes.effects, np.arange(1, len(changes.device_ids) + 1)
    write_numbers(
        connection,
        COPY_CHANGE_ORDER,
        changes.device_ids,
        places,
        effects.own_saving,
        effects.from_pool,
        effects.from_excess,
        effects.to_pool,
        effects.to_excess,
    )


def _prices(certificate: Mapping[str, Any]) -> list[float]:
    """Return the price of each pool's data that proves the bound, currency per MB."""
    changes = certificate.get("changes")
    if changes is not None:
        return [price / changes["scale"] for price in changes["price"]]
    return [price / certificate["price_scale"] for price in certificate["prices"]]
