"""The connections that tasks use: their secrets are kept out of stored texts as soon as they are known."""

from __future__ import annotations

import json

import pytest

from amop import ids
from amop.foreign_text import storable_error
from amop.tasks.connections import archive_folder
from tests.worlds.canaries import echo, find

CANARIES = {"password": "canaryA9f27key71d3Qq0Zz55pLmN8wXy", "token": "canaryB9f27key71d3Qq0Zz55pLmN8wXy"}


def test_the_secrets_of_the_archives_connection_are_in_no_stored_error(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "aws",
        "login": "AKIAEXAMPLE",
        "password": CANARIES["password"],
        "extra": {"aws_session_token": CANARIES["token"], "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_ARCHIVE", json.dumps(connection))
    monkeypatch.setenv(f"AIRFLOW_VAR_{ids.ARCHIVE_PATH_VARIABLE.upper()}", "s3://of_the_archive@bucket/carrier")
    said = " ".join(echo("AKIAEXAMPLE", secret) for secret in CANARIES.values())
    assert {name for name, _ in find(CANARIES, [("error", said.encode())])} == set(CANARIES)
    assert archive_folder().conn_id == "of_the_archive"
    stored = storable_error(RuntimeError(f"AccessDenied in us-east-1: {said}"))
    assert find(CANARIES, [("error", stored.encode())]) == []
    assert stored.startswith("AccessDenied in us-east-1: refused, you sent ***")
