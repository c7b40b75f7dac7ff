"""Plant the faults of mutants.toml one by one in a copy of the tree, and report which the tests find: `make mutants`.

A mutant is found when its tests fail. With arguments only the mutants are planted whose name contains one of them. The
results are written into the chapter of docs/reliability.md, where those of other mutants stay.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutants.toml")
DOCUMENT = ROOT / "docs" / "reliability.md"
HEADING = "\n## Planted faults\n"
LONGEST_SECONDS = 900
FEWEST_FOUND = 0.95
MISSED = "**missed**"
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+\.py)::", re.MULTILINE)
"""A failed test, or one whose fixture failed; not a file that cannot be imported."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted fault."""

    name: str
    file: str
    old: str
    new: str
    tests: Sequence[str]
    """Paths, the quickest first: the next one is run if those before it find nothing."""

    def planted(self, text: str) -> str:
        """Return a file's text with the fault in it.

        Raises:
            ValueError: the text to replace does not stand in it exactly once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: the text to replace stands {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """Return the mutants of the list."""
    return [Mutant(**entry) for entry in tomllib.loads(LIST.read_text())["mutant"]]


def found_by(mutant: Mutant, tree: Path) -> str:
    """Plant a mutant in a tree, run its tests until one fails, and restore the tree; return the file of that test.

    Returns:
        Path from the root of the tree; empty if no test failed.

    Raises:
        RuntimeError: pytest ended without a verdict.
    """
    path = tree / mutant.file
    original = path.read_text()
    path.write_text(mutant.planted(original))
    try:
        return next(filter(None, (_failed(mutant, tests, tree) for tests in mutant.tests)), "")
    finally:
        path.write_text(original)


def _failed(mutant: Mutant, tests: str, tree: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-n", "2", "--dist", "loadgroup", tests],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": f"{tree / 'plugins'}{os.pathsep}{tree}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    failed = FAILED.search(done.stdout)
    if done.returncode != 0 and failed is None:
        raise RuntimeError(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}{done.stderr}")
    return failed[1] if failed else ""


def with_results(document: str, results: Mapping[str, str]) -> str:
    """Return the document with a chapter of what became of each mutant.

    Args:
        document: Markdown; its chapter, if it has one, keeps the mutants that were not planted now.
        results: name of a mutant → the test file that found it, or empty.
    """
    before, _, rest = document.partition(HEADING)
    chapter, following, others = rest.partition("\n## ")
    known = dict(re.findall(r"^\| (.+) \| (.+) \|$", chapter, re.MULTILINE))
    known |= {name: f"`{file}`" if file else MISSED for name, file in results.items()}
    rows = [(mutant.name, known[mutant.name]) for mutant in mutants() if mutant.name in known]
    found = sum(word != MISSED for _, word in rows)
    text = (
        f"{HEADING}\nConditions of the code are switched off or inverted, one at a time, and the tests named in"
        f" `tools/mutants.toml` run:\n`make mutants`. Of {len(mutants())} mutants {len(rows)} were planted, {found} of"
        " them were found.\n\n| mutant | found by |\n|---|---|\n"
    ) + "".join(f"| {name} | {word} |\n" for name, word in rows)
    if not rest:
        before, following, others = _before_the_last_chapter(document)
    return before.rstrip("\n") + "\n" + text + following + others


def _before_the_last_chapter(document: str) -> tuple[str, str, str]:
    """Divide a document before its last chapter."""
    before, following, others = document.rpartition("\n## ")
    return (before, following, others) if following else (document, "", "")


def main(words: Sequence[str]) -> int:
    """Plant the mutants and print what became of each; return 1 if fewer than 95 % were found."""
    chosen = [mutant for mutant in mutants() if not words or any(word in mutant.name for word in words)]
    missed = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        for mutant in chosen:
            begin = time.monotonic()
            file = found_by(mutant, tree)
            if not file:
                missed.append(mutant.name)
            DOCUMENT.write_text(
                with_results(DOCUMENT.read_text(encoding="utf-8"), {mutant.name: file}), encoding="utf-8"
            )
            spent = time.monotonic() - begin
            print(f"{'found ' if file else 'MISSED'} {spent:5.0f} s  {mutant.name}  {file}", flush=True)
    share = 1 - len(missed) / len(chosen) if chosen else 1.0
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutants found ({share:.0%})")
    return int(share < FEWEST_FOUND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
