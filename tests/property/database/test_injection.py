"""SQL sent through every name and every parameter changes nothing: the text is stored as it was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from amop.carriers.call_gate import PostgresCallGate
from amop.cli import main as cli
from amop.cli.connection import WAREHOUSE_VARIABLE
from amop.config import KNOWN_INTEGRATIONS
from amop.database.connection import transaction
from amop.database.conninfo import conninfo_from_airflow_connection
from amop.device_sync.sync_log import write_sync_log
from amop.messages.bodies import error_text
from amop.messages.outbox import enqueue, enqueue_daily_sync_notice
from amop.optimization.instances import OptimizationRequest, check_request, open_instance
from amop.reference.load import load_reference
from amop.runs.errors import PipelineError
from amop.runs.opening import SyncRequest, open_runs
from amop.runs.sessions import SessionAlreadyRunningError, fail_session
from sandbox.carrier.running import RunningCarrier, running_carrier
from tests.worlds.moments import present
from tests.worlds.optimization_world import NOW, OptimizationWorld
from tests.worlds.reliability import RecordFault
from tests.worlds.sync_world import SyncWorld

ROOT = Path(__file__).resolve().parents[3]

PAYLOADS = [
    "'; DROP TABLE amop.canary; --",
    "'); DELETE FROM amop.canary; --",
    '"; DROP TABLE amop.canary; --',
    "$$; DROP TABLE amop.canary; $$",
    "\\'; DROP TABLE amop.canary; --",
    "x' OR '1'='1",
    "' || (SELECT string_agg(text, '') FROM amop.canary) || '",
    "1; UPDATE amop.canary SET text = 'gone'",
    "%(run_id)s %(service_provider_id)s",
    "%s %% %b %t",
    "{run_id} {0}",
    ":run_id $1",
    "*/ DROP TABLE amop.canary; /*",
    "E'\\047; DROP TABLE amop.canary; --",
    "ʼ; DROP TABLE amop.canary; --",  # a letter that careless encodings turn into a quote
    "options=-csearch_path=evil' password='x",
    "\\copy amop.canary to program 'true'",
    "{{ conn.amop_warehouse.password }}",
    "=HYPERLINK(1)",
]
PLAIN = st.characters(exclude_categories=("Cc", "Cs", "Cf", "Cn", "Co", "Zl", "Zp"))
"""Printable, on one line: what the reference file takes, too."""

HOSTILE = (
    st.one_of(
        st.sampled_from(PAYLOADS),
        st.builds("{}{}{}".format, st.text(PLAIN, max_size=5), st.sampled_from(PAYLOADS), st.text(PLAIN, max_size=5)),
        st.text(PLAIN, min_size=1, max_size=40),
    )
    .map(str.strip)
    .filter(bool)
)
NAMES = st.lists(HOSTILE, min_size=1, max_size=10, unique=True)
FEW = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

CATALOGUE = """
SELECT 'relation', nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname NOT LIKE 'pg_%' AND nspname <> 'information_schema'
UNION ALL SELECT 'function', nspname, proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL SELECT 'role', rolname, '' FROM pg_roles WHERE rolname NOT LIKE 'runtime_%'
UNION ALL SELECT 'column', attrelid::regclass::text, attname FROM pg_attribute
WHERE attrelid::regclass::text LIKE 'amop.%' AND attnum > 0
UNION ALL SELECT 'canary', text, '' FROM amop.canary
ORDER BY 1, 2, 3
"""


@contextmanager
def untouched(dsn: str) -> Iterator[None]:
    """Prove that the body changes nothing of the database but rows of the package's own tables."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS amop.canary (text text PRIMARY KEY)")
        connection.execute("INSERT INTO amop.canary VALUES ('alive') ON CONFLICT DO NOTHING")
        before = connection.execute(CATALOGUE).fetchall()
    yield
    with psycopg.connect(dsn) as connection:
        assert connection.execute(CATALOGUE).fetchall() == before


def values(dsn: str, statement: str) -> set[Any]:
    with psycopg.connect(dsn) as connection:
        return {row[0] for row in connection.execute(statement).fetchall()}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def carrier() -> Iterator[RunningCarrier]:
    with running_carrier(devices_per_account=60, limits_are_enforced=False) as server:
        yield server


