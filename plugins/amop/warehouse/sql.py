"""The SQL files of ``include/sql``: found once, read once."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def sql_directory() -> Path:
    """Return the folder of SQL files: ``AMOP_SQL_DIRECTORY``, else ``include/sql`` beside ``plugins``."""
    configured = os.environ.get("AMOP_SQL_DIRECTORY")
    return Path(configured) if configured else Path(__file__).resolve().parents[3] / "include" / "sql"


@cache
def load(name: str) -> str:
    """Return the statement of ``include/sql/<name>.sql``, such as ``load("merge/merge_devices")``.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return (sql_directory() / f"{name}.sql").read_text(encoding="utf-8")
