"""Every command and every code block of the documentation runs, or is checked by a test that is named here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.main import get_command

from amop.cli import main as cli
from amop.cli.airflow_client import AirflowClient
from amop.cli.approvals import AirflowApprovals
from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.database.connection import transaction
from amop.runs.queue_start import Outcome
from amop.runs.sync_runs import end_run
from sandbox.carrier.reference_file import reference_yaml
from tests.db.cli.test_cli import as_airflow_json, run
from tests.db.cli.test_operations_commands import PlayedAirflow
from tests.db.runs.test_queue_start import World as Warehouse
from tests.db.runs.test_queue_start import message
from tests.worlds.documents import (
    ROOT,
    TESTED_ALONE,
    Block,
    airflow_commands,
    amop_commands,
    block_commands,
    blocks,
    make_commands,
)
from tests.worlds.watchdog_world import NOW, WatchdogWorld

CHECKED_ELSEWHERE = {
    ("docs/deploy.md", "ini"): "tests/dags/lineage/test_lineage.py",
    ("docs/optimize.md", "text"): "tests/unit/cli/test_cli_optimize.py",
    ("docs/optimizer.md", "csv devices.csv"): "tests/unit/solver/test_worked_example.py",
    ("docs/optimizer.md", "csv eligibility.csv"): "tests/unit/solver/test_worked_example.py",
    ("docs/optimizer.md", "csv rate_plans.csv"): "tests/unit/solver/test_worked_example.py",
    ("docs/optimizer.md", "text"): "tests/unit/solver/test_worked_example.py",
    ("docs/reference-file.md", "yaml"): "tests/unit/reference/test_reference_file.py",
    ("docs/security.md", "sql"): "tests/db/database/test_roles.py",
}
"""Document and language of blocks that another test reads, which names the document."""

CHECKED_HERE = {("docs/staging-contract.md", "sql"), ("docs/runbook.md", "json"), ("docs/architecture.md", "mermaid")}

OTHER_PROGRAMS = {
    "pip install": "tests/contract/install/test_readme_steps.py",
    "DAGS=": "tests/contract/install/test_readme_steps.py",
    "PLUGINS=": "tests/contract/install/test_readme_steps.py",
    "mkdir -p": "tests/contract/install/test_readme_steps.py",
    "cp ": "tests/contract/install/test_readme_steps.py",
    ".venv/bin/pre-commit install": ".pre-commit-config.yaml",
}
"""Beginnings of commands of other programs, and the file that has or checks what they do."""


def test_every_code_block_is_run_or_checked() -> None:
    unchecked = [
        str(block)
        for block in blocks()
        if block.language not in {"", "bash"}
        and (block.document, block.language) not in CHECKED_ELSEWHERE.keys() | CHECKED_HERE
    ]
    assert unchecked == []
    for (document, _), test in CHECKED_ELSEWHERE.items():
        assert Path(document).name in (ROOT / test).read_text(encoding="utf-8"), (document, test)


def test_every_command_of_a_block_is_of_a_known_program() -> None:
    known = ("make ", "bin/amop ", "amop ", "airflow ", *OTHER_PROGRAMS)
    unknown = [
        f"{block.document}: {command}"
        for block, command in block_commands()
        if block.document not in TESTED_ALONE and not command.startswith(known)
    ]
    assert unknown == []
    for path in (*OTHER_PROGRAMS.values(), *TESTED_ALONE.values()):
        assert (ROOT / path).exists()
    for document, test in TESTED_ALONE.items():
        assert Path(document).name in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", make_commands())
def test_a_documented_make_command_has_its_target_and_its_variables(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for word in shlex.split(command)[1:]:
        name, is_variable, _ = word.partition("=")
        assert f"$({name})" in makefile or f"$({name})," in makefile if is_variable else name in targets, word


class PlayedApprovals(AirflowApprovals):
    """Airflow with one approval request."""

    def __init__(self) -> None:
        pass

    def pending(self) -> list[dict[str, Any]]:
        """Return the request."""
        names = {"dag_id": "carrier_optimization_jasper", "run_id": "session_1", "task_id": "approve_changes"}
        times = {"map_index": -1, "requested_at": "2026-11-10T12:00:00Z"}
        return [names | times | {"subject": "apply 3 changes?", "body": "all of them"}]

    def respond(self, run: str, option: str, comment: str = "") -> dict[str, Any]:
        """Return Airflow's record of the answer."""
        return {"responded_by": {"name": "anna"}}


