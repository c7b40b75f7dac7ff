"""The services of docker-compose.yaml with the profile sandbox, started once for all tests of this folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.worlds.compose_file import ROOT
from tests.worlds.compose_world import IMAGE, ComposeWorld
from tests.worlds.scratch import scratch_directory

SIMS = 60
"""SIMs of each account: two pages of the device list. The vendor's limit of 5 calls a second holds."""


@pytest.fixture(scope="module", autouse=True)
def moment(machine_moment: datetime) -> datetime:
    """Return the machine's time; the warehouse has the same, as in production."""
    return machine_moment


@pytest.fixture(scope="session")
def compose() -> Iterator[ComposeWorld]:
    """The running services, each started as soon as what it needs is healthy or has completed."""
    if not ((IMAGE / ".installed").exists() and shutil.which("redis-server")):
        subprocess.run(["make", "image"], cwd=ROOT, check=True)
    directory = scratch_directory("amop-compose-")
    try:
        program = ROOT / "deploy" / "write_secrets.py"
        subprocess.run([sys.executable, program, "--sandbox", "--secrets", directory / "secrets"], check=True)
        world = ComposeWorld(directory, settings={"SANDBOX_DEVICES": str(SIMS), "PARALLELISM": "8"})
        try:
            world.start_all()
            yield world
        finally:
            world.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
