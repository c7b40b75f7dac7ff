"""The Helm values: keys that the official chart knows, settings that Airflow knows, and the image's own paths."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.worlds.compose_file import ComposeFile, image_environment

ROOT = Path(__file__).resolve().parents[3]
BASE, CELERY = ROOT / "deploy" / "helm-values.yaml", ROOT / "deploy" / "helm-values-celery.yaml"

RESOURCES = {"resources.requests.cpu", "resources.requests.memory", "resources.limits.memory"}
COMPONENT = RESOURCES | {"replicas"}
CHART_KEYS = (
    {"airflowVersion", "executor", "env", "fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName"}
    | {f"images.airflow.{name}" for name in ("repository", "tag", "pullPolicy")}
    | {"dags.persistence.enabled", "dags.gitSync.enabled", "logs.persistence.enabled"}
    | {"data.metadataSecretName", "data.brokerUrlSecretName"}
    | {f"{name}.{key}" for name in ("apiServer", "scheduler", "dagProcessor", "triggerer") for key in COMPONENT}
    | {"apiServer.serviceAccount.annotations", "triggerer.persistence.enabled"}
    | {f"workers.kubernetes.{key}" for key in RESOURCES}
    | {f"workers.celery.{key}" for key in COMPONENT | {"persistence.enabled"}}
    | {f"{name}.enabled" for name in ("pgbouncer", "postgresql", "redis", "statsd", "flower", "createUserJob")}
    | {f"migrateDatabaseJob.{key}" for key in RESOURCES | {"enabled"}}
    | {"redis.passwordSecretName", "redis.persistence.enabled", "redis.persistence.size"}
)
"""Keys of the chart that these values use, from its schema and its guides for 1.18 to 1.22; the chart itself is not at
hand where the tests run. ``config`` is checked against Airflow's own list of settings."""


OF_THE_CELERY_PROVIDER = {("celery", "extra_celery_config")}
"""Settings that only this package describes. It is not installed here; `make compose` starts workers with them."""


def values(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(path)
    return found


def merged(path: Path) -> dict[str, Any]:
    """Return the values with those of Celery laid over the base, as Helm merges files."""

    def over(below: Any, above: Any) -> Any:
        if isinstance(below, dict) and isinstance(above, dict):
            return below | {key: over(below.get(key), value) for key, value in above.items()}
        return above

    result: dict[str, Any] = values(BASE) if path == BASE else over(values(BASE), values(CELERY))
    return result


def paths(node: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted paths of all values; an empty mapping and a list are values."""
    found: set[str] = set()
    for key, value in node.items():
        found |= paths(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}"}
    return found


@pytest.mark.parametrize("path", [BASE, CELERY], ids=lambda path: path.stem)
def test_the_chart_knows_every_key(path: Path) -> None:
    found = values(path)
    config = found.pop("config")
    assert paths(found) - CHART_KEYS == set()
    assert all(isinstance(value, str) for section in config.values() for value in section.values())


def test_airflow_knows_every_setting() -> None:
    from airflow.configuration import conf

    known = {(section, name) for section, found in conf.configuration_description.items() for name in found["options"]}
    used = {(section, name) for section, found in merged(CELERY)["config"].items() for name in found}
    assert used - known == OF_THE_CELERY_PROVIDER


def test_the_executors_and_what_they_need() -> None:
    kubernetes, celery = merged(BASE), merged(CELERY)
    assert kubernetes["executor"] == "KubernetesExecutor"
    assert not kubernetes["redis"]["enabled"] and "brokerUrlSecretName" not in kubernetes["data"]
    assert celery["executor"] == "CeleryExecutor"
    assert celery["redis"]["enabled"] and celery["workers"]["celery"]["replicas"] == 2
    assert celery["data"]["brokerUrlSecretName"] and celery["redis"]["passwordSecretName"]


def test_the_version_of_airflow_is_that_of_the_lock() -> None:
    (version,) = re.findall(r"^apache-airflow==(\S+)", (ROOT / "requirements-celery.txt").read_text(), re.MULTILINE)
    assert values(BASE)["airflowVersion"] == version


def test_the_environment_is_that_of_the_image() -> None:
    environment = {one["name"]: one["value"] for one in values(BASE)["env"]}
    image = image_environment("Dockerfile")
    assert environment == {name: image[name] for name in environment}
    assert {name for name in image if "FOLDER" in name} <= environment.keys()


def test_the_settings_are_those_of_the_compose_file() -> None:
    compose = ComposeFile().services["worker"].environment
    for section, found in merged(CELERY)["config"].items():
        for name, value in found.items():
            there = compose.get(f"AIRFLOW__{section.upper()}__{name.upper()}")
            if there is not None and (section, name) not in {("secrets", "backend"), ("secrets", "backend_kwargs")}:
                assert value == there or name == "base_url", f"[{section}] {name}"


def test_the_secrets_backend_can_be_loaded_with_its_arguments() -> None:
    settings = values(BASE)["config"]["secrets"]
    module, _, name = settings["backend"].rpartition(".")
    backend = getattr(import_module(module), name)(**json.loads(settings["backend_kwargs"]))
    assert backend.connections_prefix == "amop/connections"


def test_every_part_has_a_request_and_a_limit_of_memory() -> None:
    found = merged(CELERY)
    parts = [found[name] for name in ("apiServer", "scheduler", "dagProcessor", "triggerer", "migrateDatabaseJob")]
    for part in [*parts, found["workers"]["kubernetes"], found["workers"]["celery"]]:
        assert part["resources"]["requests"].keys() == {"cpu", "memory"}
        assert part["resources"]["limits"].keys() == {"memory"}


def test_no_password_is_in_the_values() -> None:
    text = BASE.read_text() + CELERY.read_text()
    assert re.findall(r"(?i)^\s*\w*(?:password|token|pass|secretkey|fernetkey): ", text, re.MULTILINE) == []
    assert not values(BASE)["createUserJob"]["enabled"]
