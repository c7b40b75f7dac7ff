"""The lock for old versions of pip: every package with extras is listed without them too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.lock import LOCKS, with_plain_entries

ROOT = Path(__file__).resolve().parents[3]
LOCK = """\
psycopg[binary]==3.3.9 ; sys_platform == 'linux' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r requirements.in
tzdata==2026.1 \\
    --hash=sha256:cc
"""


def test_an_entry_with_extras_gets_an_entry_without_them_of_the_same_version_and_hashes() -> None:
    plain = "psycopg==3.3.9 ; sys_platform == 'linux' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    assert with_plain_entries(LOCK) == plain + LOCK


def test_a_lock_that_has_both_entries_stays_as_it_is() -> None:
    assert with_plain_entries(with_plain_entries(LOCK)) == with_plain_entries(LOCK)


@pytest.mark.parametrize("name", LOCKS)
def test_every_lock_of_the_repository_has_both_entries(name: str) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    assert re.search(r"^sqlalchemy\[asyncio\]==", lock, re.MULTILINE)
    assert with_plain_entries(lock) == lock
