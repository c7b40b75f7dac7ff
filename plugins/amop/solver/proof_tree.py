"""A proof by cases: a tree whose leaves are price vectors, each of which bounds the bill within the ranges of its leaf.

A split divides the assignments of a pool component by an integer of theirs, the overage blocks of a pool or the number
of SIMs on a plan: at most m in the first child, at least m + 1 in the second. No assignment is lost, so that the least
bound of the leaves holds for all. With blocks B of each pool in [L, U] and numbers N of each counted set in [l, u],

    bound of a leaf = sum of each SIM's least cost over its eligible plans, at the prices of data and the charges
                      + sum over pools of   min over [L, U] of (overage rate - price x block) x B
                      - sum over sets of    max over [l, u] of charge x N

for any prices >= 0 and any charges, of either sign, for a SIM on the plan of a counted set. This is weak Lagrangian
duality: blocks >= excess / block and the definition of N are relaxed, and B and N are chosen as if they were free. A
price above overage rate / block is valid where U is known. Everything is an integer, in 1 / scale of 1e-6 currency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from amop.solver.bill import INT64_LIMIT, CostModel, exact_sum
from amop.solver.model import NONE, Flags, Integers


class CertificateError(RuntimeError):
    """A certificate does not hold: the message has what it claims and what was computed. Never store such a result."""


@dataclass(frozen=True, slots=True)
class CountedSet:
    """SIMs of a pool component whose number on a plan the tree restricts."""

    plan: str
    """Code of the rate plan."""
    device_id: str | None
    """Only SIMs that are billed like this one: same comm group, tariff, SMS and usage; None = all SIMs."""


@dataclass(frozen=True, slots=True)
class Split:
    """An inner node: its first child has at most ``most`` blocks, or SIMs, its second child more."""

    is_pool: bool
    index: int
    """Position in `ComponentTree.pools` or `ComponentTree.sets`."""
    most: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A price vector."""

    price: tuple[int, ...]
    """Of each pool's data, 1 / scale currency per MB, in the order of `ComponentTree.pools`."""
    charge: tuple[tuple[int, int], ...]
    """Position of a counted set, and the charge for each of its SIMs on its plan, 1 / scale of 1e-6 currency."""


@dataclass(frozen=True, slots=True)
class ComponentTree:
    """The tree of one pool component."""

    pools: tuple[int, ...]
    """The model's indices of the component's pools."""
    sets: tuple[CountedSet, ...]
    nodes: tuple[Split | Leaf, ...]
    """Every split is followed by its first subtree, then by its second."""

    def as_json(self) -> dict[str, Any]:
        """Return the tree as a JSON-serializable document."""
        return {
            "pools": list(self.pools),
            "sets": [[one.plan, one.device_id] for one in self.sets],
            "nodes": [
                ["blocks" if node.is_pool else "sims", node.index, node.most]
                if isinstance(node, Split)
                else [list(node.price), [list(pair) for pair in node.charge]]
                for node in self.nodes
            ],
        }


@dataclass(frozen=True, slots=True)
class RealLeaf:
    """A price vector in double precision."""

    price: tuple[float, ...]
    """Currency per MB."""
    charge: tuple[tuple[int, float], ...]
    """Position of a counted set, and the charge in 1e-6 currency."""


FINEST_SCALE = 10**9
"""Finest unit of a price, also that of the prices of a tree: 1e-9 currency per MB."""
HIGHEST_PRICE, HIGHEST_CHARGE = 10**17, 10**30
"""Highest price and charge of a leaf."""
ROUNDING_ERROR = 2.0**-49
"""Relative error of a cost in double precision, by an upper bound: five roundings, and those of the bound itself."""


