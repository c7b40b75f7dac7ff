"""A sandbox world for end-to-end tests, started from the command line, with nothing of the caller's Airflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.environment import DIRECTORY_VARIABLE, World

ROOT = Path(__file__).resolve().parents[1]


def launch(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m sandbox.world`` for the world in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    environment |= {DIRECTORY_VARIABLE: str(directory), "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.world", *arguments],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    with (directory / "launcher-output.log").open("a") as log:  # searched for secrets like everything else
        log.write(done.stdout + done.stderr)
    return done


@contextmanager
def started_world(sims: int) -> Iterator[World]:
    """A running world of its own with so many SIMs an account; stopped and removed in the end."""
    directory = Path(tempfile.mkdtemp(prefix="amop-e2e-"))
    directory.chmod(0o711)  # PostgreSQL runs as nobody where we are root
    started = launch(directory, "up", "--devices", str(sims), "--latency-ms", "2")
    world = World(directory)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        world.load()
        yield world
    finally:
        launch(directory, "down")
        shutil.rmtree(directory, ignore_errors=True)
