"""The data directory, ports and secrets of a sandbox world, and the environment variables of its processes.

All data is in ``.world/`` at the root of the repository: ports and generated secrets in ``world.json`` (readable by its
owner only), PostgreSQL's data, Airflow's home, logs, and the state of the sandbox carrier. Variables that are already
set in the environment take precedence over the ones set here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import socket
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from sandbox.amop.server import PROGRESS_PATH, SYNC_PATH
from sandbox.carrier.catalogue import ALL_PROVIDERS
from sandbox.carrier.rate_limit import CALLS_PER_WINDOW, FAMILY_LIMITS
from sandbox.carrier.sign_in import connection_extra
from sandbox.world.aws_resources import ARCHIVE_PATH, BUCKET, MAIL_FROM, MAIL_TO, QUEUE, REGION
from sandbox.world.postgres import EmbeddedPostgres, free_port

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY_VARIABLE = "AMOP_WORLD_DIRECTORY"
WAREHOUSE_DATABASE = "warehouse"
AIRFLOW_DATABASE = "airflow"

PORT_VARIABLES = {
    "ui": "AMOP_UI_PORT",
    "postgres": "AMOP_POSTGRES_PORT",
    "aws": "AMOP_AWS_PORT",
    "carrier": "AMOP_CARRIER_PORT",
    "amop": "AMOP_AMOP_PORT",
    "supervisor": "AMOP_SUPERVISOR_PORT",
    "worker_log": "AMOP_WORKER_LOG_PORT",
    "trigger_log": "AMOP_TRIGGER_LOG_PORT",
}
"""Environment variables that set a port; an unset port is chosen from the free ones."""


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _password() -> str:
    """Return a secret with characters that need escaping in URLs, JSON and shells, as real secrets have."""
    return f"{secrets.token_urlsafe(24)}/+%&@:'"


@dataclass
class Secrets:
    """The secrets of one world. They are generated once and never committed."""

    fernet_key: str = field(default_factory=_fernet_key, repr=False)
    jwt_secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    api_secret_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    postgres_password: str = field(default_factory=_password, repr=False)
    carrier_api_key: str = field(default_factory=_password, repr=False)
    amop_token: str = field(default_factory=_password, repr=False)
    aws_secret_key: str = field(default_factory=_password, repr=False)
    supervisor_password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


class World:
    """The data directory, ports, secrets and environment of one sandbox world.

    Args:
        directory: data directory; default: ``AMOP_WORLD_DIRECTORY``, else ``.world`` in the repository.
        devices_per_account: number of SIMs in each Control Center account.
        latency_ms: mean response time of the sandbox carrier in milliseconds.
        calls_per_second: limit of each API user of the carrier, and pace of the syncs.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        devices_per_account: int = 2000,
        latency_ms: float = 20,
        calls_per_second: int = CALLS_PER_WINDOW,
    ) -> None:
        self.directory = (directory or Path(os.environ.get(DIRECTORY_VARIABLE, "") or ROOT / ".world")).resolve()
        self.devices_per_account = devices_per_account
        self.latency_ms = latency_ms
        self.calls_per_second = calls_per_second
        self.ports: dict[str, int] = {}
        self.secrets = Secrets()

    @property
    def sync_only_devices(self) -> int:
        """Return the number of SIMs in each account without bulk usage: a tenth, because each SIM takes a call."""
        return max(1, self.devices_per_account // 10)

    @property
    def settings_file(self) -> Path:
        """Return the path of the file with ports and secrets (mode 0600)."""
        return self.directory / "world.json"

    @property
    def log_directory(self) -> Path:
        """Return the directory with one log file for each process."""
        return self.directory / "logs"

    @property
    def carrier_state_file(self) -> Path:
        """Return the path of the carrier's state file, which keeps plan changes between demos."""
        return self.directory / "carrier-state.json"

    @property
    def reference_file(self) -> Path:
        """Return the path of the reference file that ``bin/amop load-reference`` loads."""
        return self.directory / "reference.yaml"

    @property
    def ui_address(self) -> str:
        """Return the address of the Airflow UI and API."""
        return f"http://127.0.0.1:{self.ports['ui']}"

    @property
    def carrier_address(self) -> str:
        """Return the address of the sandbox carrier."""
        return f"http://127.0.0.1:{self.ports['carrier']}"

    @property
    def amop_address(self) -> str:
        """Return the address of the sandbox AMOP."""
        return f"http://127.0.0.1:{self.ports['amop']}"

    @property
    def aws_address(self) -> str:
        """Return the address of the AWS emulator."""
        return f"http://127.0.0.1:{self.ports['aws']}"

    def load(self) -> None:
        """Load the world's ports, secrets and pace.

        Raises:
            FileNotFoundError: the directory has no world yet.
        """
        settings = json.loads(self.settings_file.read_text())
        self.ports = settings["ports"]
        self.secrets = Secrets(**settings["secrets"])
        self.calls_per_second = settings.get("calls_per_second", CALLS_PER_WINDOW)  # older worlds name none

    def prepare(self) -> None:
        """Create the data directory and choose ports. Secrets, data and free ports of an earlier world are reused."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)  # as root, PostgreSQL runs as user nobody, which must be able to enter
        self.log_directory.mkdir(exist_ok=True)
        if self.settings_file.exists():
            earlier = World(self.directory)
            earlier.load()
            self.ports, self.secrets = earlier.ports, earlier.secrets
        for name, variable in PORT_VARIABLES.items():
            if os.environ.get(variable):
                self.ports[name] = int(os.environ[variable])
            elif name not in self.ports or not _is_free(self.ports[name]):
                self.ports[name] = _free_port_except(self.ports.values())
        settings = {"ports": self.ports, "secrets": asdict(self.secrets), "calls_per_second": self.calls_per_second}
        content = json.dumps(settings, indent=1)
        with os.fdopen(os.open(self.settings_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)

    def postgres(self) -> EmbeddedPostgres:
        """Return the world's PostgreSQL server without starting it."""
        return EmbeddedPostgres(
            self._postgres_directory(), port=self.ports["postgres"], password=self.secrets.postgres_password
        )

    def _postgres_directory(self) -> Path:
        """Return PostgreSQL's data directory.

        As root, PostgreSQL runs as user ``nobody``. Use a temporary directory if that user cannot enter the repository.
        """
        if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in self.directory.parents):
            return self.directory / "postgres"
        name = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"amop-world-{name}-postgres"

    def warehouse_dsn(self) -> str:
        """Return the libpq connection string of the warehouse for the package's own role."""
        return self.postgres().conninfo(WAREHOUSE_DATABASE)

    def environment(self) -> dict[str, str]:
        """Return the environment of this world's processes; the caller's environment takes precedence."""
        return self._base() | self._airflow() | self._connections() | dict(os.environ)

    def _base(self) -> dict[str, str]:
        return {
            "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "XDG_RUNTIME_DIR": str(self.directory),
            "SANDBOX_CARRIER_API_KEY": self.secrets.carrier_api_key,
            "SANDBOX_AMOP_TOKEN": self.secrets.amop_token,
            # The emulator checks no credentials, but without them boto3 would search for some on the network.
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": self.secrets.aws_secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }

    def _airflow(self) -> dict[str, str]:
        password = quote(self.secrets.postgres_password, safe="")
        database = f"amop:{password}@127.0.0.1:{self.ports['postgres']}/{AIRFLOW_DATABASE}"
        home = self.directory / "airflow"
        return (
            AIRFLOW_SETTINGS
            | EXECUTOR_SETTINGS
            | {
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
                "AIRFLOW__CORE__FERNET_KEY": self.secrets.fernet_key,
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.ui_address}/execution/",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{database}",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.ports["ui"]),
                "AIRFLOW__API__BASE_URL": self.ui_address,
                "AIRFLOW__API__SECRET_KEY": self.secrets.api_secret_key,
                "AIRFLOW__API_AUTH__JWT_SECRET": self.secrets.jwt_secret,
                "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports["worker_log"]),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports["trigger_log"]),
            }
        )

    def _connections(self) -> dict[str, str]:
        """Return Airflow's connections and Variables as environment variables."""
        connections: dict[str, dict[str, object]] = {
            "amop_warehouse": {
                "conn_type": "postgres",
                "host": "127.0.0.1",
                "port": self.ports["postgres"],
                "schema": WAREHOUSE_DATABASE,
                "login": "amop",
                "password": self.secrets.postgres_password,
            },
            "amop_api": {
                "conn_type": "http",
                "host": self.amop_address,
                "password": self.secrets.amop_token,
                "extra": {"progress_path": PROGRESS_PATH, "sync_path": SYNC_PATH},
            },
            "aws_default": {
                "conn_type": "aws",
                "login": "sandbox",
                "password": self.secrets.aws_secret_key,
                "extra": {"region_name": REGION, "endpoint_url": self.aws_address},
            },
        }
        for provider in ALL_PROVIDERS:
            connections[provider.connection_id] = {
                "conn_type": "http",
                "host": self.carrier_address,
                "login": provider.api_user,
                "password": self.secrets.carrier_api_key,
                "extra": ({} if provider.family in FAMILY_LIMITS else {"calls_per_second": self.calls_per_second})
                | connection_extra(provider, self.secrets.carrier_api_key),
            }
        environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()}
        return environment | {
            "AIRFLOW_VAR_AMOP_DEVICE_NOTIFICATION_QUEUE": QUEUE,
            "AIRFLOW_VAR_AMOP_REPORTS_BUCKET": BUCKET,
            "AIRFLOW_VAR_AMOP_MAIL_FROM": MAIL_FROM,
            "AIRFLOW_VAR_AMOP_MAIL_TO": MAIL_TO,
            "AIRFLOW_VAR_AMOP_ARCHIVE_PATH": ARCHIVE_PATH,
        }


