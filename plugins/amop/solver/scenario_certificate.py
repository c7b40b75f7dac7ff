"""The proof of an expected bill: a price per pool and scenario, from which any reader can compute a lower bound.

The bill of a pool in a scenario is at least price x (usage - allowance) for any price between 0 and overage rate /
block, as in `amop.solver.certificate`. Summed over the scenarios, every SIM has a cost of its own on each plan:

    L(price) = sum_i min over its eligible plans p of
               sum_s [ own(i, p, s) + price_k(p),s * (usage_i,s - allowance(p, d_i)) ]

The optimal prices are overage rate / block in the scenarios in which the pool runs over, and 0 in the others: their
mean is overage rate / block x the probability of overage. L bounds the sum of the bills of every assignment, so that
L / S bounds its expected bill. Where scenarios have weights, each of its terms and the sum of the weights take their
place. With a minimum saving per change added for every SIM that leaves a plan that it could
keep, the same sum bounds the expected bill + minimum saving x changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amop.solver.bill import INT64_LIMIT, exact_sum
from amop.solver.certificate import MAX_OVERFLOW_ROWS, highest_prices
from amop.solver.changes import count_changes
from amop.solver.model import NONE, Flags, Integers, largest
from amop.solver.proof_tree import FINEST_SCALE, CertificateError, check_scale
from amop.solver.scenarios import CHUNK_ROWS, ScenarioBills

Prices = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ScenarioCertificate:
    """What a result claims about the sum of its bills over the scenarios, in integers; 1e-6 currency."""

    pool_name: tuple[str, ...]
    scenario_count: int
    price_scale: int
    """A price of 1 is 1 / price_scale currency per MB."""
    weight: tuple[int, ...]
    """Weight of each scenario, at least 1."""
    price: Prices
    """Price of the data of each pool in each scenario, K rows of S."""
    total: int
    """Weighted sum of the bills of the assignment."""
    price_bound: int
    """Lower bound of that sum for every assignment to eligible plans, as the prices prove it."""
    lower_bound: int
    """The claimed lower bound: ``price_bound``, or ``total`` where all assignments were enumerated, which `verify`
    cannot check."""
    min_saving: int
    """Minimum saving per change."""
    change_count: int
    """SIMs that leave a known current plan which they could keep."""
    objective_bound: int
    """Lower bound of total + sum of the weights x minimum saving x changes, as the prices prove it."""

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as a JSON-serializable document."""
        return {
            "pools": list(self.pool_name),
            "scenarios": self.scenario_count,
            **({} if set(self.weight) == {1} else {"weights": list(self.weight)}),
            "price_scale": self.price_scale,
            "prices": [list(prices) for prices in self.price],
            "total_micro": self.total,
            "price_bound_micro": self.price_bound,
            "lower_bound_micro": self.lower_bound,
            "minimum_saving_micro": self.min_saving,
            "changes": self.change_count,
            "objective_bound_micro": self.objective_bound,
        }


def certify_scenarios(
    bills: ScenarioBills,
    price: npt.NDArray[np.float64],
    assignment: Integers,
    *,
    min_saving: int,
    is_optimal: bool,
) -> ScenarioCertificate:
    """Return the proof of an assignment: integer prices and the bounds that they prove exactly.

    Args:
        bills: the fleet.
        price: of the data of each pool in each scenario, shape (K, S), currency per MB.
        assignment: plan of each SIM, shape (N,), -1 without an eligible plan.
        min_saving: minimum saving per change, 1e-6 currency.
        is_optimal: True if no assignment has a lower weighted sum of bills + minimum saving x changes.
    """
    scale = scenario_price_scale(bills, min_saving)
    highest = highest_prices(bills.model, scale)
    prices = tuple(
        tuple(min(high, max(0, round(float(value) * scale))) for value in row)
        for row, high in zip(price, highest, strict=True)
    )
    total = bills.total(assignment)
    price_bound = scenario_lower_bound(bills, prices, scale)
    return ScenarioCertificate(
        pool_name=tuple(bills.model.pool_name),
        scenario_count=bills.count,
        weight=tuple(bills.weight.tolist()),
        price_scale=scale,
        price=prices,
        total=total,
        price_bound=price_bound,
        lower_bound=total if is_optimal and not min_saving else price_bound,
        min_saving=min_saving,
        change_count=count_changes(bills.model, assignment),
        objective_bound=scenario_lower_bound(bills, prices, scale, min_saving) if min_saving else price_bound,
    )


def verify_scenarios(certificate: ScenarioCertificate, bills: ScenarioBills, assignment: Integers) -> None:
    """Recompute total and bounds from the scenarios, the assignment and the prices alone, in integers.

    Args:
        certificate: the claim.
        bills: the fleet.
        assignment: plan of each SIM, shape (N,), -1 without an eligible plan.

    Raises:
        CertificateError: a SIM is on a plan that is not eligible for it, a figure is not the claimed one, or a bound is
            above the value that it bounds.
    """
    model, claim = bills.model, certificate
    if (model.is_allowed(assignment) != model.has_eligible).any() or (assignment[~model.has_eligible] != NONE).any():
        raise CertificateError("a SIM is on a rate plan that is not eligible for it, or has an eligible plan but none")
    if (claim.pool_name, claim.scenario_count) != (tuple(model.pool_name), bills.count):
        raise CertificateError(
            f"the prices are of {list(claim.pool_name)} in {claim.scenario_count} scenarios, the pools are "
            f"{model.pool_name} in {bills.count}"
        )
    if claim.weight != tuple(bills.weight.tolist()):
        raise CertificateError(f"the weights of the scenarios are {claim.weight}, not {tuple(bills.weight.tolist())}")
    found = (
        bills.total(assignment),
        scenario_lower_bound(bills, claim.price, claim.price_scale),
        count_changes(model, assignment),
    )
    if found != (claim.total, claim.price_bound, claim.change_count):
        raise CertificateError(
            f"claimed total {claim.total}, bound {claim.price_bound} and {claim.change_count} changes, found {found[0]}"
            f", {found[1]} and {found[2]}"
        )
    if not claim.price_bound <= claim.lower_bound <= claim.total:
        raise CertificateError(f"the bound {claim.lower_bound} is not within {found[1]} and {found[0]}")
    if claim.min_saving < 0:
        raise CertificateError(f"the minimum saving {claim.min_saving} is negative")
    bound = found[1]
    if claim.min_saving:
        bound = scenario_lower_bound(bills, claim.price, claim.price_scale, claim.min_saving)
    if bound != claim.objective_bound:
        raise CertificateError(f"claimed a bound of {claim.objective_bound} with the price of changes, found {bound}")


