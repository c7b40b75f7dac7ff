"""A day on the services of docker-compose.yaml: two Celery workers leave the rows that the local executor leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from amop import ids
from amop.config import INTEGRATIONS
from sandbox.carrier.catalogue import ALL_PROVIDERS, provider_of
from sandbox.world.airflow_api import AirflowApi
from sandbox.world.billing_period_shift import extend_open_periods
from sandbox.world.world import EXECUTOR_SETTINGS
from tests.compose.conftest import SIMS
from tests.worlds.canaries import command_lines, files, find, tables
from tests.worlds.compose_world import ComposeWorld
from tests.worlds.documents import ROOT, blocks
from tests.worlds.e2e_world import wait_for_runs
from tests.worlds.matrix_rows import SYNC_TABLES, differences, rows_of
from tests.worlds.true_fleet import TrueFleet

pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(1800)]

JASPER, THINGSPACE = ids.device_sync_dag("jasper"), ids.device_sync_dag("thingspace")
OPTIMIZATION = ids.carrier_optimization_dag("jasper")
RUN_ID = "amop_4711"
"""Run id of the call in docs/start-a-run.md."""
PROVIDERS = {JASPER: provider_of("jasper"), THINGSPACE: provider_of("thingspace")}
WORKERS = {"worker-1", "worker-2"}
WAREHOUSE, AIRFLOW = "warehouse", "airflow"
BEFORE_THE_DAY, AFTER_CELERY = "warehouse_before_the_day", "warehouse_after_celery"
"""The warehouse that the local executor begins with, and the one that Celery has left."""
DAY_SECONDS = 900.0

END_WAITS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
END_WAITS += f" WHERE datname = '{WAREHOUSE}' AND application_name = 'amop wait_for_staging'"
PRIVILEGED = "SELECT rolname FROM pg_roles"
PRIVILEGED += " WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
DEVICES = "SELECT iccid, status, rate_plan, communication_plan, ctd_data_usage FROM amop.device"
DEVICES += " WHERE service_provider_id = %s AND is_active"
MOVES = "SELECT device.iccid, result.to_rate_plan FROM amop.optimization_device_result AS result"
MOVES += " INNER JOIN amop.device AS device ON result.device_id = device.id WHERE result.instance_id = %s"
PERIOD = "SELECT period.cycle_start, period.cycle_end FROM amop.optimization_session AS session"
PERIOD += " INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id WHERE session.id = %s"


@dataclass(frozen=True)
class Day:
    """DAG runs that have ended.

    Args:
        dsn: the warehouse that they wrote to, as its runtime role.
        runs: DAG → run id.
        states: DAG → state of its run.
        hosts: host name → number of task instances that ran there.
    """

    dsn: str
    runs: dict[str, str]
    states: dict[str, str]
    hosts: Counter[str]


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, row_factory=dict_row, autocommit=True) as connection:
        yield connection


def documented_call() -> str:
    """Return the shell commands of docs/start-a-run.md that sign in and start a run."""
    (text,) = [one.text for one in blocks() if one.document == "docs/start-a-run.md" and "curl" in one.text]
    return text


def run_documented_call(compose: ComposeWorld) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"AIRFLOW_URL": compose.address}
    command = ["bash", "-euo", "pipefail", "-c", documented_call()]
    return subprocess.run(
        command, env=environment, cwd=compose.directory, capture_output=True, text=True, check=False, timeout=120
    )


def wait_for_day(compose: ComposeWorld, api: AirflowApi, runs: dict[str, str]) -> Day:
    """Wait for the syncs and for the optimization that the sync of Jasper triggers."""
    dsn = compose.conninfo(WAREHOUSE, "amop_runtime")
    with compose.explained():
        states = wait_for_runs(api, runs, seconds=DAY_SECONDS)
        with connected(dsn) as connection:
            (session,) = connection.execute("SELECT id FROM amop.optimization_session").fetchall()
        runs = runs | {OPTIMIZATION: ids.optimization_run_id(session["id"])}
        states |= wait_for_runs(api, {OPTIMIZATION: runs[OPTIMIZATION]}, seconds=DAY_SECONDS)
    tasks = [task for run in runs.items() for task in api.task_instances(*run)]
    return Day(dsn, runs, states, Counter(task["hostname"] for task in tasks if task["hostname"]))


def administer(compose: ComposeWorld, statement: str) -> None:
    """Execute a statement as the superuser, connected to none of the databases in use."""
    with connected(compose.postgres.conninfo("postgres", user="postgres")) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def api(compose: ComposeWorld) -> AirflowApi:
    """Airflow's API, as the administrator that the service set-up created."""
    compose.wait_until_healthy(["api-server"])
    return AirflowApi(compose.address, ("admin", compose.secret("admin_password")))


