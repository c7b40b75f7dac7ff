"""Find and read the SQL files of ``include/sql``."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

DIRECTORY_VARIABLE = "AMOP_SQL_DIRECTORY"


def sql_directory() -> Path:
    """Return the folder of the SQL files.

    The folder is the one named by ``AMOP_SQL_DIRECTORY``, else ``amop/sql`` of the installed package, else
    ``include/sql`` beside the ``plugins`` folder, where a copy of the source tree has it.
    """
    configured = os.environ.get(DIRECTORY_VARIABLE)
    if configured:
        return Path(configured)
    package = Path(__file__).resolve().parents[1]
    packaged = package / "sql"
    return packaged if packaged.is_dir() else package.parents[1] / "include" / "sql"


@cache
def load(name: str) -> str:
    """Return the statement of ``include/sql/<name>.sql``, for example ``load("device_sync/merge_devices")``.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return (sql_directory() / f"{name}.sql").read_text(encoding="utf-8")
