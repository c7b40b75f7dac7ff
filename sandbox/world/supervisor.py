"""Run the processes of the sandbox world under supervisord: start, check health, restart, stop with children."""

from __future__ import annotations

import configparser
import contextlib
import getpass
import io
import os
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from sandbox.carrier.catalogue import SYNC_ONLY_PROVIDERS
from sandbox.world.world import ROOT, World

USERS_WITH_USAGE_BY_PLAN_OF_USE = ("api_rogers",)
"""Accounts whose bulk usage is given for the plan that it was used on; elsewhere it follows the SIM."""
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.3


class WorldError(Exception):
    """The world could not be started. The message names the process and contains the end of its log."""


def _programs(world: World) -> dict[str, str]:
    python = sys.executable
    airflow = f"{Path(python).with_name('airflow')}"
    ports = world.ports
    return {
        "aws": f"{Path(python).with_name('moto_server')} -H 127.0.0.1 -p {ports['aws']}",
        "carrier": (
            f"{python} -m sandbox.carrier --port {ports['carrier']} --state-file {world.carrier_state_file} "
            f"--devices-per-account {world.devices_per_account} --latency-ms {world.latency_ms} "
            f"--calls-per-second {world.calls_per_second} "
            f"{' '.join(f'--devices-of {p.integration}={world.sync_only_devices}' for p in SYNC_ONLY_PROVIDERS)} "
            f"{' '.join(f'--usage-by-plan-of-use {user}' for user in USERS_WITH_USAGE_BY_PLAN_OF_USE)}"
        ),
        "amop": (
            f"{python} -m sandbox.amop --port {ports['amop']} --record-file {world.directory / 'amop-messages.jsonl'}"
        ),
        "api-server": f"{airflow} api-server --port {ports['ui']} --host 127.0.0.1 --workers 1",
        "scheduler": f"{airflow} scheduler",
        "dag-processor": f"{airflow} dag-processor",
        "triggerer": f"{airflow} triggerer",
    }


class Supervisor:
    """Control the supervisord daemon of one world. Its settings, log and PID file are in the world's directory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._settings = world.directory / "supervisord.conf"
        self._pid_file = world.directory / "supervisord.pid"

    def is_running(self) -> bool:
        """Return whether the daemon is running."""
        return self._pid() is not None

    def start(self) -> None:
        """Start the daemon, which starts every process of the world.

        Raises:
            WorldError: supervisord did not start.
        """
        self._write_settings()
        done = subprocess.run(
            [Path(sys.executable).with_name("supervisord"), "-c", self._settings],
            env=self.world.environment(), cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise WorldError(f"supervisord did not start: {done.stdout}{done.stderr}")

    def wait_until_healthy(self) -> Iterator[str]:
        """Yield the name of each process as it becomes ready.

        Raises:
            WorldError: a process exited or did not become ready in time; the message contains the end of its log.
        """
        waiting = {
            "carrier": f"{self.world.carrier_address}/sandbox/stats",
            "amop": f"{self.world.amop_address}/sandbox/stats",
            "aws": f"{self.world.aws_address}/moto-api/",
            "api-server": f"{self.world.ui_address}/api/v2/version",
            "scheduler": None,
            "dag-processor": None,
            "triggerer": None,
        }
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while waiting:
            self._raise_for_ended()
            health = _json(f"{self.world.ui_address}/api/v2/monitor/health") if "api-server" not in waiting else {}
            for name, address in list(waiting.items()):
                is_ready = _responds(address) if address else _is_healthy(health, name)
                if is_ready:
                    del waiting[name]
                    yield name
            if time.monotonic() > deadline:
                name = next(iter(waiting))
                raise WorldError(f"{name} was not ready after {START_TIMEOUT_SECONDS} s; {self._end_of_log(name)}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop every process with its children, then the daemon. Do nothing if it is not running."""
        pid = self._pid()
        if pid is None:
            return
        groups = self._process_groups()
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while _is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if _is_alive(pid):
            os.kill(pid, signal.SIGKILL)
        for group in groups:  # supervisord kills a group only if its first process does not end on its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)

    def process_group(self, name: str) -> int | None:
        """Return the process group of a process and its children, or None while supervisord (re)starts it."""
        with self._rpc() as server:
            process: Any = server.supervisor.getProcessInfo(name)
        return process["pid"] if process["statename"] == "RUNNING" else None

    def _process_groups(self) -> list[int]:
        """Return the process groups of all processes; none if the daemon does not answer."""
        try:
            with self._rpc() as server:
                processes: Any = server.supervisor.getAllProcessInfo()
        except (OSError, xmlrpc.client.Error):
            return []
        return [process["pid"] for process in processes if process["pid"]]

    def _rpc(self) -> xmlrpc.client.ServerProxy:
        address = (
            f"http://world:{self.world.secrets.supervisor_password}@127.0.0.1:{self.world.ports['supervisor']}/RPC2"
        )
        return xmlrpc.client.ServerProxy(address)

    def _pid(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline")
            if _is_alive(pid) and (not command.parent.exists() or b"supervisord" in command.read_bytes()):
                return pid
        return None

    def _raise_for_ended(self) -> None:
        try:
            with self._rpc() as server:
                processes: Any = server.supervisor.getAllProcessInfo()
        except (OSError, xmlrpc.client.Error):
            return
        for process in processes:
            if process["statename"] in {"FATAL", "EXITED"}:
                raise WorldError(f"{process['name']} has exited; {self._end_of_log(process['name'])}")

    def _end_of_log(self, name: str) -> str:
        path = self.world.log_directory / f"{name}.log"
        text = path.read_text(errors="replace")[-3000:] if path.exists() else ""
        return f"the end of {path}:\n{text}"

    def _write_settings(self) -> None:
        settings = configparser.RawConfigParser()
        settings["supervisord"] = {
            "user": getpass.getuser(),
            "pidfile": str(self._pid_file),
            "logfile": str(self.world.log_directory / "supervisord.log"),
            "childlogdir": str(self.world.log_directory),
            "directory": str(ROOT),
            "umask": "022",
        }
        settings["inet_http_server"] = {
            "port": f"127.0.0.1:{self.world.ports['supervisor']}",
            "username": "world",
            "password": self.world.secrets.supervisor_password,
        }
        settings["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        for name, command in _programs(self.world).items():
            settings[f"program:{name}"] = {
                "command": command,
                "stdout_logfile": str(self.world.log_directory / f"{name}.log"),
                "redirect_stderr": "true",
                "stopasgroup": "true",
                "killasgroup": "true",
                "stopwaitsecs": "10",
                "startsecs": "2",
                "startretries": "1",
                "autorestart": "unexpected",
            }
        text = io.StringIO()
        settings.write(text)
        with os.fdopen(os.open(self._settings, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text.getvalue())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def _responds(address: str) -> bool:
    with contextlib.suppress(requests.RequestException), _session() as session:
        return bool(session.get(address, timeout=5).ok)
    return False


def _json(address: str) -> dict[str, dict[str, str]]:
    with contextlib.suppress(requests.RequestException, ValueError), _session() as session:
        return dict(session.get(address, timeout=5).json())
    return {}


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy from the environment cannot reach the loopback address
    return session


def _is_healthy(health: dict[str, dict[str, str]], name: str) -> bool:
    return health.get(name.replace("-", "_"), {}).get("status") == "healthy"
