"""docker-compose.yaml: valid, complete, without a secret in it, and with the settings of the sandbox."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.world.world import AIRFLOW_SETTINGS, PRELOADED_MODULES, World
from tests.worlds.compose_file import COMPOSE_FILE, ComposeFile, Service

ROOT = Path(__file__).resolve().parents[3]
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
"""Services that run Airflow for good."""
DIGEST = "sha256:[0-9a-f]{64}"
LAID_OUT_OTHERWISE = {"AIRFLOW__CORE__PARALLELISM", "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"}
"""Settings of the sandbox that a production has other values of."""


@pytest.fixture(scope="module")
def compose() -> ComposeFile:
    return ComposeFile()


@pytest.fixture(scope="module")
def services(compose: ComposeFile) -> dict[str, Service]:
    return compose.services


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The secrets of the profile sandbox."""
    return write_secrets(tmp_path / "secrets", "--sandbox")


def write_secrets(folder: Path, *arguments: str) -> Path:
    program = ROOT / "deploy" / "write_secrets.py"
    subprocess.run([sys.executable, program, "--secrets", folder, *arguments], check=True, capture_output=True)
    return folder


def volumes(compose: ComposeFile, service: str) -> list[str]:
    found: list[str] = compose.document["services"][service].get("volumes", [])
    return found


def test_the_file_follows_the_compose_schema() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_two_workers_run_and_no_service_shares_the_network_of_another(
    compose: ComposeFile, services: dict[str, Service]
) -> None:
    assert services["worker"].replicas == 2
    for name, service in compose.document["services"].items():
        assert "network_mode" not in service and "container_name" not in service, name
        assert "ports" not in service or name == "api-server", name
    assert compose.document["services"]["api-server"]["ports"] == ["127.0.0.1:8080:8080"]


def test_users_sign_in_and_have_roles(services: dict[str, Service]) -> None:
    for name in AIRFLOW | {"set-up"}:
        environment = services[name].environment
        assert environment["AIRFLOW__CORE__AUTH_MANAGER"].endswith(".FabAuthManager"), name
        assert not any("SIMPLE_AUTH" in variable for variable in environment), name


def test_every_service_that_stays_has_a_health_check(services: dict[str, Service]) -> None:
    stays = {name for name, service in services.items() if not service.ends}
    assert stays == AIRFLOW | {"postgres", "redis", "carrier", "amop", "aws"}
    assert {name for name in stays if not services[name].health_check} == set()


def test_the_logs_of_all_airflow_services_are_on_one_volume(compose: ComposeFile) -> None:
    for name in AIRFLOW:
        assert "logs:/opt/airflow/logs" in volumes(compose, name), name
    assert "/opt/airflow/logs" in (ROOT / "Dockerfile").read_text()


def test_what_must_outlive_a_container_is_on_a_volume(compose: ComposeFile) -> None:
    assert "postgres:/var/lib/postgresql" in volumes(compose, "postgres")
    assert "redis:/data" in volumes(compose, "redis")
    assert "--appendonly yes --dir /data" in compose.services["redis"].command[-1]


def test_the_profile_sandbox_holds_the_sandbox_and_nothing_else(services: dict[str, Service]) -> None:
    sandbox = {"carrier", "amop", "certificates", "aws", "aws-resources", "reference-file", "reference"}
    assert {name for name, service in services.items() if service.is_sandbox} == sandbox
    for name in services.keys() - sandbox:
        assert services[name].needs.keys() & sandbox == set(), name


def test_a_reference_file_is_loaded_in_the_sandbox_only_and_once(services: dict[str, Service]) -> None:
    assert "load_reference_once.sh" in services["reference"].command[1]
    for name in services.keys() - {"reference"}:
        assert "load-reference" not in " ".join(services[name].command), name
    assert "load-reference" not in (ROOT / "deploy" / "set_up.py").read_text()


def test_every_service_waits_for_what_it_needs(services: dict[str, Service]) -> None:
    completed, healthy = "service_completed_successfully", "service_healthy"
    for name in AIRFLOW:
        assert services[name].needs == {"set-up": completed, "grants": completed}, name
    assert services["set-up"].needs == {"postgres": healthy, "redis": healthy}
    assert services["grants"].needs == {"set-up": completed}
    assert services["carrier"].needs == services["amop"].needs == {"certificates": completed}


