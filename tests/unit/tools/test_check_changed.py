"""`make check`: which files count as changed, and which tools they need."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.check_changed import changed_files, tools_for


def git(repository: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--initial-branch", "main")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    for name in ("same.py", "edited.py", "staged.py", "committed.py", "deleted.py"):
        (tmp_path / name).write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "Begin")
    return tmp_path


def test_edited_staged_committed_and_untracked_files_count_deleted_and_ignored_ones_do_not(repository: Path) -> None:
    git(repository, "switch", "--create", "topic")
    (repository / "committed.py").write_text("x = 2\n")
    git(repository, "commit", "--all", "--message", "Change")
    (repository / "staged.py").write_text("x = 2\n")
    git(repository, "add", "staged.py")
    (repository / "edited.py").write_text("x = 2\n")
    (repository / "untracked.py").write_text("x = 2\n")
    (repository / "ignored.py").write_text("x = 2\n")
    (repository / "deleted.py").unlink()
    names = [str(path) for path in changed_files(repository)]
    assert names == ["committed.py", "edited.py", "staged.py", "untracked.py"]


def test_what_main_gained_since_the_branch_left_does_not_count(repository: Path) -> None:
    git(repository, "switch", "--create", "topic")
    git(repository, "switch", "main")
    (repository / "same.py").write_text("x = 3\n")
    git(repository, "commit", "--all", "--message", "Go on")
    git(repository, "switch", "topic")
    assert changed_files(repository) == []


def test_without_a_branch_main_the_last_commit_is_the_base(repository: Path) -> None:
    git(repository, "branch", "--move", "main", "work")
    (repository / "edited.py").write_text("x = 2\n")
    assert changed_files(repository) == [Path("edited.py")]


@pytest.mark.parametrize(
    ("files", "tools"),
    [
        ([], []),
        (["README.md", "tests/data/x.sql"], []),
        (["plugins/amop/ids.py"], ["format", "lint", "types", "imports"]),
        (["include/sql/runs/sync_run.sql"], ["SQL"]),
        (["pyproject.toml"], ["format", "lint", "types", "imports"]),
    ],
)
def test_the_changes_decide_the_tools(files: list[str], tools: list[str]) -> None:
    assert [tool.name for tool in tools_for(map(Path, files))] == tools
