"""What each plan change does to the bill: the SIM's own cost, and the usage less allowance of at most two pools.

The bill after any set of changes follows from these figures and the pools alone, exactly: own costs add up, and each
pool's overage is that of its usage less its allowance (`amop.solver.bill`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amop.solver.bill import CostModel
from amop.solver.model import Flags, Integers


@dataclass(frozen=True, slots=True)
class ChangeEffects:
    """Plan changes in columns of one length n."""

    row: Integers
    """Row of the SIM in the fleet."""
    own_saving: Integers
    """Own cost before less own cost after, 1e-6 currency; negative where the change costs more."""
    from_pool: Integers
    """Pool that the SIM leaves, -1 for none."""
    from_excess: Integers
    """Usage less allowance that it takes out of that pool, 1e-6 MB; 0 without a pool."""
    to_pool: Integers
    """Pool that it enters, -1 for none; it may be the one that it leaves."""
    to_excess: Integers
    """Usage less allowance that it brings into that pool, 1e-6 MB; 0 without a pool."""

    @classmethod
    def of(cls, model: CostModel, before: Integers, after: Integers, is_change: Flags) -> ChangeEffects:
        """Return what changes do.

        Args:
            model: the fleet.
            before: plan of each SIM before any change, shape (N,); -1 for a SIM that is not billed.
            after: plan of each SIM after all changes, shape (N,).
            is_change: the SIMs whose plan is changed, shape (N,).
        """
        rows = np.flatnonzero(is_change)
        from_pool, from_excess = _in_pools(model, before, rows)
        to_pool, to_excess = _in_pools(model, after, rows)
        own_saving = model.own_costs_of(before)[rows] - model.own_costs_of(after)[rows]
        return cls(rows, own_saving, from_pool, from_excess, to_pool, to_excess)

    def of_changes(self, numbers: Integers) -> ChangeEffects:
        """Return some of the changes, in their order."""
        return ChangeEffects(
            self.row[numbers],
            self.own_saving[numbers],
            self.from_pool[numbers],
            self.from_excess[numbers],
            self.to_pool[numbers],
            self.to_excess[numbers],
        )

    def __len__(self) -> int:
        """Return the number of changes."""
        return len(self.row)


def _in_pools(model: CostModel, assignment: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """Return the pool that SIMs of an assignment are in and their usage less allowance in it, shapes (m,)."""
    pool = model.pools_of(assignment)[rows]
    return pool, np.where(pool >= 0, model.excess_of(assignment)[rows], 0)
