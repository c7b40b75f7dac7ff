"""The sensor and its trigger on a real warehouse: they count their own run's rows, and change none of any run."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.bases.sensor import BaseSensorOperator
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow.triggers.base import TriggerEvent
from psycopg.rows import dict_row

from amop import time_limits
from amop.database.connection import connect
from amop.device_sync.progress import staging_progress, staging_progress_of_runs
from amop.runs.opening import SyncRequest, open_runs
from amop.tasks.staging_poller import poller_of
from amop.tasks.staging_sensor import DAG_TEST_USER, StagingReadySensor, StagingReadyTrigger
from tests.db.cli.test_cli import as_airflow_json
from tests.worlds.moments import present
from tests.worlds.sandbox_reference import load_sandbox_reference

TABLES = ("device_usage_to_process", "device_staging", "device_sync_run", "optimization_session", "amop_outbox")


class World:
    """A run with an optimization session, and a run of another provider."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        load_sandbox_reference(dsn)
        self.run, self.other = (self._open(integration) for integration in ("jasper", "rogers"))
        self.sensor = StagingReadySensor(
            task_id="wait_for_staging", run=self.run, poke_interval=5, timeout=3600, deferrable=True
        )

    def _open(self, integration: str) -> dict[str, Any]:
        request = SyncRequest(integration, f"device_sync_{integration}", "monday", optimization="always")
        (run,) = open_runs(self.dsn, request, now=present())
        return {"run_id": run.run_id, "service_provider_name": run.service_provider_name}

    def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def add_work(self, run: dict[str, Any], count: int) -> None:
        self.execute(
            "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid) SELECT %s, 'device_usage',"
            " '89014103000000' || n FROM generate_series(1, %s) AS n",
            run["run_id"], count,
        )  # fmt: skip

    def complete_list(self) -> None:
        self.execute("UPDATE amop.device_sync_run SET list_is_complete = true WHERE id = %s", self.run["run_id"])

    def rows(self, *, but: str = "") -> dict[str, Any]:
        return {name: self.execute(f"SELECT * FROM amop.{name} ORDER BY 1") for name in TABLES if name != but}

    def poke(self) -> bool:
        return self.sensor.poke({})  # type: ignore[arg-type]

    def state(self) -> tuple[str, list[str]]:
        """Return the status of the run, and the errors that AMOP is to receive for its session."""
        (run,) = self.execute("SELECT status FROM amop.device_sync_run WHERE id = %s", self.run["run_id"])
        errors = self.execute("SELECT payload FROM amop.amop_outbox WHERE kind = 'error'")
        return run["status"], [row["payload"]["data"]["ErrorMessage"] for row in errors]


def context_of(user: str | None = None, *, clear_number: int = 0, fetch_has_ended: bool = False) -> dict[str, Any]:
    """Return Airflow's context of the sensor's first try, of a DAG run that was cleared this often."""
    task_instance = SimpleNamespace(
        try_number=1,
        max_tries=0,
        map_index=0,
        get_first_reschedule_date=lambda _context: None,
        get_ti_count=lambda **_: int(fetch_has_ended),
    )
    return {
        "dag_run": SimpleNamespace(dag_id="d", run_id="r", triggering_user_name=user, clear_number=clear_number),
        "ti": task_instance,
        "task": SimpleNamespace(retries=0),
    }


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    return World(warehouse_dsn)


def test_it_waits_for_the_list_and_for_its_own_rows_and_is_ready_at_0(world: World) -> None:
    world.add_work(world.other, 3)
    before = world.rows()
    assert world.poke() is False  # nothing is left, but the list is not complete
    world.complete_list()
    assert world.poke() is True  # the rows of the other run do not count
    world.add_work(world.run, 1)
    assert world.poke() is False
    world.execute("DELETE FROM amop.device_usage_to_process WHERE run_id = %s", world.run["run_id"])
    assert world.poke() is True
    assert world.rows(but="device_sync_run") == {name: before[name] for name in TABLES if name != "device_sync_run"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("status = 'failed', error = 'no key', ended_at = now()", r"the sync of run \d+ failed: no key"),
        ("status = 'refused', error = 'held', ended_at = now()", r"the sync of run \d+ refused: held"),
        ("progress_at = clock_timestamp() - interval '31 minutes'", r"no progress for 30 minutes \(2 work rows left"),
    ],
)
def test_it_fails_with_the_sync_and_deletes_no_row(world: World, change: str, reason: str) -> None:
    world.add_work(world.run, 2)
    world.add_work(world.other, 3)
    world.complete_list()
    world.execute(f"UPDATE amop.device_sync_run SET {change} WHERE id = %s", world.run["run_id"])
    work = world.execute("SELECT * FROM amop.device_usage_to_process ORDER BY id")
    with pytest.raises(AirflowFailException, match=rf"AT&T Control Center: .*{reason}"):
        world.poke()
    assert world.execute("SELECT * FROM amop.device_usage_to_process ORDER BY id") == work
    (other,) = world.execute("SELECT status FROM amop.device_sync_run WHERE id = %s", world.other["run_id"])
    assert other == {"status": "running"}


