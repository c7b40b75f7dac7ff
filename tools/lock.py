"""Resolve the requirement files into locks: ``make lock``.

Each lock holds one version of every package with its hashes, for Python 3.11 to 3.13 and all platforms, and no index
address. Versions that a lock already has are kept where they still fit; delete a lock to upgrade everything in it.

pip before 24 checks ``package[extra]`` and ``package`` as two requirements and refuses a lock that names only one of
them. uv writes one entry, so this adds the other one with the same version and hashes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")

DEVELOPMENT_LOCK = "requirements-dev.txt"

LOCKS: dict[str, tuple[str, ...]] = {
    DEVELOPMENT_LOCK: ("requirements-dev.in",),
    "requirements.txt": ("requirements.in",),
    "requirements-celery.txt": (
        "requirements.in",
        "requirements-celery.in",
        "requirements-fab.in",
        "requirements-openlineage.in",
    ),
}
"""Lock → the files that it resolves. The first one decides the versions that the others share with it."""

ENTRY_WITH_EXTRAS = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)\[[^\]]+\](?P<pin>[^\n]*\n(?:    --hash=[^\n]*\n)+)", re.MULTILINE
)


def with_plain_entries(lock: str) -> str:
    """Return a lock in which every package with extras also has an entry without them, once."""
    known = set(re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE))

    def add_plain_entry(entry: re.Match[str]) -> str:
        if entry["name"] in known:
            return entry[0]
        return f"{entry['name']}{entry['pin']}{entry[0]}"

    return ENTRY_WITH_EXTRAS.sub(add_plain_entry, lock)


def resolve(name: str, sources: tuple[str, ...]) -> None:
    """Write one lock.

    Raises:
        subprocess.CalledProcessError: uv found no solution; it has printed why.
    """
    shared = [] if name == DEVELOPMENT_LOCK else ["--constraints", DEVELOPMENT_LOCK]
    options = ("--quiet", "--no-header", "--universal", "--python-version", "3.11", "--generate-hashes")
    subprocess.run(
        [UV, "pip", "compile", *options, "--no-strip-extras", *shared, *sources, "--output-file", name],
        cwd=ROOT,
        check=True,
    )
    path = ROOT / name
    path.write_text(with_plain_entries(path.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Resolve every requirement file."""
    for name, sources in LOCKS.items():
        resolve(name, sources)
        typer.echo(f"wrote {name}")


if __name__ == "__main__":
    typer.run(main)
