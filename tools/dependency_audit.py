"""Audit the lock files, the installed packages and known vulnerabilities. Part of ``make lint``.

1. **Lock files**, without any network access: every requirement is pinned to one version with hashes and comes from the
   package index; the runtime lock agrees with the development lock; both contain every direct requirement; and the
   environment contains exactly the locked packages.
2. **Known vulnerabilities**, with pip-audit. pip-audit reports success even if it could not look up any package, so
   this tool first looks up a version that is known to be vulnerable. If pip-audit does not report it, nothing was
   audited, and the tool says so. Otherwise every finding, and every package that could not be looked up, is a failure.

    python -m tools.dependency_audit
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import typer
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
KNOWN_VULNERABLE = "requests==2.19.0"
"""Control package. CVE-2018-18074: requests resends credentials after a redirect from https to http."""

AUDIT_TIMEOUT_SECONDS = 300

PIP_AUDIT_OPTIONS = ("--no-deps", "--disable-pip", "-f", "json", "--progress-spinner", "off", "--timeout", "20")

LookUp = Callable[[Iterable[str]], "list[dict[str, Any]] | None"]

PIN = re.compile(r"(?P<requirement>[^\\]+?)(?P<hashes>(\s*\\\s*--hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a lock file. A package can have several entries, for different Python versions."""

    name: str
    version: str
    is_for_this_python: bool


def read_lock(path: Path, problems: list[str]) -> list[Pin]:
    """Return the entries of a lock file.

    Append to ``problems`` every entry that is not one version with hashes from the package index.
    """
    pins = []
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for entry in filter(None, (entry.strip() for entry in re.split(r"\n(?=\S)", text))):
        match = PIN.fullmatch(entry)
        try:
            requirement = Requirement(match["requirement"].strip()) if match else None
        except InvalidRequirement:
            requirement = None
        versions = list(requirement.specifier) if requirement else []
        if (
            requirement is None
            or requirement.url
            or [one.operator for one in versions] != ["=="]
            or "*" in versions[0].version
        ):
            problems.append(f"{path.name}: not one version with hashes from the index: {entry.splitlines()[0]}")
            continue
        is_for_this_python = requirement.marker is None or requirement.marker.evaluate()
        pins.append(Pin(canonicalize_name(requirement.name), versions[0].version, is_for_this_python))
    return pins


