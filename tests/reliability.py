"""What the tests did to break the package and what they saw: collected as JSON lines, shown as docs/reliability.md.

A test asks for the fixture and tells, after its assertions, what it injected:

    def test_a_burst_of_503_costs_calls_and_nothing_else(world, reliability):
        …
        reliability(fault="503, three in a row", injected=3, expected="same rows as undisturbed", seen="0 rows differ")

``seen`` is made of the figures that the test measured, never a fixed text. The lines go to the file named by
AMOP_RELIABILITY_FILE, else into the folder of the test session. `make reliability` runs the tests that tell (where the
variable is set, no others run) and writes the table:

    python -m tests.reliability LINES TABLE
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

FILE_VARIABLE = "AMOP_RELIABILITY_FILE"
SESSION_VARIABLE = "AMOP_TEST_DIRECTORY"
"""Folder of the test session, set by conftest.py; under xdist it is the same for all workers."""

HEAD = """\
# Reliability: what was broken on purpose, and what was seen

May this be trusted with the carrier's bill? It promises: a sync is complete or it is not merged at all; every effect (a
row, a message to AMOP, a plan change at a carrier, an optimization run) happens once, whatever is killed, repeated or
raced; and whoever must act is told what, whose and what to do.

Written by `make reliability` from a test run, on a real PostgreSQL, real HTTP and, where a chapter says so, a real
Airflow; do not edit. **Every row is a test that fails when what was seen is not what was expected.** How often a fault
struck is counted where it struck. "Same rows" means: compared row by row with a run that nothing disturbed.

"""

RULER = """\
| fault | times injected | expected | seen | test |
|---|---:|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the table."""

    title: str
    promise: str
    tests: tuple[str, ...]
    """Patterns of test files, or of tests in them; the first chapter with one that fits takes the row."""


CHAPTERS: Sequence[Chapter] = (
    Chapter(
        "Kills",
        "Processes are killed and run again; a real Airflow loses its scheduler, its triggerer and its api-server.",
        ("chaos/test_kill*", "e2e/test_killed_daemons.py::*killed*", "db/test_apply_changes.py"),
    ),
    Chapter(
        "The carrier misbehaves",
        "Nothing is skipped, nothing counts twice, and a carrier that is down is left alone until it is back.",
        ("chaos/test_carrier_faults.py", "chaos/test_circuit_breaker.py", "property/test_circuit_breaker.py",
         "dags/test_dag_runs.py::*carrier*"),
    ),
    Chapter(
        "Bad data",
        "SIMs listed = merged + quarantined, always; what could not be used is kept with the rule it broke.",
        ("chaos/test_bad_data.py", "chaos/test_broken_counters.py", "property/test_raw_records.py",
         "db/test_quarantine.py"),
    ),
    Chapter(
        "Guards",
        "No fleet is lost to a short list, and nothing older overwrites anything newer.",
        ("chaos/test_guards.py", "db/test_cleanup.py"),
    ),
    Chapter(
        "Races",
        "Two processes meet, statement by statement, in orders that a seed decides: one effect, a clear word to the "
        "other.",
        ("chaos/test_races.py", "e2e/test_killed_daemons.py::*triggers*"),
    ),
    Chapter(
        "AMOP, the bucket or the mail are away",
        "Every message to AMOP arrives once it is back, in order, effective once; a refused one holds up nobody else.",
        ("chaos/test_amop_outage.py", "dags/test_optimization_dag_runs.py::*s3*"),
    ),
    Chapter(
        "Archive and back-fill",
        "What a carrier answered is kept whole and replayed into history, without touching newer state.",
        ("chaos/test_archive.py", "property/test_history.py", "e2e/test_back_fill.py"),
    ),
    Chapter(
        "Retention",
        "What is old goes; what something unfinished needs stays, whatever its age.",
        ("db/test_retention.py", "db/test_optimization_retention.py"),
    ),
    Chapter(
        "Security",
        "Secrets are nowhere but where they belong, TLS stays on, and SQL in any text is only a text.",
        ("e2e/test_demo.py", "property/test_injection.py", "contract/test_tls.py"),
    ),
)  # fmt: skip
"""In the order in which they are shown."""

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


def only_recording(items: Sequence[Any]) -> list[Any]:
    """Return the tests that ask for the fixture; end-to-end tests by file, because those of a file share a world."""
    recording = {item.path for item in items if "reliability" in item.fixturenames}
    return [
        item
        for item in items
        if "reliability" in item.fixturenames or (item.path in recording and item.path.parent.name == "e2e")
    ]


def table_of(lines: str) -> str:
    """Return the Markdown of collected lines, by chapter and test.

    A row that was recorded again replaces the first; one fault that several parameters of a test inject, with the same
    result, is one row.

    Raises:
        ValueError: there is no row (the tests did not run, or recorded elsewhere), or one that belongs to no chapter.
    """
    rows = {(row["test"], row["fault"]): row for row in map(json.loads, lines.splitlines())}
    if not rows:
        raise ValueError("no fault was recorded")
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for test, fault in sorted(rows):
        row = rows[test, fault] | {"test": test.partition("[")[0]}
        known = merged.setdefault((row["test"], fault, row["expected"], row["seen"]), row | {"injected": 0})
        known["injected"] += row["injected"]
    chapters: dict[str, list[dict[str, Any]]] = {chapter.title: [] for chapter in CHAPTERS}
    for row in merged.values():
        chapters[chapter_of(row["test"])].append(row)
    return HEAD + "\n".join(
        f"## {chapter.title}\n\n{chapter.promise} {_sum(chapters[chapter.title])}\n\n{RULER}"
        + "".join(
            f"| {_cell(row['fault'])} | {row['injected']} | {_cell(row['expected'])} | {_cell(row['seen'])} "
            f"| `{_cell(row['test'])}` |\n"
            for row in chapters[chapter.title]
        )
        for chapter in CHAPTERS
        if chapters[chapter.title]
    )


def chapter_of(test: str) -> str:
    """Return the title of the chapter of a test, by its id.

    Raises:
        ValueError: it belongs to none.
    """
    named = test.removeprefix("tests/")
    file = named.partition("::")[0]
    for chapter in CHAPTERS:
        if any(fnmatch(name, pattern) for name in (named, file) for pattern in chapter.tests):
            return chapter.title
    raise ValueError(f"{test} records a fault but belongs to no chapter: name its file in tests.reliability.CHAPTERS")


def _sum(rows: Iterable[dict[str, Any]]) -> str:
    injected = [row["injected"] for row in rows]
    return f"{len(injected)} kinds of fault, injected {sum(injected):,} times."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    _lines, _table = map(Path, sys.argv[1:3])
    _table.write_text(table_of(_lines.read_text(encoding="utf-8")), encoding="utf-8")
