"""The search: prices, rounding, mending and proof of each part of the fleet; and the price of a change under a cap."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from amop.optimization.bill import CostModel
from amop.optimization.certificate import Certificate, ChangeProof, highest_prices, lower_bound, price_scale
from amop.optimization.changes import Preference, changes_of, is_changed
from amop.optimization.classes import Doubles, Part, parts_of
from amop.optimization.exact import solve_exactly
from amop.optimization.local_search import improve
from amop.optimization.model import NONE, Integers
from amop.optimization.prices import Prices, best_prices
from amop.optimization.rounding import round_mixture, settle

MOST_CHANGE_PRICES = 30
"""Prices of a change that are tried to keep a cap."""
FIRST_CHANGE_PRICE = 100_000
"""First of them where no saving is asked for, 1e-6 currency."""
SETTLED = 4e-6
"""Share of the bill, or one SIM's share of it where that is more, at which large SIMs need not be settled."""
DOUBLES = 1e-9
"""Share by which a bound that a solver found in doubles is lowered before it is claimed."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, over all parts."""

    assignment: Integers
    """Shape (N,); -1 without an eligible plan."""
    price: Doubles
    """Of the data of each pool, 1e-6 currency for each 1e-6 MB, at the price of a change below."""
    free_price: Doubles
    """The same where a change costs nothing."""
    change_price: int
    """1e-6 currency for each change at which these prices were found."""
    bound: float
    """No assignment has a lower bill + change price x changes, 1e-6 currency; better than what the prices prove where
    small parts were searched to the end."""
    is_optimal: bool
    """True when the assignment has the least bill + saving x changes, within the cap."""
    was_cut_off: bool
    """True when the time ended the search for a proof."""


class Search:
    """One search of a fleet.

    Args:
        model: the fleet, in canonical order.
        seconds: how long the search for proofs of small parts may take altogether.
    """

    def __init__(self, model: CostModel, seconds: float) -> None:
        self.model = model
        self._deadline = time.perf_counter() + seconds

    def cheapest(self, preference: Preference) -> Found:
        """Return the assignment of least bill + saving x changes that was found, within the cap on changes."""
        found = self._search(preference.saving)
        if preference.most is not None and changes_of(self.model, found.assignment) > preference.most:
            found = self._within_cap(preference, found)
        if preference.is_none:
            return found
        return _with_free_price(found, self._free_price() if found.change_price else found.price)

    def _parts(self, change_price: int) -> Iterator[Part]:
        return parts_of(self.model, change_price)

    def _free_price(self) -> Doubles:
        price = np.zeros(self.model.pool_count)
        for part in self._parts(0):
            price[part.pools] = best_prices(part).price
        return price

    def _search(self, change_price: int, *, is_draft: bool = False) -> Found:
        """Search every part; a draft is rounded only, neither mended nor proved."""
        assignment = np.full(len(self.model.devices), NONE, dtype=np.int64)
        price = np.zeros(self.model.pool_count)
        bound, is_optimal, was_cut_off = 0.0, True, False
        for part in self._parts(change_price):
            top = best_prices(part)
            chosen, exact = round_mixture(part, top), None
            if not is_draft:
                chosen = _mended(part, top, chosen)
                exact = solve_exactly(part, top.price, chosen, self._deadline - time.perf_counter())
            assignment[part.rows] = chosen if exact is None else exact.chosen
            price[part.pools] = top.price
            bound += top.bound if exact is None else max(top.bound, exact.bound)
            is_optimal &= exact is not None and exact.is_optimal
            was_cut_off |= exact is not None and not exact.is_optimal
        return Found(assignment, price, price, change_price, bound, is_optimal, was_cut_off)

    def _within_cap(self, preference: Preference, too_many: Found) -> Found:
        """Raise the price of a change until few enough are worth it, then fill the cap with the best of the others."""
        most = preference.most or 0
        low, high = too_many, None
        price = max(2 * preference.saving, FIRST_CHANGE_PRICE)
        for _ in range(MOST_CHANGE_PRICES):
            draft = self._search(price, is_draft=True)
            if changes_of(self.model, draft.assignment) > most:
                low = draft
                price = 4 * price if high is None else (price + high.change_price) // 2
            else:
                high = draft
                if price - low.change_price <= 1 or changes_of(self.model, high.assignment) == most:
                    break
                price = (price + low.change_price) // 2
        if high is None:  # no price is high enough: every SIM that may stay does
            high = Found(
                np.where(self.model.may_stay(), self.model.devices.current_rate_plan, low.assignment),
                low.price, low.price, low.change_price, low.bound, False, False,
            )  # fmt: skip
        filled = self._fill(low, high, most)
        best = self._mend(filled, high, most)
        proof = max((low, high), key=lambda found: found.bound - (found.change_price - preference.saving) * most)
        return self._prove(preference, best, proof)

    def _fill(self, low: Found, high: Found, most: int) -> Integers:
        """Return the assignment of the higher price, with the best changes of the lower one, up to the cap."""
        model = self.model
        left = most - changes_of(model, high.assignment)
        more = is_changed(model, low.assignment) & ~is_changed(model, high.assignment)
        rows = np.flatnonzero(more)
        saved = self._cost_at(high, rows, high.assignment[rows]) - self._cost_at(high, rows, low.assignment[rows])
        rows = rows[np.argsort(-saved, kind="stable")[:left]]
        filled = high.assignment.copy()
        filled[rows] = low.assignment[rows]
        return filled

    def _mend(self, assignment: Integers, at: Found, most: int) -> Integers:
        """Return an assignment that costs at most as much, with the cap kept: the least useful changes are undone."""
        model, mended = self.model, assignment.copy()
        for part in self._parts(at.change_price):
            mended[part.rows] = improve(part, at.price[part.pools], 0.0, mended[part.rows])[0]
        rows = np.flatnonzero(is_changed(model, mended))
        if len(rows) > most:
            present = model.devices.current_rate_plan[rows]
            useful = self._cost_at(at, rows, present) - self._cost_at(at, rows, mended[rows])
            undone = rows[np.argsort(useful, kind="stable")[: len(rows) - most]]
            mended[undone] = model.devices.current_rate_plan[undone]
        return min((mended, assignment), key=model.bill)

    def _cost_at(self, at: Found, rows: Integers, plans: Integers) -> Doubles:
        """Return what SIMs cost on plans at the prices of pools' data, the price of a change aside."""
        model = self.model
        unit = np.append(at.price, 0.0)[model.pool[model.group[rows], plans]]  # pool -1 is the last: free
        return np.asarray(model.own_costs(rows, plans) + unit * model.excess(rows, plans))

    def _prove(self, preference: Preference, assignment: Integers, proof: Found) -> Found:
        """Search a small fleet of one part to the end, under its cap; else the prices are the proof."""
        parts = self._parts(preference.saving)
        part = next(parts, None)
        exact = None
        if part is not None and next(parts, None) is None:
            price = best_prices(part).price
            seconds = self._deadline - time.perf_counter()
            exact = solve_exactly(part, price, assignment[part.rows], seconds, preference.most)
        if exact is None or part is None:
            return Found(assignment, proof.price, proof.price, proof.change_price, proof.bound, False, False)
        assignment = assignment.copy()
        assignment[part.rows] = exact.chosen
        is_optimal = exact.is_optimal
        return Found(
            assignment, proof.price, proof.price, proof.change_price, proof.bound, is_optimal, not is_optimal
        )  # fmt: skip


