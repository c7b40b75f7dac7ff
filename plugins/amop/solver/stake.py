"""How uncertain each SIM's usage is, and what that uncertainty is worth: quantiles of its scenarios, value at stake.

The value at stake of a SIM is what knowing its usage would save on the mean: in each scenario the cost of its plan less
that of its cheapest plan, at the proof's prices of the pools' data in that scenario. It is 0 where the same plan is
cheapest in every scenario, so that waiting for better knowledge of such a SIM is worth nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.components import Doubles
from amop.solver.model import NONE, Integers
from amop.solver.scenario_certificate import ScenarioCertificate
from amop.solver.scenarios import CHUNK_ROWS, ScenarioBills


def usage_quantiles(bills: ScenarioBills, percents: Sequence[int]) -> Integers:
    """Return for each SIM the least usage that these percentages of its scenarios do not exceed, 1e-6 MB.

    Returns:
        Shape (N, number of percentages).
    """
    at = [max(0, -(-percent * bills.count // 100) - 1) for percent in percents]
    count = len(bills.model.devices)
    found = np.empty((count, len(at)), dtype=np.int64)
    for first in range(0, count, CHUNK_ROWS):
        rows = slice(first, min(first + CHUNK_ROWS, count))
        found[rows] = np.sort(bills.usage(rows), axis=1)[:, at]
    return found


def value_at_stake(bills: ScenarioBills, claim: ScenarioCertificate, assignment: Integers) -> Integers:
    """Return the value at stake of each SIM, shape (N,), 1e-6 currency; 0 without a plan.

    Args:
        bills: the fleet.
        claim: proof of the expected bill, with the price of each pool's data in each scenario.
        assignment: plan of each SIM, shape (N,), -1 without an eligible plan.
    """
    price = np.array(claim.price, dtype=np.float64).reshape(-1, bills.count) / claim.price_scale
    count = len(assignment)
    found = np.zeros(count, dtype=np.int64)
    for first in range(0, count, CHUNK_ROWS):
        rows = np.arange(first, min(first + CHUNK_ROWS, count))
        usage, group = bills.usage(rows), bills.model.group[rows]
        shape = (len(rows), bills.count)
        chosen, least = np.zeros(shape), np.full(shape, np.inf)
        for plan in range(len(bills.model.rate_plans)):
            is_eligible = bills.model.eligible[:, plan][group]
            is_chosen = assignment[rows] == plan
            costs = _costs(bills, price, plan, rows, usage)
            np.minimum(least, np.where(is_eligible[:, None], costs, np.inf), out=least)
            chosen[is_chosen] = costs[is_chosen]
        has_plan = assignment[rows] != NONE
        regret = np.where(has_plan[:, None], chosen - np.where(has_plan[:, None], least, 0.0), 0.0)
        found[rows] = np.rint((np.maximum(regret, 0.0) @ bills.weight) / bills.whole).astype(np.int64)
    return found


def _costs(bills: ScenarioBills, price: Doubles, plan: int, rows: Integers, usage: Integers) -> Doubles:
    """Return the cost of SIMs on a plan in each scenario at the prices, shape (m, S), 1e-6 currency."""
    model, plans = bills.model, bills.model.rate_plans
    tariff = model.tariff[rows]
    fixed = model.charge[:, plan][tariff] + model.devices.sms_usage[rows] * plans.sms_rate[plan]
    above = usage - model.included[:, plan][tariff][:, None]
    pool = model.pool[:, plan][model.group[rows]]
    if (pool == NONE).all():
        return np.asarray(fixed[:, None] + overage_blocks(above, plans.block_micro_mb[plan]) * plans.overage_rate[plan])
    return np.asarray(fixed[:, None] + price[np.maximum(pool, 0)] * above)
