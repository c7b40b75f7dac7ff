"""SIMs that are not to be moved are billed on their plans and use their pools."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, OptimizationWorld

AT_THE_END: dict[str, Any] = {"last_usage_date": CYCLE_END}
"""Usage is not projected: figures can be added up by hand."""


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    """A provider with a pool of 10 MB a SIM, 1 a MB above it, and an unpooled plan of 30 MB."""
    world = OptimizationWorld(warehouse_dsn, rate_plan_limit=2)
    world.add_rate_plan("Pooled", "5", "10", allows_sim_pooling=True)
    world.add_rate_plan("Single", "9", "30")
    world.add_rate_plan("Third", "50", "30")
    world.add_communication_plan("Tracking", ["Pooled", "Single"])
    world.add_communication_plan("Too many", ["Pooled", "Single", "Third"])
    return world


def kept_reasons(world: OptimizationWorld) -> dict[str, str]:
    rows = world.execute("SELECT iccid, kept_reason FROM amop.optimization_device WHERE kept_reason IS NOT NULL")
    return {row["iccid"][-1]: row["kept_reason"] for row in rows}


def plans(world: OptimizationWorld) -> dict[str, tuple[str, str]]:
    return {iccid[-1]: (row["from_rate_plan"], row["to_rate_plan"]) for iccid, row in world.results().items()}


@pytest.mark.parametrize(
    ("communication_plan", "columns", "reason"),
    [
        ("Too many", {}, "not_placed"),
        ("Unmapped", {}, "not_placed"),
        ("Tracking", {"status": "RETIRED"}, "retired"),
        ("Tracking", {"status": "retired", "is_active": False}, "retired"),
    ],
)
def test_a_sim_that_is_kept_uses_the_pool_that_others_would_leave_or_join(
    world: OptimizationWorld, communication_plan: str, columns: dict[str, Any], reason: str
) -> None:
    # Alone, the first SIM is cheapest in the pool (5). Beside one that needs 15 MB more than its 10 MB the pool costs
    # 5 + 5 + 17, and the first SIM's 2 MB above its share are worth 9 - 5 = 4: no more than 2.
    world.add_sim("8901170000000000001", "Tracking", "Pooled", 12, **AT_THE_END)
    world.add_sim("8901170000000000002", communication_plan, "Pooled", 25, **AT_THE_END, **columns)
    instance = world.optimize()
    assert kept_reasons(world) == {"2": reason}
    assert plans(world) == {"1": ("Pooled", "Pooled"), "2": ("Pooled", "Pooled")}
    assert (instance["current_cost"], instance["total_cost"]) == (Decimal(27), Decimal(27))
    assert sum(row["to_cost"] for row in world.results().values()) == instance["total_cost"]
    assert (instance["device_count"], instance["kept_device_count"]) == (1, 1)


def test_without_the_kept_sims_usage_the_pool_would_seem_free(world: OptimizationWorld) -> None:
    # Two SIMs of 14 MB on Single: in the pool each would cost 5 and 4 MB above 10. The kept SIM's 25 MB leave no room;
    # its unused data, were it 2 MB, would: 3 x 5 + 0 is less than 5 + 2 x 9.
    for number in (1, 2):
        world.add_sim(f"890117000000000000{number}", "Tracking", "Single", 14, **AT_THE_END)
    world.add_sim("8901170000000000003", "Too many", "Pooled", 2, **AT_THE_END)
    instance = world.optimize()
    assert plans(world) == {"1": ("Single", "Pooled"), "2": ("Single", "Pooled"), "3": ("Pooled", "Pooled")}
    assert (instance["current_cost"], instance["total_cost"]) == (Decimal(23), Decimal(15))


def list_showed(world: OptimizationWorld, device_id: int, *statuses: tuple[datetime, str]) -> None:
    """Add the history of a SIM in the carrier's list."""
    with psycopg.connect(world.dsn) as connection:
        for moment, status in statuses:
            connection.execute(
                "INSERT INTO amop.device_history (device_id, valid_from, as_of, status) VALUES (%s, %s, %s, %s)",
                (device_id, moment.date(), moment, status),
            )


LONG_AGO, BEFORE, WITHIN = (CYCLE_START + timedelta(days=days) for days in (-90, -3, 5))


