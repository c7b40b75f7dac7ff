"""The sync log is opened in spreadsheets: no text of a carrier is a formula there, identifiers are digits."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from amop.database.connection import transaction
from amop.device_sync.sync_log import write_sync_log
from amop.runs.sync_runs import SyncRequest, open_runs
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference

ICCID = "8901410300000000001"


@pytest.mark.parametrize(
    ("msisdn", "shown"),
    [
        ("15551234567", "15551234567"),
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
    assert (line["ICCID"], line["MSISDN"]) == (ICCID, shown)
    assert not [cell for cell in line.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
