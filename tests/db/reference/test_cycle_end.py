"""Syncs and optimizations that start before the end of the billing period and end after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from amop.database.connection import transaction
from amop.device_sync import fetch, merge
from amop.device_sync.store import merges, reads, reports
from amop.optimization.instances import OptimizationRequest, open_instance
from amop.reference.billing_periods import ensure_billing_period
from amop.reference.store import StoredBillingPeriod
from amop.runs.opening import SyncRequest, open_runs
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import on_awkward_dates, present
from tests.worlds.optimization_world import CYCLE_END, CYCLE_START, NOW, OptimizationWorld
from tests.worlds.sync_world import JASPER, SyncWorld

SIMS = 120
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(warehouse_dsn: str) -> Iterator[SyncWorld]:
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier)


def period_at(world: SyncWorld, moment: datetime) -> StoredBillingPeriod:
    with transaction(world.dsn) as connection:
        return ensure_billing_period(connection, JASPER, moment)


def sync(world: SyncWorld, dag_run_id: str, *, opened: datetime, listed: datetime, read: datetime) -> dict[str, Any]:
    """Sync the provider with a list that is complete at one moment and usage that is read at another."""
    run_id = world.open(dag_run_id, now=opened, full_sync=True)
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=lambda: listed)
        fetch.fetch_usage(world.dsn, run_id, client, clock=lambda: read)
    world.merge(run_id, now=read + MINUTE)
    return world.run(run_id)


def sims_by_read(world: SyncWorld) -> tuple[list[str], list[str]]:
    """Return the ICCIDs with data usage whose usage is read in bulk, and those that are read one by one."""
    shared = {
        row["rate_plan_code"] for row in world.rows("SELECT rate_plan_code FROM amop.carrier_rate_plan WHERE is_shared")
    }
    used = {iccid: sim for iccid, sim in sorted(world.truth().items()) if sim["data_usage"] > 0}
    return (
        [iccid for iccid, sim in used.items() if sim["rate_plan"] not in shared],
        [iccid for iccid, sim in used.items() if sim["rate_plan"] in shared],
    )


def daily_sums(world: SyncWorld, period_id: int) -> dict[str, int]:
    return {
        row["iccid"]: int(row["total"])
        for row in world.rows(
            "SELECT device.iccid, sum(daily.data_usage) AS total FROM amop.device_usage AS daily"
            " JOIN amop.device AS device ON device.id = daily.device_id"
            " WHERE daily.billing_period_id = %s GROUP BY device.iccid",
            period_id,
        )
    }


@on_awkward_dates
def test_usage_read_after_the_end_of_the_cycle_is_neither_billed_to_it_nor_lost(world: SyncWorld) -> None:
    old = period_at(world, present())
    end = old.cycle_end
    new = period_at(world, end)
    (first_bulk, second_bulk, *_), (single, *_) = sims_by_read(world)
    noon = end - timedelta(hours=6)
    sync(world, "noon", opened=noon, listed=noon, read=noon)
    before = {iccid: world.devices()[iccid]["ctd_data_usage"] for iccid in (first_bulk, second_bulk, single)}
    assert all(usage > 0 for usage in before.values())

    # At the end of the cycle: one SIM has used 5,000 bytes more, the carrier no longer knows another one, and the
    # counter of the SIM that is read individually has restarted and is already larger than before.
    world.carrier.change_devices([first_bulk], data_usage=before[first_bulk] + 5_000)
    world.carrier.change_devices([second_bulk], data_usage=0, roaming_data_usage=0)
    world.carrier.change_devices([single], data_usage=before[single] + 7)
    late = sync(world, "late", opened=end - MINUTE, listed=end + MINUTE, read=end + 2 * MINUTE)

    assert late["billing_period_id"] == old.id
    assert late["usage_as_of"] == end - timedelta(microseconds=1)
    after = world.devices()
    expected = before | {first_bulk: before[first_bulk] + 5_000}
    assert {iccid: after[iccid]["ctd_data_usage"] for iccid in before} == expected
    assert {after[iccid]["billing_period_id"] for iccid in before} == {old.id}
    sums = daily_sums(world, old.id)
    assert {iccid: sums[iccid] for iccid in before} == expected
    last_date = end.astimezone(UTC).date()  # 18:00 in New York: the same date in UTC
    dates = world.rows("SELECT max(usage_date) AS latest FROM amop.device_usage")[0]
    assert dates["latest"] == last_date

    # The next sync belongs to the new cycle and brings the whole counter of the excluded SIM.
    following = sync(world, "following", opened=end + timedelta(hours=9), listed=end + timedelta(hours=9),
                     read=end + timedelta(hours=9))  # fmt: skip
    assert following["billing_period_id"] == new.id
    moved_on = world.devices()[single]
    assert (moved_on["billing_period_id"], moved_on["ctd_data_usage"]) == (new.id, before[single] + 7)
    assert daily_sums(world, new.id)[single] == before[single] + 7
    assert {iccid: daily_sums(world, old.id)[iccid] for iccid in before} == expected
    with transaction(world.dsn) as connection:
        eligible = connection.execute(
            "SELECT iccid, data_usage FROM amop.eligible_device(%(provider)s, %(period)s, %(now)s)",
            {"provider": JASPER, "period": old.id, "now": end},
        ).fetchall()
    used = {row["iccid"]: row["data_usage"] for row in eligible}
    assert {iccid: used[iccid] for iccid in before} == expected


def test_a_run_that_merges_after_one_of_the_next_cycle_does_not_change_its_sims(world: SyncWorld) -> None:
    old = period_at(world, present())
    end = old.cycle_end
    new = period_at(world, end)
    noon = end - timedelta(hours=6)
    sync(world, "noon", opened=noon, listed=noon, read=noon)
    world.rows("UPDATE amop.device SET billing_period_id = %s, ctd_data_usage = 3 RETURNING id", new.id)
    world.rows("UPDATE amop.service_provider SET detail_calls_per_run = 0 RETURNING id")  # details belong to no cycle
    before = world.rows("SELECT id, xmin::text FROM amop.device ORDER BY id"), daily_sums(world, old.id)
    run_id = world.open("late", now=end - MINUTE)
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=lambda: end + MINUTE)
        fetch.fetch_usage(world.dsn, run_id, client, clock=lambda: end + MINUTE)
    with transaction(world.dsn) as connection:
        reads.collect_present_devices(connection, run_id=run_id)
        reads.compare_usage(connection, run_id=run_id)
        merges.collect_usage(connection, run_id=run_id, proof_reads=10, iccids=None)
        assert connection.execute("SELECT count(*) AS n FROM collected_usage").fetchone() == {"n": 0}
    assert merge.merge_devices(world.dsn, run_id, now=end + MINUTE).devices_updated == 0
    assert merge.merge_usage(world.dsn, run_id, now=end + MINUTE) == 0
    assert (world.rows("SELECT id, xmin::text FROM amop.device ORDER BY id"), daily_sums(world, old.id)) == before


def test_the_sync_log_names_the_cycle_that_each_counter_belongs_to(world: SyncWorld) -> None:
    old = period_at(world, present())
    new = period_at(world, old.cycle_end)
    run = sync(world, "noon", opened=old.cycle_end - MINUTE, listed=old.cycle_end - MINUTE,
               read=old.cycle_end - MINUTE)  # fmt: skip
    moved_on = sorted(world.devices())[0]
    world.rows("UPDATE amop.device SET billing_period_id = %s WHERE iccid = %s RETURNING id", new.id, moved_on)
    with transaction(world.dsn) as connection:
        ends = {line.ICCID.strip(): line.BillingCycleEndDate for line in reports.sync_log(connection, run_id=run["id"])}
    assert len(ends) == SIMS
    assert ends.pop(moved_on) == new.cycle_end
    assert set(ends.values()) == {old.cycle_end}


@pytest.mark.parametrize("optimization", ["auto", "always"])
def test_a_sync_requested_before_the_end_belongs_to_that_period_even_if_it_starts_later(
    warehouse_dsn: str, optimization: str
) -> None:
    world = OptimizationWorld(warehouse_dsn)
    asked = CYCLE_END - timedelta(seconds=1)
    begun = CYCLE_END + timedelta(seconds=20)
    (opened,) = open_runs(
        world.dsn,
        SyncRequest("jasper", "device_sync_jasper", "manual", optimization=optimization, requested_at=asked),
        now=begun,
    )
    run = world.execute("SELECT * FROM amop.device_sync_run WHERE id = %s", opened.run_id)[0]
    session = world.execute("SELECT * FROM amop.optimization_session")[0]
    assert run["billing_period_id"] == session["billing_period_id"] == world.billing_period_id
    assert (run["started_at"], session["started_at"]) == (begun, begun)
    # The message says so, too.
    payload = world.execute("SELECT payload FROM amop.amop_outbox")[0]["payload"]["data"]
    facts = json.loads(payload["AdditionalJson"])["data"]
    assert facts["BillPeriodId"] == world.billing_period_id
    # A repeated request finds the same run, session and period.
    again = SyncRequest("jasper", "device_sync_jasper", "manual", optimization=optimization)
    open_runs(world.dsn, again, now=CYCLE_END + timedelta(days=2))
    assert world.execute("SELECT billing_period_id FROM amop.device_sync_run") == [
        {"billing_period_id": world.billing_period_id}
    ]
    assert len(world.execute("SELECT 1 FROM amop.optimization_session")) == 1


def test_an_optimization_requested_before_the_end_belongs_to_that_period_up_to_its_last_message(
    warehouse_dsn: str,
) -> None:
    world = OptimizationWorld(warehouse_dsn)
    world.add_rate_plan("Small", "1", "10")
    world.add_communication_plan("Tracking", ["Small"])
    world.add_sim("8901170000000000001", "Tracking", "Small", 3)
    request = OptimizationRequest(
        "jasper", "carrier_optimization_jasper/23:59", 1, requested_at=CYCLE_END - timedelta(seconds=1)
    )
    opened = open_instance(world.dsn, request, now=CYCLE_END + timedelta(seconds=20))
    for step in world.steps(opened["instance_id"]):
        step()
    session = world.execute("SELECT * FROM amop.optimization_session")[0]
    assert (session["billing_period_id"], session["status"]) == (world.billing_period_id, "complete")
    payloads = [row["payload"]["data"] for row in world.execute("SELECT payload FROM amop.amop_outbox ORDER BY id")]
    facts = [json.loads(payload["AdditionalJson"])["data"] for payload in payloads]
    assert [payload["Progress"] for payload in payloads] == [0, 20, 30, 40, 50, 100]
    assert {fact["BillPeriodId"] for fact in facts} == {world.billing_period_id}
    assert {fact["BillingPeriodEndDate"] for fact in facts} == {facts[0]["BillingPeriodEndDate"]}
    # The period has ended: its usage is not projected.
    row = world.results()["8901170000000000001"]
    assert row["projected_usage_mb"] == row["usage_mb"] == 3


def test_without_a_moment_the_period_is_the_current_one(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn)
    opened = open_instance(world.dsn, world.request(), now=NOW)
    assert world.instance(opened["instance_id"])["usage_as_of"] == NOW
    period = world.execute(
        "SELECT cycle_start FROM amop.billing_period AS period"
        " JOIN amop.optimization_session AS session ON session.billing_period_id = period.id"
    )
    assert period == [{"cycle_start": CYCLE_START}]
