"""Both DAGs in one process by ``dag.test()``: real carrier, AMOP, AWS emulator, PostgreSQL; no scheduler."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import openpyxl
import psycopg
import pytest
import requests
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.utils.session import create_session
from moto.server import ThreadedMotoServer
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import func, select

from amop import ids, time_limits
from amop.domain import circuit_breaker
from amop.orchestration.staging_sensor import StagingReadyTrigger
from amop.warehouse.billing_periods import ensure_billing_period
from amop.warehouse.connection import transaction
from amop.warehouse.migrations import migrate
from amop.warehouse.reference import load_reference
from amop.warehouse.sessions import open_session
from sandbox.amop import RunningAmop, running_amop
from sandbox.aws_resources import (
    ARCHIVE_BUCKET,
    ARCHIVE_PATH,
    BUCKET,
    MAIL_FROM,
    MAIL_TO,
    QUEUE,
    aws_client,
    create_aws_resources,
    sent_mails,
)
from sandbox.carrier import RunningCarrier, running_carrier
from sandbox.fleet import write_reference
from tests.db.test_cli import as_airflow_json
from tests.db.test_realised_savings import FINAL, Period
from tests.reliability import RecordFault

if TYPE_CHECKING:
    from sandbox.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
SIMS = 60
CANARY = "canary-api-key-4711"
TOKEN = "canary-token-4711"


@dataclass
class Day:
    """Everything that a DAG run touches."""

    dsn: str
    carrier: RunningCarrier
    amop: RunningAmop
    aws: str
    dags: dict[str, Any]

    def run(self, dag_id: str, **conf: Any) -> Any:
        return self.dags[dag_id].test(run_conf=conf)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return list(connection.execute(statement).fetchall())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def serialized_dags(airflow_database: Path) -> None:
    # TriggerDagRunOperator finds its target in the metadata database, as under the scheduler.
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "reserialize"],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}, cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def dags(serialized_dags: None) -> dict[str, Any]:
    """The DAGs, loaded anew: a test run leaves its parameters on the DAG."""
    from airflow.dag_processing.dagbag import DagBag

    return dict(DagBag(ROOT / "dags").dags)


@pytest.fixture
def day(warehouse_dsn: str, tmp_path: Path, dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    write_reference(tmp_path / "reference.yaml")
    load_reference(warehouse_dsn, tmp_path / "reference.yaml")
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    address = f"http://{host}:{port}"
    create_aws_resources(address)
    with (
        running_carrier(devices_per_account=SIMS, limits_are_enforced=False, api_key=CANARY) as carrier,
        running_amop(token=TOKEN) as amop,
    ):
        for name, connection in _connections(warehouse_dsn, carrier, amop, address).items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_DEVICE_NOTIFICATION_QUEUE", QUEUE)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", BUCKET)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_FROM", MAIL_FROM)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_TO", MAIL_TO)
        monkeypatch.setenv("AIRFLOW_VAR_AMOP_ARCHIVE_PATH", (tmp_path / "archive").as_uri())
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield Day(warehouse_dsn, carrier, amop, address, dags)
    aws.stop()


def _connections(dsn: str, carrier: RunningCarrier, amop: RunningAmop, aws: str) -> dict[str, dict[str, Any]]:
    warehouse = conninfo_to_dict(dsn)
    return {
        "amop_warehouse": {
            "conn_type": "postgres", "host": warehouse["host"], "port": int(warehouse["port"]),
            "schema": warehouse["dbname"], "login": warehouse["user"], "password": warehouse["password"],
        },
        "amop_api": {
            "conn_type": "http", "host": amop.base_url, "password": TOKEN,
            "extra": {"progress_path": amop.progress_path, "sync_path": amop.sync_path},
        },
        "aws_default": {
            "conn_type": "aws", "login": "test", "password": "test",
            "extra": {"region_name": "us-east-1", "endpoint_url": aws},
        },
        "carrier_jasper": {
            "conn_type": "http", "host": carrier.base_url, "login": "api_jasper", "password": CANARY,
            "extra": {"calls_per_second": 1000},
        },
    }  # fmt: skip


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
    (archived,) = s3.list_objects_v2(Bucket=ARCHIVE_BUCKET)["Contents"]
    assert archived["Key"].startswith("carrier/jasper/1/") and archived["Key"].endswith(f"_run_{sync['id']}.jsonl.gz")
    answers = gzip.decompress(s3.get_object(Bucket=ARCHIVE_BUCKET, Key=archived["Key"])["Body"].read()).decode()
    assert len(answers.splitlines()) == 1 + day.carrier.stats("api_jasper")["calls"]
    assert day.rows("SELECT * FROM amop.carrier_page") == []
    for secret in (CANARY, TOKEN):
        assert secret not in caplog.text
        assert secret not in str(day.amop.messages()) + str(messages) + log_file.decode() + answers


def test_the_result_is_in_s3_linked_from_the_run_and_mailed(day: Day) -> None:
    run = _optimize(day)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    key = f"carrier_optimization/jasper/1/{_period(day)}/optimization_{instance['session_id']}.xlsx"
    stored = aws_client("s3", day.aws).get_object(Bucket=BUCKET, Key=key)
    assert stored["ContentType"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    book = openpyxl.load_workbook(io.BytesIO(stored["Body"].read()), data_only=True)
    assert book["SIMs"].max_row == instance["device_count"] + 1
    assert instance["report_uri"] == f"s3://{BUCKET}/{key}"

    link = run.get_task_instance("write_workbook").xcom_pull(task_ids="write_workbook", key="_link_WorkbookLink")
    assert link == f"{day.aws}/{BUCKET}/{key}"
    assert requests.get(link, timeout=10).content[:2] == b"PK"
    (event,) = (event for event in _asset_events(run) if "report_uri" in event.extra)  # the changes tell theirs, too
    assert event.extra["report_uri"] == instance["report_uri"]
    assert event.extra["instance_id"] == instance["id"]

    ((mail, message),) = _mails_of(day, run)
    assert set(mail["destinations"]) == set(MAIL_TO.split(";"))
    assert (mail["source"], message["From"], message["To"]) == (MAIL_FROM, MAIL_FROM, MAIL_TO.replace(";", ", "))
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    for part in (plain, html):
        content = part.get_content()
        assert link in content
        assert f"/dags/carrier_optimization_jasper/runs/{quote(run.run_id)}" in content
        assert f"{instance['savings']:,.2f}" in content and f"{instance['total_cost']:,.2f}" in content
        assert CANARY not in content and TOKEN not in content
    assert instance["report_mailed_at"] is not None


def test_without_bucket_and_recipients_both_are_off_and_the_session_completes(
    day: Day, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET")
    monkeypatch.delenv("AIRFLOW_VAR_AMOP_MAIL_TO")
    run = _optimize(day)
    assert _states(run) == {"write_workbook": "skipped", "publish_report": "success", "mail_report": "skipped"}
    assert run.state == "success"
    assert caplog.text.count("Variable amop_reports_bucket is not set: the workbook in S3 is off") == 1
    assert caplog.text.count("Variable amop_mail_to is not set: the report by e-mail is off") == 1
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert (instance["run_status"], instance["report_uri"]) == ("complete_with_success", None)
    assert _mails_of(day, run) == []


def test_without_s3_and_ses_the_optimization_completes_with_warnings(
    day: Day, monkeypatch: pytest.MonkeyPatch, reliability: RecordFault
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_REPORTS_BUCKET", "no-such-bucket")
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_MAIL_FROM", "nobody@unverified.example")
    run = _optimize(day)
    assert _states(run) == {"write_workbook": "skipped", "publish_report": "success", "mail_report": "skipped"}
    assert run.state == "success"
    (told,) = day.amop.sessions().values()
    assert (told["progress"], told["errors"]) == ([0, 20, 30, 40, 50, 100], [])
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["run_status"] == "complete_with_success"
    workbook, mail = instance["warning"].splitlines()[-2:]
    assert workbook.startswith("The workbook was not written to S3: ") and "NoSuchBucket" in workbook
    assert mail.startswith("The report was not mailed: ") and "nobody@unverified.example" in mail
    assert _mails_of(day, run) == []
    reliability(
        fault="S3 refuses the workbook and SES the mail, under Airflow", injected=2,
        expected="0 20 30 40 50 100 %, 0 errors, 2 warnings",
        seen=f"{' '.join(map(str, told['progress']))} %, {len(told['errors'])} errors, "
        f"{len(instance['warning'].splitlines()[-2:])} warnings",
    )  # fmt: skip


def _optimize(day: Day) -> Any:
    """Optimize the Jasper provider on its reference data and one SIM, without a sync; no task is tried twice."""
    with psycopg.connect(day.dsn) as connection:
        connection.execute(
            "INSERT INTO amop.device (service_provider_id, iccid, status, rate_plan, communication_plan)"
            " SELECT 1, '8901170000000000001', 'ACTIVATED', NULL, communication.name"
            " FROM amop.communication_plan AS communication"
            " JOIN amop.communication_plan_rate_plan AS mapping ON mapping.communication_plan_id = communication.id"
            " WHERE communication.service_provider_id = 1 ORDER BY communication.id LIMIT 1"
        )
    for task in day.dags["carrier_optimization_jasper"].tasks:
        task.retries = 0
    return day.run("carrier_optimization_jasper", service_provider_id=1)


def _period(day: Day) -> str:
    (period,) = day.rows(
        "SELECT period.* FROM amop.billing_period AS period JOIN amop.optimization_session AS session"
        " ON session.billing_period_id = period.id"
    )
    return f"{period['bill_year']}-{period['bill_month']:02}"


def _states(run: Any) -> dict[str, str]:
    names = ("write_workbook", "publish_report", "mail_report")
    return {name: str(run.get_task_instance(name).state) for name in names}


def _mails_of(day: Day, run: Any) -> list[tuple[dict[str, Any], Any]]:
    """Return the mails that name a run, raw and read: the emulator's list is one for the whole process."""
    mails = [(mail, message_from_string(mail["raw_data"], policy=default)) for mail in sent_mails(day.aws)]
    return [(mail, message) for mail, message in mails if quote(run.run_id) in message.get_body().get_content()]


