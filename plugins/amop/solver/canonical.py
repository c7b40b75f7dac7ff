"""A copy of the problem that does not depend on the order of the input, and the way back to that order.

SIMs are sorted by a hash of their ids, rate plans by code, pools by name, comm groups by the plans that they allow. The
search runs on the copy, so that shuffled input gives the same answer, byte for byte. Because the hash shuffles the
fleet, any range of the copy's SIMs is a fair sample of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amop.solver.bill import CostModel
from amop.solver.hashing import device_hashes, sorted_rows
from amop.solver.model import NONE, Devices, Eligibility, Integers, OptimizerInputError, RatePlans
from amop.solver.proof_tree import RealTree


@dataclass(frozen=True, slots=True)
class CanonicalProblem:
    """The copy: its SIM n is SIM ``row[n]`` of the original; the same for rate plans and pools."""

    model: CostModel
    """The fleet in canonical order, without device ids."""
    row: Integers
    """Original row of each SIM, shape (N,)."""
    plan: Integers
    """Original index of each rate plan, shape (P,)."""
    pool: Integers
    """Original index of each pool, shape (K,)."""

    @classmethod
    def of(cls, model: CostModel, eligibility: Eligibility) -> CanonicalProblem:
        """Return the canonical copy of a valid problem.

        Raises:
            OptimizerInputError: a device id occurs more than once.
        """
        devices, rate_plans, terms = model.devices, model.rate_plans, model.terms
        row = canonical_order(devices.device_id)
        plan = _sorted_order(rate_plans.code)
        pool = _sorted_order(rate_plans.pool_name)
        allowed = eligibility.by_group()
        group = np.lexsort(allowed[:, plan].T[::-1]) if len(plan) else np.arange(len(allowed))
        sharing, pool_group = _in_order_of_appearance(eligibility.pool_groups()[group])
        copy = CostModel(
            _devices(devices, row, _inverse(plan)),
            _rate_plans(rate_plans, plan, _inverse(pool)),
            Eligibility(
                eligibility.allowed[:, plan],
                _inverse(group)[eligibility.comm_group],
                pool_group,
                None if eligibility.keeps_plan is None else eligibility.keeps_plan[group],
            ),
            terms,
            None if model.parts is None else model.parts.of_rows(row),
        )
        pools = pool
        if terms.pool_scope == "comm_group":
            pools = (len(pool) * sharing[:, None] + pool).reshape(-1)
        return cls(copy, row, plan, pools)

    def original_assignment(self, assignment: Integers) -> Integers:
        """Return an assignment of the copy as one of the original, shape (N,)."""
        original = np.empty_like(assignment)
        original[self.row] = np.append(self.plan, NONE)[assignment]
        return original

    def original_prices(self, price: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return prices of the copy's pools in the order of the original's, shape (K,); 0 for a pool without plans."""
        original = np.zeros(int(self.pool.max()) + 1 if len(self.pool) else 0)
        original[self.pool] = price
        return original

    def original_tree(self, tree: RealTree) -> RealTree:
        """Return a tree of the copy with the pools, plans and SIMs of the original."""
        pools = tuple(int(self.pool[pool]) for pool in tree.pools)
        rows = np.append(self.row, NONE)
        return RealTree(pools, tuple((int(self.plan[plan]), int(rows[row])) for plan, row in tree.sets), tree.nodes)


def canonical_order(device_id: npt.NDArray[np.str_]) -> Integers:
    """Return the rows of the SIMs sorted by the hashes of their ids, shape (N,); equal hashes by the id.

    Raises:
        OptimizerInputError: a device id occurs more than once.
    """
    order, is_like_next = sorted_rows(device_hashes(device_id))
    equal = np.flatnonzero(is_like_next)
    if len(equal):
        ties = np.unique(np.concatenate((equal, equal + 1)))
        rows = order[ties]
        begins = np.append(True, ~is_like_next)[ties]
        rows = rows[np.lexsort((device_id[rows], np.cumsum(begins)))]
        same = np.flatnonzero(device_id[rows][1:] == device_id[rows][:-1])
        if len(same):
            raise OptimizerInputError(f"device {min(device_id[rows[same]].tolist())!r} occurs more than once")
        order[ties] = rows
    return order


def _sorted_order(names: Sequence[str]) -> Integers:
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)


def _in_order_of_appearance(values: Integers) -> tuple[Integers, Integers]:
    """Return the distinct values in the order of their first appearance, and the position of each value in it."""
    distinct, first, position = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return distinct[order], _inverse(order)[position.reshape(-1)]


def _inverse(order: Integers) -> Integers:
    """Return the position of each element in an order, with -1 appended as the position of element -1."""
    position = np.full(len(order) + 1, NONE, dtype=np.int64)
    position[order] = np.arange(len(order))
    return position


def _devices(devices: Devices, row: Integers, plan: Integers) -> Devices:
    return Devices(
        device_id=np.broadcast_to(np.array("", dtype="U1"), len(row)),
        communication_plan=devices.communication_plan[row],
        usage_micro_mb=devices.usage_micro_mb[row],
        sms_usage=devices.sms_usage[row],
        days_active=devices.days_active[row],
        is_prorated=devices.is_prorated[row],
        current_rate_plan=plan[devices.current_rate_plan[row]],
    )


def _rate_plans(plans: RatePlans, order: Integers, pool: Integers) -> RatePlans:
    return RatePlans(
        code=tuple(plans.code[p] for p in order),
        rate_charge=plans.rate_charge[order],
        base_rate=plans.base_rate[order],
        plan_micro_mb=plans.plan_micro_mb[order],
        overage_rate=plans.overage_rate[order],
        block_micro_mb=plans.block_micro_mb[order],
        sms_rate=plans.sms_rate[order],
        pool=pool[plans.pool[order]],
        pool_name=tuple(plans.pool_name[k] for k in np.argsort(pool[:-1])),
        is_retired=plans.is_retired[order],
    )
