"""A sync world whose provider is on another carrier API than Control Center; for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.protocol import CarrierClient
from amop.carriers.registry import CLIENTS
from amop.config import KNOWN_INTEGRATIONS
from amop.runs.opening import SyncRequest, open_runs
from sandbox.carrier.catalogue import provider_of
from sandbox.carrier.running import RunningCarrier
from sandbox.carrier.sign_in import connection_extra
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference
from tests.worlds.simulated_clock import SimulatedClock
from tests.worlds.sync_world import SyncWorld


class FamilyWorld(SyncWorld):
    """Runs the steps of a provider's day as the tasks do.

    Args:
        dsn: a fresh migrated warehouse.
        carrier: the sandbox of the family.
        integration: the provider's integration.
        calls_per_second: pace of the client; a thousand is none.
    """

    def __init__(self, dsn: str, carrier: RunningCarrier, integration: str, *, calls_per_second: float = 1000) -> None:
        self.dsn = dsn
        self.carrier = carrier
        self.integration = integration
        self.calls_per_second = calls_per_second
        load_sandbox_reference(dsn, has_all=True)

    def open(self, dag_run_id: str, *, now: datetime | None = None, **request: Any) -> int:
        """Open a run of the provider and return its id."""
        wanted = SyncRequest(self.integration, f"device_sync_{self.integration}", dag_run_id, **request)
        (run,) = open_runs(self.dsn, wanted, now=now or present())
        return run.run_id

    @contextmanager
    def client(  # type: ignore[override]  # the families share a protocol, not a class
        self, api_key: str | None = None, *, clock: SimulatedClock | None = None
    ) -> Iterator[CarrierClient]:
        """Yield a client of the provider's account, on the real clock or on another."""
        key = api_key or self.carrier.api_key
        account = account_at(self.carrier, self.integration, key, calls_per_second=self.calls_per_second)
        gate = PostgresCallGate(
            self.dsn, account.gate_key, account.calls_per_second, clock=clock.now if clock else None
        )
        times: dict[str, Any] = {}
        if clock is not None:
            times = {"sleep": clock.sleep, "clock": clock.now, "monotonic": clock.monotonic}
        with CLIENTS[KNOWN_INTEGRATIONS[self.integration].family](account, gate, **times) as client:
            yield client

    def truth(self) -> dict[str, dict[str, Any]]:
        """Return the carrier's SIMs by ICCID."""
        return {device["iccid"]: device for device in self.carrier.truth()["devices"]}


def account_at(
    carrier: RunningCarrier, integration: str, api_key: str, *, calls_per_second: float = 1000, **extra: Any
) -> CarrierAccount:
    """Return the account of an integration's provider at a sandbox; ``extra`` replaces fields of the connection's."""
    provider = provider_of(integration)
    return CarrierAccount.from_connection_fields(
        connection_id=provider.connection_id, service_provider_name=provider.name, host=carrier.base_url, schema=None,
        port=None, login=provider.api_user, password=api_key,
        extra={"calls_per_second": calls_per_second} | connection_extra(provider, api_key) | extra,
    )  # fmt: skip
