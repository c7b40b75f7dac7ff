"""Test that the dependency audit reports every problem, and reports when it could not look up packages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tools.dependency_audit import KNOWN_VULNERABLE, Pin, lock_problems, vulnerability_problems

HASH = f"--hash=sha256:{'0' * 64}"
PINNED = f"""\
requests==2.33.0 \\
    {HASH} \\
    {HASH}
    # via -r requirements.in
tzdata==2026.1 ; sys_platform == 'win32' \\
    {HASH}
"""
INSTALLED = {"requests": "2.33.0", "pip": "26.3"}


def folder(path: Path, **changes: str) -> Path:
    contents = {
        "requirements.in": "# why\nrequests  # HTTP\ntzdata\n", "requirements-dev.in": "-r requirements.in\n",
        "requirements-celery.in": "celery<5.7\n", "requirements-celery.txt": f"celery==5.6.3 \\\n    {HASH}\n{PINNED}",
        "requirements-fab.in": "tzdata\n", "requirements-openlineage.in": "tzdata\n",
        "requirements.txt": PINNED, "requirements-dev.txt": PINNED,
        "requirements-bootstrap.txt": f"pip==26.3 \\\n    {HASH}\n",
    } | {name.replace("_", "-") + ".txt": text for name, text in changes.items()}  # fmt: skip
    for name, text in contents.items():
        (path / name).write_text(text)
    return path


def test_a_complete_lock_has_no_problems(tmp_path: Path) -> None:
    assert lock_problems(folder(tmp_path), INSTALLED) == []


@pytest.mark.parametrize(
    ("changes", "installed", "problem"),
    [
        ({"requirements": PINNED.replace("==2.33.0", ">=2")}, {}, "not one version with hashes"),
        ({"requirements_dev": PINNED.replace("==2.33.0", "==2.*")}, {}, "not one version with hashes"),
        ({"requirements": "requests==2.33.0\n"}, {}, "not one version with hashes from the index: requests==2.33.0"),
        ({"requirements": f"requests @ https://x.example/r.whl \\\n    {HASH}\n"}, {}, "not one version with hashes"),
        ({"requirements": f"--index-url https://x.example\n{PINNED}"}, {}, "not one version .*: --index-url"),
        ({"requirements": f"-e . \n{PINNED}"}, {}, "not one version with hashes from the index: -e"),
        ({"requirements": f"git+https://x.example/r \\\n    {HASH}\n{PINNED}"}, {}, "not one version .*: git"),
        ({"requirements": PINNED.partition("tzdata")[0]}, {}, "requirements.txt has no tzdata"),
        (
            {"requirements": PINNED.replace("2.33.0", "2.32.0")},
            {},
            "requirements.txt has requests 2.32.0, req.* does not",
        ),
        ({"requirements_celery": PINNED}, {}, "celery.txt has no celery<5.7"),
        ({"requirements_celery": f"celery==5.7.0 \\\n    {HASH}\n{PINNED}"}, {}, "celery.txt has no celery<5.7"),
        (
            {"requirements_celery": f"celery==5.6.3 \\\n    {HASH}\n"},
            {},
            "celery.txt has no requests 2.33.0",
        ),
        ({}, {"requests": "2.32.0"}, "requests: locked 2.33.0, installed 2.32.0"),
        ({}, {"left-pad": "1.0"}, "left-pad: locked None, installed 1.0"),
    ],
)
def test_unlocked_requirements_are_problems(
    tmp_path: Path, changes: dict[str, str], installed: dict[str, str], problem: str
) -> None:
    found = lock_problems(folder(tmp_path, **changes), INSTALLED | installed)
    assert any(re.search(problem, one) for one in found), found


def test_a_lock_that_contradicts_a_direct_requirement_is_a_problem(tmp_path: Path) -> None:
    (folder(tmp_path) / "requirements.in").write_text("requests<2\n")
    assert "requirements.txt has requests 2.33.0, not requests<2; run: make lock" in lock_problems(tmp_path, INSTALLED)


class Service:
    """A fake vulnerability service with results in pip-audit's format."""

    def __init__(self, *, knows: dict[str, list[str]], skips: Iterable[str] = (), forgets: Iterable[str] = ()) -> None:
        self.knows, self.skips, self.forgets = knows, set(skips), set(forgets)

    def __call__(self, requirements: Iterable[str]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for requirement in requirements:
            name, version = requirement.split("==")
            if name in self.forgets:
                continue
            vulns = [{"id": found, "fix_versions": ["9"]} for found in self.knows.get(requirement, ())]
            answers.append(
                {"name": name, "skip_reason": "not found"}
                if name in self.skips
                else {"name": name, "version": version, "vulns": vulns}
            )
        return answers


CONTROL = {KNOWN_VULNERABLE: ["CVE-2018-18074"]}
PINS = [Pin("aiohttp", "3.14.5", True), Pin("requests", "2.33.0", True)]


@pytest.mark.parametrize("service", [lambda _: None, Service(knows={}), Service(knows={}, skips=["requests"])])
def test_without_the_control_finding_nothing_counts_as_audited(service: Any) -> None:
    assert vulnerability_problems(PINS, service) is None


@pytest.mark.parametrize(
    ("service", "problems"),
    [
        (Service(knows=CONTROL), []),
        (Service(knows=CONTROL | {"aiohttp==3.14.5": ["X-1"]}), ["aiohttp 3.14.5: X-1, fixed in 9"]),
        (Service(knows=CONTROL, skips=["aiohttp"]), ["aiohttp: not found"]),
        (Service(knows=CONTROL, forgets=["aiohttp"]), ["pip-audit returned results for 1 of 2 packages"]),
    ],
)
def test_every_finding_and_every_failed_look_up_is_a_problem(service: Service, problems: list[str]) -> None:
    assert vulnerability_problems(PINS, service) == problems
