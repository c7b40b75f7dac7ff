"""An optimization of a billing period that is over: which SIMs, with what usage, on which plan, at what cost."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from amop.optimization.instances import OptimizationRequestError
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, MEGABYTE, NOW, OptimizationWorld, money

LATER = CYCLE_END + timedelta(days=9)
"""When the period is optimized: the next one is under way."""
OFF: dict[str, Any] = {"status": "DEACTIVATED"}


class ClosedWorld(OptimizationWorld):
    """The world with a next period, into which SIMs have moved on."""

    def __init__(self, dsn: str, **settings: Any) -> None:
        super().__init__(dsn, **settings)
        self.next_period_id = self.insert(
            "billing_period",
            service_provider_id=1,
            bill_year=2026,
            bill_month=12,
            cycle_start=CYCLE_END,
            cycle_end=CYCLE_END + timedelta(days=30),
        )

    def add_moved_on(
        self, iccid: str, rate_plan: str | None, mb: float = 0, *, sms: int = 0, now_mb: float = 99, **columns: Any
    ) -> int:
        """Add a SIM whose counters are of the next period, with its usage of this one in two daily rows."""
        device_id = self.add_sim(
            iccid, "Tracking", rate_plan, now_mb, **{"billing_period_id": self.next_period_id} | columns
        )
        usage = round(mb * MEGABYTE)
        for day, part in ((date(2026, 10, 20), usage // 3), (date(2026, 11, 17), usage - usage // 3)):
            if part or sms:
                self.add_usage(device_id, day, self.billing_period_id, part, sms if day.month == 10 else 0)
        return device_id

    def add_usage(self, device_id: int, day: date, period_id: int, data: int, sms: int = 0) -> None:
        """Add the usage of a day."""
        self.execute(
            "INSERT INTO amop.device_usage (device_id, usage_date, billing_period_id, data_usage, sms_usage,"
            " voice_usage) VALUES (%s, %s, %s, %s, %s, 0)",
            device_id,
            day,
            period_id,
            data,
            sms,
        )

    def add_sync(self, period_id: int, moment: datetime) -> None:
        """Add a sync of a period that has merged."""
        self.insert(
            "device_sync_run",
            service_provider_id=1,
            dag_id="device_sync_jasper",
            dag_run_id=f"{moment}",
            status="complete",
            billing_period_id=period_id,
            is_full=True,
            usage_as_of=moment,
            devices_merged_at=moment,
            usage_merged_at=moment,
        )

    def optimize_closed(self, **request: Any) -> dict[str, Any]:
        """Optimize the period that is over, as an operator does with the form."""
        wanted = {"opened_by": "carrier_optimization_jasper/by hand", "billing_period_id": self.billing_period_id}
        return self.optimize(now=LATER, **wanted | request)


@pytest.fixture
def world(warehouse_dsn: str) -> ClosedWorld:
    world = ClosedWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_rate_plan("Large", "5", "100")
    world.add_communication_plan("Tracking", ["Small", "Large"])
    return world


def test_eligible_is_who_used_something_or_was_there_in_that_period(world: ClosedWorld) -> None:
    within, since = CYCLE_START + timedelta(days=3), CYCLE_END + timedelta(days=2)
    gone = {"is_active": False}
    world.add_moved_on("in: active since long, nothing used", "Small", 0)
    world.add_moved_on("in: deactivated since, had usage", "Small", 3, **OFF)
    world.add_moved_on("in: retired since, had usage", "Small", 3, status="RETIRED")
    world.add_moved_on("in: left the list since, had usage", "Small", 3, **gone)
    world.add_moved_on("in: sent messages only, deactivated since", "Small", 0, sms=2, **OFF)
    world.add_moved_on("in: activated within, deactivated since", "Small", 0, date_activated=within, **OFF)
    world.add_moved_on("in: activated at the first instant, gone", "Small", 0, date_activated=CYCLE_START, **gone | OFF)
    world.add_moved_on("in: activation unknown, active", "Small", 0, date_activated=None)
    world.add_moved_on("in: reactivated since, had usage", "Small", 3, date_activated=since)
    world.add_sim("in: gone, its counters are still of this period", "Tracking", "Small", 4, **gone | OFF)
    world.add_moved_on("out: deactivated since, nothing used", "Small", 0, **OFF)
    world.add_moved_on("out: left the list, nothing used", "Small", 0, **gone)
    world.add_moved_on("out: activated at the end", "Small", 0, date_activated=CYCLE_END)
    world.add_moved_on("out: activated since", "Small", 0, date_activated=since)
    later = world.add_moved_on("out: used in the next period only", "Small", 0, **OFF)
    world.add_usage(later, date(2026, 11, 20), world.next_period_id, 5 * MEGABYTE)
    world.add_sim("out: never used anything", "Tracking", "Small", 0, billing_period_id=None, **OFF)
    world.add_sim("out: a provider of its own", "Tracking", "Small", 3, billing_period_id=None, **gone)
    instance = world.optimize_closed()
    placed = sorted(world.results())
    assert [iccid.partition(":")[0] for iccid in placed] == ["in"] * 10
    assert instance["device_count"] == instance["expected_device_count"] == 10
    assert instance["warning"] == (
        "SIMs whose activation date is unknown are billed for the whole period: up to USD 1.00 of the present cost is "
        "not due if they were activated within it"
    )


def test_usage_is_that_of_its_days_and_nothing_is_projected(world: ClosedWorld) -> None:
    # The last sync inside the period was two weeks before its end: while it went on, its usage was projected.
    world.add_sync(world.billing_period_id, NOW)
    world.add_sync(world.next_period_id, LATER - timedelta(hours=5))
    world.add_moved_on("light", "Large", 8, now_mb=500)
    world.add_moved_on("heavy", "Small", 95, now_mb=1)
    world.add_moved_on("idle", "Small", 0, now_mb=70)
    world.add_sim("left", "Tracking", "Small", 12, is_active=False)
    instance = world.optimize_closed()
    usage = {iccid: (row["usage_mb"], row["projected_usage_mb"]) for iccid, row in world.results().items()}
    assert usage == {
        "light": (money("8"), money("8")),
        "heavy": (money("95"), money("95")),
        "idle": (money("0"), money("0")),
        "left": (money("12"), money("12")),
    }
    # As it was: 5 + (1 + 85 MB over) + 1 + (1 + 2 MB over) = 95. Best: 1 + 5 + 1 + 3 = 10.
    assert instance["current_cost"] == money("95")
    assert instance["total_cost"] == money("10")
    assert instance["savings"] == money("85")
    assert instance["lower_bound"] <= instance["total_cost"]
    assert instance["usage_as_of"] == CYCLE_END
    assert instance["run_status"] == "complete_with_success"
    payloads = world.execute("SELECT payload FROM amop.amop_outbox ORDER BY id")
    assert len(payloads) == 6
    assert all(
        f'"BillPeriodId": {world.billing_period_id}' in row["payload"]["data"]["AdditionalJson"] for row in payloads
    )


def test_charges_are_prorated_by_the_days_of_that_period(world: ClosedWorld) -> None:
    world.add_rate_plan("Daily", "31", "10")
    world.add_communication_plan("Meter", ["Daily"])
    activated = CYCLE_END - timedelta(days=3, hours=1)
    sim = {"communication_plan": "Meter", "rate_plan": "Daily", "billing_period_id": world.next_period_id}
    world.add_sim("four days", **sim, date_activated=activated)
    world.add_sim("four days, gone", **sim, date_activated=activated, is_active=False, status="RETIRED")
    world.add_sim("whole", **sim)
    world.add_sim("not yet", **sim, date_activated=CYCLE_END + timedelta(days=1))
    world.optimize_closed()
    # 31 local days, of which 4 are billed: the activation is seen from this period, not from the present one.
    costs = {iccid: row["to_cost"] for iccid, row in world.results().items()}
    assert costs == {"four days": money("4"), "four days, gone": money("4"), "whole": money("31")}


IN_TIME, AFTER = NOW + timedelta(days=3), CYCLE_END + timedelta(days=4)


@pytest.mark.parametrize(
    ("name", "was_optimized", "applied", "expected"),
    [
        ("nothing is known: today's plan", False, [], "Today"),
        ("the first change since tells the plan before it", False, [("Then", "New", AFTER)], "Then"),
        (
            "the first of several changes since",
            False,
            [("Then", "Other", AFTER), ("Other", "Today", AFTER + timedelta(days=1))],
            "Then",
        ),
        ("a change within the period tells the plan after it", False, [("Before", "Then", IN_TIME)], "Then"),
        (
            "the last of several changes within",
            False,
            [("Before", "Other", IN_TIME), ("Other", "Then", IN_TIME + timedelta(days=1)), ("X", "Today", AFTER)],
            "Then",
        ),
        ("the last optimization inside the period saw it", True, [], "Seen"),
        ("it saw it before a change was applied", True, [("Seen", "Then", IN_TIME)], "Then"),
        ("a change before that optimization is older", True, [("X", "Y", NOW - timedelta(days=2))], "Seen"),
        ("what it saw is nearer than a change since", True, [("Then", "Today", AFTER)], "Seen"),
    ],
)
def test_the_present_plan_is_the_one_of_the_period_as_far_as_history_knows(
    world: ClosedWorld, name: str, was_optimized: bool, applied: list[tuple[str, str, datetime]], expected: str
) -> None:
    for plan in ("Today", "Then", "Seen", "Before", "Other", "New", "X", "Y"):
        world.add_rate_plan(plan, "2", "10")
    device_id = world.add_sim("sim", "Tracking", "Seen", 3)
    other_id = world.add_sim("other", "Tracking", "Small", 3)
    if was_optimized:
        world.optimize(now=NOW)
    else:
        session = _session(world, "elsewhere")
    world.execute("DELETE FROM amop.rate_plan_change")
    instance_id = (
        world.execute("SELECT max(id) AS id FROM amop.optimization_instance")[0]["id"]
        if was_optimized
        else (
            world.insert(
                "optimization_instance", session_id=session, usage_as_of=NOW, run_status="complete_with_success"
            )
        )
    )
    for number, (from_plan, to_plan, moment) in enumerate(applied):
        # One row for each SIM of an instance: every change is one of an instance of its own.
        if number:
            instance_id = world.insert("optimization_instance", session_id=_session(world, f"session {number}"))
        world.insert(
            "rate_plan_change",
            instance_id=instance_id,
            device_id=device_id,
            from_rate_plan=from_plan,
            to_rate_plan=to_plan,
            state="applied",
            applied_at=moment,
        )
    # What was not applied says nothing.
    never = world.insert("optimization_instance", session_id=_session(world, "never"))
    for sim in (device_id, other_id):
        world.insert(
            "rate_plan_change", instance_id=never, device_id=sim, from_rate_plan="Y", to_rate_plan="X", state="failed"
        )
    world.execute("UPDATE amop.device SET rate_plan = 'Today' WHERE iccid = 'sim'")

    def plans() -> dict[str, str]:
        eligible = world.execute(
            "SELECT iccid, rate_plan FROM amop.eligible_device(1, %s, %s)", world.billing_period_id, LATER
        )
        return {row["iccid"]: row["rate_plan"] for row in eligible}

    # Until the next period is synced, the list is the newest that is known of this one.
    assert plans() == {"sim": "Today", "other": "Small"}, name
    world.add_sync(world.next_period_id, LATER)
    assert plans() == {"sim": expected, "other": "Small"}, name


def test_a_sim_that_stood_in_the_last_optimization_of_the_period_is_in_without_any_usage(world: ClosedWorld) -> None:
    world.add_sim("sim", "Tracking", "Small", 0)
    world.optimize(now=NOW)
    world.execute("UPDATE amop.device SET status = 'RETIRED', is_active = false, rate_plan = NULL")
    world.add_sync(world.next_period_id, LATER)
    instance = world.optimize_closed()
    rows = world.execute(
        "SELECT from_rate_plan, from_cost FROM amop.optimization_device_result WHERE instance_id = %s", instance["id"]
    )
    assert rows == [{"from_rate_plan": "Small", "from_cost": money("1")}]


def test_optimizing_a_closed_period_again_differs_in_the_present_plans_alone(world: ClosedWorld) -> None:
    world.add_sync(world.next_period_id, LATER)
    for number in range(12):
        world.add_moved_on(f"{number}", ["Small", "Large", None][number % 3], number * 7.3, is_active=number % 4 > 0)
    figures = ("device_count", "current_cost", "base_cost", "total_cost", "lower_bound", "unknown_plan_count")
    first = world.optimize_closed()
    world.execute("UPDATE amop.device SET rate_plan = 'Large' WHERE rate_plan = 'Small'")
    second = world.optimize_closed(opened_by="carrier_optimization_jasper/again")
    assert first["device_count"] == 11  # number 0 has left and used nothing
    # An optimization after the period took the plans from the list of its day: it is no evidence of what was then.
    assert second["current_cost"] != first["current_cost"]
    assert {name: second[name] for name in figures if name != "current_cost"} == {
        name: first[name] for name in figures if name != "current_cost"
    }


def test_while_the_period_goes_on_nothing_has_changed(world: ClosedWorld) -> None:
    world.add_sim("in: active", "Tracking", "Small")
    world.add_sim("in: used", "Tracking", "Small", 3, **OFF)
    world.add_sim("out: left the list", "Tracking", "Small", 3, is_active=False)
    world.add_sim("out: nothing", "Tracking", "Small", 0, **OFF)
    instance = world.optimize(now=NOW)
    assert sorted(iccid.partition(":")[0] for iccid in world.results()) == ["in", "in"]
    assert instance["usage_as_of"] == NOW
    assert world.results()["in: used"]["projected_usage_mb"] == money("3")
    world.execute("UPDATE amop.device SET status = 'ACTIVATED' WHERE iccid = 'in: used'")
    world.optimize(now=NOW, opened_by="carrier_optimization_jasper/again")
    # Half of the cycle is over: twice the usage, and 1 %.
    assert world.results()["in: used"]["projected_usage_mb"] == money("6.06")


def test_a_billing_period_of_another_provider_is_refused_and_the_right_ones_are_named(world: ClosedWorld) -> None:
    world.insert(
        "service_provider", id=2, tenant_id=1, integration_id=1, name="Other", connection_id="c", time_zone="UTC"
    )
    foreign = world.insert(
        "billing_period",
        service_provider_id=2,
        bill_year=2026,
        bill_month=11,
        cycle_start=CYCLE_START,
        cycle_end=CYCLE_END,
    )
    with pytest.raises(OptimizationRequestError) as refused:
        world.open(now=LATER, billing_period_id=foreign)
    assert str(refused.value) == (
        f"billing_period_id {foreign} is not a billing period of provider 1 'AT&T'; its latest ones are "
        f"{world.next_period_id} (ends 2026-12-18 23:00 UTC), {world.billing_period_id} (ends 2026-11-18 23:00 UTC)"
    )
    with pytest.raises(OptimizationRequestError, match=rf"'Other'; its latest ones are {foreign} \(ends"):
        world.open(now=LATER, service_provider_id=2, billing_period_id=world.billing_period_id)
    assert world.execute("SELECT 1 FROM amop.optimization_session") == []


def _session(world: OptimizationWorld, opened_by: str) -> int:
    return int(
        world.insert(
            "optimization_session",
            service_provider_id=1,
            billing_period_id=world.billing_period_id,
            status="complete",
            opened_by=opened_by,
        )
    )
