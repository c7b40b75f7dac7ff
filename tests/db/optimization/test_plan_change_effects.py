"""When a plan change counts: the stored bill of each setting against every assignment, billed independently."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import ceil, floor
from typing import Any

import psycopg
import pytest

from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, MEGABYTE, NOW, OptimizationWorld, money

DAYS, DAYS_LEFT = 31, 16
"""Of the cycle, and from NOW on: 15 days and 12.5 hours."""
EFFECTS = ("whole_cycle", "from_change", "next_cycle")
MICRO = 10**6
GROWTH = Fraction(202, 100)
"""NOW is half of the cycle, and the projection adds 1 %."""

PLANS: dict[str, dict[str, Any]] = {
    # Monthly charges: Mini 2, Small 4, Single 6.5, Large 9.
    "Mini": {"charge": Fraction(2), "mb": 1, "sms": Fraction(1, 10)},
    "Small": {"charge": Fraction(4), "mb": 10, "pool": "p"},
    "Single": {"charge": Fraction(6), "mb": 30, "base": Fraction(1, 2)},
    "Large": {"charge": Fraction(9), "mb": 60, "pool": "p"},
}
SIMS: dict[str, dict[str, Any]] = {
    "1": {"plan": "Large", "mb": 2},
    "2": {"plan": "Small", "mb": 25},
    "3": {"plan": "Mini", "mb": 12},
    "4": {"plan": "Single", "mb": 1, "sms": 9},
    "5": {"plan": "Mini", "mb": 3, "days": 20},
}


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    world = OptimizationWorld(warehouse_dsn, projection_method="elapsed_time")
    for code, plan in PLANS.items():
        world.add_rate_plan(
            code,
            str(plan["charge"]),
            str(plan["mb"]),
            base_rate=float(plan.get("base", 0)),
            sms_rate=float(plan.get("sms", 0)),
            allows_sim_pooling="pool" in plan,
            pool=plan.get("pool"),
        )
    world.add_communication_plan("Tracking", list(PLANS))
    return world


def add_sims(world: OptimizationWorld) -> None:
    for iccid, sim in SIMS.items():
        columns: dict[str, Any] = {"ctd_sms_usage": sim.get("sms", 0)}
        if "days" in sim:
            columns["date_activated"] = CYCLE_END - timedelta(days=sim["days"])
        world.add_sim(iccid, "Tracking", sim["plan"], sim["mb"], **columns)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


class Bill:
    """A bill, part by part, in 1e-6."""

    def __init__(self) -> None:
        self.total = 0
        self.above: dict[str, int] = {}

    def add(self, code: str, days: int, micro_mb: int, sms: int, *, is_whole: bool) -> None:
        """Add some days on a plan; the allowance of a SIM without a change is not prorated."""
        plan = PLANS[code]
        included = plan["mb"] * MICRO if is_whole else floor(Fraction(plan["mb"] * MICRO * days, DAYS))
        self.total += half_up(plan["charge"] * MICRO * days / DAYS) + int(plan.get("base", 0) * MICRO)
        self.total += int(sms * plan.get("sms", 0) * MICRO)
        if "pool" in plan:
            self.above[plan["pool"]] = self.above.get(plan["pool"], 0) + micro_mb - included
        else:
            self.total += ceil(Fraction(max(0, micro_mb - included), MICRO)) * MICRO

    @property
    def money(self) -> Decimal:
        overage = sum(ceil(Fraction(max(0, above), MICRO)) * MICRO for above in self.above.values())
        return Decimal(self.total + overage).scaleb(-6)


def is_downgrade(present: str, target: str) -> bool:
    monthly = {code: plan["charge"] + plan.get("base", 0) for code, plan in PLANS.items()}
    return bool(monthly[target] < monthly[present])


def bill_of(plans: tuple[str, ...], upgrade: str, downgrade: str) -> Decimal | None:
    """Return the bill of the SIMs on these plans, None if a change does not count in this period."""
    bill = Bill()
    for sim, target in zip(SIMS.values(), plans, strict=True):
        present, days = sim["plan"], sim.get("days", DAYS)
        now, sent = sim["mb"] * MICRO, sim.get("sms", 0)
        end = half_up(now * GROWTH)
        last = half_up(sent * GROWTH) if "from_change" in {upgrade, downgrade} else sent
        effect = downgrade if is_downgrade(present, target) else upgrade
        if target == present or effect == "whole_cycle":
            bill.add(target, days, end, last, is_whole=True)
        elif effect == "from_change":
            bill.add(present, days - DAYS_LEFT, now, sent, is_whole=False)
            bill.add(target, DAYS_LEFT, end - now, last - sent, is_whole=False)
        else:
            return None
    return bill.money


ALLOWED = [(up, down) for up, down in product(EFFECTS, EFFECTS) if up == down or "next_cycle" in (up, down)]


@pytest.mark.parametrize(("upgrade", "downgrade"), ALLOWED)
def test_the_stored_bill_is_the_least_of_all_assignments(
    world: OptimizationWorld, upgrade: str, downgrade: str
) -> None:
    add_sims(world)
    world.execute("UPDATE amop.service_provider SET upgrade_effect = %s, downgrade_effect = %s", upgrade, downgrade)
    instance = world.optimize()
    bills = {plans: bill_of(plans, upgrade, downgrade) for plans in product(PLANS, repeat=len(SIMS))}
    possible = {plans: bill for plans, bill in bills.items() if bill is not None}
    present = tuple(sim["plan"] for sim in SIMS.values())
    assert instance["current_cost"] == possible[present]
    assert instance["total_cost"] == min(possible.values()) == instance["lower_bound"]
    assert instance["base_cost"] >= instance["total_cost"]
    results = world.results()
    chosen = tuple(results[iccid]["to_rate_plan"] for iccid in SIMS)
    assert possible[chosen] == instance["total_cost"] == sum(row["to_cost"] for row in results.values())
    assert sum(row["from_cost"] for row in results.values()) == instance["current_cost"]
    for name, column in (("current", "current_cost"), ("solved", "total_cost")):
        items = world.execute(
            "SELECT sum(total_cost) AS cost FROM amop.optimization_rate_plan_result WHERE assignment = %s", name
        )
        assert items[0]["cost"] == instance[column]
    assert (instance["savings"] > 0) == ((upgrade, downgrade) != ("next_cycle", "next_cycle"))
    moved = {iccid for iccid, sim in SIMS.items() if results[iccid]["to_rate_plan"] != sim["plan"]}
    proposed = world.execute("SELECT device.iccid FROM amop.rate_plan_change JOIN amop.device ON device.id = device_id")
    assert {row["iccid"] for row in proposed} == moved


def test_a_change_that_counts_from_the_next_period_is_no_saving_now(world: OptimizationWorld) -> None:
    add_sims(world)
    world.execute("UPDATE amop.service_provider SET upgrade_effect = 'next_cycle', downgrade_effect = 'next_cycle'")
    world.execute("UPDATE amop.carrier_rate_plan SET is_retired = true WHERE rate_plan_code = 'Large'")
    instance = world.optimize()
    assert (instance["savings"], instance["total_cost"]) == (money("0"), instance["current_cost"])
    reasons = {row["reason"] for row in world.results().values()}
    assert reasons == {"kept: a change of its plan would count from the next billing period only"}
    assert instance["device_count"] == len(SIMS)


def test_in_a_closed_period_no_change_counts_from_its_day(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET upgrade_effect = 'from_change', downgrade_effect = 'from_change'")
    device_id = world.add_sim("1", "Tracking", "Large", 2)
    world.insert_usage(device_id, 2 * MEGABYTE)
    instance = world.optimize(now=CYCLE_END + timedelta(days=1), billing_period_id=world.billing_period_id)
    assert (instance["current_cost"], instance["total_cost"], instance["savings"]) == (money("9"), money("9"), 0)


# Plans that a SIM had left


def change_was_made(world: OptimizationWorld, device_id: int, plans: tuple[str, str], at: datetime) -> None:
    """Add an applied change of an earlier instance."""
    session_id = world.insert(
        "optimization_session",
        service_provider_id=1,
        billing_period_id=world.billing_period_id,
        opened_by=f"test/{device_id} {at}",
        status="complete",
        progress=100,
    )
    instance_id = world.insert("optimization_instance", session_id=session_id, run_status="complete_with_success")
    columns = {"device_id": device_id, "from_rate_plan": plans[0], "to_rate_plan": plans[1]}
    world.insert("rate_plan_change", instance_id=instance_id, state="applied", applied_at=at, **columns)


def list_showed(world: OptimizationWorld, device_id: int, *plans: tuple[datetime, str]) -> None:
    """Add the history of a SIM in the carrier's list."""
    with psycopg.connect(world.dsn) as connection:
        for moment, plan in plans:
            connection.execute(
                "INSERT INTO amop.device_history (device_id, valid_from, as_of, status, rate_plan)"
                " VALUES (%s, %s, %s, 'ACTIVATED', %s)",
                (device_id, moment.date(), moment, plan),
            )


