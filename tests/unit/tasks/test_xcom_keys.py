"""A wrong key of what tasks hand on through XCom is an error of the type check, like a wrong column of a statement."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SNIPPET = """
from amop.tasks.frames import ProviderRun

def right(run: ProviderRun) -> int:
    return run["run_id"]

def wrong_key(run: ProviderRun) -> object:
    return run["run_number"]

def missing_key() -> ProviderRun:
    return ProviderRun(run_id=1, service_provider_id=2, service_provider_name="A", connection_id="a")
"""


def test_a_planted_wrong_key_is_found_by_mypy(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(SNIPPET, encoding="utf-8")
    options = ["--config-file", "pyproject.toml", "--follow-imports", "silent", "--no-error-summary"]
    options += ["--cache-dir", str(tmp_path / "cache")]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(tmp_path / "planted.py")],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    faults = [line.partition(": error: ")[2].partition("  [")[0] for line in checked.stdout.splitlines()]
    assert [fault for fault in faults if "TypedDict" in fault] == [
        'TypedDict "ProviderRun" has no key "run_number"',
        'Missing key "optimization_session_id" for TypedDict "ProviderRun"',
    ], checked.stdout + checked.stderr
