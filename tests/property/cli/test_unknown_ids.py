"""Every command that takes an id refuses one that the warehouse does not have: a sentence, exit status 2, no change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from amop.cli import main as cli
from amop.cli.connection import WAREHOUSE_VARIABLE
from tests.db.cli.test_cli import as_airflow_json, run
from tests.worlds.sandbox_reference import load_sandbox_reference

FIRST_UNKNOWN = 1_000
"""The warehouse of these tests has no id from here on."""

NOT_IDS = {"limit", "period_days", "max_changes"}
"""Numbers that are not ids."""


@dataclass(frozen=True)
class Named:
    """A parameter of a command that takes an id."""

    command: tuple[str, ...]
    parameter: Any

    def arguments(self, value: str) -> list[str]:
        """Return the arguments of the command with this id."""
        option = self.parameter.opts[0]
        given = [option, value] if option.startswith("--") else [value]
        return [*self.command, *given]

    def __str__(self) -> str:
        return f"{' '.join(self.command)} {self.parameter.opts[0]}"


def command_of(path: tuple[str, ...]) -> Any:
    command: Any = typer.main.get_command(cli.app)
    for name in path:
        command = command.commands[name]
    return command


def commands(path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    command = command_of(path)
    if not hasattr(command, "commands"):
        yield path
        return
    for name in command.commands:
        yield from commands((*path, name))


NUMBERED = [
    Named(path, parameter)
    for path in commands()
    for parameter in command_of(path).params
    if getattr(parameter, "min", None) == 1 and parameter.name not in NOT_IDS  # every id is at least 1
]


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_every_kind_of_id_is_among_the_commands() -> None:
    assert {str(named) for named in NUMBERED} >= {
        "runs list --provider",
        "runs show run_id",
        "runs resume run_id",
        "runs end run_id",
        "sessions list --provider",
        "sessions show session_id",
        "sessions cancel session_id",
        "messages resend --session",
        "messages check run",
        "periods list --provider",
        "quarantine list --provider",
        "quarantine list --run",
        "quarantine list --id",
        "quarantine retry --id",
    }


@pytest.mark.parametrize("named", NUMBERED, ids=str)
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(number=FIRST_UNKNOWN)
@example(number=2**53)
@example(number=2**63 - 1)
@example(number=2**63)
@example(number=10**40)
@given(number=st.integers(min_value=FIRST_UNKNOWN, max_value=10**30))
def test_an_unknown_id_ends_with_status_2_and_a_sentence_that_names_it(
    named: Named,
    number: int,
    shared_warehouse_dsn: str,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment.setenv(WAREHOUSE_VARIABLE, as_airflow_json(shared_warehouse_dsn))
    status, output, error = run(capsys, *named.arguments(str(number)))
    assert (status, output) == (2, ""), (status, output, error)
    assert error.startswith("amop: no such ") and f": {number};" in error and error.count("\n") == 1
    assert "see `bin/amop " in error


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "10" * 2000])
def test_a_number_that_is_no_id_or_no_limit_is_refused_before_the_warehouse_is_asked(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["runs", "list", "--limit", number], ["messages", "received", "--limit", number]):
        assert run(capsys, *arguments)[0] == 2


def test_an_unknown_key_of_a_message_is_refused(
    warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn))
    status, output, error = run(capsys, "messages", "resend", "--key", "daily_sync:12:1")
    assert (status, output) == (2, "")
    assert error == "amop: no such message to AMOP: daily_sync:12:1; see `bin/amop messages list`\n"


def test_several_unknown_ids_are_all_named_and_a_known_one_is_not(
    warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_sandbox_reference(warehouse_dsn)
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn))
    status, _, error = run(capsys, "quarantine", "list", "--provider", "1", "--run", "7", "--id", "8", "--id", "9")
    assert status == 2
    assert error == (
        "amop: no such device sync run: 7; see `bin/amop runs list`; no such quarantined record: 8, 9; see `bin/amop "
        "quarantine list --all`\n"
    )
    assert run(capsys, "quarantine", "list", "--provider", "1")[0] == 0
