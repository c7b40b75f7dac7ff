"""Back-fills: archived days are written to history in any order and more than once; newer data is not changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from amop.archive.page_archive import ArchiveError
from amop.device_sync import merge
from amop.runs.errors import MergeRefusedError
from sandbox.carrier.account import ListLimit
from tests.worlds.archive_world import ArchiveWorld, archive_world
from tests.worlds.moments import ORDINARY_MOMENT

SIMS = 60
AS_OF = datetime(2026, 11, 2, 12, tzinfo=UTC)
OTHER = "ATT 10 GB"
"""A rate plan that a SIM has for one day."""
DEVICES = "SELECT id, xmin::text FROM amop.device ORDER BY id"


def noon(day: int) -> datetime:
    """Return a moment of November 2026: late morning at the provider, within the window of that day's back-fill run."""
    return datetime(2026, 11, day, 15, tzinfo=UTC)


def november(day: int) -> date:
    return date(2026, 11, day)


@pytest.fixture
def world(warehouse_dsn: str, tmp_path: Path) -> Iterator[ArchiveWorld]:
    with archive_world(warehouse_dsn, tmp_path, as_of=AS_OF, sims=SIMS) as world:
        yield world


def some_sim(world: ArchiveWorld) -> str:
    """Return a SIM with usage on a plan that is read in bulk."""
    return min(iccid for iccid, sim in world.truth().items() if sim["data_usage"] and "Shared" not in sim["rate_plan"])


def use(world: ArchiveWorld, iccid: str, data_usage: int, **more: Any) -> None:
    world.carrier.change_devices([iccid], data_usage=data_usage, roaming_data_usage=0, **more)


def objects(world: ArchiveWorld) -> list[str]:
    return sorted(str(path.relative_to(world.archive)) for path in world.archive.rglob("*.gz"))


def test_every_answer_of_the_carrier_is_in_one_object_by_provider_and_day(world: ArchiveWorld) -> None:
    run_id = world.live(noon(2))
    assert objects(world) == [f"jasper/1/2026-11-02/20261102T150000Z_run_{run_id}.jsonl.gz"]
    content = gzip.decompress((world.archive / objects(world)[0]).read_bytes()).decode()
    head, *answers = map(json.loads, content.splitlines())
    assert (head["run_id"], head["is_complete"], head["usage_as_of"]) == (run_id, True, noon(2).isoformat())
    assert len(answers) == world.carrier.stats("api_jasper")["calls"]
    listed = [
        device["iccid"]
        for answer in answers
        if answer["kind"] == "device_list"
        for device in answer["document"]["devices"]
    ]
    assert sorted(listed) == sorted(world.truth())
    assert world.count("carrier_page") == 0
    assert world.run(run_id)["archived_at"] == noon(2)
    assert world.carrier.api_key not in content


@pytest.mark.parametrize("list_limit", [ListLimit.NONE, ListLimit.END])
def test_a_list_that_the_carrier_limits_to_a_year_is_archived_as_complete_and_replayed(
    warehouse_dsn: str, tmp_path: Path, list_limit: ListLimit
) -> None:
    with archive_world(warehouse_dsn, tmp_path, as_of=AS_OF, sims=SIMS, list_limit=list_limit) as world:
        run_id = world.live(noon(2))
        assert world.run(run_id)["archived_at"] == noon(2)
        (replayed,) = world.replay(november(2))
        replay = world.run(replayed.run_id)
    assert (replay["status"], replay["devices_seen"]) == ("complete", SIMS)


