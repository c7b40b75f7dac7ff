"""HTTP call < statement < task < DAG run: held against the real DAGs, the real clients and real database sessions."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from amop import time_limits
from amop.carriers.account import CarrierAccount
from amop.carriers.call_gate import PostgresCallGate
from amop.carriers.control_center import ControlCenterClient
from amop.carriers.errors import CarrierUnavailableError, CarrierWriteInDoubtError
from amop.config import INTEGRATIONS
from amop.database.connection import connect, with_statement_limit
from amop.messages.amop_client import AmopClient, AmopUnavailableError

ROOT = Path(__file__).resolve().parents[2]
NEVER = timedelta(0)


@pytest.fixture(scope="module")
def dags(airflow_database: Path) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    return dict(DagBag(ROOT / "dags").dags)


def waits_for_a_person(task: Any) -> bool:
    """True for a task that waits for an approval: for days, and with no process or connection open."""
    return hasattr(task, "response_timeout")


def longest(task: Any) -> timedelta:
    """How long a task may take at most, once, its wait included."""
    return (task.execution_timeout or NEVER) + (getattr(task, "response_timeout", None) or NEVER)


def test_every_limit_is_longer_than_the_one_inside_it(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        for task in dag.tasks:
            name = f"{dag.dag_id}.{task.task_id}"
            assert longest(task) < dag.dagrun_timeout, name
            if waits_for_a_person(task):
                assert task.response_timeout is not None, name
                continue
            statement = time_limits.longest_statement(task.execution_timeout)
            assert time_limits.LONGEST_HTTP_CALL < statement < task.execution_timeout, name
            assert statement > time_limits.LOCK, name


def test_a_sensor_gives_up_before_its_task_does_and_outlasts_what_it_waits_for(dags: dict[str, Any]) -> None:
    for name in INTEGRATIONS:
        dag = dags[f"device_sync_{name}"]
        sync = sum((task.execution_timeout for task in dag.tasks if task.task_id.startswith("sync.")), NEVER)
        wait = dag.get_task("cleanup.wait_for_staging")
        assert sync < timedelta(seconds=wait.timeout) <= wait.execution_timeout
        assert timedelta(seconds=wait.timeout) > time_limits.NO_PROGRESS


def test_a_dag_run_has_time_for_the_longest_way_through_its_tasks(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        ends: dict[str, timedelta] = {}
        for task in dag.topological_sort():
            # A task with this rule starts beside the others that it follows.
            first_or_last = min if task.trigger_rule == "one_success" else max
            begins = first_or_last((ends[upstream] for upstream in task.upstream_task_ids), default=NEVER)
            ends[task.task_id] = begins + longest(task)
        assert max(ends.values()) < dag.dagrun_timeout, (dag.dag_id, max(ends.values()))


class Recorder(BaseAdapter):
    """A transport that notes the time limits of a request and lets nobody answer."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[Any] = []

    def send(self, request: Any, *_: Any, timeout: Any = None, **__: Any) -> Any:
        self.timeouts.append(timeout)
        raise requests.ConnectionError("nobody listens")

    def close(self) -> None:
        pass


def test_every_http_call_to_a_carrier_and_to_amop_has_its_limits(warehouse_dsn: str) -> None:
    account = CarrierAccount(
        "carrier_x", "AT&T", "http://127.0.0.1:1", "user", "key", calls_per_second=1000, is_loopback=True
    )
    carrier, amop = Recorder(), Recorder()
    with ControlCenterClient(
        account, PostgresCallGate(warehouse_dsn, account.gate_key, 1000), may_write=True, sleep=lambda _: None
    ) as client:
        client._session.mount("http://", carrier)
        with pytest.raises(CarrierUnavailableError):
            client.device_details("1")
        with pytest.raises(CarrierWriteInDoubtError):
            client.change_rate_plan("1", "x")
    with AmopClient("http://127.0.0.1:1", {"progress": "/p"}) as amop_client:
        amop_client._session.mount("http://", amop)
        with pytest.raises(AmopUnavailableError):
            amop_client.post("progress", {}, "key")
    assert set(carrier.timeouts) == {_seconds(time_limits.CARRIER_CONNECT, time_limits.CARRIER_READ)}
    assert amop.timeouts == [_seconds(time_limits.AMOP_CONNECT, time_limits.AMOP_READ)]


def test_every_call_to_aws_has_its_limits_and_keeps_the_connections_own_settings(
    airflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook

    from amop.tasks.connections import aws_hook

    extra = '{"region_name": "us-east-1", "config_kwargs": {"read_timeout": 900, "user_agent_extra": "own"}}'
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", f'{{"conn_type": "aws", "extra": {extra}}}')
    for hook_class in (S3Hook, SqsHook):
        config = aws_hook(hook_class).get_conn().meta.config
        assert (config.connect_timeout, config.read_timeout) == _seconds(time_limits.AWS_CONNECT, time_limits.AWS_READ)
        assert config.retries["total_max_attempts"] == time_limits.AWS_ATTEMPTS
        assert config.user_agent_extra.endswith("own")


@pytest.mark.parametrize(("task", "statement"), [(None, 900), (3600, 900), (1800, 900), (600, 300), (300, 150)])
def test_a_statement_may_take_half_of_its_tasks_time_and_15_minutes_at_most(
    warehouse_dsn: str, task: int | None, statement: int
) -> None:
    limit = time_limits.longest_statement(timedelta(seconds=task) if task else None)
    assert limit == timedelta(seconds=statement)
    conninfo = with_statement_limit(f"{warehouse_dsn} options='-c statement_timeout=0 -c work_mem=5MB'", limit)
    with connect(conninfo) as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()[name]  # type: ignore[index]
            for name in (
                "statement_timeout",
                "idle_in_transaction_session_timeout",
                "lock_timeout",
                "work_mem",
                "tcp_keepalives_idle",
                "tcp_keepalives_interval",
                "tcp_keepalives_count",
            )
        }
    minutes = "150s" if statement == 150 else f"{statement // 60}min"
    assert shown == {
        "statement_timeout": minutes,
        "idle_in_transaction_session_timeout": minutes,
        "lock_timeout": "1min",
        "work_mem": "5MB",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }


def test_no_code_opens_a_database_session_without_limits() -> None:
    openings = []
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "psycopg.connect",
                "psycopg.AsyncConnection.connect",
                "Connection.connect",
                "AsyncConnection.connect",
            }:
                has_limits = any(
                    keyword.arg is None and "settings" in ast.unparse(keyword.value) for keyword in node.keywords
                )
                openings.append((path.name, has_limits))
    assert len(openings) >= 3
    assert [name for name, has_limits in openings if not has_limits] == []


def test_no_limit_is_stated_anywhere_else() -> None:
    stated = []
    for path in [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "dags").glob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            names = {"execution_timeout", "dagrun_timeout", "response_timeout"}
            if ast.unparse(call.func) in {"sync_task", "session_task"}:
                names |= {"limit"}
            stated += [(path.name, ast.unparse(word.value)) for word in call.keywords if word.arg in names]
    assert len(stated) > 20
    elsewhere = [one for one in stated if not one[1].startswith("time_limits.")]
    assert elsewhere == [("frames.py", "limit")] * 2  # the frames hand on what their tasks state


def _seconds(*limits: timedelta) -> tuple[float, ...]:
    return tuple(limit.total_seconds() for limit in limits)