def _asset_events(run: Any) -> list[Any]:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return list(session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)))


def test_a_wrong_api_key_fails_the_provider_and_tells_amop_once(day: Day) -> None:
    day.carrier.make_key_wrong("api_jasper")
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


def test_a_message_that_amop_refuses_fails_one_run_of_the_relay_and_no_later_one(day: Day) -> None:
    day.amop.fail(422, times=1, path=day.amop.sync_path)
    assert day.run("device_sync_jasper").state == "success"
    assert [day.run(ids.AMOP_RELAY_DAG).state for _ in range(3)] == ["failed", "success", "success"]
    (message,) = day.rows("SELECT state, last_error FROM amop.amop_outbox")
    assert (message["state"], message["last_error"]) == ("dead", 'AMOP answered 422: {"errors": ["scripted fault"]}')


def test_the_relay_ends_a_session_that_died_and_leaves_one_alone_whose_optimization_is_queued(day: Day) -> None:
    with transaction(day.dsn) as connection:
        # Ids that no other test of this process has used: Airflow's metadata database is one for all of them.
        connection.execute(f"ALTER TABLE amop.optimization_session ALTER id RESTART WITH {time.time_ns()}")
    assert (
        day.run("device_sync_jasper", optimization="always").state == "success"
    )  # no scheduler: what it triggers waits
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    with transaction(day.dsn) as connection:
        period = ensure_billing_period(connection, 2, long_ago)
        died = open_session(
            connection, service_provider_id=2, billing_period_id=period["id"], opened_by="x/y", now=long_ago
        )["id"]
        connection.execute("UPDATE amop.optimization_session SET heartbeat_at = %(at)s", {"at": long_ago})
        connection.execute(
            "UPDATE amop.device_sync_run SET progress_at = %(at)s, heartbeat_at = NULL, ended_at = %(at)s",
            {"at": long_ago},
        )
        connection.execute(
            "INSERT INTO amop.watchdog (looked_at, watching_since) VALUES (now(), %(at)s)", {"at": long_ago}
        )
    assert day.run(ids.AMOP_RELAY_DAG).state == "success"
    found = {row["id"]: row for row in day.rows("SELECT id, status, error FROM amop.optimization_session")}
    error = found.pop(died)["error"]
    assert "stopped at 0 % without reporting an error: no sign of life since" in error
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
    asyncio.run(StagingReadyTrigger(1, "amop_warehouse", 5, 60)._look(day.dsn))
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