@dataclass(frozen=True, slots=True)
class RealTree:
    """A tree as the search finds it: prices in double precision, plans and SIMs by their indices in the model."""

    pools: tuple[int, ...]
    sets: tuple[tuple[int, int], ...]
    """Index of the plan, and row of the SIM that all SIMs of the set are billed like, -1 for all SIMs."""
    nodes: tuple[Split | RealLeaf, ...]

    def as_integers(self, model: CostModel, scale: int) -> ComponentTree:
        """Return the tree with prices of 1 / ``scale`` currency per MB and charges, none above what is valid."""
        plans, ids = model.rate_plans, model.devices.device_id
        highest = [int(model.pool_rate[pool]) * scale // int(model.pool_block[pool]) for pool in self.pools]
        nodes: list[Split | Leaf] = []
        waiting: list[frozenset[int]] = [frozenset()]  # pools whose blocks are limited
        for node in self.nodes:
            limited = waiting.pop()
            if isinstance(node, Split):
                nodes.append(node)
                waiting += [limited, limited | {node.index} if node.is_pool else limited]
                continue
            prices = [max(0, _rounded(price * scale, HIGHEST_PRICE)) for price in node.price]
            prices = [p if at in limited else min(p, highest[at]) for at, p in enumerate(prices)]
            charge = tuple((at, _rounded(charge * scale, HIGHEST_CHARGE)) for at, charge in node.charge)
            nodes.append(Leaf(tuple(prices), charge))
        sets = [CountedSet(plans.code[plan], None if row == NONE else str(ids[row])) for plan, row in self.sets]
        return ComponentTree(self.pools, tuple(sets), tuple(nodes))


def _rounded(value: float, highest: int) -> int:
    """Return a value rounded to an integer of at most ``highest``, of either sign; 0 for one that is not a number."""
    if not math.isfinite(value):
        return 0 if math.isnan(value) else int(math.copysign(1, value)) * highest
    return max(-highest, min(round(value), highest))


@dataclass(slots=True)
class _Ranges:
    """What is known at a node of the tree."""

    blocks: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    sims: dict[int, tuple[int, int]] = field(default_factory=dict)
    is_empty: bool = False


def check_scale(scale: int) -> None:
    """Check the unit of prices, 1 / ``scale`` currency per MB.

    Raises:
        CertificateError: it is not within 1 and `FINEST_SCALE`.
    """
    if not 1 <= scale <= FINEST_SCALE:
        raise CertificateError(f"the price unit 1 / {scale} is not valid: the scale must be within 1 and 10^9")


def rows_of_tree(model: CostModel, pools: tuple[int, ...]) -> Integers:
    """Return the SIMs of the pool component of some pools, shape (n,).

    Raises:
        CertificateError: these pools and their SIMs are not a component: a SIM could leave them for another pool.
    """
    if not pools or not all(0 <= pool < model.pool_count for pool in pools) or len(set(pools)) < len(pools):
        raise CertificateError(f"pools {list(pools)} of a proof tree do not exist, or occur twice")
    mine = model.eligible & np.isin(model.pool, pools)
    other = model.eligible & (model.pool != NONE) & ~mine
    inside = np.asarray(mine.any(axis=1))
    if (inside & np.asarray(other.any(axis=1))).any():
        raise CertificateError(f"pools {list(pools)} of a proof tree share SIMs with other pools")
    return np.flatnonzero(inside[model.group] & model.has_eligible)


def tree_total(model: CostModel, tree: ComponentTree, scale: int) -> int:
    """Return the bound of a tree for the SIMs of its component, in 1 / ``scale`` of 1e-6 currency.

    Raises:
        CertificateError: the tree is not complete, or a price is not valid in its leaf.
    """
    costs = _ComponentCosts(model, tree, scale)
    least: int | None = None
    waiting = [_Ranges()]
    for node in tree.nodes:
        if not waiting:
            raise CertificateError("a proof tree has nodes that belong to no split")
        ranges = waiting.pop()
        if isinstance(node, Split):
            below, above = _divide(ranges, node, costs)
            waiting += [above, below]
        elif not ranges.is_empty:
            bound = costs.bound(node, ranges)
            least = bound if least is None else min(least, bound)
    if waiting or least is None:
        raise CertificateError("a proof tree lacks a child of a split: its cases do not cover all assignments")
    return least


def _divide(ranges: _Ranges, split: Split, costs: _ComponentCosts) -> tuple[_Ranges, _Ranges]:
    """Return the ranges of both children of a split."""
    known: dict[int, Any] = ranges.blocks if split.is_pool else ranges.sims
    if not 0 <= split.index < (len(costs.rate) if split.is_pool else len(costs.sets)):
        raise CertificateError(f"a proof tree splits pool or set {split.index}, which it does not have")
    low, high = known.get(split.index, (0, None if split.is_pool else int(costs.sizes[split.index])))
    children = []
    for mine in ((low, split.most if high is None else min(high, split.most)), (max(low, split.most + 1), high)):
        child = _Ranges(dict(ranges.blocks), dict(ranges.sims), ranges.is_empty)
        (child.blocks if split.is_pool else child.sims)[split.index] = mine
        child.is_empty |= mine[1] is not None and mine[0] > mine[1]
        children.append(child)
    return children[0], children[1]


class _ComponentCosts:
    """The costs of a component's SIMs, duplicates together, as integers in 1 / scale of 1e-6 currency."""

    def __init__(self, model: CostModel, tree: ComponentTree, scale: int) -> None:
        rows = rows_of_tree(model, tree.pools)
        if not len(rows):
            raise CertificateError(f"no SIM can use the pools {list(tree.pools)} of a proof tree")
        devices = model.devices
        self.rate = [int(model.pool_rate[pool]) * scale for pool in tree.pools]
        self.block = [int(model.pool_block[pool]) for pool in tree.pools]
        keys = (model.group[rows], model.tariff[rows], devices.sms_usage[rows], devices.usage_micro_mb[rows])
        _, first, kind, self.count = np.unique(
            np.stack(keys, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        first, kind = rows[first], kind.reshape(-1)
        group, tariff, usage = model.group[first], model.tariff[first], devices.usage_micro_mb[first]
        self.plans = [plan for plan in range(len(model.rate_plans)) if model.eligible[group, plan].any()]
        self._eligible = model.eligible[group][:, self.plans].T
        self._pool = [self._pool_of(model, tree, plan, group) for plan in self.plans]
        own = np.stack([model.own_cost(plan, first) for plan in self.plans])
        excess = usage - model.included[tariff][:, self.plans].T
        self._find_sets(model, tree, rows, kind)
        self._scale, self._own, self._excess = scale, own, excess
        self._scaled = own * np.int64(scale)  # modulo 2**64, as all sums of `_least_costs`
        self._largest = [(int(np.abs(own[at]).max()), int(np.abs(excess[at]).max())) for at in range(len(own))]

    def _pool_of(self, model: CostModel, tree: ComponentTree, plan: int, group: Integers) -> int:
        """Return the position of a plan's pool in the tree, -1 for a plan that is not pooled."""
        pools = np.unique(model.pool[group, plan][model.eligible[group, plan]])
        if len(pools) != 1:
            raise CertificateError(f"a proof tree has SIMs on {model.rate_plans.code[plan]!r} in several pools")
        return NONE if pools[0] == NONE else tree.pools.index(int(pools[0]))

    def _find_sets(self, model: CostModel, tree: ComponentTree, rows: Integers, kind: Integers) -> None:
        """Find the plan and the kind of each counted set, and the number of its SIMs."""
        number = {code: plan for plan, code in enumerate(model.rate_plans.code)}
        wanted = [one.device_id for one in tree.sets if one.device_id is not None]
        ids = model.devices.device_id[rows]
        found = np.flatnonzero(np.isin(ids, np.array(wanted, dtype=ids.dtype))) if wanted else ()
        kind_of = {str(ids[at]): int(kind[at]) for at in found}
        self.sets: list[tuple[int, int]] = []
        for one in tree.sets:
            plan = number.get(one.plan, NONE)
            if plan not in self.plans or not (one.device_id is None or one.device_id in kind_of):
                raise CertificateError(f"a proof tree counts SIMs like {one.device_id!r} on {one.plan!r}: unknown")
            self.sets.append((self.plans.index(plan), NONE if one.device_id is None else kind_of[one.device_id]))
        self.sizes = [len(rows) if like == NONE else int(self.count[like]) for _, like in self.sets]

    def bound(self, leaf: Leaf, ranges: _Ranges) -> int:
        """Return the bound that the prices of a leaf prove within its ranges."""
        if len(leaf.price) != len(self.rate) or not all(0 <= price <= HIGHEST_PRICE for price in leaf.price):
            raise CertificateError(f"a proof tree has prices {list(leaf.price)}, which are not one valid one a pool")
        if any(abs(charge) > HIGHEST_CHARGE for _, charge in leaf.charge):
            raise CertificateError(f"a proof tree has a charge above {HIGHEST_CHARGE}")
        if len({at for at, _ in leaf.charge}) < len(leaf.charge):
            raise CertificateError("a leaf of a proof tree charges a set twice")
        total = 0
        for at, price in enumerate(leaf.price):
            low, high = ranges.blocks.get(at, (0, None))
            per_block = self.rate[at] - price * self.block[at]
            if per_block < 0 and high is None:
                raise CertificateError(f"a proof tree has a price above overage rate / block, {price}, without a limit")
            total += per_block * (low if per_block >= 0 or high is None else high)
        for at, charge in leaf.charge:
            if not 0 <= at < len(self.sets):
                raise CertificateError(f"a proof tree has a charge for set {at}, which it does not have")
            low, high = ranges.sims.get(at, (0, self.sizes[at]))
            total -= max(charge * low, charge * high)
        return total + self._least_costs(leaf)

    def _least_costs(self, leaf: Leaf) -> int:
        """Return the exact sum of the SIMs' least costs at the prices and charges of a leaf.

        Sums of int64 are exact modulo 2**64. A cost is taken from them only where it is proved to be in range, and
        disregarded only where it is proved to be above that. Kinds with any other cost are computed without a limit.
        """
        charges: dict[int, dict[int, int]] = {}
        for at, charge in leaf.charge:
            plan, like = self.sets[at]
            of_plan = charges.setdefault(plan, {})
            of_plan[like] = of_plan.get(like, 0) + charge
        kinds = len(self.count)
        least, has_least = np.full(kinds, np.iinfo(np.int64).max), np.zeros(kinds, dtype=np.bool_)
        is_unknown = np.zeros(kinds, dtype=np.bool_)
        for plan, pool in enumerate(self._pool):
            price = 0 if pool == NONE else leaf.price[pool]
            of_plan = charges.get(plan, {})
            of_kinds = {like: charge for like, charge in of_plan.items() if like != NONE}
            cost = self._scaled[plan] + np.int64(price) * self._excess[plan] + _modulo(of_plan.get(NONE, 0))
            cost[list(of_kinds)] += np.array([_modulo(charge) for charge in of_kinds.values()], dtype=np.int64)
            fits, is_above = self._ranges_of_costs(plan, price, of_plan)
            fits &= self._eligible[plan]
            np.minimum(least, cost, out=least, where=fits)
            has_least |= fits
            is_unknown |= self._eligible[plan] & ~fits & ~is_above
        is_unknown |= ~has_least
        return _weighted_sum(least[~is_unknown], self.count[~is_unknown]) + sum(
            int(self.count[kind]) * self._least_cost(leaf, kind, charges)
            for kind in np.flatnonzero(is_unknown).tolist()
        )

    def _ranges_of_costs(self, plan: int, price: int, charges: dict[int, int]) -> tuple[Flags, Flags]:
        """Return which kinds' costs on a plan are surely within int64, and which are surely above, shape (n,) each."""
        kinds = len(self.count)
        own, excess = self._largest[plan]
        of_all, of_kinds = charges.get(NONE, 0), [like for like in charges if like != NONE]
        largest = abs(of_all) + max((abs(charges[like]) for like in of_kinds), default=0)
        if own * self._scale + excess * price + largest < INT64_LIMIT:
            return np.ones(kinds, dtype=np.bool_), np.zeros(kinds, dtype=np.bool_)
        own_cost, data = self._own[plan] * float(self._scale), self._excess[plan] * float(price)
        charge = np.full(kinds, float(of_all))
        charge[of_kinds] = [float(of_all + charges[like]) for like in of_kinds]
        about = own_cost + data + charge
        error = ROUNDING_ERROR * (np.abs(own_cost) + np.abs(data) + np.abs(charge))
        return np.abs(about) + error < INT64_LIMIT, about - error >= INT64_LIMIT

    def _least_cost(self, leaf: Leaf, kind: int, charges: dict[int, dict[int, int]]) -> int:
        """Return the least cost of a SIM of one kind, in Python's unbounded integers."""
        costs = []
        for plan in np.flatnonzero(self._eligible[:, kind]).tolist():
            pool, of_plan = self._pool[plan], charges.get(plan, {})
            cost = int(self._own[plan, kind]) * self._scale + of_plan.get(NONE, 0) + of_plan.get(kind, 0)
            costs.append(cost + (0 if pool == NONE else leaf.price[pool] * int(self._excess[plan, kind])))
        return min(costs)


def _modulo(value: int) -> np.int64:
    """Return an integer of any size modulo 2**64, as an int64."""
    return np.int64((value + 2**63) % 2**64 - 2**63)


def _weighted_sum(values: Integers, count: Integers) -> int:
    """Return the exact sum of values x numbers of SIMs."""
    return (exact_sum((values >> 32) * count) << 32) + exact_sum((values & 0xFFFFFFFF) * count)