@pytest.fixture(scope="module")
def started(compose: ComposeWorld, api: AirflowApi) -> dict[str, str]:
    """The runs of two providers that have begun, as run id by DAG. The documented call starts that of Jasper."""
    compose.wait_for({"reference": "service_completed_successfully"})
    with connected(compose.conninfo(WAREHOUSE, "amop_owner")) as connection:
        extend_open_periods(connection, tuple(PROVIDERS.values()))
    administer(compose, f"CREATE DATABASE {BEFORE_THE_DAY} TEMPLATE {WAREHOUSE}")
    # One Airflow serves both warehouses, and the run id of an optimization is made of the id of its session.
    with connected(compose.postgres.conninfo(BEFORE_THE_DAY, user="postgres")) as connection:
        connection.execute("SELECT setval(pg_get_serial_sequence('amop.optimization_session', 'id'), 1000)")
    api.wait_for_dags({JASPER, THINGSPACE, OPTIMIZATION})
    called = run_documented_call(compose)
    assert called.returncode == 0, called.stdout + called.stderr
    return {JASPER: json.loads(called.stdout)["dag_run_id"], THINGSPACE: api.trigger(THINGSPACE, {})}


@pytest.fixture(scope="module")
def celery_day(compose: ComposeWorld, api: AirflowApi, started: dict[str, str]) -> Day:
    """The day of both providers on the two workers, ended."""
    day = wait_for_day(compose, api, started)
    # The triggerer keeps the connection of its waits for the next ones; any other process has closed its own, or
    # PostgreSQL refuses the new name.
    administer(compose, END_WAITS)
    administer(compose, f"ALTER DATABASE {WAREHOUSE} RENAME TO {AFTER_CELERY}")
    return replace(day, dsn=compose.conninfo(AFTER_CELERY, "amop_runtime"))


@pytest.fixture(scope="module")
def local_day(compose: ComposeWorld, api: AirflowApi, celery_day: Day) -> Day:
    """The same day by the local executor, on a copy of the warehouse as it was before."""
    administer(compose, f"ALTER DATABASE {BEFORE_THE_DAY} RENAME TO {WAREHOUSE}")
    assert compose.stop(["scheduler", *sorted(WORKERS)]) == []
    compose.overrides |= EXECUTOR_SETTINGS
    compose.start(["scheduler"])
    run_ids = {JASPER: api.trigger(JASPER, {"optimization": "always"}), THINGSPACE: api.trigger(THINGSPACE, {})}
    return wait_for_day(compose, api, run_ids)


def truth_of(compose: ComposeWorld, user: str) -> dict[str, Any]:
    """Return all of an account as the carrier has it."""
    address = f"https://127.0.0.1:{compose.ports['carrier']}/sandbox/truth/{user}"
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(address, verify=str(compose.directory / "certificates" / "ca.pem"), timeout=30)
    truth: dict[str, Any] = answer.json()
    return truth


def test_every_service_is_healthy_by_its_own_check_and_the_others_have_completed(
    compose: ComposeWorld, started: dict[str, str]
) -> None:
    stay = {name for name, one in compose.running.items() if not one.service.ends}
    sandbox = {"carrier", "amop", "aws"}
    assert stay == {"redis", "api-server", "scheduler", "dag-processor", "triggerer"} | WORKERS | sandbox
    compose.wait_until_healthy(["postgres", *sorted(stay)])
    completed = {name: compose.running[name].process.wait(120) for name in compose.running.keys() - stay}
    services = ("certificates", "aws-resources", "reference-file", "set-up", "grants", "reference")
    assert completed == dict.fromkeys(services, 0)


