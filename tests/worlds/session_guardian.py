"""Stops the PostgreSQL of a test session and removes the session's folder, once the session is over.

Started by conftest.py with a pipe as standard input: the pipe ends when pytest ends, killed or not.

    python tests/worlds/session_guardian.py SESSION_DIRECTORY < pipe
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(directory: Path) -> None:
    """Wait for the end of standard input, then stop the server, if there is one, and remove the folder."""
    sys.stdin.buffer.read()
    if not directory.is_dir():
        return
    with (directory / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a worker may be starting the server at this moment
        if (directory / "postgres" / "postmaster.pid").exists():
            from sandbox.world.postgres import EmbeddedPostgres

            EmbeddedPostgres(directory / "postgres").stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
