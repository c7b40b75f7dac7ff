"""Malformed and unusual records of the carrier: usable ones are merged, the others quarantined with the rule broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.device_sync import fetch, merge
from amop.runs.errors import MergeRefusedError
from amop.runs.opening import SyncRequest, open_runs
from tests.worlds.moments import present
from tests.worlds.raw_carrier import RawCarrier, running_raw_carrier
from tests.worlds.reliability import RecordFault
from tests.worlds.sync_world import SyncWorld

PLAN = "ATT 25 MB"
LARGEST = 2**63 - 1


@pytest.fixture(scope="module")
def carrier() -> Iterator[RawCarrier]:
    with running_raw_carrier() as running:
        yield running


@pytest.fixture
def world(carrier: RawCarrier, warehouse_dsn: str) -> SyncWorld:
    carrier.usage, carrier.single = {}, {}
    made = SyncWorld(warehouse_dsn, carrier)  # type: ignore[arg-type]
    made.rows(
        "UPDATE amop.service_provider SET maximum_bad_share = 1, maximum_usage_loss_share = 1, detail_calls_per_run = 0"
        " RETURNING id"
    )
    return made


def iccid_of(number: int) -> str:
    return f"8901{number:015d}"


def sim(number: int, **values: Any) -> dict[str, Any]:
    return {
        "iccid": iccid_of(number), "status": "ACTIVATED", "ratePlan": PLAN, "communicationPlan": "Data LTE",
    } | values  # fmt: skip


BAD_DEVICES: dict[str, Any] = {
    "no ICCID": {"status": "ACTIVATED"},
    "null ICCID": sim(1, iccid=None),
    "ICCID as a number": sim(1, iccid=8901000000000000001),
    "ICCID with 17 digits": sim(1, iccid="89010000000000001"),
    "ICCID with 23 digits": sim(1, iccid="8" * 23),
    "ICCID with letters": sim(1, iccid="8901ABC0000000000001"),
    "ICCID with Arabic digits": sim(1, iccid="\u0668\u0669" * 10),
    "ICCID that looks like SQL": sim(1, iccid="'; DROP TABLE amop.device; --"),
    "ICCID with a line feed at its end": sim(1, iccid=iccid_of(1) + "\n"),
    "status as a number": sim(901, status=17),
    "rate plan as an object": sim(902, ratePlan={"name": PLAN}),
    "rate plan with a NUL": sim(903, ratePlan="IoT\x00"),
    "communication plan with half a surrogate pair": sim(904, communicationPlan="LTE \ud800"),
    "status of 300 characters": sim(905, status="A" * 300),
    "a text instead of an object": "89010000000000000001",
    "a number instead of an object": 7,
    "null instead of an object": None,
    "a list instead of an object": [sim(1)],
    "nested 300 levels deep": json.loads('{"iccid": ' + "[" * 300 + "]" * 300 + "}"),
}
"""Fault → the record."""

ODD_DEVICES: dict[str, dict[str, Any]] = {
    "null rate plan": sim(801, ratePlan=None),
    "unknown rate plan": sim(802, ratePlan="Brand New 1 TB"),
    "rate plan that looks like SQL": sim(803, ratePlan="'); DELETE FROM amop.device; --"),
    "rate plan with a format sign": sim(804, ratePlan="100 % %(run_id)s %s {0} {{ run_id }}"),
    "communication plan in four scripts": sim(805, communicationPlan="Données 数据 данные \U0001f4f6"),
    "all null": {"iccid": iccid_of(806), "status": None, "ratePlan": None, "communicationPlan": None},
    "unknown keys": sim(807, colour="red", __proto__={"a": 1}, nested={"a": [1, {"b": None}]}),
    "rate plan with a tab and a line feed": sim(808, ratePlan="IoT\t10\n\\N MB"),
}
"""Oddity → a record that must be merged unchanged."""


def test_bad_list_records_are_quarantined_with_their_rule_and_odd_ones_are_merged_unchanged(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault
) -> None:
    good = [sim(number) for number in range(1, 61)]
    records = [*good[:30], *BAD_DEVICES.values(), *ODD_DEVICES.values(), *good[30:]]
    carrier.pages = [records[begin : begin + 20] for begin in range(0, len(records), 20)]
    run = world.sync("bad")
    quarantined = world.count("device_quarantine", "kind = 'device' AND reason <> ''")
    merged = world.count("device")
    assert merged == len(good) + len(ODD_DEVICES)
    assert quarantined == len(BAD_DEVICES)
    assert run["devices_seen"] == merged + quarantined
    for odd in ODD_DEVICES.values():
        row = world.devices()[odd["iccid"]]
        assert (row["status"], row["rate_plan"], row["communication_plan"]) == (
            odd["status"], odd["ratePlan"], odd["communicationPlan"],
        )  # fmt: skip
    kept = world.rows("SELECT raw, is_exact FROM amop.device_quarantine")
    assert sum(row["raw"] in list(BAD_DEVICES.values()) for row in kept) == len(BAD_DEVICES) - 3
    assert [row["is_exact"] for row in kept].count(False) == 3, "NUL, half a surrogate pair, too deep"
    reliability(
        fault="malformed and odd SIM records", injected=len(BAD_DEVICES) + len(ODD_DEVICES),
        expected=f"{len(BAD_DEVICES)} in quarantine with their rule, {len(ODD_DEVICES)} merged unchanged; "
        "seen = merged + quarantined",
        seen=f"{quarantined} in quarantine, {run['devices_seen']} seen = {merged} merged + {quarantined} quarantined",
    )  # fmt: skip


BAD_USAGE: dict[str, Any] = {
    "negative": -1, "textual": "many", "number as text": "5", "fraction": 1.5, "true": True, "beyond bigint": 2**63,
    "beyond a double": 10**400, "a list": [5], "an object without the key's value": {"dataUsage": [5]},
}  # fmt: skip
ODD_USAGE: dict[str, tuple[Any, int]] = {
    "null": (None, 0), "zero": (0, 0), "whole float": (5.0, 5), "largest bigint": (LARGEST, LARGEST),
}  # fmt: skip


def test_bad_usage_leaves_its_sim_unchanged_and_every_record_is_staged_or_quarantined(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault
) -> None:
    cases = [*BAD_USAGE.values(), *(value for value, _ in ODD_USAGE.values())]
    carrier.pages = [[sim(number) for number in range(len(cases) + 2)]]
    carrier.usage = {(PLAN, "DATA"): [[zone("Domestic", dict.fromkeys(range(len(cases) + 2), 100))]]}
    world.sync("before")
    twice = len(cases) + 1
    home = zone("Domestic", dict(enumerate(cases)) | {twice: LARGEST})
    roaming = zone("Roaming", {0: 7, twice: 1})
    unknown = {"deviceId": iccid_of(9999), "usage": {"dataUsage": 1}}
    malformed = {"deviceId": "no ICCID", "usage": {"dataUsage": 1}}
    carrier.usage = {(PLAN, "DATA"): [[home, roaming, {"zone": "Odd", "devices": [unknown, malformed, 17]}]]}
    run = world.sync("after")
    records = len(home["devices"]) + len(roaming["devices"]) + 3
    staged = world.count("device_usage_staging", f"run_id = {run['id']} AND rate_plan_code <> ''")
    quarantined = world.count("device_quarantine", f"run_id = {run['id']} AND kind = 'usage'")
    devices = world.devices()
    untouched = [devices[iccid_of(number)]["ctd_data_usage"] for number in [*range(len(BAD_USAGE)), twice]]
    assert untouched == [100] * (len(BAD_USAGE) + 1), "a bad SIM, and one whose zones add up beyond bigint"
    for number, (_, expected) in enumerate(ODD_USAGE.values(), start=len(BAD_USAGE)):
        assert devices[iccid_of(number)]["ctd_data_usage"] == expected
    assert (staged, quarantined) == (records - len(BAD_USAGE) - 5, len(BAD_USAGE) + 5)
    reliability(
        fault="negative, textual, huge, unknown and malformed usage records", injected=len(BAD_USAGE) + 5,
        expected="every record staged or quarantined; a SIM with a bad one keeps its counters",
        seen=f"{records} records = {staged} staged + {quarantined} quarantined; "
        f"{sum(usage == 100 for usage in untouched)} of {len(untouched)} SIMs unchanged",
    )  # fmt: skip


def zone(name: str, usage: dict[int, Any]) -> dict[str, Any]:
    """Return a zone of /usages; a value that is an object stands for the record's whole usage."""
    return {
        "zone": name,
        "devices": [
            {"deviceId": iccid_of(number), "usage": value if isinstance(value, dict) else {"dataUsage": value}}
            for number, value in usage.items()
        ],
    }


