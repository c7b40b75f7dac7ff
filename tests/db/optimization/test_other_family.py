"""Gate, bill and plan changes of an integration on another API than Cisco's, optimized in this test only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from amop import config, families
from amop.carriers import registry
from amop.carriers.account import CarrierAccount
from amop.carriers.registry import client_of
from amop.device_sync import fetch
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run, session_to_optimize
from amop.device_sync.merge import merge_devices, merge_usage
from amop.families import Limits
from amop.optimization import inputs, results, solve
from amop.optimization.instances import OptimizationRequest, check_request, open_instance
from amop.plan_changes.apply import apply_changes
from amop.plan_changes.decide import plan_changes
from amop.plan_changes.rules import ChangesStatus
from amop.plan_changes.verify import verify_changes
from amop.runs.opening import ProviderRun, SyncRequest, open_runs
from sandbox.carrier.account import CarrierAccount as SandboxAccount
from sandbox.carrier.catalogue import provider_of
from sandbox.carrier.fleet import billing_cycle, generate_fleet
from tests.worlds import plain_family
from tests.worlds.moments import present
from tests.worlds.open_gate import OpenGate
from tests.worlds.plain_family import PlainClient, PlainServer
from tests.worlds.sandbox_reference import load_sandbox_reference
from tests.worlds.true_fleet import TrueFleet

SIMS = 90
PROVIDER = provider_of("jasper")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the family and its integration to the registries."""
    monkeypatch.setitem(families.FAMILIES, "plain", plain_family.FAMILY)
    monkeypatch.setitem(registry.CLIENTS, "plain", PlainClient)
    for known in (config.KNOWN_INTEGRATIONS, config.INTEGRATIONS):
        monkeypatch.setitem(known, "plain", plain_family.integration())


@pytest.fixture
def moment() -> datetime:
    """Return a moment in the middle of the present billing period."""
    start, end = billing_cycle(present(), PROVIDER)
    return start + (end - start) / 2


@pytest.fixture
def server(plain: None, moment: datetime) -> Iterator[tuple[PlainServer, CarrierAccount]]:
    fleet = generate_fleet(integration="jasper", device_count=SIMS, seed=7, as_of=moment)
    server = PlainServer(SandboxAccount(fleet))
    with server.running() as address:
        yield server, CarrierAccount("carrier_plain", "Plain", address, "user", "key", is_loopback=True)


