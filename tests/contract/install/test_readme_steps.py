"""The steps of the README on a plain Airflow, as they are printed: by pip and by copying, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.amop.running import RunningAmop, running_amop
from sandbox.carrier.catalogue import ALL_PROVIDERS, provider_of
from sandbox.carrier.reference_file import reference_yaml
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.db.database.test_roles import CREATE_ROLES, GRANTS, ROLES, DocumentedRoles, Roles
from tests.worlds.documents import FENCE
from tests.worlds.installation import ON_THE_INSTALLATION, ROOT, Installation

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

pytestmark = ON_THE_INSTALLATION

SIMS = 20
PROVIDER = provider_of("jasper")
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Install it on your Airflow\n")[2]
STEPS = dict(re.findall(r"^(\d)\. (.*?)(?=^\d\. |^These Airflow)", SECTION, re.MULTILINE | re.DOTALL))
BY_PIP, BY_COPYING = (textwrap.dedent(found["indent"] + found["text"]) for found in FENCE.finditer(STEPS["1"]))
SETTINGS = dict(re.findall(r"`(\[\w+\] \w+) = (\S+)`", SECTION))
OPTIMIZED = [name for name, integration in INTEGRATIONS.items() if integration.supports_optimization]
DAG_IDS = {
    *map(ids.device_sync_dag, INTEGRATIONS),
    *map(ids.carrier_optimization_dag, OPTIMIZED),
    *map(ids.what_if_dag, OPTIMIZED),
    *(ids.AMOP_RELAY_DAG, ids.DEVICE_NOTIFICATION_DAG, ids.FINDINGS_DAG, ids.MAINTENANCE_DAG),
    *(ids.OPTIMIZATION_WINDOW_DAG, ids.REALISED_SAVINGS_DAG),
}
DAY = f"airflow dags test {ids.device_sync_dag(PROVIDER.integration)} 2026-11-20 --conf "
DAY += shlex.quote(json.dumps({"optimization": "never"}))
IMPORTED = """
import json, sys
from airflow import plugins_manager
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag

