"""One PostgreSQL for the test session, a fresh warehouse for every test that asks, a private Airflow home.

The environment is set on import, before any test can import airflow. Under xdist every worker has its own
Airflow home and SQLite metadata database; the PostgreSQL server is one, started by the first test that needs
it and stopped when the session ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]
XDIST_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
DIRECTORY_VARIABLE = "AMOP_TEST_DIRECTORY"
TEMPLATE = "amop_template"

for folder in (ROOT / "plugins", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from tests.worlds import moments  # noqa: E402
from tests.worlds.reliability import FILE_VARIABLE, only_recording, reliability  # noqa: E402, F401 a fixture for every test
from tests.worlds.scratch import scratch_directory  # noqa: E402

simulated_clock, moment, machine_moment = moments.simulated_clock, moments.moment, moments.machine_moment


def _session_directory() -> Path:
    """Return the folder of this test session: made by the first process, inherited by its xdist workers."""
    if XDIST_WORKER and DIRECTORY_VARIABLE in os.environ:
        return Path(os.environ[DIRECTORY_VARIABLE])
    directory = scratch_directory("amop-tests-")
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    return directory


SESSION_DIRECTORY = _session_directory()
AIRFLOW_HOME = SESSION_DIRECTORY / f"airflow-{XDIST_WORKER or 'main'}"
AIRFLOW_DATABASE = AIRFLOW_HOME / "airflow.db"


def _set_environment() -> None:
    """Make the environment of Airflow the tests' own: nothing of the caller's Airflow or proxy gets in."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    AIRFLOW_HOME.mkdir(mode=0o700, exist_ok=True)
    os.environ |= {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_DATABASE}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(AIRFLOW_HOME / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "XDG_RUNTIME_DIR": str(AIRFLOW_HOME),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


_set_environment()

# How long one example takes depends on what else the machine does; CI draws the same examples every time.
settings.register_profile("amop", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("amop")


def pytest_configure(config: pytest.Config) -> None:
    """Start the guardian that stops PostgreSQL and removes the session's folder when this process is gone."""
    if XDIST_WORKER:
        return
    config.stash[GUARDIAN] = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "worlds" / "session_guardian.py"), str(SESSION_DIRECTORY)],
        stdin=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the end-to-end tests, the longest; `make reliability` keeps those that break something."""
    items.sort(key=lambda item: ROOT / "tests" / "e2e" not in item.path.parents)
    if os.environ.get(FILE_VARIABLE):
        items[:] = only_recording(items)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the guardian do its work now, and wait for it."""
    guardian = config.stash.get(GUARDIAN, None)
    if guardian is not None:
        guardian.communicate(timeout=90)


GUARDIAN = pytest.StashKey[subprocess.Popen[bytes]]()


@contextmanager
def _session_lock(name: str) -> Iterator[None]:
    """Let one process of the test session at a time do something."""
    with (SESSION_DIRECTORY / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> EmbeddedPostgres:
    """The PostgreSQL server of the test session, not durable, with a migrated template database."""
    from amop.database.migrations import migrate
    from sandbox.world.postgres import EmbeddedPostgres

    address = SESSION_DIRECTORY / "postgres.json"
    with _session_lock("postgres"):
        if address.exists():
            known = json.loads(address.read_text())
            return EmbeddedPostgres(
                SESSION_DIRECTORY / "postgres", port=known["port"], password=known["password"], durable=False
            )
        server = EmbeddedPostgres(SESSION_DIRECTORY / "postgres", durable=False)
        server.start()
        server.create_database(TEMPLATE)
        moments.add_database_clock(server.conninfo(TEMPLATE, user="postgres"))
        moments.set_database_clock(server.conninfo(TEMPLATE, user="postgres"))
        migrate(server.conninfo(TEMPLATE))
        address.touch(mode=0o600)
        address.write_text(json.dumps({"port": server.port, "password": server.password}))
    return server


@contextmanager
def _fresh_database(server: EmbeddedPostgres, template: str | None) -> Iterator[str]:
    name = f"test_{XDIST_WORKER or 'main'}_{secrets.token_hex(6)}"
    server.create_database(name, template=template)
    if template is not None:
        moments.set_database_clock(server.conninfo(name, user="postgres"))
    try:
        yield server.conninfo(name)
    finally:
        server.drop_database(name)


@pytest.fixture
def warehouse_dsn(postgres_server: EmbeddedPostgres, moment: datetime) -> Iterator[str]:
    """Return the connection string of a fresh migrated warehouse at the test's moment, as its unprivileged owner."""
    with _fresh_database(postgres_server, TEMPLATE) as conninfo:
        yield conninfo


@pytest.fixture(scope="module")
def shared_warehouse_dsn(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Connection string of a migrated warehouse for all tests of a module, which only read what one of them wrote."""
    with _fresh_database(postgres_server, TEMPLATE) as conninfo:
        yield conninfo


@pytest.fixture
def empty_database_dsn(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Connection string of a fresh database without any table, as the unprivileged role that owns it."""
    with _fresh_database(postgres_server, None) as conninfo:
        yield conninfo


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """Path of a migrated SQLite metadata database in this process's Airflow home, for ``dag.test()``."""
    template = SESSION_DIRECTORY / "airflow_template.db"
    with _session_lock("airflow"):
        if not template.exists():
            unfinished = template.with_suffix(".unfinished")
            environment = os.environ | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{unfinished}"}
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=environment,
                cwd=ROOT,
                text=True,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"airflow db migrate failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")
            unfinished.rename(template)
    shutil.copyfile(template, AIRFLOW_DATABASE)
    return AIRFLOW_DATABASE