def test_names_and_iccids_of_a_carrier(warehouse_dsn: str, carrier: RunningCarrier, reliability: RecordFault) -> None:
    world = SyncWorld(warehouse_dsn, carrier)
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("UPDATE amop.service_provider SET maximum_bad_share = 1, maximum_vanished_share = 1")
    iccids = sorted(world.truth())
    sent: set[str] = set()
    number = 0

    @FEW
    @given(names=NAMES)
    @example(names=PAYLOADS)
    def stays_as_it_came(names: list[str]) -> None:
        nonlocal number
        number += 1
        for iccid, name in zip(iccids, names, strict=False):
            carrier.change_devices([iccid], account="api_jasper", rate_plan=name, communication_plan=name, status=name)
        # On the last SIMs, so that the others stay: an ICCID, and details, that are SQL.
        carrier.change_devices(iccids[-1:], account="api_jasper", extra={"iccid": names[0], "imsi": names[-1]})
        with untouched(world.dsn):
            run = world.sync(f"run {number} {names[0]}", full_sync=True)
            with write_sync_log(world.dsn, run["id"]) as path:
                assert len(Path(path).read_text(encoding="utf-8").splitlines()) > len(names)
        devices = world.devices()
        for iccid, name in zip(iccids, names, strict=False):
            row = devices[iccid]
            assert (row["rate_plan"], row["communication_plan"], row["status"]) == (name, name, name)
        assert set(names) <= values(world.dsn, "SELECT name FROM amop.communication_plan")
        raw = values(world.dsn, f"SELECT raw->>'iccid' FROM amop.device_quarantine WHERE run_id = {run['id']}")
        assert names[0] in raw
        assert run["dag_run_id"] == f"run {number} {names[0]}"
        sent.update(names)

    stays_as_it_came()
    reliability(
        fault="SQL in the names and ICCIDs that a carrier sends",
        injected=len(sent),
        expected="stored as it came, schema, roles and canary untouched",
        seen=f"{len(sent)} texts stored as they came in {number} syncs, nothing else changed",
    )


@FEW
@given(names=NAMES)
@example(names=PAYLOADS)
def test_names_of_a_reference_file_and_messages_to_amop(warehouse_dsn: str, tmp_path: Path, names: list[str]) -> None:
    for table in (
        "amop_outbox",
        "communication_plan_rate_plan",
        "communication_plan",
        "carrier_rate_plan",
        "billing_period",
        "service_provider",
        "tenant",
    ):
        with psycopg.connect(warehouse_dsn) as connection:
            connection.execute(f"DELETE FROM amop.{table}")  # type: ignore[arg-type]
    plan = {"rate_charge": "1", "plan_mb": "1", "overage_rate": "1", "data_per_overage_charge": "1"}
    document = {
        "tenants": [{"id": 1, "name": names[0], "time_zone": "UTC"}],
        "service_providers": [
            {
                "id": 1,
                "tenant_id": 1,
                "integration": "jasper",
                "name": names[0],
                "connection_id": "carrier_jasper",
                "time_zone": "UTC",
                "rate_plans": [
                    plan | {"rate_plan_code": name, "allows_sim_pooling": True, "pool": name} for name in names
                ],
                "communication_plans": [{"name": name, "rate_plans": [name]} for name in names],
            }
        ],
    }
    path = tmp_path / "reference.yaml"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    with untouched(warehouse_dsn):
        load_reference(warehouse_dsn, path)
        with transaction(warehouse_dsn) as connection:
            enqueue_daily_sync_notice(connection, run_id=1, service_provider_id=1)
    assert values(warehouse_dsn, "SELECT name FROM amop.tenant") == {names[0]}
    assert values(warehouse_dsn, "SELECT name FROM amop.service_provider") == {names[0]}
    assert values(warehouse_dsn, "SELECT rate_plan_code FROM amop.carrier_rate_plan") == set(names)
    assert values(warehouse_dsn, "SELECT pool FROM amop.carrier_rate_plan") == set(names)
    assert values(warehouse_dsn, "SELECT name FROM amop.communication_plan") == set(names)
    assert values(warehouse_dsn, "SELECT payload->'data'->>'tenant_name' FROM amop.amop_outbox") == {names[0]}


def test_an_optimization_of_plans_with_such_names(warehouse_dsn: str) -> None:
    world = OptimizationWorld(warehouse_dsn, name=PAYLOADS[0])
    for number, name in enumerate(PAYLOADS):
        world.add_rate_plan(name, "5", "100")
        world.add_rate_plan(f"{name} small", "1", "1")
        world.add_communication_plan(name, [name, f"{name} small"])
        world.add_sim(f"89010000000000000{number:02d}", name, f"{name} small", 50)
    with untouched(warehouse_dsn):
        instance = world.optimize(opened_by=PAYLOADS[1])
        assert instance["run_status"] == "complete_with_success"
    assert {row["to_rate_plan"] for row in world.results().values()} == set(PAYLOADS)
    assert values(warehouse_dsn, "SELECT opened_by FROM amop.optimization_session") == {PAYLOADS[1]}