# What becomes of plan changes


def optimize(day: Day, **settings: Any) -> Any:
    """Run a sync and its optimization with these settings of the provider; return the run."""
    columns = ", ".join(f"{name} = {value}" for name, value in settings.items())
    with psycopg.connect(day.dsn) as connection:
        connection.execute(f"UPDATE amop.service_provider SET {columns} WHERE id = 1")  # type: ignore[arg-type]
    assert day.run("device_sync_jasper", optimization="always").state == "success"
    with psycopg.connect(day.dsn) as connection:  # whatever day it is, there is time left
        connection.execute("UPDATE amop.billing_period SET cycle_end = greatest(cycle_end, now() + interval '2 days')")
    (session,) = day.rows("SELECT * FROM amop.optimization_session WHERE status = 'running'")
    return day.run(
        "carrier_optimization_jasper", service_provider_id=1, optimization_session_id=session["id"],
        billing_period_id=session["billing_period_id"],
    )  # fmt: skip


def writes(day: Day) -> int:
    return int(day.carrier.stats("api_jasper")["calls_by_endpoint"].get("PUT /devices/{iccid}", 0))


def plans_at_the_carrier(day: Day) -> dict[str, str]:
    return {sim["iccid"]: sim["rate_plan"] for sim in day.carrier.truth("api_jasper")["devices"]}


