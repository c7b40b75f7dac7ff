"""Lint SQL files with sqlfluff, but only those whose text has not passed before.

    python -m tools.sql_lint [FILE…]

Parsing is slow: all files take about a minute of CPU. Therefore the hash of every text that passes is kept in
``.sqlfluff_cache/``. It includes sqlfluff's version and settings, so a change of either lints every file again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
SQL_DIRECTORY = ROOT / "include" / "sql"
CACHE_FILE = ROOT / ".sqlfluff_cache" / "passed.json"


@dataclass(frozen=True, slots=True)
class Violation:
    """One finding of sqlfluff."""

    file: Path
    line: int
    column: int
    code: str
    description: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.description}"


Linter = Callable[[Sequence[Path]], list[Violation]]


def run_sqlfluff(files: Sequence[Path]) -> list[Violation]:
    """Return the findings of sqlfluff in these files.

    Raises:
        RuntimeError: sqlfluff itself failed; the message is what it printed.
    """
    done = subprocess.run(
        [
            Path(sys.executable).with_name("sqlfluff"),
            "lint",
            "--processes",
            str(min(len(files), os.cpu_count() or 1)),
            "--config",
            "pyproject.toml",
            "--disable-progress-bar",
            "--format",
            "json",
            *files,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        reports = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"sqlfluff failed:\n{done.stdout}{done.stderr}") from None
    return [
        Violation(
            Path(report["filepath"]),
            found["start_line_no"],
            found["start_line_pos"],
            found["code"],
            found["description"],
        )
        for report in reports
        for found in report["violations"]
    ]


def settings() -> str:
    """Return what decides the findings in a file besides its text: sqlfluff's version and settings."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        configured = tomllib.load(file)["tool"]["sqlfluff"]
    return json.dumps([metadata.version("sqlfluff"), configured], sort_keys=True)


def lint(
    files: Iterable[Path], *, cache_file: Path = CACHE_FILE, settings: str, linter: Linter = run_sqlfluff
) -> tuple[int, list[Violation]]:
    """Lint the files whose text has not passed with these settings.

    Args:
        files: SQL files.
        cache_file: JSON list of the hashes that passed; created where it is missing.
        settings: part of every hash.
        linter: returns the findings in files.

    Returns:
        The number of linted files, and the findings.
    """
    passed = _read_hashes(cache_file)
    hashes = {file: hashlib.sha256(settings.encode() + b"\0" + file.read_bytes()).hexdigest() for file in files}
    unknown = sorted(file for file, digest in hashes.items() if digest not in passed)
    violations = linter(unknown) if unknown else []
    refused = {violation.file.resolve() for violation in violations}
    passed.update(hashes[file] for file in unknown if file.resolve() not in refused)
    if unknown:
        _write_hashes(cache_file, passed)
    return len(unknown), violations


def _read_hashes(cache_file: Path) -> set[str]:
    try:
        return set(json.loads(cache_file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return set()


def _write_hashes(cache_file: Path, hashes: set[str]) -> None:
    """Replace the file in one step, so that a second lint never reads half of it."""
    cache_file.parent.mkdir(exist_ok=True)
    unfinished = cache_file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(sorted(hashes)), encoding="utf-8")
    unfinished.replace(cache_file)


def main(files: Annotated[list[Path] | None, typer.Argument(help="Default: all of include/sql.")] = None) -> None:
    """Lint SQL files; exit status 1 when there is a finding."""
    wanted = [file.resolve() for file in files] if files else sorted(SQL_DIRECTORY.rglob("*.sql"))
    linted, violations = lint(wanted, settings=settings())
    for violation in violations:
        typer.echo(violation, err=True)
    typer.echo(f"sqlfluff: {len(wanted)} files, {linted} linted, the others unchanged; {len(violations)} findings")
    raise typer.Exit(1 if violations else 0)


if __name__ == "__main__":
    typer.run(main)
