"""A carrier over HTTP and a warehouse whose plan changes are applied there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.changes_world import NOW, ChangesWorld

SIMS = 300


@pytest.fixture
def carrier(request: pytest.FixtureRequest) -> Iterator[RunningCarrier]:
    integration = getattr(request, "param", "jasper")
    with running_carrier(
        devices_per_account=SIMS, accounts=(integration,), as_of=NOW, limits_are_enforced=False
    ) as running:
        yield running


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> ChangesWorld:
    return ChangesWorld(warehouse_dsn, carrier, approval_above_changes=None)
