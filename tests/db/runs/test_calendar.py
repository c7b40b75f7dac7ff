"""Whole days of a provider at the dates at which mistakes about dates would be seen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, open_instance
from sandbox.carrier.catalogue import SERVICE_PROVIDERS, provider_of
from sandbox.carrier.fleet import billing_cycle
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import on_awkward_dates, present
from tests.worlds.sync_world import SyncWorld

SIMS = 60
JASPER = provider_of("jasper")
NO_CARRIER: Any = None
DATES_IN_THE_WINDOW = 8
"""A session is due on the last eight local dates of a billing period."""
PERIOD_OF_RUN = """
SELECT period.cycle_start, period.cycle_end
FROM amop.device_sync_run AS run INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
WHERE run.id = %s
"""


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier)


def is_due(moment: datetime) -> bool:
    """Return whether the Jasper provider's session is due, by the carrier's own calendar."""
    zone = ZoneInfo(JASPER.time_zone)
    _, end = billing_cycle(moment, JASPER)
    return (end.astimezone(zone).date() - moment.astimezone(zone).date()).days < DATES_IN_THE_WINDOW


def period_of(world: SyncWorld, run_id: int) -> tuple[datetime, datetime]:
    """Return the billing period of a run."""
    (row,) = world.rows(PERIOD_OF_RUN, run_id)
    return row["cycle_start"], row["cycle_end"]


@on_awkward_dates
def test_a_day_and_the_next_are_synced_into_the_carriers_billing_periods(world: SyncWorld, moment: datetime) -> None:
    truth = world.truth()
    first = world.sync("first day", optimization="auto")
    assert first["status"] == "complete" and first["is_full"]
    assert period_of(world, first["id"]) == billing_cycle(moment, JASPER)
    assert (first["optimization_session_id"] is not None) == is_due(moment)
    assert {iccid: row["ctd_data_usage"] for iccid, row in world.devices().items()} == {
        iccid: sim["data_usage"] for iccid, sim in truth.items()
    }

    tomorrow = moment + timedelta(days=1)
    second = world.run(world.open("second day", now=tomorrow, optimization="auto"))
    assert second["status"] == "running" and not second["is_full"]
    assert second["modified_since"] == first["started_at"] - timedelta(days=1)
    assert period_of(world, second["id"]) == billing_cycle(tomorrow, JASPER)


@on_awkward_dates
def test_a_session_that_is_asked_for_optimizes_the_present_period_to_the_end(world: SyncWorld) -> None:
    run = world.sync("day", optimization="always")
    request = OptimizationRequest(
        "jasper",
        "carrier_optimization_jasper/session",
        JASPER.id,
        optimization_session_id=run["optimization_session_id"],
    )
    opened: Any = open_instance(world.dsn, request, now=present())
    instance_id = opened["instance_id"]
    inputs.group_communication_plans(world.dsn, instance_id)
    inputs.validate_groups(world.dsn, instance_id, now=present())
    inputs.project_usage(world.dsn, instance_id)
    solve.assign_base(world.dsn, instance_id)
    solve.solve(world.dsn, instance_id)
    results.write_results(world.dsn, instance_id)
    results.publish_report(world.dsn, instance_id, now=present())
    (instance,) = world.rows("SELECT * FROM amop.optimization_instance WHERE id = %s", instance_id)
    assert instance["run_status"] == "complete_with_success"
    assert instance["lower_bound"] <= instance["total_cost"] <= min(instance["current_cost"], instance["base_cost"])
    (session,) = world.rows("SELECT * FROM amop.optimization_session")
    (period,) = world.rows("SELECT * FROM amop.billing_period WHERE id = %s", session["billing_period_id"])
    assert (period["cycle_start"], period["cycle_end"]) == period_of(world, run["id"])
    stored = world.rows("SELECT * FROM amop.optimization_device_result WHERE instance_id = %s", instance_id)
    assert stored
    assert all(row["projected_usage_mb"] >= row["usage_mb"] for row in stored)


CASES = [("auto", 9, 0), ("auto", 3, 1), ("always", 20, 1), ("never", 3, 0)]
"""Parameter `optimization`, days before the end of the billing period, sessions that are opened."""


@on_awkward_dates
def test_a_session_is_opened_when_due_or_forced(warehouse_dsn: str, moment: datetime) -> None:
    world = SyncWorld(warehouse_dsn, NO_CARRIER)
    _, end = billing_cycle(moment, JASPER)
    for optimization, days_before_the_end, sessions in CASES:
        world.delete_days()
        asked = end - timedelta(days=days_before_the_end)
        run_id = world.open("asked", now=asked, optimization=optimization)
        assert period_of(world, run_id) == billing_cycle(asked, JASPER) == billing_cycle(moment, JASPER)
        session_id = world.run(run_id)["optimization_session_id"]
        assert (session_id is not None) == bool(sessions), optimization
        if session_id is not None:
            world.rows("UPDATE amop.optimization_session SET status = 'failed' RETURNING id")


@on_awkward_dates
def test_every_provider_has_the_carriers_billing_period_from_the_start(warehouse_dsn: str, moment: datetime) -> None:
    """The reference data gives each provider its present period, whatever its closing day, hour and time zone."""
    world = SyncWorld(warehouse_dsn, NO_CARRIER)
    periods = world.rows("SELECT service_provider_id, cycle_start, cycle_end FROM amop.billing_period")
    assert {row["service_provider_id"]: (row["cycle_start"], row["cycle_end"]) for row in periods} == {
        provider.id: billing_cycle(moment, provider) for provider in SERVICE_PROVIDERS
    }