def test_a_sync_without_progress_ends_with_one_error_for_amop(world: World) -> None:
    world.execute("UPDATE amop.device_sync_run SET progress_at = clock_timestamp() - interval '31 minutes'")
    for _ in range(2):
        with pytest.raises(AirflowFailException):
            world.poke()
    status, errors = world.state()
    assert status == "failed"
    assert len(errors) == 1 and "has made no progress for 30 minutes" in errors[0]


def test_the_end_of_its_own_time_ends_the_run_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(*_: object, **__: object) -> None:
        raise AirflowSensorTimeout

    monkeypatch.setattr(BaseSensorOperator, "execute", times_out)
    world.sensor.deferrable = False
    with pytest.raises(AirflowFailException, match="is not complete after 1 hours of waiting"):
        world.sensor.execute(context_of())  # type: ignore[arg-type]
    assert world.state()[0] == "failed" and len(world.state()[1]) == 1


def test_the_end_of_the_triggers_time_ends_the_run_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(*_: object, **__: object) -> None:
        raise AirflowSensorTimeout from TaskDeferralTimeout("Trigger timeout")

    monkeypatch.setattr(BaseSensorOperator, "resume_execution", times_out)
    with pytest.raises(AirflowFailException, match="is not complete after 1 hours of waiting"):
        world.sensor.resume_execution("__fail__", {"error": "timeout"}, {})  # type: ignore[arg-type]
    assert world.state()[0] == "failed"


def test_it_defers_under_a_triggerer_and_reschedules_in_dags_test(world: World) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        world.sensor.execute(context_of("operator"))  # type: ignore[arg-type]
    trigger = deferred.value.trigger
    assert isinstance(trigger, StagingReadyTrigger)
    assert (trigger.run_id, trigger.poll_seconds, trigger.limit_seconds) == (
        world.run["run_id"], 1, time_limits.NO_PROGRESS.total_seconds(),
    )  # fmt: skip
    assert (deferred.value.method_name, deferred.value.timeout) == ("resume", timedelta(hours=1))
    assert (trigger.max_tries, trigger.delay_seconds, trigger.waiting_since) == (None, 300, None)
    with pytest.raises(AirflowRescheduleException):
        world.sensor.execute(context_of(DAG_TEST_USER))  # type: ignore[arg-type]


def test_it_fails_at_once_with_a_run_that_failed_before_it_started(world: World) -> None:
    world.execute("UPDATE amop.device_sync_run SET status = 'failed', error = 'no key', ended_at = now()")
    with pytest.raises(AirflowFailException, match=r"run \d+ is failed: no key"):
        world.sensor.execute(context_of())  # type: ignore[arg-type]
    assert world.state()[0] == "failed"


def test_it_waits_again_for_a_failed_run_once_an_operator_has_cleared_it(world: World) -> None:
    world.execute("UPDATE amop.device_sync_run SET status = 'failed', error = 'no key', ended_at = now()")
    with pytest.raises(TaskDeferred):
        world.sensor.execute(context_of(clear_number=1))  # type: ignore[arg-type]
    assert world.state()[0] == "running"
    world.execute("UPDATE amop.device_sync_run SET status = 'failed', error = 'no key', ended_at = now()")
    with pytest.raises(AirflowFailException, match="no key"):  # that clear is used up
        world.sensor.execute(context_of(clear_number=1))  # type: ignore[arg-type]


def test_a_sensor_that_was_cleared_with_another_provider_does_not_resume_its_own(world: World) -> None:
    world.execute("UPDATE amop.device_sync_run SET status = 'failed', error = 'no key', ended_at = now()")
    with pytest.raises(AirflowFailException, match=r"failed: no key. To resume it, clear its failed fetch task"):
        world.sensor.execute(context_of(clear_number=1, fetch_has_ended=True))  # type: ignore[arg-type]
    assert world.state()[0] == "failed"


