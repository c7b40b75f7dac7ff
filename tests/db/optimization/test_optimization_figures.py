"""The figures of an optimization on a small warehouse: bills worked out by hand, which SIMs count, with what usage."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.optimization.forecast import project_usage, usage_micro_mb
from amop.reference.billing_period import days_activated, is_activated_within
from tests.worlds.optimization_fleet import add_fleet, add_ladder
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, NOW, OptimizationWorld, money

AT_THE_END = {"last_usage_date": CYCLE_START - timedelta(days=1)}
"""A SIM whose usage is not projected: the figures of a test can be read off its megabytes."""


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    return OptimizationWorld(warehouse_dsn)


# The figures


def test_bill_of_a_small_fleet_is_the_one_worked_out_by_hand(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_sim("8901170000000000001", "Tracking", "Large", 8, **AT_THE_END)
    world.add_sim("8901170000000000002", "Mixed", "Small", 95, **AT_THE_END)
    world.add_sim("8901170000000000003", "Mixed", "Large", 100, **AT_THE_END)
    instance = world.optimize()
    # Today: 5 + (1 + 85 blocks of 1) + 5. Base: Small, Large, Large = 1 + 5 + 5, which is also the cheapest.
    assert instance["current_cost"] == money("96")
    assert instance["base_cost"] == money("11")
    assert instance["total_cost"] == money("11")
    assert instance["savings"] == money("85")
    assert instance["lower_bound"] <= instance["total_cost"]
    moved = {iccid: (row["from_rate_plan"], row["to_rate_plan"]) for iccid, row in world.results().items()}
    assert moved == {
        "8901170000000000001": ("Large", "Small"),
        "8901170000000000002": ("Small", "Large"),
        "8901170000000000003": ("Large", "Large"),
    }
    costs = {iccid: (row["from_cost"], row["to_cost"]) for iccid, row in world.results().items()}
    assert costs == {
        "8901170000000000001": (money("5"), money("1")),
        "8901170000000000002": (money("86"), money("5")),
        "8901170000000000003": (money("5"), money("5")),
    }


def test_costs_of_the_sims_and_of_the_groups_add_up_exactly_to_the_totals(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_rate_plan(
        "Odd", "2.333333", "7.5", overage_rate="0.333333", data_per_overage_charge="0.1", sms_rate="0.017"
    )
    world.add_communication_plan("Odd only", ["Odd", "Small"])
    add_fleet(world)
    for number in range(15):
        world.add_sim(f"89011700000001{number:05d}", "Odd only", "Odd", number * 1.3, ctd_sms_usage=number)
    instance = world.optimize()
    results = world.results().values()
    assert sum(row["from_cost"] for row in results) == instance["current_cost"]
    assert sum(row["to_cost"] for row in results) == instance["total_cost"]
    groups = world.execute("SELECT * FROM amop.optimization_comm_group")
    assert sum(group["current_cost"] for group in groups) == instance["current_cost"]
    assert sum(group["total_cost"] for group in groups) == instance["total_cost"]
    assert sum(group["device_count"] for group in groups) == len(results) == instance["device_count"] == 75
    assert instance["lower_bound"] <= instance["total_cost"] <= min(instance["current_cost"], instance["base_cost"])
    assert instance["savings"] == instance["current_cost"] - instance["total_cost"]
    assert instance["gap"] == pytest.approx(1 - instance["lower_bound"] / instance["total_cost"], abs=Decimal("1e-12"))


def test_the_overage_of_a_pool_is_billed_once_for_all_its_sims(world: OptimizationWorld) -> None:
    world.add_rate_plan("Pooled", "3", "50", allows_sim_pooling=True, data_per_overage_charge="10", overage_rate="4")
    world.add_communication_plan("Tracking", ["Pooled"])
    for number, mb in enumerate((10, 95, 60)):
        world.add_sim(f"890117000000000000{number}", "Tracking", "Pooled", mb, **AT_THE_END)
    instance = world.optimize()
    # 165 MB used, 150 included: 15 MB over are two blocks of 10, 8.00 shared 45 : 10 by what each used above its 50.
    assert instance["total_cost"] == instance["current_cost"] == money("17")
    assert [world.results()[f"890117000000000000{number}"]["to_cost"] for number in range(3)] == [
        money("3"),
        money("9.545455"),
        money("4.454545"),
    ]


@pytest.mark.parametrize(
    ("pool_scope", "total"),
    [("service_provider", "6"), ("comm_group", "10")],
)
def test_a_pool_spans_the_provider_unless_its_setting_says_otherwise(
    warehouse_dsn: str, pool_scope: str, total: str
) -> None:
    world = OptimizationWorld(warehouse_dsn, pool_scope=pool_scope)
    pooled = {"allows_sim_pooling": True, "data_per_overage_charge": "10", "overage_rate": "4"}
    world.add_rate_plan("Pooled", "3", "50", **pooled)
    world.add_rate_plan("Dear", "99", "50")
    world.add_communication_plan("Light", ["Pooled"])
    world.add_communication_plan("Heavy", ["Pooled", "Dear"])
    world.add_sim("8901170000000000001", "Light", "Pooled", 10, **AT_THE_END)
    world.add_sim("8901170000000000002", "Heavy", "Pooled", 60, **AT_THE_END)
    assert world.optimize()["total_cost"] == money(total)


def test_a_charge_is_prorated_for_sims_activated_within_the_period(world: OptimizationWorld) -> None:
    world.add_rate_plan("Small", "31", "10")
    world.add_communication_plan("Meter", ["Small"])
    world.add_sim("8901170000000000001", "Meter", "Small", date_activated=CYCLE_END - timedelta(days=3, hours=1))
    world.add_sim("8901170000000000002", "Meter", "Small", date_activated=None)
    instance = world.optimize()
    # The clocks went back in this cycle, but it has 31 local days: 4 of them are billed.
    assert world.results()["8901170000000000001"]["to_cost"] == money("4")
    assert world.results()["8901170000000000002"]["to_cost"] == money("31")
    assert (instance["unknown_activation_count"], instance["unknown_activation_cost"]) == (1, money("31"))
    assert instance["warning"] == (
        "SIMs whose activation date is unknown are billed for the whole period: up to USD 31.00 of the present cost is "
        "not due if they were activated within it"
    )


def test_a_provider_without_proration_bills_the_whole_charge(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn, uses_proration=False)
    world.add_rate_plan("Small", "31", "10")
    world.add_communication_plan("Meter", ["Small"])
    world.add_sim("8901170000000000001", "Meter", "Small", date_activated=CYCLE_END - timedelta(days=3))
    assert world.optimize()["total_cost"] == money("31")


def test_unknown_present_plans_are_counted_and_cost_what_their_base_assignment_costs(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_sim("8901170000000000001", "Tracking", None, 4, **AT_THE_END)
    world.add_sim("8901170000000000002", "Tracking", "Sold last year", 95, **AT_THE_END)
    world.add_sim("8901170000000000003", "Tracking", "Large", 4, **AT_THE_END)
    instance = world.optimize()
    assert instance["unknown_plan_count"] == 2
    assert instance["current_cost"] == money("1") + money("5") + money("5")
    results = world.results()
    assert [results[f"890117000000000000{number}"]["from_rate_plan"] for number in (1, 2, 3)] == [
        None,
        "Sold last year",
        "Large",
    ]


def test_a_retired_present_plan_is_costed_but_never_assigned(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_rate_plan("Old", "0.5", "100", is_retired=True)
    world.execute(
        "INSERT INTO amop.communication_plan_rate_plan SELECT communication.id, plan.id"
        " FROM amop.communication_plan AS communication, amop.carrier_rate_plan AS plan"
        " WHERE communication.name = 'Tracking' AND plan.rate_plan_code = 'Old'"
    )
    world.add_sim("8901170000000000001", "Tracking", "Old", 95, **AT_THE_END)
    world.add_sim("8901170000000000002", "Mixed", "Small", 4, **AT_THE_END)
    instance = world.optimize()
    row = world.results()["8901170000000000001"]
    assert (row["to_rate_plan"], row["from_cost"], row["to_cost"]) == ("Large", money("0.5"), money("5"))
    # Tracking and Mixed differ in a retired plan alone: they are one group.
    assert world.outcomes() == {("Mixed", "Tracking"): "optimized"}
    assert "more than the present ones" in instance["warning"]


def test_the_proof_is_stored_with_the_terms_that_it_holds_for(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    instance = world.optimize()
    certificate = instance["certificate"]
    assert Decimal(certificate["bill_micro"]).scaleb(-6) == instance["total_cost"]
    assert Decimal(certificate["lower_bound_micro"]).scaleb(-6) == instance["lower_bound"]
    assert certificate["terms"] == {
        "period_days": 31,
        "uses_proration": True,
        "prorate_allowance": False,
        "pool_scope": "service_provider",
    }
    assert len(certificate["prices"]) == len(certificate["pools"]) == 1


# Which SIMs, with what usage


def test_eligible_are_active_sims_sims_with_usage_and_sims_activated_in_the_period(world: OptimizationWorld) -> None:
    add_ladder(world)
    off: dict[str, Any] = {"communication_plan": "Tracking", "rate_plan": "Small", "status": "DEACTIVATED"}
    world.add_sim("8901170000000000001", "Tracking", "Small")
    world.add_sim("8901170000000000002", mb=1, **off)
    world.add_sim("8901170000000000003", **off, ctd_sms_usage=1)
    world.add_sim("8901170000000000004", **off, ctd_voice_usage=1)
    world.add_sim("8901170000000000005", **off, date_activated=CYCLE_START)
    world.add_sim("8901170000000000006", **off)
    world.add_sim("8901170000000000007", **off, date_activated=CYCLE_END)
    world.add_sim("8901170000000000008", "Tracking", "Small", 5, is_active=False)
    world.add_sim("8901170000000000009", "Tracking", "Small", status="INVENTORY")
    world.optimize()
    assert sorted(iccid[-1] for iccid in world.results()) == ["1", "2", "3", "4", "5"]


def test_projection_and_billed_days_of_the_sql_are_those_of_the_domain(world: OptimizationWorld) -> None:
    add_ladder(world)
    draw = random.Random(11)
    moments = [CYCLE_START, CYCLE_END, CYCLE_END - timedelta(microseconds=1), CYCLE_START - timedelta(microseconds=1)]
    facts = {}
    for number in range(200):
        sim: dict[str, Any] = {
            "status": draw.choice(["ACTIVATED", "ACTIVATED", "DEACTIVATED", "RETIRED", None]),
            "ctd_data_usage": draw.choice([1, 8_192, 24_576, 10**12, draw.randrange(1, 10**10)]),
            "date_activated": draw.choice(
                [
                    None,
                    *moments,
                    CYCLE_START + timedelta(seconds=draw.uniform(-100_000, 3_000_000)),
                    CYCLE_END - timedelta(days=draw.randrange(40)),
                ]
            ),
            "last_usage_date": draw.choice([None, NOW, *moments]),
        }
        facts[f"8901170000000000{number:03d}"] = sim
        world.add_sim(f"8901170000000000{number:03d}", "Tracking", "Small", **sim)
    usage_as_of = CYCLE_START + timedelta(days=7, hours=5, microseconds=123_457)
    instance_id = world.open(now=usage_as_of)
    for step in world.steps(instance_id)[:3]:
        step()
    cycle = {"cycle_start": CYCLE_START, "cycle_end": CYCLE_END}
    rows = {row["iccid"]: row for row in world.execute("SELECT * FROM amop.optimization_device")}
    assert rows.keys() == facts.keys()
    assert world.instance(instance_id)["usage_as_of"] == usage_as_of
    for iccid, sim in facts.items():
        usage = usage_micro_mb(sim["ctd_data_usage"])
        projected = project_usage(
            usage, status=sim["status"], last_usage_date=sim["last_usage_date"], usage_as_of=usage_as_of, **cycle
        )
        row = rows[iccid]
        assert row["usage_mb"] == Decimal(usage).scaleb(-6)
        assert row["projected_usage_mb"] == Decimal(projected).scaleb(-6)
        assert row["days_activated"] == days_activated(sim["date_activated"], time_zone="America/New_York", **cycle)
        assert row["is_prorated"] == is_activated_within(sim["date_activated"], **cycle)


def test_usage_is_as_of_the_sync_that_read_it(world: OptimizationWorld) -> None:
    add_ladder(world)
    read_at = NOW - timedelta(days=2)
    for number, (status, moment) in enumerate(
        (("complete", read_at), ("failed", None), ("complete", read_at - timedelta(days=1)))
    ):
        world.insert(
            "device_sync_run",
            service_provider_id=1,
            dag_id="device_sync_jasper",
            dag_run_id=f"run {number}",
            status=status,
            billing_period_id=world.billing_period_id,
            is_full=True,
            usage_as_of=moment,
            usage_merged_at=moment,
        )
    assert world.instance(world.open())["usage_as_of"] == read_at


def test_the_session_s_billing_period_counts_and_not_the_present_one(world: OptimizationWorld) -> None:
    add_ladder(world)
    next_period = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=12,
        cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + timedelta(days=30),
    )
    # This SIM's counters are of the next period already; those of the session's are in its daily rows.
    device_id = world.add_sim(
        "8901170000000000001", "Tracking", "Small", 500, billing_period_id=next_period, **AT_THE_END
    )
    for day, usage in ((20, 1_048_576), (21, 2_097_152)):
        world.execute(
            "INSERT INTO amop.device_usage VALUES (%s, %s, %s, %s, 0, 0)",
            device_id,
            datetime(2026, 10, day, tzinfo=UTC).date(),
            world.billing_period_id,
            usage,
        )
    instance = world.optimize(now=CYCLE_END + timedelta(days=1), billing_period_id=world.billing_period_id)
    row = world.results()["8901170000000000001"]
    assert (row["usage_mb"], row["projected_usage_mb"], instance["total_cost"]) == (money("3"), money("3"), money("1"))
    payload = world.execute("SELECT payload FROM amop.amop_outbox ORDER BY id DESC LIMIT 1")[0]["payload"]
    assert f'"BillPeriodId": {world.billing_period_id}' in payload["data"]["AdditionalJson"]


def test_a_sim_whose_days_add_up_beyond_any_number_is_excluded_and_the_others_are_optimized(
    world: OptimizationWorld,
) -> None:
    add_ladder(world)
    world.add_sim("8901170000000000001", "Tracking", "Small", 1)
    device_id = world.add_sim("8901170000000000002", "Tracking", "Small", 1)
    for day in range(2):  # a counter that was broken, began anew, and was broken again
        world.insert_usage(device_id, 2**63 - 1, day=NOW - timedelta(days=day))
    instance = world.optimize(now=CYCLE_END + timedelta(days=1), billing_period_id=world.billing_period_id)
    assert instance["run_status"] == "complete_with_success"
    excluded = world.execute("SELECT device_id, reason FROM amop.optimization_device_excluded")
    assert excluded == [{"device_id": device_id, "reason": "usage_too_large"}]
    assert list(world.results()) == ["8901170000000000001"]


def test_iccids_of_any_length_and_alphabet_come_through(world: OptimizationWorld) -> None:
    add_ladder(world)
    iccids = ["1", "89011700000000000012", "8901170000000000001", "é-2"]
    for iccid in iccids:
        world.add_sim(iccid, "Tracking", "Large", 3)
    world.optimize()
    assert sorted(world.results()) == sorted(iccids)
