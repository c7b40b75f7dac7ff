"""The providers of the matrix: one for each cell, so that cells can run at once and every day is a first one.

All providers of an integration have the same SIMs, rate plans and usage, each in a carrier account of its own. What one
day leaves can therefore be compared with what any other day has left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from ruamel.yaml import YAML

from amop import ids
from sandbox.carrier.catalogue import SERVICE_PROVIDERS, provider_of
from sandbox.carrier.fleet import MODIFIED_WITHIN_DAYS
from sandbox.carrier.reference_file import reference_document
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.lifecycle import amop_command
from sandbox.world.world import World
from tests.worlds.e2e_world import sandbox_page
from tests.worlds.moments import present

SIMS = 12
DETAIL_CALLS = 2
CHANGES = 2
"""Most plan changes of one optimization."""
POOL_SLOTS = 32
LISTED = timedelta(days=MODIFIED_WITHIN_DAYS + 10)
"""The device list begins this long ago: no SIM was modified before, and no older window has to be read."""
CONNECTIONS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of the matrix, with an account of its own at the carrier."""

    id: int
    integration: str
    applies_changes: bool
    """True: its plan changes are applied after an approval; False: they are only proposed."""

    @property
    def user(self) -> str:
        """API user at the carrier."""
        return f"api_matrix_{self.id}"

    @property
    def connection_id(self) -> str:
        """Airflow connection."""
        return f"carrier_matrix_{self.id}"


@contextmanager
def providers_of_matrix(world: World, api: AirflowApi, providers: Sequence[Provider], folder: Path) -> Iterator[None]:
    """Add the providers to a running world within the ``with`` block; they are inactive afterwards.

    Inactive ones belong to no other run, because a run without given providers covers the active ones only.
    """
    _add_accounts(world, providers)
    _load(world, providers, folder / "matrix.yaml", is_active=True)
    for start in range(0, len(providers), CONNECTIONS_AT_ONCE):
        _add_connections(world, api, providers[start : start + CONNECTIONS_AT_ONCE])
    pools = {ids.carrier_pool(provider.integration) for provider in providers}
    before = {pool: int(api.request("GET", f"/pools/{pool}")["slots"]) for pool in pools}
    for pool in pools:
        _set_slots(api, pool, POOL_SLOTS)
    try:
        yield
    finally:
        for pool, slots in before.items():
            _set_slots(api, pool, slots)
        _load(world, providers, folder / "matrix.yaml", is_active=False)


def _add_accounts(world: World, providers: Sequence[Provider]) -> None:
    for integration in sorted({provider.integration for provider in providers}):
        users = [provider.user for provider in providers if provider.integration == integration]
        body = {"users": users, "like": provider_of(integration).api_user, "device_count": SIMS}
        sandbox_page(world.carrier_address, "accounts", post=body)


def _load(world: World, providers: Sequence[Provider], file: Path, *, is_active: bool) -> None:
    document = reference_document(SERVICE_PROVIDERS)
    entries = {entry["integration"]: entry for entry in document["service_providers"]}
    document["service_providers"] = [
        entries[provider.integration]
        | {
            "id": provider.id,
            "name": f"Matrix {provider.id}",
            "connection_id": provider.connection_id,
            "is_active": is_active,
            "detail_calls_per_run": DETAIL_CALLS,
            "write_is_enabled": provider.applies_changes,
            "can_auto_update_rate_plans": provider.applies_changes,
            "approval_above_changes": 0,
            "maximum_changes": CHANGES,
        }
        for provider in providers
    ]
    with file.open("w", encoding="utf-8") as output:
        YAML().dump(document, output)
    done = amop_command(world, "load-reference", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    with psycopg.connect(world.warehouse_dsn()) as connection:
        connection.execute(
            "UPDATE amop.billing_period SET cycle_end = greatest(cycle_end, now() + interval '4 hours')"
            " WHERE service_provider_id = ANY(%s)",
            ([provider.id for provider in providers],),
        )


def _add_connections(world: World, api: AirflowApi, providers: Sequence[Provider]) -> None:
    entities: list[dict[str, Any]] = [
        {
            "connection_id": provider.connection_id,
            "conn_type": "http",
            "host": world.carrier_address,
            "login": provider.user,
            "password": world.secrets.carrier_api_key,
            "extra": json.dumps({"calls_per_second": 5, "list_since": f"{present() - LISTED:%Y-%m-%d}"}),
        }
        for provider in providers
    ]
    action = {"action": "create", "entities": entities, "action_on_existence": "overwrite"}
    answer = api.request("PATCH", "/connections", {"actions": [action]})
    assert not answer["create"]["errors"], answer["create"]["errors"]


def _set_slots(api: AirflowApi, pool: str, slots: int) -> None:
    api.request("PATCH", f"/pools/{pool}?update_mask=slots", {"pool": pool, "slots": slots, "include_deferred": False})