def test_no_secret_is_in_the_file_or_in_an_environment(compose: ComposeFile, secrets: Path) -> None:
    text = COMPOSE_FILE.read_text() + (ROOT / ".env.example").read_text()
    assert re.findall(r"(?i)^\s*[A-Z_]*(?:PASSWORD|TOKEN|SECRET|KEY): (?!\{)(?!/run/secrets/).*$", text, re.M) == []
    for service in compose.services.values():
        for name, value in service.environment.items():
            if re.search("PASSWORD|TOKEN|SECRET_KEY|JWT|FERNET|ALCHEMY_CONN|BROKER|RESULT_BACKEND", name):
                assert "/run/secrets/" in value, name
    assert {Path(path).name for path in compose.secret_files.values()} == {path.name for path in secrets.iterdir()}


def test_each_service_has_the_secrets_of_its_role_and_no_others(services: dict[str, Service]) -> None:
    shared = {"airflow_password", "redis_password", "fernet_key", "api_secret_key", "jwt_secret", "variables"}
    runs_tasks = shared | {"connections"}
    expected = {
        "api-server": shared | {"connections_page"},
        "scheduler": runs_tasks,
        "dag-processor": runs_tasks,
        "triggerer": runs_tasks,
        "worker": runs_tasks,
        "reference": runs_tasks,
        "set-up": shared | {"connections_owner", "admin_password", "amop_starter_password"},
        "grants": {"amop_owner_password"},
        "postgres": {"postgres_password", "airflow_password"}
        | {f"amop_{role}_password" for role in ("owner", "runtime", "reader")},
        "redis": {"redis_password"},
        "carrier": {"sandbox_carrier_api_key"},
        "amop": {"sandbox_amop_token"},
    }
    found = {name: set(service.secrets.values()) for name, service in services.items()}
    assert found == {name: expected.get(name, set()) for name in services}


