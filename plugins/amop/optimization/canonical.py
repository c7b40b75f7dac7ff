"""A copy of the problem that does not depend on the order in which its parts were given, and the way back.

SIMs are ordered by a hash of their ids, rate plans by code, pools by name, comm groups by the plans that they allow.
The search works on the copy, so that shuffled input gives the same answer, byte for byte; and because a hash is as good
as a shuffle, any stretch of the copy is a fair sample of the fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from amop.optimization.bill import CostModel, Terms
from amop.optimization.certificate import Certificate
from amop.optimization.model import NONE, Devices, Eligibility, Integers, RatePlans
from amop.optimization.order import canonical_order


@dataclass(frozen=True, slots=True)
class CanonicalProblem:
    """The copy: its SIM n is SIM ``row[n]`` of the original; the same for rate plans and pools."""

    model: CostModel
    """Without device ids."""
    row: Integers
    plan: Integers
    pool: Integers

    @classmethod
    def of(cls, devices: Devices, rate_plans: RatePlans, eligibility: Eligibility, terms: Terms) -> CanonicalProblem:
        """Return the copy of a valid problem.

        Raises:
            OptimizerInputError: a device is there more than once.
        """
        row = canonical_order(devices.device_id)
        plan = _sorted_places(rate_plans.code)
        pool = _sorted_places(rate_plans.pool_name)
        group = (
            np.lexsort(eligibility.by_group()[:, plan].T[::-1]) if len(plan) else np.arange(len(eligibility.by_group()))
        )
        copy = CostModel(
            _devices(devices, row, _number(plan)),
            _rate_plans(rate_plans, plan, _number(pool)),
            Eligibility(eligibility.allowed[:, plan], _number(group)[eligibility.comm_group]),
            terms,
        )
        pools = pool
        if terms.pool_scope == "comm_group":
            pools = (len(pool) * group[:, None] + pool).reshape(-1)
        return cls(copy, row, plan, pools)

    def restored(self, assignment: Integers) -> Integers:
        """Return an assignment of the copy as one of the original."""
        original = np.empty_like(assignment)
        original[self.row] = np.append(self.plan, NONE)[assignment]
        return original

    def restored_certificate(self, certificate: Certificate) -> Certificate:
        """Return a certificate of the copy as one of the original."""
        place = _number(self.pool)
        changes = certificate.changes
        return replace(
            certificate,
            pool_name=tuple(certificate.pool_name[k] for k in place[:-1]),
            price=tuple(certificate.price[k] for k in place[:-1]),
            changes=changes and replace(changes, price=tuple(changes.price[k] for k in place[:-1])),
        )


def _sorted_places(names: Sequence[str]) -> Integers:
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)


def _number(order: Integers) -> Integers:
    """Return the place of each element in an order, -1 for the element -1."""
    number = np.full(len(order) + 1, NONE, dtype=np.int64)
    number[order] = np.arange(len(order))
    return number


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
