"""Are the dependencies what the lock says, and is a vulnerability known of one of them? Part of ``make lint``.

1. **The lock**, always: every requirement is pinned to one version with hashes and comes from the package index alone,
   the runtime's lock says the same as the development's, both hold what is asked for, and just that is installed.
2. **Known vulnerabilities**, by pip-audit, where its service can be reached. pip-audit itself reports success where it
   could look nothing up, so it is first asked about a version that is known to be vulnerable. If it does not report
   that one, nothing was audited, and this says so; otherwise every finding, and every package that it could not look
   up, is a failure.

    python -m sandbox.dependency_audit
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

from sandbox.environment import ROOT

KNOWN_VULNERABLE = "requests==2.19.0"
"""CVE-2018-18074: credentials are sent on after a redirect from https to http."""

SECONDS = 300

LookUp = Callable[[Iterable[str]], "list[dict[str, Any]] | None"]

PIN = re.compile(r"(?P<requirement>[^\\]+?)(?P<hashes>(\s*\\\s*--hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a lock; a package may have several, for different versions of Python."""

    name: str
    version: str
    is_for_this_python: bool


def read_lock(path: Path, problems: list[str]) -> list[Pin]:
    """Return the entries of a lock; what is not one version with hashes from the index is a problem."""
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
        is_ours = requirement.marker is None or requirement.marker.evaluate()
        pins.append(Pin(canonicalize_name(requirement.name), versions[0].version, is_ours))
    return pins


def read_wanted(path: Path) -> Iterator[Requirement]:
    """Yield the requirements of an input file, those of the files that it includes left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            yield Requirement(text)


def lock_problems(folder: Path, installed: dict[str, str]) -> list[str]:
    """Return what is wrong with the locks of a folder; nothing is asked of any network.

    Args:
        folder: holds ``requirements.in``, ``requirements.txt``, ``requirements-dev.in`` and so on.
        installed: canonical name → version of this environment.
    """
    problems: list[str] = []
    locks = {name: read_lock(folder / f"{name}.txt", problems) for name in
             ("requirements", "requirements-dev", "requirements-bootstrap")}  # fmt: skip
    for name in ("requirements", "requirements-dev"):
        for wanted in read_wanted(folder / f"{name}.in"):
            pins = [pin for pin in locks[name] if pin.name == canonicalize_name(wanted.name)]
            if not pins:
                problems.append(f"{name}.txt has no {wanted.name}; run: make lock")
            for pin in pins:
                if not _satisfies(pin, wanted):
                    problems.append(f"{name}.txt has {pin.name} {pin.version}, not {wanted}; run: make lock")
    of_development = {(pin.name, pin.version) for pin in locks["requirements-dev"]}
    for pin in locks["requirements"]:
        if (pin.name, pin.version) not in of_development:
            problems.append(f"requirements.txt has {pin.name} {pin.version}, requirements-dev.txt not; run: make lock")
    ours = {pin.name: pin.version for lock in locks.values() for pin in lock if pin.is_for_this_python}
    unlocked = {"setuptools"} - ours.keys()  # what Python's own venv puts there
    for name in sorted((ours.keys() | installed.keys()) - unlocked):
        if ours.get(name) != installed.get(name):
            problems.append(
                f"{name}: locked {ours.get(name)}, installed {installed.get(name)}; remove .venv, make setup"
            )
    return problems


def _satisfies(pin: Pin, wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(Version(pin.version), prereleases=True)
    except InvalidVersion:
        return False


def installed_packages() -> dict[str, str]:
    """Return canonical name → version of what is installed."""
    return {canonicalize_name(one.metadata["Name"]): one.version for one in metadata.distributions()}


def look_up(requirements: Iterable[str]) -> list[dict[str, Any]] | None:
    """Return pip-audit's word on pinned requirements; None where its service cannot be reached."""
    with tempfile.TemporaryDirectory(prefix="amop-audit-") as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pip_audit", "-r", str(listed), "--no-deps", "--disable-pip", "-f", "json",
                 "--progress-spinner", "off", "--timeout", "20"],
                capture_output=True, text=True, check=False, timeout=SECONDS,
            )  # fmt: skip
            return list(json.loads(done.stdout)["dependencies"])
        except (subprocess.TimeoutExpired, ValueError):
            return None


def vulnerability_problems(pins: Iterable[Pin], look_up: LookUp = look_up) -> list[str] | None:
    """Return what pip-audit found or could not look up; None where it can look nothing up at all."""
    control = look_up([KNOWN_VULNERABLE])
    if not control or not control[0].get("vulns"):
        return None
    wanted = sorted({f"{pin.name}=={pin.version}" for pin in pins})
    answers = look_up(wanted)
    if answers is None:
        return [f"pip-audit said nothing of {len(wanted)} packages"]
    problems = [
        f"{answer['name']} {answer['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for answer in answers
        for found in answer.get("vulns", ())
    ]
    problems += [f"{answer['name']}: {answer['skip_reason']}" for answer in answers if "skip_reason" in answer]
    if len(answers) != len(wanted):
        problems.append(f"pip-audit answered for {len(answers)} of {len(wanted)} packages")
    return problems


def main() -> None:
    """Audit the dependencies; exit status 1 when there is a problem."""
    problems = lock_problems(ROOT, installed_packages())
    if not problems:
        typer.echo("lock: complete, pinned, hashed, and what is installed")
    pins = read_lock(ROOT / "requirements-dev.txt", [])
    vulnerable = vulnerability_problems(pins)
    if vulnerable is None:
        typer.echo(f"NOT AUDITED for known vulnerabilities: pip-audit cannot even look {KNOWN_VULNERABLE} up from here")
    else:
        typer.echo(f"known vulnerabilities: {len(pins)} packages looked up, {len(vulnerable)} problems")
    problems += vulnerable or []
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
