"""Split a carrier's bill into items: what each rate plan and each pool adds to it. The items add up exactly to the
bill.

A pooled plan's overage is the part of its pool's overage that its SIMs bear (`CostModel.split_costs`). The overage in
MB and in blocks is only defined for the pool as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amop.optimization.rows import PoolItem, RatePlanItem
from amop.solver import CostModel, from_micro
from amop.solver.bill import exact_sum, overage_blocks
from amop.solver.model import NONE, Integers


def rate_plan_items(
    model: CostModel, assignment: Integers, costs: Integers, *, instance_id: int, name: str, sim: Integers | None = None
) -> list[RatePlanItem]:
    """Return one item per rate plan that SIMs are on, or were on within the period and are billed for.

    Args:
        model: prices, usage and allowances.
        assignment: plan of each SIM, shape (N,), int64, -1 for a SIM that is not billed.
        costs: cost of each SIM with its share of its pool's overage (`CostModel.split_costs` of this assignment),
            shape (N,), int64, 1e-6 currency.
        instance_id: the instance of the bill.
        name: name of the assignment, ``current`` or ``solved``.
        sim: number of the SIM of each row, shape (N,), where a SIM with several parts has several; None = one each.
    """
    plans, sms_usage = model.rate_plans, model.devices.sms_usage
    own_costs, excess = model.own_costs_of(assignment), model.excess_of(assignment)
    items = []
    for plan, code in enumerate(plans.code):
        members = np.flatnonzero(assignment == plan)
        if not len(members):
            continue
        is_pooled = plans.pool[plan] != NONE
        usage = exact_sum(model.devices.usage_micro_mb[members])
        blocks = exact_sum(overage_blocks(excess[members], plans.block_micro_mb[plan]))
        own_overage = 0 if is_pooled else blocks * int(plans.overage_rate[plan])
        sms_cost = exact_sum(sms_usage[members]) * int(plans.sms_rate[plan])
        total = exact_sum(costs[members])
        charges = exact_sum(own_costs[members]) - own_overage - sms_cost
        items.append(
            RatePlanItem(
                instance_id=instance_id,
                assignment=name,
                rate_plan_code=code,
                pool_name=plans.pool_name[plans.pool[plan]] if is_pooled else None,
                rate_charge=from_micro(plans.rate_charge[plan]),
                base_rate=from_micro(plans.base_rate[plan]),
                plan_mb=from_micro(plans.plan_micro_mb[plan]),
                overage_rate=from_micro(plans.overage_rate[plan]),
                data_per_overage_charge=from_micro(plans.block_micro_mb[plan]),
                sms_rate=from_micro(plans.sms_rate[plan]),
                device_count=_sim_count(members, sim),
                usage_mb=from_micro(usage),
                included_mb=from_micro(usage - exact_sum(excess[members])),
                overage_mb=None if is_pooled else from_micro(exact_sum(np.maximum(0, excess[members]))),
                overage_blocks=None if is_pooled else blocks,
                charges=from_micro(charges),
                overage_cost=from_micro(total - charges - sms_cost),
                sms_cost=from_micro(sms_cost),
                total_cost=from_micro(total),
            )
        )
    return items


def _sim_count(rows: Integers, sim: Integers | None) -> int:
    """Return the number of different SIMs of some rows."""
    return len(rows) if sim is None else len(np.unique(sim[rows]))


def pool_items(
    model: CostModel,
    assignment: Integers,
    comm_group_keys: Sequence[str],
    *,
    instance_id: int,
    name: str,
    sim: Integers | None = None,
) -> list[PoolItem]:
    """Return one item per pool that SIMs are in.

    Args:
        model: prices, usage and allowances.
        assignment: plan of each SIM, shape (N,), int64, -1 for a SIM that is not billed.
        comm_group_keys: key of each comm group of the instance; used where each comm group has its own pools.
        instance_id: the instance of the bill.
        name: name of the assignment, ``current`` or ``solved``.
        sim: number of the SIM of each row, shape (N,), where a SIM with several parts has several; None = one each.
    """
    pools, excess = model.pools_of(assignment), model.excess_of(assignment)
    is_confined = model.terms.pool_scope == "comm_group"
    items = []
    for pool, pool_excess in enumerate(model.pool_excess(assignment)):
        members = np.flatnonzero(pools == pool)
        if not len(members):
            continue
        usage = exact_sum(model.devices.usage_micro_mb[members])
        items.append(
            PoolItem(
                instance_id=instance_id,
                assignment=name,
                pool_number=pool,
                pool_name=model.pool_name[pool],
                comm_group_key=comm_group_keys[pool // len(model.rate_plans.pool_name)] if is_confined else None,
                overage_rate=from_micro(model.pool_rate[pool]),
                data_per_overage_charge=from_micro(model.pool_block[pool]),
                device_count=_sim_count(members, sim),
                usage_mb=from_micro(usage),
                included_mb=from_micro(usage - exact_sum(excess[members])),
                overage_mb=from_micro(max(0, pool_excess)),
                overage_blocks=model.overage_blocks(pool, pool_excess),
                overage_cost=from_micro(model.overage_cost(pool, pool_excess)),
            )
        )
    return items
