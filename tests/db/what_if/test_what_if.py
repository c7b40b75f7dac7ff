"""What-ifs of a small fleet, each bill worked out by hand or by trying every assignment."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from amop.what_if.compute import WhatIfError, WhatIfRequest, compute_what_if
from amop.what_if.plan_table import PlanLine, PlanTableError, write_plan_table
from tests.worlds.optimization_world import CYCLE_START, NOW, OptimizationWorld, money

FINAL = {"last_usage_date": CYCLE_START.replace(day=1)}
"""Usage that is not projected, so that bills can be read off the megabytes."""
USAGE = (1, 4, 9, 14, 30, 60)


def line(code: str, charge: str, mb: str, **more: Any) -> PlanLine:
    terms = {"overage_rate": Decimal(1), "data_per_overage_charge": Decimal(1), "sms_rate": Decimal(0)}
    values = terms | {"base_rate": Decimal(0), "allows_sim_pooling": False, "pool": None} | more
    return PlanLine(code, Decimal(charge), plan_mb=Decimal(mb), **values)


SMALL, LARGE = line("Small", "1", "10"), line("Large", "5", "100")


class WhatIfWorld(OptimizationWorld):
    """A provider with six SIMs on plan Small, optimized once."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.add_rate_plan("Small", "1", "10")
        self.add_rate_plan("Large", "5", "100")
        self.add_rate_plan("Elsewhere", "0.1", "500")
        self.add_communication_plan("Tracking", ["Small", "Large"])
        for number, mb in enumerate(USAGE):
            self.add_sim(str(number), "Tracking", "Small", mb, **FINAL)
        self.optimize()

    def ask(self, *table: PlanLine, run: str = "run", **request: Any) -> dict[str, Any]:
        """Compute a what-if and return its row."""
        wanted: dict[str, Any] = {
            "integration": "jasper",
            "service_provider_id": 1,
            "dag_id": "what_if_jasper",
            "dag_run_id": run,
            "rate_plans": write_plan_table(table),
            "ladder_size": None,
        }
        what_if_id = compute_what_if(self.dsn, WhatIfRequest(**(wanted | request)), now=NOW)
        return self.execute("SELECT * FROM amop.what_if WHERE id = %s", what_if_id)[0]

    def moves(self) -> dict[tuple[str, str], int]:
        """Return the SIMs of the only what-if by present and new plan."""
        rows = self.execute("SELECT * FROM amop.what_if_move")
        return {(row["from_rate_plan"], row["to_rate_plan"]): row["sims"] for row in rows}


@pytest.fixture
def world(warehouse_dsn: str) -> WhatIfWorld:
    return WhatIfWorld(warehouse_dsn)


def cheapest(plans: tuple[PlanLine, ...]) -> Decimal:
    """Return the least bill of the fleet, each SIM on the cheapest of these plans."""
    zero = Decimal(0)
    bills = (min(plan.rate_charge + max(zero, Decimal(mb) - plan.plan_mb) for plan in plans) for mb in USAGE)
    return sum(bills, zero)


def test_the_present_plans_cost_what_they_cost_today(world: WhatIfWorld) -> None:
    row = world.ask(SMALL, LARGE)
    # Small: 1 + 1 + 1 + 5 + 21 + 51. Cheapest: 1 + 1 + 1 + 5 + 5 + 5.
    assert (row["present_cost"], row["new_present_cost"]) == (money("80"), money("80"))
    assert (row["today_cost"], row["today_bound"]) == (row["new_cost"], row["new_bound"]) == (money("18"), money("18"))
    assert (row["status"], row["device_count"]) == ("complete", 6)


def test_other_prices_and_sizes_change_the_bill_and_the_moves(world: WhatIfWorld) -> None:
    row = world.ask(line("Small", "2", "15"), line("Large", "9", "50"))
    # Present plans: 2 x 4 + (2 + 15) + (2 + 45). Cheapest: 2 x 4 + 9 + (9 + 10).
    assert (row["new_present_cost"], row["new_cost"]) == (money("72"), money("36"))
    assert row["new_bound"] <= row["new_cost"]
    assert (row["today_cost"], row["changes"]) == (money("18"), 2)
    assert world.moves() == {("Small", "Small"): 4, ("Small", "Large"): 2}


def test_sims_on_a_plan_that_the_table_does_not_list_must_move(world: WhatIfWorld) -> None:
    row = world.ask(LARGE)
    assert (row["new_cost"], row["changes"]) == (money("30"), 6)
    assert world.moves() == {("Small", "Large"): 6}


