"""eSIMs are identified by their EID on the whole way: list, quarantine, merge, search, files, today, retry."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from amop.cli.main import main
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import connect
from amop.device_sync.quarantine import QuarantineFilter, list_records
from amop.device_sync.quarantine_retry import retry_records
from amop.device_sync.sync_log import write_historian_file, write_sync_log
from amop.families import EID, FAMILIES
from amop.page.sim import read_sim, search_sims
from amop.page.today import read_today
from sandbox.carrier.running import FAMILY_SERVERS, RunningCarrier
from tests.db.cli.test_cli import as_airflow_json
from tests.worlds.family_world import FamilyWorld
from tests.worlds.moments import present

SIMS = 12
AN_ICCID = "8901990070537353235"


@pytest.fixture
def carrier() -> Iterator[RunningCarrier]:
    with FAMILY_SERVERS["teal"](devices_per_account=SIMS, limits_are_enforced=False) as running:
        yield running


@pytest.fixture
def world(warehouse_dsn: str, carrier: RunningCarrier) -> FamilyWorld:
    return FamilyWorld(warehouse_dsn, carrier, "teal")


def test_an_esim_without_an_eid_is_quarantined_and_all_others_are_merged_by_theirs(
    world: FamilyWorld, carrier: RunningCarrier
) -> None:
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 0.2 RETURNING id")
    eids = sorted(world.truth())
    carrier.change_devices([eids[0]], extra={"eid": AN_ICCID})
    carrier.change_devices([eids[1]], extra={"eid": None})
    run = world.sync("day")
    assert (run["status"], run["devices_seen"]) == ("complete", SIMS)
    assert sorted(world.devices()) == eids[2:] and all(EID.accepts(eid) for eid in eids)
    found = {record.record_key: record for record in list_records(world.dsn, QuarantineFilter())}
    assert found.pop(AN_ICCID).reason == f"EID is '{AN_ICCID}', not 32 digits"
    (nameless,) = found.values()
    assert (nameless.iccid, nameless.reason) == (None, "EID is null, not 32 digits")


def test_a_record_is_validated_again_by_the_rule_of_its_family(
    world: FamilyWorld, carrier: RunningCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    eid = sorted(world.truth())[0]
    carrier.change_devices([eid], extra={"eid": AN_ICCID})
    world.sync("day")
    (outcome,) = retry_records(world.dsn, QuarantineFilter(), now=present())
    assert (outcome.is_merged, outcome.reason) == (False, f"EID is '{AN_ICCID}', not 32 digits")
    wider = replace(EID, pattern="[0-9]{19,32}", form="19 to 32 digits")
    monkeypatch.setitem(FAMILIES, "teal", replace(FAMILIES["teal"], identifier=wider))
    (outcome,) = retry_records(world.dsn, QuarantineFilter(), now=present())
    assert outcome.is_merged and AN_ICCID in world.devices()


def test_an_esim_is_found_by_its_eid_and_in_the_files_its_digits_stay_whole(world: FamilyWorld) -> None:
    run = world.sync("day")
    eids = sorted(world.truth())
    with connect(world.dsn) as connection:
        table = search_sims(connection, f"{eids[3][:8]} {eids[3][8:]}", integrations=["teal"], order=None)
        assert [(row.iccid, row.provider) for row in table.rows] == [(eids[3], "Teal")]
        assert len(search_sims(connection, eids[3][:7], integrations=["teal"], order=None).rows) == SIMS
        view = read_sim(connection, table.rows[0].id, integrations=["teal"], orders={})
        assert view is not None and view.stored.iccid == eids[3]
        today = read_today(connection, integrations=list(KNOWN_INTEGRATIONS), order=None)
        (teal,) = [row for row in today.table.rows if row.stored.integration == "teal"]
        assert (teal.stored.name, teal.stored.quarantined) == ("Teal", 0)
    for write in (write_sync_log, write_historian_file):
        with write(world.dsn, run["id"]) as path, Path(path).open(newline="", encoding="utf-8") as file:
            assert sorted(line["ICCID"] for line in csv.DictReader(file)) == [f"{eid}\t" for eid in eids]


def test_a_staging_of_the_existing_system_is_checked_by_the_rule_of_its_family(
    world: FamilyWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.open("day")
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(world.dsn))
    for number, eid in enumerate([sorted(world.truth())[0], AN_ICCID]):
        world.rows(
            "INSERT INTO amop.device_staging (run_id, scan_pass, page_number, row_number, iccid)"
            " VALUES (%s, 1, 1, %s, %s) RETURNING iccid",
            run_id, number, eid,
        )  # fmt: skip
    with pytest.raises(SystemExit):
        main(["messages", "check", str(run_id), "--json"])
    assert "1 rows of device_staging have no EID of 32 digits" in json.loads(capsys.readouterr().out)
