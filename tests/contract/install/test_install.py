"""The package as a user installs it: an old pip, the lock, the wheel, and no source tree in reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

import amop

ROOT = Path(__file__).resolve().parents[3]
OLD_PIP = "pip==23.0"

# One worker, one installation; pip 23.0 needs about two minutes of CPU for it.
pytestmark = [pytest.mark.xdist_group("installation"), pytest.mark.timeout(1200)]

INSTALLED_SQL = """
import amop.database.sql as sql
from importlib.metadata import entry_points
print(sql.sql_directory())
print([entry.load().name for entry in entry_points(group="airflow.plugins") if entry.name == "amop"])
"""


class Installation:
    """A virtual environment outside of the repository."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.programs = directory / "venv" / "bin"
        subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)

    def run(self, program: str, *arguments: str | Path, **environment: str) -> str:
        """Return what a program of the environment prints; no variable of the tests' Airflow or paths reaches it."""
        plain = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.directory),
            "AIRFLOW_HOME": str(self.directory),
        }
        done = subprocess.run(
            [self.programs / program, *arguments],
            env=plain | environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program} {arguments} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pip(self, *arguments: str | Path) -> None:
        """Run pip with the caller's settings: the index and the cache are those of the machine."""
        done = subprocess.run(
            [self.programs / "python", "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"pip {arguments} failed:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: Any) -> Installation:
    installed = Installation(tmp_path_factory.mktemp("installation"))
    installed.pip("install", OLD_PIP)
    # Compiled on first use instead: the test starts a few programs, not all of Airflow.
    installed.pip("install", "--no-compile", "--require-hashes", "--requirement", ROOT / "requirements.txt")
    installed.pip("install", "--no-deps", ROOT)
    return installed


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