class World(WatchdogWorld):
    """A warehouse with one of everything that a command can name, and what stands for it in the documents."""

    def __init__(self, dsn: str, folder: Path) -> None:
        super().__init__(dsn)
        self.folder = folder
        self.failed = self.open_sync("monday")
        with transaction(dsn) as connection:
            end_run(connection, self.failed, "failed", "no key", now=NOW)
        self.running = self.open_sync("tuesday")
        self.session = int(self.session_of(self.running)["id"])
        self.rows("UPDATE amop.amop_outbox SET state = 'dead'")
        self.key = str(self.rows("SELECT dedupe_key FROM amop.amop_outbox ORDER BY id LIMIT 1")[0]["dedupe_key"])

    def arguments(self, command: tuple[str, ...]) -> list[str]:
        """Return a documented command with the ids and files of this world."""
        words = list(command)
        run_id = str(self.failed if words[:2] == ["runs", "resume"] else self.running)
        session = words[0] == "sessions"
        stand_ins = {
            "ID": str(self.session) if session else run_id,
            "RUN": run_id,
            "FILE": str(self.folder / "reference.yaml"),
            "answer.csv": str(self.folder / "answer.csv"),
            "summary.json": str(self.folder / "summary.json"),
            "proof.json": str(self.folder / "proof.json"),
        }
        after = {"--run": run_id, "--session": str(self.session), "--key": self.key}
        for place, word in enumerate(words):
            before = words[place - 1] if place else ""
            words[place] = after.get(before) or stand_ins.get(word, word)
            if word.startswith("examples/"):
                words[place] = str(ROOT / word)
        is_one = words in (["approvals", "show"], ["approvals", "approve"], ["approvals", "reject"])
        more = ["session_1"] if is_one else ["--help"] if words == ["approvals"] else []
        return [*words, *more]


@pytest.mark.parametrize("command", amop_commands(), ids=" ".join)
def test_a_documented_command_of_the_package_runs(
    command: tuple[str, ...],
    warehouse_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command[0] != "approvals" and is_only_a_name(command):
        return
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn))
    (tmp_path / "reference.yaml").write_text(reference_yaml(), encoding="utf-8")
    world = World(warehouse_dsn, tmp_path)
    played = PlayedAirflow()
    played.selected = (world.failed, world.running)
    monkeypatch.setattr(AirflowClient, "from_environment", lambda: played)
    monkeypatch.setattr(AirflowApprovals, "from_environment", PlayedApprovals)
    if command[:2] == ("runs", "resume"):
        world.rows("UPDATE amop.device_sync_run SET status = 'failed', ended_at = now()")
    if command[0] == "verify":
        before = next(one for one in amop_commands() if one[0] == "optimize" and "--proof" in one)
        assert run(capsys, *world.arguments(before))[0] == 0
    status, output, error = run(capsys, *world.arguments(command))
    found_faults = command[:2] == ("messages", "check") and "list_is_complete is false" in output
    assert status == 0 or found_faults, (status, output, error)
    assert output


