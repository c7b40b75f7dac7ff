"""Record the faults that tests inject, and generate docs/reliability.md from the records.

A test requests the fixture `reliability` and, after its assertions, records the fault that it injected:

    def test_a_burst_of_503_only_costs_extra_calls(world, reliability):
        …
        reliability(fault="503, three in a row", injected=3, expected="same rows", seen="0 rows differ")

``seen`` contains the figures that the test measured, never a fixed text. The records go to the JSON Lines file named by
AMOP_RELIABILITY_FILE, or to the directory of the test session. If the variable is set, only the tests that use the
fixture run. `make reliability` runs them and generates the document:

    python -m tests.worlds.reliability LINES TABLE
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.matrix_table import HEADING as MATRIX
from tools.mutants import HEADING as MUTANTS

FILE_VARIABLE = "AMOP_RELIABILITY_FILE"
SESSION_VARIABLE = "AMOP_TEST_DIRECTORY"
"""Directory of the test session, set by conftest.py; shared by all xdist workers."""

HEAD = """\
# Reliability: injected faults and their results

This page shows how the package behaves when parts of it fail. It guarantees that

* a sync is merged completely or not at all;
* every effect (a row, a message to AMOP, a plan change at a carrier, an optimization run) happens once, even if
  processes are killed, repeated or run concurrently;
* an error names the provider, the cause and the action that the operator has to take.

`make reliability` generates this page from a test run with a real PostgreSQL, real HTTP and, where stated, a real
Airflow; do not edit it. **Each row is a test that fails if the actual result differs from the expected one.** Injected
faults are counted where they occur. "Same rows" means that all rows were compared with those of an undisturbed run.

"""

RULER = """\
| fault | times injected | expected | actual | test |
|---|---:|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the document."""

    title: str
    promise: str
    tests: tuple[str, ...]
    """Patterns of test files or test ids. A row belongs to the first chapter with a matching pattern."""


CHAPTERS: Sequence[Chapter] = (
    Chapter(
        "Kills",
        "Processes are killed and restarted; a real Airflow loses its scheduler, triggerer and api-server.",
        (
            "chaos/*/test_kill*",
            "chaos/*/test_family_faults.py::*dies*",
            "e2e/test_killed_daemons.py::*killed*",
            "db/*/test_apply_changes.py",
            "db/*/test_changes_by_list.py",
        ),
    ),
    Chapter(
        "Carrier faults",
        "No record is skipped or counted twice, and a carrier that is down is not called until it has recovered.",
        (
            "chaos/*/test_carrier_faults.py",
            "chaos/*/test_family_faults.py",
            "chaos/*/test_circuit_breaker.py",
            "property/*/test_circuit_breaker.py",
            "dags/*/test_dag_runs.py::*carrier*",
        ),
    ),
    Chapter(
        "Bad data",
        "SIMs listed always equal SIMs merged + quarantined; bad records are kept with the rule that they violate.",
        (
            "chaos/*/test_bad_data.py",
            "chaos/*/test_broken_counters.py",
            "property/*/test_raw_records.py",
            "db/*/test_quarantine.py",
        ),
    ),
    Chapter(
        "Implausible answers",
        "A well-formed answer that is wrong is refused before the merge, or waits for a person with its figures.",
        ("chaos/*/test_plausibility.py", "chaos/*/test_list_limits.py"),
    ),
    Chapter(
        "Guards",
        "An incomplete list never deactivates a fleet, and older data never overwrites newer data.",
        ("chaos/*/test_guards.py", "db/*/test_merge.py"),
    ),
    Chapter(
        "Races",
        "The statements of two processes are interleaved in an order given by a seed. One of them takes effect, the "
        "other one gets a clear error.",
        ("chaos/*/test_races.py", "e2e/test_killed_daemons.py::*triggers*"),
    ),
    Chapter(
        "Seeded nights",
        "A seed draws faults of all kinds and their places. `make simulate SEEDS=1000` runs a thousand seeds; a "
        "failure names its seed and the fewest faults that still fail. Sixty seeds and the other tests of the "
        "folder took 128 s on two cores: 1,690 seeds an hour or more.",
        ("chaos/*/test_seeded_nights.py", "chaos/*/test_crashed_database.py"),
    ),
    Chapter(
        "Outages of AMOP, S3 and SES",
        "After an outage every message reaches AMOP in order and takes effect once; a rejected message does not block "
        "other sessions.",
        (
            "chaos/*/test_amop_outage.py",
            "dags/*/test_optimization_dag_runs.py::*s3*",
            "dags/*/test_dag_runs.py::*reports*",
        ),
    ),
    Chapter(
        "Archive and back-fill",
        "All carrier responses are archived and can be replayed into history without changing newer data.",
        ("chaos/*/test_archive.py", "property/*/test_history.py", "e2e/test_back_fill.py"),
    ),
    Chapter(
        "Retention",
        "Expired rows are deleted; rows that unfinished work needs are kept regardless of their age.",
        ("db/*/test_retention.py", "db/*/test_optimization_retention.py"),
    ),
    Chapter(
        "Security",
        "Secrets appear only where they belong, TLS is always verified, and SQL in a text is never executed.",
        ("e2e/test_secrets.py", "property/*/test_injection.py", "contract/*/test_tls.py"),
    ),
)
"""The chapters in the order of the document."""

RecordFault = Callable[..., None]


def record_fault(*, fault: str, injected: int, expected: str, seen: str, test: str = "") -> None:
    """Append one record. Safe for concurrent processes of one test session.

    Args:
        fault: short description of the injected fault.
        injected: counted number of injections, at least 1.
        expected: expected result.
        seen: actual result with the measured figures.
        test: id of the test; the fixture `reliability` sets it.
    """
    assert injected >= 1, f"{fault}: nothing was injected"
    line = json.dumps({"test": test, "fault": fault, "injected": injected, "expected": expected, "seen": seen})
    with lines_file().open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line + "\n")


def lines_file() -> Path:
    """Return the path of the file that records are appended to."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else Path(os.environ[SESSION_VARIABLE]) / "reliability.jsonl"