@pytest.mark.parametrize("by", ["this system", "another party"])
def test_a_plan_that_a_sim_left_within_the_period_is_billed_for_its_days(world: OptimizationWorld, by: str) -> None:
    world.execute("UPDATE amop.service_provider SET upgrade_effect = 'from_change', downgrade_effect = 'from_change'")
    device_id = world.add_sim("1", "Tracking", "Single", 12, last_usage_date=CYCLE_START - timedelta(days=1))
    at = CYCLE_START + timedelta(days=6)  # 26 of 31 days are left, an hour more for the clocks
    if by == "this system":
        change_was_made(world, device_id, ("Mini", "Single"), at)
        list_showed(world, device_id, (at - timedelta(days=9), "Mini"), (at + timedelta(days=1), "Single"))
    else:
        list_showed(world, device_id, (at - timedelta(days=9), "Mini"), (at, "Single"))
    world.insert_usage(device_id, 5 * MEGABYTE, day=at - timedelta(days=1))
    world.insert_usage(device_id, 7 * MEGABYTE, day=at)
    instance = world.optimize()
    bill = Bill()
    bill.add("Mini", 5, 5 * MICRO, 0, is_whole=False)
    bill.add("Single", 26, 7 * MICRO, 0, is_whole=False)
    assert instance["current_cost"] == bill.money
    moved = Bill()  # the SIM has used all of its data: the rest of the period costs least on Mini
    moved.add("Mini", 5, 5 * MICRO, 0, is_whole=False)
    moved.add("Single", 26 - DAYS_LEFT, 7 * MICRO, 0, is_whole=False)
    moved.add("Mini", DAYS_LEFT, 0, 0, is_whole=False)
    assert instance["total_cost"] == moved.money < bill.money
    items = world.execute(
        "SELECT rate_plan_code, device_count, total_cost FROM amop.optimization_rate_plan_result"
        " WHERE assignment = 'current' ORDER BY 1"
    )
    assert [(item["rate_plan_code"], item["device_count"]) for item in items] == [("Mini", 1), ("Single", 1)]
    left = world.execute("SELECT days, usage_mb FROM amop.optimization_left_plan")
    assert [(row["days"], row["usage_mb"]) for row in left] == [(5, money("5"))]