def is_only_a_name(command: tuple[str, ...]) -> bool:
    """Return True for a command without what it needs, as a text names it; it must exist."""
    found: Any = get_command(cli.app)
    words = list(command)
    while words and hasattr(found, "commands"):
        assert words[0] in found.commands or words[0].startswith("-"), command
        if words[0].startswith("-"):
            return False
        found = found.commands[words.pop(0)]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options | {"--help", "--version"}, command
    given = [word for word in words if not word.startswith("--")]
    required = [parameter for parameter in found.params if parameter.required]
    is_incomplete = any(parameter.opts[0] not in words and not given for parameter in required)
    return (
        hasattr(found, "commands")
        or is_incomplete
        or (not words and command[-1] in {"optimize", "resend"})
        or (command[0] == "optimize" and "--out" not in words)
    )


def test_documented_commands_of_airflow_are_valid_and_name_dags_and_tasks_that_exist(airflow_database: Path) -> None:
    from airflow.cli.cli_parser import get_parser
    from airflow.dag_processing.dagbag import DagBag

    parser, dags = get_parser(), DagBag(ROOT / "dags").dags
    complete = [command for command in airflow_commands() if len(command) > 2]
    assert {command[0] for command in complete} >= {"dags", "tasks", "backfill", "pools"}
    for command in complete:
        given = parser.parse_args(list(command))
        if getattr(given, "dag_id", None):
            assert given.dag_id in dags, command
        if getattr(given, "task_id", None):
            assert given.task_id in dags[given.dag_id].task_ids, command
        if command[:2] == ("pools", "import"):
            assert (ROOT / given.file).exists()


def test_a_trial_of_a_task_is_never_documented_without_a_date() -> None:
    trials = [command for command in airflow_commands() if command[:2] in (("tasks", "test"), ("dags", "test"))]
    assert [
        command for command in trials if len(command) > 2 and not re.fullmatch(r"\d{4}-\d\d-\d\d", command[-1])
    ] == []


def test_the_statements_of_the_staging_contract_make_a_staging_that_can_be_merged(
    warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = Warehouse(warehouse_dsn)
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn))
    first, *others = sql_of("docs/staging-contract.md")
    (opened,) = warehouse.rows(first)
    run_id = str(opened["id"])
    with psycopg.connect(warehouse_dsn) as connection:
        for text in others:
            numbered = re.sub(r"(\(|= )7\b", rf"\g<1>{run_id}", text)
            for statement in filter(str.strip, numbered.split(";")):
                assert connection.execute(statement).rowcount == 1, statement  # type: ignore[arg-type]
    code, printed, _ = run(capsys, "messages", "check", run_id)
    assert (code, printed) == (1, "device_usage_to_process has 1 of the run's work rows left\n")
    warehouse.rows("DELETE FROM amop.device_usage_to_process")
    assert run(capsys, "messages", "check", run_id)[0] == 0
    assert warehouse.take(message()).outcome == Outcome.STARTED


def sql_of(document: str) -> list[str]:
    return [block.text for block in blocks() if (block.document, block.language) == (document, "sql")]


def test_the_notifier_of_the_runbook_is_accepted() -> None:
    from amop.tasks import notifiers

    (block,) = [block for block in blocks() if block.language == "json"]
    assert block.document == "docs/runbook.md"
    assert json.loads(block.text)["arguments"]["http_conn_id"] == "alerts"
    assert callable(notifiers._by_setting(block.text))


def test_the_day_in_the_architecture_has_the_tasks_of_the_dags(airflow_database: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dags = DagBag(ROOT / "dags").dags
    wanted = {
        task_id.rpartition(".")[2]
        for dag_id in ("device_sync_jasper", "carrier_optimization_jasper")
        for task_id in dags[dag_id].task_ids
    } - {"select_back_fill", "replay_archive", "optimize_after_back_fill"}
    (day,) = [block for block in blocks() if block.language == "mermaid" and "select_providers" in block.text]
    assert (
        set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|\bsolve\b", labels(day))) - {"device_sync_", "carrier_optimization_"}
        >= wanted
    )


def labels(block: Block) -> str:
    return "\n".join(re.findall(r'\["([^"]+)"\]', block.text))
