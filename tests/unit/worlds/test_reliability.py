"""The record of what the tests broke, the table made of it, and the table that is committed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.worlds.reliability import (
    CHAPTERS,
    FILE_VARIABLE,
    HEAD,
    RecordFault,
    chapter_of,
    kept_chapters,
    only_recording,
    record_fault,
    table_of,
)

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "reliability.md"
ROW = re.compile(r"^\| .+ \| (?P<injected>\d+) \| .+ \| .+ \| `(?P<test>tests/\S+\.py::\w+)` \|$", re.MULTILINE)


def test_rows_of_a_test_become_a_table_by_chapter_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "lines"))
    guards, carrier = (
        "tests/chaos/device_sync/test_guards.py::test_g",
        "tests/chaos/device_sync/test_carrier_faults.py::test_c",
    )
    record_fault(test=guards, fault="short list", injected=1, expected="same", seen="same")
    record_fault(test=f"{carrier}[503]", fault="503", injected=1, expected="same", seen="old")
    record_fault(test=f"{carrier}[503]", fault="503", injected=1300, expected="same", seen="a|b\nc")
    record_fault(test=f"{carrier}[500]", fault="500", injected=2, expected="same", seen="same")
    record_fault(test=f"{carrier}[500 late]", fault="500", injected=3, expected="same", seen="same")
    table = table_of((tmp_path / "lines").read_text())
    assert table.startswith(HEAD)
    assert re.findall("^## (.+)$", table, re.MULTILINE) == ["Carrier faults", "Guards"]
    assert "until it has recovered. 2 kinds of fault, injected 1,305 times.\n" in table
    assert [line for line in table.splitlines() if line.endswith("` |")] == [
        f"| 500 | 5 | same | same | `{carrier}` |",
        f"| 503 | 1300 | same | a\\|b c | `{carrier}` |",
        f"| short list | 1 | same | same | `{guards}` |",
    ]


def test_a_row_goes_to_the_file_with_the_id_of_its_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "lines"))
    reliability(fault="none", injected=1, expected="x", seen="x")
    assert "test_reliability.py::test_a_row_goes_to_the_file" in (tmp_path / "lines").read_text()


def test_nothing_recorded_nothing_injected_and_no_chapter_are_errors() -> None:
    with pytest.raises(ValueError, match="no fault was recorded"):
        table_of("")
    with pytest.raises(AssertionError, match="nothing was injected"):
        record_fault(fault="503", injected=0, expected="same", seen="same")
    with pytest.raises(ValueError, match=r"test_x records a fault but belongs to no chapter: add its file to tests\."):
        chapter_of("tests/unit/test_other.py::test_x")


def test_with_a_record_only_the_tests_run_that_tell_and_end_to_end_files_whole(request: pytest.FixtureRequest) -> None:
    class Item:
        def __init__(self, path: str, *fixturenames: str) -> None:
            self.path, self.fixturenames = Path(path), fixturenames

    telling, silent = Item("tests/db/a.py", "reliability"), Item("tests/db/a.py", "world")
    end_to_end = [Item("tests/e2e/b.py", "world"), Item("tests/e2e/b.py", "world", "reliability")]
    other = Item("tests/e2e/c.py", "world")
    assert only_recording([telling, silent, *end_to_end, other]) == [telling, *end_to_end]


def recording_tests() -> set[str]:
    """Return the ids of all tests that ask for the fixture, without parameters; those of the record itself left out."""
    return {
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and "reliability" in {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]}
    }


def recorded_chapters() -> str:
    """Return the committed document without the chapters that `make mutants` and `make matrix` write."""
    document = DOCUMENT.read_text(encoding="utf-8")
    return document.removesuffix(kept_chapters(document))


def test_the_chapters_of_other_commands_are_kept_when_the_document_is_written_anew() -> None:
    document = "# A\n\n## Kills\n\n1\n\n## Planted faults\n\n2\n\n## What operators press\n\n3\n"
    assert kept_chapters(document) == "\n## Planted faults\n\n2\n\n## What operators press\n\n3\n"
    assert kept_chapters(document.replace("## Planted faults", "")) == "\n## What operators press\n\n3\n"
    assert kept_chapters("# A\n\n## Kills\n\n1\n") == ""


def test_the_committed_document_shows_the_tests_that_there_are_no_more_and_no_fewer() -> None:
    """`make reliability` writes it anew."""
    shown = {row["test"] for row in ROW.finditer(recorded_chapters())}
    assert shown == recording_tests()


def test_the_committed_document_is_in_the_form_that_is_written_today() -> None:
    text = recorded_chapters()
    assert text.startswith(HEAD)
    rows = list(ROW.finditer(text))
    assert len(rows) == sum(line.startswith("| ") for line in text.splitlines()) - text.count("| fault |")
    titles = re.findall("^## (.+)$", text, re.MULTILINE)
    assert titles == [chapter.title for chapter in CHAPTERS]
    for part in text.split("\n## ")[1:]:
        title, told = part.partition("\n")[0], re.search(r"(\d+) kinds of fault, injected ([\d,]+) times", part)
        of_part = list(ROW.finditer(part))
        assert {chapter_of(row["test"]) for row in of_part} == {title}
        assert told is not None
        assert (int(told[1]), int(told[2].replace(",", ""))) == (
            len(of_part),
            sum(int(row["injected"]) for row in of_part),
        )