def test_a_list_in_windows_that_was_read_again_without_a_page_is_replayed_with_every_sim(
    warehouse_dsn: str, tmp_path: Path
) -> None:
    # SIMs are touched while the list is read: they move to the last window, and the windows before it lose pages.
    day = ORDINARY_MOMENT.day  # the carrier touches SIMs at the simulated present
    years_ago = noon(day) - timedelta(days=1095)
    with archive_world(warehouse_dsn, tmp_path, as_of=years_ago, sims=2 * SIMS, list_limit=ListLimit.END) as world:
        touched = sorted(world.truth())[:70]
        world.carrier.add_fault(touch=touched, path="/rws/api/v1/devices", nth_call=27, times=1)
        live = world.run(world.live(noon(day)))
        content = gzip.decompress((world.archive / objects(world)[0]).read_bytes()).decode()
        (replayed,) = world.replay(november(day))
        replay = world.run(replayed.run_id)
        passes, unread = _list_pages(content)
        assert len(passes) > 1, "the list was read again"
        assert unread, "a later pass has no answer for a page of the first one"
        assert (live["devices_seen"], live["list_is_exact"]) == (2 * SIMS, True)
        columns = ("status", "devices_seen", "list_is_exact")
        assert [replay[name] for name in columns] == [live[name] for name in columns] == ["complete", 2 * SIMS, True]
        assert {row["iccid"] for row in world.history()} == set(world.truth())


def _list_pages(content: str) -> tuple[set[int], set[int]]:
    """Return the passes of an archived device list, and the pages of the first pass that the last one has not."""
    answers = [json.loads(line) for line in content.splitlines()[1:]]
    pages: dict[int, set[int]] = {}
    for answer in answers:
        if answer["kind"] == "device_list" and answer["page_number"] > 0 and answer["document"].get("devices"):
            pages.setdefault(answer["scan_pass"], set()).add(answer["page_number"])
    return set(pages), pages[min(pages)] - pages[max(pages)]


def test_a_missing_day_takes_its_share_from_the_day_after_it(world: ArchiveWorld) -> None:
    iccid = some_sim(world)
    use(world, iccid, 10)
    world.live(noon(2))
    use(world, iccid, 14)
    world.live(noon(3), merges=False)
    use(world, iccid, 20)
    world.live(noon(4))
    assert world.usage_of(iccid) == {2: 10, 4: 10}
    before = world.rows(DEVICES)
    (replayed,) = world.replay(november(3))
    assert world.usage_of(iccid) == {2: 10, 3: 4, 4: 6}
    assert sum(world.usage_of(iccid).values()) == world.devices()[iccid]["ctd_data_usage"] == 20
    assert (replayed.usage_rows, replayed.usage_date) == (1, "2026-11-03")
    assert world.rows(DEVICES) == before


def test_the_days_of_a_cycle_add_up_to_every_sims_counter_after_replays(world: ArchiveWorld) -> None:
    for day, merges in ((2, True), (3, False), (4, True), (5, False), (6, True)):
        for position, iccid in enumerate(sorted(world.truth())):
            use(world, iccid, 1000 * day + position * day)
        world.live(noon(day), merges=merges)
    world.replay(november(5))
    world.replay(november(3))
    sums: dict[str, int] = {}
    for row in world.usage():
        sums[row["iccid"]] = sums.get(row["iccid"], 0) + row["data_usage"]
    counters = {iccid: row["ctd_data_usage"] for iccid, row in world.devices().items() if row["status"] != "RETIRED"}
    assert len(counters) > SIMS / 2
    assert {iccid: sums[iccid] for iccid in counters} == counters


def test_a_replay_writes_the_same_rows_as_the_live_run_did_and_a_second_one_changes_nothing(
    world: ArchiveWorld,
) -> None:
    first, second, *_ = sorted(world.truth())
    for day in (2, 3, 4):
        use(world, first, 500 * day, communication_plan=f"CP {day}")
        use(world, second, 7 * day, sms_usage=day, status="DEACTIVATED" if day == 3 else "ACTIVATED")
        world.live(noon(day))
    history, usage = world.history(), world.usage()
    assert len(history) > SIMS and len(usage) > 4
    world.delete_history()
    for day in (2, 3, 4):
        world.replay(november(day))
    assert (world.history(), world.usage()) == (history, usage)
    versions = "SELECT xmin::text FROM amop.device_history UNION ALL SELECT xmin::text FROM amop.device_usage"
    written = world.rows(versions)
    for day in (4, 2, 3):
        world.replay(november(day))
    assert world.rows(versions) == written
    assert (world.history(), world.usage()) == (history, usage)


