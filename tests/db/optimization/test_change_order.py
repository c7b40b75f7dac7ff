"""The stored order of the plan changes, their saving curve, and the saving of any changes that were applied."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from amop.database.connection import connect
from amop.page.session import SessionView, read_session
from amop.page.store.sessions import applied_saving
from amop.plan_changes.store.sending import next_batch
from tests.worlds.optimization_world import OptimizationWorld

TERMS = {"Own": (9, 100, None), "Pool S": (1, 5, "x"), "Pool L": (7, 100, "x")}
"""Monthly charge, included MB and pool of each plan; overage is 25.00 for each 10 MB of the pool."""


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    """Thirty SIMs on Own and ten on Pool S: as in the example of ``tests/property/solver/test_change_order.py``."""
    return meters(OptimizationWorld(warehouse_dsn))


def meters(world: OptimizationWorld, pooled_mb: float = 0) -> OptimizationWorld:
    """Add the plans and SIMs; those of Pool S have used `pooled_mb` MB each."""
    for code, (charge, plan_mb, pool) in TERMS.items():
        pooled: dict[str, Any] = {"allows_sim_pooling": True, "pool": pool} if pool else {}
        terms = {"overage_rate": "25", "data_per_overage_charge": "10"} | pooled
        world.add_rate_plan(code, str(charge), str(plan_mb), **terms)
    world.add_communication_plan("Meters", ["Own", "Pool S"])
    world.add_communication_plan("Sensors", ["Pool S", "Pool L"])
    for number in range(40):
        choice, plan, mb = ("Meters", "Own", 15.0) if number < 30 else ("Sensors", "Pool S", pooled_mb)
        world.add_sim(f"89000000000{number:03d}", choice, plan, mb)
    return world


def changes_of(world: OptimizationWorld) -> list[dict[str, Any]]:
    return world.execute("SELECT * FROM amop.rate_plan_change ORDER BY send_order")


def bill_with(world: OptimizationWorld, applied: set[int]) -> Decimal:
    """Return the bill with the changes of some SIMs, computed from the results of the SIMs and the prices above."""
    bill, excess = Decimal(0), Decimal(0)
    for sim in world.results().values():
        plan = sim["to_rate_plan" if sim["device_id"] in applied else "from_rate_plan"]
        charge, plan_mb, pool = TERMS[plan]
        bill += charge
        above = sim["projected_usage_mb"] - plan_mb
        if pool:
            excess += above
        else:
            bill += 25 * (max(above, Decimal(0)) / 10).to_integral_value(ROUND_CEILING)
    return bill + 25 * (max(excess, Decimal(0)) / 10).to_integral_value(ROUND_CEILING)


def view_of(world: OptimizationWorld, session_id: int) -> SessionView:
    with connect(world.dsn) as connection:
        view = read_session(connection, session_id, integrations=["jasper"], orders={})
    assert view is not None
    return view


def test_changes_are_sent_in_the_stored_order_and_no_first_ones_make_the_bill_worse(world: OptimizationWorld) -> None:
    row = world.optimize()
    changes = changes_of(world)
    order = [change["device_id"] for change in changes]
    assert [change["send_order"] for change in changes] == list(range(1, len(order) + 1))
    bills = [bill_with(world, set(order[:count])) for count in range(len(order) + 1)]
    assert (bills[0], bills[-1]) == (row["current_cost"], row["total_cost"])
    assert max(bills) == bills[0]
    by_saving = sorted(changes, key=lambda change: (change["to_cost"] - change["from_cost"], change["device_id"]))
    first_savers = [{change["device_id"] for change in by_saving[:count]} for count in range(len(order))]
    assert max(bill_with(world, applied) for applied in first_savers) > bills[0]
    curve = view_of(world, row["session_id"]).curve_points
    assert [point.saving for point in curve] == [bills[0] - bills[point.change_count] for point in curve]
    assert (curve[-1].change_count, curve[-1].saving) == (len(order), row["savings"])
    world.execute("UPDATE amop.rate_plan_change SET state = 'approved'")
    with connect(world.dsn) as connection:
        batch = next_batch(connection, instance_id=row["id"], batch_size=12)
    assert [change.id for change in batch] == [change["id"] for change in changes[:12]]


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_the_saving_of_any_applied_changes_is_exact(world: OptimizationWorld, step: int) -> None:
    row = world.optimize()
    chosen = {change["device_id"] for change in changes_of(world)[::step]}
    world.execute("UPDATE amop.rate_plan_change SET state = 'applied' WHERE device_id = ANY(%s)", list(chosen))
    with connect(world.dsn) as connection:
        saving = applied_saving(connection, instance_id=row["id"])
    assert saving == bill_with(world, set()) - bill_with(world, chosen)


def test_changes_of_an_earlier_version_have_no_known_saving(world: OptimizationWorld) -> None:
    row = world.optimize()
    with connect(world.dsn) as connection:
        assert applied_saving(connection, instance_id=row["id"]) is None
    world.execute("UPDATE amop.rate_plan_change SET state = 'applied', own_saving = NULL WHERE send_order < 4")
    with connect(world.dsn) as connection:
        assert applied_saving(connection, instance_id=row["id"]) is None
    reached = view_of(world, row["session_id"]).reached
    assert reached is not None
    assert reached.startswith("3 of ")
    assert "the bill is" not in reached


def test_a_cap_that_binds_below_its_number_is_named_with_what_it_costs(warehouse_dsn: str) -> None:
    # One SIM pays 6.00 more for data that three others need, which then save 8.00 each: 18.00 for four changes. A
    # fifth change alone saves nothing.
    row = meters(OptimizationWorld(warehouse_dsn, maximum_changes=5), pooled_mb=2.4).optimize()
    assert (row["savings"], row["certificate"]["changes"]["count"]) == (Decimal(18), 4)
    assert row["uncapped_cost"] < row["total_cost"]
    with connect(warehouse_dsn) as connection:
        view = read_session(connection, row["session_id"], integrations=["jasper"], orders={})
    assert view is not None
    assert " The plan changes are capped by maximum_changes = 5; without the cap " in view.proof
    rest = Decimal(row["certificate"]["changes"]["objective"] - row["certificate"]["changes"]["bound"]).scaleb(-6)
    assert view.stored.capped_rest == rest
    assert view.proof.endswith(
        " Within the cap, no assignment of plans costs less."
        if not rest
        else f" Within the cap, at most USD {rest:.2f} could still be saved."
    )
