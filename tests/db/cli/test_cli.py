"""The command line: what it prints, its exit status, and that no password ever appears."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from amop.cli import main as cli
from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.database.connection import transaction
from sandbox.carrier.reference_file import reference_yaml
from sandbox.world.postgres import EmbeddedPostgres
from tests.worlds.optimization_world import NOW
from tests.worlds.page_world import PageWorld, set_database_moment
from tests.worlds.sandbox_reference import load_sandbox_reference

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "canary-p@ss"


def as_airflow_json(conninfo: str, **changes: Any) -> str:
    parts = conninfo_to_dict(conninfo)
    fields = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": parts["port"],
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }
    return json.dumps({**fields, **changes})


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, output and errors."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    captured = capsys.readouterr()
    assert PASSWORD not in captured.out + captured.err
    assert "Traceback" not in captured.err
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def warehouse(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn))
    return warehouse_dsn


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.yaml"
    path.write_text(reference_yaml(), encoding="utf-8")
    return path


def test_migrate_names_what_it_applied_and_then_nothing(
    empty_database_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(empty_database_dsn))
    status, out, _ = run(capsys, "migrate")
    assert (status, out.splitlines()[:2]) == (0, ["applied 0001_reference", "applied 0002_runs_and_messages"])
    assert run(capsys, "migrate") == (0, "nothing to do: the warehouse is up to date\n", "")


def test_load_reference_prints_counts_by_table(
    warehouse: str, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "load-reference", str(reference))
    assert status == 0
    cells = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in out.splitlines() if "│" in line}
    assert (cells["tenant"], cells["service_provider"], cells["billing_period"]) == ("2", "6", "6")
    status, out, _ = run(capsys, "load-reference", str(reference), "--json")
    assert status == 0
    assert json.loads(out)["service_provider"] == {"inserted": 0, "updated": 0, "unchanged": 6}


def test_a_wrong_file_ends_with_status_2_and_every_problem(
    warehouse: str, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = reference.read_text(encoding="utf-8")
    reference.write_text(text.replace("integration: jasper", "integration: jaspr"), encoding="utf-8")
    status, out, err = run(capsys, "load-reference", str(reference))
    assert (status, out) == (2, "")
    line = 1 + text.splitlines().index("    integration: jasper")
    assert f"reference.yaml:{line}: service_providers[0].integration: 'jaspr' is not an integration" in err
    assert err.endswith("1 problem; nothing was loaded\n")


def test_a_missing_file_ends_with_status_2(warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "load-reference", "/nowhere/reference.yaml")
    assert (status, "cannot be read: No such file or directory" in err) == (2, True)


@pytest.mark.parametrize("arguments", [["no-such-command"], ["load-reference"], ["status", "--no-such-option"]])
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *arguments)[0] == 2


def test_status_shows_providers_runs_sessions_messages_and_work_left(
    warehouse: str, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "load-reference", str(reference))
    with transaction(warehouse) as connection:
        period = connection.execute("SELECT id FROM amop.billing_period WHERE service_provider_id = 1").fetchone()
        assert period is not None
        session = connection.execute(
            "INSERT INTO amop.optimization_session "
            "(service_provider_id, billing_period_id, progress, opened_by) "
            "VALUES (1, %(id)s, 20, 'test') RETURNING id",
            period,
        ).fetchone()
        assert session is not None
        for number, status in ((1, "failed"), (2, "running")):
            connection.execute(
                "INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, status, "
                "billing_period_id, is_full, pages, devices_seen, started_at) "
                "VALUES (1, 'device_sync_jasper', 'run ' || %(number)s::text, %(status)s, %(id)s, true, 40, "
                "2000, now() + %(number)s * interval '1s')",
                {**period, "number": number, "status": status},
            )
        connection.execute(
            "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid) "
            "SELECT max(id), 'device_usage', iccid "
            "FROM amop.device_sync_run, unnest(ARRAY['1', '2', '3']) AS iccid GROUP BY iccid"
        )
        connection.execute(
            "INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload, state) "
            "SELECT 'progress', %(id)s, state || n, '{}', state "
            "FROM unnest(ARRAY['pending', 'pending', 'dead', 'sent']) WITH ORDINALITY AS t (state, n)",
            session,
        )
    exit_status, out, _ = run(capsys, "status", "--json")
    state = json.loads(out)
    assert exit_status == 0
    assert [provider["integration"] for provider in state["service_providers"]] == [
        "jasper",
        "pod19",
        "tmobile_jasper",
        "rogers",
        "thingspace",
        "teal",
    ]
    assert all(provider["billing_period_end"] for provider in state["service_providers"])
    assert [
        (latest["dag_run_id"], latest["status"], latest["devices_seen"], latest["work_rows_left"])
        for latest in state["last_sync_runs"]
    ] == [("run 2", "running", 2000, 3)]
    assert [(one["service_provider_id"], one["progress"]) for one in state["running_sessions"]] == [(1, 20)]
    assert {name: state["outbox"][name] for name in ("pending", "dead", "sent")} == {
        "pending": 2,
        "dead": 1,
        "sent": 1,
    }
    assert state["work_rows_left"] == 3

    exit_status, out, _ = run(capsys, "status")
    assert exit_status == 0
    for text in (
        "Service providers",
        "Last sync runs",
        "Running optimization sessions",
        "Messages to AMOP",
        "AT&T Control Center",
        "2,000",
        "running",
    ):
        assert text in out


def test_status_begins_with_one_sentence_and_shows_outages_currency_and_shares_in_120_columns(
    shared_warehouse_dsn: str,
    postgres_server: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(shared_warehouse_dsn))
    set_database_moment(postgres_server, shared_warehouse_dsn, NOW)
    world = PageWorld(shared_warehouse_dsn)
    failing_since, next_call = NOW - timedelta(minutes=35), NOW + timedelta(minutes=2)
    world.execute("DELETE FROM amop.carrier_api_user")
    world.execute(
        "INSERT INTO amop.carrier_api_user (api_user, account, failures, failing_since, open_until, last_failure) "
        "VALUES ('hash', 'POD19 (connection pod19_api)', 7, %s, %s, 'the carrier returned 503')",
        failing_since,
        next_call,
    )
    world.execute("UPDATE amop.amop_outbox SET last_error = 'AMOP returned 500' WHERE state = 'pending'")
    refused = "the carrier refused the login of connection c (401): bad key. " + "Check the connection. " * 10
    world.execute("UPDATE amop.device_sync_run SET error = %s WHERE status = 'failed'", refused)

    exit_status, out, _ = run(capsys, "status")

    words = " ".join(out.split())
    assert exit_status == 0
    assert words.startswith(
        "1 of 4 providers is fine. Rogers: the sync failed at 2026-11-03 07:30 UTC: the carrier refused the login "
        "of connection c (401): bad key."
    )
    assert (
        " Next: correct login and password of the connection that the error names, then clear the failed task" in words
    )
    assert (
        f"Carrier down since {failing_since:%Y-%m-%d %H:%M} UTC, next call {next_call:%Y-%m-%d %H:%M} UTC: "
        "POD19 (connection pod19_api), 7 calls failed, the last one with: the carrier returned 503" in words
    )
    assert " Last error: AMOP returned 500 " in words
    assert max(map(len, out.splitlines())) <= 120
    last = world.instance(world.instance_id)
    assert f"USD {last['current_cost']:,.2f}" in out
    assert f"{last['savings'] / last['current_cost'] * 100:.2f} %" in out

    state = json.loads(run(capsys, "status", "--json")[1])
    assert state["sentence"].startswith("1 of 4 providers is fine. Rogers: the sync failed at ")
    assert state["is_fine"] is False
    assert [outage["failures"] for outage in state["carrier_outages"]] == [7]
    assert state["outbox"]["last_error"] == "AMOP returned 500"
    rogers = next(each for each in state["last_sync_runs"] if each["service_provider"] == "Rogers")
    jasper = next(each for each in state["last_sync_runs"] if each["service_provider_id"] == 1)
    assert (rogers["status"], rogers["last_success_at"]) == ("failed", None)
    assert jasper["last_success_at"] == jasper["ended_at"]


def test_status_of_a_warehouse_that_was_never_migrated_says_what_to_do(
    empty_database_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(empty_database_dsn))
    assert run(capsys, "status") == (
        1,
        "",
        "amop: the warehouse has no such table: run `bin/amop migrate` first\n",
    )


def test_a_wrong_password_fails_without_being_printed(
    warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(warehouse_dsn, password=PASSWORD))
    for command in ("status", "migrate"):
        status, _, err = run(capsys, command)
        assert status == 1
        assert err.startswith("amop: the warehouse cannot be reached: ")
        assert "password authentication failed" in err


@pytest.mark.parametrize("value", [PASSWORD, f"mysql://a:{PASSWORD}@h/d", f'{{"password": "{PASSWORD}"'])
def test_a_malformed_connection_ends_with_status_2_without_being_printed(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, value)
    status, _, err = run(capsys, "status")
    assert status == 2
    assert err.startswith("amop: AIRFLOW_CONN_AMOP_WAREHOUSE: the connection ")


def test_the_warehouse_is_found_by_airflows_connection_where_the_variable_is_not_set(
    warehouse_dsn: str,
    airflow_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(WAREHOUSE_VARIABLE, raising=False)
    status, _, err = run(capsys, "status")
    assert (status, "define Airflow's connection amop_warehouse" in err) == (2, True)
    _airflow("connections", "add", "amop_warehouse", "--conn-json", as_airflow_json(warehouse_dsn))
    try:
        status, out, _ = run(capsys, "status", "--json")
    finally:
        _airflow("connections", "delete", "amop_warehouse")
    assert (status, json.loads(out)["service_providers"]) == (0, [])


def test_the_module_runs_alone_and_shows_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "amop.cli", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(command in done.stdout for command in ("migrate", "load-reference", "status"))


def _airflow(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "airflow", *arguments], check=True, capture_output=True, cwd=ROOT)


def test_no_escape_sequence_of_a_carrier_or_of_amop_reaches_the_terminal(
    warehouse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load_sandbox_reference(warehouse)
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r\x08evil [red]"
    with transaction(warehouse) as connection:
        connection.execute("UPDATE amop.service_provider SET name = %s WHERE id = 1", [evil])
        connection.execute(
            "INSERT INTO amop.amop_outbox (kind, dedupe_key, payload, state, last_error)"
            " VALUES ('daily_sync', %s, '{}', 'dead', %s)",
            [evil, evil],
        )
    for arguments in (["status"], ["status", "--json"]):
        exit_status, out, err = run(capsys, *arguments)
        assert exit_status == 0
        assert not [character for character in out + err if not character.isprintable() and character != "\n"]
        assert "evil [red]" in out


def test_no_escape_sequence_reaches_the_terminal_in_an_error(
    warehouse: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = tmp_path / "reference.yaml"
    evil.write_text('tenants:\n  - {id: 1, name: "\\e[2J", time_zone: "\\e]0;x\\a"}\n', encoding="utf-8")
    exit_status, out, err = run(capsys, "load-reference", str(evil))
    assert exit_status == 2 and "2 problems; nothing was loaded" in err
    assert not [character for character in out + err if not character.isprintable() and character != "\n"]