def test_single_reads_without_a_usable_counter_leave_the_sim_unchanged(world: SyncWorld, carrier: RawCarrier) -> None:
    answers: list[dict[str, Any]] = [
        {"ctdDataUsage": -1},
        {"ctdDataUsage": "5", "ctdSMSUsage": 2**64},
        {"status": "ACTIVATED"},
    ]
    carrier.pages = [[sim(number, ratePlan=None) for number in range(4)]]
    carrier.single = {iccid_of(number): {"iccid": iccid_of(number), **raw} for number, raw in enumerate(answers)}
    carrier.single[iccid_of(3)] = {"iccid": iccid_of(3), "ctdDataUsage": 8, "ctdSMSUsage": None, "colour": "red"}
    world.sync("single")
    assert [world.devices()[iccid_of(number)]["ctd_data_usage"] for number in range(4)] == [0, 0, 0, 8]
    reasons = [row["reason"] for row in world.rows("SELECT reason FROM amop.device_quarantine ORDER BY iccid")]
    assert reasons[0] == "ctdDataUsage: usage is negative"
    assert reasons[1] == "ctdDataUsage: usage is '5', not a number; ctdSMSUsage: usage is beyond bigint"
    assert reasons[2].startswith("no counter at all")


def test_a_counter_of_the_largest_bigint_that_restarts_on_the_same_day_is_merged(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    carrier.pages = [[sim(1)]]
    for usage in (LARGEST, 5, LARGEST):
        carrier.usage = {(PLAN, "DATA"): [[zone("Domestic", {1: usage})]]}
        world.sync(f"usage {usage} {world.count('device_sync_run')}")
        assert world.devices()[iccid_of(1)]["ctd_data_usage"] == usage
    assert world.rows("SELECT sum(data_usage) AS total FROM amop.device_usage")[0]["total"] == LARGEST


def test_one_iccid_at_two_providers_is_two_sims(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault
) -> None:
    carrier.pages = [[sim(number) for number in range(20)]]
    world.sync("jasper")
    run = open_runs(world.dsn, SyncRequest("rogers", "device_sync_rogers", "rogers"), now=present())[0]
    carrier.pages = [[sim(number, ratePlan="Rogers Plan", status="RETIRED") for number in range(10, 30)]]
    account = CarrierAccount("carrier_rogers", "Rogers", carrier.base_url, "api_rogers", carrier.api_key, 1000)
    with ControlCenterClient(account, PostgresCallGate(world.dsn, account.gate_key, 1000)) as client:
        fetch.queue_sync(world.dsn, run.run_id)
        fetch.fetch_devices(world.dsn, run.run_id, client)
        fetch.fetch_usage(world.dsn, run.run_id, client)
    world.merge(run.run_id)
    rows = world.rows("SELECT service_provider_id, iccid, rate_plan FROM amop.device")
    both = {row["iccid"] for row in rows if row["service_provider_id"] == 1} & {
        row["iccid"] for row in rows if row["service_provider_id"] == run.service_provider_id
    }
    assert (len(rows), len(both)) == (40, 10)
    assert {row["rate_plan"] for row in rows if row["service_provider_id"] == 1} == {PLAN}
    reliability(
        fault="ICCIDs that two providers list", injected=len(both), expected="40 SIMs, each with its provider's values",
        seen=f"{len(rows)} SIMs, {len(both)} ICCIDs twice, none mixed up",
    )  # fmt: skip


@pytest.mark.parametrize(("bad", "is_refused"), [(1, False), (2, True), (100, True)])
def test_more_than_one_percent_bad_fails_the_run_before_the_merge_and_nothing_is_visible(
    world: SyncWorld, carrier: RawCarrier, reliability: RecordFault, bad: int, is_refused: bool
) -> None:
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 0.01 RETURNING id")
    carrier.pages = [[sim(number, status=17 if number < bad else "ACTIVATED") for number in range(100)]]
    carrier.usage = {(PLAN, "DATA"): [[zone("Domestic", {50: 5})]]}
    run_id = world.open("share")
    world.stage(run_id)
    if not is_refused:
        world.merge(run_id)
        assert world.count("device") == 100 - bad
        return
    message = rf"{bad} of 100 SIMs have bad records in the device list, .* `bin/amop quarantine list --run {run_id}`"
    with pytest.raises(MergeRefusedError, match=message):
        merge.merge_devices(world.dsn, run_id, now=present())
    visible = sum(world.count(table) for table in ("device", "device_usage", "device_missing", "amop_outbox"))
    kept = world.count("device_quarantine")
    assert (visible, kept) == (0, bad)
    reliability(
        fault=f"{bad} % of the list malformed", injected=bad, expected="refused before the merge; nothing visible",
        seen=f"refused; {visible} rows visible, {kept} in quarantine",
    )  # fmt: skip


def test_one_bad_usage_record_does_not_refuse_an_incremental_sync_of_a_few_sims(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    """Usage is read for the whole fleet, so its bad share is relative to the fleet, not to the SIMs listed today."""
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 0.01 RETURNING id")
    carrier.pages = [[sim(number) for number in range(150)]]
    usage = dict.fromkeys(range(150), 10)
    carrier.usage = {(PLAN, "DATA"): [[zone("Domestic", usage)]]}
    world.sync("full")
    carrier.pages = [[sim(3, status="DEACTIVATED")]]
    carrier.usage = {(PLAN, "DATA"): [[zone("Domestic", usage | {7: "many"})]]}
    run = world.sync("incremental")
    assert (run["is_full"], run["devices_seen"], run["devices_updated"]) == (False, 1, 1)
    assert world.devices()[iccid_of(7)]["ctd_data_usage"] == 10


def test_a_record_nested_900_deep_and_a_text_of_5000_characters_spoil_no_other_record(
    world: SyncWorld, carrier: RawCarrier
) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    carrier.pages = [[sim(1), sim(2, ratePlan=deep), sim(3, status="9" * 5000), sim(4)]]
    run = world.sync("deep")
    assert (run["status"], run["devices_seen"], world.count("device")) == ("complete", 4, 2)
    reasons = {row["reason"] for row in world.rows("SELECT reason FROM amop.device_quarantine")}
    assert reasons == {"ratePlan is a list, not text", "status has 5000 characters, more than 255"}


def test_the_carriers_names_are_stripped_as_those_of_the_reference_file(world: SyncWorld, carrier: RawCarrier) -> None:
    carrier.pages = [[sim(1, ratePlan=f"{PLAN} ", communicationPlan="\tData LTE ", status="ACTIVATED ")]]
    world.sync("names")
    (device,) = world.rows("SELECT rate_plan, communication_plan, status FROM amop.device")
    assert device == {"rate_plan": PLAN, "communication_plan": "Data LTE", "status": "ACTIVATED"}
