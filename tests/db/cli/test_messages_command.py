"""`amop messages`: what became of the queue messages, and whether a staging can be merged."""

from __future__ import annotations

import json

import psycopg
import pytest

from amop.cli.main import main
from tests.db.cli.test_cli import as_airflow_json
from tests.db.runs.test_queue_start import World, message


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    return World(warehouse_dsn)


def test_received_shows_each_message_with_its_outcome(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.open_run()
    world.take(message("m1"))
    world.take(message("m2", IntegrationType="77"))
    assert run("messages", "received", "--json") == 0
    shown = {row["message_id"]: row for row in json.loads(capsys.readouterr().out)}
    assert (shown["m1"]["outcome"], shown["m1"]["run_id"]) == ("started", run_id)
    assert shown["m2"]["outcome"] == "rejected" and "77" in shown["m2"]["reason"]
    assert shown["m2"]["attributes"]["IntegrationType"] == "77"
    assert run("messages", "received", "--outcome", "rejected") == 0
    table = capsys.readouterr().out
    assert "m2" in table and "m1" not in table


def test_check_names_every_fault_of_a_staging_until_it_can_be_merged(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.open_run()
    rows = {
        "device_staging (run_id, scan_pass, page_number, row_number, iccid)": "1, 2, 1, 'not an iccid'",
        "device_sync_page (run_id, scan_pass, page_number, device_count, is_last_page, received_at)":
            "1, 2, 1, false, now()",
        "device_usage_to_process (run_id, kind)": "'device_list'",
    }  # fmt: skip
    for columns, values in rows.items():
        world.rows(f"INSERT INTO amop.{columns} VALUES (%s, {values})", run_id)
    assert run("messages", "check", str(run_id), "--json") == 1
    assert json.loads(capsys.readouterr().out) == [
        "list_is_complete is false: the device list is not finished",
        "device_sync_page has 1 rows; the highest page_number is 2",
        "device_sync_page has no row with is_last_page",
        "1 rows of device_staging have no ICCID of 18 to 22 digits",
        "device_usage_to_process has 1 of the run's work rows left",
    ]
    with psycopg.connect(world.dsn) as connection:
        connection.execute("DELETE FROM amop.device_usage_to_process")
        connection.execute("UPDATE amop.device_staging SET iccid = '8901170000000000001', page_number = 1")
        connection.execute("UPDATE amop.device_sync_page SET page_number = 1, is_last_page = true")
        connection.execute("UPDATE amop.device_sync_run SET list_is_complete = true, devices_seen = 1")
    assert run("messages", "check", str(run_id)) == 1
    assert "usage_as_of is null" in capsys.readouterr().out
    world.rows("UPDATE amop.device_sync_run SET usage_as_of = now()")
    assert run("messages", "check", str(run_id)) == 0
    assert f"run {run_id}: the staging is complete" in capsys.readouterr().out
    assert run("messages", "check", "999") == 2
    assert "no such device sync run: 999" in capsys.readouterr().err
