"""Messages of other systems on the device notification queue: each has one effect, and an unusable one a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from amop import ids, time_limits
from amop.database.connection import connect
from amop.maintenance.watchdog import end_stale_work
from amop.messages.queue_message import QueueMessage
from amop.messages.store import started_runs
from amop.runs.queue_start import Outcome, Taken, mark_removed, take_message
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference

OPEN_RUN = """
INSERT INTO amop.device_sync_run (service_provider_id, dag_id, dag_run_id, billing_period_id, is_full)
SELECT provider.id, 'device_notification', %s, period.id, true
FROM amop.service_provider AS provider
JOIN amop.integration AS integration ON integration.id = provider.integration_id
JOIN amop.billing_period AS period ON period.service_provider_id = provider.id
WHERE integration.name = 'jasper' AND period.cycle_start <= now() AND period.cycle_end > now()
RETURNING id
"""


class World:
    """A warehouse, and a provider of jasper whose staging the existing system fills."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        load_sandbox_reference(dsn)

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def open_run(self, key: str = "monday") -> int:
        return int(self.rows(OPEN_RUN, key)[0]["id"])

    def take(self, message: QueueMessage, dag_run_id: str = "first") -> Taken:
        return take_message(self.dsn, message, dag_run_id=dag_run_id, now=present())

    def messages(self) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM amop.queue_message ORDER BY message_id")


@pytest.fixture
def world(warehouse_dsn: str) -> World:
    return World(warehouse_dsn)


def message(message_id: str = "m1", /, **attributes: str | None) -> QueueMessage:
    """Return the message of the existing system for provider 1, with other attributes; None leaves one out."""
    given: dict[str, str | None] = {
        "IntegrationType": "2", "ServiceProviderId": "1", "RetryCount": "0", "MaxRetries": "14",
        "DelayBetweenRetries": "300", "RemainingRowsToProcess": "5", "ShouldQueueCarrierOptimization": "false",
        "OptimizationSessionId": "0",
    }  # fmt: skip
    texts = {name: text for name, text in (given | attributes).items() if text is not None}
    return QueueMessage(message_id, "receipt", "{}", texts, present())


def test_five_deliveries_in_two_dag_runs_start_one_clean_up(world: World) -> None:
    run_id = world.open_run()
    taken = [world.take(message(), "first") for _ in range(3)] + [world.take(message(), "second") for _ in range(2)]
    assert taken == [Taken(Outcome.STARTED, run_id=run_id)] * 5
    (row,) = world.messages()
    assert (row["outcome"], row["run_id"], row["deliveries"], row["dag_run_id"]) == ("started", run_id, 5, "first")
    with connect(world.dsn) as connection:
        first, second = (started_runs(connection, dag_run_id=name) for name in ("first", "second"))
    assert [(run.run_id, run.max_tries, run.delay_seconds) for run in first] == [(run_id, 14, 300)]
    assert second == []


def test_deliveries_at_the_same_moment_have_one_effect(world: World) -> None:
    world.open_run()
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: world.take(message(f"m{number % 4}"), f"run {number}"), range(8)))
    outcomes = [row["outcome"] for row in world.messages()]
    assert sorted(outcomes) == ["ignored", "ignored", "ignored", "started"]
    assert sum(one.outcome == Outcome.STARTED for one in taken) == 2  # the message that started it, twice
    assert [row["deliveries"] for row in world.messages()] == [2, 2, 2, 2]


def test_another_message_for_the_same_run_is_ignored_and_names_the_first(world: World) -> None:
    run_id = world.open_run()
    world.take(message("m1"))
    assert world.take(message("m2")) == Taken(
        Outcome.IGNORED, f"the clean-up of run {run_id} was started by message m1"
    )


def test_a_message_that_comes_after_its_run_has_ended_is_ignored(world: World) -> None:
    run_id = world.open_run()
    early = replace(message(), sent_at=present() - timedelta(minutes=5))
    world.rows("UPDATE amop.device_sync_run SET status = 'complete', ended_at = now() WHERE id = %s", run_id)
    assert world.take(early) == Taken(Outcome.IGNORED, f"run {run_id} has ended as complete meanwhile")