plugins_manager.ensure_plugins_loaded()
bag = DagBag(conf.get("core", "dags_folder"))
import amop
found = {
    "dags": sorted(bag.dags),
    "import_errors": [*map(str, bag.import_errors), *map(str, plugins_manager.get_import_errors())],
    "plugins": [plugin["name"] for plugin in plugins_manager.get_plugin_info(["name"]) if plugin["name"] == "amop"],
    "package": amop.__file__,
    "unknown_settings": [
        name for name in json.loads(sys.argv[1])
        if name[1] not in conf.configuration_description[name[0]]["options"]
    ],
}
print("FOUND" + json.dumps(found))
"""


def commands_of(step: str) -> list[str]:
    """Return the commands in the text of a step of the README."""
    return re.findall(r"`((?:airflow|amop) [^`]+)`", FENCE.sub("", STEPS[step]))


@pytest.fixture
def warehouse(postgres_server: EmbeddedPostgres) -> Iterator[tuple[DocumentedRoles, Roles]]:
    """An empty database with the roles of docs/security.md, of which one owns the schema."""
    documented = DocumentedRoles(postgres_server)
    database = f"installed_{documented.suffix}"
    postgres_server.create_database(database)
    roles = documented.dsns(database)
    execute(roles.superuser, documented.of_document(CREATE_ROLES, database))
    for role in ROLES:
        password = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(documented.name(role)), sql.Literal(documented.password)
        )
        execute(roles.superuser, password.as_string())
    yield documented, roles
    postgres_server.drop_database(database)
    for role in ROLES:
        execute(postgres_server.conninfo("postgres", user="postgres"), f"DROP ROLE {documented.name(role)}")


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def metadata(
    request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Settings of Airflow's own database; none for SQLite, which a plain Airflow creates in its home."""
    if request.param == "SQLite":
        yield {}
        return
    name = f"metadata_{tmp_path.name.lower()}"
    postgres_server.create_database(name)
    address = f"127.0.0.1:{postgres_server.port}/{name}"
    password = quote(postgres_server.password, safe="")
    yield {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://amop:{password}@{address}"}
    postgres_server.drop_database(name)


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(
        devices_per_account=SIMS, accounts=(PROVIDER.integration,), limits_are_enforced=False
    ) as running:
        yield running


@pytest.fixture
def amop_server() -> Iterator[RunningAmop]:
    with running_amop() as running:
        yield running


def execute(dsn: str, text: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(text.encode())


def warehouse_connection(dsn: str) -> dict[str, str]:
    """Return the variable that defines the connection to the warehouse as the role of a connection string."""
    fields = conninfo_to_dict(dsn)
    connection = {
        "conn_type": "postgres",
        "host": fields["host"],
        "port": int(fields["port"] or 0),
        "login": fields["user"],
        "password": fields["password"],
        "schema": fields["dbname"],
    }
    return {"AIRFLOW_CONN_AMOP_WAREHOUSE": json.dumps(connection)}


def outside_connections(carrier: RunningCarrier, server: RunningAmop) -> dict[str, str]:
    """Return the variables that define the connections to carrier and AMOP."""
    account = {
        "conn_type": "http",
        "host": carrier.base_url,
        "login": PROVIDER.api_user,
        "password": carrier.api_key,
        "extra": {"calls_per_second": 50},
    }
    paths = {"progress_path": server.progress_path, "sync_path": server.sync_path}
    notified = {"conn_type": "http", "host": server.base_url, "extra": paths}
    return {
        f"AIRFLOW_CONN_{PROVIDER.connection_id.upper()}": json.dumps(account),
        "AIRFLOW_CONN_AMOP_API": json.dumps(notified),
    }


def pools_of(home: Path, settings: dict[str, str]) -> dict[str, int]:
    """Return the slots of the pools in Airflow's own database."""
    query = "SELECT pool, slots FROM slot_pool WHERE pool <> 'default_pool'"
    if not settings:
        with sqlite3.connect(home / "airflow.db") as connection:
            return dict(connection.execute(query).fetchall())
    dsn = settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(query).fetchall())


def test_the_steps_name_the_commands_that_these_tests_run() -> None:
    assert {step: commands_of(step) for step in STEPS if step != "6"} == {
        "1": [],
        "2": ["airflow pools import include/airflow/pools.json"],
        "3": [],
        "4": [],
        "5": ["amop migrate", "amop load-reference FILE"],
        "7": ["amop status", "amop quarantine list"],
    }
    assert len(SETTINGS) == 5


@pytest.mark.parametrize(
    ("way", "metadata"), [("copied", "PostgreSQL"), ("installed", "SQLite")], indirect=["metadata"]
)
def test_the_steps_of_the_readme_end_in_a_synced_provider(
    way: str,
    metadata: dict[str, str],
    environment: Installation,
    warehouse: tuple[DocumentedRoles, Roles],
    carrier: RunningCarrier,
    amop_server: RunningAmop,
    tmp_path: Path,
) -> None:
    home, (documented, roles) = tmp_path / "airflow", warehouse
    reference = tmp_path / "reference.yaml"
    reference.write_text(reference_yaml(), encoding="utf-8")
    environment.remove_package()

    def run(text: str, dsn: str = roles.runtime) -> str:
        amop = "amop" if way == "installed" else "bin/amop"
        text = re.sub(r"^amop ", f"{amop} ", text).replace(" FILE", f" {reference}")
        outside = outside_connections(carrier, amop_server)
        return environment.shell(text, home, **metadata, **settings, **warehouse_connection(dsn), **outside)

    settings: dict[str, str] = {}
    run("airflow db migrate")  # the plain Airflow
    run(BY_PIP if way == "installed" else BY_COPYING)
    for command in commands_of("2"):
        run(command)
    assert pools_of(home, metadata) == {ids.carrier_pool(name): 1 for name in INTEGRATIONS}
    migrate, load = commands_of("5")
    assert run(migrate, roles.owner).startswith("applied ")
    execute(roles.owner, documented.of_document(GRANTS, "installed"))
    assert f"{len(ALL_PROVIDERS)}" in run(load)

    names = [name.strip("[").split("] ") for name in SETTINGS]
    found = imported(run(f"python -c '{IMPORTED}' '{json.dumps(names)}'"))
    package = Path(found.pop("package"))
    assert package.is_relative_to(environment.directory if way == "installed" else home / "plugins"), package
    assert found == {"dags": sorted(DAG_IDS), "import_errors": [], "plugins": ["amop"], "unknown_settings": []}

    settings |= {
        f"AIRFLOW__{section}__{name}".upper(): value
        for (section, name), value in zip(names, SETTINGS.values(), strict=True)
    }
    run(DAY)
    with psycopg.connect(roles.reader, row_factory=dict_row) as connection:
        devices = connection.execute("SELECT iccid, ctd_data_usage FROM amop.device").fetchall()
        (synced,) = connection.execute("SELECT status, service_provider_id FROM amop.device_sync_run").fetchall()
    assert synced == {"status": "complete", "service_provider_id": PROVIDER.id}
    truth = carrier.truth(PROVIDER.api_user)["devices"]
    assert {row["iccid"]: row["ctd_data_usage"] for row in devices} == {
        sim["iccid"]: sim["data_usage"] for sim in truth
    }
    assert len(devices) == SIMS
    status, quarantined = commands_of("7")
    assert PROVIDER.name in run(status)
    run(quarantined)


def imported(printed: str) -> dict[str, Any]:
    """Return what the program of `IMPORTED` found."""
    found: dict[str, Any] = json.loads(printed.partition("FOUND")[2].splitlines()[0])
    return found
