"""docs/configuration.md is current, and has every setting that the code reads."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amop import ids
from amop.carriers.account import CarrierAccount
from amop.messages.amop_client import PATH_KEYS
from amop.tasks.gauges import BACKENDS
from tools.configuration import configuration_markdown, texts

ROOT = Path(__file__).resolve().parents[3]

CONNECTION_CALLS = {"get_connection", "aget_connection", "get_connection_from_secrets", "_conninfo_of"}
ANY_NAME = {
    ("connection", "connection_id"),  # a provider's, or a webhook's; of the page, whose callers are found
    ("connection", "self.connection_id"),  # that of the sensor's trigger, which is given the warehouse's
    ("connection", "path.conn_id"),  # named in amop_archive_path
    ("Variable", "ids.providers_variable(integration)"),  # amop_providers_<integration>
    ("Variable", "name"),  # `optional_variable`, whose callers are found
    ("extra", "key"),  # the values of PATH_KEYS
    ("extra", "EXTRA_KEY"),  # of a libpq connection in Airflow's URI form
    ("Airflow", "[metrics] name"),  # the values of BACKENDS
}
"""Names that only the running program knows, by kind and source text."""

INDIRECT = {
    ("Variable", ids.providers_variable("<integration>")),
    *(("extra", path) for path in PATH_KEYS.values()),
    *(("Airflow", f"[metrics] {name}") for name in BACKENDS),
}


class Found:
    """The settings that one file reads."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = path.relative_to(ROOT / "plugins" if "plugins" in path.parts else ROOT).with_suffix("").parts
        self.module = ".".join(parts)

    def settings(self) -> Iterator[tuple[str, str]]:
        """Yield kind and name of each setting; the source text where the name is not a constant."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                yield "environment", self.value(node.slice)
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "extra":
                yield "extra", self.value(node.slice)
            elif isinstance(node, ast.Call):
                yield from self.of_call(node)

    def of_call(self, node: ast.Call) -> Iterator[tuple[str, str]]:
        function = ast.unparse(node.func)
        name = function.rpartition(".")[2]
        if function in {"os.environ.get", "os.getenv"}:
            yield "environment", self.value(node.args[0])
        elif function == "Variable.get" or name == "optional_variable":
            yield "Variable", self.value(node.args[0])
        elif function == "extra.get":
            yield "extra", self.value(node.args[0])
        elif function.startswith("conf.get"):
            yield "Airflow", f"[{self.value(node.args[0])}] {self.value(node.args[1])}"
        elif name in CONNECTION_CALLS:
            for argument in node.args:
                text = self.value(argument.value if isinstance(argument, ast.Starred) else argument)
                yield "connection", text
        for keyword in node.keywords:
            if keyword.arg == "aws_conn_id":
                yield "connection", self.value(keyword.value)

    def value(self, node: ast.expr) -> str:
        """Return the value of a constant of the module or of `ids`, else the source text."""
        if isinstance(node, ast.Constant):
            return str(node.value)
        text = ast.unparse(node)
        if text.startswith("ids.") and "(" not in text:
            return str(getattr(ids, text.removeprefix("ids.")))
        if isinstance(node, ast.Name) and text.isupper() and ("extra", text) not in ANY_NAME:
            return str(getattr(importlib.import_module(self.module), text))
        return text


@pytest.fixture(scope="module")
def read() -> set[tuple[str, str]]:
    files = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "dags").glob("*.py")]
    found = {setting for path in files for setting in Found(path).settings()}
    assert found >= ANY_NAME, "a name of this test's list is read no more"
    return found - ANY_NAME | INDIRECT


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("connection", "connections"),
        ("extra", "extra"),
        ("Variable", "variables"),
        ("environment", "environment"),
        ("Airflow", "airflow"),
    ],
)
def test_every_setting_that_the_code_reads_is_described_and_no_other(
    read: set[tuple[str, str]], kind: str, section: str
) -> None:
    described = {name for name in texts()[section] if " " not in name or name.startswith("[")}
    assert described == {name for of_kind, name in read if of_kind == kind}


def test_every_constant_of_a_setting_is_described() -> None:
    known = texts()
    constants = vars(ids).items()
    own = {ids.providers_variable("<integration>")}
    assert {value for name, value in constants if name.endswith("_VARIABLE")} | own == set(known["variables"])
    assert {value for name, value in constants if name.endswith("_SETTING")} <= set(known["environment"])
    assert {value for name, value in constants if name.endswith("_CONNECTION")} <= set(known["connections"])


def test_the_file_is_current(airflow_database: Path) -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == configuration_markdown(), (
        "run: make docs"
    )


def test_the_limits_that_are_described_are_those_of_the_code() -> None:
    def account(**extra: Any) -> CarrierAccount:
        return CarrierAccount.from_connection_fields(
            connection_id="c",
            service_provider_name="p",
            host="https://carrier.example",
            schema=None,
            port=None,
            login="u",
            password="k",
            extra=json.loads(json.dumps(extra)),
        )

    assert account(calls_per_second=10_000, list_window_days=3650).calls_per_second == 10_000
    for wrong in ({"calls_per_second": 10_001}, {"calls_per_second": 0}, {"list_window_days": 1}):
        with pytest.raises(Exception, match="extra"):
            account(**wrong)
