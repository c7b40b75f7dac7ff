"""Sync providers of the matrix without Airflow: what an optimization starts from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg

from amop import ids
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.device_sync import fetch
from amop.device_sync.communication_plans import update_communication_plans
from amop.device_sync.complete_run import complete_run
from amop.device_sync.merge import merge_devices, merge_usage
from amop.device_sync.quality import check_quality
from amop.device_sync.summary import summarize
from amop.runs.opening import SyncRequest, open_runs
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.world import World
from tests.worlds.matrix_world import LISTED, Provider
from tests.worlds.moments import present

THREADS = 6
RUN_ID = "matrix_prepared"


def sync_providers(world: World, api: AirflowApi, providers: Sequence[Provider]) -> None:
    """Sync the providers, and let all of them have read their usage at one moment: the forecasts are then the same.

    The relay is paused meanwhile: it would end runs that Airflow does not know.
    """
    with api.paused(ids.AMOP_RELAY_DAG), ThreadPoolExecutor(THREADS) as threads:
        api.wait_until_idle(ids.AMOP_RELAY_DAG)
        list(threads.map(lambda provider: _sync(world, provider), providers))
    with psycopg.connect(world.warehouse_dsn()) as connection:
        connection.execute(
            "UPDATE amop.device_sync_run SET usage_as_of = (SELECT max(usage_as_of) FROM amop.device_sync_run"
            " WHERE dag_run_id LIKE %(run)s) WHERE dag_run_id LIKE %(run)s",
            {"run": f"{RUN_ID}%"},
        )


def _sync(world: World, provider: Provider) -> None:
    dsn, now = world.warehouse_dsn(), present()
    run_id = _open(dsn, provider, now)
    account = CarrierAccount.from_connection_fields(
        connection_id=provider.connection_id,
        service_provider_name=f"Matrix {provider.id}",
        host=world.carrier_address,
        schema=None,
        port=None,
        login=provider.user,
        password=world.secrets.carrier_api_key,
        extra={"calls_per_second": 5, "list_since": f"{now - LISTED:%Y-%m-%d}"},
    )
    gate = PostgresCallGate(dsn, account.gate_key, account.calls_per_second)
    fetch.queue_sync(dsn, run_id)
    with ControlCenterClient(account, gate) as client:
        fetch.fetch_devices(dsn, run_id, client)
        fetch.fetch_usage(dsn, run_id, client)
    merge_devices(dsn, run_id, now=now)
    merge_usage(dsn, run_id, now=now)
    update_communication_plans(dsn, run_id, now=now)
    check_quality(dsn, run_id)
    summarize(dsn, run_id)
    complete_run(dsn, run_id, now=now)


def _open(dsn: str, provider: Provider, now: datetime) -> int:
    request = SyncRequest(
        provider.integration,
        ids.device_sync_dag(provider.integration),
        f"{RUN_ID}_{provider.id}",
        service_provider_ids=[provider.id],
        optimization="never",
    )
    return open_runs(dsn, request, now=now)[0].run_id
