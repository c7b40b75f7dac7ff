"""An optimization that starts after plan changes were applied, and before the next sync, starts from the new plans."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from amop.database.connection import transaction
from amop.page.session import read_session
from amop.reports.mail import mail_to_send
from tests.worlds.optimization_world import CYCLE_END, NOW, OptimizationWorld

LISTED_AT = NOW - timedelta(hours=6)
APPLIED_AT = NOW - timedelta(hours=1)
APPLIED_NOTE = "2 SIMs are on the plan that was applied since the last list of devices: the saving starts from it."


@pytest.fixture
def world(warehouse_dsn: str) -> OptimizationWorld:
    """Three SIMs of 2 MB on a plan of 100, which 1 would do for; a list of devices that was read before any change."""
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "100", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    for number in range(3):
        world.add_sim(f"890117000000000000{number}", "Tracking", "Large", 2, last_usage_date=CYCLE_END)
    add_list(world, LISTED_AT)
    return world


def add_list(world: OptimizationWorld, started_at: datetime, **columns: object) -> int:
    values = {"status": "complete", "is_full": True, "devices_merged_at": started_at + timedelta(minutes=7)} | columns
    return int(
        world.insert(
            "device_sync_run",
            service_provider_id=1,
            dag_id="device_sync_jasper",
            dag_run_id=f"run at {started_at}",
            billing_period_id=world.billing_period_id,
            started_at=started_at,
            **values,
        )
    )


def optimize(world: OptimizationWorld, run_id: str) -> dict[str, object]:
    return world.optimize(opened_by=f"carrier_optimization_jasper/{run_id}")


def proposals(world: OptimizationWorld, instance_id: object) -> list[tuple[str, str]]:
    rows = world.execute("SELECT * FROM amop.rate_plan_change WHERE instance_id = %s ORDER BY iccid", instance_id)
    return [(row["iccid"][-1], row["to_rate_plan"]) for row in rows]


def settle(world: OptimizationWorld, iccid: str, **columns: object) -> None:
    """Store the outcome of the change of one SIM, as applying it does."""
    names = ", ".join(f"{name} = %s" for name in columns)
    world.execute(f"UPDATE amop.rate_plan_change SET {names} WHERE right(iccid, 1) = %s", *columns.values(), iccid)


def apply(world: OptimizationWorld, iccid: str, at: datetime = APPLIED_AT) -> None:
    settle(world, iccid, state="applied", sent_at=at, applied_at=at)


def notes(world: OptimizationWorld, session_id: object) -> list[str]:
    with transaction(world.dsn, application_name="test") as connection:
        view = read_session(connection, int(str(session_id)), integrations=["jasper"], orders={})
    assert view is not None
    return view.known_changes


def test_what_was_applied_is_not_proposed_and_not_saved_again(world: OptimizationWorld) -> None:
    first = optimize(world, "first")
    assert (first["current_cost"], first["savings"]) == (Decimal(300), Decimal(297))
    assert notes(world, first["session_id"]) == []
    apply(world, "0")
    apply(world, "1")
    second = optimize(world, "second")
    assert proposals(world, second["id"]) == [("2", "Small")]
    assert (second["current_cost"], second["total_cost"], second["savings"]) == (Decimal(102), Decimal(3), Decimal(99))
    assert notes(world, second["session_id"]) == [APPLIED_NOTE]
    mail = mail_to_send(world.dsn, second["id"], sender="a@b.example", recipients="c@d.example", links={})  # type: ignore[arg-type]
    assert all(APPLIED_NOTE in part.get_content() for part in mail.iter_parts())


def test_a_list_that_was_begun_after_the_change_is_believed(world: OptimizationWorld) -> None:
    optimize(world, "first")
    apply(world, "0")
    add_list(world, APPLIED_AT + timedelta(minutes=1))  # and still shows the old plan: another party changed it back
    second = optimize(world, "second")
    assert (len(proposals(world, second["id"])), second["savings"]) == (3, Decimal(297))
    assert notes(world, second["session_id"]) == []


@pytest.mark.parametrize("columns", [{"devices_merged_at": None, "status": "failed"}, {"replayed_run_id": 1}])
def test_a_list_that_changed_no_sim_says_nothing_of_their_plans(
    world: OptimizationWorld, columns: dict[str, object]
) -> None:
    optimize(world, "first")
    apply(world, "0")
    add_list(world, APPLIED_AT + timedelta(minutes=1), **columns)
    assert optimize(world, "second")["savings"] == Decimal(198)


def test_a_list_that_was_begun_before_the_change_and_merged_after_it_has_the_old_plan(world: OptimizationWorld) -> None:
    optimize(world, "first")
    add_list(world, APPLIED_AT - timedelta(minutes=3))
    apply(world, "0")
    assert optimize(world, "second")["savings"] == Decimal(198)


def test_the_latest_of_several_changes_counts(world: OptimizationWorld) -> None:
    optimize(world, "first")
    apply(world, "0")
    second = optimize(world, "second")
    world.execute(
        "INSERT INTO amop.rate_plan_change (instance_id, device_id, from_rate_plan, to_rate_plan, iccid, state, "
        "sent_at, applied_at) SELECT %s, id, 'Small', 'Large', iccid, 'applied', %s, %s FROM amop.device "
        "WHERE right(iccid, 1) = '0'",
        second["id"],
        *[APPLIED_AT + timedelta(minutes=5)] * 2,
    )
    third = optimize(world, "third")
    assert (third["current_cost"], third["savings"]) == (Decimal(300), Decimal(297))


def test_a_change_that_the_carrier_did_not_keep_leaves_the_plan_that_it_showed(world: OptimizationWorld) -> None:
    world.add_rate_plan("Middle", "40", "50")
    optimize(world, "first")
    apply(world, "0")
    settle(world, "0", state="conflict", verified_at=APPLIED_AT, verified_rate_plan="Middle", error="another plan")
    second = optimize(world, "second")
    assert (second["current_cost"], second["savings"]) == (Decimal(240), Decimal(237))
    assert proposals(world, second["id"]) == [("0", "Small"), ("1", "Small"), ("2", "Small")]


def test_a_change_whose_outcome_is_not_known_leaves_its_sim_alone_and_says_so(world: OptimizationWorld) -> None:
    optimize(world, "first")
    settle(world, "0", state="approved", sent_at=APPLIED_AT)
    settle(world, "1", state="approved")  # not sent: the next optimization replaces it
    second = optimize(world, "second")
    assert proposals(world, second["id"]) == [("1", "Small"), ("2", "Small")]
    assert (second["current_cost"], second["savings"]) == (Decimal(300), Decimal(198))
    (reason,) = world.execute(
        "SELECT reason FROM amop.optimization_device_result WHERE instance_id = %s AND from_rate_plan = to_rate_plan",
        second["id"],
    )
    assert reason["reason"] == "kept: a change of its plan was sent, and its outcome is not known yet"
    assert notes(world, second["session_id"]) == [
        "1 SIM keeps its plan for now: a change of it was sent to the carrier, and its outcome was not known."
    ]
    add_list(world, APPLIED_AT + timedelta(minutes=1))  # the list settles what the plan is
    assert optimize(world, "third")["savings"] == Decimal(297)


def test_a_closed_period_is_billed_on_the_plan_that_was_applied_before_its_end(world: OptimizationWorld) -> None:
    optimize(world, "first")
    apply(world, "0", CYCLE_END - timedelta(hours=1))
    apply(world, "1", CYCLE_END + timedelta(hours=1))
    instance_id = world.open(
        opened_by="carrier_optimization_jasper/closed",
        now=CYCLE_END + timedelta(hours=2),
        billing_period_id=world.billing_period_id,
    )
    for step in world.steps(instance_id):
        step()
    assert world.instance(instance_id)["current_cost"] == Decimal(201)
