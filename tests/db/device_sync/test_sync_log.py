"""The files of a sync are opened in spreadsheets: no text of a carrier is a formula there, identifiers stay whole."""

from __future__ import annotations

import csv
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from amop.config import MOBILITY
from amop.database.connection import transaction
from amop.device_sync.rows import HistorianLine
from amop.device_sync.sync_log import historian_key, write_historian_file, write_sync_log
from amop.page.table import csv_cell
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.sync_runs import load_run
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference

ICCID = "8901410300000000001"


@pytest.mark.parametrize(
    ("msisdn", "shown"),
    [
        ("15551234567", "15551234567"),
        ("491701234567", "491701234567\t"),
        ("015551234567", "015551234567\t"),
        ("+15551234567", "15551234567"),
        ("", "'"),
        (None, ""),
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1+1", "'\t=1+1"),
        ("1\n=1+1", "'1\n=1+1"),
    ],
)
def test_no_cell_is_a_formula_and_identifiers_are_digits(warehouse_dsn: str, msisdn: str | None, shown: str) -> None:
    load_sandbox_reference(warehouse_dsn)
    (run,) = open_runs(
        warehouse_dsn, SyncRequest("jasper", "device_sync_jasper", "monday", optimization="never"), now=present()
    )
    with transaction(warehouse_dsn) as connection:
        connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid, msisdn, status, is_active, modified_at)"
            " VALUES (1, %s, %s, 'ACTIVATED', true, now())",
            [ICCID, msisdn],
        )
    with write_sync_log(warehouse_dsn, run.run_id) as path, Path(path).open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert (line["ICCID"], line["MSISDN"]) == (f"{ICCID}\t", shown)
    assert not [cell for cell in line.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def as_a_spreadsheet_shows(cell: str) -> str:
    """Return a cell as a spreadsheet shows it after opening the file: a number keeps 15 digits and no leading zero."""
    try:
        number = Decimal(cell) if cell.strip(" ") == cell and "\t" not in cell else None
    except InvalidOperation:
        number = None
    return cell.strip() if number is None else f"{number:.15g}" if len(cell) > 11 else f"{number:f}"


def test_the_historian_gets_every_sim_quoted_and_whole(warehouse_dsn: str) -> None:
    load_sandbox_reference(warehouse_dsn)
    (opened,) = open_runs(
        warehouse_dsn, SyncRequest("jasper", "device_sync_jasper", "monday", optimization="never"), now=present()
    )
    with transaction(warehouse_dsn) as connection:
        run = load_run(connection, opened.run_id)
        insert = (
            "INSERT INTO amop.device (service_provider_id, iccid, imsi, status, rate_plan, is_active, modified_at)"
            " VALUES (1, %s, '310170000000001', 'ACTIVATED', %s, %s, %s)"
        )
        connection.execute(insert, [ICCID, "=1+1", True, run.started_at])
        connection.execute(insert, [ICCID[:-1] + "2", 'A "big" plan', False, run.started_at])  # it vanished now
        connection.execute(insert, [ICCID[:-1] + "3", "old", False, datetime(2020, 1, 1, tzinfo=UTC)])
    with write_historian_file(warehouse_dsn, opened.run_id) as path:
        text = Path(path).read_text(encoding="utf-8")
    first, *_ = text.splitlines()
    assert first == ",".join(f'"{field.name}"' for field in fields(HistorianLine)) or first == ",".join(
        field.name for field in fields(HistorianLine)
    )
    lines = list(csv.DictReader(text.splitlines()))
    assert [(line["ICCID"], line["RatePlan"], line["IsActive"]) for line in lines] == [
        (f"{ICCID}\t", "'=1+1", "t"),
        (f"{ICCID[:-1]}2\t", 'A "big" plan', "f"),
    ]
    assert [as_a_spreadsheet_shows(line["ICCID"]) for line in lines] == [ICCID, ICCID[:-1] + "2"]
    assert as_a_spreadsheet_shows(ICCID) != ICCID  # what would become of the bare digits
    for line in text.splitlines()[1:]:
        assert all(cell == "" or cell.startswith('"') for cell in line.split(","))


def test_the_file_of_the_historian_is_named_as_the_replaced_systems_and_mobility_has_none(warehouse_dsn: str) -> None:
    load_sandbox_reference(warehouse_dsn)
    (opened,) = open_runs(
        warehouse_dsn, SyncRequest("jasper", "device_sync_jasper", "monday", optimization="never"), now=present()
    )
    with transaction(warehouse_dsn) as connection:
        run = load_run(connection, opened.run_id)
    run = replace(run, service_provider_name="AT&T / M2M", started_at=datetime(2026, 11, 3, 4, 0, 7, tzinfo=UTC))
    assert historian_key(run) == "device_history/jasper/1/DeviceHistory_AT_T_M2M_20261103040007.csv"
    assert historian_key(replace(run, portal_type_id=MOBILITY)) is None


TEXTS = [
    ICCID,
    "15551234567",
    "0123",
    "=1",
    "+1",
    "-1",
    "@x",
    "\t=1",
    "\r=1",
    "\n=1",
    "Plan 5",
    "",
    "A=B",
    "310170000000001",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_warehouse_and_the_page_have_one_rule_for_texts_in_csv_files(warehouse_dsn: str, text: str) -> None:
    with transaction(warehouse_dsn) as connection:
        row = connection.execute("SELECT amop.spreadsheet_text(%s) AS cell", [text]).fetchone()
    assert row == {"cell": csv_cell(text)}
