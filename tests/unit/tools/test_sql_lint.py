"""The SQL linter skips a text that has passed, and only that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.sql_lint import Violation, lint, run_sqlfluff

BAD = "SELECT  1\n"


class Linter:
    """Refuses `BAD`; remembers which files it was given."""

    def __init__(self) -> None:
        self.linted: list[str] = []

    def __call__(self, files: Sequence[Path]) -> list[Violation]:
        self.linted = [file.name for file in files]
        return [Violation(file, 1, 7, "LT01", "spaces") for file in files if file.read_text() == BAD]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "a.sql", tmp_path / "b.sql"]
    for number, file in enumerate(found):
        file.write_text(f"SELECT {number}\n")
    return found


def run(files: Sequence[Path], settings: str = "1") -> tuple[list[str], int]:
    linter = Linter()
    linted, violations = lint(
        files, cache_file=files[0].parent / "cache" / "passed.json", settings=settings, linter=linter
    )
    assert linted == len(linter.linted)
    return linter.linted, len(violations)


def test_the_first_call_lints_all_files_and_the_second_none(files: list[Path]) -> None:
    assert run(files) == (["a.sql", "b.sql"], 0)
    assert run(files) == ([], 0)


def test_a_changed_file_is_linted_again_and_alone(files: list[Path]) -> None:
    run(files)
    files[1].write_text("SELECT 7\n")
    assert run(files) == (["b.sql"], 0)


def test_a_file_with_a_finding_is_reported_by_every_call_until_it_is_fixed(files: list[Path]) -> None:
    files[0].write_text(BAD)
    assert run(files) == (["a.sql", "b.sql"], 1)
    assert run(files) == (["a.sql"], 1)
    files[0].write_text("SELECT 1\n")
    assert run(files) == ([], 0)  # the text of b.sql, which passed


def test_other_settings_lint_every_file_again(files: list[Path]) -> None:
    run(files)
    assert run(files, settings="2") == (["a.sql", "b.sql"], 0)


def test_an_unreadable_cache_is_replaced(files: list[Path]) -> None:
    run(files)
    (files[0].parent / "cache" / "passed.json").write_text("[")
    assert run(files) == (["a.sql", "b.sql"], 0)
    assert run(files) == ([], 0)


def test_sqlfluff_finds_what_is_wrong_with_the_settings_of_the_repository(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sql"
    bad.write_text("select %(iccid)s  FROM amop.device\n")
    assert {(found.file.name, found.line, found.code) for found in run_sqlfluff([bad])} >= {("bad.sql", 1, "LT01")}