def test_a_new_plan_is_offered_to_every_sim_or_to_those_that_may_have_another_one(world: WhatIfWorld) -> None:
    new = line("New", "2", "35")
    assert world.ask(SMALL, LARGE, new)["new_cost"] == money("12")  # 1 + 1 + 1 + 2 + 2 + 5
    world.add_rate_plan("Lamp", "3", "35")
    world.add_communication_plan("Lamps", ["Lamp"])
    world.add_sim("6", "Lamps", "Lamp", 30, **FINAL)
    world.execute("UPDATE amop.optimization_session SET status = 'complete'")
    world.optimize(opened_by="again")
    lamp = line("Lamp", "3", "35")
    assert world.ask(SMALL, LARGE, lamp, new, run="all")["new_cost"] == money("14")
    like = line("New", "2", "35", offered_like="Small")
    assert world.ask(SMALL, LARGE, lamp, like, run="like")["new_cost"] == money("15")


def test_a_plan_of_the_provider_that_no_sim_may_have_stays_unavailable(world: WhatIfWorld) -> None:
    assert world.ask(SMALL, LARGE, line("Elsewhere", "0.1", "500"))["new_cost"] == money("18")


def test_plans_of_a_pool_share_their_data(world: WhatIfWorld) -> None:
    pooled = {"allows_sim_pooling": True, "pool": "Fleet"}
    row = world.ask(line("Small", "1", "10", **pooled), line("Large", "5", "100", **pooled))
    assert row["new_cost"] == money("10")  # five Small and one Large: 150 MB for 118
    assert row["new_bound"] <= row["new_cost"]


def test_every_choice_of_new_plans_has_its_bill_and_bound(world: WhatIfWorld) -> None:
    candidates = [line("N20", "1.5", "20"), line("N35", "2", "35"), line("N65", "3", "65"), line("N5", "0.5", "5")]
    row = world.ask(SMALL, LARGE, *candidates, ladder_size=2)
    ladders = world.execute("SELECT * FROM amop.what_if_ladder ORDER BY cost, rate_plans")
    expected = {
        tuple(plan.rate_plan_code for plan in chosen): cheapest((SMALL, LARGE, *chosen))
        for chosen in itertools.combinations(candidates, 2)
    }
    assert {tuple(ladder["rate_plans"]): ladder["cost"] for ladder in ladders} == expected
    assert all(ladder["bound"] <= ladder["cost"] for ladder in ladders)
    assert row["new_cost"] == ladders[0]["cost"] == min(expected.values())


def test_of_very_many_choices_each_step_adds_the_plan_that_saves_most(world: WhatIfWorld) -> None:
    candidates = [line(f"N{mb}", str(1 + Decimal(mb) / 40), str(mb)) for mb in range(2, 62, 2)]
    row = world.ask(SMALL, LARGE, *candidates, ladder_size=3)  # 4,060 choices
    ladders = world.execute("SELECT * FROM amop.what_if_ladder ORDER BY cost, rate_plans")
    assert len(ladders) == len(candidates) - 2
    assert row["new_cost"] == ladders[0]["cost"] < money("18")


def test_a_cleared_run_computes_its_what_if_again(world: WhatIfWorld) -> None:
    first = world.ask(SMALL, LARGE)
    second = world.ask(SMALL, LARGE)
    assert {**first, "started_at": 0, "ended_at": 0} == {**second, "started_at": 0, "ended_at": 0}
    assert world.execute("SELECT count(*) AS n FROM amop.what_if")[0]["n"] == 1


@pytest.mark.parametrize(
    ("table", "request_", "error", "words"),
    [
        ((SMALL,), {"integration": "rogers"}, WhatIfError, "has no service provider 1"),
        ((SMALL,), {"service_provider_id": 77}, WhatIfError, "has no service provider 77"),
        ((SMALL,), {"rate_plans": "x"}, PlanTableError, "must name the columns"),
        ((SMALL, LARGE), {"ladder_size": 1}, PlanTableError, "0 new rate plans, fewer than 1"),
        ((SMALL, line("New", "1", "1", offered_like="Gone")), {}, PlanTableError, "offered like 'Gone'"),
        (
            (line("Small", "1", "10", allows_sim_pooling=True, pool="F"),
             line("Large", "5", "100", allows_sim_pooling=True, pool="F", overage_rate=Decimal(2))),
            {}, PlanTableError, "pool 'F'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_says_why_and_what_to_do(
    table: tuple[PlanLine, ...], request_: dict[str, Any], error: type[Exception], words: str, world: WhatIfWorld
) -> None:
    with pytest.raises(error, match=words):
        world.ask(*table, **request_)
    for row in world.execute("SELECT status, error FROM amop.what_if"):
        assert row["status"] == "failed"
        assert words in row["error"]


def test_a_provider_that_was_never_optimized_is_optimized_first(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    request = WhatIfRequest("jasper", 1, "what_if_jasper", "run", write_plan_table([SMALL]), None)
    with pytest.raises(WhatIfError, match="optimize it first"):
        compute_what_if(world.dsn, request, now=NOW)
