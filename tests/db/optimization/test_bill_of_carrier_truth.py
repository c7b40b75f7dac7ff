"""The stored bill of a synced fleet, computed again from the carrier's own data and the price list by another way.

Nothing of the package computes the expected bill (`tests.worlds.true_fleet`). Only the plans that the optimization
chose are read from the warehouse.
"""

from __future__ import annotations

from datetime import datetime

import psycopg
import pytest
from psycopg.rows import dict_row

from amop.carriers.account import CarrierAccount
from amop.carriers.control_center import ControlCenterClient
from amop.device_sync import fetch
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run
from amop.device_sync.merge import merge_devices, merge_usage
from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, open_instance
from amop.runs.opening import SyncRequest, open_runs
from sandbox.carrier.catalogue import SERVICE_PROVIDERS, ServiceProvider, provider_of
from sandbox.carrier.running import running_carrier
from tests.worlds.open_gate import OpenGate
from tests.worlds.sandbox_reference import load_sandbox_reference
from tests.worlds.true_fleet import TrueFleet

SIMS = 150


def sync_and_optimize(dsn: str, provider: ServiceProvider, base_url: str, api_key: str, now: datetime) -> int:
    """Sync the provider with all details and usage, optimize it, and return the instance's id."""
    (run,) = open_runs(
        dsn, SyncRequest(provider.integration, "device_sync", "truth", optimization="never", full_sync=True), now=now
    )
    account = CarrierAccount.from_connection_fields(
        connection_id=provider.connection_id,
        service_provider_name=provider.name,
        host=base_url,
        schema=None,
        port=None,
        login=provider.api_user,
        password=api_key,
        extra={"calls_per_second": 1000},
    )
    fetch.queue_sync(dsn, run.run_id)
    with ControlCenterClient(account, OpenGate()) as client:
        fetch.fetch_devices(dsn, run.run_id, client, clock=lambda: now)
        fetch.fetch_usage(dsn, run.run_id, client, clock=lambda: now)
    for step in (merge_devices, merge_usage, update_communication_plans, complete_run):
        step(dsn, run.run_id, now=now)
    request = OptimizationRequest(provider.integration, "carrier_optimization/truth", provider.id)
    instance_id = open_instance(dsn, request, now=now)["instance_id"]
    inputs.group_communication_plans(dsn, instance_id)
    inputs.validate_groups(dsn, instance_id, now=now)
    inputs.project_usage(dsn, instance_id)
    solve.assign_base(dsn, instance_id)
    solve.solve(dsn, instance_id)
    results.write_results(dsn, instance_id)
    return instance_id


@pytest.mark.parametrize("integration", [provider.integration for provider in SERVICE_PROVIDERS])
def test_the_stored_bill_is_that_of_the_carriers_own_data_to_the_last_decimal(
    warehouse_dsn: str, moment: datetime, integration: str
) -> None:
    provider = provider_of(integration)
    load_sandbox_reference(warehouse_dsn)
    with (
        running_carrier(
            devices_per_account=SIMS, accounts=(integration,), as_of=moment, limits_are_enforced=False
        ) as carrier,
        psycopg.connect(warehouse_dsn, autocommit=True, row_factory=dict_row) as warehouse,
    ):
        instance_id = sync_and_optimize(warehouse_dsn, provider, carrier.base_url, carrier.api_key, moment)
        instance = warehouse.execute("SELECT * FROM amop.optimization_instance WHERE id = %s", [instance_id]).fetchone()
        rows = warehouse.execute(
            "SELECT device.iccid, result.from_rate_plan, result.to_rate_plan, base.rate_plan_code AS base_rate_plan"
            " FROM amop.optimization_device_result AS result JOIN amop.device AS device ON device.id = result.device_id"
            " JOIN amop.optimization_base_assignment AS assigned ON assigned.device_id = result.device_id"
            " JOIN amop.carrier_rate_plan AS base ON base.id = assigned.rate_plan_id"
        ).fetchall()
        truth = carrier.truth(provider.api_user)
    assert instance is not None
    fleet = TrueFleet(provider, truth, instance["usage_as_of"])
    assert {row["iccid"] for row in rows} == set(fleet.sims), "the SIMs that the carrier bills"
    known = {plan.rate_plan_code for plan in provider.rate_plans}
    present = {row["iccid"]: row["from_rate_plan"] for row in rows if row["from_rate_plan"] in known}
    assert all(fleet.sims[iccid]["rate_plan"] == code for iccid, code in present.items())
    base = {row["iccid"]: row["base_rate_plan"] for row in rows}
    assert fleet.bill(base | present) == instance["current_cost"]
    assert fleet.bill({row["iccid"]: row["to_rate_plan"] for row in rows}) == instance["total_cost"]
    assert fleet.bill(base) == instance["base_cost"]
    assert instance["total_cost"] < instance["current_cost"]