def scenario_lower_bound(
    bills: ScenarioBills, price: Sequence[Sequence[int]], scale: int, change_price: int = 0
) -> int:
    """Return the lower bound of the weighted sum of the bills that prices prove, 1e-6 currency.

    Args:
        bills: the fleet.
        price: of the data of each pool in each scenario, K rows of S, in 1 / ``scale`` currency per MB.
        scale: units of a price per currency and MB.
        change_price: added in each scenario for a SIM that leaves a current plan that it could keep, 1e-6 currency.

    Raises:
        CertificateError: a price is outside the range in which the bound holds.
    """
    check_scale(scale)
    if change_price < 0:
        raise CertificateError(f"the price per change {change_price} is negative")
    highest = highest_prices(bills.model, scale)
    if len(price) != len(highest) or any(
        len(row) != bills.count or any(not 0 <= value <= high for value in row)
        for row, high in zip(price, highest, strict=True)
    ):
        raise CertificateError(f"the prices are not {len(highest)} x {bills.count} values within 0 and {highest}")
    overflows = _overflow_rows(bills, scale, change_price)
    total, count = 0, len(bills.model.devices)
    for first in range(0, count, CHUNK_ROWS):
        rows = np.arange(first, min(first + CHUNK_ROWS, count))
        total += exact_sum(_least_totals(bills, rows[~overflows[rows]], price, scale, change_price, np.int64))
        total += exact_sum(_least_totals(bills, rows[overflows[rows]], price, scale, change_price, object))
    return -(-total // scale)


def scenario_price_scale(bills: ScenarioBills, change_price: int) -> int:
    """Return the finest power of ten at which at most `MAX_OVERFLOW_ROWS` SIMs exceed int64."""
    scale = FINEST_SCALE
    while scale > 1 and int(_overflow_rows(bills, scale, change_price).sum()) > MAX_OVERFLOW_ROWS:
        scale //= 10
    return scale


def _overflow_rows(bills: ScenarioBills, scale: int, change_price: int) -> Flags:
    """Return which SIMs could exceed int64, shape (N,), by an upper bound of the terms of their totals."""
    model = bills.model
    plans, devices = model.rate_plans, model.devices
    if not len(plans):
        return np.zeros(len(devices), dtype=np.bool_)
    by_mb = float((plans.overage_rate / plans.block_micro_mb).max())
    fixed = int(by_mb * float(largest(model.included))) + 1 + change_price
    fixed += largest(np.abs(model.charge)) + int(plans.overage_rate.max())
    rest = int(INT64_LIMIT) // (bills.whole * scale) - fixed
    if rest <= 0:
        return np.ones(len(devices), dtype=np.bool_)
    reach = bills.highest * (2.0 * by_mb) + devices.sms_usage * float(plans.sms_rate.max())
    return np.asarray(reach > float(rest))


def _least_totals(
    bills: ScenarioBills,
    rows: Integers,
    price: Sequence[Sequence[int]],
    scale: int,
    change_price: int,
    kind: type,
) -> Integers:
    """Return each SIM's least total at the prices over its eligible plans, 1e-6 currency / scale; 0 without any."""
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    model = bills.model
    usage, group, tariff = bills.usage(rows), model.group[rows], model.tariff[rows]
    weighted = [[value * int(of) for value, of in zip(row, bills.weight, strict=True)] for row in price]
    data = _data_totals(usage.astype(kind), weighted, kind)
    unit: Integers = np.array([sum(row) for row in weighted], dtype=kind)
    current = model.devices.current_rate_plan[rows]
    can_keep = model.can_keep_plan(rows)
    infinite = np.iinfo(np.int64).max if kind is np.int64 else 10**40
    least: Integers = np.full(len(rows), infinite, dtype=kind)
    for plan in range(len(model.rate_plans)):
        cost: Integers = bills.own_totals(rows, plan, usage).astype(kind) * scale
        pool = model.pool[:, plan][group]
        if (pool != NONE).any():
            pooled = data[np.arange(len(rows)), pool] - unit[pool] * model.included[:, plan][tariff].astype(kind)
            cost += np.where(pool != NONE, pooled, 0)
        if change_price:
            cost[can_keep & (current != plan)] += change_price * scale * bills.whole
        cost[~model.eligible[:, plan][group]] = infinite
        np.minimum(least, cost, out=least)
    least[~model.has_eligible[rows]] = 0
    return least


def _data_totals(usage: Integers, price: Sequence[Sequence[int]], kind: type) -> Integers:
    """Return the sum over the scenarios of weighted price x usage of each SIM and pool, shape (m, K)."""
    totals = [usage @ np.array(row, dtype=kind) for row in price]
    return np.stack(totals, axis=1) if totals else np.zeros((len(usage), 0), dtype=kind)