def test_our_own_messages_start_nothing(world: World) -> None:
    world.open_run()
    assert world.take(message(Source="airflow")).outcome == Outcome.IGNORED
    assert world.take(message("m2", Source="lambda")).outcome == Outcome.STARTED


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"IntegrationType": None}, "message attribute IntegrationType is missing"),
        ({"IntegrationType": "77"}, "IntegrationType 77 is the integration_type of no integration"),
        ({"IntegrationType": "Jasper"}, "message attribute IntegrationType is 'Jasper'; allowed: a number"),
        ({"IntegrationType": "12"}, "ServiceProviderId 1 is not a service provider of integration rogers"),
        ({"ServiceProviderId": None}, "message attribute ServiceProviderId is missing"),
        ({"ServiceProviderId": "999"}, "ServiceProviderId 999 is not a service provider of integration jasper"),
        ({"MaxRetries": "9999"}, "MaxRetries 9999 and DelayBetweenRetries 300 are a wait of"),
        ({"DelayBetweenRetries": "0"}, "allowed: more than 0"),
        ({"ShouldQueueCarrierOptimization": "maybe"}, "ShouldQueueCarrierOptimization is 'maybe'; allowed: true or"),
        (
            {"ShouldQueueCarrierOptimization": "true", "OptimizationSessionId": "41"},
            "OptimizationSessionId 41 is not a running session of service provider 1",
        ),
    ],
)
def test_a_poison_message_is_rejected_with_its_reason_and_changes_nothing(
    world: World, attributes: dict[str, str | None], reason: str
) -> None:
    world.open_run()
    taken = world.take(message(**attributes))
    assert taken.outcome == Outcome.REJECTED and reason in str(taken.reason)
    assert world.take(message(**attributes)) == taken  # not settled: it may not be in the dead-letter queue yet
    mark_removed(world.dsn, "m1", now=present())
    assert world.take(message(**attributes)).is_settled
    assert world.rows("SELECT * FROM amop.optimization_session") == []


def test_without_an_open_staging_a_message_is_rejected(world: World) -> None:
    taken = world.take(message())
    assert taken.outcome == Outcome.REJECTED
    assert "no staging of service provider 1 is open" in str(taken.reason)
    assert "docs/staging-contract.md" in str(taken.reason)


def test_the_tries_that_are_used_up_already_do_not_count_again(world: World) -> None:
    world.open_run()
    world.take(message(RetryCount="5", DelayBetweenRetries="60"))
    (row,) = world.messages()
    assert (row["max_tries"], row["delay_seconds"]) == (9, 60)


@pytest.mark.parametrize("named", [False, True])
def test_flag_and_session_are_stored_with_the_first_delivery(world: World, named: bool) -> None:
    run_id = world.open_run()
    session = "0"
    if named:
        (row,) = world.rows(
            "INSERT INTO amop.optimization_session (service_provider_id, billing_period_id, opened_by)"
            " SELECT service_provider_id, billing_period_id, 'existing' FROM amop.device_sync_run WHERE id = %s"
            " RETURNING id", run_id,
        )  # fmt: skip
        session = str(row["id"])
    asked = message(ShouldQueueCarrierOptimization="True", OptimizationSessionId=session)
    for _ in range(3):
        world.take(asked)
    (run,) = world.rows("SELECT optimization_session_id FROM amop.device_sync_run WHERE id = %s", run_id)
    (found,) = world.rows("SELECT id, progress, opened_by FROM amop.optimization_session")
    assert run["optimization_session_id"] == found["id"]
    assert (found["progress"], found["opened_by"]) == (20, "existing" if named else "device_notification/m1")
    assert world.messages()[0]["should_optimize"] is True


def test_an_integration_that_is_not_optimized_gets_no_session(world: World) -> None:
    world.open_run()
    world.rows("UPDATE amop.integration SET supports_optimization = false WHERE name = 'jasper'")
    assert world.take(message(ShouldQueueCarrierOptimization="true")).outcome == Outcome.STARTED
    assert world.rows("SELECT * FROM amop.optimization_session") == []


def test_the_watchdog_waits_as_long_as_the_message_says(world: World) -> None:
    run_id = world.open_run()
    world.take(message(ShouldQueueCarrierOptimization="true"))

    def status_after(minutes: float) -> tuple[str, str]:
        moment = present() + timedelta(minutes=minutes)
        world.rows(
            "INSERT INTO amop.watchdog (checked_at, watching_since) VALUES (%s, %s) ON CONFLICT (only_row)"
            " DO UPDATE SET checked_at = excluded.checked_at, watching_since = excluded.watching_since",
            moment - timedelta(minutes=5), moment - timedelta(days=1),
        )  # fmt: skip
        end_stale_work(world.dsn, now=moment, is_queued=lambda *_: False)
        (run,) = world.rows("SELECT status FROM amop.device_sync_run WHERE id = %s", run_id)
        (session,) = world.rows("SELECT status FROM amop.optimization_session")
        return run["status"], session["status"]

    stale = time_limits.STALE_AFTER / timedelta(minutes=1)
    assert status_after(stale + 1) == ("running", "running")
    assert status_after(70 + stale - 1) == ("running", "running")  # 14 tries, 5 minutes apart
    assert status_after(70 + stale + 1) == ("failed", "failed")


def test_runs_of_the_daily_dag_are_not_those_of_a_message(world: World) -> None:
    world.open_run()
    world.rows("UPDATE amop.device_sync_run SET dag_id = 'device_sync_jasper'")
    assert world.take(message()).outcome == Outcome.REJECTED
    assert ids.DEVICE_NOTIFICATION_DAG == "device_notification"
