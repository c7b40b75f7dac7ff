"""The world of all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from sandbox.world.airflow_api import AirflowApi
from sandbox.world.world import World
from tests.worlds.e2e_world import started_world


@pytest.fixture(scope="module", autouse=True)
def moment(machine_moment: datetime) -> datetime:
    """Return the machine's time; the warehouse has the same, as in production."""
    return machine_moment


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """The running world; see `tests.worlds.e2e_world` for what a test may expect of it.

    It ends with the last end-to-end test: a scheduler and a DAG processor at rest cost a sixth of two cores.
    """
    with started_world() as running:
        yield running


@pytest.fixture(scope="module")
def api(world: World) -> AirflowApi:
    """Airflow's API."""
    return AirflowApi(world.ui_address)
