"""Quarantined records are retried by the present rules, merged into place, and never overwrite newer data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.device_sync import validation
from amop.device_sync.quality import check_quality
from amop.device_sync.quarantine import QuarantineFilter
from amop.device_sync.quarantine_retry import MERGED, retry_records
from sandbox.carrier.reference_file import reference_yaml
from tests.db.cli.test_cli import as_airflow_json
from tests.db.cli.test_cli import run as run_cli
from tests.worlds.moments import present
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.reliability import RecordFault
from tests.worlds.sync_world import SyncWorld

PLAN = "ATT 25 MB"
EVERYTHING = QuarantineFilter()


@pytest.fixture(scope="module")
def carrier() -> Iterator[RawCarrier]:
    with running_raw_carrier() as running:
        yield running


@pytest.fixture
def world(carrier: RawCarrier, warehouse_dsn: str) -> SyncWorld:
    assert "ATT 25 MB" in reference_yaml()
    carrier.usage, carrier.single = {}, {}
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows("UPDATE amop.service_provider SET maximum_bad_share = 1, detail_calls_per_run = 0 RETURNING id")
    return made


def iccid_of(number: int) -> str:
    return f"8901{number:015d}"


def sim(number: int, **values: Any) -> dict[str, Any]:
    return {
        "iccid": iccid_of(number), "status": "ACTIVATED", "ratePlan": PLAN, "communicationPlan": "Data LTE",
    } | values  # fmt: skip


def usage(**zones: dict[int, Any]) -> dict[tuple[str, str], list[list[Any]]]:
    """Return the DATA usage of the plan: one page, keyword = zone, {number of the SIM: value}."""
    page = [
        {
            "zone": name,
            "devices": [
                {"deviceId": iccid_of(number), "usage": {"dataUsage": value}} for number, value in values.items()
            ],
        }
        for name, values in zones.items()
    ]
    return {(PLAN, "DATA"): [page]}


@pytest.fixture
def longer_texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a function that makes the rules accept texts of 300 characters, as a later version might."""

    def change() -> None:
        monkeypatch.setattr(validation, "LONGEST_TEXT", 1000)
        validation.usable_attributes.cache_clear()

    validation.usable_attributes.cache_clear()
    yield change
    validation.usable_attributes.cache_clear()


