"""The proof of a result: one price for each pool, from which anyone can compute a bound that no bill goes below.

For any price of a pool's data between 0 and overage rate / block, charging every SIM that price for its usage above its
allowance gives a lower bound (weak Lagrangean duality; a rounded-up block is at least its argument):

    L(price) = sum_i min over its eligible plans p of  own(i, p) + price_k(p) * (usage_i - allowance(p, d_i))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from amop.optimization.bill import SAFE, CostModel, exact_sum
from amop.optimization.model import NONE, Integers, largest

PRICE_SCALE = 1_000_000
"""A price of 1 is 1e-6 currency for each MB."""


class CertificateError(RuntimeError):
    """A result does not hold what it claims; the message carries the claim and what was found. Never store it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a result claims, in integers: prices in 1e-6 currency a MB, bill and bound in 1e-6 currency."""

    pool_name: tuple[str, ...]
    price: tuple[int, ...]
    bill: int
    lower_bound: int

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as a JSON-able document."""
        return {
            "pools": list(self.pool_name),
            "prices_micro_per_mb": list(self.price),
            "bill_micro": self.bill,
            "lower_bound_micro": self.lower_bound,
        }


def largest_prices(model: CostModel) -> Integers:
    """Return the largest price of each pool for which the bound holds: overage rate / block, rounded down."""
    return np.array(
        [int(rate) * PRICE_SCALE // int(block) for rate, block in zip(model.pool_rate, model.pool_block, strict=True)],
        dtype=np.int64,
    )


def reduced_costs(model: CostModel, price: Integers) -> Integers:
    """Return own cost + price x (usage - allowance) for each SIM and plan, shape (N, P), 1e-12 currency, exact.

    The array is of Python integers where int64 could overflow.
    """
    cost, usage, allowance = model.own_cost, model.devices.usage_micro_mb, model.allowance
    reach = float(largest(usage)) + float(largest(allowance))
    is_safe = float(largest(cost)) * PRICE_SCALE + float(largest(price)) * reach < SAFE
    kind: type = np.int64 if is_safe else object
    reduced: Integers = cost.astype(kind) * PRICE_SCALE
    for plan in range(reduced.shape[1]):
        pool = model.pool[model.group, plan]
        if (pool == NONE).all():
            continue
        unit: Integers = np.where(pool == NONE, 0, price[np.maximum(pool, 0)]).astype(kind)
        reduced[:, plan] += unit * (usage - allowance[:, plan])
    return reduced


def lower_bound(model: CostModel, price: Integers) -> int:
    """Return the proven bound of these prices, 1e-6 currency, over the SIMs that have an eligible plan.

    Raises:
        CertificateError: a price is outside of the range in which the bound holds.
    """
    if (price < 0).any() or (price > largest_prices(model)).any():
        raise CertificateError(f"prices {price.tolist()} are outside of 0 and {largest_prices(model).tolist()}")
    least = least_reduced_costs(model, reduced_costs(model, price))
    return -(-exact_sum(least) // PRICE_SCALE)


def least_reduced_costs(model: CostModel, reduced: Integers) -> Integers:
    """Return the least reduced cost over each SIM's eligible plans, shape (N,); 0 where it has none."""
    masked = reduced.copy()
    masked[~model.is_eligible] = _beyond(reduced)
    has_eligible = model.is_eligible.any(axis=1)
    if not masked.shape[1]:
        return np.zeros(len(masked), dtype=np.int64)
    return np.asarray(np.where(has_eligible, masked.min(axis=1), 0))


def verify(certificate: Certificate, model: CostModel, assignment: Integers) -> None:
    """Recompute bill and bound from nothing but the input, the assignment and the prices.

    Raises:
        CertificateError: the bill or the bound is not what is claimed, a SIM is on a plan that it may not have, or the
            bound is above the bill.
    """
    placed = assignment >= 0
    rows = np.flatnonzero(placed)
    if not model.is_eligible[rows, assignment[rows]].all() or (placed != model.is_eligible.any(axis=1)).any():
        raise CertificateError("a SIM is on a rate plan that it is not eligible for, or has none though it could")
    found = model.bill(assignment), lower_bound(model, np.array(certificate.price, dtype=np.int64))
    if found != (certificate.bill, certificate.lower_bound) or found[1] > found[0]:
        raise CertificateError(
            f"claimed bill {certificate.bill} and bound {certificate.lower_bound}, found {found[0]} and {found[1]}"
        )


def _beyond(reduced: Integers) -> int:
    return largest(reduced) + 1
