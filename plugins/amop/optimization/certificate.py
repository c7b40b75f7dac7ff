"""The proof of a result: one price for each pool, from which anyone can compute a bound that no bill goes below.

For any price of a pool's data between 0 and overage rate / block, charging every SIM that price for its usage above its
allowance gives a lower bound (weak Lagrangean duality; a rounded-up block is at least its argument):

    L(price) = sum_i min over its eligible plans p of  own(i, p) + price_k(p) * (usage_i - allowance(p, d_i))

Prices are integers of 1 / `scale` currency a MB, so that one pass in integers gives the bound exactly. With a price of
a plan change added for every SIM that leaves its present plan, the same sum bounds the bill plus that price x changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from amop.optimization.bill import SAFE, CostModel, exact_sum
from amop.optimization.changes import changes_of
from amop.optimization.model import NONE, Integers, largest

FINEST_SCALE = 10**9
"""Finest unit of a price: 1e-9 currency a MB."""
MOST_SLOW_ROWS = 10_000
"""So many SIMs may be computed in Python's unbounded integers; more of them make the unit of the prices coarser."""
CHUNK = 65_536


class CertificateError(RuntimeError):
    """A result does not hold what it claims; the message carries the claim and what was found. Never store it."""


@dataclass(frozen=True, slots=True)
class ChangeProof:
    """What a result claims about bill + saving x changes, where few changes were asked for; money in 1e-6 currency."""

    saving: int
    most: int | None
    """The cap; None = none."""
    count: int
    """SIMs that leave a known present plan which they could keep."""
    change_price: int
    """Price of a change at which the prices below prove the bound; above the saving where the cap bites."""
    scale: int
    price: tuple[int, ...]
    objective: int
    price_bound: int
    """No assignment within the cap has a lower bill + saving x changes: what the prices prove."""
    bound: int
    """The same, proved by a search to the end where it is higher."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a result claims, in integers; bills and bounds in 1e-6 currency."""

    pool_name: tuple[str, ...]
    scale: int
    """A price of 1 is 1 / scale currency for each MB."""
    price: tuple[int, ...]
    bill: int
    price_bound: int
    """No assignment of the SIMs to plans that they may have is billed less: what the prices prove."""
    lower_bound: int
    """The same; higher where a branch and bound search of a small fleet has proved more. That part is the solver's."""
    changes: ChangeProof | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as a JSON-able document."""
        document: dict[str, Any] = {
            "pools": list(self.pool_name),
            "price_scale": self.scale,
            "prices": list(self.price),
            "bill_micro": self.bill,
            "price_bound_micro": self.price_bound,
            "lower_bound_micro": self.lower_bound,
        }
        if self.changes is not None:
            document["changes"] = asdict(self.changes) | {"price": list(self.changes.price)}
        return document


def verify(certificate: Certificate, model: CostModel, assignment: Integers) -> None:
    """Recompute bill and bounds from nothing but the input, the assignment and the prices.

    Raises:
        CertificateError: the bill or a bound of the prices is not what is claimed, a SIM is on a plan that it may not
            have, or a bound is above what it bounds.
    """
    if (model.is_allowed(assignment) != model.has_eligible).any() or (assignment[~model.has_eligible] != NONE).any():
        raise CertificateError("a SIM is on a rate plan that it is not eligible for, or has none though it could")
    if certificate.pool_name != tuple(model.pool_name):
        raise CertificateError(f"the prices are of {list(certificate.pool_name)}, the pools are {model.pool_name}")
    found = model.bill(assignment), lower_bound(model, certificate.price, certificate.scale)
    if found != (certificate.bill, certificate.price_bound):
        raise CertificateError(
            f"claimed bill {certificate.bill} and bound {certificate.price_bound}, found {found[0]} and {found[1]}"
        )
    if not certificate.price_bound <= certificate.lower_bound <= certificate.bill:
        raise CertificateError(f"the bound {certificate.lower_bound} is not within {found[1]} and {found[0]}")
    if certificate.changes is not None:
        _verify_changes(certificate.changes, certificate.bill, model, assignment)


def _verify_changes(claim: ChangeProof, bill: int, model: CostModel, assignment: Integers) -> None:
    count = changes_of(model, assignment)
    bound = lower_bound(model, claim.price, claim.scale, claim.change_price)
    bound -= (claim.change_price - claim.saving) * (claim.most or 0)
    if (count, bill + claim.saving * count, bound) != (claim.count, claim.objective, claim.price_bound):
        raise CertificateError(
            f"claimed {claim.count} changes, objective {claim.objective} and bound {claim.price_bound}, found {count}, "
            f"{bill + claim.saving * count} and {bound}"
        )
    if not claim.price_bound <= claim.bound <= claim.objective or claim.change_price < claim.saving:
        raise CertificateError(f"the bound {claim.bound} is not within {bound} and {claim.objective}")
    if claim.most is not None and count > claim.most:
        raise CertificateError(f"{count} changes are more than the cap {claim.most}")
    if claim.most is None and claim.change_price != claim.saving:
        raise CertificateError("without a cap the price of a change is the saving that was asked for")


def lower_bound(model: CostModel, price: Sequence[int], scale: int, change_price: int = 0) -> int:
    """Return the proven bound of these prices, 1e-6 currency, over the SIMs that have an eligible plan.

    Args:
        model: the SIMs and their costs.
        price: of each pool, in 1 / ``scale`` currency a MB.
        scale: see there.
        change_price: added for each SIM that leaves a present plan that it may keep, 1e-6 currency; the bound is one
            of bill + change_price x changes then.

    Raises:
        CertificateError: a price is outside of the range in which the bound holds.
    """
    if scale < 1:
        raise CertificateError(f"the unit of the prices, 1 / {scale}, is none")
    highest = highest_prices(model, scale)
    if len(price) != len(highest) or any(not 0 <= p <= high for p, high in zip(price, highest, strict=True)):
        raise CertificateError(f"prices {list(price)} are outside of 0 and {highest}")
    slow = _slow_rows(model, scale, change_price)
    total = 0
    for first in range(0, len(model.devices), CHUNK):
        chunk = slice(first, min(first + CHUNK, len(model.devices)))
        fast = np.arange(chunk.start, chunk.stop)[~slow[chunk]] if slow[chunk].any() else chunk
        total += exact_sum(_least_costs(model, fast, price, scale, change_price, np.int64))
    total += exact_sum(_least_costs(model, np.flatnonzero(slow), price, scale, change_price, object))
    return -(-total // scale)


def highest_prices(model: CostModel, scale: int) -> list[int]:
    """Return the highest price of each pool for which the bound holds: overage rate / block, rounded down."""
    return [int(rate) * scale // int(block) for rate, block in zip(model.pool_rate, model.pool_block, strict=True)]


def price_scale(model: CostModel, change_price: int = 0) -> int:
    """Return the finest power of ten for which all but few SIMs fit into int64."""
    scale = FINEST_SCALE
    while scale > 1 and int(_slow_rows(model, scale, change_price).sum()) > MOST_SLOW_ROWS:
        scale //= 10
    return scale


def _slow_rows(model: CostModel, scale: int, change_price: int) -> np.ndarray:
    """Return which SIMs could overflow int64: a bound from above of everything that is added up for them."""
    plans, devices = model.rate_plans, model.devices
    if not len(plans):
        return np.zeros(len(devices), dtype=np.bool_)
    by_mb = float((plans.overage_rate / plans.block_micro_mb).max())
    fixed = float(largest(model.charge)) + float(plans.overage_rate.max()) + by_mb * float(largest(model.included))
    reach = devices.usage_micro_mb * (2.0 * by_mb * scale)
    if sms_rate := float(plans.sms_rate.max()):
        reach += devices.sms_usage * (sms_rate * scale)
    return reach > SAFE - (fixed + change_price) * scale


def _least_costs(
    model: CostModel, rows: slice | Integers, price: Sequence[int], scale: int, change_price: int, kind: type
) -> Integers:
    """Return the least cost at the prices over each SIM's eligible plans, in 1e-6 currency / scale; 0 without any."""
    usage: Integers = model.devices.usage_micro_mb[rows].astype(kind)
    group, days = model.group[rows], model.billed_days[rows]
    current = model.devices.current_rate_plan[rows]
    may_stay = model.eligible[group, np.maximum(current, 0)] & (current >= 0) if change_price else None
    nothing = np.iinfo(np.int64).max if kind is np.int64 else 10**40
    least: Integers = np.full(len(usage), nothing, dtype=kind)
    for plan in range(len(model.rate_plans)):
        cost: Integers = model.own_cost(plan, rows).astype(kind)
        cost *= scale
        pools = model.pool[:, plan]
        if (pools != NONE).any():
            unit: Integers = np.array([price[k] for k in np.maximum(pools, 0)], dtype=kind)
            used = usage - model.included[:, plan][days]
            used *= unit[0] if (unit == unit[0]).all() else unit[group]
            cost += used
        if may_stay is not None:
            cost[may_stay & (current != plan)] += change_price * scale
        eligible = model.eligible[:, plan]
        if not eligible.all():
            cost[~eligible[group]] = nothing
        np.minimum(least, cost, out=least)
    least[~model.has_eligible[rows]] = 0
    return least
