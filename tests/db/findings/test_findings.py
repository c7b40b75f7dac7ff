"""What a check finds, with its money worked out by hand, and how well it finds what was planted."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import Any

import pytest

from amop.database.connection import transaction
from amop.findings import store
from amop.findings.check import providers_to_check
from amop.findings.rules import KINDS, MOST_FINDINGS, sentence
from tests.worlds.findings_world import AS_OF, FindingsWorld, add_seeded_fleet
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, NOW, money

SEEDS = range(4)
ELAPSED = Decimal((AS_OF - CYCLE_START).total_seconds()) / 86400
LEFT = Decimal((CYCLE_END - AS_OF).total_seconds()) / 86400


@pytest.fixture
def world(warehouse_dsn: str) -> FindingsWorld:
    world = FindingsWorld(warehouse_dsn)
    world.add_plans()
    return world


def only(world: FindingsWorld) -> dict[str, Any]:
    """Return the only finding."""
    world.check()
    (row,) = world.findings()
    return row


def words(row: dict[str, Any]) -> str:
    return sentence(row["kind"], row["subject"], row["facts"], "USD")


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_planted_in_a_fleet_is_found_and_little_else(seed: int, warehouse_dsn: str) -> None:
    world = FindingsWorld(warehouse_dsn)
    truth = add_seeded_fleet(world, seed)
    world.check()
    found = world.found()
    assert len(found & truth) >= 0.9 * len(found), found - truth
    assert len(found & truth) >= 0.8 * len(truth), truth - found


def test_a_spike_costs_the_overage_that_it_adds_to_the_period(world: FindingsWorld) -> None:
    world.add_device("1", "Small 30", [*[1.0] * 67, 20, 20, 20])
    row = only(world)
    assert (row["kind"], row["subject"]) == ("usage_spike", "1")
    used = 60 + (ceil(ELAPSED) - 3)  # one day's reading belongs to the part of a day before it
    with_spike = used + 20 * LEFT
    excess = 57 + 57 / Decimal(3) * LEFT
    blocks = ceil(with_spike - 30) - max(0, ceil(with_spike - excess - 30))
    assert row["amount"] == money(str(Decimal("0.5") * blocks))
    assert words(row) == "used 60.00 MB in 3.0 days; its history suggests 3.00 MB (plan Small 30)"


def test_a_spike_of_a_pooled_sim_costs_what_its_pool_pays_more(world: FindingsWorld) -> None:
    spiking = [*[0.1] * 67, 40, 40, 40]
    world.add_device("1", "Pooled 50", spiking)
    alone = [row for row in (world.check(), world.findings())[1] if row["kind"] == "usage_spike"]
    for number in range(60):
        world.add_device(f"2{number}", "Pooled 50", [0.1] * 70)
    world.check(NOW + timedelta(hours=1))
    assert len(alone) == 1
    assert world.findings() == []


def test_usage_after_missed_syncs_is_no_spike(world: FindingsWorld) -> None:
    missed = AS_OF - timedelta(days=10), AS_OF
    world.execute("DELETE FROM amop.device_sync_run WHERE usage_as_of > %s AND usage_as_of < %s", *missed)
    world.add_device("1", "Small 30", [*[2.0] * 59, *[0.0] * 10, 22])
    world.check()
    assert ("usage_spike", "1") not in world.found()


def test_a_pool_that_is_heading_over_costs_its_overage(world: FindingsWorld) -> None:
    for number in range(3):
        world.add_device(str(number), "Pooled 50", [2.5] * 70)
    row = only(world)
    assert (row["kind"], row["subject"], row["device_id"]) == ("pool_over", "pool Fleet", None)
    assert row["facts"]["allowance_mb"] == "150.000000"
    projected = Decimal(row["facts"]["projected_mb"])
    assert projected == pytest.approx(3 * Decimal("2.5") * (ELAPSED + LEFT), rel=Decimal("0.05"))
    assert row["amount"] == money(str(Decimal("0.4") * ceil(projected - 150)))
    assert "3 SIMs have used" in words(row)


def test_a_pool_of_each_comm_group_is_looked_at_where_pools_are_confined(warehouse_dsn: str) -> None:
    world = FindingsWorld(warehouse_dsn, pool_scope="comm_group")
    world.add_plans()
    world.add_communication_plan("Lamps", ["Pooled 50"])
    for number in range(3):
        world.add_device(f"1{number}", "Pooled 50", [2.5] * 70)
        world.add_device(f"2{number}", "Pooled 50", communication_plan="Lamps")
    world.check()
    (subject,) = (row["subject"] for row in world.findings() if row["kind"] == "pool_over")
    assert subject.startswith("pool Fleet of plans ")


def test_an_unused_sim_costs_its_charges_less_what_its_pool_needs_of_it(world: FindingsWorld) -> None:
    world.add_device("1", "Small 30")
    row = only(world)
    assert (row["kind"], row["amount"]) == ("no_usage", money("2"))
    world.add_device("2", "Pooled 50")  # lends 50 MB to a pool that needs them: 20 overage for a charge of 3
    for number in range(3):
        world.add_device(f"3{number}", "Pooled 50", [2.5] * 70)
    world.check()
    assert {subject for kind, subject in world.found() if kind == "no_usage"} == {"1"}


def test_a_plan_change_of_another_party_costs_the_difference(world: FindingsWorld) -> None:
    sim = world.add_device("1", "Large 300", [0.1] * 70)
    world.execute("UPDATE amop.device_history SET rate_plan = 'Small 30' WHERE device_id = %s", sim)
    world.add_history(sim, AS_OF - timedelta(days=2), "Large 300")
    row = only(world)
    assert (row["kind"], row["amount"]) == ("plan_changed", money("7"))
    assert words(row) == f"changed from Small 30 to Large 300; seen on {AS_OF - timedelta(days=2):%Y-%m-%d}"


def test_an_ineligible_plan_costs_what_the_cheapest_eligible_one_saves(world: FindingsWorld) -> None:
    world.add_device("1", "Small 30", [0.1] * 70, communication_plan="Cameras")
    world.add_device("2", "Partner", [0.1] * 70)
    world.check()
    amounts = {row["subject"]: row["amount"] for row in world.findings() if row["kind"] == "ineligible_plan"}
    assert amounts == {"1": money("0"), "2": money("2")}


def test_an_unknown_activation_costs_the_charge_of_the_days_before_the_sim_was_listed(world: FindingsWorld) -> None:
    listed = CYCLE_END - timedelta(days=21)
    world.add_device("1", "Large 300", [0.1], first_listed=listed, date_activated=None)
    assert world.check() == {}, "the date of a provider's first sync says nothing about when a SIM was activated"
    world.add_device("2", "Large 300", [0.1], first_listed=listed - timedelta(days=1))
    row = only(world)
    assert (row["kind"], row["amount"]) == ("unknown_activation", money(str(Decimal(9) * 10 / 31)))
    assert words(row).endswith("21 of 31 days (plan Large 300)")


def test_an_unknown_activation_costs_nothing_where_nothing_is_prorated(warehouse_dsn: str) -> None:
    world = FindingsWorld(warehouse_dsn, uses_proration=False)
    world.add_plans()
    world.add_device("1", "Large 300", [0.1], first_listed=CYCLE_END - timedelta(days=21), date_activated=None)
    world.check()
    assert world.findings() == []


def test_the_findings_with_the_most_money_are_kept_and_all_are_counted(world: FindingsWorld) -> None:
    for number in range(MOST_FINDINGS + 5):
        world.add_device(f"{number:02}", "Large 300" if number < 4 else "Small 30")
    assert world.check() == {"no_usage": MOST_FINDINGS + 5}
    rows = world.findings()
    assert len(rows) == MOST_FINDINGS
    assert [row["subject"] for row in rows[:4]] == ["00", "01", "02", "03"]
    assert world.execute("SELECT totals FROM amop.finding_check")[0]["totals"] == {
        "no_usage": {"found": 25, "amount": "78.000000"}
    }


def test_a_dismissed_finding_gives_its_place_to_the_next_and_stays_dismissed(world: FindingsWorld) -> None:
    for number in range(MOST_FINDINGS + 1):
        world.add_device(f"{number:02}", "Large 300" if number < 1 else "Small 30")
    world.check()
    first = world.findings()[0]
    wanted: dict[str, Any] = {"finding_id": first["id"], "dismissed_by": "ann", "now": NOW}
    with transaction(world.dsn) as connection:
        assert not store.dismiss(connection, integrations=["pod19"], **wanted)
        assert store.dismiss(connection, integrations=["jasper"], **wanted)
    world.check(NOW + timedelta(days=1))
    assert first["subject"] not in {row["subject"] for row in world.findings()}
    assert len(world.findings()) == MOST_FINDINGS
    with transaction(world.dsn) as connection:
        assert store.restore(connection, finding_id=first["id"], integrations=["jasper"])
    world.check(NOW + timedelta(days=2))
    row = world.findings()[0]
    assert (row["subject"], row["first_found_at"]) == (first["subject"], NOW)
    assert len(world.findings()) == MOST_FINDINGS


def test_what_is_not_found_again_is_gone_and_a_repeated_check_changes_nothing(world: FindingsWorld) -> None:
    sim = world.add_device("1", "Small 30")
    world.check()
    before = world.findings()
    world.check()
    assert world.findings() == before
    world.execute("UPDATE amop.device SET ctd_data_usage = 5, last_usage_date = %s WHERE id = %s", AS_OF, sim)
    world.check(NOW + timedelta(hours=1))
    assert world.findings() == []


def test_a_provider_is_checked_once_for_each_complete_sync(world: FindingsWorld) -> None:
    expected = [{"service_provider_id": 1, "service_provider_name": "AT&T"}]
    assert providers_to_check(world.dsn) == expected
    world.check()
    assert providers_to_check(world.dsn) == []
    world.add_run(AS_OF + timedelta(hours=2))
    assert providers_to_check(world.dsn) == expected


def test_a_provider_without_a_sync_has_no_findings(warehouse_dsn: str) -> None:
    world = FindingsWorld(warehouse_dsn)
    world.execute("DELETE FROM amop.device_sync_run")
    assert world.check() == {}
    assert providers_to_check(world.dsn) == []


def test_the_first_night_of_a_provider_has_no_history_and_no_spikes(world: FindingsWorld) -> None:
    world.execute("DELETE FROM amop.device_sync_run WHERE usage_as_of < %s", AS_OF)
    world.add_device("1", "Small 30", [90], first_listed=AS_OF)
    assert "usage_spike" not in world.check()


def test_every_kind_says_what_its_money_is_and_has_an_action() -> None:
    for kind in KINDS.values():
        assert kind.action.endswith(".")
        assert kind.money
        assert kind.title
