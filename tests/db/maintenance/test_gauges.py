"""The gauges have the figures of the tables and arrive at a real StatsD listener over UDP, and at an OTLP collector."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from amop.maintenance.gauges import CALLS_A_DAY, GAUGES, read_gauges
from amop.tasks import gauges as task
from tests.worlds.optimization_world import NOW
from tests.worlds.page_world import JASPER, ROGERS, PageWorld

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def world(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> PageWorld:
    world = PageWorld(warehouse_dsn)
    world.execute(
        "INSERT INTO amop.carrier_api_user (api_user, failures, failing_since) VALUES ('h', 4, %s)",
        NOW - timedelta(minutes=20),
    )
    world.execute(
        "INSERT INTO amop.optimization_pool_result VALUES (%s, 'current', 0, 'pool Fleet', NULL, 1, 1, 2, 150, 100, 50,"
        " 50, 50)",
        world.instance_id,
    )
    world.execute("UPDATE amop.amop_outbox SET created_at = %s", NOW - timedelta(hours=1))
    monkeypatch.setattr(task, "warehouse_conninfo", lambda: warehouse_dsn)
    monkeypatch.setattr(task, "warehouse_now", lambda: NOW)
    return world


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A StatsD server's socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        yield server


@pytest.fixture(autouse=True)
def _metrics_off_again() -> Iterator[None]:
    yield
    stats.initialize(factory=stats_utils.NoStatsLogger, export_legacy_names=False)


def received(server: socket.socket, count: int) -> dict[str, float]:
    """Return the gauges of datagrams by name, until a number of them has arrived."""
    found: dict[str, float] = {}
    while len(found) < count:
        for line in server.recv(65_536).decode().splitlines():
            name, _, rest = line.partition(":")
            value, kind = rest.split("|")
            assert kind == "g"
            found[name] = float(value)
    return found


def test_every_gauge_arrives_by_udp_with_the_figure_of_the_tables(
    world: PageWorld, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(listener.getsockname()[1]))
    backend = stats_utils.get_stats_factory()()
    stats.initialize(factory=lambda: backend, export_legacy_names=False)
    count = task.export_gauges()
    found = received(listener, count)
    backend.statsd.close()
    assert len(found) == count
    assert len(GAUGES) >= 12
    assert {name.split(".")[2] for name in found} == set(GAUGES)

    instance = world.instance(world.instance_id)
    jasper = {name.split(".")[2]: value for name, value in found.items() if name.endswith(f".{JASPER}")}
    sims = world.execute("SELECT count(*) AS n FROM amop.device WHERE is_active")[0]["n"]
    pages = world.execute("SELECT pages FROM amop.device_sync_run WHERE dag_run_id = 'today'")[0]["pages"]
    assert jasper["sync_age_seconds"] == timedelta(hours=3).total_seconds()
    assert jasper["sims"] == sims
    assert jasper["calls_left_today"] == CALLS_A_DAY - pages
    assert jasper["quarantined_records"] == 2
    assert jasper["forecast_bill"] == float(instance["current_cost"])
    assert jasper["optimized_bill"] == float(instance["total_cost"])
    assert jasper["forecast_saving"] == float(instance["savings"])
    assert jasper["realised_saving"] == 19.25
    assert jasper["plan_changes_waiting"] == 10
    assert jasper["work_rows_left"] == 0
    assert jasper["pool_fill_percent"] == 150
    assert "airflow.amop.sync_age_seconds.4" not in found  # Rogers was never synced: no age, not zero
    assert (found["airflow.amop.outbox_pending"], found["airflow.amop.outbox_dead"]) == (6, 1)
    assert found["airflow.amop.outbox_age_seconds"] == 3600
    assert found["airflow.amop.carriers_failing"] == 1
    assert found["airflow.amop.carrier_outage_seconds"] == 1200
    assert found[f"airflow.amop.work_rows_left.{ROGERS}"] == 0


def test_work_rows_of_a_running_sync_are_counted(world: PageWorld) -> None:
    run_id = world.insert(
        "device_sync_run",
        service_provider_id=ROGERS,
        dag_id="device_sync_rogers",
        dag_run_id="now",
        is_full=True,
        billing_period_id=world.billing_period_id,
    )
    world.execute(
        "INSERT INTO amop.device_usage_to_process (run_id, kind, iccid) SELECT %s, 'device_usage', n::text "
        "FROM generate_series(1, 3) AS n",
        run_id,
    )
    values = {gauge.name: gauge.value for gauge in read_gauges(world.dsn, now=NOW)}
    assert values[f"amop.work_rows_left.{ROGERS}"] == 3


def test_nothing_is_read_where_metrics_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise AssertionError("the warehouse was read")

    monkeypatch.setattr(task, "warehouse_conninfo", fail)
    assert task.export_gauges() == 0


TASK_PROCESS = """
import os, sys
from datetime import datetime
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from amop.tasks import gauges
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
gauges.warehouse_conninfo = lambda: sys.argv[1]
gauges.warehouse_now = lambda: datetime.fromisoformat(sys.argv[2])
assert gauges.export_gauges() > 12
os._exit(0)  # as a task's process may end: nothing is sent at exit
"""


def test_opentelemetry_gets_them_before_the_process_of_the_task_ends(world: PageWorld) -> None:
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    command = [sys.executable, "-c", TASK_PROCESS, world.dsn, NOW.isoformat()]
    try:
        subprocess.run(command, env=environment, check=True, timeout=60)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert any(b"amop.sync_age_seconds.1" in body for body in bodies)


@pytest.mark.parametrize("name", GAUGES)
def test_the_runbook_explains_every_gauge(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