@pytest.mark.parametrize("order", [(4, 3, 2), (3, 2, 4), (2, 4, 3)])
def test_days_replayed_in_any_order_give_the_same_history(world: ArchiveWorld, order: tuple[int, ...]) -> None:
    iccid = some_sim(world)
    present = world.truth()[iccid]["rate_plan"]
    plans = {2: present, 3: OTHER, 4: present}
    for day in (2, 3, 4):
        use(world, iccid, 100 * day, rate_plan=plans[day])
        world.live(noon(day), merges=day == 4)
    world.delete_history()
    for day in order:
        world.replay(november(day))
    assert world.plans_of(iccid, *map(november, (2, 3, 4))) == [present, OTHER, present]


def test_a_day_that_was_read_without_a_change_keeps_its_history(world: ArchiveWorld) -> None:
    iccid = some_sim(world)
    present = world.truth()[iccid]["rate_plan"]
    world.live(noon(2))
    world.carrier.change_devices([iccid], rate_plan=OTHER)
    world.live(noon(3), merges=False)
    world.carrier.change_devices([iccid], rate_plan=present)
    world.live(noon(4))
    assert world.plans_of(iccid, november(3)) == [present]
    world.replay(november(3))
    assert world.plans_of(iccid, *map(november, (2, 3, 4, 5))) == [present, OTHER, present, present]


def test_older_data_does_not_overwrite_newer_data(world: ArchiveWorld) -> None:
    iccid = some_sim(world)
    for hour, plan, counter in ((15, "ATT 25 MB", 100), (20, "ATT 500 MB", 150)):
        use(world, iccid, counter, rate_plan=plan)
        world.live(noon(2).replace(hour=hour))
    device = world.devices()[iccid]
    morning, evening = objects(world)
    (world.archive / evening).unlink()
    (replayed,) = world.replay(november(2))
    assert f"run_{replayed.replayed_run_id}." in morning
    assert world.plans_of(iccid, november(2)) == ["ATT 500 MB"]
    assert world.usage_of(iccid) == {2: 150}
    assert world.devices()[iccid] == device
    assert (device["rate_plan"], device["ctd_data_usage"]) == ("ATT 500 MB", 150)


def test_a_live_sync_after_a_back_fill_of_its_cycle_counts_nothing_twice(world: ArchiveWorld) -> None:
    iccid = some_sim(world)
    use(world, iccid, 40)
    world.live(noon(2), merges=False)
    use(world, iccid, 70)
    world.live(noon(3), merges=False)
    world.replay(november(2))
    world.replay(november(3))
    assert not world.devices()[iccid]["is_active"]
    use(world, iccid, 100)
    world.live(noon(4))
    assert world.usage_of(iccid) == {2: 40, 3: 30, 4: 30}
    device = world.devices()[iccid]
    assert (device["is_active"], device["ctd_data_usage"]) == (True, 100)


def test_days_that_are_replayed_before_a_later_live_sync_is_merged_keep_their_usage(world: ArchiveWorld) -> None:
    iccid = some_sim(world)
    use(world, iccid, 10)
    world.live(noon(2))
    for day, counter in ((3, 40), (4, 70)):
        use(world, iccid, counter)
        world.live(noon(day), merges=False)
    use(world, iccid, 100)
    running = world.stage_at(noon(5))
    world.replay(november(4))
    world.replay(november(3))
    world.merge(running, now=noon(5))
    assert world.usage_of(iccid) == {2: 10, 3: 30, 4: 30, 5: 30}
    assert world.devices()[iccid]["ctd_data_usage"] == 100


