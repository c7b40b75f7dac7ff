"""Where tests keep the files of their servers: in memory, if the machine has a file system for that.

A test that writes to the warehouse gets a database of its own, which is 1,400 files: 0.9 s on the disk of a small
machine, 0.04 s in memory.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 the folder made in it has a random name
NEEDED_BYTES = 4 * 1024**3
"""Several times what the whole suite keeps at one moment."""


def scratch_directory(prefix: str) -> Path:
    """Make a folder that others may pass through: PostgreSQL runs as user nobody where we are root."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= NEEDED_BYTES
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if in_memory else None))
    directory.chmod(0o711)
    return directory
