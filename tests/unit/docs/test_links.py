"""Test that the links, paths and error messages in the documentation exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if path.name != "CHANGELOG.md")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
TOP_DIRECTORIES = ("bench", "bin", "dags", "deploy", "docs", "include", "plugins", "sandbox", "tests", "tools")
MIGRATIONS = ROOT / "include" / "sql" / "migrations"
ALEMBIC_TABLE = "amop.alembic_version"  # created by Alembic, not by a script
MODULE = re.compile(r"(amop|sandbox|tools|bench|tests)(\.\w+)+")
PLACEHOLDER = re.compile(r"<\w+>|[*{}…]")


def _text(document: Path) -> str:
    """Return the text of a document without fenced blocks."""
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def _anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", _text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _module_exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of a module."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = (ROOT / "plugins" if parts[0] == "amop" else ROOT).joinpath(*parts[:end])
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        if file.exists():
            return all(re.search(rf"\b{attribute}\b", file.read_text(encoding="utf-8")) for attribute in parts[end:])
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_and_anchors_exist(document: Path) -> None:
    missing = []
    for link in LINK.findall(_text(document)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_and_modules_exist(document: Path) -> None:
    missing = []
    for code in CODE.findall(_text(document)):
        name = code.partition("::")[0].split(" ")[0].rstrip("/")
        if PLACEHOLDER.search(name):
            continue
        is_path = name.partition("/")[0] in TOP_DIRECTORIES and "/" in name
        if is_path and not (ROOT / name).exists():
            missing.append(name)
        if MODULE.fullmatch(name) and not _is_table_or_column(name) and not _module_exists(name):
            missing.append(name)
    assert missing == []


def _is_table_or_column(name: str) -> bool:
    """Return whether a dotted name is a table, or a column of a table, of schema amop."""
    parts = name.split(".")
    if name == ALEMBIC_TABLE:
        return True
    scripts = "".join(path.read_text(encoding="utf-8") for path in MIGRATIONS.glob("*.sql"))
    is_table = re.search(rf"CREATE (UNLOGGED )?TABLE (IF NOT EXISTS )?{parts[0]}\.{parts[1]}\b", scripts, re.IGNORECASE)
    return bool(is_table) and all(re.search(rf"\b{column}\b", scripts) for column in parts[2:])


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for document in DOCUMENTS for target in re.findall(r"`make ([a-z-]+)", _text(document))}
    assert named <= targets


def test_error_messages_in_the_runbook_exist_in_the_code() -> None:
    """Look up the quoted fragments of the tables whose first column is an error or a message."""
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| (?:the error contains|message) .*\n(?:\|.*\n)+", runbook, re.MULTILINE)
    cells = [row.split("|")[1] for table in tables for row in table.splitlines()[2:]]
    fragments = [fragment for cell in cells for fragment in CODE.findall(cell)]
    assert len(fragments) >= 10
    constants = "\n".join(
        node.value
        for path in (ROOT / "plugins").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert [fragment for fragment in fragments if fragment not in constants] == []
