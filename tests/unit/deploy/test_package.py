"""The package: one version, one list of dependencies, and SQL that is found wherever the package lies."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import amop
from amop.database import sql
from tools.dependency_audit import read_lock, read_wanted

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def project() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return settings


def names_with_extras(requirements: list[Requirement]) -> set[tuple[str, tuple[str, ...]]]:
    return {(canonicalize_name(one.name), tuple(sorted(one.extras))) for one in requirements}


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## [")]
    assert headings[0] == "## [Unreleased]"
    assert headings[1].startswith(f"## [{amop.__version__}] - ")


@pytest.mark.parametrize("extra", ["", "celery", "fab", "openlineage"])
def test_the_package_requires_what_the_lock_is_resolved_from(project: dict[str, Any], extra: str) -> None:
    listed = project["optional-dependencies"][extra] if extra else project["dependencies"]
    source = ROOT / (f"requirements-{extra}.in" if extra else "requirements.in")
    assert names_with_extras([Requirement(one) for one in listed]) == names_with_extras(list(read_wanted(source)))


def test_the_lock_holds_versions_that_the_package_accepts(project: dict[str, Any]) -> None:
    pins = {pin.name: pin.version for pin in read_lock(ROOT / "requirements-celery.txt", []) if pin.is_for_this_python}
    extras = project["optional-dependencies"].values()
    for line in [*project["dependencies"], *itertools.chain(*extras)]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), line


def test_the_folder_of_the_environment_comes_before_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sql.DIRECTORY_VARIABLE, str(tmp_path))
    assert sql.sql_directory() == tmp_path


@pytest.mark.parametrize("layout", ["source tree", "installed"])
def test_a_copy_of_the_package_finds_its_own_sql(tmp_path: Path, layout: str) -> None:
    plugins = tmp_path / "airflow" / "plugins"
    target = tmp_path / "airflow" / "include" / "sql" if layout == "source tree" else plugins / "amop" / "sql"
    shutil.copytree(ROOT / "plugins", plugins, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "include" / "sql", target)
    environment = {name: value for name, value in os.environ.items() if name != sql.DIRECTORY_VARIABLE}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from amop.database import sql; sql.load('database/lock_migrations');print(sql.sql_directory())",
        ],
        env=environment | {"PYTHONPATH": str(plugins)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(target), done.stderr


def test_an_airflow_before_3_3_is_refused_with_a_message() -> None:
    versions = {
        "2.11.0": False, "3.2.9": False, "3.3.0": True, "3.3.0rc1": True, "3.10.0": True, "4.0.0": True,
    }  # fmt: skip
    code = """
import sys
import airflow
for airflow.__version__ in sys.argv[1:]:
    sys.modules.pop("amop.tasks", None)
    try:
        import amop.tasks
    except ImportError as error:
        print(f"{airflow.__version__} refused: {error}")
    else:
        print(f"{airflow.__version__} accepted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *versions],
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()[-len(versions) :]
    assert [line.split()[:2] for line in lines] == [
        [version, "accepted" if is_accepted else "refused:"] for version, is_accepted in versions.items()
    ], done.stdout + done.stderr
    for line in lines:
        version, verdict = line.split()[:2]
        message = f"requires Apache Airflow 3.3 or newer, but Airflow {version} is installed."
        assert (message in line) is (verdict == "refused:")


def test_the_plugins_folder_is_scanned_for_the_plugin_alone(airflow_database: Path) -> None:
    """Importing the package module by module would load the optimizer into each Airflow process."""
    code = (
        "import sys; from airflow import plugins_manager as manager; manager.ensure_plugins_loaded();"
        "ours = [name for name, module in sys.modules.items()"
        " if str(getattr(module, '__file__', '')).startswith(sys.argv[1])];"
        "print(ours, manager.get_import_errors())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "plugins")],
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    # The page itself is imported by the first request for it, in the API server.
    expected = (
        "['amop_plugin', 'amop', 'amop.web', 'amop.web.lazy_app', 'amop.ids', 'amop.families', 'amop.config',"
        " 'amop.web.task_links'] {}"
    )
    assert done.stdout.splitlines()[-1:] == [expected], done.stdout + done.stderr


def test_the_pre_commit_hooks_are_valid() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("pre-commit"), "validate-config", ROOT / ".pre-commit-config.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
