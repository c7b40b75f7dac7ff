"""Search for the cheapest assignment of a fleet, and for the dual prices that bound it.

Each pool component of the fleet is solved on its own: LP relaxation, rounding, local search and, where the component is
small, branch and bound. A cap on the number of plan changes couples the components; it is relaxed into a price per
change, which is found by bisection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from amop.solver.bill import CostModel
from amop.solver.certificate import DualSolution
from amop.solver.change_effects import ChangeEffects
from amop.solver.change_order import order_changes
from amop.solver.changes import ChangePreference, assignment_without_changes, count_changes, is_changed
from amop.solver.components import Doubles, PoolComponent, pool_components
from amop.solver.exact import MAX_SIMS, ExactResult, Incumbent, solve_exactly, solve_within_cap
from amop.solver.local_search import local_search
from amop.solver.model import NONE, Integers
from amop.solver.prices import Relaxation, solve_relaxation
from amop.solver.proof_tree import RealTree
from amop.solver.rounding import dive, round_relaxation
from amop.solver.tree_budget import close_gaps
from amop.solver.tree_proof import proof_of
from amop.solver.tree_search import TreeResult

MAX_CHANGE_PRICES = 30
"""Prices per change that are tried to satisfy a cap."""
FIRST_CHANGE_PRICE = 100_000
"""First price per change where no minimum saving is given, in 1e-6 currency."""
DIVE_GAP = 4e-6
"""Dive where the relative gap after the local search is above this, and the gap above the average bill of one SIM."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The incumbent and the dual solution of a fleet."""

    assignment: Integers
    """Index of the rate plan of each SIM, shape (N,), int64; -1 for a SIM without an eligible plan."""
    dual: DualSolution


