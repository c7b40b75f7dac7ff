"""Tests that share a world run in one worker, whatever the versions of pytest and pytest-xdist are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GROUP = """
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("one world")


@pytest.mark.parametrize("number", range(6))
def test_in_the_group(number, worker_id):
    Path(worker_id).touch()
"""


def test_the_tests_of_a_group_all_run_in_the_same_worker(tmp_path: Path) -> None:
    (tmp_path / "test_group.py").write_text(GROUP)
    arguments = ("-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "test_group.py")
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("gw")]) == 1