AIRFLOW_SETTINGS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
    # With the defaults of these four a deferred task fails if it resumes before its first process has been reaped.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    # Adopt the tasks of a killed scheduler within one minute instead of six.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
}
"""Airflow's settings that do not depend on the data directory; ``docker-compose.yaml`` has the same ones."""


PRELOADED_MODULES = (
    "airflow.executors.local_executor",
    "airflow.providers.amazon.aws.hooks.ses",
    "airflow.providers.amazon.aws.hooks.sqs",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.sdk.execution_time.task_runner",
    "amop.device_sync.fetch",
    "amop.device_sync.merge",
    "amop.tasks.back_fill",
    "amop.tasks.carrier_optimization",
    "amop.tasks.device_sync",
)
EXECUTOR_SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    # Every task is a process of its own. Forked from one that has imported what tasks import, it begins at once.
    "AIRFLOW__SCHEDULER__MP_START_METHOD": "forkserver",
    "AIRFLOW__CORE__MP_FORKSERVER_PRELOAD": ",".join(PRELOADED_MODULES),
}
"""Settings of the executor of the sandbox; ``docker-compose.yaml`` has CeleryExecutor."""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port_except(taken: object) -> int:
    used = set(taken)  # type: ignore[call-overload]
    while (port := free_port()) in used:
        pass
    return port
