"""The package as a user installs it: an old pip, the lock, the wheel, and no source tree in reach."""

from __future__ import annotations

import json
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

import amop
from tests.worlds.installation import ON_THE_INSTALLATION, ROOT, Installation

pytestmark = ON_THE_INSTALLATION

INSTALLED_SQL = """
import amop.database.sql as sql
from importlib.metadata import entry_points
print(sql.sql_directory())
print([entry.load().name for entry in entry_points(group="airflow.plugins") if entry.name == "amop"])
"""


def test_an_old_pip_installs_the_lock_and_the_package_and_they_agree(installation: Installation) -> None:
    assert installation.run("pip", "--version").startswith("pip 23.0 ")
    installation.run("pip", "check")
    assert installation.run("amop", "--version") == f"amop {amop.__version__}\n"
    assert "load-reference" in installation.run("amop", "--help")


def test_the_installed_package_brings_its_sql_and_its_plugin(installation: Installation) -> None:
    folder, plugins = installation.run("python", "-c", INSTALLED_SQL).splitlines()
    assert Path(folder).parts[-3:] == ("site-packages", "amop", "sql")
    assert Path(folder).is_relative_to(installation.directory)
    assert {file.relative_to(folder) for file in Path(folder).rglob("*.sql")} == {
        file.relative_to(ROOT / "include" / "sql") for file in (ROOT / "include" / "sql").rglob("*.sql")
    }
    assert plugins == "['amop']"


def test_the_installed_package_migrates_a_warehouse(installation: Installation, empty_database_dsn: str) -> None:
    parts = conninfo_to_dict(empty_database_dsn)
    connection = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": parts["port"],
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }
    environment = {"AIRFLOW_CONN_AMOP_WAREHOUSE": json.dumps(connection)}
    assert installation.run("amop", "migrate", **environment).startswith("applied ")
    assert installation.run("amop", "migrate", **environment) == "nothing to do: the warehouse is up to date\n"
    assert json.loads(installation.run("amop", "status", "--json", **environment))["service_providers"] == []