def test_a_replayed_counter_that_the_next_live_sync_refutes_leaves_the_days_equal_to_the_counter(
    world: ArchiveWorld,
) -> None:
    iccid = some_sim(world)
    use(world, iccid, 10)
    world.live(noon(2))
    use(world, iccid, 40)
    world.live(noon(3), merges=False)
    world.replay(november(3))
    assert world.usage_of(iccid) == {2: 10, 3: 30}
    use(world, iccid, 10)
    world.live(noon(4))
    assert sum(world.usage_of(iccid).values()) == world.devices()[iccid]["ctd_data_usage"] == 10


def test_a_day_without_an_archive_replays_nothing(world: ArchiveWorld) -> None:
    world.live(noon(2))
    assert world.replay(november(3)) == []
    assert world.count("device_sync_run", "replayed_run_id IS NOT NULL") == 0


def test_the_days_of_back_fill_runs_cover_every_archived_run_once_across_a_clock_change(
    world: ArchiveWorld,
) -> None:
    # New York leaves daylight saving time on 1 November 2026.
    starts = [datetime(2026, 10, 31, 4, tzinfo=UTC) + timedelta(hours=hours) for hours in (0, 23, 24, 47, 48, 71)]
    runs = [world.live(start, merges=False) for start in starts]
    replayed = [[run.replayed_run_id for run in world.replay(date(2026, 10, 31) + timedelta(days=n))] for n in range(3)]
    assert replayed == [runs[0:2], runs[2:4], runs[4:6]]


@pytest.mark.parametrize(("is_requested", "notices"), [(False, 0), (True, 1)])
def test_amop_is_notified_of_a_replay_only_on_request_and_only_once(
    world: ArchiveWorld, is_requested: bool, notices: int
) -> None:
    world.live(noon(2), merges=False)
    (replayed,) = world.replay(november(2), notifies_amop=is_requested)
    world.replay(november(2), notifies_amop=is_requested)
    keys = [row["dedupe_key"] for row in world.rows("SELECT dedupe_key FROM amop.amop_outbox")]
    assert keys == [f"daily_sync:{replayed.run_id}:1"] * notices
    assert world.count("optimization_session") == 0


def test_a_replay_blocks_no_live_run_and_does_not_change_the_choice_of_the_next_list(
    world: ArchiveWorld,
) -> None:
    world.live(noon(2), merges=False)
    running = world.stage_at(noon(3))
    world.replay(november(2))
    world.merge(running, now=noon(3))
    assert world.run(running)["status"] == "complete"
    following = world.run(world.open("next", now=noon(4)))
    assert (following["is_full"], following["modified_since"]) == (False, noon(2))


def test_a_back_fill_in_the_dag_run_of_a_live_run_leaves_the_live_run_unchanged(
    world: ArchiveWorld,
) -> None:
    run_id = world.live(noon(2))
    live = world.run(run_id)
    (replayed,) = world.replay(november(2), dag_run_id=live["dag_run_id"])
    assert replayed.run_id != run_id
    assert world.run(run_id) == live


def test_a_replay_quarantines_the_same_records_as_the_live_run(world: ArchiveWorld) -> None:
    world.rows("UPDATE amop.service_provider SET maximum_bad_share = 1 RETURNING id")
    bad, negative, *_ = sorted(iccid for iccid, sim in world.truth().items() if sim["data_usage"])
    shared = sorted(world.truth())[-1]
    world.carrier.change_devices([shared], rate_plan="ATT Shared 2 GB")
    world.carrier.change_devices([bad], extra={"status": 17})
    world.carrier.change_devices([negative], extra={"dataUsage": -5})
    path = f"/rws/api/v1/devices/{shared}/ctdUsages"
    world.carrier.add_fault(path=path, times=None, status=404, error_message="Resource not found")
    run_id = world.live(noon(2))
    (replayed,) = world.replay(november(2))
    quarantined = "SELECT kind, record_key, raw, reason FROM amop.device_quarantine WHERE run_id = %s ORDER BY 1, 2"
    # The SIM with the bad list record is not known, so its usage is quarantined too.
    assert len(world.rows(quarantined, run_id)) == 4
    assert world.rows(quarantined, replayed.run_id) == world.rows(quarantined, run_id)


