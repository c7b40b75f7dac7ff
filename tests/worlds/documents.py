"""The documentation as the tests read it: its code blocks, and the commands that it names."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
GROUPS = "approvals|carriers|messages|periods|quarantine|runs|sessions"
VERBS = "approve|cancel|check|end|list|probe|received|reject|resend|resume|retry|show"
COMMAND = re.compile(rf"(?:(?:bin/)?amop|make|airflow) .+|(?:{GROUPS}) (?:{VERBS})( .+)?")


TESTED_ALONE = {
    "docs/deploy.md": "tests/unit/deploy/test_deploy_docs.py",
    "docs/start-a-run.md": "tests/unit/deploy/test_deploy_docs.py",
}
"""Documents whose commands for other programs, and for an Airflow with roles, have a test of their own."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    document: str
    """Path in the repository."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document} {self.language}: {self.text.strip().splitlines()[0][:40]}"


def documents() -> list[Path]:
    """Return all documents but the changelog, whose commands may be of the past."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path for path in found if path.name != "CHANGELOG.md")


def blocks() -> list[Block]:
    """Return the fenced blocks of all documents."""
    return [
        Block(str(path.relative_to(ROOT)), match["info"].strip(), match["text"])
        for path in documents()
        for match in FENCE.finditer(path.read_text(encoding="utf-8"))
    ]


def block_commands() -> list[tuple[Block, str]]:
    """Return the commands of the blocks for a shell, with their continuation lines, without comments."""
    found = []
    for block in blocks():
        if block.language not in {"", "bash"}:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line.strip())
            if command and not command.startswith("#"):
                found.append((block, command))
    return found


def inline_commands() -> list[tuple[str, str]]:
    """Return the commands in running text, also of the DAGs' descriptions: where, and the command."""
    texts = {str(path.relative_to(ROOT)): FENCE.sub("", path.read_text(encoding="utf-8")) for path in documents()}
    for path in sorted((ROOT / "dags").glob("*.py")):
        texts[f"dags/{path.name}"] = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return [
        (where, " ".join(code.split()))
        for where, text in texts.items()
        for code in INLINE.findall(text)
        if COMMAND.fullmatch(" ".join(code.split()))
    ]


def amop_commands() -> list[tuple[str, ...]]:
    """Return the arguments of every documented call of the package's command line, each once."""
    found: dict[tuple[str, ...], None] = {}
    for _, command in block_commands():
        if command.startswith(("bin/amop ", "amop ")):
            found[tuple(shlex.split(command)[1:])] = None
        elif command.startswith("make amop "):
            found[tuple(shlex.split(command.partition("ARGS=")[2].strip('"')))] = None
    for _, command in inline_commands():
        if command.startswith(("make ", "airflow ")):
            continue
        for single in _alternatives(re.sub(r"^(?:bin/)?amop ", "", command)):
            found[tuple(shlex.split(single))] = None
    return list(found)


def airflow_commands() -> list[tuple[str, ...]]:
    """Return the arguments of every documented call of Airflow's command line, each once."""
    found: dict[tuple[str, ...], None] = {}
    in_blocks = [(block.document, command) for block, command in block_commands()]
    for document, command in in_blocks + inline_commands():
        if document in TESTED_ALONE:
            continue
        if command.startswith("airflow "):
            found[tuple(shlex.split(command)[1:])] = None
        elif command.startswith("make airflow "):
            found[tuple(shlex.split(command.partition("ARGS=")[2].strip('"')))] = None
    return list(found)


def make_commands() -> list[str]:
    """Return every documented call of make, each once."""
    found = [command for _, command in block_commands()] + [command for _, command in inline_commands()]
    return sorted({command for command in found if command.startswith("make ")})


def _alternatives(command: str) -> Iterator[str]:
    """Yield a command for each word of ``list|show``; of a choice of values (``device|usage``) the first one."""
    words = command.split()
    if len(words) > 1 and "|" in words[1]:
        for word in words[1].split("|"):
            yield " ".join([words[0], word, *words[2:]])
    else:
        yield " ".join(word.partition("|")[0] for word in words)
