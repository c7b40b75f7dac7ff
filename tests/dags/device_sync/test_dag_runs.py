"""Both DAGs in one process by ``dag.test()``: real carrier, AMOP, AWS emulator, PostgreSQL; no scheduler."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.utils.session import create_session
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import func, select

from amop import ids, time_limits
from amop.carriers import circuit_breaker
from amop.database.connection import transaction
from amop.database.migrations import migrate
from amop.reference.billing_periods import ensure_billing_period
from amop.runs.sessions import open_session
from amop.tasks.staging_sensor import StagingReadyTrigger
from amop.what_if.plan_table import write_plan_table
from sandbox.world.aws_resources import ARCHIVE_BUCKET, ARCHIVE_PATH, BUCKET, QUEUE, aws_client
from tests.db.cli.test_cli import as_airflow_json
from tests.db.savings.test_realised_savings import FINAL, Period
from tests.db.what_if.test_what_if import LARGE, SMALL, WhatIfWorld
from tests.worlds.findings_world import FindingsWorld
from tests.worlds.reliability import RecordFault

if TYPE_CHECKING:
    from sandbox.world.postgres import EmbeddedPostgres

from tests.worlds.dag_world import CANARY, SIMS, TOKEN, Day
from tests.worlds.moments import machine_time


def test_a_day_from_the_carrier_to_amops_hundred_percent(
    day: Day, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In one test only: a process keeps the file system of a connection, and every test has its own AWS.
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_ARCHIVE_PATH", ARCHIVE_PATH)
    run = day.run("device_sync_jasper", optimization="always")
    assert run.state == "success"
    session = day.rows("SELECT * FROM amop.optimization_session")[0]
    sync = day.rows("SELECT * FROM amop.device_sync_run")[0]
    assert (sync["status"], sync["devices_inserted"], session["progress"]) == ("complete", SIMS, 20)

    optimization = day.run(
        "carrier_optimization_jasper", service_provider_id=1, optimization_session_id=session["id"],
        billing_period_id=session["billing_period_id"],
    )  # fmt: skip
    assert optimization.state == "success"
    (told,) = day.amop.sessions().values()
    assert told["progress"] == [0, 20, 30, 40, 50, 100]
    assert (told["errors"], told["order_errors"]) == ([], [])
    assert len(day.amop.messages("daily_sync")) == 1

    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["run_status"] == "complete_with_success"
    assert instance["lower_bound"] <= instance["total_cost"] <= min(instance["current_cost"], instance["base_cost"])
    (sums,) = day.rows("SELECT sum(from_cost) AS f, sum(to_cost) AS t FROM amop.optimization_device_result")
    assert (sums["f"], sums["t"]) == (instance["current_cost"], instance["total_cost"])

    sqs, s3 = aws_client("sqs", day.aws), aws_client("s3", day.aws)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"])["run_id"] for message in messages] == [sync["id"]]
    log_file = s3.get_object(Bucket=BUCKET, Key=f"device_sync/jasper/1/sync_log_{sync['id']}.csv")["Body"].read()
    assert len(log_file.splitlines()) == SIMS + 1
    (history,) = s3.list_objects_v2(Bucket=BUCKET, Prefix="device_history/jasper/1/")["Contents"]
    assert re.fullmatch(r".*/DeviceHistory_AT_T_Control_Center_\d{14}\.csv", history["Key"])
    assert len(s3.get_object(Bucket=BUCKET, Key=history["Key"])["Body"].read().splitlines()) == SIMS + 1
    (archived,) = s3.list_objects_v2(Bucket=ARCHIVE_BUCKET)["Contents"]
    assert archived["Key"].startswith("carrier/jasper/1/") and archived["Key"].endswith(f"_run_{sync['id']}.jsonl.gz")
    answers = gzip.decompress(s3.get_object(Bucket=ARCHIVE_BUCKET, Key=archived["Key"])["Body"].read()).decode()
    assert len(answers.splitlines()) == 1 + day.carrier.stats("api_jasper")["calls"]
    assert day.rows("SELECT * FROM amop.carrier_page") == []
    for secret in (CANARY, TOKEN):
        assert secret not in caplog.text
        assert secret not in str(day.amop.messages()) + str(messages) + log_file.decode() + answers


def test_a_wrong_api_key_fails_the_provider_and_tells_amop_once(day: Day) -> None:
    day.carrier.reject_api_key("api_jasper")
    run = day.run("device_sync_jasper", optimization="always")
    assert run.state == "failed"
    (sync,) = day.rows("SELECT * FROM amop.device_sync_run")
    assert sync["status"] == "failed"
    assert "connection carrier_jasper" in sync["error"]
    assert "AT&T Control Center" in sync["error"]
    assert day.rows("SELECT * FROM amop.device") == []
    (told,) = day.amop.sessions().values()
    assert told["progress"] == [0, 20]
    assert len(told["errors"]) == 1
    assert told["order_errors"] == []
    assert day.amop.messages("daily_sync") == []
    assert day.carrier.stats("api_jasper")["calls"] == 1
    tables = ("device_sync_run", "optimization_session", "amop_outbox")
    assert CANARY not in "".join(str(day.rows(f"SELECT * FROM amop.{table}")) for table in tables)


def test_no_active_provider_is_a_success_with_nothing_to_do(day: Day) -> None:
    with psycopg.connect(day.dsn) as connection:
        connection.execute("UPDATE amop.service_provider SET is_active = false")
    run = day.run("device_sync_jasper")
    assert run.state == "success"
    assert day.rows("SELECT * FROM amop.device_sync_run") == []


def test_the_relay_delivers_what_amop_did_not_take(day: Day) -> None:
    day.amop.fail(503, times=None)
    assert day.run("device_sync_jasper").state == "success"
    assert day.amop.messages() == []
    day.amop.recover()
    with psycopg.connect(day.dsn) as connection:
        connection.execute("UPDATE amop.amop_outbox SET next_attempt_at = now() - interval '1 second'")
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    assert len(day.amop.messages("daily_sync")) == 1


def test_a_closed_period_gets_its_realised_saving_once(
    warehouse_dsn: str, dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    dag = dags[ids.REALISED_SAVINGS_DAG]
    assert dag.test().state == "success"  # nothing to measure
    period = Period(warehouse_dsn)
    period.add_sim("1", "Tracking", "Large", 8, **FINAL)
    period.optimize()
    period.apply("1")
    period.close(sim_1=12)
    years = "interval '5 years'"  # the DAG reads the clock
    period.execute(
        f"UPDATE amop.billing_period SET cycle_start = cycle_start - {years}, cycle_end = cycle_end - {years}"
    )
    period.execute(f"UPDATE amop.rate_plan_change SET applied_at = applied_at - {years}")
    period.execute(f"UPDATE amop.optimization_instance SET usage_as_of = usage_as_of - {years}")
    assert dag.test().state == "success"
    rows = period.execute("SELECT * FROM amop.realised_saving")
    assert [(row["forecast_saving"], row["realised_saving"]) for row in rows] == [(4, 2)]
    assert dag.test().state == "success"
    assert period.execute("SELECT * FROM amop.realised_saving") == rows


def test_the_findings_of_a_sync_are_stored_once(
    warehouse_dsn: str, dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    dag = dags[ids.FINDINGS_DAG]
    assert dag.test().state == "success"  # no provider to check
    world = FindingsWorld(warehouse_dsn)
    world.add_plans()
    world.add_device("1", "Small 30")
    assert dag.test().state == "success"
    assert world.found() == {("no_usage", "1")}
    rows = world.findings()
    assert dag.test().state == "success"  # the sync was checked already
    assert world.findings() == rows


def test_a_what_if_is_computed_for_the_form_of_its_run(
    warehouse_dsn: str, dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AMOP_WAREHOUSE", as_airflow_json(warehouse_dsn))
    world = WhatIfWorld(warehouse_dsn)
    form = {"service_provider_id": 1, "rate_plans": write_plan_table([SMALL, LARGE]), "ladder_size": None}
    run = dags[ids.what_if_dag("jasper")].test(run_conf=form)
    assert run.state == "success"
    (row,) = world.execute("SELECT * FROM amop.what_if")
    assert (row["dag_run_id"], row["status"], row["new_cost"]) == (run.run_id, "complete", 18)
    assert dags[ids.what_if_dag("rogers")].test(run_conf=form).state == "failed"  # not a provider of Rogers


def test_a_message_that_amop_refuses_fails_one_run_of_the_relay_and_no_later_one(day: Day) -> None:
    day.amop.fail(422, times=1, path=day.amop.sync_path)
    assert day.run("device_sync_jasper").state == "success"
    assert [day.run(ids.AMOP_RELAY_DAG).state for _ in range(3)] == ["failed", "success", "success"]
    (message,) = day.rows("SELECT state, last_error FROM amop.amop_outbox")
    assert (message["state"], message["last_error"]) == ("dead", 'AMOP returned 422: {"errors": ["scripted fault"]}')


def test_the_relay_ends_a_session_that_died_and_leaves_one_alone_whose_optimization_is_queued(day: Day) -> None:
    with transaction(day.dsn) as connection:
        # Ids that no other test of this process has used: Airflow's metadata database is one for all of them.
        connection.execute(f"ALTER TABLE amop.optimization_session ALTER id RESTART WITH {secrets.randbits(52)}")
    assert (
        day.run("device_sync_jasper", optimization="always").state == "success"
    )  # no scheduler: what it triggers waits
    long_ago = machine_time() - timedelta(hours=2)
    with transaction(day.dsn) as connection:
        period = ensure_billing_period(connection, 2, long_ago)
        died = open_session(
            connection, service_provider_id=2, billing_period_id=period.id, opened_by="x/y", now=long_ago
        ).id
        connection.execute("UPDATE amop.optimization_session SET heartbeat_at = %(at)s", {"at": long_ago})
        connection.execute(
            "UPDATE amop.device_sync_run SET progress_at = %(at)s, heartbeat_at = NULL, ended_at = %(at)s",
            {"at": long_ago},
        )
        connection.execute(
            "INSERT INTO amop.watchdog (checked_at, watching_since) VALUES (now(), %(at)s)", {"at": long_ago}
        )
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    found = {row["id"]: row for row in day.rows("SELECT id, status, error FROM amop.optimization_session")}
    error = found.pop(died)["error"]
    assert "stopped at 0 % without reporting an error: no heartbeat since" in error
    assert [row["status"] for row in found.values()] == ["running"]
    told = {int(one["session_id"]): one for one in day.amop.sessions().values()}
    assert (told[died]["progress"], told[died]["errors"], told[died]["order_errors"]) == ([0], [error], [])
    assert all(told[waiting]["errors"] == [] for waiting in found)


NOTE_EVERY_SESSION = """
CREATE TABLE public.session_seen (application_name text, settings jsonb);
CREATE FUNCTION public.note_session() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.session_seen
    SELECT current_setting('application_name'), jsonb_object_agg(name, setting)
    FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'TimeZone');