@pytest.fixture
def negative_is_zero(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the rules accept a negative counter as zero."""

    def change() -> None:
        judge = validation.validate_usage
        lenient = lambda value: 0 if isinstance(value, int) and value < 0 else judge(value)  # noqa: E731
        monkeypatch.setattr("amop.device_sync.quarantine_retry.validate_usage", lenient)

    return change


def retry(world: SyncWorld, wanted: QuarantineFilter = EVERYTHING) -> dict[str, str]:
    """Retry; return the outcome of every record by its ICCID or key."""
    outcomes = retry_records(world.dsn, wanted, now=present())
    return {outcome.record: "merged" if outcome.is_merged else outcome.reason for outcome in outcomes}


def test_records_that_still_break_a_rule_stay_and_nothing_is_lost(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[sim(1), sim(2, status="A" * 300), sim(3, ratePlan=7), "text"]]
    world.sync("bad")
    before = world.final_state()
    outcomes = retry(world)
    assert outcomes[iccid_of(2)] == "status has 300 characters, more than 255"
    assert outcomes[iccid_of(3)] == "ratePlan is a number, not text"
    assert len(outcomes) == 3
    assert world.final_state() == before


def test_a_sim_that_passes_now_is_merged_with_its_plan_once_and_stays_on_record(
    world: SyncWorld, carrier: RawCarrier, longer_texts: Any, reliability: RecordFault
) -> None:
    carrier.pages = [[sim(1), sim(2, communicationPlan="B" * 300)]]
    run = world.sync("bad")
    longer_texts()
    assert retry(world) == {iccid_of(2): "merged"}
    assert world.devices()[iccid_of(2)]["communication_plan"] == "B" * 300
    assert world.count("communication_plan", "name LIKE 'BBB%'") == 1
    (kept,) = world.rows("SELECT raw, reason, resolved_at, resolution FROM amop.device_quarantine")
    assert (kept["raw"], kept["resolution"]) == (sim(2, communicationPlan="B" * 300), MERGED)
    assert kept["resolved_at"] is not None
    before = world.rows("SELECT *, xmin FROM amop.device ORDER BY id")
    assert retry(world) == {}
    assert world.rows("SELECT *, xmin FROM amop.device ORDER BY id") == before
    world.rows("UPDATE amop.device_sync_run SET status = 'running' WHERE id = %s RETURNING id", run["id"])
    balance = check_quality(world.dsn, run["id"])
    assert (balance.devices_seen, balance.devices_merged, balance.devices_quarantined) == (2, 2, 0)
    reliability(
        fault="SIM quarantined by a rule that is then changed, retried twice", injected=2,
        expected="merged once; 2 seen = 2 merged + 0 quarantined, its record kept",
        seen=f"merged once; {balance.devices_seen} seen = {balance.devices_merged} merged + "
        f"{balance.devices_quarantined} quarantined, {world.count('device_quarantine')} record kept",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pages", "full", "status"),
    [
        ([[sim(2, status="DEACTIVATED")]], False, "DEACTIVATED"),
        ([[sim(1), sim(2, status="DEACTIVATED")]], True, "DEACTIVATED"),
        ([[sim(1), sim(2, status="B" * 300)]], False, "ACTIVATED"),
        ([[sim(1)]], True, "ACTIVATED"),
    ],
    ids=["listed again", "listed again in a full list", "bad again", "no longer listed by a full list"],
)
def test_a_later_run_that_lists_the_sim_supersedes_its_record(
    world: SyncWorld, carrier: RawCarrier, longer_texts: Any, pages: list[Any], full: bool, status: str
) -> None:
    carrier.pages = [[sim(1), sim(2)]]
    world.sync("good")
    carrier.pages = [[sim(1), sim(2, status="A" * 300)]]
    old = world.sync("bad")["id"]
    carrier.pages = pages
    new = world.sync("later", full_sync=full)["id"]
    longer_texts()
    retry(world, QuarantineFilter(run_id=old))
    assert world.devices()[iccid_of(2)]["status"] == status
    resolved = world.rows("SELECT resolution FROM amop.device_quarantine WHERE run_id = %s", old)
    assert resolved == [{"resolution": f"superseded by run {new}"}]


def test_a_record_can_be_retried_after_an_incremental_list_without_its_sim(
    world: SyncWorld, carrier: RawCarrier, longer_texts: Any
) -> None:
    carrier.pages = [[sim(1), sim(2)]]
    world.sync("good")
    carrier.pages = [[sim(2, status="A" * 300)]]
    world.sync("bad")
    carrier.pages = [[sim(1)]]
    world.sync("later")
    longer_texts()
    assert retry(world) == {iccid_of(2): "merged"}
    assert world.devices()[iccid_of(2)]["status"] == "A" * 300


def test_records_of_a_run_that_merged_nothing_wait_for_another_run(
    world: SyncWorld, carrier: RawCarrier, longer_texts: Any
) -> None:
    carrier.pages = [[sim(1), sim(2, status="A" * 300)]]
    run_id = world.open("not merged")
    world.stage(run_id)
    longer_texts()
    assert retry(world) == {iccid_of(2): f"its run {run_id} is running and has merged nothing: wait for it"}
    world.rows("UPDATE amop.device_sync_run SET status = 'refused' RETURNING id")
    assert retry(world) == {iccid_of(2): f"its run {run_id} is refused and has merged nothing: run the sync again"}
    assert world.count("device") == 0


def test_usage_that_passes_now_is_added_to_the_other_zones_and_to_the_day(
    world: SyncWorld, carrier: RawCarrier, negative_is_zero: Any
) -> None:
    carrier.pages = [[sim(1), sim(2)]]
    carrier.usage = usage(Domestic={1: 10, 2: 20})
    world.sync("good")
    carrier.usage = usage(Domestic={1: 15, 2: 25}, Roaming={1: -1, 2: 5})
    run = world.sync("bad")
    assert [world.devices()[iccid_of(number)]["ctd_data_usage"] for number in (1, 2)] == [10, 30]
    negative_is_zero()
    assert retry(world) == {iccid_of(1): "merged"}
    assert [world.devices()[iccid_of(number)]["ctd_data_usage"] for number in (1, 2)] == [15, 30]
    assert world.rows("SELECT sum(data_usage) AS total FROM amop.device_usage")[0]["total"] == 45
    staged = world.count("device_usage_staging", f"run_id = {run['id']}")
    assert staged == 4, "usage records = staged + quarantined"
    assert retry(world) == {}
    assert world.rows("SELECT sum(data_usage) AS total FROM amop.device_usage")[0]["total"] == 45


def test_a_sim_with_another_bad_record_is_unchanged_until_that_one_passes_too(
    world: SyncWorld, carrier: RawCarrier, negative_is_zero: Any
) -> None:
    carrier.pages = [[sim(1)]]
    carrier.usage = usage(Domestic={1: 10}, Roaming={1: -1}, Satellite={1: "many"})
    world.sync("bad")
    negative_is_zero()
    outcomes = retry_records(world.dsn, EVERYTHING, now=present())
    assert [outcome.is_merged for outcome in outcomes] == [True, False]
    assert world.devices()[iccid_of(1)]["ctd_data_usage"] == 0


def test_usage_of_an_earlier_run_is_superseded_by_any_later_one(
    world: SyncWorld, carrier: RawCarrier, negative_is_zero: Any
) -> None:
    carrier.pages = [[sim(1)]]
    carrier.usage = usage(Domestic={1: -1})
    old = world.sync("bad")["id"]
    carrier.usage = usage(Domestic={1: 70})
    new = world.sync("later")["id"]
    negative_is_zero()
    assert retry(world) == {}
    assert world.devices()[iccid_of(1)]["ctd_data_usage"] == 70
    (kept,) = world.rows("SELECT run_id, resolution FROM amop.device_quarantine")
    assert kept == {"run_id": old, "resolution": f"superseded by run {new}"}


def test_a_sim_and_its_usage_are_merged_together(world: SyncWorld, carrier: RawCarrier, longer_texts: Any) -> None:
    carrier.pages = [[sim(1), sim(2, status="A" * 300)]]
    carrier.usage = usage(Domestic={1: 10, 2: 20}, Roaming={2: 5})
    world.sync("bad")
    longer_texts()
    assert retry(world) == {iccid_of(2): "merged"}
    assert world.devices()[iccid_of(2)]["ctd_data_usage"] == 25


def test_a_refusal_and_a_record_that_was_altered_to_be_stored_are_not_retried(
    world: SyncWorld, carrier: RawCarrier, longer_texts: Any
) -> None:
    carrier.pages = [[sim(1), sim(2, status="IoT\x00")]]
    run = world.sync("bad")
    world.rows(
        "INSERT INTO amop.device_quarantine (run_id, kind, source, record_key, iccid, raw, reason)"
        " VALUES (%s, 'usage', 'refusal', 'x', %s, '{\"status\": 404}', '404') RETURNING id",
        run["id"], iccid_of(1),
    )  # fmt: skip
    assert retry(world) == {
        iccid_of(2): "its raw form had to be altered to be stored",
        iccid_of(1): "the carrier sent no record, only a refusal: the next sync reads the SIM again",
    }


def test_the_command_line_lists_and_retries_by_filter(
    world: SyncWorld,
    carrier: RawCarrier,
    longer_texts: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(WAREHOUSE_VARIABLE, as_airflow_json(world.dsn))
    carrier.pages = [[sim(1), sim(2, status="A" * 300), sim(3, status=7)]]
    carrier.usage = usage(Domestic={1: -1})
    run = world.sync("bad")

    def listed(*arguments: str) -> list[dict[str, Any]]:
        status, out, _ = run_cli(capsys, "quarantine", "list", "--json", *arguments)
        assert status == 0
        return list(json.loads(out))

    assert [record["kind"] for record in listed()] == ["device", "device", "usage"]
    assert [record["raw"] for record in listed("--kind", "device", "--run", str(run["id"]))] == [
        sim(2, status="A" * 300), sim(3, status=7),
    ]  # fmt: skip
    assert (listed("--provider", "2"), len(listed("--limit", "1"))) == ([], 1)
    status, _, err = run_cli(capsys, "quarantine", "list", "--run", "999")
    assert (status, "999" in err) == (2, True)

    longer_texts()
    status, out, _ = run_cli(capsys, "quarantine", "retry", "--kind", "device")
    assert status == 0
    assert "1 merged, 1 kept in quarantine" in out
    assert "status is a number, not text" in out
    assert [record["iccid"] for record in listed("--kind", "device")] == [iccid_of(3)]
    assert [record["resolution"] for record in listed("--all", "--kind", "device")] == [MERGED, None]
    status, out, _ = run_cli(capsys, "quarantine", "list")
    assert (status, "Quarantine" in out, iccid_of(3) in out) == (0, True, True)
    status, _, _ = run_cli(capsys, "quarantine", "list", "--kind", "; DROP TABLE")
    assert status == 2
    assert world.count("device_quarantine") == 3
