"""One API server of Airflow for all tests of the page, and a warehouse with something in every view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.airflow_server import AirflowServer, airflow_server
from tests.worlds.optimization_world import NOW
from tests.worlds.page_world import PageWorld, set_database_moment


@pytest.fixture(scope="session")
def server(airflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    with airflow_server(tmp_path_factory.mktemp("airflow"), airflow_database) as running:
        yield running


@pytest.fixture(scope="module")
def seeded(shared_warehouse_dsn: str, postgres_server: EmbeddedPostgres) -> PageWorld:
    set_database_moment(postgres_server, shared_warehouse_dsn, NOW)
    return PageWorld(shared_warehouse_dsn)


@pytest.fixture
def world(seeded: PageWorld, server: AirflowServer) -> PageWorld:
    server.connect_to(seeded.dsn)
    return seeded
