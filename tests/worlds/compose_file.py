"""docker-compose.yaml, read as Compose reads it: variables, commands, secrets and health checks; for tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yaml"
SANDBOX = "sandbox"
"""The profile of carrier, AMOP and AWS."""

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Z_]+)(?::-(?P<default>[^}]*))?\})")
IMAGE_VARIABLE = re.compile(r"([A-Z_]+)=(\S+)")
ENTRYPOINTS = {"Dockerfile": ["airflow"], "Dockerfile.sandbox": ["python", "-m"]}
DOCKERFILES = {"amop-airflow:local": "Dockerfile", "amop-sandbox:local": "Dockerfile.sandbox"}


@dataclass(frozen=True)
class Service:
    """One service, with variables and the image's own settings filled in.

    Args:
        command: program and arguments, entrypoint included.
        environment: the image's variables and the service's.
        secrets: file name below ``/run/secrets`` → name of the secret.
        health_check: program and arguments; empty for a service that ends.
        needs: service → the condition that Compose waits for.
        replicas: number of containers.
    """

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    secrets: dict[str, str]
    health_check: list[str]
    needs: dict[str, str]
    replicas: int
    is_sandbox: bool
    ends: bool


class ComposeFile:
    """The services and secrets of the file.

    Args:
        settings: variables of ``.env``.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        text = COMPOSE_FILE.read_text(encoding="utf-8")
        self.document: dict[str, Any] = _filled_in(YAML(typ="safe").load(text), settings or {})
        self.services = {
            name: _service(name, found, self.document) for name, found in self.document["services"].items()
        }

    @property
    def secret_files(self) -> dict[str, str]:
        """Return the file of every secret, by its name."""
        return {name: secret["file"] for name, secret in self.document["secrets"].items()}


def image_environment(dockerfile: str) -> dict[str, str]:
    """Return the environment variables that an image sets."""
    text = (ROOT / dockerfile).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV ")]
    return dict(IMAGE_VARIABLE.findall(" ".join(lines)))


def _filled_in(node: Any, settings: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _filled_in(value, settings) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled_in(value, settings) for value in node]
    if not isinstance(node, str):
        return node

    def value(found: re.Match[str]) -> str:
        name: str | None = found["name"]
        return "$" if name is None else settings.get(name, found["default"] or "")

    return VARIABLE.sub(value, node)


def _service(name: str, found: dict[str, Any], document: dict[str, Any]) -> Service:
    dockerfile = DOCKERFILES.get(found["image"])
    entrypoint = found.get("entrypoint", ENTRYPOINTS.get(dockerfile or "", []))
    command = found.get("command", [])
    secrets = [{"source": one, "target": one} if isinstance(one, str) else one for one in found.get("secrets", [])]
    needs = found.get("depends_on", {})
    environment = (image_environment(dockerfile) if dockerfile else {}) | found.get("environment", {})
    return Service(
        name=name,
        image=found["image"],
        command=[*entrypoint, *(shlex.split(command) if isinstance(command, str) else command)],
        environment={key: str(value) for key, value in environment.items()},
        secrets={secret["target"]: secret["source"] for secret in secrets},
        health_check=_health_check(found),
        needs={needed: condition["condition"] for needed, condition in needs.items()},
        replicas=found.get("deploy", {}).get("replicas", 1),
        is_sandbox=SANDBOX in found.get("profiles", []),
        ends=found.get("restart") == "no",
    )


def _health_check(found: dict[str, Any]) -> list[str]:
    test: list[str] = found.get("healthcheck", {}).get("test", [])
    if not test:
        return []
    return ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
