"""An optimization from comm groups to proposed changes, on a small warehouse; messages as they stand in the outbox."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from amop.domain.billing_period import days_activated, is_activated_within
from amop.domain.projection import project_usage, usage_micro_mb
from amop.pipeline import carrier_optimization, optimization_inputs, optimization_runs
from amop.pipeline.carrier_optimization import InputsChangedError
from amop.pipeline.optimization_inputs import ValidationError
from amop.pipeline.optimization_runs import InstanceEndedError, OptimizationRequestError
from amop.warehouse.connection import transaction
from amop.warehouse.sessions import SessionAlreadyRunningError, SessionEndedError, open_session
from tests.optimization_world import CYCLE_END, CYCLE_START, NOW, OptimizationWorld, money

ALL_STEPS = [0, 20, 30, 40, 50, 100]
INVALID = "One or more Rate Plans have invalid Data per Overage Charge or Overage Rate"
NOTHING = "No Comm Groups and/or Rate Plans for this Instance"
AT_THE_END = {"last_usage_date": CYCLE_START - timedelta(days=1)}
"""A SIM whose usage is not projected: the figures of a test can be read off its megabytes."""

TABLES = ("instance", "comm_group", "device", "device_result", "session")


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    return OptimizationWorld(warehouse_dsn)


def add_ladder(world: OptimizationWorld) -> None:
    """Sell a small plan (10 MB for 1.00), a large one (100 MB for 5.00) and a pooled one (50 MB for 3.00)."""
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "5", "100")
    world.add_rate_plan("Pooled", "3", "50", allows_sim_pooling=True, data_per_overage_charge="10", overage_rate="4")
    world.add_communication_plan("Tracking", ["Small", "Large", "Pooled"])
    world.add_communication_plan("Mixed", ["Large", "Pooled", "Small"])


def add_fleet(world: OptimizationWorld, sims: int = 60) -> None:
    """Put SIMs of every kind on the ladder."""
    draw = random.Random(7)
    for number in range(sims):
        world.add_sim(
            f"89011700000000{number:05d}",
            draw.choice(["Tracking", "Mixed"]),
            draw.choice(["Small", "Large", "Pooled", "Pooled", "Sold last year", None]),
            draw.choice([0, draw.uniform(0, 20), draw.uniform(20, 150)]),
            ctd_sms_usage=draw.randrange(3),
            date_activated=draw.choice([None, CYCLE_START + timedelta(days=draw.uniform(-9, 31))]),
        )


def dump(world: OptimizationWorld) -> dict[str, list[dict[str, Any]]]:
    """Return everything that an optimization writes."""
    rows = {name: world.execute(f"SELECT * FROM amop.optimization_{name} ORDER BY 1, 2") for name in TABLES}
    rows["change"] = world.execute("SELECT * FROM amop.rate_plan_change ORDER BY id")
    rows["outbox"] = world.execute("SELECT id, dedupe_key, payload FROM amop.amop_outbox ORDER BY id")
    return rows


def result_of(world: OptimizationWorld) -> dict[str, Any]:
    """Return what does not depend on ids and clocks: the figures and every SIM's plan and costs."""
    figures = ("current_cost", "base_cost", "total_cost", "lower_bound", "savings", "gap", "certificate", "warning")
    instance = world.execute("SELECT * FROM amop.optimization_instance")[0]
    return {
        "instance": {name: instance[name] for name in figures},
        "results": world.results(),
        "changes": world.execute("SELECT device_id, from_rate_plan, to_rate_plan, state FROM amop.rate_plan_change"),
        "messages": world.messages(),
    }


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
        money("3"), money("9.545455"), money("4.454545"),
    ]  # fmt: skip


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
    assert instance["unknown_activation_count"] == 1


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
        None, "Sold last year", "Large",
    ]  # fmt: skip