def _mended(part: Part, top: Prices, rounded: Integers) -> Integers:
    """Return the rounded assignment mended; large SIMs are settled first where too much is left."""
    chosen, bill = improve(part, top.price, top.bound, rounded)
    enough = max(top.bound / len(chosen), SETTLED * top.bound)
    if part.pools and bill - top.bound > enough:
        settled, price = settle(part, top, enough)
        settled, settled_bill = improve(part, price, top.bound, settled)
        if settled_bill < bill:
            return settled
    return chosen


def _with_free_price(found: Found, free_price: Doubles) -> Found:
    return Found(
        found.assignment, found.price, free_price, found.change_price, found.bound, found.is_optimal, found.was_cut_off
    )


def certify(model: CostModel, preference: Preference, found: Found, assignment: Integers, bill: int) -> Certificate:
    """Return the proof of an assignment: prices as integers, what they prove exactly, what a search proved besides."""
    scale, price = _as_integers(model, found.free_price, 0)
    price_bound = least = lower_bound(model, price, scale)
    changes = None
    if preference.is_none:
        least = _claim(found, bill, price_bound)
    else:
        count = changes_of(model, assignment)
        objective = bill + preference.saving * count
        change_scale, change_prices = _as_integers(model, found.price, found.change_price)
        proved = lower_bound(model, change_prices, change_scale, found.change_price)
        proved -= (found.change_price - preference.saving) * (preference.most or 0)
        changes = ChangeProof(
            saving=preference.saving, most=preference.most, count=count, change_price=found.change_price,
            scale=change_scale, price=change_prices, objective=objective, price_bound=proved,
            bound=_claim(found, objective, proved) if found.change_price == preference.saving or found.is_optimal
            else proved,
        )  # fmt: skip
    return Certificate(tuple(model.pool_name), scale, price, bill, price_bound, least, changes)


def _claim(found: Found, value: int, proved: int) -> int:
    """Return the bound that is claimed: the value itself where it is optimal, else the better of the two bounds."""
    if found.is_optimal:
        return value
    return max(proved, min(value, int(found.bound * (1.0 - DOUBLES)))) if found.was_cut_off else proved


def _as_integers(model: CostModel, price: Doubles, change_price: int) -> tuple[int, tuple[int, ...]]:
    scale = price_scale(model, change_price)
    highest = highest_prices(model, scale)
    return scale, tuple(min(round(float(p) * scale), high) for p, high in zip(price, highest, strict=True))
