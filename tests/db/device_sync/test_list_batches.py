"""Pages of a fast carrier are committed together, those of a slow one page by page."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from amop.carriers.errors import CarrierEmptyPageError, CarrierUnavailableError
from amop.database.statements import Statement
from amop.device_sync import fetch, list_batches
from sandbox.carrier.running import running_carrier
from tests.worlds.moments import present
from tests.worlds.sync_world import SyncWorld

SIMS = 480
PAGES = 10
FAST_PAGES = 3
TRANSACTIONS = "SELECT count(DISTINCT xmin::text) AS n FROM amop.device_sync_page WHERE run_id = %s"


class Killed(BaseException):
    """The process is ended in the middle of a task."""


class TimedClient:
    """A client whose calls take a given time of its clock; one call may fail.

    Args:
        client: the client.
        seconds: duration of each call.
        fails_at: number of the call that raises, from 1.
        error: what it raises.
    """

    def __init__(self, client: Any, seconds: float, *, fails_at: int = 0, error: BaseException | None = None) -> None:
        self._client = client
        self._seconds = seconds
        self._fails_at, self._error = fails_at, error
        self._now = present()
        self.calls = 0
        self.list_limits = client.list_limits

    def now(self) -> datetime:
        return self._now

    def consecutive_calls(self) -> Any:
        return self._client.consecutive_calls()

    def list_devices_page(self, **arguments: Any) -> Any:
        self.calls += 1
        self._now += timedelta(seconds=self._seconds)
        if self.calls == self._fails_at and self._error is not None:
            raise self._error
        return self._client.list_devices_page(**arguments)


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncWorld]:
    monkeypatch.setattr(list_batches, "FAST_PAGES", FAST_PAGES)
    with running_carrier(devices_per_account=SIMS, accounts=("jasper",), limits_are_enforced=False) as carrier:
        yield SyncWorld(warehouse_dsn, carrier)


def read_list(world: SyncWorld, run_id: int, client: TimedClient) -> int:
    return fetch.fetch_devices(world.dsn, run_id, client, clock=client.now)  # type: ignore[arg-type]


def transactions(world: SyncWorld, run_id: int) -> int:
    return int(world.rows(TRANSACTIONS, run_id)[0]["n"])


def test_pages_of_a_fast_carrier_are_committed_together_once_it_has_been_fast_for_some_pages(world: SyncWorld) -> None:
    run_id = world.open("fast")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        assert read_list(world, run_id, TimedClient(client, 0.001)) == SIMS
    assert transactions(world, run_id) == FAST_PAGES + 1
    assert world.count("device_staging") == SIMS
    assert world.count("carrier_page") == world.count("device_sync_page") == world.run(run_id)["pages"] == PAGES
    assert world.carrier.stats("api_jasper")["calls"] == PAGES


def test_a_batch_has_a_fixed_number_of_statements_and_two_for_each_page(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.open("counted")
    fetch.queue_sync(world.dsn, run_id)
    names: list[str] = []
    run, stage = Statement.__call__, list_batches.stage_fast_pages

    def noted(self: Statement[..., Any], *args: Any, **kwargs: Any) -> Any:
        names.append(self.name)
        return run(self, *args, **kwargs)

    def counted(*args: Any) -> None:
        names.clear()
        stage(*args)
        found.update(names)

    found: Counter[str] = Counter()
    monkeypatch.setattr(Statement, "__call__", noted)
    monkeypatch.setattr("amop.device_sync.list_scan.stage_fast_pages", counted)
    with world.client() as client:
        read_list(world, run_id, TimedClient(client, 0.001))
    batch = PAGES - FAST_PAGES
    assert found == {
        "carriers/lock_api_user": 1, "carriers/begin_turn": 1, "carriers/end_turn": 1, "carriers/unlock_api_user": 1,
        "device_sync/insert_list_page": batch, "device_sync/insert_carrier_page": batch, "runs/record_progress": 1,
    }  # fmt: skip


def test_one_batch_is_read_while_the_one_before_it_is_written_and_no_more(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.open("ahead")
    fetch.queue_sync(world.dsn, run_id)
    stage = list_batches._stage
    ahead: list[int] = []
    with world.client() as client:
        timed = TimedClient(client, 0.04)  # a batch has two pages

        def slow(connection: Any, run: Any, scan_pass: int, listed: Any) -> None:
            if not ahead:
                read = listed[-1].page_number + 2
                waited = threading.Event()
                for _ in range(100):
                    if timed.calls >= read:
                        break
                    waited.wait(0.05)
                waited.wait(0.2)
                ahead.append(timed.calls - listed[-1].page_number)
            stage(connection, run, scan_pass, listed)

        monkeypatch.setattr(list_batches, "_stage", slow)
        assert read_list(world, run_id, timed) == SIMS
    assert ahead == [2]
    pages = world.rows("SELECT page_number FROM amop.device_sync_page ORDER BY page_number")
    assert [row["page_number"] for row in pages] == list(range(1, PAGES + 1))


def test_a_batch_that_cannot_be_written_ends_the_read_and_none_after_it_is_written(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.open("ended")
    fetch.queue_sync(world.dsn, run_id)
    stage, numbers = list_batches._stage, []

    def broken(connection: Any, run: Any, scan_pass: int, listed: Any) -> None:
        numbers.append(listed[0].page_number)
        if len(numbers) == 2:
            raise Killed
        stage(connection, run, scan_pass, listed)

    monkeypatch.setattr(list_batches, "_stage", broken)
    with world.client() as client:
        with pytest.raises(Killed):
            read_list(world, run_id, TimedClient(client, 0.04))
        assert world.count("device_sync_page") == FAST_PAGES + 2
        monkeypatch.setattr(list_batches, "_stage", stage)
        assert read_list(world, run_id, TimedClient(client, 0.04)) == SIMS
    assert numbers == [FAST_PAGES + 1, FAST_PAGES + 3]


def test_a_batch_that_cannot_be_written_is_not_lost_behind_an_error_of_the_carrier(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: Any, run: Any, scan_pass: int, listed: Any) -> None:
        raise Killed

    run_id = world.open("both")
    fetch.queue_sync(world.dsn, run_id)
    monkeypatch.setattr(list_batches, "_stage", broken)
    with world.client() as client, pytest.raises(Killed):
        read_list(world, run_id, TimedClient(client, 0.04, fails_at=FAST_PAGES + 2, error=CarrierUnavailableError("x")))


def test_a_batch_ends_after_008_seconds(world: SyncWorld) -> None:
    run_id = world.open("medium")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        read_list(world, run_id, TimedClient(client, 0.04))
    # After three single pages: 2 + 2 + 2 pages of 0.04 seconds each, and the last one.
    assert transactions(world, run_id) == FAST_PAGES + 4


def test_each_page_of_a_slow_carrier_is_committed_when_it_has_been_received(world: SyncWorld) -> None:
    run_id = world.open("slow")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        read_list(world, run_id, TimedClient(client, 0.2))
    assert transactions(world, run_id) == PAGES


@pytest.mark.parametrize("fails_at", range(FAST_PAGES + 1, PAGES + 1))
def test_pages_that_a_terminated_process_has_received_are_committed_and_not_read_again(
    world: SyncWorld, fails_at: int
) -> None:
    run_id = world.open("killed")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        with pytest.raises(Killed):
            read_list(world, run_id, TimedClient(client, 0.001, fails_at=fails_at, error=Killed()))
        assert world.count("device_sync_page") == fails_at - 1
        assert read_list(world, run_id, TimedClient(client, 0.001)) == SIMS
    assert world.carrier.stats("api_jasper")["calls"] == PAGES
    assert world.count("device_staging") == SIMS


def test_a_page_that_stays_empty_among_fast_ones_is_handled_as_any_other(world: SyncWorld) -> None:
    run_id = world.open("gap")
    fetch.queue_sync(world.dsn, run_id)
    with world.client() as client:
        empty = CarrierEmptyPageError("empty", document={"pageNumber": 6, "devices": [], "lastPage": False})
        assert read_list(world, run_id, TimedClient(client, 0.001, fails_at=6, error=empty)) == SIMS
    # The page was empty once only: read again by itself, it has its SIMs.
    assert world.run(run_id)["list_is_exact"]
    assert world.count("device_staging") == SIMS