def test_the_roles_of_the_databases_have_the_least_privileges(compose: ComposeWorld) -> None:
    with connected(compose.postgres.conninfo("postgres", user="postgres")) as connection:
        assert [row["rolname"] for row in connection.execute(PRIVILEGED)] == ["postgres"]
    refused = [
        (WAREHOUSE, "amop_runtime", "CREATE TABLE amop.own (id int)"),
        (WAREHOUSE, "amop_runtime", "DROP TABLE amop.device"),
        (WAREHOUSE, "amop_runtime", "SELECT * FROM amop.alembic_version"),
        (WAREHOUSE, "amop_owner", "CREATE SCHEMA other"),
        (WAREHOUSE, "airflow", "SELECT * FROM amop.device"),
        (AIRFLOW, "amop_owner", "SELECT * FROM dag"),
        (AIRFLOW, "amop_runtime", "SELECT * FROM dag"),
        (AIRFLOW, "amop_reader", "SELECT * FROM dag"),
    ]
    for database, role, statement in refused:
        with (
            connected(compose.conninfo(database, role)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)  # type: ignore[call-overload]
    with connected(compose.conninfo(WAREHOUSE, "amop_reader")) as connection:
        assert connection.execute("SELECT count(*) AS n FROM amop.service_provider").fetchall() == [
            {"n": len(ALL_PROVIDERS)}
        ]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("UPDATE amop.service_provider SET is_active = false")
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE amop.service_provider SET is_active = false")


def test_set_up_created_the_pools_and_a_starter_who_can_only_start_runs(
    compose: ComposeWorld, api: AirflowApi, celery_day: Day
) -> None:
    pools = {pool["name"]: pool["slots"] for pool in api.request("GET", "/pools")["pools"]}
    pools.pop("default_pool")
    assert pools == {ids.carrier_pool(name): 1 for name in INTEGRATIONS}
    starter = AirflowApi(compose.address, (ids.STARTER_ROLE, compose.secret("amop_starter_password")))
    assert starter.request("GET", f"/dags/{JASPER}/dagRuns/{RUN_ID}")["state"] == "success"
    run: dict[str, Any] = {"logical_date": None, "conf": {}}
    answers = {
        f"{method} {path}": starter.status(method, path, body)
        for method, path, body in (
            ("GET", "/connections", None),
            ("GET", "/variables", None),
            ("GET", "/pools", None),
            ("POST", f"/dags/{JASPER}/clearTaskInstances", {"dag_run_id": RUN_ID, "dry_run": False}),
            ("DELETE", f"/dags/{JASPER}/dagRuns/{RUN_ID}", None),
            ("POST", f"/dags/{ids.MAINTENANCE_DAG}/dagRuns", run),
        )
    }
    assert answers == dict.fromkeys(answers, 403)


def test_the_answers_of_the_documented_call_are_the_documented_ones(compose: ComposeWorld, celery_day: Day) -> None:
    assert celery_day.runs[JASPER] == RUN_ID
    repeated = run_documented_call(compose)
    assert repeated.returncode == 22, repeated.stdout  # curl's status of an HTTP error
    assert "Unique constraint violation" in repeated.stdout
    starter = AirflowApi(compose.address, (ids.STARTER_ROLE, compose.secret("amop_starter_password")))
    runs = f"/dags/{JASPER}/dagRuns"
    body: dict[str, Any] = {"dag_run_id": RUN_ID, "logical_date": None, "conf": {}}
    wrong = body | {"dag_run_id": "wrong", "conf": {"optimization": "sometimes"}}
    answers = {
        200: 200,  # celery_day
        400: starter.status("POST", runs, wrong),
        401: requests.post(f"{compose.address}/api/v2{runs}", json=body, timeout=30).status_code,
        403: starter.status("POST", f"/dags/{ids.AMOP_RELAY_DAG}/dagRuns", body),
        409: starter.status("POST", runs, body),
    }
    assert answers == {status: status for status in answers}
    assert starter.status("POST", "/dags/device_sync_nowhere/dagRuns", body) == 403
    text = (ROOT / "docs" / "start-a-run.md").read_text(encoding="utf-8")
    assert set(map(int, re.findall(r"^\| (\d{3}) \|", text, re.MULTILINE))) == set(answers)


def test_the_day_ran_on_both_workers(celery_day: Day) -> None:
    assert set(celery_day.states.values()) == {"success"} and set(celery_day.states) == {*PROVIDERS, OPTIMIZATION}
    assert set(celery_day.hosts) == WORKERS
    assert sum(celery_day.hosts.values()) > 30
    assert min(celery_day.hosts.values()) > 5, celery_day.hosts


@pytest.mark.parametrize("executor", ["celery", "local"])
def test_the_warehouse_has_what_the_carriers_have_and_the_bill_is_right_to_the_last_decimal(
    compose: ComposeWorld, request: pytest.FixtureRequest, executor: str
) -> None:
    day: Day = request.getfixturevalue(f"{executor}_day")
    with connected(day.dsn) as connection:
        for provider in PROVIDERS.values():
            truth = truth_of(compose, provider.api_user)
            found = {row.pop("iccid"): row for row in connection.execute(DEVICES, [provider.id])}
            assert len(found) == SIMS
            assert found == {
                sim["iccid"]: {
                    "status": sim["status"],
                    "rate_plan": sim["rate_plan"],
                    "communication_plan": sim["communication_plan"],
                    "ctd_data_usage": sim["data_usage"],
                }
                for sim in truth["devices"]
            }
        (instance,) = connection.execute("SELECT * FROM amop.optimization_instance").fetchall()
        moves = {row["iccid"]: row["to_rate_plan"] for row in connection.execute(MOVES, [instance["id"]])}
        (period,) = connection.execute(PERIOD, [instance["session_id"]]).fetchall()
    cycle = {name: value.isoformat() for name, value in period.items()}
    fleet = TrueFleet(PROVIDERS[JASPER], truth_of(compose, "api_jasper") | cycle, instance["usage_as_of"])
    assert set(moves) == set(fleet.sims)
    assert fleet.bill(moves) == instance["total_cost"] < instance["current_cost"]


def test_no_secret_is_where_it_does_not_belong(compose: ComposeWorld, celery_day: Day) -> None:
    single = [path for path in compose.secrets.iterdir() if path.suffix != ".json"]
    planted = {path.name: path.read_text() for path in single}
    assert len(planted) == 13
    found = find(planted, environments(compose))
    assert set(found) == {("sandbox_carrier_api_key", "carrier"), ("sandbox_amop_token", "amop")}  # their own
    assert find(planted, command_lines()) == []
    known = {path for folder in ("secrets", "run") for path in (compose.directory / folder).rglob("*")}
    assert set(planted) <= {name for name, _ in find(planted, ((str(path), path.read_bytes()) for path in single))}
    searched = list(files(compose.directory, but=known | set((compose.directory / "postgres").rglob("*"))))
    assert sum(where.endswith(".log") for where, _ in searched) > 40
    assert find(planted, searched) == []
    for database in (AFTER_CELERY, AIRFLOW):
        assert find(planted, tables(compose.postgres.conninfo(database, user="postgres"))) == [], database


def environments(compose: ComposeWorld) -> Iterator[tuple[str, bytes]]:
    """Yield the environment of every process of every service, by the service's name."""
    for name, one in compose.running.items():
        if one.process.poll() is None:
            for process in family(one.process.pid):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                    yield name, Path(f"/proc/{process.pid}/environ").read_bytes()


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def test_the_local_executor_leaves_the_same_rows(celery_day: Day, local_day: Day) -> None:
    assert set(local_day.states.values()) == {"success"} and local_day.states.keys() == celery_day.states.keys()
    assert set(local_day.hosts) == {"scheduler"}
    with connected(celery_day.dsn) as celery, connected(local_day.dsn) as local:
        for provider in PROVIDERS.values():
            expected = rows_of(celery, provider.id, SYNC_TABLES)
            assert sum(map(len, expected.values())) > 2 * SIMS
            assert differences(expected, rows_of(local, provider.id, SYNC_TABLES)) == {}


def test_every_process_ends_when_it_is_asked_to(compose: ComposeWorld, local_day: Day) -> None:
    running = {name: family(one.process.pid) for name, one in compose.running.items() if one.process.poll() is None}
    assert len(running) == 8, sorted(running)
    assert compose.stop() == []
    _, alive = psutil.wait_procs([process for found in running.values() for process in found], timeout=30)
    assert alive == []
    assert not compose.postgres.is_running()