class Search:
    """The search of one fleet.

    Args:
        model: the fleet, in canonical order.
        seconds: time limit of branch and bound, all components together.
    """

    def __init__(self, model: CostModel, seconds: float) -> None:
        self.model = model
        self._deadline = time.perf_counter() + seconds

    def run(self, preference: ChangePreference) -> SearchResult:
        """Return the assignment of least bill + minimum saving x changes that was found within the cap on changes."""
        result = self._search(preference.min_saving)
        if preference.max_changes is not None and self._changes(result) > preference.max_changes:
            result = self._search_with_cap(preference, preference.max_changes, over_cap=result)
        if preference.is_empty or not result.dual.change_price:
            return result
        return replace(result, dual=replace(result.dual, free_price=self._price_of_free_changes()))

    def _components(self, change_price: int) -> Iterator[PoolComponent]:
        return pool_components(self.model, change_price)

    def _changes(self, result: SearchResult) -> int:
        return count_changes(self.model, result.assignment)

    def _price_of_free_changes(self) -> Doubles:
        """Return the dual price of each pool where changes cost nothing, shape (K,), currency per MB."""
        price = np.zeros(self.model.pool_count)
        for component in self._components(0):
            price[component.pools] = solve_relaxation(component).price
        return price

    def _search(self, change_price: int, *, rounding_only: bool = False) -> SearchResult:
        """Search every component at a price per change (1e-6 currency), or only round its relaxation."""
        assignment = np.full(len(self.model.devices), NONE, dtype=np.int64)
        price = np.zeros(self.model.pool_count)
        bound, is_optimal, timed_out, trees = 0.0, True, False, list[RealTree]()
        parts = []
        for component in self._components(change_price):
            relaxation = solve_relaxation(component)
            chosen = round_relaxation(component, relaxation)
            if not rounding_only:
                chosen = _search_and_dive(component, relaxation, chosen)
            parts.append((component, relaxation, chosen))
        found = [None] * len(parts) if rounding_only else close_gaps(parts)
        for (component, relaxation, chosen), tree in zip(parts, found, strict=True):
            exact = None
            if tree is not None:
                chosen = tree.chosen
                trees.append(proof_of(tree))
            if not rounding_only:
                exact = self._solve_exactly(component, relaxation, chosen, tree)
            assignment[component.rows] = chosen if exact is None else exact.chosen
            price[component.pools] = relaxation.price
            bound += max(part.bound for part in (relaxation, tree, exact) if part is not None)
            is_optimal &= exact is not None and exact.is_optimal
            timed_out |= exact is not None and not exact.is_optimal
        return SearchResult(
            assignment, DualSolution(price, price, change_price, bound, is_optimal, timed_out, tuple(trees))
        )

    def _solve_exactly(
        self, component: PoolComponent, relaxation: Relaxation, chosen: Integers, tree: TreeResult | None
    ) -> ExactResult | None:
        """Return the result of branch and bound; where the tree has proved the optimum, only enumerate."""
        is_proved = tree is not None and tree.is_optimal and len(chosen) <= MAX_SIMS
        seconds = 0.0 if is_proved else self._deadline - time.perf_counter()
        exact = solve_exactly(component, relaxation.price, chosen, seconds)
        return ExactResult(chosen, True, float(component.bill(chosen))) if exact is None and is_proved else exact

    def _search_with_cap(self, preference: ChangePreference, cap: int, over_cap: SearchResult) -> SearchResult:
        """Raise the price per change until the cap holds, then spend what is left of the cap on the best changes."""
        low, high = over_cap, None
        price = max(2 * preference.min_saving, FIRST_CHANGE_PRICE)
        for _ in range(MAX_CHANGE_PRICES):
            rounded = self._search(price, rounding_only=True)
            if self._changes(rounded) > cap:
                low = rounded
                price = 4 * price if high is None else (price + high.dual.change_price) // 2
            else:
                high = rounded
                if price - low.dual.change_price <= 1 or self._changes(high) == cap:
                    break
                price = (price + low.dual.change_price) // 2
        if high is None:  # no price was high enough: keep every plan that may be kept
            unproved = replace(low.dual, is_optimal=False, timed_out=False)
            high = SearchResult(assignment_without_changes(self.model, low.assignment), unproved)
        above = [over_cap] if low is over_cap else [low, over_cap]
        within = [self._fill_cap(low, high, cap), *(self._first_changes(one, preference, cap) for one in above)]
        searched = [self._search_within_cap(one, high.dual, cap) for one in within]
        incumbent = min((*searched, *within), key=lambda one: self._objective(one, preference))
        best_dual = max(
            (low.dual, high.dual), key=lambda dual: dual.bound - (dual.change_price - preference.min_saving) * cap
        )
        return self._close_gap(preference, cap, incumbent, best_dual)

    def _objective(self, assignment: Integers, preference: ChangePreference) -> int:
        """Return bill + minimum saving x changes, 1e-6 currency."""
        return self.model.bill(assignment) + preference.min_saving * count_changes(self.model, assignment)

    def _first_changes(self, over_cap: SearchResult, preference: ChangePreference, cap: int) -> Integers:
        """Return the plans after the first changes of a result, in the order of sending: as many as save most."""
        model, after = self.model, over_cap.assignment
        before = assignment_without_changes(model, after)
        effects = ChangeEffects.of(model, before, after, is_changed(model, after))
        in_order = order_changes(model, effects, before, over_cap.dual.price.tolist(), most=cap)
        count = int((in_order.saving - preference.min_saving * np.arange(len(in_order.saving))).argmax())
        rows = effects.row[in_order.order[:count]]
        before[rows] = after[rows]
        return before

    def _fill_cap(self, low: SearchResult, high: SearchResult, cap: int) -> Integers:
        """Return the higher price's assignment, with the best changes of the lower price's one up to the cap."""
        model = self.model
        remaining = cap - self._changes(high)
        rows = np.flatnonzero(is_changed(model, low.assignment) & ~is_changed(model, high.assignment))
        saving = self._costs_at_prices(high.dual, rows, high.assignment[rows])
        saving = saving - self._costs_at_prices(high.dual, rows, low.assignment[rows])
        rows = rows[np.argsort(-saving, kind="stable")[:remaining]]
        filled = high.assignment.copy()
        filled[rows] = low.assignment[rows]
        return filled

    def _search_within_cap(self, assignment: Integers, dual: DualSolution, cap: int) -> Integers:
        """Run the local search from an assignment within the cap; undo the changes of least saving above it."""
        model, improved = self.model, assignment.copy()
        for component in self._components(dual.change_price):
            start = improved[component.rows]
            improved[component.rows] = local_search(component, dual.price[component.pools], 0.0, start)[0]
        rows = np.flatnonzero(is_changed(model, improved))
        if len(rows) > cap:
            current = model.devices.current_rate_plan[rows]
            saving = self._costs_at_prices(dual, rows, current) - self._costs_at_prices(dual, rows, improved[rows])
            undone = rows[np.argsort(saving, kind="stable")[: len(rows) - cap]]
            improved[undone] = model.devices.current_rate_plan[undone]
        return improved

    def _costs_at_prices(self, dual: DualSolution, rows: Integers, plans: Integers) -> Doubles:
        """Return what SIMs cost on plans at the dual prices, without the price per change, shape (m,)."""
        model = self.model
        price = np.append(dual.price, 0.0)[model.pool[model.group[rows], plans]]  # pool -1 reads the appended 0
        return np.asarray(model.own_costs(rows, plans) + price * model.excess(rows, plans))

    def _close_gap(
        self, preference: ChangePreference, cap: int, incumbent: Integers, dual: DualSolution
    ) -> SearchResult:
        """Run branch and bound under the cap where the fleet is small; else keep the dual bound."""
        fleet, dual = [], replace(dual, free_price=dual.price, is_optimal=False, timed_out=False)
        if np.count_nonzero(incumbent != NONE) <= MAX_SIMS:
            for component in self._components(preference.min_saving):
                price = solve_relaxation(component).price
                fleet.append(Incumbent(component, price, incumbent[component.rows]))
        exact = solve_within_cap(fleet, cap, self._deadline - time.perf_counter()) if fleet else None
        if exact is None:
            return SearchResult(incumbent, dual)
        assignment = incumbent.copy()
        for one, chosen in zip(fleet, exact.chosen, strict=True):
            assignment[one.component.rows] = chosen
        return SearchResult(assignment, replace(dual, is_optimal=exact.is_optimal, timed_out=not exact.is_optimal))


def _search_and_dive(component: PoolComponent, relaxation: Relaxation, rounded: Integers) -> Integers:
    """Return the best assignment of the local search; dive first, and search again, where the gap is still large."""
    chosen, bill = local_search(component, relaxation.price, relaxation.bound, rounded)
    target = max(relaxation.bound / len(chosen), DIVE_GAP * relaxation.bound)
    if component.pools and bill - relaxation.bound > target:
        dived, price = dive(component, relaxation, target)
        dived, dived_bill = local_search(component, price, relaxation.bound, dived)
        if dived_bill < bill:
            return dived
    return chosen
