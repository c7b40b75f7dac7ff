"""A process that dies while it takes queue messages in: the next delivery completes what is left, once."""

from __future__ import annotations

from typing import Any

import pytest

from amop.messages.queue_message import QueueMessage
from amop.tasks.device_notification import _take
from tests.db.cli.test_cli import as_airflow_json
from tests.db.runs.test_queue_start import World, message


class Killed(BaseException):
    """The process dies."""


class Queue:
    """A queue whose reader dies at one of its steps, once."""

    url = "http://queue"

    def __init__(self, dies_at: str = "") -> None:
        self.dies_at = dies_at
        self.dead: list[str] = []
        self.deleted = 0

    def _step(self, name: str, *, done: bool) -> None:
        if self.dies_at == f"{'after' if done else 'before'} {name}":
            self.dies_at = ""
            raise Killed

    def dead_letter(self, _message: QueueMessage, reason: str) -> bool:
        self._step("dead_letter", done=False)
        self.dead.append(reason)
        self._step("dead_letter", done=True)
        return True

    def delete(self, _message: QueueMessage) -> None:
        self._step("delete", done=False)
        self.deleted += 1
        self._step("delete", done=True)


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    return World(warehouse_dsn)


def deliver(queue: Any, taken: QueueMessage, times: int) -> None:
    """Deliver a message several times, each to another run of the DAG; the first delivery's process may die."""
    for number in range(times):
        try:
            _take(queue, taken, f"run {number}")
        except Killed:
            assert number == 0


@pytest.mark.parametrize("dies_at", ["before delete", "after delete"])
def test_a_kill_around_the_deletion_leaves_one_clean_up_of_the_run_that_received_it_first(
    world: World, dies_at: str
) -> None:
    run_id = world.open_run()
    deliver(Queue(dies_at), message(ShouldQueueCarrierOptimization="true"), 3)
    (row,) = world.messages()
    assert (row["outcome"], row["run_id"], row["dag_run_id"], row["deliveries"]) == ("started", run_id, "run 0", 3)
    assert row["removed_at"] is not None
    assert len(world.rows("SELECT * FROM amop.optimization_session")) == 1


@pytest.mark.parametrize(
    ("dies_at", "copies"),
    [("before dead_letter", 1), ("after dead_letter", 2), ("before delete", 2), ("after delete", 2), ("", 1)],
)
def test_a_rejected_message_reaches_the_dead_letter_queue_whenever_the_process_dies(
    world: World, dies_at: str, copies: int
) -> None:
    queue = Queue(dies_at)
    deliver(queue, message(IntegrationType="77"), 4)
    assert len(queue.dead) == copies  # at least once: it is repeated until the deletion is recorded, never after
    assert all("IntegrationType 77" in reason for reason in queue.dead)
    assert world.messages()[0]["removed_at"] is not None


def test_a_kill_before_the_commit_leaves_nothing_and_the_next_delivery_starts_the_clean_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.open_run()

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("amop.runs.queue_start.store.add_queue_message", dies)
        _take(Queue(), message(ShouldQueueCarrierOptimization="true"), "run 0")  # type: ignore[arg-type]
    assert world.messages() == [] == world.rows("SELECT * FROM amop.optimization_session")
    deliver(Queue(), message(ShouldQueueCarrierOptimization="true"), 2)
    (row,) = world.messages()
    assert (row["run_id"], row["deliveries"]) == (run_id, 2)
    assert len(world.rows("SELECT * FROM amop.optimization_session")) == 1
