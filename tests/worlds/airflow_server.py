"""Airflow's own API server with real users of its auth manager, and a warehouse that a test can change; for tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from psycopg.conninfo import conninfo_to_dict

from sandbox.world.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
PASSWORD = "a password of the tests"
USERS = {"admin": "admin", "operator": "op", "user": "user", "viewer": "viewer", "guest": ""}
"""Users and their roles; a guest is signed in and has none."""


class AirflowServer:
    """A running API server.

    Args:
        address: scheme, host and port.
        connections: file with Airflow's connections, read with each request.
        log: file with the server's log.
    """

    def __init__(self, address: str, connections: Path, log: Path) -> None:
        self.address = address
        self._connections = connections
        self._log = log

    def connect_to(self, dsn: str | None) -> None:
        """Let connection ``amop_warehouse`` be a database; None removes it."""
        found: dict[str, Any] = {}
        if dsn is not None:
            fields = conninfo_to_dict(dsn)
            found["amop_warehouse"] = {
                "conn_type": "postgres",
                "host": fields["host"],
                "port": int(fields["port"] or 0),
                "schema": fields["dbname"],
                "login": fields["user"],
                "password": fields["password"],
            }
        self._connections.write_text(json.dumps(found))

    def token(self, user: str) -> str:
        """Return a token of a user, as signing in gives it."""
        credentials = {"username": user, "password": PASSWORD}
        answer = requests.post(f"{self.address}/auth/token", json=credentials, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def get(self, path: str, user: str | None, **query: Any) -> requests.Response:
        """Request a path below ``/amop/`` with the cookie of a user; None = without one."""
        cookies = {"_token": self.token(user)} if user else {}
        return requests.get(f"{self.address}/amop/{path}", cookies=cookies, params=query, timeout=30)

    def log(self) -> str:
        """Return the server's log."""
        return self._log.read_text()


@contextmanager
def airflow_server(folder: Path, database: Path) -> Iterator[AirflowServer]:
    """Run an API server of its own, on a copy of a metadata database, until the end of the ``with`` block.

    Raises:
        RuntimeError: it did not start; the message is its log.
    """
    port, log = free_port(), folder / "server.log"
    shutil.copyfile(database, folder / "airflow.db")
    (folder / "passwords.json").write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
    connections = folder / "connections.json"
    connections.write_text("{}")
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_API_APPS": "core",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__SECRET_KEY": "of the tests",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(connections)}),
    }
    command = [sys.executable, "-m", "uvicorn", "airflow.api_fastapi.main:app", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, address, log)
        yield AirflowServer(address, connections, log)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{address}/api/v2/version", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise RuntimeError(f"Airflow's API server did not start:\n{log.read_text()[-4000:]}")