@pytest.fixture
def warehouse(warehouse_dsn: str) -> str:
    load_sandbox_reference(warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute(plain_family.INTEGRATION_ROW)
        connection.execute(
            "UPDATE amop.service_provider SET integration_id = %s, detail_calls_per_run = %s, write_is_enabled = true,"
            " can_auto_update_rate_plans = true, approval_above_changes = NULL WHERE id = 1",
            [plain_family.INTEGRATION_ID, SIMS],
        )
    return warehouse_dsn


def sync(warehouse: str, account: CarrierAccount, moment: datetime, name: str, optimization: str) -> ProviderRun:
    """Sync the provider's list, usage and details at a moment, and merge them."""
    wanted = SyncRequest("plain", "device_sync_plain", name, optimization=optimization, full_sync=True)
    (run,) = open_runs(warehouse, wanted, now=moment)
    fetch.queue_sync(warehouse, run.run_id)
    with client_of("plain", account, OpenGate()) as client:
        fetch.fetch_devices(warehouse, run.run_id, client, clock=lambda: moment)
        fetch.fetch_usage(warehouse, run.run_id, client, clock=lambda: moment)
    for step in (merge_devices, merge_usage, update_communication_plans, complete_run):
        step(warehouse, run.run_id, now=moment)
    return run


def optimize(warehouse: str, session_id: int, moment: datetime) -> int:
    """Optimize a session; return the instance."""
    request = OptimizationRequest("plain", "carrier_optimization_plain/d", 1, optimization_session_id=session_id)
    check_request(warehouse, request)
    instance_id = int(open_instance(warehouse, request, now=moment)["instance_id"])
    inputs.group_communication_plans(warehouse, instance_id)
    inputs.validate_groups(warehouse, instance_id, now=moment)
    inputs.project_usage(warehouse, instance_id)
    solve.assign_base(warehouse, instance_id)
    solve.solve(warehouse, instance_id)
    results.write_results(warehouse, instance_id)
    results.publish_report(warehouse, instance_id, now=moment)
    return instance_id


def test_an_optimized_integration_on_another_api_goes_from_its_list_to_changed_plans(
    server: tuple[PlainServer, CarrierAccount], warehouse: str, moment: datetime
) -> None:
    plain_server, account = server
    run = sync(warehouse, account, moment, "d", "always")
    session_id = run.optimization_session_id
    assert session_id is not None
    assert plain_server.calls.count("list") == 3
    found = session_to_optimize(warehouse, run.run_id)
    assert found is not None and found.optimization_session_id == session_id

    instance_id = optimize(warehouse, session_id, moment)
    instance, rows = optimized(warehouse, instance_id)
    fleet = TrueFleet(PROVIDER, plain_server.account.truth(), instance["usage_as_of"])
    assert {row["iccid"] for row in rows} == set(fleet.sims)
    assert fleet.bill({row["iccid"]: row["to_rate_plan"] for row in rows}) == instance["total_cost"]
    assert instance["lower_bound"] <= instance["total_cost"] < instance["current_cost"]

    proposed = {row["iccid"]: row["to_rate_plan"] for row in rows if row["from_rate_plan"] != row["to_rate_plan"]}
    status = plan_changes(
        warehouse, instance_id, call_rate=lambda *_: 1000.0, planned_by="carrier_optimization_plain/d", now=moment
    )
    assert status is ChangesStatus.APPROVED
    later = moment + timedelta(minutes=1)
    with client_of("plain", account, OpenGate(), may_write=True) as client:
        states = apply_changes(warehouse, instance_id, client, calls_per_second=1000.0, clock=lambda: later)
        verified = verify_changes(warehouse, instance_id, client, clock=lambda: later)
    assert states == {"applied": len(proposed)}
    assert verified == {"verified": min(50, len(proposed)), "different": 0}
    assert plain_server.calls.count("move") == len(proposed) > 5
    assert {iccid: plain_server.account.sims[iccid].rate_plan for iccid in proposed} == proposed


def test_a_sim_whose_plan_the_carrier_changes_no_more_this_month_keeps_it_with_the_reason(
    server: tuple[PlainServer, CarrierAccount], warehouse: str, moment: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_server, account = server
    limited = replace(plain_family.FAMILY, limits=Limits(calls_per_second=1000, changes_per_sim_and_month=1))
    monkeypatch.setitem(families.FAMILIES, "plain", limited)
    first = sync(warehouse, account, moment - timedelta(days=1), "first", "never")
    assert first.optimization_session_id is None
    sims = [sim for sim in plain_server.account.sims.values() if sim.rate_plan == "ATT 25 MB"]
    moved = {sim.iccid for sim in sims if sim.communication_plan == "Telemetry LTE-M" and sim.status == "ACTIVATED"}
    for iccid in moved:  # by another party, to a plan that is too large for them
        plain_server.account.change_rate_plan(iccid, "ATT 100 MB")
    assert len(moved) >= 5
    run = sync(warehouse, account, moment, "second", "always")
    assert run.optimization_session_id is not None
    _, rows = optimized(warehouse, optimize(warehouse, run.optimization_session_id, moment))
    kept = {row["iccid"]: row for row in rows if "this month as often as the carrier accepts (1)" in row["reason"]}
    assert kept.keys() == moved
    assert {row["to_rate_plan"] for row in kept.values()} == {"ATT 100 MB"}
    assert sum(row["from_rate_plan"] != row["to_rate_plan"] for row in rows) > 5


def optimized(dsn: str, instance_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return an instance and the results of its SIMs."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        instance = connection.execute(
            "SELECT * FROM amop.optimization_instance WHERE id = %s", [instance_id]
        ).fetchone()
        rows = connection.execute(
            "SELECT device.iccid, result.from_rate_plan, result.to_rate_plan, result.reason"
            " FROM amop.optimization_device_result AS result JOIN amop.device AS device ON device.id = result.device_id"
        ).fetchall()
    assert instance is not None
    return instance, rows
