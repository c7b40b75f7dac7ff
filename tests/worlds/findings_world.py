"""Fleets with planted findings: daily syncs, usage of several habits, and what is unusual; for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from amop.findings.check import check_provider
from tests.worlds.optimization_world import CYCLE_START, MEGABYTE, NOW, OptimizationWorld

PREVIOUS_START = CYCLE_START - timedelta(days=30)
OLD_START = PREVIOUS_START - timedelta(days=31)
FIRST_SYNC = NOW - timedelta(days=70)
AS_OF = NOW.replace(hour=9, minute=0, second=0, microsecond=0)
"""The latest sync, as the simulated night reads it."""
LONG_AGO = NOW - timedelta(days=400)

Truth = set[tuple[str, str]]
"""Kind and subject of the findings."""


class FindingsWorld(OptimizationWorld):
    """Provider 1 with 70 daily syncs, an open billing period and two closed ones.

    Args:
        dsn: a fresh migrated warehouse.
        settings: columns of ``service_provider`` that differ from their defaults.
    """

    def __init__(self, dsn: str, **settings: Any) -> None:
        super().__init__(dsn, **settings)
        self.periods = [(self.billing_period_id, CYCLE_START)]
        for month, start, end in ((10, PREVIOUS_START, CYCLE_START), (9, OLD_START, PREVIOUS_START)):
            period_id = self.insert(
                "billing_period",
                service_provider_id=1,
                bill_year=2026,
                bill_month=month,
                cycle_start=start,
                cycle_end=end,
            )
            self.periods.append((period_id, start))
        self.days = [AS_OF - timedelta(days=number) for number in range(69, -1, -1)]
        for day in self.days:
            self.add_run(day)

    def add_run(self, as_of: datetime, **columns: Any) -> int:
        """Add a complete sync."""
        values = {
            "dag_id": "device_sync_jasper",
            "dag_run_id": as_of.isoformat(),
            "status": "complete",
            "is_full": True,
            "usage_as_of": as_of,
            "usage_merged_at": as_of,
            "devices_merged_at": as_of,
            "started_at": as_of,
            "ended_at": as_of,
        } | columns
        return int(
            self.insert("device_sync_run", service_provider_id=1, billing_period_id=self.period_at(as_of), **values)
        )

    def period_at(self, moment: datetime) -> int:
        """Return the billing period of a moment."""
        return next(int(period_id) for period_id, start in self.periods if moment >= start)

    def add_device(
        self,
        iccid: str,
        rate_plan: str | None,
        daily_mb: Sequence[float] = (),
        *,
        communication_plan: str = "Meters",
        first_listed: datetime = FIRST_SYNC,
        **columns: Any,
    ) -> int:
        """Add a SIM with its usage of the latest days, the last element that of the latest sync."""
        days = self.days[len(self.days) - len(daily_mb) :]
        used = [(day, round(mb * MEGABYTE)) for day, mb in zip(days, daily_mb, strict=True) if mb > 0]
        in_cycle = sum(usage for day, usage in used if day >= CYCLE_START)
        sim = self.add_sim(
            iccid,
            communication_plan,
            rate_plan,
            in_cycle / MEGABYTE,
            **{"last_usage_date": used[-1][0] if used else None, "date_activated": LONG_AGO} | columns,
        )
        with psycopg.connect(self.dsn) as connection:
            connection.cursor().executemany(
                "INSERT INTO amop.device_usage VALUES (%s, %s, %s, %s, 0, 0)",
                [(sim, day.date(), self.period_at(day), usage) for day, usage in used],
            )
        self.add_history(sim, first_listed, rate_plan, communication_plan)
        return sim

    def add_history(
        self,
        sim: int,
        as_of: datetime,
        rate_plan: str | None,
        communication_plan: str = "Meters",
        status: str = "ACTIVATED",
    ) -> None:
        """Let the carrier have listed a SIM like this from a sync on."""
        self.execute(
            "INSERT INTO amop.device_history VALUES (%s, %s, %s, %s, %s, %s)",
            sim,
            as_of.date(),
            as_of,
            status,
            rate_plan,
            communication_plan,
        )

    def check(self, now: datetime = NOW) -> dict[str, int]:
        """Check the provider."""
        return check_provider(self.dsn, 1, now=now)

    def findings(self) -> list[dict[str, Any]]:
        """Return the findings that are not dismissed, the most money first."""
        return self.execute("SELECT * FROM amop.finding WHERE dismissed_at IS NULL ORDER BY amount DESC, kind, subject")

    def found(self) -> Truth:
        """Return kind and subject of the findings."""
        return {(row["kind"], row["subject"]) for row in self.findings()}

    def add_plans(self) -> None:
        """Add three plans, two of one pool, and two communication plans."""
        self.add_rate_plan("Small 30", "2", "30", overage_rate="0.5")
        self.add_rate_plan("Large 300", "9", "300", overage_rate="0.5")
        pooled = {"overage_rate": "0.4", "allows_sim_pooling": True, "pool": "Fleet"}
        self.add_rate_plan("Pooled 50", "3", "50", **pooled)
        self.add_rate_plan("Pooled 100", "5", "100", **pooled)
        self.add_rate_plan("Partner", "4", "40", overage_rate="0.5")
        self.add_communication_plan("Meters", ["Small 30", "Large 300", "Pooled 50", "Pooled 100"])
        self.add_communication_plan("Cameras", ["Large 300"])


def add_seeded_fleet(world: FindingsWorld, seed: int, *, size: int = 160) -> Truth:
    """Add a fleet with usage of several habits, plant 14 findings in it, and return them.

    The habits that are no findings: noise of a third, weekdays only, one day of the week, a monthly update, a growing
    fleet, quiet SIMs that were used 59 days ago or were listed lately, plans that this package changed.
    """
    draw = random.Random(seed)
    world.add_plans()
    for number in range(size):
        mean = draw.choice([0.05, 0.2, 0.5, 0.8])
        habit = draw.choice(["steady", "weekdays", "weekly", "monthly", "growing", "steady", "steady"])
        plan = draw.choice(["Small 30", "Pooled 100"])
        world.add_device(f"{seed:04}{number:06}", plan, [_usage(draw, mean, habit, day) for day in range(70)])
    return _plant(world, draw, f"{seed:04}9")


def _usage(draw: random.Random, mean: float, habit: str, day: int) -> float:
    noise = max(0.0, draw.gauss(1, 0.33))
    match habit:
        case "weekdays":
            return mean * noise if day % 7 < 5 else 0
        case "weekly":
            return 7 * mean * noise if day % 7 == 6 else 0
        case "monthly":
            return 12 * noise if day % 28 == 27 else mean * noise / 10
        case "growing":
            return mean * noise * (0.5 + day / 70)
    return mean * noise


def _plant(world: FindingsWorld, draw: random.Random, prefix: str) -> Truth:
    truth: Truth = set()
    steady = [0.4] * 67

    def plant(kind: str, name: str) -> str:
        truth.add((kind, prefix + name))
        return prefix + name

    for number in range(3):
        level = draw.uniform(20, 60)
        world.add_device(plant("usage_spike", f"1{number}"), "Small 30", [*steady, level, level, level])
    for number in range(3):
        world.add_device(plant("no_usage", f"2{number}"), "Small 30", first_listed=NOW - timedelta(days=66 - number))
    for number in range(2):
        sim = world.add_device(plant("imei_changed", f"3{number}"), "Small 30", [0.3] * 70)
        world.execute(
            "INSERT INTO amop.device_imei_change VALUES (%s, %s, '356938035643809', '490154203237518')",
            sim,
            NOW - timedelta(days=draw.randint(1, 20)),
        )
    for number in range(2):
        sim = world.add_device(plant("plan_changed", f"4{number}"), "Large 300", [0.3] * 70)
        world.execute("UPDATE amop.device_history SET rate_plan = 'Small 30' WHERE device_id = %s", sim)
        world.add_history(sim, AS_OF - timedelta(days=draw.randint(1, 12)), "Large 300")
    for number in range(2):
        world.add_device(plant("ineligible_plan", f"5{number}"), "Partner", [0.3] * 70)
    for number in range(2):
        late = AS_OF - timedelta(days=draw.randint(1, 8))
        name = plant("unknown_activation", f"6{number}")
        world.add_device(name, "Small 30", [0.3], first_listed=late, date_activated=None)
    _add_innocent(world, draw, prefix)
    return truth


def _add_innocent(world: FindingsWorld, draw: random.Random, prefix: str) -> None:
    """Add SIMs that look like findings and are none."""
    used_59_days_ago = [*[0.3] * 12, *[0.0] * 58]
    world.add_device(f"{prefix}70", "Small 30", used_59_days_ago)
    world.add_device(f"{prefix}71", "Small 30", first_listed=NOW - timedelta(days=30))
    world.add_device(f"{prefix}72", "Small 30", status="DEACTIVATED")
    world.add_device(f"{prefix}73", "Small 30", [0.3] * 70, date_activated=None)
    world.add_device(f"{prefix}74", "Pooled 100", [*[0.4] * 67, 25, 25, 25])  # its pool has room for it
    young = AS_OF - timedelta(days=6)
    world.add_device(f"{prefix}75", "Small 30", [0.1, 0.1, 20, 20], first_listed=young, date_activated=young)
    seen = AS_OF - timedelta(days=draw.randint(1, 9))
    own = world.add_device(f"{prefix}76", "Large 300", [0.3] * 70)
    world.execute("UPDATE amop.device_history SET rate_plan = 'Small 30' WHERE device_id = %s", own)
    world.add_history(own, seen, "Large 300")
    session_id = world.insert(
        "optimization_session", service_provider_id=1, billing_period_id=world.billing_period_id, opened_by="tests"
    )
    world.insert(
        "rate_plan_change",
        instance_id=world.insert("optimization_instance", session_id=session_id),
        device_id=own,
        from_rate_plan="Small 30",
        to_rate_plan="Large 300",
        state="applied",
        applied_at=seen - timedelta(hours=5),
    )
