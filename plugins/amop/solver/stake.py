"""How uncertain each SIM's usage is, and what that uncertainty is worth: quantiles of its scenarios, value at stake.

The value at stake of a SIM is what knowing its usage would save on the mean: in each scenario the cost of its plan less
that of its cheapest plan, at the proof's prices of the pools' data in that scenario. It is 0 where the same plan is
cheapest in every scenario, so that waiting for better knowledge of such a SIM is worth nothing.

Whether a pool runs over is no reason for one of its SIMs to wait: any other of them can fill the pool later. So the
regret, the saving and the certainty of a plan, which decide whether a change is doubtful, have the pools' data at its
mean price: only the SIM's own usage is uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amop.solver.bill import overage_blocks
from amop.solver.components import Doubles
from amop.solver.model import MICRO, NONE, Flags, Integers
from amop.solver.scenario_certificate import ScenarioCertificate
from amop.solver.scenarios import CHUNK_ROWS, ScenarioBills

DOUBT_TO_WAIT = 0.03
"""A plan change is doubtful if its regret is above this x its expected saving; measured in ADR 15."""
TIE = 0.5
"""Costs that differ by less are the same, 1e-6 currency: the pools' data is priced in floating point."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """What is at stake for each SIM, arrays of shape (N,)."""

    value: Integers
    """Value at stake, 1e-6 currency; 0 without a plan."""
    regret: Integers
    """Mean cost of the new plan less that of the cheapest one in the scenario, pools at mean prices, 1e-6 currency."""
    saving: Integers
    """Mean cost of the present plan less that of the new plan, 1e-6 currency; 0 where the SIM does not choose."""
    certainty: Integers
    """Share of the scenarios in which no eligible plan is cheaper than the new one, in 1e-6; 0 without a plan."""
    may_stay: Flags
    """Whether the SIM moves although it may stay: its present plan is known and eligible, the new one is another."""

    def is_doubtful(self, doubt: float = DOUBT_TO_WAIT) -> Flags:
        """Return which changes are doubtful, shape (N,): their regret is above ``doubt`` x their saving.

        Waiting for the last run saves at most the regret, and risks the saving if that run is lost. A SIM that has to
        leave its present plan, or whose present plan is unknown, is not doubtful.
        """
        return self.may_stay & (self.regret > doubt * np.maximum(self.saving, 0))


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


def stakes_of(bills: ScenarioBills, claim: ScenarioCertificate, assignment: Integers) -> Stakes:
    """Return what is at stake for each SIM.

    Args:
        bills: the fleet.
        claim: proof of the expected bill, with the price of each pool's data in each scenario.
        assignment: plan of each SIM, shape (N,), -1 without an eligible plan.
    """
    price = np.array(claim.price, dtype=np.float64).reshape(-1, bills.count) / claim.price_scale
    mean_price = np.repeat((price @ bills.weight / bills.whole)[:, None], bills.count, axis=1)
    count = len(assignment)
    current = bills.model.devices.current_rate_plan
    value, regret, saving, certainty = (np.zeros(count, dtype=np.int64) for _ in range(4))
    may_stay = (current >= 0) & (assignment != NONE) & (current != assignment)
    may_stay &= bills.model.eligible[bills.model.group, np.maximum(current, 0)]
    for first in range(0, count, CHUNK_ROWS):
        rows = np.arange(first, min(first + CHUNK_ROWS, count))
        chosen, _, least = _chosen_present_least(bills, price, rows, assignment)
        value[rows] = _means(chosen - least, bills)
        chosen, present, least = _chosen_present_least(bills, mean_price, rows, assignment)
        regret[rows] = _means(chosen - least, bills)
        saving[rows] = np.where(may_stay[rows], _means(present - chosen, bills), 0)
        share = ((chosen - least < TIE) @ bills.weight) * MICRO // bills.whole
        certainty[rows] = np.where(assignment[rows] != NONE, share, 0)
    return Stakes(value, regret, saving, certainty, may_stay)


def _chosen_present_least(
    bills: ScenarioBills, price: Doubles, rows: Integers, assignment: Integers
) -> tuple[Doubles, Doubles, Doubles]:
    """Return the cost of SIMs on their new, their present and their cheapest plan at prices, shape (m, S) each.

    The new plan and the cheapest one of a SIM without a plan cost 0, and so does an unknown present plan.
    """
    usage, group = bills.usage(rows), bills.model.group[rows]
    current = bills.model.devices.current_rate_plan
    chosen, present = (np.zeros((len(rows), bills.count)) for _ in range(2))
    least = np.full(chosen.shape, np.inf)
    for plan in range(len(bills.model.rate_plans)):
        costs = _costs(bills, price, plan, rows, usage)
        is_eligible = bills.model.eligible[:, plan][group]
        np.minimum(least, np.where(is_eligible[:, None], costs, np.inf), out=least)
        for of, plans in ((chosen, assignment), (present, current)):
            is_on = plans[rows] == plan
            of[is_on] = costs[is_on]
    # A SIM that keeps a plan that it may not choose can be cheaper than on each plan that it may.
    least = np.where((assignment[rows] != NONE)[:, None], np.minimum(least, chosen), 0.0)
    return chosen, present, least


def _means(amounts: Doubles, bills: ScenarioBills) -> Integers:
    """Return the weighted mean of each row, shape (m,)."""
    return np.rint((amounts @ bills.weight) / bills.whole).astype(np.int64)


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
