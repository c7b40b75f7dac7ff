"""Check the files that were changed since the branch left ``main``: ``make check``.

A file counts as changed if it differs from the merge base with ``main`` (committed, staged or not) or is untracked.
Formatting, lint and SQL are checked file by file. Types and import rules are checked for the whole package, because a
change in one file breaks others; their caches make that quick.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parents[1]
BASES = ("main", "origin/main")
PYTHON = ("py", "pyi")


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that checks something."""

    name: str
    command: tuple[str, ...]


def changed_files(repository: Path = ROOT) -> list[Path]:
    """Return the existing files that differ from the merge base with ``main``, relative to the repository."""
    base = next(filter(None, (_git(repository, "merge-base", "HEAD", name) for name in BASES)), "HEAD")
    names = _git(repository, "diff", "--name-only", "--diff-filter=d", "--no-renames", "-z", base.strip())
    names += _git(repository, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({Path(name) for name in names.split("\0") if name})


def _git(repository: Path, *arguments: str) -> str:
    """Return the output of a git command, nothing where it fails."""
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=False)
    return done.stdout


def tools_for(files: Iterable[Path]) -> Iterator[Tool]:
    """Yield the tools that these changes need."""
    changed = list(files)
    python = [str(file) for file in changed if file.suffix[1:] in PYTHON]
    sql = [str(file) for file in changed if file.suffix == ".sql" and file.parts[:2] == ("include", "sql")]
    if Path("pyproject.toml") in changed:  # the settings of every tool
        python = ["."]
    if python:
        yield Tool("format", (_program("ruff"), "format", "--check", "--quiet", "--force-exclude", *python))
        yield Tool("lint", (_program("ruff"), "check", "--quiet", "--force-exclude", *python))
        yield Tool("types", (_program("mypy"), "--no-error-summary"))
        yield Tool("imports", (_program("lint-imports"),))
    if sql:
        yield Tool("SQL", (sys.executable, "-m", "tools.sql_lint", *sql))


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def run(tool: Tool) -> tuple[Tool, subprocess.CompletedProcess[str]]:
    """Run a tool in the repository and keep its output."""
    return tool, subprocess.run(
        tool.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def main() -> None:
    """Check what was changed; exit status 1 when a tool has a finding."""
    started = time.monotonic()
    files = changed_files()
    tools = list(tools_for(files))
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(run, tools))
    failed = [(tool, done) for tool, done in results if done.returncode]
    for tool, done in failed:
        typer.echo(f"── {tool.name} ──\n{done.stdout.rstrip()}", err=True)
    summary = ", ".join(f"{tool.name} {'FAILED' if done.returncode else 'ok'}" for tool, done in results)
    typer.echo(f"{len(files)} changed files: {summary or 'nothing to check'} ({time.monotonic() - started:.1f} s)")
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
