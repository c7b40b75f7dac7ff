"""The archive and the back-fill under kills, races and damage: nothing is lost or duplicated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from amop.archive import archive_run as archive
from amop.archive import page_archive, replay
from amop.archive.archive_run import archive_run
from amop.archive.page_archive import ArchiveError, complete_runs, open_run
from tests.worlds.archive_world import TIME_ZONE, ArchiveWorld, archive_world, fourth_hour
from tests.worlds.reliability import RecordFault

SIMS = 60
NOON = datetime(2026, 11, 2, 15, tzinfo=UTC)
DAYS = [date(2026, 11, day) for day in range(2, 8)]


class Killed(BaseException):
    """The process is killed."""


@pytest.fixture
def world(warehouse_dsn: str, tmp_path: Path) -> Iterator[ArchiveWorld]:
    with archive_world(warehouse_dsn, tmp_path, as_of=NOON - timedelta(hours=3), sims=SIMS) as world:
        yield world


def answers_in(world: ArchiveWorld) -> list[Any]:
    start = fourth_hour(NOON.date())
    (path,) = complete_runs(
        world.archive,
        integration="jasper",
        service_provider_id=1,
        time_zone=TIME_ZONE,
        started_from=start,
        started_before=start + timedelta(days=1),
    )
    with open_run(path) as (_, pages):
        return list(pages)


def kill(patch: pytest.MonkeyPatch, module: Any, name: str, *, at_call: int = 1, is_after: bool = False) -> None:
    """Kill the process before (or after) the n-th call of a function."""
    function, calls = getattr(module, name), 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at_call and not is_after:
            raise Killed
        result = function(*arguments, **named)
        if calls == at_call:
            raise Killed
        return result

    patch.setattr(module, name, dying)


ARCHIVE_KILLS = {
    "before the object is opened": (archive, "write_run", 1, False),
    "in the middle of the object": (page_archive, "_line", 10, False),
    "after the object, before its answers are deleted": (archive, "write_run", 1, True),
}


@pytest.mark.parametrize("point", ARCHIVE_KILLS)
def test_an_archive_task_that_is_killed_and_repeated_leaves_one_complete_object(
    world: ArchiveWorld, point: str, reliability: RecordFault
) -> None:
    run_id = world.stage_at(NOON)
    answers = world.count("carrier_page")
    module, name, at_call, is_after = ARCHIVE_KILLS[point]
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, module, name, at_call=at_call, is_after=is_after)
        with pytest.raises(Killed):
            archive_run(world.dsn, run_id, world.archive, now=NOON)
    assert world.count("carrier_page") == answers
    assert archive_run(world.dsn, run_id, world.archive, now=NOON) == answers
    objects = list(world.archive.rglob("*.gz"))
    assert (len(objects), len(answers_in(world)), world.count("carrier_page")) == (1, answers, 0)
    reliability(
        fault=f"archive task killed {point}",
        injected=1,
        expected=f"1 object, {answers} answers, 0 left",
        seen=f"{len(objects)} object, {len(answers_in(world))} answers, {world.count('carrier_page')} left",
    )


def test_a_sync_killed_at_every_call_archives_every_answer_once(world: ArchiveWorld, reliability: RecordFault) -> None:
    from amop.device_sync import fetch

    class Dying:
        def __init__(self, client: Any) -> None:
            self._client, self._left = client, 1

        def __getattr__(self, name: str) -> Any:
            if name == "list_limits":
                return self._client.list_limits

            def call(*arguments: Any, **named: Any) -> Any:
                if not self._left:
                    raise Killed
                self._left -= 1
                return getattr(self._client, name)(*arguments, **named)

            return call

    run_id = world.open("killed", now=NOON)
    fetch.queue_sync(world.dsn, run_id)
    kills = 0
    with world.client() as client:
        for step in (fetch.fetch_devices, fetch.fetch_usage):
            while True:
                try:
                    step(world.dsn, run_id, Dying(client), clock=lambda: NOON)  # type: ignore[arg-type]
                    break
                except Killed:
                    kills += 1
    calls = world.carrier.stats("api_jasper")["calls"]
    archive_run(world.dsn, run_id, world.archive, now=NOON)
    questions = [(*page.question, page.scan_pass, page.page_number) for page in answers_in(world)]
    assert len(questions) == len(set(questions)) == calls
    reliability(
        fault="sync killed at every call to the carrier",
        injected=kills,
        expected=f"{calls} answers, each once",
        seen=f"{len(questions)} answers, {len(set(questions))} different",
    )


REPLAY_KILLS = {
    "while it reads the archive": ("stage_usage_page", 5, False),
    "after staging": ("_write_history", 1, False),
    "after the SIMs, before their usage": ("record_archived_usage", 1, False),
    "after history, before its end": ("check_balance", 1, True),
}


@pytest.mark.parametrize("point", REPLAY_KILLS)
def test_a_replay_that_is_killed_and_repeated_ends_like_an_undisturbed_one(
    world: ArchiveWorld, point: str, reliability: RecordFault
) -> None:
    world.live(NOON, merges=False)
    world.replay(NOON.date())
    expected = world.history(), world.usage()
    world.delete_history()
    name, at_call, is_after = REPLAY_KILLS[point]
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, replay, name, at_call=at_call, is_after=is_after)
        with pytest.raises(Killed):
            world.replay(NOON.date(), dag_run_id="killed")
    assert world.count("device_history") == world.count("device_usage") == 0
    world.replay(NOON.date(), dag_run_id="killed")
    seen = world.history(), world.usage()
    assert seen == expected
    reliability(
        fault=f"replay killed {point}",
        injected=1,
        expected=f"{sum(map(len, expected))} rows, 0 tables differ",
        seen=f"{sum(map(len, seen))} rows, {sum(a != b for a, b in zip(seen, expected, strict=True))} tables differ",
    )


def test_concurrent_replays_of_six_days_beside_a_live_run_end_like_sequential_ones(
    world: ArchiveWorld, reliability: RecordFault
) -> None:
    sims = sorted(world.truth())
    for number, day in enumerate(DAYS):
        for position, iccid in enumerate(sims[:10]):
            plan = ("ATT 25 MB", "ATT 100 MB")[(number + position) % 2]
            world.carrier.change_devices(
                [iccid], data_usage=1000 * (number + 1) + position, roaming_data_usage=0, rate_plan=plan
            )
        world.live(NOON + timedelta(days=number), merges=day == DAYS[0])
    running = world.stage_at(NOON + timedelta(days=len(DAYS)))
    start = threading.Barrier(len(DAYS) + 1)

    def at_once(work: Any, *arguments: Any, **named: Any) -> Any:
        start.wait(timeout=60)
        return work(*arguments, **named)

    with ThreadPoolExecutor(len(DAYS) + 1) as pool:
        futures = [pool.submit(at_once, world.replay, day) for day in DAYS]
        futures.append(pool.submit(at_once, world.merge, running, now=NOON + timedelta(days=len(DAYS))))
        for future in futures:
            future.result()
    seen = world.usage()
    plans = {iccid: world.plans_of(iccid, *DAYS) for iccid in sims[:10]}
    world.delete_history()
    for day in DAYS:
        world.replay(day)
    archive_run(world.dsn, running, world.archive, now=NOON)
    world.replay(DAYS[-1] + timedelta(days=1))
    different = len(set(map(str, seen)) ^ set(map(str, world.usage())))
    assert seen == world.usage()
    assert plans == {iccid: world.plans_of(iccid, *DAYS) for iccid in sims[:10]}
    counters = {iccid: row["ctd_data_usage"] for iccid, row in world.devices().items()}
    wrong = [iccid for iccid in sims[:10] if sum(world.usage_of(iccid).values()) != counters[iccid]]
    statuses = {
        row["status"] for row in world.rows("SELECT status FROM amop.device_sync_run WHERE replayed_run_id > 0")
    }
    assert (wrong, statuses, world.run(running)["status"]) == ([], {"complete"}, "complete")
    reliability(
        fault="six replays and a live merge of one provider at once",
        injected=len(futures),
        expected="0 rows differ from one after another, 0 SIMs whose days do not add up",
        seen=f"{different} rows differ, {len(wrong)} SIMs whose days do not add up",
    )


def test_an_object_truncated_anywhere_is_refused_and_writes_nothing(
    world: ArchiveWorld, reliability: RecordFault
) -> None:
    world.live(NOON, merges=False)
    (path,) = world.archive.rglob("*.gz")
    content = path.read_bytes()
    refused = written = 0
    cuts = [*range(0, len(content), max(1, len(content) // 12)), len(content) - 1]
    for cut in cuts:
        path.write_bytes(content[:cut])
        with suppress(ArchiveError):
            world.replay(NOON.date())
            continue
        refused += 1
        written += world.count("device_history") + world.count("device_usage")
    path.write_bytes(content)
    assert len(world.replay(NOON.date())) == 1
    assert (refused, written) == (len(cuts), 0)
    reliability(
        fault="truncated archive object",
        injected=len(cuts),
        expected=f"{len(cuts)} refused, 0 rows of history",
        seen=f"{refused} refused, {written} rows of history",
    )