def test_a_retired_present_plan_is_costed_but_nobody_s_candidate(world: OptimizationWorld) -> None:
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
        "period_days": 31, "uses_proration": True, "prorate_allowance": False, "pool_scope": "service_provider",
    }  # fmt: skip
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
        sim = {
            "status": draw.choice(["ACTIVATED", "ACTIVATED", "DEACTIVATED", "RETIRED", None]),
            "ctd_data_usage": draw.choice([1, 8_192, 24_576, 10**12, draw.randrange(1, 10**10)]),
            "date_activated": draw.choice(
                [None, *moments, CYCLE_START + timedelta(seconds=draw.uniform(-100_000, 3_000_000)),
                 CYCLE_END - timedelta(days=draw.randrange(40))]
            ),
            "last_usage_date": draw.choice([None, NOW, *moments]),
        }  # fmt: skip
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
            "device_sync_run", service_provider_id=1, dag_id="device_sync_jasper", dag_run_id=f"run {number}",
            status=status, billing_period_id=world.billing_period_id, is_full=True, usage_as_of=moment,
            usage_merged_at=moment,
        )  # fmt: skip
    assert world.instance(world.open())["usage_as_of"] == read_at


def test_the_session_s_billing_period_counts_and_not_the_present_one(world: OptimizationWorld) -> None:
    add_ladder(world)
    next_period = world.insert(
        "billing_period", service_provider_id=1, bill_year=2026, bill_month=12, cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + timedelta(days=30),
    )  # fmt: skip
    # This SIM's counters are of the next period already; those of the session's are in its daily rows.
    device_id = world.add_sim(
        "8901170000000000001", "Tracking", "Small", 500, billing_period_id=next_period, **AT_THE_END
    )
    for day, usage in ((20, 1_048_576), (21, 2_097_152)):
        world.execute(
            "INSERT INTO amop.device_usage VALUES (%s, %s, %s, %s, 0, 0)",
            device_id, datetime(2026, 10, day, tzinfo=UTC).date(), world.billing_period_id, usage,
        )  # fmt: skip
    instance = world.optimize(now=CYCLE_END + timedelta(days=1), billing_period_id=world.billing_period_id)
    row = world.results()["8901170000000000001"]
    assert (row["usage_mb"], row["projected_usage_mb"], instance["total_cost"]) == (money("3"), money("3"), money("1"))
    payload = world.execute("SELECT payload FROM amop.amop_outbox ORDER BY id DESC LIMIT 1")[0]["payload"]
    assert f'"BillPeriodId": {world.billing_period_id}' in payload["data"]["AdditionalJson"]


def test_a_sim_whose_days_add_up_beyond_any_number_is_left_out_and_the_others_are_optimized(
    world: OptimizationWorld,
) -> None:
    add_ladder(world)
    world.add_sim("8901170000000000001", "Tracking", "Small", 1)
    device_id = world.add_sim("8901170000000000002", "Tracking", "Small", 1)
    for day in range(2):  # a counter that was broken, began anew, and was broken again
        world.insert_usage(device_id, 2**63 - 1, day=NOW - timedelta(days=day))
    instance = world.optimize(now=CYCLE_END + timedelta(days=1), billing_period_id=world.billing_period_id)
    assert instance["run_status"] == "complete_with_success"
    left_out = world.execute("SELECT device_id, reason FROM amop.optimization_device_left_out")
    assert left_out == [{"device_id": device_id, "reason": "usage_too_large"}]
    assert list(world.results()) == ["8901170000000000001"]


def test_iccids_of_any_length_and_alphabet_come_through(world: OptimizationWorld) -> None:
    add_ladder(world)
    iccids = ["1", "89011700000000000012", "8901170000000000001", "é-2"]
    for iccid in iccids:
        world.add_sim(iccid, "Tracking", "Large", 3)
    world.optimize()
    assert sorted(world.results()) == sorted(iccids)


# Comm groups and their checks


