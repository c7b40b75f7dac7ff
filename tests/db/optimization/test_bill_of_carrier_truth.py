"""The stored bill of a synced fleet, computed again from the carrier's own data and the price list by another way.

Nothing of the package computes here: SIMs come from the carrier's truth, prices from the sandbox's catalogue, and every
figure is a fraction until it is rounded. Only the plans that the optimization chose are read from the warehouse.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

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
from sandbox.carrier.catalogue import SERVICE_PROVIDERS, RatePlan, ServiceProvider, provider_of
from sandbox.carrier.running import running_carrier
from tests.worlds.open_gate import OpenGate
from tests.worlds.sandbox_reference import load_sandbox_reference

SIMS = 150
MICRO = 10**6
BYTES_PER_MB = 1_048_576
MICROSECOND = timedelta(microseconds=1)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


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


class TrueFleet:
    """The bill of a fleet by the carrier's truth.

    Args:
        provider: the account and its price list.
        truth: all of the account, as the carrier has it.
        read_at: when the usage was read; it is projected from there to the end of the cycle.
    """

    def __init__(self, provider: ServiceProvider, truth: Mapping[str, Any], read_at: datetime) -> None:
        self.provider = provider
        self.start, self.end = (datetime.fromisoformat(truth[name]) for name in ("cycle_start", "cycle_end"))
        zone = ZoneInfo(provider.time_zone)
        self.days = (self.end.astimezone(zone).date() - self.start.astimezone(zone).date()).days
        whole, elapsed = ((moment - self.start) // MICROSECOND for moment in (self.end, read_at))
        self.growth = Fraction(whole * 101, elapsed * 100)
        self.sims = {sim["iccid"]: sim for sim in truth["devices"] if self._is_billed(sim)}

    def _activated(self, sim: Mapping[str, Any]) -> datetime | None:
        """Return when a SIM was activated, if that was within the cycle."""
        moment = None if sim["date_activated"] is None else datetime.fromisoformat(sim["date_activated"])
        return moment if moment is not None and self.start <= moment < self.end else None

    def _is_billed(self, sim: Mapping[str, Any]) -> bool:
        is_used = sim["data_usage"] or sim["sms_usage"] or sim["voice_usage"]
        return bool(sim["status"] == "ACTIVATED" or is_used or self._activated(sim))

    def usage(self, sim: Mapping[str, Any]) -> int:
        """Return the usage of a SIM at the end of the cycle, 1e-6 MB."""
        read = half_up(Fraction(sim["data_usage"] * MICRO, BYTES_PER_MB))
        return read if sim["status"] in {"DEACTIVATED", "RETIRED"} else half_up(read * self.growth)

    def bill(self, plan_of: Mapping[str, str]) -> Decimal:
        """Return the bill with each SIM on its plan: SIM by SIM, then pool by pool."""
        total, above = 0, dict[str, int]()
        for iccid, sim in self.sims.items():
            plan = self.provider.rate_plan(plan_of[iccid])
            days, activated = self.days, self._activated(sim)
            if self.provider.uses_proration and activated is not None:
                days = min(self.days, max(1, ceil((self.end - activated) / timedelta(days=1))))
            total += half_up(Fraction(plan.rate_charge) * MICRO * days / self.days)
            total += int(plan.base_rate * MICRO) + sim["sms_usage"] * int(plan.sms_rate * MICRO)
            excess = self.usage(sim) - int(plan.plan_mb * MICRO)
            if plan.allows_sim_pooling:
                above[_pool(plan)] = above.get(_pool(plan), 0) + excess
            else:
                total += _overage(plan, excess)
        for plan in {_pool(plan): plan for plan in self.provider.rate_plans if plan.allows_sim_pooling}.values():
            total += _overage(plan, above.get(_pool(plan), 0))
        return Decimal(total).scaleb(-6)


def _pool(plan: RatePlan) -> str:
    return f"pool {plan.pool}" if plan.pool else f"plan {plan.rate_plan_code}"


def _overage(plan: RatePlan, excess: int) -> int:
    blocks = ceil(Fraction(max(0, excess), int(plan.data_per_overage_charge * MICRO)))
    return blocks * int(plan.overage_rate * MICRO)


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
