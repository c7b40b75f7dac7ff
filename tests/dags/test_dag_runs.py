"""Both DAGs in one process by ``dag.test()``: real carrier, AMOP, AWS emulator, PostgreSQL; no scheduler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from moto.server import ThreadedMotoServer
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from amop import ids
from amop.warehouse.reference import load_reference
from sandbox.amop import RunningAmop, running_amop
from sandbox.aws_resources import BUCKET, QUEUE, aws_client, create_aws_resources
from sandbox.carrier import RunningCarrier, running_carrier
from sandbox.fleet import write_reference

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


def test_a_day_from_the_carrier_to_amops_hundred_percent(day: Day, caplog: pytest.LogCaptureFixture) -> None:
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
    for secret in (CANARY, TOKEN):
        assert secret not in caplog.text
        assert secret not in str(day.amop.messages()) + str(messages) + log_file.decode()


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