def test_each_role_has_a_password_of_its_own_and_the_folder_is_closed(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    single = [path.read_text() for path in secrets.iterdir() if path.suffix != ".json"]
    assert len(set(single)) == len(single) == 13
    assert all(len(text) >= 44 for text in single)


def test_secrets_that_exist_are_left_alone(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    write_secrets(secrets)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_the_sandboxs_secrets_hold_the_connections_and_variables_of_make_up(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        monkeypatch.delenv(name)
    world = World(tmp_path / "world")
    world.prepare()
    environment = world.environment()
    connections = json.loads((secrets / "connections.json").read_text())
    expected = {name for name in environment if name.startswith("AIRFLOW_CONN_")}
    assert {f"AIRFLOW_CONN_{name.upper()}" for name in connections} == expected
    assert len(expected) == 3 + len(INTEGRATIONS)
    for name, connection in connections.items():
        there = json.loads(environment[f"AIRFLOW_CONN_{name.upper()}"])
        assert there.keys() == connection.keys(), name
        assert there.get("extra", {}).keys() == connection.get("extra", {}).keys() - {"verify"}, name
    variables = json.loads((secrets / "variables.json").read_text())
    assert {f"AIRFLOW_VAR_{name.upper()}": value for name, value in variables.items()} == {
        name: value for name, value in environment.items() if name.startswith("AIRFLOW_VAR_")
    }


def test_without_the_sandbox_the_files_say_what_to_fill_in_and_nothing_is_called_in_plain_http(tmp_path: Path) -> None:
    folder = write_secrets(tmp_path / "secrets")
    connections = json.loads((folder / "connections.json").read_text())
    outside = {name: one for name, one in connections.items() if one["conn_type"] == "http"}
    assert {one["host"] for one in outside.values()} == {"https://EDIT_ME"}
    assert {one["password"] for one in outside.values()} == {"EDIT_ME"}
    assert json.loads((folder / "variables.json").read_text()) == {}


def test_roles_of_the_warehouse_are_those_of_the_connections(secrets: Path) -> None:
    def logins(name: str) -> dict[str, str]:
        found = json.loads((secrets / name).read_text())
        return {key: one["login"] for key, one in found.items() if one["conn_type"] == "postgres"}

    assert logins("connections.json") == {ids.WAREHOUSE_CONNECTION: "amop_runtime"}
    assert logins("connections_owner.json") == {ids.WAREHOUSE_CONNECTION: "amop_owner"}
    assert logins("connections_page.json") == {
        ids.WAREHOUSE_CONNECTION: "amop_runtime",
        ids.PAGE_CONNECTION: "amop_reader",
    }


def test_the_roles_and_grants_are_those_of_the_documentation() -> None:
    blocks = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "security.md").read_text("utf-8"), re.DOTALL)
    assert blocks == [(ROOT / "deploy" / name).read_text("utf-8") for name in ("roles.sql", "grants.sql")]


def test_its_airflow_has_the_settings_of_the_sandbox(services: dict[str, Service]) -> None:
    for name in AIRFLOW:
        environment = services[name].environment
        expected = {key: value for key, value in AIRFLOW_SETTINGS.items() if key not in LAID_OUT_OTHERWISE}
        assert {key: environment.get(key) for key in expected} == expected, name
        assert environment["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_workers_import_what_tasks_import_before_they_fork(services: dict[str, Service]) -> None:
    config = json.loads(services["worker"].environment["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"])
    assert config == {"imports": [name for name in PRELOADED_MODULES if "local_executor" not in name]}


def test_the_api_server_is_healthy_when_tasks_can_call_it(services: dict[str, Service]) -> None:
    check = " ".join(services["api-server"].health_check)
    assert "api/v2/monitor/health" in check and "execution/health" in check


def test_its_image_is_built_from_the_lock_with_celery_and_fab(compose: ComposeFile) -> None:
    lock = compose.document["x-airflow"]["build"]["args"]["REQUIREMENTS"]
    assert f"!{lock}\n" in (ROOT / ".dockerignore").read_text()
    text = (ROOT / lock).read_text()
    assert "\napache-airflow-providers-celery==" in text and "\napache-airflow-providers-fab==" in text


def test_every_image_has_an_exact_version_and_a_digest_and_can_be_given_another(compose: ComposeFile) -> None:
    ours = {"amop-airflow:local", "amop-sandbox:local"}
    images = {service.image for service in compose.services.values()} - ours
    assert len(images) == 2
    for image in images:
        assert re.fullmatch(rf"[a-z]+:\d+\.\d+[\w.-]*@{DIGEST}", image), image
    digest = f"postgres:18.6@sha256:{'0' * 64}"
    assert ComposeFile({"POSTGRES_IMAGE": digest}).services["postgres"].image == digest
    for dockerfile in ("Dockerfile", "Dockerfile.sandbox"):
        text = (ROOT / dockerfile).read_text()
        assert re.search(
            rf"^ARG PYTHON_IMAGE=python:3\.12-slim-bookworm@{DIGEST}\nFROM \${{PYTHON_IMAGE}}$", text, re.M
        )


def test_every_setting_of_the_example_is_one_of_the_file_with_its_default() -> None:
    text = COMPOSE_FILE.read_text()
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M))
    assert dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text)) == example


def test_the_pools_and_the_rights_of_the_starter_are_those_of_the_registry() -> None:
    folder = ROOT / "include" / "airflow"
    pools = json.loads((folder / "pools.json").read_text())
    assert set(pools) == {ids.carrier_pool(name) for name in INTEGRATIONS}
    assert all(pool["slots"] >= 1 for pool in pools.values())
    roles: list[dict[str, Any]] = json.loads((folder / "roles.json").read_text())
    assert {role["name"] for role in roles} == {ids.STARTER_ROLE}
    optimized = [name for name, integration in INTEGRATIONS.items() if integration.supports_optimization]
    dags = [*map(ids.device_sync_dag, INTEGRATIONS), *map(ids.carrier_optimization_dag, optimized)]
    assert {role["resource"]: role["action"] for role in roles} == {"DAG Runs": "can_create,can_read"} | {
        f"DAG:{dag}": "can_edit,can_read" for dag in dags
    }


def test_what_a_command_prints_as_a_setting_is_the_setting_alone(services: dict[str, Service], secrets: Path) -> None:
    """Airflow takes the output as it is: a line end would become part of a database's name."""
    environment = services["worker"].environment
    commands = {name: command for name, command in environment.items() if name.endswith("_CMD")}
    assert len(commands) == 6
    for name, command in commands.items():
        words = shlex.split(command.replace("/run/secrets", str(secrets)))
        printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert printed and printed == printed.strip(), name