@pytest.mark.parametrize(
    ("history", "is_billed"),
    [
        ([], False),
        ([(LONG_AGO, "ACTIVATED"), (BEFORE, "RETIRED")], False),
        ([(LONG_AGO, "ACTIVATED"), (BEFORE, "DEACTIVATED"), (WITHIN, "RETIRED")], False),
        ([(LONG_AGO, "INVENTORY"), (WITHIN, "RETIRED")], False),
        ([(LONG_AGO, "ACTIVATED"), (WITHIN, "RETIRED")], True),
        ([(BEFORE, "Activated"), (WITHIN, "retired")], True),
        ([(LONG_AGO, "INVENTORY"), (WITHIN, "ACTIVATED"), (WITHIN + timedelta(days=2), "RETIRED")], True),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_a_retired_sim_without_usage_is_billed_if_it_was_active_for_a_part_of_the_period(
    world: OptimizationWorld, history: list[tuple[datetime, str]], is_billed: bool, is_listed: bool
) -> None:
    # The retired SIM's charge is 5, and its 10 MB belong to the pool: the first SIM's 18 MB cost nothing above it.
    world.add_sim("8901170000000000001", "Tracking", "Pooled", 18, **AT_THE_END)
    retired = world.add_sim(
        "8901170000000000002", "Tracking", "Pooled", 0, status="RETIRED", is_active=is_listed, **AT_THE_END
    )
    list_showed(world, retired, *history)
    instance = world.optimize()
    assert kept_reasons(world) == ({"2": "retired"} if is_billed else {})
    assert instance["current_cost"] == (Decimal(10) if is_billed else Decimal(13))
    assert (instance["device_count"], instance["kept_device_count"], instance["warning"]) == (1, int(is_billed), None)


def test_a_sim_that_was_deactivated_within_the_period_is_billed_for_it(world: OptimizationWorld) -> None:
    for number, when in ((1, WITHIN), (2, BEFORE)):
        device_id = world.add_sim(f"890117000000000000{number}", "Tracking", "Single", 0, status="DEACTIVATED")
        list_showed(world, device_id, (LONG_AGO, "ACTIVATED"), (when, "DEACTIVATED"))
    assert (world.optimize()["current_cost"], set(plans(world))) == (Decimal(9), {"1"})


@pytest.mark.parametrize("history", [[(LONG_AGO, "ACTIVATED"), (WITHIN, "RETIRED")], [(LONG_AGO, "ACTIVATED")]])
def test_in_a_closed_period_a_sim_counts_that_was_active_in_it_unless_it_vanished(
    world: OptimizationWorld, history: list[tuple[datetime, str]]
) -> None:
    status = history[-1][1]
    device_id = world.add_sim("8901170000000000001", "Tracking", "Single", 0, status=status, is_active=False)
    list_showed(world, device_id, *history)
    instance = world.optimize(now=CYCLE_END + timedelta(days=1), billing_period_id=world.billing_period_id)
    assert instance["current_cost"] == (Decimal(9) if status == "RETIRED" else Decimal(0))


def test_a_kept_sim_without_a_known_plan_is_in_no_total(world: OptimizationWorld) -> None:
    world.add_sim("8901170000000000001", "Tracking", "Pooled", 2, **AT_THE_END)
    world.add_sim("8901170000000000002", "Unmapped", "Nobody knows it", 2, **AT_THE_END)
    instance = world.optimize()
    assert plans(world) == {"1": ("Pooled", "Pooled")}
    assert (instance["current_cost"], instance["kept_device_count"]) == (Decimal(5), 0)


def test_a_sim_whose_messages_were_not_read_is_offered_no_plan_with_a_price_for_them(world: OptimizationWorld) -> None:
    world.add_rate_plan("Cheap", "1", "30", sms_rate="0.10")
    world.add_communication_plan("Texting", ["Single", "Cheap"])
    world.add_communication_plan("Only priced", ["Cheap"])
    world.add_sim("8901170000000000001", "Texting", "Single", 12, ctd_sms_usage=7, **AT_THE_END)
    world.add_sim("8901170000000000002", "Texting", "Single", 12, sms_is_read=False, **AT_THE_END)
    world.add_sim("8901170000000000003", "Texting", "Cheap", 12, sms_is_read=False, **AT_THE_END)
    world.add_sim("8901170000000000004", "Only priced", "Cheap", 12, sms_is_read=False, **AT_THE_END)
    instance = world.optimize()
    assert plans(world) == {
        "1": ("Single", "Cheap"),
        "2": ("Single", "Single"),
        "3": ("Cheap", "Cheap"),
        "4": ("Cheap", "Cheap"),
    }
    assert kept_reasons(world) == {"3": "sms_not_read", "4": "sms_not_read"}
    assert (instance["device_count"], instance["kept_device_count"], instance["sms_unread_count"]) == (2, 2, 1)
    assert instance["warning"].splitlines() == [
        "Only 2 of 4 expected SIMs were placed: 2 are on plans with a price for messages, which were not read. "
        "They keep their present plans, and are billed on them if plan and usage are known",
        "The messages of 1 SIM were not read: no plan with a price for messages was offered to it",
    ]