def test_parameters_of_a_run_and_errors_that_end_it(warehouse_dsn: str, reliability: RecordFault) -> None:
    world = OptimizationWorld(warehouse_dsn)
    sent: set[str] = set()

    @MANY
    @given(text=HOSTILE)
    def does_nothing(text: str) -> None:
        request = SyncRequest("jasper", text, text, optimization="always")
        foreign = SyncRequest(text, "device_sync_jasper", "manual")
        with untouched(warehouse_dsn):
            (run,) = open_runs(warehouse_dsn, request, now=NOW)
            if text not in KNOWN_INTEGRATIONS:
                assert open_runs(warehouse_dsn, foreign, now=NOW) == []
                with pytest.raises(PipelineError, match="is not a provider of integration"):
                    check_request(warehouse_dsn, OptimizationRequest(text, "dag/run", 1))
            with pytest.raises((PipelineError, SessionAlreadyRunningError)):
                open_instance(warehouse_dsn, world.request(opened_by=text, apply_changes=text), now=NOW)
            with transaction(warehouse_dsn) as connection:
                (session,) = connection.execute(
                    "SELECT optimization_session_id AS id FROM amop.device_sync_run WHERE id = %(id)s",
                    {"id": run.run_id},
                ).fetchall()
                fail_session(connection, session["id"], text)
                connection.execute(
                    "UPDATE amop.device_sync_run SET status = 'failed', error = %(text)s WHERE id = %(id)s",
                    {"text": text, "id": run.run_id},
                )
                enqueue(connection, kind="error", session_id=None, dedupe_key=text, payload={"text": text})
            with closing(PostgresCallGate(warehouse_dsn, text, 1000)) as gate:
                gate.block(0.0)
        assert text in values(warehouse_dsn, "SELECT dag_run_id FROM amop.device_sync_run")
        assert error_text(text) in values(warehouse_dsn, "SELECT error FROM amop.optimization_session")
        assert text in values(warehouse_dsn, "SELECT payload->>'text' FROM amop.amop_outbox")
        assert text in values(warehouse_dsn, "SELECT api_user FROM amop.carrier_api_user")
        sent.add(text)

    does_nothing()
    reliability(
        fault="SQL in run ids, integrations, errors, message keys and API users",
        injected=len(sent),
        expected="stored as it came, schema, roles and canary untouched",
        seen=f"{len(sent)} texts stored as they came, nothing else changed",
    )


def test_arguments_of_the_command_line(
    warehouse_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reliability: RecordFault,
) -> None:
    parts = conninfo_to_dict(warehouse_dsn)
    fields = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": parts["port"],
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }
    monkeypatch.setenv(WAREHOUSE_VARIABLE, json.dumps(fields))
    monkeypatch.chdir(tmp_path)
    refused: set[tuple[str, ...]] = set()

    @MANY
    @given(
        text=HOSTILE.filter(lambda text: not text.startswith("-")),
        command=st.sampled_from([("load-reference",), ("status",), ("migrate",), ()]),
    )
    def does_nothing(text: str, command: tuple[str, ...]) -> None:
        with untouched(warehouse_dsn), pytest.raises(SystemExit) as ended:
            cli.main([*command, text])
        assert ended.value.code == 2
        assert "Traceback" not in capsys.readouterr().err
        refused.add((*command, text))

    does_nothing()
    reliability(
        fault="SQL in the arguments of bin/amop",
        injected=len(refused),
        expected="refused, database untouched",
        seen=f"{len(refused)} refused, nothing changed",
    )


@MANY
@given(login=HOSTILE, password=HOSTILE, database=HOSTILE, host=HOSTILE)
def test_fields_of_the_warehouses_connection(
    warehouse_dsn: str, login: str, password: str, database: str, host: str
) -> None:
    fields = {"conn_type": "postgres", "host": host, "login": login, "password": password, "schema": database}
    conninfo = conninfo_from_airflow_connection(json.dumps(fields))
    assert conninfo_to_dict(conninfo) == {
        "host": host,
        "user": login,
        "password": password,
        "dbname": database,
        "port": "5432",
    }
    real = conninfo_to_dict(warehouse_dsn)
    fields |= {"host": str(real["host"]), "port": str(real["port"])}
    with untouched(warehouse_dsn), pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(conninfo_from_airflow_connection(json.dumps(fields)), connect_timeout=5).close()
    assert len(password) < 8 or password not in str(refused.value).replace(login, "").replace(database, "")


def test_parameters_of_the_dags(airflow_database: Path, reliability: RecordFault) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import ParamValidationError

    dags = DagBag(ROOT / "dags").dags
    refused = 0

    @MANY
    @given(text=HOSTILE)
    def is_refused(text: str) -> None:
        nonlocal refused
        for dag in dags.values():
            for name in dag.params:
                param = dag.params.get_param(name)
                if _is_free_text(param.schema) or text in param.schema.get("enum", ()):
                    continue
                for value in (text, [text], {"x": text}):
                    with pytest.raises(ParamValidationError):
                        param.resolve(value)
                    refused += 1

    is_refused()
    reliability(
        fault="SQL in every parameter of every DAG that is not free text",
        injected=refused,
        expected="refused by the form's schema",
        seen=f"{refused} refused",
    )
    moment = dags["device_sync_jasper"].params.get_param("modified_since")
    assert moment.resolve(present().isoformat())


def _is_free_text(schema: dict[str, Any]) -> bool:
    kinds = schema.get("type", ())
    return "string" in ([kinds] if isinstance(kinds, str) else kinds) and schema.get("format") in {None, "multiline"}
