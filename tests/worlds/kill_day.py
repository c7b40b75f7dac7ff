"""One day of a provider in processes that may be killed, and all that it leaves anywhere, to be compared; for tests."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import requests
from psycopg.conninfo import conninfo_to_dict

from amop import ids
from amop.messages.amop_client import AmopClient
from amop.messages.delivery import deliver_outbox
from sandbox.amop.running import RunningAmop
from sandbox.carrier.running import RunningCarrier
from sandbox.world.aws_resources import BUCKET, QUEUE, aws_client
from tests.worlds.kill_points import HalfPage, KillPoint, RowHeldByAnother, Work, process_of_tasks
from tests.worlds.warehouse_rows import mask_numbers, rows_of_every_table

NOW = datetime(2026, 11, 12, 12, tzinfo=UTC)
"""When everything happens."""
RELAY_AT = NOW + timedelta(hours=1)
MAINTENANCE_AT = NOW + timedelta(days=60)
API_USER = "api_jasper"
DEVICE_LIST = "/rws/api/v1/devices"
A_LONG_TIME = 500
"""Seconds: longer than a test waits, so that a blocked process is killed there and nowhere else."""
PATIENCE = 240.0


class Step(StrEnum):
    """A part of the day; each begins where the one before has ended."""

    SYNC = "sync"
    CLEANUP = "cleanup"
    OPTIMIZATION = "optimization"
    CHANGES = "changes"
    MAINTENANCE = "maintenance"


DAG_OF = {
    Step.SYNC: ids.device_sync_dag("jasper"),
    Step.CLEANUP: ids.device_sync_dag("jasper"),
    Step.OPTIMIZATION: ids.carrier_optimization_dag("jasper"),
    Step.CHANGES: ids.carrier_optimization_dag("jasper"),
    Step.MAINTENANCE: ids.MAINTENANCE_DAG,
}
FIRST_TASK = {Step.CLEANUP: "cleanup.wait_for_staging", Step.CHANGES: "plan_changes"}
"""Part that begins within a DAG run → the task that it begins with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a day leaves anywhere, without the numbers and moments that say nothing."""

    rows: Mapping[str, list[str]]
    """Every row of every table of schema amop."""
    plans: Mapping[str, str]
    """Rate plan of each SIM at the carrier."""
    messages: list[str]
    """The messages that AMOP accepted, each once, in order."""
    objects: Mapping[str, list[str]]
    """The objects in S3 and in the archive, line by line."""
    notified: set[str]
    """Bodies of the messages on the queue (SQS)."""
    optimization_runs: int
    """DAG runs of the optimization."""
    # What may happen more than once, and how often it did:
    calls: Mapping[str, int]
    """Calls to the carrier by endpoint."""
    messages_again: int
    notifications: int


class Aws:
    """The AWS emulator at an address, with one queue and one bucket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sqs, self.s3 = aws_client("sqs", address), aws_client("s3", address)

    def empty(self) -> None:
        """Forget everything; make the queue and the bucket."""
        requests.post(f"{self.address}/moto-api/reset", timeout=10).raise_for_status()
        self.sqs.create_queue(QueueName=QUEUE)
        self.s3.create_bucket(Bucket=BUCKET)

    def messages(self) -> list[str]:
        """Return the bodies of the messages on the queue, and leave them there."""
        url = self.sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", [])]

    def objects(self) -> dict[str, bytes]:
        """Return the objects of the bucket by key."""
        keys = [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {key: self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


class Day:
    """One day, with servers, a warehouse and Airflow's metadata database of its own.

    Args:
        dsn: the warehouse.
        carrier: of the SIMs.
        amop: records into ``folder / amop.jsonl``.
        aws: of queue and reports.
        airflow_database: file that the processes of ``context`` use.
        folder: for files.
        context: of multiprocessing.
    """

    def __init__(
        self,
        dsn: str,
        carrier: RunningCarrier,
        amop: RunningAmop,
        aws: Aws,
        airflow_database: Path,
        folder: Path,
        context: Any,
    ) -> None:
        self.dsn = dsn
        self.database = str(conninfo_to_dict(dsn)["dbname"])
        self.airflow_database = airflow_database
        self.amop_record = folder / "amop.jsonl"
        self._carrier = carrier
        self._amop = amop
        self._aws = aws
        self._folder = folder
        self._context = context

    def run(self, step: Step, dies_at: Sequence[KillPoint] = (), *, stops_before: Step | None = None) -> None:
        """Run what is left of a part's DAG run to its end, or to another part; killed at points on the way."""
        for point in dies_at:
            self._run_and_be_killed(step, point)
        process = self._start(step, stops_before=None if stops_before is None else FIRST_TASK[stops_before])
        process.join()
        assert process.exitcode == 0, self._log()

    def _run_and_be_killed(self, step: Step, point: KillPoint) -> None:
        with self._made_to_stand_still(point) as stands_there:
            process = self._start(step, dies_at=point)
            if stands_there is not None:
                _wait_until(lambda: stands_there() or not process.is_alive())
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        assert process.exitcode == -signal.SIGKILL, f"{point.name}: not reached\n{self._log()}"

    def relay(self) -> None:
        """Deliver what a killed process left, as `amop_relay` does when its time has come."""
        fields = {"progress_path": self._amop.progress_path, "sync_path": self._amop.sync_path}
        with AmopClient.from_connection_fields(
            host=self._amop.base_url, schema=None, port=None, password=None, extra=fields
        ) as client:
            deliver_outbox(self.dsn, client, now=lambda: RELAY_AT)

    def outcome(self) -> Outcome:
        """Return what the day has left until now."""
        stats, notifications = self._amop.stats(), self._aws.messages()
        assert stats["refusals"] == []
        assert all(session["order_errors"] == [] for session in self._amop.sessions().values())
        return Outcome(
            rows=rows_of_every_table(self.dsn),
            plans={sim["iccid"]: sim["rate_plan"] for sim in self._carrier.truth(API_USER)["devices"]},
            messages=[mask_numbers(_message_text(message)) for message in self._amop.messages()],
            objects=self._objects(),
            notified={mask_numbers(body) for body in notifications},
            optimization_runs=len(self._runs_of(DAG_OF[Step.OPTIMIZATION])),
            calls=self._carrier.stats(API_USER)["calls_by_endpoint"],
            messages_again=stats["repeats"],
            notifications=len(notifications),
        )

    def _start(self, step: Step, **more: Any) -> Any:
        dag_id = DAG_OF[step]
        known = self._runs_of(dag_id)
        work = Work(
            dag_id=dag_id,
            run_id=known[0] if known else "monday",
            conf={"optimization": "always"} if step == Step.SYNC else {},
            now=(MAINTENANCE_AT if step == Step.MAINTENANCE else NOW).isoformat(),
            environment=self._environment(),
            log_file=str(self._folder / "tasks.log"),
            **more,
        )
        process = self._context.Process(target=process_of_tasks, args=(work,))
        process.start()
        return process

    def _environment(self) -> dict[str, str]:
        warehouse, amop = conninfo_to_dict(self.dsn), self._amop
        connections: dict[str, dict[str, Any]] = {
            ids.WAREHOUSE_CONNECTION: {
                "conn_type": "postgres",
                "host": warehouse["host"],
                "port": int(warehouse["port"] or 0),
                "schema": warehouse["dbname"],
                "login": warehouse["user"],
                "password": warehouse["password"],
            },
            ids.AMOP_API_CONNECTION: {
                "conn_type": "http",
                "host": amop.base_url,
                "extra": {"progress_path": amop.progress_path, "sync_path": amop.sync_path},
            },
            ids.AWS_CONNECTION: {
                "conn_type": "aws",
                "login": "test",
                "password": "test",
                "extra": {"region_name": "us-east-1", "endpoint_url": self._aws.address},
            },
            "carrier_jasper": {
                "conn_type": "http",
                "host": self._carrier.base_url,
                "login": API_USER,
                "password": self._carrier.api_key,
                "extra": {"calls_per_second": 1000},
            },
        }
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()} | {
            f"AIRFLOW_VAR_{ids.NOTIFICATION_QUEUE_VARIABLE.upper()}": QUEUE,
            f"AIRFLOW_VAR_{ids.REPORTS_BUCKET_VARIABLE.upper()}": BUCKET,
            f"AIRFLOW_VAR_{ids.ARCHIVE_PATH_VARIABLE.upper()}": (self._folder / "archive").as_uri(),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def _made_to_stand_still(self, point: KillPoint) -> Iterator[Any]:
        """Arrange that a process comes to a stop at the place; yield how to see that it has, None = it dies alone."""
        place = point.place
        if isinstance(place, HalfPage):
            self._carrier.add_fault(path=DEVICE_LIST, page_number=place.page_number, drip_seconds=A_LONG_TIME)
            yield lambda: self._carrier.faults()[0]["applied"]
            self._carrier.clear_faults()
        elif isinstance(place, RowHeldByAnother):
            with psycopg.connect(self.dsn) as holder, psycopg.connect(self.dsn, autocommit=True) as onlooker:
                iccids = [sim["iccid"] for sim in self._carrier.truth(API_USER)["devices"]]
                holder.execute(
                    "INSERT INTO amop.device (service_provider_id, iccid) VALUES (1, %s)", [iccids[len(iccids) // 2]]
                )
                yield lambda: onlooker.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
                    " AND datname = current_database()",
                    [place.application_name],
                ).fetchone()
                holder.rollback()
        else:
            yield None

    def _runs_of(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's runs in Airflow's metadata database."""
        with sqlite3.connect(self.airflow_database) as connection:
            return [run_id for (run_id,) in connection.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", [dag_id])]

    def _objects(self) -> dict[str, list[str]]:
        archive = self._folder / "archive"
        archived = {str(path.relative_to(archive)): path.read_bytes() for path in archive.rglob("*") if path.is_file()}
        contents = self._aws.objects() | archived
        return {mask_numbers(key): _lines(key, content) for key, content in contents.items()}

    def _log(self) -> str:
        return (self._folder / "tasks.log").read_text(errors="replace")[-5000:]


def _message_text(message: dict[str, Any]) -> str:
    return json.dumps({name: message[name] for name in ("kind", "path", "idempotency_key", "body")}, sort_keys=True)


def _lines(key: str, content: bytes) -> list[str]:
    """Return the lines of an object as text, those of a workbook as cells."""
    if key.endswith(".xlsx"):
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
        return [mask_numbers(str(row)) for sheet in book for row in sheet.iter_rows(values_only=True)]
    if key.endswith(".gz"):
        return [mask_numbers(line) for line in gzip.decompress(content).decode().splitlines()]
    # The first column of the sync log is the number of the SIM's row.
    return sorted(line.partition(",")[2] for line in content.decode().splitlines())


def _wait_until(is_so: Any) -> None:
    """Poll until a condition holds, for as long as a loaded machine may take.

    Raises:
        TimeoutError: it has not come to be.
    """
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {PATIENCE:.0f} s")
        time.sleep(0.01)