def test_sims_that_cannot_be_placed_keep_their_plan_and_are_told_in_a_warning_with_both_numbers(
    warehouse_dsn: str,
) -> None:
    world = OptimizationWorld(warehouse_dsn, rate_plan_limit=3)
    add_ladder(world)
    world.add_rate_plan("Fourth", "4", "70")
    world.add_communication_plan("Too many", ["Small", "Large", "Pooled", "Fourth"])
    world.add_communication_plan("Unmapped", [])
    world.add_communication_plan("Nobody", ["Large"])
    world.add_communication_plan("One plan", ["Small"])
    for number, plan in enumerate(
        ["Tracking", "Mixed", "Too many", "Unmapped", "Unmapped", None, "Never seen", "One plan"]
    ):
        world.add_sim(f"890117000000000000{number}", plan, "Large", 3, **AT_THE_END)
    instance = world.optimize()
    assert world.outcomes() == {
        ("Mixed", "Tracking"): "optimized",
        ("Too many",): "limit_exceeded",
        ("", "Never seen", "Unmapped"): "no_plans",
        ("Nobody",): "no_devices",
        ("One plan",): "base_only",
    }
    assert sorted(iccid[-1] for iccid in world.results()) == ["0", "1", "7"]
    assert (instance["device_count"], instance["expected_device_count"]) == (3, 8)
    assert instance["warning"] == (
        "Only 3 of 8 expected SIMs were placed: 4 are on communication plans without rate plans ((none), Never seen, "
        "Unmapped); 1 are in comm groups with more than 3 rate plans (Too many). They keep their present plans and are "
        "outside of every total"
    )
    assert instance["run_status"] == "complete_with_success"
    # Today 3 x 5; solved 3 x 1. What was not placed has no share in either.
    assert (instance["current_cost"], instance["total_cost"]) == (money("15"), money("3"))
    costs = {
        tuple(group["communication_plans"]): (group["device_count"], group["total_cost"])
        for group in world.execute("SELECT * FROM amop.optimization_comm_group")
    }
    assert costs[("Too many",)] == (1, None)
    assert costs[("One plan",)] == (1, money("1"))
    assert world.messages() == ALL_STEPS