def test_it_succeeds_at_once_for_a_run_that_is_complete(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.execute("UPDATE amop.device_sync_run SET status = 'complete', ended_at = now()")
    world.sensor.execute(context_of(clear_number=1))  # type: ignore[arg-type]
    assert "is already complete, nothing to do" in caplog.text
    assert world.state() == ("complete", [])


async def _first(trigger: StagingReadyTrigger) -> TriggerEvent:
    return await anext(trigger.run())


def test_the_trigger_survives_its_serialization_and_yields_the_outcome_once(world: World) -> None:
    path, arguments = StagingReadyTrigger(world.run["run_id"], "amop_warehouse", 0.05, 1800.0).serialize()
    assert path == "amop.tasks.staging_sensor.StagingReadyTrigger"
    trigger = StagingReadyTrigger(**json.loads(json.dumps(arguments)))

    async def events() -> list[dict[str, str]]:
        found = []
        waiting: asyncio.Task[TriggerEvent] = asyncio.create_task(_first(trigger))
        await asyncio.sleep(0.3)
        assert not waiting.done()  # the list is not complete
        world.complete_list()
        found.append((await asyncio.wait_for(waiting, 10)).payload)
        world.execute(
            "UPDATE amop.device_sync_run SET status = 'failed', error = 'no key' WHERE id = %s", world.run["run_id"]
        )
        found += [event.payload async for event in trigger.run()]
        return found

    ready, failed = asyncio.run(events())
    assert (ready["state"], failed["state"]) == ("ready", "failed")
    world.sensor.resume({}, ready)  # type: ignore[arg-type]
    with pytest.raises(AirflowFailException, match="no key"):
        world.sensor.resume({}, failed)  # type: ignore[arg-type]


def test_the_params_of_the_run_limit_the_wait_and_those_of_its_message_come_first(world: World) -> None:
    began = present() - timedelta(seconds=61)
    context: Any = {
        "dag_run": SimpleNamespace(triggering_user_name="operator", clear_number=0),
        "ti": SimpleNamespace(start_date=began, try_number=1, max_tries=3),
        "task": world.sensor,
        "params": {"max_tries": 7, "delay": 10, "no_progress_limit": None},
    }
    with pytest.raises(TaskDeferred) as deferred:
        world.sensor.execute(context)
    trigger: Any = deferred.value.trigger
    assert (trigger.limit_seconds, trigger.max_tries, trigger.delay_seconds) == (None, 7, 10)
    assert trigger.waiting_since == began.isoformat()
    world.add_work(world.run, 2)
    work = world.execute("SELECT * FROM amop.device_usage_to_process ORDER BY id")
    world.sensor.run = world.run | {"wait": {"max_tries": 6}}
    with pytest.raises(AirflowFailException, match=r"not complete after 6 tries, 10 seconds apart \(2 work rows left"):
        world.sensor.execute(context)
    assert world.execute("SELECT * FROM amop.device_usage_to_process ORDER BY id") == work
    status, errors = world.state()
    assert status == "failed" and len(errors) == 1 and "after 6 tries" in errors[0]


@pytest.mark.parametrize(
    ("integration", "left"),
    [("jasper", 4), ("thingspace", 4), ("pond", 2), ("ebonding", 2), ("teal", 2), ("telegence", 1)],
)
def test_the_family_decides_which_work_rows_count(world: World, integration: str, left: int) -> None:
    world.complete_list()
    world.execute(
        "UPDATE amop.service_provider SET integration_id = (SELECT id FROM amop.integration WHERE name = %s)"
        " WHERE id = (SELECT service_provider_id FROM amop.device_sync_run WHERE id = %s)",
        integration, world.run["run_id"],
    )  # fmt: skip
    for iccid, retries, is_deleted in [("1", 0, False), ("2", 4, True), ("3", 5, True), ("4", 5, False)]:
        world.execute(
            "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid, retry_count, is_deleted)"
            " VALUES (%s, 'device_usage', %s, %s, %s)",
            world.run["run_id"], iccid, retries, is_deleted,
        )  # fmt: skip
    with connect(world.dsn) as connection:
        progress = staging_progress(connection, world.run["run_id"])
    assert progress is not None
    assert (progress.work_rows_left, world.poke()) == (left, False)


def test_all_sensors_of_a_triggerer_share_one_connection_and_one_query(world: World) -> None:
    async def wait_for(count: int) -> tuple[int, int, list[Any]]:
        poller = poller_of(world.dsn)
        queries: list[int] = []

        async def counted(connection: Any, run_ids: Any) -> Any:
            queries.append(len(run_ids))
            return await staging_progress_of_runs(connection, run_ids)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("amop.tasks.staging_poller.staging_progress_of_runs", counted)
            asked = [world.run["run_id"], world.other["run_id"], 999]
            answers = await asyncio.gather(*(poller.progress(asked[number % 3]) for number in range(count)))
        open_now = world.execute(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'amop wait_for_staging'"
            " AND datname = current_database()"
        )
        assert poller_of(world.dsn) is poller
        return open_now[0]["n"], len(queries), answers

    connections, queries, answers = asyncio.run(wait_for(60))
    assert (connections, queries) == (1, 1)
    assert [answer and answer.run_id for answer in answers[:3]] == [world.run["run_id"], world.other["run_id"], None]


def test_a_warehouse_that_is_away_is_an_error_of_every_poll_and_the_next_one_connects_again(world: World) -> None:
    async def lose_it() -> Any:
        poller = poller_of(world.dsn)
        assert await poller.progress(world.run["run_id"]) is not None
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'amop wait_for_staging'"
            " AND datname = current_database()"
        )
        with pytest.raises(psycopg.OperationalError):
            await poller.progress(world.run["run_id"])
        return await poller.progress(world.run["run_id"])

    assert asyncio.run(lose_it()).run_id == world.run["run_id"]
