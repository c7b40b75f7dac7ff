"""The proof of a result: one price per pool, from which any reader can compute a lower bound of every bill.

For any price of a pool's data between 0 and overage rate / block, charging every SIM that price for its usage above its
allowance gives a lower bound of the bill. This is weak Lagrangian duality (Fisher, Management Science 27, 1981); in
addition, a rounded-up number of blocks is at least the unrounded one.

    L(price) = sum_i min over its eligible plans p of  own(i, p) + price_k(p) * (usage_i - allowance(p, d_i))

Prices are integers of 1 / `scale` currency per MB, so that one pass in integers gives the bound exactly. With a price
per change added for every SIM that leaves its current plan, the same sum bounds bill + price per change x changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from amop.solver.bill import INT64_LIMIT, CostModel, exact_sum
from amop.solver.changes import ChangePreference, count_changes
from amop.solver.model import CHUNK_ROWS, NONE, Flags, Integers, largest
from amop.solver.proof_tree import (
    FINEST_SCALE,
    CertificateError,
    ComponentTree,
    RealTree,
    check_scale,
    rows_of_tree,
    tree_total,
)

MAX_OVERFLOW_ROWS = 10_000
"""SIMs that may be computed in Python's unbounded integers; above this the unit of the prices is made coarser."""
BOUND_TOLERANCE = 1e-9
"""Relative amount by which a dual bound found in double precision is lowered before it is claimed."""


@dataclass(frozen=True, slots=True)
class DualSolution:
    """What a search knows about the optimum, in double precision; `certify` makes a proof of it."""

    price: npt.NDArray[np.float64]
    """Dual price of each pool at ``change_price``, shape (K,), currency per MB."""
    free_price: npt.NDArray[np.float64]
    """The same where changes cost nothing, shape (K,)."""
    change_price: int
    """Price per change at which ``price`` was found, 1e-6 currency."""
    bound: float
    """Dual bound of bill + change_price x changes, 1e-6 currency; includes what branch and bound proved."""
    is_optimal: bool
    """True when branch and bound proved the incumbent optimal, within the cap on changes."""
    timed_out: bool
    """True when branch and bound reached its time limit."""
    trees: tuple[RealTree, ...] = ()
    """Trees of the components with a wide gap, at ``change_price``."""


@dataclass(frozen=True, slots=True)
class ChangeProof:
    """What a result claims about bill + minimum saving x changes, where changes are restricted; 1e-6 currency."""

    min_saving: int
    max_changes: int | None
    """Cap on the number of changes; None = no cap."""
    change_count: int
    """SIMs that leave a known current plan which they could keep."""
    change_price: int
    """Price per change at which the prices below prove the bound; above the minimum saving where the cap is binding."""
    price_scale: int
    price: tuple[int, ...]
    objective: int
    price_bound: int
    """Lower bound of bill + minimum saving x changes within the cap, as the prices prove it."""
    bound: int
    """The claimed lower bound: ``price_bound``, or a higher one proved by branch and bound."""

    def as_json(self) -> dict[str, Any]:
        """Return the proof as a JSON-serializable document."""
        return {
            "saving": self.min_saving,
            "most": self.max_changes,
            "count": self.change_count,
            "change_price": self.change_price,
            "scale": self.price_scale,
            "price": list(self.price),
            "objective": self.objective,
            "price_bound": self.price_bound,
            "bound": self.bound,
        }


