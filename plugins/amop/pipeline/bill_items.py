"""A carrier's bill taken apart: what each rate plan and each pool adds to it. Exact; the items add up to the bill.

A pooled plan's overage is what its SIMs bear of their pool's (`CostModel.split_costs`); how much data that is, and in
how many blocks it is charged, can be said of the pool alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from amop.optimization import CostModel, from_micro
from amop.optimization.bill import exact_sum
from amop.optimization.model import NONE, Integers


def rate_plan_items(model: CostModel, assignment: Integers, costs: Integers) -> list[dict[str, Any]]:
    """Return one row for each rate plan that SIMs are on, as ``optimization/add_rate_plan_result`` takes it.

    Args:
        model: prices, usage and allowances.
        assignment: index of the plan of each SIM, -1 for a SIM that is not billed.
        costs: what each SIM costs, pools included; `CostModel.split_costs` of this assignment.
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
        over = np.maximum(0, excess[members])
        blocks = -(-over // plans.block_micro_mb[plan])
        own_overage = 0 if is_pooled else exact_sum(blocks) * int(plans.overage_rate[plan])
        sms_cost = exact_sum(sms_usage[members]) * int(plans.sms_rate[plan])
        total = exact_sum(costs[members])
        charges = exact_sum(own_costs[members]) - own_overage - sms_cost
        items.append(
            {
                "rate_plan_code": code,
                "pool_name": plans.pool_name[plans.pool[plan]] if is_pooled else None,
                "rate_charge": from_micro(plans.rate_charge[plan]),
                "base_rate": from_micro(plans.base_rate[plan]),
                "plan_mb": from_micro(plans.plan_micro_mb[plan]),
                "overage_rate": from_micro(plans.overage_rate[plan]),
                "data_per_overage_charge": from_micro(plans.block_micro_mb[plan]),
                "sms_rate": from_micro(plans.sms_rate[plan]),
                "device_count": len(members),
                "usage_mb": from_micro(usage),
                "included_mb": from_micro(usage - exact_sum(excess[members])),
                "overage_mb": None if is_pooled else from_micro(exact_sum(over)),
                "overage_blocks": None if is_pooled else exact_sum(blocks),
                "charges": from_micro(charges),
                "overage_cost": from_micro(total - charges - sms_cost),
                "sms_cost": from_micro(sms_cost),
                "total_cost": from_micro(total),
            }
        )
    return items


def pool_items(model: CostModel, assignment: Integers, comm_group_keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row for each pool that SIMs are in, as ``optimization/add_pool_result`` takes it.

    Args:
        model: prices, usage and allowances.
        assignment: index of the plan of each SIM, -1 for a SIM that is not billed.
        comm_group_keys: by the model's numbers of the groups; named where pools are confined to their comm group.
    """
    pools, excess = model.pools_of(assignment), model.excess_of(assignment)
    is_confined = model.terms.pool_scope == "comm_group"
    items = []
    for pool, over in enumerate(model.pool_excess(assignment)):
        members = np.flatnonzero(pools == pool)
        if not len(members):
            continue
        usage, above = exact_sum(model.devices.usage_micro_mb[members]), max(0, over)
        items.append(
            {
                "pool_number": pool,
                "pool_name": model.pool_name[pool],
                "comm_group_key": comm_group_keys[int(model.group[members[0]])] if is_confined else None,
                "overage_rate": from_micro(model.pool_rate[pool]),
                "data_per_overage_charge": from_micro(model.pool_block[pool]),
                "device_count": len(members),
                "usage_mb": from_micro(usage),
                "included_mb": from_micro(usage - exact_sum(excess[members])),
                "overage_mb": from_micro(above),
                "overage_blocks": -(-above // int(model.pool_block[pool])),
                "overage_cost": from_micro(model.overage_cost(pool, over)),
            }
        )
    return items