@pytest.mark.parametrize("column", ["overage_rate", "data_per_overage_charge"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_an_invalid_rate_plan_ends_the_instance_with_errors_and_one_exact_message(
    world: OptimizationWorld, column: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_ladder(world)
    world.add_rate_plan("Broken", "1", "1", **{column: value})
    world.add_rate_plan("Also broken", "1", "1", overage_rate="-0.5", data_per_overage_charge="0")
    world.add_communication_plan("Broken", ["Broken", "Small", "Also broken"])
    world.add_sim("8901170000000000001", "Broken", "Small")
    world.add_sim("8901170000000000002", "Tracking", "Small")
    instance_id = world.open()
    group, validate, project, *_ = world.steps(instance_id)
    group()
    prices = {"overage_rate": "1", "data_per_overage_charge": "1", column: value}
    named = (
        "Also broken (data per overage charge 0.000000, overage rate -0.500000), "
        f"Broken (data per overage charge {prices['data_per_overage_charge']}.000000, "
        f"overage rate {prices['overage_rate']}.000000)"
    )
    with pytest.raises(ValidationError, match=f"^{re.escape(f'{INVALID}: {named}')}$"):
        validate()
    assert named in caplog.text
    assert world.outcomes() == {("Broken",): "invalid_plan", ("Mixed", "Tracking"): "optimized"}
    instance = world.instance(instance_id)
    assert (instance["run_status"], instance["ended_at"]) == ("complete_with_errors", NOW)
    # AMOP is told the text alone; which plans it is about is for the operator.
    assert world.messages() == [0, 20, 30, INVALID]
    session = world.execute("SELECT status, error, progress FROM amop.optimization_session")[0]
    assert session == {"status": "failed", "error": f"{INVALID}: {named}", "progress": 30}
    assert instance["error"] == session["error"]
    for again in (validate, project):
        with pytest.raises(InstanceEndedError, match=INVALID):
            again()
    assert world.messages() == [0, 20, 30, INVALID]


def test_an_invalid_plan_that_a_sim_is_on_cannot_be_costed_either(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_rate_plan("Old", "1", "1", is_retired=True, overage_rate="0")
    world.add_sim("8901170000000000001", "Tracking", "Old")
    instance_id = world.open()
    group, validate, *_ = world.steps(instance_id)
    group()
    with pytest.raises(ValidationError, match=INVALID):
        validate()


def test_an_invalid_plan_that_takes_no_part_does_no_harm(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.add_rate_plan("Elsewhere", "1", "1", overage_rate="0")
    world.add_rate_plan("Old", "1", "1", is_retired=True, overage_rate="0")
    world.add_sim("8901170000000000001", "Tracking", "Small")
    assert world.optimize()["run_status"] == "complete_with_success"


def test_plans_of_one_pool_with_different_terms_are_an_error_that_names_them(world: OptimizationWorld) -> None:
    pooled = {"allows_sim_pooling": True, "pool": "Fleet"}
    world.add_rate_plan("Pooled 50", "3", "50", **pooled)
    world.add_rate_plan("Pooled 100", "5", "100", **pooled, overage_rate="2")
    world.add_communication_plan("Tracking", ["Pooled 50", "Pooled 100"])
    world.add_sim("8901170000000000001", "Tracking", "Pooled 50")
    instance_id = world.open()
    group, validate, *_ = world.steps(instance_id)
    group()
    with pytest.raises(ValidationError, match="Pooled 100, Pooled 50.*must share one overage rate and block"):
        validate()
    assert world.messages()[:3] == [0, 20, 30] and "AT&T (1)" in world.messages()[3]


@pytest.mark.parametrize("has_communication_plan", [True, False])
def test_nothing_to_optimize_ends_with_its_exact_message(
    world: OptimizationWorld, has_communication_plan: bool
) -> None:
    world.add_rate_plan("Small", "1", "10")
    if has_communication_plan:
        world.add_communication_plan("Unmapped", [])
        world.add_sim("8901170000000000001", "Unmapped", "Small")
    instance_id = world.open()
    group, validate, *_ = world.steps(instance_id)
    group()
    with pytest.raises(ValidationError, match=f"^{NOTHING}$"):
        validate()
    assert world.instance(instance_id)["run_status"] == "complete_with_errors"
    assert world.messages() == [0, 20, 30, NOTHING]


def test_a_provider_without_sims_completes_with_zeros(world: OptimizationWorld) -> None:
    add_ladder(world)
    instance = world.optimize()
    assert world.outcomes() == {("Mixed", "Tracking"): "no_devices"}
    figures = ("current_cost", "base_cost", "total_cost", "lower_bound", "savings")
    assert [instance[name] for name in figures] == [Decimal(0)] * 5
    assert "No SIM of this provider" in instance["warning"]
    assert world.messages() == ALL_STEPS


# Proposed changes


def test_a_change_is_proposed_for_every_sim_that_moves_and_for_no_other(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    world.optimize()
    expected = {
        (row["device_id"], row["from_rate_plan"], row["to_rate_plan"], "proposed")
        for row in world.results().values()
        if row["from_rate_plan"] != row["to_rate_plan"]
    }
    changes = world.execute("SELECT device_id, from_rate_plan, to_rate_plan, state FROM amop.rate_plan_change")
    assert {tuple(change.values()) for change in changes} == expected
    assert 0 < len(changes) < 60


def test_what_the_operator_allowed_is_kept_with_the_instance(world: OptimizationWorld) -> None:
    add_ladder(world)
    assert world.optimize(apply_changes="never")["apply_changes"] == "never"


# Sessions


def test_progress_is_told_step_by_step_in_the_transaction_of_each_step(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world, 5)
    instance_id = world.open()
    told = [world.messages()]
    for step in world.steps(instance_id):
        step()
        told.append(world.messages())
    assert [messages[-1] for messages in told] == [20, 30, 30, 30, 40, 50, 50, 100]
    assert told[-1] == ALL_STEPS
    last = world.execute("SELECT payload FROM amop.amop_outbox ORDER BY id DESC LIMIT 1")[0]["payload"]["data"]
    assert last["DeviceCount"] == 5


def test_a_run_of_the_sync_s_session_goes_on_at_twenty_percent(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world, 3)
    session_id = _session_of_a_sync(world, "complete")
    instance = world.optimize(optimization_session_id=session_id, billing_period_id=world.billing_period_id)
    assert instance["session_id"] == session_id
    assert world.messages() == ALL_STEPS


def test_a_second_run_of_a_provider_is_refused_and_names_the_first(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.open(opened_by="carrier_optimization_jasper/first")
    with pytest.raises(SessionAlreadyRunningError, match="opened by carrier_optimization_jasper/first"):
        world.open(opened_by="carrier_optimization_jasper/second")


def test_opening_again_finds_the_same_session_and_instance(world: OptimizationWorld) -> None:
    add_ladder(world)
    first = world.open(apply_changes="never")
    assert world.open(now=NOW + timedelta(hours=1)) == first
    instance = world.instance(first)
    assert (instance["usage_as_of"], instance["apply_changes"]) == (NOW, "never")
    assert world.messages() == [0, 20]


def test_a_session_that_has_ended_is_not_taken_up_again(world: OptimizationWorld) -> None:
    add_ladder(world)
    world.optimize()
    with pytest.raises(SessionEndedError):
        world.open()
    assert world.messages() == ALL_STEPS


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda ids: {"service_provider_id": 99}, "99 is not a provider of integration 'jasper'"),
        (lambda ids: {"integration": "rogers"}, "1 is not a provider of integration 'rogers'"),
        (lambda ids: {"billing_period_id": 99}, "99 is not a billing period of provider 1 'AT&T'"),
        (lambda ids: {"service_provider_id": 2, "optimization_session_id": ids["session"]}, "is a session of AT&T"),
        (
            lambda ids: {"optimization_session_id": ids["session"], "billing_period_id": ids["other period"]},
            "is for billing period 1, not for billing_period_id 2",
        ),
    ],
)
def test_ids_that_do_not_belong_together_are_refused_and_the_session_is_left_alone(
    world: OptimizationWorld, request_of: Callable[[dict[str, int]], dict[str, Any]], message: str
) -> None:
    world.insert(
        "service_provider", id=2, tenant_id=1, integration_id=1, name="Other", connection_id="c", time_zone="UTC"
    )
    other = world.insert(
        "billing_period", service_provider_id=1, bill_year=2026, bill_month=12, cycle_start=CYCLE_END,
        cycle_end=CYCLE_END + timedelta(days=30),
    )  # fmt: skip
    session_id = _session_of_a_sync(world, "complete")
    before = dump(world)
    with pytest.raises(OptimizationRequestError, match=message):
        world.open(**request_of({"session": session_id, "other period": other}))
    assert dump(world) == before


def test_a_session_whose_sync_still_runs_is_not_optimized_on_stale_data(world: OptimizationWorld) -> None:
    session_id = _session_of_a_sync(world, "running")
    with pytest.raises(OptimizationRequestError, match="its device sync .* has not ended"):
        world.open(optimization_session_id=session_id)


def test_the_instance_of_a_session_that_failed_elsewhere_ends_with_the_session_s_error(
    world: OptimizationWorld,
) -> None:
    add_ladder(world)
    instance_id = world.open()
    session_id = world.instance(instance_id)["session_id"]
    optimization_runs.end_instance_of_failed_session(world.dsn, session_id, now=NOW)
    assert world.instance(instance_id)["run_status"] == "running"
    world.execute("UPDATE amop.optimization_session SET status = 'failed', error = 'the disk is full'")
    optimization_runs.end_instance_of_failed_session(world.dsn, session_id, now=NOW)
    assert world.instance(instance_id)["error"] == "the disk is full"
    with pytest.raises(InstanceEndedError, match="the disk is full"):
        optimization_inputs.group_communication_plans(world.dsn, instance_id)


# Again, and after a kill


def test_every_step_may_run_again_at_any_later_time_and_changes_nothing(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    steps = world.steps(instance_id)
    for done in range(1, len(steps)):
        steps[done - 1]()
        before = dump(world)
        for step in steps[:done]:
            step()
        assert dump(world) == before
    steps[-1]()
    before = dump(world)
    steps[-1]()
    assert dump(world) == before


class Killed(BaseException):
    """The process is gone in the middle of a step."""


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (optimization_inputs, "advance_session"),
        (optimization_inputs, "_note_devices"),
        (optimization_inputs, "touch_session"),
        (carrier_optimization, "advance_session"),
        (carrier_optimization, "touch_session"),
        (carrier_optimization, "complete_session"),
    ],
)
def test_a_step_killed_before_its_commit_leaves_nothing_and_its_retry_ends_as_if_nothing_had_been(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    original = getattr(module, function)
    killed = 0

    def kill_once(*arguments: Any, **named: Any) -> Any:
        nonlocal killed
        if not killed:
            killed += 1
            raise Killed
        return original(*arguments, **named)

    monkeypatch.setattr(module, function, kill_once)
    for step in world.steps(instance_id):
        before = dump(world)
        try:
            step()
        except Killed:
            assert dump(world) == before
            step()
    assert killed == 1
    interrupted = result_of(world)
    assert interrupted["messages"] == ALL_STEPS
    assert len(interrupted["results"]) == 60


def test_two_processes_that_run_the_same_step_at_the_same_time_write_it_once(world: OptimizationWorld) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    with ThreadPoolExecutor(2) as pool:
        for step in world.steps(instance_id)[:-1]:
            for future in [pool.submit(step), pool.submit(step)]:
                future.result()
    world.steps(instance_id)[-1]()
    instance = world.instance(instance_id)
    assert sum(row["to_cost"] for row in world.results().values()) == instance["total_cost"]
    assert world.messages() == ALL_STEPS


def test_rate_plans_that_change_between_two_steps_are_noticed_before_anything_wrong_is_written(
    world: OptimizationWorld,
) -> None:
    add_ladder(world)
    add_fleet(world)
    instance_id = world.open()
    steps = world.steps(instance_id)
    for step in steps[:4]:
        step()
    world.execute("UPDATE amop.carrier_rate_plan SET rate_charge = rate_charge + 0.000001")
    before = dump(world)
    with pytest.raises(InputsChangedError, match="current cost is .* was found before"):
        steps[4]()
    assert dump(world) == before


def test_results_do_not_depend_on_the_order_in_which_the_sims_were_added(world: OptimizationWorld) -> None:
    add_ladder(world)
    sims = [
        (f"89011700000000000{number:02d}", ["Small", "Large", "Pooled"][number % 3], number * 3.7)
        for number in range(40)
    ]
    for iccid, plan, mb in sims:
        world.add_sim(iccid, "Tracking", plan, mb)
    world.optimize()
    first = {iccid: (row["to_rate_plan"], row["to_cost"]) for iccid, row in world.results().items()}
    world.execute("DELETE FROM amop.rate_plan_change")
    world.execute("DELETE FROM amop.optimization_instance")
    world.execute("DELETE FROM amop.device")
    for iccid, plan, mb in reversed(sims):
        world.add_sim(iccid, "Tracking", plan, mb)
    world.optimize(opened_by="carrier_optimization_jasper/second")
    assert {iccid: (row["to_rate_plan"], row["to_cost"]) for iccid, row in world.results().items()} == first


def _session_of_a_sync(world: OptimizationWorld, status: str) -> int:
    """Open a session as a device sync does and leave the sync in a status."""
    with transaction(world.dsn) as connection:
        session = open_session(
            connection,
            service_provider_id=1,
            billing_period_id=world.billing_period_id,
            opened_by="device_sync_jasper/r",
        )
    world.insert(
        "device_sync_run", service_provider_id=1, dag_id="device_sync_jasper", dag_run_id="r", status=status,
        billing_period_id=world.billing_period_id, is_full=True, optimization_session_id=session["id"],
    )  # fmt: skip
    return int(session["id"])