END
$$;
CREATE EVENT TRIGGER note_session ON login EXECUTE FUNCTION public.note_session();
ALTER EVENT TRIGGER note_session ENABLE ALWAYS;
"""


def test_every_session_that_a_day_opens_at_the_warehouse_ends_its_statements_before_its_task_is_over(
    day: Day, postgres_server: EmbeddedPostgres
) -> None:
    database = conninfo_to_dict(day.dsn)["dbname"]
    superuser = postgres_server.conninfo(str(database), user="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(NOTE_EVERY_SESSION)
    day.run("device_sync_jasper", optimization="always")
    (session,) = day.rows("SELECT id FROM amop.optimization_session")
    day.run("carrier_optimization_jasper", service_provider_id=1, optimization_session_id=session["id"])
    day.run(ids.AMOP_RELAY_DAG)
    migrate(day.dsn)
    asyncio.run(StagingReadyTrigger(1, "amop_warehouse", 5, 60)._poll(day.dsn))
    with psycopg.connect(superuser, row_factory=dict_row) as connection:
        seen = connection.execute("SELECT DISTINCT * FROM public.session_seen WHERE application_name <> ''").fetchall()
    limits_of = {
        task.task_id.rpartition(".")[2]: task.execution_timeout for dag in day.dags.values() for task in dag.tasks
    }
    names, of_tasks = set(), set()
    for row in seen:
        name, settings = row["application_name"].removeprefix("amop "), row["settings"]
        statement, lock = int(settings["statement_timeout"]), int(settings["lock_timeout"])
        longest = time_limits.MIGRATION if name == "migrate" else time_limits.STATEMENT
        assert 0 < statement <= longest / timedelta(milliseconds=1), row
        assert 0 < lock <= statement and settings["TimeZone"] == "UTC", row
        assert int(settings["idle_in_transaction_session_timeout"]) == statement, row
        names.add(name)
        if name in limits_of and name != "wait_for_staging":
            of_tasks.add(name)
            assert statement == time_limits.longest_statement(limits_of[name]) / timedelta(milliseconds=1), row
    assert {"call gate", "heartbeat", "outbox", "watchdog", "migrate", "wait_for_staging"} <= names
    assert {"queue_sync", "fetch_devices", "fetch_usage", "merge_devices", "merge_usage", "solve"} <= of_tasks


def test_a_task_that_meets_a_carrier_that_is_down_gives_its_slot_back_and_goes_on_without_using_up_a_try(
    day: Day, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", timedelta(seconds=3))
    monkeypatch.setattr(circuit_breaker, "FAILURES_TO_OPEN", 1)
    day.carrier.add_fault(status=503, path="/rws/api/v1/devices", page_number=2)
    day.carrier.add_fault(reset=True, path="/rws/api/v1/usages")
    run = day.run("device_sync_jasper", optimization="never")
    assert run.state == "success"
    (sync,) = day.rows("SELECT status, attempt FROM amop.device_sync_run")
    assert (sync["status"], sync["attempt"]) == ("complete", 1)
    assert [fault["applied"] for fault in day.carrier.faults()] == [1, 1]
    with create_session() as session:
        waits = session.execute(
            select(TaskInstance.task_id, TaskInstance.try_number, func.count(TaskReschedule.id))
            .join(TaskReschedule, TaskReschedule.ti_id == TaskInstance.id)
            .where(TaskInstance.run_id == run.run_id, TaskInstance.task_id.startswith("sync."))
            .group_by(TaskInstance.task_id, TaskInstance.try_number)
        ).all()
    assert sorted(tuple(row) for row in waits) == [("sync.fetch_devices", 1, 1), ("sync.fetch_usage", 1, 1)]
    reliability(
        fault="carrier down in the middle of a task, under Airflow", injected=2,
        expected="the task waits as up_for_reschedule, no try is used up, the run ends as success",
        seen=f"{len(waits)} tasks rescheduled once, all on try 1; run {run.state}",
    )  # fmt: skip


def test_reports_that_cannot_be_delivered_are_warnings_and_the_relay_delivers_them_once(
    day: Day, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_ARCHIVE_PATH", (blocked / "archive").as_uri())
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", "no-such-bucket")
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_DEVICE_NOTIFICATION_QUEUE", "no-such-queue")
    run = day.run("device_sync_jasper", optimization="always")
    assert run.state == "success"
    (sync,) = day.rows("SELECT * FROM amop.device_sync_run")
    (kept,) = day.rows("SELECT count(*) AS n FROM amop.carrier_page")
    assert (sync["status"], sync["warnings"], len(sync["report_warnings"])) == ("complete", [], 3)
    assert len(day.amop.messages("daily_sync")) == 1
    (told,) = day.amop.sessions().values()
    assert (told["progress"], told["errors"]) == ([0, 20], [])
    assert kept["n"] == day.carrier.stats("api_jasper")["calls"]
    waiting = {row["kind"]: row["error"] for row in day.rows("SELECT kind, error FROM amop.undelivered_report")}
    assert set(waiting) == {"archive", "notification", "sync_log"}
    assert "no-such-bucket" in waiting["sync_log"] and "queue" in waiting["notification"]

    blocked.unlink()
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", BUCKET)
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_DEVICE_NOTIFICATION_QUEUE", QUEUE)
    with psycopg.connect(day.dsn) as connection:
        connection.execute("UPDATE amop.undelivered_report SET next_attempt_at = now()")
    assert [day.run(ids.AMOP_RELAY_DAG).state for _ in range(2)] == ["success", "success"]
    assert day.rows("SELECT * FROM amop.undelivered_report") == []
    (archived,) = (blocked / "archive").rglob(f"*_run_{sync['id']}.jsonl.gz")
    assert len(gzip.decompress(archived.read_bytes()).splitlines()) == 1 + kept["n"]
    assert day.rows("SELECT * FROM amop.carrier_page") == []
    sqs, s3 = aws_client("sqs", day.aws), aws_client("s3", day.aws)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"])["run_id"] for message in messages] == [sync["id"]]
    log_file = s3.get_object(Bucket=BUCKET, Key=f"device_sync/jasper/1/sync_log_{sync['id']}.csv")["Body"].read()
    assert len(log_file.splitlines()) == SIMS + 1
