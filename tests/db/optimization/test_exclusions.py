"""The SIM count check: every SIM of the carrier's list is placed, or excluded with the reason."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from amop.optimization import inputs as optimization_inputs
from amop.optimization.exclusions import EXCLUSION_REASONS
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, NOW, OptimizationWorld


def exclusions(world: OptimizationWorld) -> dict[str, str]:
    """Return the reason by the last character of the ICCID."""
    rows = world.execute(
        "SELECT device.iccid, exclusion.reason FROM amop.optimization_device_excluded AS exclusion"
        " JOIN amop.device AS device ON device.id = exclusion.device_id"
    )
    return {row["iccid"][-1]: row["reason"] for row in rows}


def placed(world: OptimizationWorld) -> dict[str, int]:
    """Return the device id of each placed SIM by its ICCID."""
    rows = world.execute("SELECT iccid, device_id FROM amop.optimization_device WHERE kept_reason IS NULL")
    return {row["iccid"]: row["device_id"] for row in rows}


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    world = OptimizationWorld(warehouse_dsn, rate_plan_limit=2)
    for code, columns in (("Small", {}), ("Large", {}), ("Huge", {}), ("Old", {"is_retired": True})):
        world.add_rate_plan(code, "1", "10", **columns)
    world.add_communication_plan("Tracking", ["Small", "Large"])
    world.add_communication_plan("Three plans", ["Small", "Large", "Huge"])
    world.add_communication_plan("Unmapped", [])
    world.add_communication_plan("Retired", ["Old"])
    world.add_rate_plan("Priced", "1", "10", sms_rate="0.01")
    world.add_communication_plan("Only priced", ["Priced"])
    return world


OFF: dict[str, Any] = {"status": "DEACTIVATED"}


CASES: list[tuple[str | None, dict[str, Any], str | None]] = [
    ("Tracking", {}, None),
    ("Tracking", {"status": "DEACTIVATED", "ctd_sms_usage": 1}, None),
    (None, {}, "no_communication_plan"),
    ("", {}, "no_communication_plan"),
    ("Unmapped", {}, "communication_plan_not_mapped"),
    ("Never seen", {}, "communication_plan_not_mapped"),
    ("Retired", {}, "only_retired_rate_plans"),
    ("Three plans", {}, "limit_exceeded"),
    ("Tracking", OFF, "inactive"),
    ("Unmapped", OFF, "inactive"),
    ("Tracking", {"status": "INVENTORY", "date_activated": CYCLE_END}, "inactive"),
    ("Tracking", {"status": None}, "inactive"),
    ("Tracking", {"is_active": False}, "vanished"),
    ("Unmapped", {"is_active": False}, "vanished"),
]
"""Communication plan, other facts, and the reason; None = placed."""


def test_a_sim_that_is_not_placed_is_listed_with_its_reason(world: OptimizationWorld) -> None:
    for letter, (communication_plan, columns, _) in zip("ABCDEFGHIJKLMN", CASES, strict=True):
        world.add_sim(f"890117000000000000{letter}", communication_plan, "Small", **columns)
    instance = world.optimize()
    expected = {letter: reason for letter, (_, _, reason) in zip("ABCDEFGHIJKLMN", CASES, strict=True)}
    found = exclusions(world) | {iccid[-1]: None for iccid in placed(world)}
    assert found == expected
    assert (instance["device_count"], instance["expected_device_count"]) == (2, 8)
    assert instance["warning"].startswith("Only 2 of 8 expected SIMs were placed")


def test_placed_and_excluded_are_the_whole_list_and_never_both(world: OptimizationWorld) -> None:
    draw = random.Random(5)
    for number in range(200):
        world.add_sim(
            f"89011700000000{number:05d}",
            draw.choice(["Tracking", "Three plans", "Unmapped", "Retired", "Never seen", "Only priced", None]),
            draw.choice(["Small", "Old", None]),
            draw.choice([0, 3.0]),
            status=draw.choice(["ACTIVATED", "DEACTIVATED", "INVENTORY", "RETIRED", None]),
            sms_is_read=draw.random() < 0.9,
            date_activated=draw.choice([None, CYCLE_START - timedelta(days=9), CYCLE_START + timedelta(days=3)]),
            is_active=draw.random() < 0.9,
        )
    instance = world.optimize()
    found = set(placed(world).values())
    rows = world.execute("SELECT device_id, reason FROM amop.optimization_device_excluded")
    assert found.isdisjoint(row["device_id"] for row in rows)
    assert {row["id"] for row in world.execute("SELECT id FROM amop.device")} == found | {
        row["device_id"] for row in rows
    }
    expected = sum(EXCLUSION_REASONS[row["reason"]].is_expected for row in rows)
    assert instance["device_count"] == len(found)
    assert instance["expected_device_count"] == len(found) + expected
    assert {row["reason"] for row in rows} == set(EXCLUSION_REASONS) - {"changed_meanwhile", "usage_too_large"}
    kept = world.execute("SELECT device_id FROM amop.optimization_device WHERE kept_reason IS NOT NULL AND is_billed")
    assert {row["device_id"] for row in world.results().values()} == found | {row["device_id"] for row in kept}
    assert instance["kept_device_count"] == len(kept) > 20


def test_a_sim_that_vanished_before_the_period_is_not_listed(world: OptimizationWorld) -> None:
    earlier = world.insert(
        "billing_period",
        service_provider_id=1,
        bill_year=2026,
        bill_month=10,
        cycle_start=CYCLE_START - timedelta(days=30),
        cycle_end=CYCLE_START,
    )
    world.add_sim("8901170000000000001", "Tracking", "Small", is_active=False, billing_period_id=earlier)
    world.add_sim("8901170000000000002", "Tracking", "Small", is_active=False)
    daily = world.add_sim("8901170000000000003", "Tracking", "Small", is_active=False, billing_period_id=earlier)
    world.insert_usage(daily, 1_000)
    world.optimize()
    assert exclusions(world) == {"2": "vanished", "3": "vanished"}


def test_a_sim_that_comes_after_the_grouping_is_listed_and_not_lost(world: OptimizationWorld) -> None:
    world.add_sim("8901170000000000001", "Tracking", "Small")
    instance_id = world.open()
    group, validate, project, *_ = world.steps(instance_id)
    group()
    validate()
    world.add_sim("8901170000000000002", "Brand new", "Small")
    project()
    assert exclusions(world) == {"2": "changed_meanwhile"}
    assert world.instance(instance_id)["device_count"] == 1


def test_the_list_is_written_once_with_the_inputs_and_counted_for_the_log(
    world: OptimizationWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.add_sim("8901170000000000001", "Tracking", "Small")
    world.add_sim("8901170000000000002", "Unmapped", "Small")
    world.add_sim("8901170000000000003", "Unmapped", "Small")
    instance_id = world.open()
    group, validate, project, *_ = world.steps(instance_id)
    group()
    validate()
    assert project()["excluded_device_count"] == 2
    caplog.clear()
    with caplog.at_level("INFO"):
        assert project()["excluded_device_count"] == 2
    assert "2 SIMs excluded: Its communication plan is not mapped to any rate plan" in caplog.text
    assert exclusions(world) == {"2": "communication_plan_not_mapped", "3": "communication_plan_not_mapped"}


def test_a_kill_between_the_inputs_and_their_note_leaves_no_list(
    world: OptimizationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_arguments: object) -> None:
        raise Killed

    world.add_sim("8901170000000000001", "Unmapped", "Small")
    instance_id = world.open()
    group, validate, project, *_ = world.steps(instance_id)
    group()
    validate()
    with monkeypatch.context() as patch:
        patch.setattr(optimization_inputs, "_store_device_counts", kill)
        with pytest.raises(Killed):
            project()
    assert exclusions(world) == {}
    project()
    assert exclusions(world) == {"1": "communication_plan_not_mapped"}


def test_a_comm_group_may_have_any_number_of_rate_plans_unless_the_provider_sets_a_limit(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    codes = [f"Plan {number}" for number in range(40)]
    for number, code in enumerate(codes):
        world.add_rate_plan(code, str(40 - number), "10")
    world.add_communication_plan("All", codes)
    world.add_sim("8901170000000000001", "All", "Plan 0", last_usage_date=NOW)
    world.optimize()
    assert world.execute("SELECT rate_plan_limit FROM amop.service_provider") == [{"rate_plan_limit": None}]
    assert world.outcomes() == {("All",): "optimized"}
    assert world.results()["8901170000000000001"]["to_rate_plan"] == "Plan 39"


def test_every_reason_of_the_table_has_words(world: OptimizationWorld) -> None:
    (check,) = world.execute(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint"
        " WHERE conrelid = 'amop.optimization_device_excluded'::regclass AND contype = 'c'"
    )
    assert all(f"'{reason}'" in check["text"] for reason in EXCLUSION_REASONS)
    assert check["text"].count("::text") == len(EXCLUSION_REASONS)
