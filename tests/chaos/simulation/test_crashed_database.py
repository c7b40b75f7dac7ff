"""PostgreSQL's processes are killed in the middle of nights, on a server that keeps what it has committed.

All other tests run on a server without fsync, which may lose committed rows in a crash. This one has the settings of
production. What a machine loses with its power (pages that the system had not yet written) cannot be taken away here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import psycopg
import pytest

from amop.database.migrations import migrate
from sandbox.world.postgres import EmbeddedPostgres
from tests.conftest import TEMPLATE
from tests.worlds import moments
from tests.worlds.faulty_process import installed
from tests.worlds.reliability import RecordFault
from tests.worlds.scratch import scratch_directory
from tests.worlds.seeded_faults import draw_crashes
from tests.worlds.seeded_nights import Simulation

CRASHES = 10
"""Of the two nights of a seed."""
SEEDS = range(3)
FLEET = 0


@pytest.fixture(scope="module")
def durable_server() -> Iterator[EmbeddedPostgres]:
    folder = scratch_directory("amop-durable-")
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            server.create_database(TEMPLATE)
            moments.add_database_clock(server.conninfo(TEMPLATE, user="postgres"))
            moments.set_database_clock(server.conninfo(TEMPLATE, user="postgres"))
            migrate(server.conninfo(TEMPLATE))
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def simulation(durable_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with installed():
        made = Simulation(durable_server, TEMPLATE, tmp_path_factory.mktemp("nights"))
        yield made
        made.close()


def test_the_server_is_as_durable_as_one_in_production(durable_server: EmbeddedPostgres) -> None:
    with psycopg.connect(durable_server.conninfo(TEMPLATE)) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_a_crash_takes_open_transactions_and_leaves_committed_ones(durable_server: EmbeddedPostgres) -> None:
    durable_server.create_database("crash")
    conninfo = durable_server.conninfo("crash")
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE kept (value int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.commit()
        connection.execute("INSERT INTO kept VALUES (2)")
        durable_server.crash_and_recover()
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
        connection.close()
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT value FROM kept").fetchall() == [(1,)]
    assert _recoveries(durable_server) >= 1
    durable_server.drop_database("crash")


def test_nights_with_a_crashing_database_end_with_the_rows_of_undisturbed_nights(
    durable_server: EmbeddedPostgres, simulation: Simulation, reliability: RecordFault
) -> None:
    counts = simulation.undisturbed(FLEET).counts
    before = _recoveries(durable_server)
    failed: list[str] = []
    for seed in SEEDS:
        crashes = draw_crashes(seed, counts, CRASHES)
        if problems := simulation.problems_of(FLEET, crashes):
            failed.append("\n".join([f"seed {seed}:", *map(str, crashes), *problems]))
    assert not failed, "\n".join(failed)
    happened = _recoveries(durable_server) - before
    assert happened >= CRASHES * len(SEEDS)
    reliability(
        fault="every process of PostgreSQL is killed before or after a statement or a commit; fsync on",
        injected=happened,
        expected="the rows of undisturbed nights",
        seen=f"0 of {len(SEEDS)} seeds differ, {happened} recoveries",
    )


def _recoveries(server: EmbeddedPostgres) -> int:
    log = (server.data_directory / "server.log").read_text(errors="replace")
    return log.count("database system was not properly shut down; automatic recovery in progress")