def _without_group(node_id: str) -> str:
    """Return a test's id without the group that pytest-xdist appends to it."""
    return re.sub(r"@[a-z_]+$", "", node_id)


@pytest.fixture
def reliability(request: pytest.FixtureRequest) -> RecordFault:
    """Return `record_fault` with the id of the requesting test."""

    def record(*, fault: str, injected: int, expected: str, seen: str) -> None:
        record_fault(
            fault=fault, injected=injected, expected=expected, seen=seen, test=_without_group(request.node.nodeid)
        )

    return record


def only_recording(items: Sequence[Any]) -> list[Any]:
    """Return the tests that use the fixture; for end-to-end tests all tests of the file, because they share a world."""
    recording = {item.path for item in items if "reliability" in item.fixturenames}
    return [
        item
        for item in items
        if "reliability" in item.fixturenames or (item.path in recording and item.path.parent.name == "e2e")
    ]


def table_of(lines: str) -> str:
    """Return the document for the recorded lines, ordered by chapter and test.

    A repeated record replaces the earlier one. Records of one test that differ only in its parameters are combined into
    one row.

    Raises:
        ValueError: there is no record (the tests did not run or recorded elsewhere), or a test belongs to no chapter.
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
    """Return the title of the chapter that a test id belongs to.

    Raises:
        ValueError: the test belongs to no chapter.
    """
    named = test.removeprefix("tests/")
    file = named.partition("::")[0]
    for chapter in CHAPTERS:
        if any(fnmatch(name, pattern) for name in (named, file) for pattern in chapter.tests):
            return chapter.title
    raise ValueError(
        f"{test} records a fault but belongs to no chapter: add its file to tests.worlds.reliability.CHAPTERS"
    )


def _sum(rows: Iterable[dict[str, Any]]) -> str:
    injected = [row["injected"] for row in rows]
    return f"{len(injected)} kinds of fault, injected {sum(injected):,} times."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def kept_chapters(document: str) -> str:
    """Return the chapters at the end of a document that other commands write."""
    places = [document.find(heading) for heading in (MUTANTS, MATRIX)]
    begin = min([place for place in places if place >= 0], default=len(document))
    return document[begin:]


if __name__ == "__main__":
    _lines, _table = map(Path, sys.argv[1:3])
    _kept = kept_chapters(_table.read_text(encoding="utf-8"))
    _table.write_text(table_of(_lines.read_text(encoding="utf-8")) + _kept, encoding="utf-8")
