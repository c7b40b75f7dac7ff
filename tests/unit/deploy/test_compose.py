"""The compose file: valid, and the same world as the Makefile's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.world.world import AIRFLOW_SETTINGS, EXECUTOR_SETTINGS, World

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yaml"
CELERY_ONLY = {"AIRFLOW__CELERY__BROKER_URL", "AIRFLOW__CELERY__RESULT_BACKEND"}
IN_THE_IMAGE = {"AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER", "AIRFLOW_HOME"}
OF_THIS_MACHINE = {
    "AIRFLOW__API__HOST",
    "AIRFLOW__API__PORT",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT",
}
LOCAL_EXECUTOR_ONLY = set(EXECUTOR_SETTINGS) - {"AIRFLOW__CORE__EXECUTOR"}


@pytest.fixture
def compose() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return document


@pytest.fixture
def make_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        monkeypatch.delenv(name)
    world = World(tmp_path)
    world.prepare()
    return {name: value for name, value in world.environment().items() if name.startswith("AIRFLOW_")}


def test_the_file_follows_the_compose_schema() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_its_airflow_has_the_same_settings_names_as_make_up(
    compose: dict[str, Any], make_environment: dict[str, str]
) -> None:
    environment = set(compose["x-airflow"]["environment"])
    assert environment - CELERY_ONLY == set(make_environment) - IN_THE_IMAGE - OF_THIS_MACHINE - LOCAL_EXECUTOR_ONLY


def test_its_airflow_has_the_same_values_where_they_do_not_depend_on_the_place(compose: dict[str, Any]) -> None:
    environment = compose["x-airflow"]["environment"]
    different = {name for name, value in AIRFLOW_SETTINGS.items() if environment[name] != value}
    assert different == set()
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_its_connections_have_the_same_fields_as_those_of_make_up(
    compose: dict[str, Any], make_environment: dict[str, str]
) -> None:
    environment = compose["x-airflow"]["environment"]
    names = [name for name in make_environment if name.startswith("AIRFLOW_CONN_")]
    assert len(names) == 3 + len(INTEGRATIONS)
    for name in names:
        here, there = json.loads(make_environment[name]), json.loads(environment[name])
        assert (here.keys(), here["login" if "login" in here else "conn_type"]) == (
            there.keys(),
            there["login" if "login" in there else "conn_type"],
        )
        assert json.loads(json.dumps(here.get("extra", {}))).keys() == there.get("extra", {}).keys()


def test_its_image_is_built_from_the_lock_with_celery(compose: dict[str, Any]) -> None:
    lock = compose["x-airflow"]["build"]["args"]["REQUIREMENTS"]
    assert f"!{lock}\n" in (ROOT / ".dockerignore").read_text()
    assert "\napache-airflow-providers-celery==" in (ROOT / lock).read_text()


def test_no_secret_is_written_in_the_file(compose: dict[str, Any]) -> None:
    text = COMPOSE.read_text()
    example = (ROOT / ".env.example").read_text()
    for name in ("POSTGRES_PASSWORD", "FERNET_KEY", "API_SECRET_KEY", "JWT_SECRET", "CARRIER_API_KEY", "AMOP_TOKEN"):
        assert f"${{{name}:?set it in .env}}" in text
        assert f"{name}=\n" in example


def test_every_service_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        assert services[name]["depends_on"] == {"set-up": {"condition": "service_completed_successfully"}}
    for service in services.values():
        for needed in service.get("depends_on", {}):
            assert needed in services
    # Without TLS only loopback is called: carrier, AMOP and worker share one network namespace.
    assert {services[name]["network_mode"] for name in ("carrier", "amop")} == {"service:worker"}


def test_the_pools_are_those_of_the_registry() -> None:
    pools = json.loads((ROOT / "include" / "airflow" / "pools.json").read_text())
    assert set(pools) == {ids.carrier_pool(name) for name in INTEGRATIONS}
    assert all(pool["slots"] >= 1 for pool in pools.values())