@dataclass(frozen=True, slots=True)
class TreeProof:
    """A lower bound of the bill that is proved by cases (`proof_tree`) where the gap of the prices is wide."""

    trees: tuple[ComponentTree, ...]
    """One for each such pool component; the certificate's prices bound the other SIMs."""
    scale: int
    """Prices are in 1 / scale currency per MB, charges in 1 / scale of 1e-6 currency."""
    bound: int
    """1e-6 currency."""

    def as_json(self) -> dict[str, Any]:
        """Return the proof as a JSON-serializable document."""
        return {"bound_micro": self.bound, "scale": self.scale, "trees": [tree.as_json() for tree in self.trees]}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a result claims, in integers; bills and bounds in 1e-6 currency."""

    pool_name: tuple[str, ...]
    price_scale: int
    """A price of 1 is 1 / price_scale currency per MB."""
    price: tuple[int, ...]
    """Price of each pool's data, length K."""
    bill: int
    price_bound: int
    """Lower bound of the bill of every assignment to eligible plans, as the prices prove it."""
    lower_bound: int
    """The claimed lower bound: `proved_bound`, or a higher one proved by branch and bound. `verify` cannot check the
    difference: it rests on the MILP solver."""
    changes: ChangeProof | None = None
    tree: TreeProof | None = None

    @property
    def proved_bound(self) -> int:
        """Return the lower bound that `verify` proves, 1e-6 currency."""
        return self.price_bound if self.tree is None else max(self.price_bound, self.tree.bound)

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as a JSON-serializable document."""
        document: dict[str, Any] = {
            "pools": list(self.pool_name),
            "price_scale": self.price_scale,
            "prices": list(self.price),
            "bill_micro": self.bill,
            "price_bound_micro": self.price_bound,
            "lower_bound_micro": self.lower_bound,
        }
        if self.changes is not None:
            document["changes"] = self.changes.as_json()
        if self.tree is not None:
            document["tree"] = self.tree.as_json()
        return document


def certify(
    model: CostModel, preference: ChangePreference, dual: DualSolution, assignment: Integers, bill: int
) -> Certificate:
    """Return the proof of an assignment: integer prices, the bound they prove exactly, and the claimed bound.

    Args:
        model: the fleet, its pools in the order of the dual prices.
        preference: minimum saving and cap on changes of the search.
        dual: what the search found.
        assignment: plan of each SIM, shape (N,), int64, -1 without an eligible plan.
        bill: its bill, 1e-6 currency.
    """
    scale, price = _integer_prices(model, dual.free_price, 0)
    price_bound = lower_bound(model, price, scale)
    names = tuple(model.pool_name)
    if preference.is_empty:
        tree = _tree_proof(model, dual.trees, price, scale)
        if tree is None or len(tree.trees) < len(dual.trees):
            dual = replace(dual, is_optimal=dual.is_optimal and not dual.trees)  # trees may have proved it in doubles
        proved = price_bound if tree is None else max(price_bound, tree.bound)
        return Certificate(names, scale, price, bill, price_bound, _claimed_bound(dual, bill, proved), tree=tree)
    change_count = count_changes(model, assignment)
    objective = bill + preference.min_saving * change_count
    change_scale, change_prices = _integer_prices(model, dual.price, dual.change_price)
    proved = lower_bound(model, change_prices, change_scale, dual.change_price)
    proved -= (dual.change_price - preference.min_saving) * (preference.max_changes or 0)
    # The search's own bound is one of this objective only at a price per change equal to the minimum saving.
    is_comparable = dual.change_price == preference.min_saving or dual.is_optimal
    changes = ChangeProof(
        min_saving=preference.min_saving,
        max_changes=preference.max_changes,
        change_count=change_count,
        change_price=dual.change_price,
        price_scale=change_scale,
        price=change_prices,
        objective=objective,
        price_bound=proved,
        bound=_claimed_bound(dual, objective, proved) if is_comparable else proved,
    )
    return Certificate(names, scale, price, bill, price_bound, price_bound, changes)


def _tree_proof(model: CostModel, trees: Sequence[RealTree], price: Sequence[int], scale: int) -> TreeProof | None:
    """Return the proof of some trees, None without any.

    A tree that does not hold is left out: the prices bound its SIMs. The search is in doubles, and may fail at extreme
    prices; that must not fail the optimization.
    """
    valid = []
    for tree in trees:
        integers = tree.as_integers(model, FINEST_SCALE)
        try:
            tree_total(model, integers, FINEST_SCALE)
        except CertificateError:
            continue
        valid.append(integers)
    if not valid:
        return None
    whole = TreeProof(tuple(valid), FINEST_SCALE, 0)
    return replace(whole, bound=tree_bound(model, whole, price, scale))


def tree_bound(model: CostModel, proof: TreeProof, price: Sequence[int], scale: int) -> int:
    """Return the lower bound that trees prove, and prices for the SIMs of no tree, 1e-6 currency.

    Args:
        model: the fleet.
        proof: trees of different pool components.
        price: of each pool's data, length K, in 1 / ``scale`` currency per MB.
        scale: units of a price per currency and MB.

    Raises:
        CertificateError: a tree is not complete, two trees are of the same component, or a price is not valid.
    """
    is_other = model.has_eligible.copy()
    check_scale(proof.scale)
    check_scale(scale)
    for tree in proof.trees:
        rows = rows_of_tree(model, tree.pools)
        if not is_other[rows].all():
            raise CertificateError(f"two proof trees have pools {list(tree.pools)}")
        is_other[rows] = False
    total = sum(tree_total(model, tree, proof.scale) for tree in proof.trees) * scale
    total += _price_total(model, price, scale, 0, is_other) * proof.scale
    return -(-total // (scale * proof.scale))


def _claimed_bound(dual: DualSolution, objective: int, proved: int) -> int:
    """Return the objective where it is proved optimal, else the higher of the prices' bound and the MILP's."""
    if dual.is_optimal:
        return objective
    return max(proved, min(objective, int(dual.bound * (1.0 - BOUND_TOLERANCE)))) if dual.timed_out else proved


def _integer_prices(model: CostModel, price: npt.NDArray[np.float64], change_price: int) -> tuple[int, tuple[int, ...]]:
    """Return the unit of the prices and the prices rounded to it, none above its highest valid value."""
    scale = price_scale(model, change_price)
    highest = highest_prices(model, scale)
    return scale, tuple(min(round(float(p) * scale), high) for p, high in zip(price, highest, strict=True))


def verify(certificate: Certificate, model: CostModel, assignment: Integers) -> None:
    """Recompute bill and bounds from the input, the assignment and the prices alone, in integers.

    Args:
        certificate: the claim.
        model: the fleet.
        assignment: plan of each SIM, shape (N,), int64, -1 without an eligible plan.

    Raises:
        CertificateError: a SIM is on a plan that is not eligible for it, the bill or the prices' bound is not the
            claimed one, or a bound is above the value that it bounds.
    """
    if (model.is_allowed(assignment) != model.has_eligible).any() or (assignment[~model.has_eligible] != NONE).any():
        raise CertificateError("a SIM is on a rate plan that is not eligible for it, or has an eligible plan but none")
    if certificate.pool_name != tuple(model.pool_name):
        raise CertificateError(f"the prices are of {list(certificate.pool_name)}, the pools are {model.pool_name}")
    found = model.bill(assignment), lower_bound(model, certificate.price, certificate.price_scale)
    if found != (certificate.bill, certificate.price_bound):
        raise CertificateError(
            f"claimed bill {certificate.bill} and bound {certificate.price_bound}, found {found[0]} and {found[1]}"
        )
    if certificate.tree is not None:
        proved = tree_bound(model, certificate.tree, certificate.price, certificate.price_scale)
        if proved != certificate.tree.bound:
            raise CertificateError(f"the proof trees claim the bound {certificate.tree.bound}, found {proved}")
    if not certificate.proved_bound <= certificate.lower_bound <= certificate.bill:
        raise CertificateError(f"the bound {certificate.lower_bound} is not within {found[1]} and {found[0]}")
    if certificate.changes is not None:
        _verify_changes(certificate.changes, certificate.bill, model, assignment)


def _verify_changes(claim: ChangeProof, bill: int, model: CostModel, assignment: Integers) -> None:
    if claim.min_saving < 0:
        raise CertificateError(f"the minimum saving {claim.min_saving} is negative")
    count = count_changes(model, assignment)
    objective = bill + claim.min_saving * count
    bound = lower_bound(model, claim.price, claim.price_scale, claim.change_price)
    bound -= (claim.change_price - claim.min_saving) * (claim.max_changes or 0)
    if (count, objective, bound) != (claim.change_count, claim.objective, claim.price_bound):
        raise CertificateError(
            f"claimed {claim.change_count} changes, objective {claim.objective} and bound {claim.price_bound}, found "
            f"{count}, {objective} and {bound}"
        )
    if not claim.price_bound <= claim.bound <= claim.objective or claim.change_price < claim.min_saving:
        raise CertificateError(f"the bound {claim.bound} is not within {bound} and {claim.objective}")
    if claim.max_changes is not None and count > claim.max_changes:
        raise CertificateError(f"{count} changes exceed the cap of {claim.max_changes}")
    if claim.max_changes is None and claim.change_price != claim.min_saving:
        raise CertificateError("without a cap the price per change must equal the minimum saving")


def lower_bound(model: CostModel, price: Sequence[int], scale: int, change_price: int = 0) -> int:
    """Return the lower bound that prices prove, 1e-6 currency, over the SIMs that have an eligible plan.

    Args:
        model: the fleet.
        price: of each pool's data, length K, in 1 / ``scale`` currency per MB.
        scale: units of a price per currency and MB.
        change_price: added for each SIM that leaves a current plan that it could keep, 1e-6 currency; the result is
            then a bound of bill + change_price x changes.

    Raises:
        CertificateError: a price is outside the range in which the bound holds.
    """
    check_scale(scale)
    if change_price < 0:
        raise CertificateError(f"the price per change {change_price} is negative")
    return -(-_price_total(model, price, scale, change_price, None) // scale)


def _price_total(model: CostModel, price: Sequence[int], scale: int, change_price: int, only: Flags | None) -> int:
    """Return the bound of `lower_bound` in 1 / ``scale`` of 1e-6 currency, of some SIMs only if ``only`` is given."""
    highest = highest_prices(model, scale)
    if len(price) != len(highest) or any(not 0 <= p <= high for p, high in zip(price, highest, strict=True)):
        raise CertificateError(f"prices {list(price)} are not within 0 and {highest}")
    overflows = _overflow_rows(model, scale, change_price)
    large = overflows if only is None else overflows & only
    total = 0
    for first in range(0, len(model.devices), CHUNK_ROWS):
        chunk = slice(first, min(first + CHUNK_ROWS, len(model.devices)))
        fitting = ~overflows[chunk] if only is None else ~overflows[chunk] & only[chunk]
        if not fitting.any():
            continue  # not even the price of a change may fit
        fits = chunk if fitting.all() else np.arange(chunk.start, chunk.stop)[fitting]
        total += exact_sum(_least_costs(model, fits, price, scale, change_price, np.int64))
    total += exact_sum(_least_costs(model, np.flatnonzero(large), price, scale, change_price, object))
    return total


def highest_prices(model: CostModel, scale: int) -> list[int]:
    """Return the highest valid price of each pool, overage rate / block rounded down to 1 / ``scale``, length K."""
    return [int(rate) * scale // int(block) for rate, block in zip(model.pool_rate, model.pool_block, strict=True)]


def price_scale(model: CostModel, change_price: int = 0) -> int:
    """Return the finest power of ten at which at most `MAX_OVERFLOW_ROWS` SIMs exceed int64."""
    scale = FINEST_SCALE
    while scale > 1 and int(_overflow_rows(model, scale, change_price).sum()) > MAX_OVERFLOW_ROWS:
        scale //= 10
    return scale


def _overflow_rows(model: CostModel, scale: int, change_price: int) -> Flags:
    """Return which SIMs could exceed int64, shape (N,), by an upper bound of the terms of their costs.

    The limit is half of int64's range, far more than the rounding errors of the doubles.
    """
    plans, devices = model.rate_plans, model.devices
    if not len(plans):
        return np.zeros(len(devices), dtype=np.bool_)
    by_mb = float((plans.overage_rate / plans.block_micro_mb).max())
    fixed = int(by_mb * float(largest(model.included))) + 1 + change_price
    fixed += largest(np.abs(model.charge)) + int(plans.overage_rate.max())
    rest = int(INT64_LIMIT) - fixed * scale
    if rest <= 0:
        return np.ones(len(devices), dtype=np.bool_)
    reach = devices.usage_micro_mb * (2.0 * by_mb * scale)
    if sms_rate := float(plans.sms_rate.max()):
        reach += devices.sms_usage * (sms_rate * scale)
    return np.asarray(reach > float(rest))


def _least_costs(
    model: CostModel, rows: slice | Integers, price: Sequence[int], scale: int, change_price: int, kind: type
) -> Integers:
    """Return each SIM's least cost at the prices over its eligible plans, 1e-6 currency / scale; 0 without any."""
    usage: Integers = model.devices.usage_micro_mb[rows].astype(kind)
    group, tariff = model.group[rows], model.tariff[rows]
    current = model.devices.current_rate_plan[rows]
    can_keep = model.can_keep_plan(rows) if change_price else None
    infinite = np.iinfo(np.int64).max if kind is np.int64 else 10**40
    least: Integers = np.full(len(usage), infinite, dtype=kind)
    for plan in range(len(model.rate_plans)):
        cost: Integers = model.own_cost(plan, rows).astype(kind)
        cost *= scale
        pools = model.pool[:, plan]
        if (pools != NONE).any():
            unit: Integers = np.array([price[k] for k in np.maximum(pools, 0)], dtype=kind)
            data_cost = usage - model.included[:, plan][tariff]
            data_cost *= unit[0] if (unit == unit[0]).all() else unit[group]
            cost += data_cost
        if can_keep is not None:
            cost[can_keep & (current != plan)] += change_price * scale
        eligible = model.eligible[:, plan]
        if not eligible.all():
            cost[~eligible[group]] = infinite
        np.minimum(least, cost, out=least)
    least[~model.has_eligible[rows]] = 0
    return least
