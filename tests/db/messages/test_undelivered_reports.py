"""Reports that could not be delivered: recorded once, delivered in the background, given up when they are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from amop.messages.store import ClaimedReport
from amop.messages.undelivered_reports import (
    EXPIRES_AFTER,
    ReportDelivery,
    ReportGoneError,
    ReportKind,
    deliver_reports,
    record_undelivered,
)
from tests.worlds.watchdog_world import WatchdogWorld

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
LIMIT = timedelta(minutes=2)


@pytest.fixture
def world(warehouse_dsn: str) -> WatchdogWorld:
    return WatchdogWorld(warehouse_dsn)


class Receiver:
    """Takes reports, or refuses them for as long as it is away."""

    def __init__(self) -> None:
        self.received: list[tuple[str, int | None]] = []
        self.error: Exception | None = None

    def take(self, report: ClaimedReport) -> None:
        """Take a report.

        Raises:
            Exception: the receiver is away.
        """
        if self.error is not None:
            raise self.error
        self.received.append((report.kind, report.run_id))

    @property
    def deliveries(self) -> Mapping[ReportKind, Callable[[ClaimedReport], None]]:
        """The functions of the relay."""
        return dict.fromkeys(ReportKind, self.take)


def waiting_reports(world: WatchdogWorld) -> int:
    """Return the number of undelivered reports."""
    return len(world.rows("SELECT id FROM amop.undelivered_report"))


def deliver(world: WatchdogWorld, receiver: Receiver, now: datetime) -> ReportDelivery:
    """Run the relay once at a moment."""
    return deliver_reports(world.dsn, receiver.deliveries, now=lambda: now, limit=LIMIT)


def test_a_report_is_delivered_once_after_its_receiver_is_back(world: WatchdogWorld) -> None:
    run_id, receiver = world.open_sync("monday"), Receiver()
    for _ in range(2):  # the task was repeated
        record_undelivered(world.dsn, ReportKind.SYNC_LOG, OSError("no such bucket"), run_id=run_id, now=NOW)
    assert deliver(world, receiver, NOW + timedelta(seconds=59)) == ReportDelivery(0, 0, 0)
    receiver.error = ConnectionError("still away")
    assert deliver(world, receiver, NOW + timedelta(seconds=60)) == ReportDelivery(0, 1, 0)
    (waiting,) = world.rows("SELECT error, attempts, next_attempt_at FROM amop.undelivered_report")
    assert waiting == {
        "error": "still away", "attempts": 2, "next_attempt_at": NOW + timedelta(seconds=60 + 120),
    }  # fmt: skip
    receiver.error = None
    assert deliver(world, receiver, NOW + timedelta(minutes=3)) == ReportDelivery(1, 0, 0)
    assert deliver(world, receiver, NOW + timedelta(hours=3)) == ReportDelivery(0, 0, 0)
    assert receiver.received == [("sync_log", run_id)]
    assert waiting_reports(world) == 0


def test_an_undelivered_report_is_a_warning_of_its_run_that_does_not_question_the_data(world: WatchdogWorld) -> None:
    run_id = world.open_sync("monday")
    for _ in range(2):
        record_undelivered(world.dsn, ReportKind.NOTIFICATION, OSError("queue away"), run_id=run_id, now=NOW)
    run = world.run(run_id)
    assert run["report_warnings"] == [
        "the queue message (SQS) could not be delivered, amop_relay tries again: queue away"
    ]
    assert (run["status"], run["warnings"]) == ("running", [])


def test_the_reports_of_one_run_wait_for_each_other_no_longer_than_one_attempt(world: WatchdogWorld) -> None:
    run_id, receiver = world.open_sync("monday"), Receiver()
    for kind in (ReportKind.SYNC_LOG, ReportKind.NOTIFICATION, ReportKind.ARCHIVE):
        record_undelivered(world.dsn, kind, OSError("away"), run_id=run_id, now=NOW)

    def refuse(_report: ClaimedReport) -> None:
        raise OSError("no such bucket")

    deliveries = {**receiver.deliveries, ReportKind.SYNC_LOG: refuse}
    moment = NOW + timedelta(minutes=1)
    assert deliver_reports(world.dsn, deliveries, now=lambda: moment, limit=LIMIT) == ReportDelivery(2, 1, 0)
    assert {kind for kind, _ in receiver.received} == {"notification", "archive"}


@pytest.mark.parametrize("error", [ReportGoneError("its staging has expired"), OSError("no such bucket")])
def test_a_report_that_is_gone_or_a_week_old_is_given_up(world: WatchdogWorld, error: Exception) -> None:
    run_id, receiver = world.open_sync("monday"), Receiver()
    record_undelivered(world.dsn, ReportKind.SYNC_LOG, OSError("no such bucket"), run_id=run_id, now=NOW)
    receiver.error = error
    assert deliver(world, receiver, NOW + EXPIRES_AFTER).given_up == 1
    assert waiting_reports(world) == 0


def test_a_delivery_begins_no_report_after_its_time_is_over(world: WatchdogWorld) -> None:
    run_id, receiver = world.open_sync("monday"), Receiver()
    for kind in (ReportKind.SYNC_LOG, ReportKind.NOTIFICATION):
        record_undelivered(world.dsn, kind, OSError("away"), run_id=run_id, now=NOW)
    moments = iter(NOW + timedelta(minutes=minutes) for minutes in (1, 1, 1, 4, 4, 4, 4))
    result = deliver_reports(world.dsn, receiver.deliveries, now=lambda: next(moments), limit=LIMIT)
    assert result == ReportDelivery(1, 0, 0)
    assert waiting_reports(world) == 1
