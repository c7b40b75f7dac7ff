"""What the tests did to break the package and what they saw: collected as JSON lines, shown as docs/reliability.md.

A test asks for the fixture and tells, after its assertions, what it injected:

    def test_a_burst_of_503_costs_calls_and_nothing_else(world, reliability):
        …
        reliability(fault="503, three in a row", injected=3, expected="same rows as undisturbed", seen="0 rows differ")

``seen`` is made of the figures that the test measured, never a fixed text. The lines go to the file named by
AMOP_RELIABILITY_FILE, else into the folder of the test session. `make reliability` runs the tests and writes the table:

    python -m tests.reliability LINES TABLE
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FILE_VARIABLE = "AMOP_RELIABILITY_FILE"
SESSION_VARIABLE = "AMOP_TEST_DIRECTORY"
"""Folder of the test session, set by conftest.py; under xdist it is the same for all workers."""

HEAD = """\
# Reliability: what was broken on purpose, and what was seen

Written by `make reliability` from a test run; do not edit. Every row is a test that fails when the two last columns
do not agree. "Same rows" means: compared row by row with a run that nothing disturbed.

| fault | times injected | expected | seen | test |
|---|---:|---|---|---|
"""

RecordFault = Callable[..., None]


def record_fault(*, fault: str, injected: int, expected: str, seen: str, test: str = "") -> None:
    """Append one row; processes of one test session may do so at the same time.

    Args:
        fault: what was broken, in a few words.
        injected: how many times it was really broken, as counted and not as planned; at least 1.
        expected: what must be seen.
        seen: what was seen, with the measured figures.
        test: id of the test; the fixture `reliability` fills it in.
    """
    assert injected >= 1, f"{fault}: nothing was injected"
    line = json.dumps({"test": test, "fault": fault, "injected": injected, "expected": expected, "seen": seen})
    with lines_file().open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line + "\n")


def lines_file() -> Path:
    """Return the file that the rows go to."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else Path(os.environ[SESSION_VARIABLE]) / "reliability.jsonl"


@pytest.fixture
def reliability(request: pytest.FixtureRequest) -> RecordFault:
    """`record_fault` with the id of the asking test."""

    def record(*, fault: str, injected: int, expected: str, seen: str) -> None:
        record_fault(fault=fault, injected=injected, expected=expected, seen=seen, test=request.node.nodeid)

    return record


def table_of(lines: str) -> str:
    """Return the Markdown of collected lines, in order of the tests; a row that was recorded again replaces the first.

    Raises:
        ValueError: there is no row: the tests did not run, or recorded elsewhere.
    """
    rows = {(row["test"], row["fault"]): row for row in map(json.loads, lines.splitlines())}
    if not rows:
        raise ValueError("no fault was recorded")
    ordered = [rows[key] for key in sorted(rows)]
    return HEAD + "".join(
        f"| {_cell(row['fault'])} | {row['injected']} | {_cell(row['expected'])} | {_cell(row['seen'])} "
        f"| `{_cell(row['test'].partition('[')[0])}` |\n"
        for row in ordered
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    _lines, _table = map(Path, sys.argv[1:3])
    _table.write_text(table_of(_lines.read_text(encoding="utf-8")), encoding="utf-8")