def test_where_a_change_counts_for_the_whole_period_only_the_present_plan_is_billed(world: OptimizationWorld) -> None:
    device_id = world.add_sim("1", "Tracking", "Single", 12, last_usage_date=CYCLE_START - timedelta(days=1))
    change_was_made(world, device_id, ("Mini", "Single"), CYCLE_START + timedelta(days=6))
    assert world.optimize()["current_cost"] == money("6.5")


# Limits on the changes of a SIM


@pytest.fixture
def moved(world: OptimizationWorld) -> OptimizationWorld:
    """Four SIMs that would save by a change: not changed, changed 3 and 10 days ago, and in the period before."""
    moments = (None, NOW - timedelta(days=3), NOW - timedelta(days=10), CYCLE_START - timedelta(days=1))
    for number, at in enumerate(moments):
        device_id = world.add_sim(str(number), "Tracking", "Large", 2)
        if at is not None:
            change_was_made(world, device_id, ("Single", "Large"), at)
    return world


@pytest.mark.parametrize(
    ("settings", "kept", "reason"),
    [
        ("maximum_changes_per_sim = 1", {"1", "2"}, "kept: its plan has changed in this billing period as often"),
        ("maximum_changes_per_sim = 0", {"0", "1", "2", "3"}, "kept: its plan has changed in this billing period"),
        ("maximum_changes_per_sim = 2", set(), ""),
        ("minimum_days_on_plan = 4", {"1"}, "kept: its plan changed too recently to change again"),
        ("minimum_days_on_plan = 60", {"1", "2", "3"}, "kept: its plan changed too recently to change again"),
        ("maximum_changes_per_sim = 1, minimum_days_on_plan = 60", {"1", "2", "3"}, "kept: its plan "),
    ],
)
def test_a_sim_at_its_limit_keeps_its_plan_and_the_others_change(
    moved: OptimizationWorld, settings: str, kept: set[str], reason: str
) -> None:
    moved.execute(f"UPDATE amop.service_provider SET {settings}")
    instance = moved.optimize()
    results = moved.results()
    assert {iccid for iccid, row in results.items() if row["to_rate_plan"] == "Large"} == kept
    assert all(results[iccid]["reason"].startswith(reason) for iccid in kept)
    assert (instance["device_count"], instance["warning"]) == (4, None)


def test_a_change_that_another_party_made_counts_for_the_limits(world: OptimizationWorld) -> None:
    world.execute("UPDATE amop.service_provider SET maximum_changes_per_sim = 1")
    device_id = world.add_sim("1", "Tracking", "Large", 2)
    world.add_sim("2", "Tracking", "Large", 2)
    list_showed(world, device_id, (NOW - timedelta(days=20), "Single"), (NOW - timedelta(days=2), "Large"))
    world.optimize()
    assert {iccid: row["to_rate_plan"] == "Large" for iccid, row in world.results().items()} == {"1": True, "2": False}
