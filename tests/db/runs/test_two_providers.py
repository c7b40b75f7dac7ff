"""Two providers of one tenant on one integration: synced at once, and nothing of one gets into the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from amop.archive.page_archive import ArchivedRun
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import transaction
from amop.device_sync import fetch
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run, session_to_optimize
from amop.device_sync.merge import merge_devices, merge_usage
from amop.device_sync.quality import check_quality
from amop.device_sync.sync_log import sync_log_key
from amop.optimization import store as optimization
from amop.runs.opening import SyncRequest, open_runs
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference

ONE, TWO = 1, 7
USERS = {ONE: "api_jasper", TWO: "api_pod19"}
SIMS = 12
SHARED = "Shared name"


@pytest.fixture(scope="module")
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper", "pod19"), limits_are_enforced=False) as carrier:
        for user in USERS.values():
            first = carrier.truth(user)["devices"][0]["iccid"]
            carrier.change_devices([first], account=user, communication_plan=SHARED)
        yield carrier


class World:
    def __init__(self, dsn: str, carrier: RunningCarrier) -> None:
        self.dsn, self.carrier = dsn, carrier
        load_sandbox_reference(dsn)
        self.execute(
            "INSERT INTO amop.service_provider (id, tenant_id, integration_id, name, connection_id, time_zone,"
            " bill_period_end_day, bill_period_end_hour) SELECT %s, tenant_id, integration_id, 'Second', 'c2',"
            " time_zone, bill_period_end_day, bill_period_end_hour FROM amop.service_provider WHERE id = %s",
            TWO, ONE,
        )  # fmt: skip

    def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def open(self, name: str = "monday") -> dict[int, int]:
        """Open the runs of both; return run id by provider."""
        runs = open_runs(
            self.dsn, SyncRequest("jasper", "device_sync_jasper", name, optimization="always"), now=present()
        )
        return {run.service_provider_id: run.run_id for run in runs}

    def sync(self, provider: int, run_id: int) -> None:
        user = USERS[provider]
        account = CarrierAccount("c", "X", self.carrier.base_url, user, self.carrier.api_key, 1000, is_loopback=True)
        gate = PostgresCallGate(self.dsn, account.gate_key, account.calls_per_second)
        fetch.queue_sync(self.dsn, run_id)
        with ControlCenterClient(account, gate) as client:
            fetch.fetch_devices(self.dsn, run_id, client)
            fetch.fetch_usage(self.dsn, run_id, client)
        for step in (merge_devices, merge_usage, update_communication_plans):
            step(self.dsn, run_id, now=present())
        check_quality(self.dsn, run_id)
        complete_run(self.dsn, run_id, now=present())


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> World:
    return World(warehouse_dsn, carrier)


def test_both_are_synced_at_once_and_each_has_its_own_sims_session_and_notice(world: World) -> None:
    runs = world.open()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda item: world.sync(*item), runs.items()))
    for provider, run_id in runs.items():
        found = world.execute("SELECT iccid FROM amop.device WHERE service_provider_id = %s AND is_active", provider)
        truth = {device["iccid"] for device in world.carrier.truth(USERS[provider])["devices"]}
        assert {row["iccid"] for row in found} == truth
        (run,) = world.execute("SELECT status, devices_seen FROM amop.device_sync_run WHERE id = %s", run_id)
        assert run == {"status": "complete", "devices_seen": SIMS}
        session = session_to_optimize(world.dsn, run_id)
        assert session is not None and session.service_provider_id == provider
    notices = world.execute("SELECT dedupe_key, payload FROM amop.amop_outbox WHERE kind = 'daily_sync' ORDER BY id")
    assert sorted(row["dedupe_key"] for row in notices) == sorted(
        f"daily_sync:{run_id}:{provider}" for provider, run_id in runs.items()
    )
    assert notices[0]["payload"] == notices[1]["payload"]  # one tenant, one integration
    sessions = world.execute(
        "SELECT DISTINCT service_provider_id FROM amop.optimization_session ORDER BY service_provider_id"
    )
    assert [row["service_provider_id"] for row in sessions] == [ONE, TWO]


def test_a_communication_plan_of_one_name_belongs_to_each_provider_alone(world: World) -> None:
    runs = world.open()
    for provider, run_id in runs.items():
        world.sync(provider, run_id)
    plans = world.execute("SELECT service_provider_id FROM amop.communication_plan WHERE name = %s ORDER BY 1", SHARED)
    assert [row["service_provider_id"] for row in plans] == [ONE, TWO]
    # Only the first provider's plan of that name allows rate plans.
    world.execute(
        "INSERT INTO amop.communication_plan_rate_plan (communication_plan_id, carrier_rate_plan_id)"
        " SELECT communication.id, min(plan.id) FROM amop.communication_plan AS communication,"
        " amop.carrier_rate_plan AS plan WHERE communication.name = %s AND communication.service_provider_id = %s"
        " AND plan.service_provider_id = %s GROUP BY communication.id",
        SHARED, ONE, ONE,
    )  # fmt: skip
    allowed = {}
    with transaction(world.dsn) as connection:
        for provider in (ONE, TWO):
            (period,) = world.execute(
                "SELECT max(billing_period_id) AS id FROM amop.device_sync_run WHERE service_provider_id = %s", provider
            )
            known = optimization.comm_groups.communication_plans(
                connection, service_provider_id=provider, billing_period_id=period["id"], usage_as_of=present()
            )
            allowed[provider] = {plan.name: len(plan.rate_plan_ids) for plan in known}[SHARED]
    assert allowed == {ONE: 1, TWO: 0}


def test_files_of_two_providers_never_have_one_name() -> None:
    archived = ArchivedRun(
        **dict.fromkeys(ArchivedRun.__dataclass_fields__)  # type: ignore[arg-type]
        | {
            "run_id": 5,
            "integration": "jasper",
            "time_zone": "UTC",
            "started_at": datetime(2026, 11, 24, 12, tzinfo=UTC),
        }
    )
    keys = [
        (sync_log_key("jasper", provider, 5), replace(archived, service_provider_id=provider).key())
        for provider in (ONE, TWO)
    ]
    assert all(one != two for one, two in zip(*keys, strict=True))
    assert keys[0] == (
        "device_sync/jasper/1/sync_log_5.csv",
        ("jasper", "1", "2026-11-24", "20261124T120000Z_run_5.incomplete.jsonl.gz"),
    )


OPTIMIZED = ("jasper", "pod19", "tmobile_jasper", "rogers")
"""The gate of the product: exactly these, and only when asked."""


@pytest.mark.parametrize("optimization", ["always", "never"])
@pytest.mark.parametrize("integration", KNOWN_INTEGRATIONS)
def test_only_a_sync_of_an_integration_that_is_optimized_starts_an_optimization_and_only_when_asked(
    warehouse_dsn: str, integration: str, optimization: str
) -> None:
    load_sandbox_reference(warehouse_dsn)
    supports = integration in OPTIMIZED
    assert KNOWN_INTEGRATIONS[integration].supports_optimization == supports
    if not supports:
        with transaction(warehouse_dsn) as connection:
            connection.execute(
                "UPDATE amop.service_provider SET integration_id = (SELECT id FROM amop.integration WHERE name = %s)"
                " WHERE id = 1",
                [integration],
            )
    request = SyncRequest(integration, f"device_sync_{integration}", "monday", optimization=optimization)
    (run,) = open_runs(warehouse_dsn, request, now=present())
    assert (run.optimization_session_id is not None) == (supports and optimization == "always")
    found = session_to_optimize(warehouse_dsn, run.run_id)
    assert (found is not None and found.optimization_session_id) == (run.optimization_session_id or False)
    if not supports:
        # Not even with a session of that provider.
        with transaction(warehouse_dsn) as connection:
            connection.execute(
                "WITH session AS (INSERT INTO amop.optimization_session (service_provider_id, billing_period_id,"
                " opened_by) SELECT service_provider_id, billing_period_id, 'x' FROM amop.device_sync_run WHERE id = %s"
                " RETURNING id) UPDATE amop.device_sync_run SET optimization_session_id = (SELECT id FROM session)"
                " WHERE id = %s",
                [run.run_id, run.run_id],
            )
        assert session_to_optimize(warehouse_dsn, run.run_id) is None