CHANGES = """
SELECT device.iccid, device.rate_plan, change.*
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
"""


def test_changes_within_the_limits_are_applied_and_the_next_sync_confirms_them(day: Day) -> None:
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    changes = day.rows(CHANGES)
    assert instance["changes_status"] == "applied" and len(changes) > 5
    assert instance["changes_planned_by"] == f"carrier_optimization_jasper/{run.run_id}"
    assert {change["state"] for change in changes} == {"applied"}
    assert writes(day) == len(changes)
    assert sum(change["verified_at"] is not None for change in changes) == min(50, len(changes))
    plans = plans_at_the_carrier(day)
    assert all(plans[change["iccid"]] == change["to_rate_plan"] for change in changes)
    assert all(change["rate_plan"] == change["from_rate_plan"] for change in changes)

    assert day.run("device_sync_jasper", optimization="never").state == "success"
    assert all(change["rate_plan"] == change["to_rate_plan"] for change in day.rows(CHANGES))


def test_a_test_of_the_dag_does_not_wait_for_a_person_and_sends_nothing(day: Day) -> None:
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True, approval_above_changes=0)
    assert run.state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["changes_status"] == "proposed_only"
    assert "nobody can answer in a test of the DAG" in instance["changes_reason"]
    assert {change["state"] for change in day.rows(CHANGES)} == {"proposed"}
    assert writes(day) == 0


def test_a_provider_that_may_not_be_written_to_gets_no_write_request(day: Day) -> None:
    assert optimize(day, can_auto_update_rate_plans=True, write_is_enabled=False).state == "success"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert instance["changes_status"] == "proposed_only"
    assert {change["state"] for change in day.rows(CHANGES)} == {"proposed"}
    assert writes(day) == 0


def test_a_key_that_may_not_write_stops_the_changes_and_says_so_at_the_instance(day: Day) -> None:
    day.carrier.add_fault(status=401, method="PUT", times=None)
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "failed"
    (instance,) = day.rows("SELECT * FROM amop.optimization_instance")
    assert (instance["run_status"], instance["changes_status"]) == ("complete_with_success", "stopped")
    assert "connection carrier_jasper" in instance["changes_reason"]
    assert CANARY not in instance["changes_reason"]
    assert {change["state"] for change in day.rows(CHANGES)} == {"approved"}
    assert writes(day) == 1
    (told,) = day.amop.sessions().values()
    assert (told["progress"], told["errors"]) == ([0, 20, 30, 40, 50, 100], [])


def test_changes_wait_for_a_carrier_that_is_down_and_each_is_sent_once(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", timedelta(seconds=3))
    monkeypatch.setattr(circuit_breaker, "FAILURES_TO_OPEN", 1)
    day.carrier.add_fault(truncate=True, method="PUT", nth_call=2)  # done, and its answer never comes
    run = optimize(day, can_auto_update_rate_plans=True, write_is_enabled=True)
    assert run.state == "success"
    changes = day.rows(CHANGES)
    assert {change["state"] for change in changes} == {"applied"}
    assert writes(day) == len(changes)
    with create_session() as session:
        waits = session.scalar(
            select(func.count(TaskReschedule.id))
            .join(TaskInstance, TaskReschedule.ti_id == TaskInstance.id)
            .where(TaskInstance.run_id == run.run_id, TaskInstance.task_id == "apply_changes")
        )
    assert waits == 1


def test_an_archive_that_cannot_be_written_fails_its_task_and_nothing_else_and_the_maintenance_makes_up_for_it(
    day: Day, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("AIRFLOW_VAR_AMOP_ARCHIVE_PATH", (blocked / "archive").as_uri())
    run = day.run("device_sync_jasper")
    failed = {task.task_id for task in run.get_task_instances() if task.state == "failed"}
    assert (run.state, failed) == ("failed", {"sync.archive_pages"})
    (sync,) = day.rows("SELECT * FROM amop.device_sync_run")
    (kept,) = day.rows("SELECT count(*) AS n FROM amop.carrier_page")
    assert (sync["status"], len(day.amop.messages("daily_sync"))) == ("complete", 1)
    assert kept["n"] == day.carrier.stats("api_jasper")["calls"]

    blocked.unlink()
    with psycopg.connect(day.dsn) as connection:
        connection.execute("UPDATE amop.device_sync_run SET ended_at = ended_at - interval '7 hours'")
    assert day.run(ids.MAINTENANCE_DAG).state == "success"
    (archived,) = (blocked / "archive").rglob(f"*_run_{sync['id']}.jsonl.gz")
    assert len(gzip.decompress(archived.read_bytes()).splitlines()) == 1 + kept["n"]
    assert day.rows("SELECT * FROM amop.carrier_page") == []