def test_a_replay_with_too_many_bad_records_is_refused_and_writes_no_history(world: ArchiveWorld) -> None:
    world.carrier.change_devices(sorted(world.truth())[:2], extra={"status": 17})
    world.live(noon(2), merges=False)
    with pytest.raises(MergeRefusedError, match=f"2 of {SIMS}"):
        world.replay(november(2))
    (run,) = world.rows("SELECT * FROM amop.device_sync_run WHERE replayed_run_id IS NOT NULL")
    assert run["status"] == "refused" and "2 of" in run["error"]
    assert (world.count("device_history"), world.count("device_usage"), world.count("device")) == (0, 0, 0)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_truncated_object_is_refused_and_nothing_is_written(world: ArchiveWorld, kept: float) -> None:
    world.live(noon(2), merges=False)
    path = world.archive / objects(world)[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ArchiveError, match="clear that task"):
        world.replay(november(2))
    assert world.count("device_history") == world.count("device_usage") == 0
    assert world.count("device_sync_run", "replayed_run_id IS NOT NULL") == 0


def test_an_object_under_the_name_of_another_provider_is_refused(world: ArchiveWorld) -> None:
    world.live(noon(2))
    path = world.archive / objects(world)[0]
    lines = gzip.decompress(path.read_bytes()).replace(b'"service_provider_id":1', b'"service_provider_id":2', 1)
    path.write_bytes(gzip.compress(lines))
    with pytest.raises(ArchiveError, match="is of provider 2 of jasper, not of 1 of jasper"):
        world.replay(november(2))


def test_history_of_an_unchanged_fleet_is_not_written_again(world: ArchiveWorld) -> None:
    world.live(noon(2))
    history, usage = world.history(), world.usage()
    world.live(noon(3), full_sync=True)
    assert len(history) == SIMS
    assert (world.history(), world.usage()) == (history, usage)


def test_an_unfinished_run_is_archived_as_incomplete_and_never_replayed(world: ArchiveWorld) -> None:
    from amop.archive.archive_run import archive_run
    from amop.device_sync import fetch

    run_id = world.open("cut", now=noon(2))
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=lambda: noon(2))
    pages = world.count("carrier_page")
    assert archive_run(world.dsn, run_id, world.archive, now=noon(2)) == pages
    assert objects(world) == [f"jasper/1/2026-11-02/20261102T150000Z_run_{run_id}.incomplete.jsonl.gz"]
    assert world.run(run_id)["archived_at"] is None
    assert world.replay(november(2)) == []


def test_the_task_of_a_run_that_may_be_resumed_leaves_its_answers_until_all_have_arrived(world: ArchiveWorld) -> None:
    from amop.archive.archive_run import archive_run
    from amop.device_sync import fetch

    run_id = world.open("usage marked as success", now=noon(2))
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        fetch.fetch_devices(world.dsn, run_id, client, clock=lambda: noon(2))
        assert archive_run(world.dsn, run_id, world.archive, only_complete=True, now=noon(2)) == 0
        fetch.fetch_usage(world.dsn, run_id, client, clock=lambda: noon(2))
    pages = world.count("carrier_page")
    assert archive_run(world.dsn, run_id, world.archive, only_complete=True, now=noon(2)) == pages > 0
    assert objects(world) == [f"jasper/1/2026-11-02/20261102T150000Z_run_{run_id}.jsonl.gz"]
    assert world.run(run_id)["archived_at"] is not None


def test_a_merge_that_is_cleared_and_repeated_leaves_history_unchanged(world: ArchiveWorld) -> None:
    run_id = world.live(noon(2))
    history, usage = world.history(), world.usage()
    world.rows(
        "UPDATE amop.device_sync_run SET status = 'running', devices_merged_at = NULL, usage_merged_at = NULL"
        " WHERE id = %s RETURNING id",
        run_id,
    )
    merge.merge_devices(world.dsn, run_id, now=noon(3))
    merge.merge_usage(world.dsn, run_id, now=noon(3))
    assert (world.history(), world.usage()) == (history, usage)
