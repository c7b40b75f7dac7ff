"""Laws of the order in which plan changes are sent: the bill on the way, and the curve of the saving.

The law: no first changes of the order have a bill above the ceiling (the bill before any change, or after all where
that is higher), unless at the last of them each remaining change would have led above it. That is checked against every
change at every step; in small fleets no order at all does better than the ceiling where this one does not keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amop.solver import CostModel
from amop.solver.change_effects import ChangeEffects
from amop.solver.change_order import ChangeOrder, curve_points, order_changes
from tests.worlds.optimizer_cases import Case, case, plain_bill, random_case

quick = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Ordered:
    """The changes of an optimization in their order."""

    fleet: Case
    before: np.ndarray
    after: np.ndarray
    sims: np.ndarray
    """SIM of each change, in the order of sending."""
    saving: np.ndarray

    def bills(self) -> list[int]:
        """Return the bill after the first 0, 1, 2 … changes, each computed by the formula from the start."""
        plans = self.before.copy()
        bills = [plain_bill(self.fleet, plans)]
        for sim in self.sims:
            plans[sim] = self.after[sim]
            bills.append(plain_bill(self.fleet, plans))
        return bills


def ordered(fleet: Case, after: np.ndarray | None = None, before: np.ndarray | None = None) -> Ordered:
    """Return the changes from the present to the optimized plans in their order."""
    result = fleet.optimize(time_limit=0)
    model: CostModel = result.model
    before = result.current_assignment if before is None else before
    after = result.assignment if after is None else after
    effects = ChangeEffects.of(model, before, after, (after >= 0) & (after != fleet.devices.current_rate_plan))
    price = [one / result.certificate.price_scale for one in result.certificate.price]
    found: ChangeOrder = order_changes(model, effects, before, price)
    assert sorted(found.order.tolist()) == list(range(len(effects)))
    return Ordered(fleet, before, after, effects.row[found.order], found.saving)


def pooled_fleet(seed: int, sims: int = 9) -> Case:
    """Return a fleet of one pool of four plans, in which most SIMs are on the wrong one."""
    rng = np.random.default_rng(seed)
    overage, block = float(rng.choice([0.5, 2, 10])), int(rng.choice([5, 20, 100]))
    plans = [
        {"rate_charge": charge, "plan_mb": mb, "pool": "x", "overage_rate": overage, "data_per_overage_charge": block}
        for charge, mb in ((2, 5), (5, 30), (9, 100), (15, 250))
    ]
    usage = (rng.lognormal(1.5, 1.2, sims) * 10).round(1).tolist()
    return case(usage, plans, current_rate_plan=rng.integers(0, 4, sims))


fleets = st.builds(random_case, seeds, st.integers(1, 40), st.integers(2, 6)) | st.builds(
    pooled_fleet, seeds, st.integers(2, 30)
)


@quick
@given(fleets)
def test_the_bill_after_any_first_changes_is_that_of_the_formula(fleet: Case) -> None:
    found = ordered(fleet)
    bills = found.bills()
    assert found.saving.tolist() == [bills[0] - bill for bill in bills]
    assert bills[-1] == plain_bill(fleet, found.after)


@quick
@given(fleets)
def test_a_bill_above_the_ceiling_is_taken_only_where_every_remaining_change_leads_above_it(fleet: Case) -> None:
    found = ordered(fleet)
    bills = found.bills()
    ceiling = max(bills[0], bills[-1])
    plans = found.before.copy()
    for number, sim in enumerate(found.sims):
        if bills[number + 1] > ceiling:
            for other in found.sims[number:]:
                trial = plans.copy()
                trial[other] = found.after[other]
                assert plain_bill(fleet, trial) > ceiling
        plans[sim] = found.after[sim]


def lowest_peak(found: Ordered) -> int:
    """Return the least possible highest bill on the way, over all orders of the changes, by dynamic programming."""
    count = len(found.sims)
    peak = [0] * (1 << count)
    for chosen in range(1 << count):
        plans = found.before.copy()
        made = [number for number in range(count) if chosen >> number & 1]
        plans[found.sims[made]] = found.after[found.sims[made]]
        bill = plain_bill(found.fleet, plans)
        peak[chosen] = max(bill, min((peak[chosen & ~(1 << number)] for number in made), default=bill))
    return peak[-1]


@pytest.mark.parametrize("first", [0, 20, 40])
def test_where_some_order_of_a_small_fleet_stays_below_the_ceiling_this_one_does(first: int) -> None:
    avoidable = kept = 0
    for seed in range(first, first + 20):
        found = ordered(pooled_fleet(seed, 7))
        bills = found.bills()
        ceiling = max(bills[0], bills[-1])
        if lowest_peak(found) <= ceiling:
            avoidable += 1
            kept += max(bills) <= ceiling
    assert avoidable == kept >= 15


def test_the_allowance_comes_before_the_sims_that_need_it() -> None:
    """Thirty SIMs leave 9.00 for a pool of 5 MB each; ten of the pool pay 6.00 more for the data that these use."""
    plans: list[dict[str, Any]] = [
        {"rate_charge": 9, "plan_mb": 100},
        {"rate_charge": 1, "plan_mb": 5, "pool": "x", "overage_rate": 25, "data_per_overage_charge": 10},
        {"rate_charge": 7, "plan_mb": 100, "pool": "x", "overage_rate": 25, "data_per_overage_charge": 10},
    ]
    fleet = case([30] * 30 + [0] * 10, plans, current_rate_plan=[0] * 30 + [1] * 10)
    after = np.array([1] * 30 + [2] * 10)
    found = ordered(fleet, after, np.array([0] * 30 + [1] * 10))
    bills = found.bills()
    assert (bills[0], bills[-1]) == (280_000_000, 100_000_000)
    assert max(bills) == bills[0]
    by_sim = Ordered(fleet, found.before, after, np.arange(40), found.saving).bills()
    assert max(by_sim) == by_sim[30] == 1_790_000_000  # the thirty first, as by their own saving of 8.00 each
    assert max(np.diff(bills)) == 6_000_000  # no change of the order makes the pool run over


@quick
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=200), st.integers(1, 50))
def test_no_line_of_the_curve_is_above_the_saving(steps: list[int], intervals: int) -> None:
    saving = np.concatenate(([0], np.cumsum(steps)))
    places = [0, *curve_points(saving, intervals).tolist()]
    assert places[-1] == len(steps)
    assert places == sorted(set(places))
    drawn = np.interp(np.arange(len(saving)), places, saving[places])
    assert (drawn <= saving + 1e-9).all()


def test_a_curve_that_rises_by_less_and_less_has_one_point_for_each_interval() -> None:
    saving = np.concatenate(([0], np.cumsum(np.arange(1000, 0, -1))))
    assert curve_points(saving, 40).tolist() == list(range(25, 1001, 25))


def test_without_changes_there_is_no_order_and_no_curve() -> None:
    found = ordered(case([1], [{"rate_charge": 1, "plan_mb": 5}], current_rate_plan=[0]))
    assert (found.sims.tolist(), found.saving.tolist()) == ([], [0])
    assert curve_points(found.saving, 40).tolist() == []
