"""A process that runs the tasks of a device sync loads none of the optimizer's libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OPTIMIZER_LIBRARIES = {"numpy", "polars", "highspy", "amop.solver", "amop.optimization"}

LOADED = """
import importlib, json, pkgutil, sys
import amop.archive, amop.device_sync, amop.messages, amop.runs, amop.tasks.device_sync
for package in (amop.device_sync, amop.archive, amop.messages, amop.runs):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def test_the_tasks_of_a_device_sync_load_no_library_of_the_optimizer(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins"), "AIRFLOW_HOME": str(tmp_path)},
    )  # fmt: skip
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"amop.tasks.device_sync", "amop.device_sync.merge", "psycopg"} <= loaded
    assert loaded & OPTIMIZER_LIBRARIES == set()