def read_wanted(path: Path) -> Iterator[Requirement]:
    """Yield the direct requirements of an input file, without those of the files that it includes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            yield Requirement(text)


def lock_problems(folder: Path, installed: dict[str, str]) -> list[str]:
    """Return the problems of the lock files of a directory. Needs no network access.

    Args:
        folder: directory with the ``requirements*.in`` and ``requirements*.txt`` files.
        installed: version by canonical package name of this environment.
    """
    problems: list[str] = []
    names = ("requirements", "requirements-dev", "requirements-bootstrap")
    locks = {name: read_lock(folder / f"{name}.txt", problems) for name in names}
    problems += _problems_with_the_celery_lock(folder, locks["requirements"])
    for name in ("requirements", "requirements-dev"):
        for wanted in read_wanted(folder / f"{name}.in"):
            pins = [pin for pin in locks[name] if pin.name == canonicalize_name(wanted.name)]
            if not pins:
                problems.append(f"{name}.txt has no {wanted.name}; run: make lock")
            for pin in pins:
                if not _satisfies(pin, wanted):
                    problems.append(f"{name}.txt has {pin.name} {pin.version}, not {wanted}; run: make lock")
    development_pins = {(pin.name, pin.version) for pin in locks["requirements-dev"]}
    for pin in locks["requirements"]:
        if (pin.name, pin.version) not in development_pins:
            problems.append(
                f"requirements.txt has {pin.name} {pin.version}, requirements-dev.txt does not; run: make lock"
            )
    locked = {pin.name: pin.version for lock in locks.values() for pin in lock if pin.is_for_this_python}
    unlocked = {"setuptools"} - locked.keys()  # installed by Python's venv module
    for name in sorted((locked.keys() | installed.keys()) - unlocked):
        if locked.get(name) != installed.get(name):
            problems.append(
                f"{name}: locked {locked.get(name)}, installed {installed.get(name)}; remove .venv and run: make setup"
            )
    return problems


def _problems_with_the_celery_lock(folder: Path, runtime: Iterable[Pin]) -> list[str]:
    """Return the problems of the image's lock: it must hold the runtime's lock and every extra.

    It is not compared with this environment, because only the image of ``docker-compose.yaml`` installs it.
    """
    problems: list[str] = []
    celery = read_lock(folder / "requirements-celery.txt", problems)
    known = {(pin.name, pin.version) for pin in celery}
    for pin in runtime:
        if (pin.name, pin.version) not in known:
            problems.append(f"requirements-celery.txt has no {pin.name} {pin.version}; run: make lock")
    extras = ("requirements-celery.in", "requirements-fab.in", "requirements-openlineage.in")
    for wanted in (one for extra in extras for one in read_wanted(folder / extra)):
        name = canonicalize_name(wanted.name)
        if not any(pin.name == name and _satisfies(pin, wanted) for pin in celery):
            problems.append(f"requirements-celery.txt has no {wanted}; run: make lock")
    return problems


def _satisfies(pin: Pin, wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(Version(pin.version), prereleases=True)
    except InvalidVersion:
        return False


def installed_packages() -> dict[str, str]:
    """Return the installed version by canonical package name."""
    return {canonicalize_name(package.metadata["Name"]): package.version for package in metadata.distributions()}


def look_up(requirements: Iterable[str]) -> list[dict[str, Any]] | None:
    """Return pip-audit's result for pinned requirements, or None if its service cannot be reached."""
    with tempfile.TemporaryDirectory(prefix="amop-audit-") as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pip_audit", "-r", str(listed), *PIP_AUDIT_OPTIONS],
                capture_output=True,
                text=True,
                check=False,
                timeout=AUDIT_TIMEOUT_SECONDS,
            )
            return list(json.loads(done.stdout)["dependencies"])
        except (subprocess.TimeoutExpired, ValueError):
            return None


def vulnerability_problems(pins: Iterable[Pin], look_up: LookUp = look_up) -> list[str] | None:
    """Return pip-audit's findings and failed look-ups, or None if it could not look up the control package."""
    control = look_up([KNOWN_VULNERABLE])
    if not control or not control[0].get("vulns"):
        return None
    wanted = sorted({f"{pin.name}=={pin.version}" for pin in pins})
    answers = look_up(wanted)
    if answers is None:
        return [f"pip-audit returned no result for {len(wanted)} packages"]
    problems = [
        f"{answer['name']} {answer['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for answer in answers
        for found in answer.get("vulns", ())
    ]
    problems += [f"{answer['name']}: {answer['skip_reason']}" for answer in answers if "skip_reason" in answer]
    if len(answers) != len(wanted):
        problems.append(f"pip-audit returned results for {len(answers)} of {len(wanted)} packages")
    return problems


def main() -> None:
    """Audit the dependencies. Exit status 1 if there is a problem."""
    problems = lock_problems(ROOT, installed_packages())
    if not problems:
        typer.echo("lock files: complete, pinned and hashed; the installed packages match")
    pins = read_lock(ROOT / "requirements-dev.txt", [])
    vulnerable = vulnerability_problems(pins)
    if vulnerable is None:
        typer.echo(
            f"NOT AUDITED for known vulnerabilities: pip-audit could not look up the control package {KNOWN_VULNERABLE}"
        )
    else:
        typer.echo(f"known vulnerabilities: {len(pins)} packages looked up, {len(vulnerable)} problems")
    problems += vulnerable or []
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
