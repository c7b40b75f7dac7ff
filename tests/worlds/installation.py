"""The package as a user installs it: an environment outside of the repository and a checkout without one; for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD_PIP = "pip==23.0"

ON_THE_INSTALLATION = [pytest.mark.xdist_group("installation"), pytest.mark.timeout(1200)]
"""Marks of every module of these tests: one worker, one installation. Pip 23.0 needs two minutes of CPU for it."""

CHECKOUT = ("README.md", "LICENSE", "pyproject.toml", "requirements.txt", "bin", "dags", "include", "plugins")
"""What of the repository the installation reads."""
NOT_PASSED_ON = ("AIRFLOW_", "AMOP_", "PYTHON", "VIRTUAL_ENV")
"""Beginnings of the variables of the tests' own Airflow, Python and paths."""


class Installation:
    """A virtual environment with the locked packages, and a copy of the repository.

    Args:
        directory: folder for both.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.programs = directory / "venv" / "bin"
        self.checkout = directory / "checkout"
        self.checkout.mkdir()
        for name in CHECKOUT:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, self.checkout / name)
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

    def shell(self, text: str, home: Path, **settings: str) -> str:
        """Run shell commands in the checkout, each after the success of the one before, and return what they print.

        Pip has the caller's settings: the index and the cache are those of the machine.

        Args:
            text: the commands.
            home: Airflow's home.
            settings: more environment variables.
        """
        callers = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
        quick = {"PIP_NO_COMPILE": "1", "PIP_QUIET": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        ours = {"PATH": f"{self.programs}:/usr/bin:/bin", "AIRFLOW_HOME": str(home)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            env=callers | quick | ours | settings,
            cwd=self.checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\nfailed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
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

    def install_package(self) -> None:
        """Install the package from the checkout unless it is installed."""
        if not (self.programs / "amop").exists():
            self.pip("install", "--no-deps", self.checkout)

    def remove_package(self) -> None:
        """Remove the package if it is installed."""
        if (self.programs / "amop").exists():
            self.pip("uninstall", "--yes", "amop-airflow")
