"""The commands of the deployment's documents: files, options, commands and rights that exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from amop import ids
from amop.config import INTEGRATIONS
from tests.worlds.compose_file import ComposeFile

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "docs" / name for name in ("deploy.md", "start-a-run.md")]
PROGRAMS = {"airflow", "amop", "curl", "docker", "helm", "kubectl", "pip", "python3"}
DAG_IDS = {dag(name) for dag in (ids.device_sync_dag, ids.carrier_optimization_dag) for name in INTEGRATIONS}


def blocks(document: Path) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[list[str]]:
    """Return every command of the shell blocks, as words."""
    lines = "\n".join(block for document in DOCUMENTS for block in blocks(document)).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip() and not line.startswith("TOKEN=")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_valid_shell(document: Path) -> None:
    for block in blocks(document):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + block


def test_every_command_is_of_a_known_program_and_names_files_that_exist() -> None:
    found = commands()
    assert len(found) >= 25
    assert {words[0] for words in found} == PROGRAMS
    secrets = {Path(path).name for path in ComposeFile().secret_files.values()}
    for words in found:
        for word in words:
            path = word.rpartition("=")[2].replace("/opt/amop/", "")
            if re.match(r"(deploy|include|dags|plugins)/", path):
                assert (ROOT / path).exists(), word
            if path.startswith("secrets/"):
                assert Path(path).name in secrets, word


def test_the_services_options_and_arguments_of_docker_exist() -> None:
    text = "\n".join(block for document in DOCUMENTS for block in blocks(document))
    profiles = {"sandbox"} if any(one.is_sandbox for one in ComposeFile().services.values()) else set()
    assert set(re.findall(r"--profile (\w+)", text)) == profiles
    arguments = set(re.findall(r"--build-arg (\w+)=", text))
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert arguments == set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))


def test_the_secrets_of_helm_are_those_of_the_values() -> None:
    values = "".join((ROOT / "deploy" / name).read_text() for name in ("helm-values.yaml", "helm-values-celery.yaml"))
    wanted = set(re.findall(r"^\s*\w+SecretName: (\S+)", values, re.MULTILINE))
    created = {
        words[words.index("generic") + 1] for words in commands() if words[0] == "kubectl" and "generic" in words
    }
    assert created == wanted


def test_the_documented_calls_name_dags_and_parameters_that_exist() -> None:
    text = DOCUMENTS[1].read_text(encoding="utf-8")
    assert set(re.findall(r"/dags/(\w+)/dagRuns", text)) <= DAG_IDS
    table = dict(re.findall(r"\| `(device_sync|carrier_optimization)_<integration>` \| `(\{.*?\})`", text))
    assert set(table) == {"device_sync", "carrier_optimization"}
    for dag, conf in re.findall(r"\| `(device_sync|carrier_optimization)_<integration>` \| `(\{.*?\})`", text):
        source = (ROOT / "dags" / f"{dag}.py").read_text()
        for parameter in json.loads(conf):
            assert f'"{parameter}": ' in source, f"{dag}: {parameter}"


def test_every_connection_variable_and_setting_of_the_package_that_they_name_exists() -> None:
    named = re.compile(r"(?<![\w/.-])amop_[a-z0-9_]+|\bAMOP_[A-Z_]+")
    exist = set(named.findall((ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")))
    exist |= {"amop_owner", "amop_runtime", "amop_reader", ids.STARTER_ROLE, "amop_4711"}  # roles, and a run id
    sources = [*DOCUMENTS, ROOT / "README.md", *(ROOT / "deploy").glob("helm-values*.yaml")]
    found = {str(path.relative_to(ROOT)): set(named.findall(path.read_text(encoding="utf-8"))) for path in sources}
    assert {path: names - exist for path, names in found.items() if names - exist} == {}
    assert set().union(*found.values()) >= {"amop_warehouse", "amop_page", "amop_archive_path", "AMOP_SQL_DIRECTORY"}
