"""The processes of a sandbox world end with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.world import supervisor
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World

LEAVES_A_WORKER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
worker = subprocess.Popen([sys.executable, "-c", ignores], stdout=subprocess.PIPE)
worker.stdout.readline()
open(sys.argv[1], "w").write(str(worker.pid))
time.sleep(600)
"""
"""A program that ends on SIGTERM and leaves a child that does not, as the scheduler may leave a worker."""


def is_alive(pid: int) -> bool:
    """Return True if a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], object], seconds: float = 30) -> bool:
    """Return True as soon as a condition holds, False if it does not within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_worker_that_outlives_its_scheduler_ends_when_the_world_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, noted = tmp_path / "program.py", tmp_path / "worker.pid"
    program.write_text(LEAVES_A_WORKER)
    monkeypatch.setattr(supervisor, "_programs", lambda _world: {"scheduler": f"{sys.executable} {program} {noted}"})
    world = World(tmp_path / "world")
    world.prepare()
    running = Supervisor(world)
    running.start()
    try:
        assert until(lambda: noted.exists() and noted.read_text())
        worker = int(noted.read_text())
        assert is_alive(worker)
    finally:
        running.stop()
    assert until(lambda: not is_alive(worker), seconds=5)
    assert not running.is_running()
