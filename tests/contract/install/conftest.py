"""The installation of all tests of this folder."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.worlds.installation import OLD_PIP, Installation


@pytest.fixture(scope="module", autouse=True)
def moment(machine_moment: datetime) -> datetime:
    """Return the machine's time, which the installed programs have."""
    return machine_moment


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An environment with the tested versions of Airflow and of all that the package needs, without the package."""
    installed = Installation(tmp_path_factory.mktemp("installation"))
    installed.pip("install", OLD_PIP)
    # Compiled on first use instead: the tests start a few programs, not all of Airflow.
    requirements = installed.checkout / "requirements.txt"
    installed.pip("install", "--no-compile", "--require-hashes", "--requirement", requirements)
    return installed


@pytest.fixture
def installation(environment: Installation) -> Installation:
    """The environment with the package, installed from the checkout."""
    environment.install_package()
    return environment
